"""A Dask cluster as a backend, tried before it is trusted."""

import uuid
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar

from skatra.exceptions import MissingDependencyError, WorkersNotReadyError
from skatra.retraining._fingerprint import software

_HINT = (
    "Install skatra and its requirements in the same versions where the scheduler "
    "and every worker run, and start them again."
)


@dataclass(frozen=True)
class DaskBackend:
    """Run the tasks of a search, or of a whole retraining run, on a Dask cluster.

    Each task is small and pure: it carries parameters and the path of a file, from
    which its worker maps its fold. Nothing large is scattered, so a worker that dies
    costs the tasks it had in hand, which Dask runs again elsewhere, and not the run
    (joblib's Dask backend scatters, and loses the run).

    Parameters
    ----------
    scheduler : str or distributed.Client, default=None
        The scheduler's address (``"tcp://host:8786"``), or a client, which is left
        open.
        None takes the client that is current.
    folder : str, default=None
        A folder that the client and all workers see at the same path; the rows are
        written there while tasks run. None is the folder for temporary files,
        which suits a cluster on one machine.
    deadline : float, default=60.0
        Seconds in which every worker must prove, before the first task, that it can
        import skatra, has the same code and the same versions of numpy, pandas,
        scikit-learn and LightGBM as this process, and can read the rows. Without it a
        client waits for ever for workers that cannot import.
    retries : int, default=2
        How often a task is repeated that raises an error.

    Raises
    ------
    MissingDependencyError
        If the extra ``skatra[dask]`` is not installed.
    WorkersNotReadyError
        Before the first task: if the cluster has no worker, or one lacks the package
        or the rows, or has other software; the worker and the difference are named.

    Examples
    --------
    >>> from skatra.retraining import DaskBackend
    >>> DaskBackend("tcp://10.0.0.1:8786", folder="/mnt/shared")
    DaskBackend(scheduler='tcp://10.0.0.1:8786', folder='/mnt/shared', deadline=60.0,
                retries=2)
    """

    scheduler: Any = None
    folder: str | None = None
    deadline: float = 60.0
    retries: int = 2
    shares_memory: ClassVar[bool] = False
    _clients: list[Any] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def __deepcopy__(self, memo: dict[int, Any]) -> "DaskBackend":
        """Return itself: a connection is shared, not copied."""
        return self

    @contextmanager
    def connected(self, rows: Any) -> Iterator[None]:
        """Hold one client while tasks run, after its workers have proved themselves.

        Parameters
        ----------
        rows : object
            Has ``check()``, which raises in a worker that cannot read the rows.

        Yields
        ------
        None
            ``slots`` and ``open`` use the client in the block.
        """
        client, own = self._connect()
        try:
            self._prove(client, rows)
            self._clients.append(client)
            try:
                yield
            finally:
                self._clients.remove(client)
        finally:
            if own:
                client.close()

    def slots(self, n_tasks: int) -> int:
        """Return the workers' threads, and one task each to start on without a wait.

        Parameters
        ----------
        n_tasks : int
            Tasks that wait.

        Returns
        -------
        int
            Tasks to have in hand at a time.
        """
        threads = self._clients[-1].nthreads()
        return int(max(1, min(sum(threads.values()) + len(threads), n_tasks)))

    @contextmanager
    def open(self, slots: int) -> Iterator[Executor]:  # noqa: ARG002
        """Return the cluster as an executor.

        Parameters
        ----------
        slots : int
            Ignored: the cluster has its own.

        Yields
        ------
        concurrent.futures.Executor
            Repeats tasks as ``retries`` says.
        """
        executor = self._clients[-1].get_executor(pure=False, retries=self.retries)
        try:
            yield executor
        finally:
            executor.shutdown(wait=False)

    def _connect(self) -> tuple[Any, bool]:
        """Return a client, and whether it was made here."""
        distributed = _distributed()
        if self._clients:
            return self._clients[-1], False
        if isinstance(self.scheduler, distributed.Client):
            return self.scheduler, False
        if self.scheduler is None:
            try:
                return distributed.default_client(), False
            except ValueError as error:
                msg = (
                    "backend='dask' uses the current distributed.Client, and there is "
                    "none. Create one first, or pass the scheduler's address "
                    "(scheduler_address of a run, --scheduler-address)."
                )
                raise ValueError(msg) from error
        try:
            return distributed.Client(
                self.scheduler, timeout=self.deadline, set_as_default=False
            ), True
        except (OSError, TimeoutError) as error:
            msg = f"No Dask scheduler answers at {self.scheduler}: {error}."
            raise WorkersNotReadyError(msg) from error

    def _prove(self, client: Any, rows: Any) -> None:
        """Let the scheduler and every worker import the package and find the rows."""
        try:
            client.wait_for_workers(1, timeout=self.deadline)
        except TimeoutError as error:
            msg = (
                f"The Dask scheduler has no worker after {self.deadline} s. Start "
                "some with `dask worker`, or raise DaskBackend(deadline=...)."
            )
            raise WorkersNotReadyError(msg) from error
        # First by value, which works where the package is missing and says so; then by
        # reference, as tasks travel.
        self._ask_all(client, _software_probe(), "tell its software")
        self._ask_all(client, rows.check, "read the rows")

    def _ask_all(self, client: Any, question: Any, what: str) -> None:
        futures = {
            worker: client.submit(
                question,
                pure=False,
                workers=[worker],
                key=f"skatra-preflight-{uuid.uuid4().hex}",
            )
            for worker in client.scheduler_info(n_workers=-1)["workers"]
        }
        try:
            with client.as_current():  # wait() asks for the current client
                _distributed().wait(list(futures.values()), timeout=self.deadline)
        except TimeoutError as error:
            late = [w for w, future in futures.items() if not future.done()]
            msg = (
                f"Workers {', '.join(late)} did not {what} within {self.deadline} s; "
                "the scheduler's log may say why (it, too, must be able to import "
                f"skatra). {_HINT}"
            )
            raise WorkersNotReadyError(msg) from error
        for worker, future in futures.items():
            problem = future.exception()
            if isinstance(problem, WorkersNotReadyError):
                raise problem
            if problem is not None:
                msg = f"Worker {worker} could not {what}: {problem!r}. {_HINT}"
                raise WorkersNotReadyError(msg) from problem
            answer, mine = future.result(), software()
            if answer is not None and answer != mine:
                differ = ", ".join(
                    f"{name} is {answer.get(name)} there and {mine[name]} here"
                    for name in mine
                    if answer.get(name) != mine[name]
                )
                msg = f"Worker {worker} has other software: {differ}. {_HINT}"
                raise WorkersNotReadyError(msg)


def _distributed() -> Any:
    """Return the extra's module, or say how to get it."""
    try:
        return import_module("distributed")
    except ImportError as error:
        msg = (
            "The Dask backend needs distributed. Install it with "
            "pip install 'skatra[dask]'."
        )
        raise MissingDependencyError(msg) from error


def _software_probe() -> Any:
    """Return a function that travels by value: it needs no package to arrive."""

    def probe() -> Any:
        from importlib import import_module  # a global would not travel by value

        import_module("skatra.retraining")
        return import_module("skatra.retraining._fingerprint").software()

    return probe
