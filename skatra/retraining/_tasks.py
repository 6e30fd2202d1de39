"""Run pure tasks on threads, processes or a cluster, one result at a time."""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

from joblib import effective_n_jobs
from joblib.externals.loky import ProcessPoolExecutor

T = TypeVar("T")
R = TypeVar("R")

MAX_LOSSES = 3
"""How often one task may lose its worker before the run is given up."""

WORKER_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "OMP_NUM_THREADS": "1",
}
"""Set before a worker process loads OpenMP: its threads sleep when they wait, so that
a busy neighbour does not slow them down many times over."""


class Backend(Protocol):
    """Where tasks run."""

    @property
    def shares_memory(self) -> bool:
        """Tell whether tasks see the objects of this process."""
        ...

    @property
    def folder(self) -> str | None:
        """Return the folder for what workers read from files."""
        ...

    def connected(self, needed: Any) -> AbstractContextManager[None]:
        """Hold the workers, who can read what is needed, for several rounds."""
        ...

    def slots(self, n_tasks: int) -> int:
        """Return how many tasks are handed out at a time."""
        ...

    def open(self, slots: int) -> Any:
        """Return a context manager of an executor."""
        ...


@dataclass(frozen=True)
class Threads:
    """Threads of this process; with one, the calling thread itself."""

    n_jobs: int | None = None
    shares_memory: ClassVar[bool] = True
    folder: ClassVar[str | None] = None

    def connected(self, needed: Any) -> AbstractContextManager[None]:  # noqa: ARG002
        """Do nothing: threads are started for each round."""
        return nullcontext()

    def slots(self, n_tasks: int) -> int:
        """Return one per core, or as many as asked for."""
        return _slots(self.n_jobs, n_tasks)

    @contextmanager
    def open(self, slots: int) -> Iterator[Executor]:
        """Start the threads."""
        if slots == 1:
            yield _Inline()
            return
        with ThreadPoolExecutor(slots, thread_name_prefix="skatra-search") as pool:
            yield pool


@dataclass(frozen=True)
class Processes:
    """Worker processes on this machine."""

    n_jobs: int | None = None
    shares_memory: ClassVar[bool] = False
    folder: ClassVar[str | None] = None
    _pools: list[Any] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def __deepcopy__(self, memo: dict[int, Any]) -> "Processes":
        """Return itself: processes are shared, not copied."""
        return self

    @contextmanager
    def connected(self, needed: Any) -> Iterator[None]:  # noqa: ARG002
        """Keep the processes from one round to the next."""
        if self._pools:
            yield
            return
        self._pools.append(self._start())
        at_once = False
        try:
            yield
        except KeyboardInterrupt:
            at_once = True
            raise
        finally:
            self._pools.pop().shutdown(kill_workers=at_once)

    def _start(self) -> Any:
        """Start processes, apart from those that joblib keeps for its own."""
        workers = effective_n_jobs(-1 if self.n_jobs is None else self.n_jobs)
        return ProcessPoolExecutor(
            int(workers),
            env=WORKER_ENVIRONMENT,
            initializer=_follow_parent,
            initargs=(os.getpid(),),
        )

    def slots(self, n_tasks: int) -> int:
        """Return one per core, or as many as asked for."""
        return _slots(self.n_jobs, n_tasks)

    @contextmanager
    def open(self, slots: int) -> Iterator[Executor]:  # noqa: ARG002
        """Return the processes; new ones where one of them has died."""
        try:
            self._pools[-1].submit(int)
        except BrokenExecutor:
            self._pools[-1].shutdown()
            self._pools[-1] = self._start()
        yield self._pools[-1]


def _follow_parent(parent: int) -> None:
    """Leave signals to a whole group to the parent, and end with it, even if killed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Inline(Executor):
    """Runs a task when it is submitted."""

    def submit(  # type: ignore[override]
        self, function: Callable[..., R], /, *args: Any
    ) -> "Future[R]":
        future: Future[R] = Future()
        try:
            future.set_result(function(*args))
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future


def _slots(n_jobs: int | None, n_tasks: int) -> int:
    workers = effective_n_jobs(-1 if n_jobs is None else n_jobs)
    return max(1, min(int(workers), n_tasks))


def run_tasks(
    function: Callable[[T], R],
    tasks: Sequence[T],
    backend: Backend,
    on_result: Callable[[T, R | Exception], None],
    should_stop: Callable[[], bool] | None = None,
) -> int:
    """Run every task and hand over each result in this thread as soon as it is there.

    Tasks are pure: one whose worker dies is run again, up to three times. Errors that
    the function raises are handed over like results. An error of ``on_result`` ends
    the run after the tasks in hand.

    Returns
    -------
    int
        Tasks that were not handed out, because ``should_stop()`` became true.
    """
    if not tasks:
        return 0
    run = _Run(function, deque(tasks), backend.slots(len(tasks)), should_stop)
    while run.waiting and not run.stopped:
        with backend.open(run.slots) as executor:
            broken = run.on(executor, on_result)
        if broken is not None:
            run.take_back(broken)
    return len(run.waiting)


class _Run:
    """Tasks that wait and tasks in hand."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        waiting: deque[Any],
        slots: int,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self.waiting = waiting
        self.slots = slots
        self.stopped = False
        self._function = function
        self._should_stop = should_stop
        self._running: dict[Future[Any], Any] = {}
        self._losses: dict[int, int] = {}

    def on(
        self, executor: Executor, on_result: Callable[[Any, Any], None]
    ) -> BrokenExecutor | None:
        """Run until nothing is left or the executor breaks, and return why it did."""
        try:
            while self._fill(executor):
                done, _ = wait(self._running, return_when=FIRST_COMPLETED)
                for future in done:
                    error = _error_of(future)
                    if isinstance(error, BrokenExecutor):
                        return error
                    task = self._running.pop(future)
                    on_result(task, future.result() if error is None else error)
        except BrokenExecutor as error:
            return error
        except BaseException:
            for future in self._running:
                future.cancel()
            raise
        return None

    def _fill(self, executor: Executor) -> bool:
        """Hand out tasks as long as there is room; tell whether any is in hand."""
        while self.waiting and len(self._running) < self.slots and not self.stopped:
            if self._should_stop is not None and self._should_stop():
                self.stopped = True
                break
            future = executor.submit(self._function, self.waiting[0])
            self._running[future] = self.waiting.popleft()
        return bool(self._running)

    def take_back(self, error: BrokenExecutor) -> None:
        """Put tasks that lost their worker first, or give up on one lost too often."""
        for task in self._running.values():
            self._losses[id(task)] = self._losses.get(id(task), 0) + 1
            if self._losses[id(task)] > MAX_LOSSES:
                raise error
        self.waiting.extendleft(reversed(self._running.values()))
        self._running = {}


def _error_of(future: "Future[Any]") -> Exception | None:
    """Return what a task raised or that it was lost; raise what ends a program."""
    try:
        error = future.exception()
    except CancelledError as cancelled:
        return BrokenExecutor(f"a task was cancelled by its backend: {cancelled}")
    if error is None or isinstance(error, Exception):
        return error
    raise error


def make_backend(backend: Any, n_jobs: int | None) -> Backend:
    """Return the backend that a name, an address or a client stands for."""
    from skatra.retraining._dask import DaskBackend

    if backend is None or backend == "threads":
        return Threads(n_jobs)
    if backend == "processes":
        return Processes(n_jobs)
    if backend == "dask":
        return DaskBackend()
    if isinstance(backend, str) and "://" in backend:
        return DaskBackend(backend)
    if isinstance(backend, Threads | Processes | DaskBackend):
        return backend
    if type(backend).__module__.partition(".")[0] == "distributed":
        return DaskBackend(backend)
    raise ValueError(
        "backend must be 'threads', 'processes', 'dask', the address of a Dask "
        "scheduler such as 'tcp://host:8786', a distributed.Client, a DaskBackend or "
        f"None, got {backend!r}."
    )
