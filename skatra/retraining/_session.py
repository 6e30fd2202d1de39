"""Tasks of one run: done once, committed one by one, stopped between two."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from joblib import effective_n_jobs

from skatra import monitoring
from skatra.exceptions import RunStoppedError
from skatra.retraining._ledger import (
    SEARCH,
    DatabaseLedger,
    digest_of,
    fold_hash,
    pack,
    unpack,
)
from skatra.retraining._monitored import MODEL
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
    """Work whose outcome its stage, parameters and rows decide.

    Attributes
    ----------
    stage : str
    params : mapping
        Everything but data, rows and code that decides the outcome.
    split : (train, test)
        Row positions.
    work : callable
        Returns figures and arrays.
    """

    stage: str
    params: Mapping[str, Any]
    split: Split
    work: Callable[[], Outcome]


@dataclass(slots=True)
class Session:
    """What a run's steps share: ledger, threads, the wish to stop, who watches.

    Attributes
    ----------
    ledger : DatabaseLedger, optional
        Without one nothing is kept and everything is done.
    n_jobs : int
        Tasks at a time, each in a thread of its own; LightGBM works outside of
        Python's lock.
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
    n_jobs: int = 1
    should_stop: Callable[[], bool] = _never
    observe: Observer = _ignore
    make_model: ModelMaker | None = None
    total: int = 0
    finished: int = 0
    stages: dict[str, float] = field(default_factory=dict)

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

    def run(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Return every task's outcome in order; do only what is not in the ledger."""
        outcomes: list[Outcome | None] = [None] * len(tasks)
        keys = [digest_of(t.stage, t.params, fold_hash(t.split)) for t in tasks]
        missing = []
        for number, key in enumerate(keys):
            record = None if self.ledger is None else self.ledger.get(key)
            if record is None or _is_slimmed(record):
                missing.append(number)
                continue
            outcomes[number] = record["figures"], unpack(record.get("arrays", {}))
            self.tell(tasks[number].stage, 0.0, cached=True)
        self._work(tasks, keys, missing, outcomes)
        return [outcome for outcome in outcomes if outcome is not None]

    def _work(
        self,
        tasks: Sequence[Task],
        keys: Sequence[str],
        missing: list[int],
        outcomes: list[Outcome | None],
    ) -> None:
        """Do the missing tasks, a few at a time; finish those in hand."""
        if not missing:
            return
        queue = iter(missing)
        workers = min(effective_n_jobs(self.n_jobs), len(missing))
        with ThreadPoolExecutor(workers) as pool:
            running: dict[Future[tuple[Outcome, float]], int] = {}
            while True:
                while len(running) < workers and not self.should_stop():
                    number = next(queue, None)
                    if number is None:
                        break
                    running[pool.submit(_timed, tasks[number].work)] = number
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    number = running.pop(future)
                    outcome, seconds = future.result()
                    self._keep(tasks[number], keys[number], outcome, seconds)
                    outcomes[number] = outcome
        if any(outcomes[number] is None for number in missing):
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


def _timed(work: Callable[[], Outcome]) -> tuple[Outcome, float]:
    start = time.perf_counter()
    outcome = work()
    return outcome, time.perf_counter() - start
