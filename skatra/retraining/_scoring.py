"""Scores of candidates on folds, through backend and ledger."""

import math
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import zip_longest
from typing import Any, Protocol, cast

import numpy as np
import sklearn
from sklearn.exceptions import FitFailedWarning

from skatra.exceptions import SearchStoppedError
from skatra.retraining._boosters import (
    Candidate,
    Job,
    Score,
    Task,
    dataset_key,
    families,
    forget_datasets,
)
from skatra.retraining._fingerprint import code_version, fingerprint
from skatra.retraining._fold_data import InFile, InMemory, SearchRows, in_file
from skatra.retraining._tasks import Backend, run_tasks


class TrialLedger(Protocol):
    """Where finished scores are kept between runs; a database table or a dict."""

    def get(self, key: str, /) -> Mapping[str, Any] | None:
        """Return the record of a key, or None.

        Parameters
        ----------
        key : str
            Hash of the task.
        """
        ...

    def put(self, key: str, record: dict[str, Any], /) -> None:
        """Keep a record; called in the parent as soon as its task ends.

        Parameters
        ----------
        key : str
            Hash of the task.
        record : dict
            Its scores and seconds; anything JSON can say.
        """
        ...


class Scorer:
    """Scores candidates on folds; opened once per search."""

    def __init__(
        self,
        estimator: Any,
        scorer: Any,
        rows: SearchRows,
        *,
        scoring: Any,
        backend: Backend,
        ledger: TrialLedger | None,
        should_stop: Callable[[], bool] | None,
        error_score: Any,
    ) -> None:
        self.estimator = estimator
        self.scorer = scorer
        self.rows = rows
        self.backend = backend
        self.ledger = ledger
        self.should_stop = should_stop
        self.error_score = error_score
        self.n_taken = 0
        self._scoring = scoring
        self._job: Job | None = None
        self._data_hash = ""
        self._fold_hashes: list[str] = []
        self._code = code_version()
        self._errors: list[str] = []
        if ledger is not None or not backend.shares_memory:
            self._data_hash = fingerprint(
                rows.X, rows.y, rows.fit_params, rows.score_params
            )
        if ledger is not None:
            self._fold_hashes = [fingerprint(split) for split in rows.splits]

    @contextmanager
    def opened(self, n_tasks: int) -> Iterator["Scorer"]:
        """Make the rows reachable for the workers of so many tasks at most."""
        token = uuid.uuid4().hex
        with ExitStack() as stack:
            where: InMemory | InFile = InMemory(self.rows)
            if not self.backend.shares_memory:
                where = stack.enter_context(
                    in_file(self.rows, self._data_hash, self.backend.folder)
                )
            stack.enter_context(self.backend.connected(where))
            stack.callback(forget_datasets, token)
            self._job = Job(
                token,
                self.estimator,
                self.scorer,
                where,
                sklearn.get_config(),
                n_datasets=2 * self.backend.slots(max(1, n_tasks)),
            )
            yield self

    def score(
        self, candidates: Sequence[Candidate], folds: Sequence[int]
    ) -> dict[tuple[int, int], Score]:
        """Return the score of each (place, fold).

        Raises
        ------
        SearchStoppedError
            If ``should_stop()`` became true before all were done.
        """
        done: dict[tuple[int, int], Score] = {}
        keys: dict[tuple[int, int], str] = {}
        tasks = self._tasks(candidates, folds, done, keys)
        by_place = {candidate.place: candidate for candidate in candidates}

        def on_result(task: Task, result: list[Score] | Exception) -> None:
            if isinstance(result, Exception):
                self._fail(task, result, done)
                return
            for score in result:
                cell = (score.place, task.fold)
                done[cell] = score
                if self.ledger is not None:
                    params = by_place[score.place].params
                    self.ledger.put(keys[cell], self._record(task, score, params))

        job = cast("Job", self._job)
        run_tasks(job, tasks, self.backend, on_result, self.should_stop)
        left = len(candidates) * len(folds) - len(done)
        if left:
            msg = (
                f"The search was asked to stop: {len(done)} scores are done, {left} "
                "are left. "
                + (
                    "Fit again with the same ledger to go on."
                    if self.ledger is not None
                    else "Pass a ledger to be able to go on another time."
                )
            )
            raise SearchStoppedError(msg, len(done), left)
        if self._errors:
            shown = "\n".join(dict.fromkeys(self._errors))
            warnings.warn(
                f"{len(self._errors)} fits failed and score {self.error_score}:\n"
                f"{shown}",
                FitFailedWarning,
                stacklevel=3,
            )
            self._errors = []
        return done

    def _tasks(
        self,
        candidates: Sequence[Candidate],
        folds: Sequence[int],
        done: dict[tuple[int, int], Score],
        keys: dict[tuple[int, int], str],
    ) -> list[Task]:
        """Return what is left to do; fill in what the ledger knows."""
        lanes: list[list[Task]] = []
        for fold in folds:
            left = []
            for candidate in candidates:
                cell = (candidate.place, fold)
                known = self._known(candidate, fold, cell, keys)
                if known is None:
                    left.append(candidate)
                else:
                    done[cell] = known
                    self.n_taken += 1
            by_dataset: dict[str, list[Task]] = {}
            for family in families(self.estimator, left):
                key = dataset_key(family[0].params)
                by_dataset.setdefault(key, []).append(Task(fold, key, family))
            lanes += by_dataset.values()
        return _in_lanes(lanes, self.backend.slots(sum(map(len, lanes)) or 1))

    def _known(
        self,
        candidate: Candidate,
        fold: int,
        cell: tuple[int, int],
        keys: dict[tuple[int, int], str],
    ) -> Score | None:
        if self.ledger is None:
            return None
        keys[cell] = self._key(candidate.params, fold)
        record = self.ledger.get(keys[cell])
        if record is None:
            return None
        return Score(
            candidate.place,
            record["score"],
            float(record.get("fit_seconds", record["seconds"])),
            float(record.get("score_seconds", 0.0)),
            int(record["n_train"]),
            int(record["n_test"]),
        )

    def _key(self, params: Mapping[str, Any], fold: int) -> str:
        """Return what a score depends on, as one SHA-256."""
        every = {**self.estimator.get_params(deep=False), **params}
        for name in ("n_jobs", "verbose"):
            every.pop(name, None)
        model = (type(self.estimator), every, self._scoring)
        return fingerprint(self._data_hash, self._fold_hashes[fold], model, self._code)

    def _record(
        self, task: Task, score: Score, params: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {
            "params": {name: _scalar(value) for name, value in params.items()},
            "fold": task.fold,
            "score": score.value,
            "n_train": score.n_train,
            "n_test": score.n_test,
            "seconds": score.fit_seconds + score.score_seconds,
            "fit_seconds": score.fit_seconds,
            "score_seconds": score.score_seconds,
            "data_hash": self._data_hash,
            "fold_hash": self._fold_hashes[task.fold],
            "code_version": self._code,
        }

    def _fail(
        self, task: Task, error: Exception, done: dict[tuple[int, int], Score]
    ) -> None:
        """Score a failed fit as asked, or raise its error."""
        if isinstance(self.error_score, str):
            raise error
        train, test = self.rows.splits[task.fold]
        for candidate in task.candidates:
            self._errors.append(f"{type(error).__name__}: {error}")
            done[candidate.place, task.fold] = Score(
                candidate.place, self.error_score, 0.0, 0.0, len(train), len(test)
            )


def _in_lanes(lanes: Sequence[Sequence[Task]], workers: int) -> list[Task]:
    """Order tasks so that workers find the Dataset of their last task idle."""
    order: list[Task] = []
    for first in range(0, len(lanes), workers):
        block = lanes[first : first + workers]
        order += [task for row in zip_longest(*block) for task in row if task]
    return order


def _scalar(value: Any) -> Any:
    """Return numpy scalars as Python's, and other objects as text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str | list | tuple):
        return value
    return str(value)
