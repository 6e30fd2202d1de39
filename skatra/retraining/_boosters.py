"""One booster per task, trained on a Dataset that tasks of its fold share."""

import math
import time
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import lightgbm as lgb
import numpy as np
import sklearn
from sklearn.base import clone

from skatra.retraining._fingerprint import fingerprint
from skatra.retraining._fold_data import InFile, InMemory, SearchRows

# Parameters that a Dataset does not know: candidates that differ in nothing else share
# one. Everything else gets a Dataset of its own: those that LightGBM lists as Dataset
# parameters (max_bin, max_bin_by_feature, min_data_in_bin, bin_construct_sample_cnt =
# subsample_for_bin, data_random_seed, which random_state sets, categorical_feature,
# linear_tree, use_missing, zero_as_missing, is_enable_sparse, enable_bundle,
# feature_pre_filter, forcedbins_filename, pre_partition), min_child_samples, by which
# features are filtered beforehand, class_weight, which becomes row weights, and
# anything unknown.
SHARING = frozenset(
    {
        "n_estimators",
        "boosting_type", "num_leaves", "max_depth", "learning_rate",
        "min_split_gain", "min_child_weight", "subsample", "subsample_freq",
        "colsample_bytree", "reg_alpha", "reg_lambda", "n_jobs",
        "bagging_fraction", "bagging_freq", "bagging_seed", "colsample_bynode",
        "drop_rate", "drop_seed", "extra_seed", "extra_trees", "feature_fraction",
        "feature_fraction_bynode", "feature_fraction_seed", "lambda_l1", "lambda_l2",
        "max_delta_step", "max_drop", "min_gain_to_split", "min_sum_hessian_in_leaf",
        "other_rate", "path_smooth", "skip_drop", "top_rate", "uniform_drop",
        "xgboost_dart_mode",
    }
)  # fmt: skip

_BOOSTING = ("boosting_type", "boosting", "boost")
_TREE_COUNTS = {
    "num_iterations", "num_iteration", "n_iter", "num_tree", "num_trees", "num_round",
    "num_rounds", "nrounds", "num_boost_round", "max_iter",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Candidate:
    """Parameters to try, by their place in ``cv_results_``."""

    place: int
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """One booster: a fold, and candidates that differ in their number of trees."""

    fold: int
    dataset: str
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """What one candidate reached on one fold."""

    place: int
    value: Any
    fit_seconds: float
    score_seconds: float
    n_train: int
    n_test: int


@dataclass(frozen=True, slots=True)
class Job:
    """What all tasks of a search share."""

    token: str
    estimator: Any
    scorer: Any
    rows: InMemory | InFile
    config: dict[str, Any]
    n_datasets: int

    def __call__(self, task: Task) -> list[Score]:
        """Fit one booster on one fold and score its candidates."""
        with sklearn.config_context(**self.config):
            return _evaluate(self, self.rows.load(), task)


def dataset_key(params: Mapping[str, Any]) -> str:
    """Return what a candidate's Dataset depends on."""
    own = {name: value for name, value in params.items() if name not in SHARING}
    return fingerprint(own)


def families(
    estimator: Any, candidates: Sequence[Candidate]
) -> list[tuple[Candidate, ...]]:
    """Group candidates whose boosters are beginnings of one booster."""
    found: dict[Hashable, list[Candidate]] = {}
    for candidate in candidates:
        params = dict(candidate.params)
        count = params.pop("n_estimators", None)
        alone = (
            not isinstance(count, int | np.integer)
            or isinstance(count, bool)
            or count <= 0
            or _counts_apart(estimator, candidate.params)
        )
        key = candidate.place if alone else fingerprint(params)
        found.setdefault(key, []).append(candidate)
    return [tuple(family) for family in found.values()]


def _counts_apart(estimator: Any, params: Mapping[str, Any]) -> bool:
    """Tell whether fewer trees are not the beginning of more of them."""
    every = {**estimator.get_params(), **params}
    dart = any(every.get(name) == "dart" for name in _BOOSTING)
    return dart or bool(_TREE_COUNTS & every.keys())


@dataclass(slots=True)
class _Lane:
    """A Dataset, the estimator that made it, and the rows that it is tested on."""

    template: Any
    dataset: lgb.Dataset
    test: tuple[Any, Any, dict[str, Any]]
    n_train: int


class _Lanes:
    """Datasets that no task is using; a Dataset serves one task at a time."""

    def __init__(self) -> None:
        self._idle: OrderedDict[tuple[Any, ...], list[_Lane]] = OrderedDict()
        self._lock = Lock()

    def take(self, key: tuple[Any, ...]) -> _Lane | None:
        """Return an idle Dataset, if there is one."""
        with self._lock:
            idle = self._idle.pop(key, [])
            lane = idle.pop() if idle else None
            if idle:
                self._idle[key] = idle
            return lane

    def give_back(self, key: tuple[Any, ...], lane: _Lane, most: int) -> None:
        """Keep a Dataset for the next task, and forget the longest unused ones."""
        with self._lock:
            self._idle.setdefault(key, []).append(lane)
            self._idle.move_to_end(key)
            while sum(map(len, self._idle.values())) > most:
                self._idle.popitem(last=False)

    def forget(self, token: str) -> None:
        """Drop what a search has left in this process."""
        with self._lock:
            for key in [key for key in self._idle if key[0] == token]:
                del self._idle[key]


_LANES = _Lanes()


def forget_datasets(token: str) -> None:
    """Drop the Datasets that a search has left in this process."""
    _LANES.forget(token)


class _DatasetCatcher:
    """A LightGBM callback that keeps hold of the training Dataset."""

    before_iteration = True
    order = 0

    def __init__(self) -> None:
        self.dataset: Any = None

    def __call__(self, env: Any) -> None:
        self.dataset = env.model.train_set


def _evaluate(job: Job, rows: SearchRows, task: Task) -> list[Score]:
    """Fit the longest candidate, score each by its first trees."""
    start = time.perf_counter()
    counts = [candidate.params.get("n_estimators") for candidate in task.candidates]
    longest = task.candidates[
        max(range(len(counts)), key=lambda i: counts[i] or 0)
    ].params
    model = clone(job.estimator).set_params(**clone(longest, safe=False))
    if model.n_jobs is None:
        model.set_params(n_jobs=1)
    key = (job.token, task.fold, task.dataset)
    lane = _LANES.take(key)
    if lane is None:
        lane = _open_lane(model, rows, task.fold)
    else:
        _fit_on(lane, model)
    fit_seconds = (time.perf_counter() - start) / len(counts)
    booster = model.booster_
    X, y, params = lane.test
    scores = []
    for candidate, count in zip(task.candidates, counts, strict=True):
        start = time.perf_counter()
        if len(counts) > 1:
            # Boosters are scored whole trees at a time from the first on: sums in any
            # other order could differ in the last bit, and a rank with them.
            booster.best_iteration = int(count or 0)
            model.set_params(n_estimators=count)
        value = job.scorer(model, X, y, **params)
        seconds = time.perf_counter() - start
        scores.append(
            Score(
                candidate.place,
                _plain(value),
                fit_seconds,
                seconds,
                lane.n_train,
                len(rows.splits[task.fold][1]),
            )
        )
    _LANES.give_back(key, lane, job.n_datasets)
    return scores


def _open_lane(model: Any, rows: SearchRows, fold: int) -> _Lane:
    """Fit as LightGBM does, and keep the Dataset that it has binned."""
    X, y, params = rows.part(fold, test=False)
    catcher = _DatasetCatcher()
    model.fit(X, y, **params, callbacks=[catcher])
    test = rows.part(fold, test=True)
    return _Lane(model, catcher.dataset, test, len(rows.splits[fold][0]))


def _fit_on(lane: _Lane, model: Any) -> None:
    """Fit a model on a binned Dataset, with the same result as on its rows."""
    own = {*model.get_params(), "_other_params"}
    for name, value in vars(lane.template).items():
        if name not in own:
            setattr(model, name, value)
    # LightGBM's own translation of its scikit-learn names; there is no public one.
    params = model._process_params(stage="fit")  # noqa: SLF001
    if params["metric"] is None:
        params.pop("metric")
    model._Booster = lgb.train(  # noqa: SLF001
        params, lane.dataset, num_boost_round=model.n_estimators
    )
    model._Booster.free_dataset()  # noqa: SLF001


def _plain(value: Any) -> Any:
    """Return scores as floats."""
    if isinstance(value, Mapping):
        return {name: float(score) for name, score in value.items()}
    number = float(value)
    if math.isnan(number):
        return math.nan
    return number
