"""Tasks of one run: done once, committed one by one, stopped between two."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from skatra import monitoring
from skatra.exceptions import RunStoppedError
from skatra.retraining._dataset import Rows, rows_digest
from skatra.retraining._fold_data import InFile, InMemory, in_file
from skatra.retraining._ledger import (
    SEARCH,
    DatabaseLedger,
    digest_of,
    fold_hash,
)
from skatra.retraining._monitored import MODEL
from skatra.retraining._packing import pack, unpack
from skatra.retraining._tasks import Backend, Threads, run_tasks
from skatra.typing import Split

Event = Mapping[str, Any]
Observer = Callable[[Event], None]
Outcome = tuple[dict[str, Any], dict[str, Any]]
"""Figures that JSON can say, and float arrays."""

ModelMaker = Callable[[Any, Mapping[str, Any]], Any]
"""Makes the inner classifier from the settings and LightGBM's parameters."""


def _never() -> bool:
    return False


def _ignore(event: Event) -> None:
    del event


@dataclass(frozen=True, slots=True)
class Task:
    """A fit on one fold, whose outcome its stage, parameters and rows decide.

    Attributes
    ----------
    stage : str
    params : mapping
        Everything but data, rows and code that decides the outcome.
    split : (train, test)
        Positions among the rows of the stage.
    work : callable
        Takes training and test rows, returns figures and arrays. It travels to
        workers, and holds no rows.
    """

    stage: str
    params: Mapping[str, Any]
    split: Split
    work: Callable[[Rows, Rows], Outcome]


@dataclass(frozen=True, slots=True)
class _Worker:
    """Does tasks where they are sent: finds the rows, and cuts the fold itself."""

    rows: InMemory | InFile
    splits: InMemory | InFile

    def __call__(self, task: tuple[int, Callable[[Rows, Rows], Any]]) -> Any:
        """Return what the work gives, and its seconds."""
        number, work = task
        start = time.perf_counter()
        rows: Rows = self.rows.load()
        train, test = (rows.take(part) for part in self.splits.load()[number])
        outcome = work(train, test)
        return outcome, time.perf_counter() - start


@dataclass(slots=True)
class Session:
    """What a run's steps share: ledger, backend, the wish to stop, who watches.

    Attributes
    ----------
    ledger : DatabaseLedger, optional
        Without one nothing is kept and everything is done.
    backend : Backend
        Where tasks run, those of the search included.
    should_stop : callable
        Asked between two tasks.
    observe : callable
        Told of every task.
    make_model : callable, optional
        Makes inner classifiers in place of LightGBM, e.g. to see what reaches them.
    total, finished : int
        Tasks of the whole run, and those done, for those who watch.
    stages : dict
        Wall time per stage.
    """

    ledger: DatabaseLedger | None = None
    backend: Backend = field(default_factory=lambda: Threads(1))
    should_stop: Callable[[], bool] = _never
    observe: Observer = _ignore
    make_model: ModelMaker | None = None
    total: int = 0
    finished: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    _files: dict[str, InFile] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    @contextmanager
    def working_on(self, rows: Rows) -> Iterator[None]:
        """Make rows reachable for the workers, who prove that they are ready.

        Raises
        ------
        WorkersNotReadyError
            If a cluster has no worker, or one lacks the package or the rows.
        """
        with self._stack:
            where = self._reachable(rows)
            self._stack.enter_context(self.backend.connected(where))
            yield
        self._files.clear()

    def _reachable(self, rows: Rows) -> InMemory | InFile:
        """Return where workers find rows: once in a file that bears their hash."""
        if self.backend.shares_memory:
            return InMemory(rows)
        name = rows_digest(rows)
        if name not in self._files:
            self._files[name] = self._stack.enter_context(
                in_file(rows, name, self.backend.folder)
            )
        return self._files[name]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announce a stage, time it, and stop before it if asked to."""
        self.stop_if_asked()
        self.observe({"event": "stage", "stage": name})
        start = time.perf_counter()
        with monitoring.observe_stage(MODEL, name):
            yield
        self.stages[name] = round(time.perf_counter() - start, 3)

    def stop_if_asked(self) -> None:
        """Raise if the run was asked to stop.

        Raises
        ------
        RunStoppedError
        """
        if self.should_stop():
            raise RunStoppedError(
                f"stopped as asked, {self.finished} of {self.total} tasks are done "
                "and kept. Run the same command again to go on."
            )

    def run(self, rows: Rows, tasks: Sequence[Task]) -> list[Outcome]:
        """Return every task's outcome in order; do only what is not in the ledger."""
        outcomes: list[Outcome | None] = [None] * len(tasks)
        keys = [
            digest_of(
                task.stage,
                task.params,
                fold_hash(
                    (rows.positions[task.split[0]], rows.positions[task.split[1]])
                ),
            )
            for task in tasks
        ]
        missing = []
        for number, key in enumerate(keys):
            record = None if self.ledger is None else self.ledger.get(key)
            if record is None or _is_slimmed(record):
                missing.append(number)
                continue
            outcomes[number] = record["figures"], unpack(record.get("arrays", {}))
            self.tell(tasks[number].stage, 0.0, cached=True)

        def keep(number: int, outcome: Outcome, seconds: float) -> None:
            outcomes[number] = outcome
            self._keep(tasks[number], keys[number], outcome, seconds)

        splits = [task.split for task in tasks]
        self._work(rows, splits, {n: tasks[n].work for n in missing}, keep)
        return [outcome for outcome in outcomes if outcome is not None]

    def once(self, rows: Rows, split: Split, work: Callable[[Rows, Rows], Any]) -> Any:
        """Return what one piece of work gives, done by a worker and not kept."""
        given: list[Any] = []
        self._work(rows, [split], {0: work}, lambda _, made, __: given.append(made))
        return given[0]

    def _work(
        self,
        rows: Rows,
        splits: Sequence[Split],
        works: Mapping[int, Callable[[Rows, Rows], Any]],
        keep: Callable[[int, Any, float], None],
    ) -> None:
        """Do what is missing, a few at a time; finish what is in hand."""
        if not works:
            return

        def on_result(task: tuple[int, Any], result: Any) -> None:
            if isinstance(result, Exception):
                raise result
            keep(task[0], *result)

        with ExitStack() as stack:
            cut: InMemory | InFile = InMemory(splits)
            if not self.backend.shares_memory:
                name = digest_of([fold_hash(split) for split in splits])
                cut = stack.enter_context(in_file(splits, name, self.backend.folder))
            worker = _Worker(self._reachable(rows), cut)
            left = run_tasks(
                worker, list(works.items()), self.backend, on_result, self.should_stop
            )
        if left:
            self.stop_if_asked()

    def _keep(self, task: Task, key: str, outcome: Outcome, seconds: float) -> None:
        figures, arrays = outcome
        if self.ledger is not None:
            record: dict[str, Any] = {
                "stage": task.stage,
                "params": dict(task.params),
                "fold_hash": fold_hash(task.split),
                "rows": [len(part) for part in task.split],
                "figures": figures,
                "seconds": round(seconds, 4),
                "has_arrays": bool(arrays),
            }
            if arrays:
                record["arrays"] = pack(arrays)
            self.ledger.put(key, record)
        self.tell(task.stage, seconds)

    def tell(self, stage: str, seconds: float, *, cached: bool = False) -> None:
        """Tell who watches that a task is done."""
        self.finished += 1
        self.observe(
            {
                "event": "task",
                "stage": stage,
                "done": self.finished,
                "total": self.total,
                "cached": cached,
                "seconds": round(seconds, 4),
            }
        )


@dataclass(frozen=True, slots=True)
class SearchLedger:
    """A session's ledger as the search sees it.

    Attributes
    ----------
    session : Session
    shared : mapping
        Parameters that all candidates share.
    """

    session: Session
    shared: Mapping[str, Any]

    def get(self, key: str, /) -> Mapping[str, Any] | None:
        """Return the record of a score, None if there is none."""
        ledger = self.session.ledger
        record = None if ledger is None else ledger.get(key)
        if record is not None:
            self.session.tell(SEARCH, 0.0, cached=True)
        return record

    def put(self, key: str, record: dict[str, Any], /) -> None:
        """Commit a score."""
        if self.session.ledger is not None:
            told = {
                **record,
                "stage": SEARCH,
                "params": {**self.shared, **record["params"]},
                "rows": [record["n_train"], record["n_test"]],
            }
            self.session.ledger.put(key, told)
        self.session.tell(SEARCH, record["seconds"])


def _is_slimmed(record: Mapping[str, Any]) -> bool:
    """Tell whether a record's arrays were dropped after its run was published."""
    return bool(record.get("has_arrays")) and "arrays" not in record
