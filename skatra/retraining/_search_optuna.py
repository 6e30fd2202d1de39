"""Optuna proposes candidates, folds prune them."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from skatra.exceptions import MissingDependencyError
from skatra.retraining._boosters import Candidate, Score
from skatra.retraining._scoring import Scorer, TrialLedger
from skatra.retraining._search import LGBMSearch, is_positive_int


class PurgedOptunaSearchCV(LGBMSearch):
    """Let Optuna search LightGBM's parameters, and drop bad candidates after each fold.

    Candidates are proposed one by one or, with several workers, in rounds of as many.
    Those of a round are scored on one fold after the other; after each fold the mean
    score so far is reported to Optuna, whose pruner may stop a candidate there. Scores
    are those of :class:`PurgedLGBMSearchCV`, from the same tasks, and go through the
    same ledger.

    Parameters
    ----------
    estimator : LGBMClassifier or LGBMRegressor
        What to tune.
    param_distributions : dict
        Name of a parameter to an ``optuna.distributions`` object, or to a list of
        choices.
    cv : splitter, int or iterable of (train, test)
        Usually a :class:`~skatra.model_selection.PurgedKFold`.
    n_trials : int, default=50
        Candidates to propose.
    scoring : str or callable, default=None
        One score, to be maximised.
    n_jobs : int, default=None
        Candidates in a round, and tasks at a time; None is one per core. With the same
        number, seed and data, a search repeats itself.
    refit : bool, default=True
        Fit the best candidate on all rows.
    error_score : "raise" or float, default="raise"
        Score of a fit that fails.
    backend : {"threads", "processes", "dask"}, str, Client or DaskBackend, default=None
        Where tasks run. A str with "://" is the address of a Dask scheduler. None is
        "threads": LightGBM works outside Python's lock.
    ledger : object, default=None
        Has ``get(key)``, which returns a record or None, and ``put(key, record)``: a
        dict-like store. Scores found there are not computed again; each new one is put
        there at once. The key is the SHA-256 of data, fold, parameters, scoring and
        code.
    should_stop : callable, default=None
        Asked between tasks; when it returns true, tasks in hand are finished and put
        into the ledger, and SearchStoppedError is raised.
    sampler : optuna.samplers.BaseSampler, default=None
        None is ``TPESampler(seed=random_state)``.
    pruner : optuna.pruners.BasePruner, default=None
        None is ``MedianPruner()``: drop what is worse than the median of earlier
        candidates on as many folds.
    random_state : int, default=None
        Seed of the default sampler.
    verbose : int, default=0
        Above 0, the number of fits is printed.

    Attributes
    ----------
    study_ : optuna.Study
        Every trial, the pruned ones with their scores so far.
    n_pruned_ : int
        Trials that did not see every fold.
    cv_results_ : dict of ndarray
        As in GridSearchCV, of the trials that were not pruned, with their number in
        the study as ``trial``.
    best_params_, best_index_, best_score_, best_estimator_, refit_time_
        As in GridSearchCV.
    n_scores_from_ledger_ : int
        Scores that did not have to be computed.

    Raises
    ------
    MissingDependencyError
        In ``fit``, if the extra ``skatra[optuna]`` is not installed.

    See Also
    --------
    PurgedLGBMSearchCV : Tries every candidate of a grid.

    References
    ----------
    Akiba et al. (2019), "Optuna: A Next-generation Hyperparameter Optimization
    Framework", KDD.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import sklearn
    >>> from lightgbm import LGBMClassifier
    >>> from skatra.model_selection import PurgedKFold
    >>> from skatra.retraining import PurgedOptunaSearchCV
    >>> rng = np.random.default_rng(0)
    >>> days = pd.date_range("2020-01-01", periods=600, freq="D")
    >>> X = rng.normal(size=(600, 3))
    >>> y = (X[:, 0] + rng.normal(size=600) > 0).astype(int)
    >>> label_times = pd.Series(days + pd.Timedelta("5D"), index=days)
    >>> search = PurgedOptunaSearchCV(
    ...     LGBMClassifier(n_estimators=20, verbose=-1),
    ...     {"num_leaves": [3, 7, 31]},
    ...     cv=PurgedKFold(3),
    ...     scoring="neg_log_loss",
    ...     n_trials=8,
    ...     random_state=0,
    ... )
    >>> with sklearn.config_context(enable_metadata_routing=True):
    ...     search = search.fit(X, y, label_times=label_times)
    >>> search.best_params_
    {'num_leaves': 3}
    """

    def __init__(
        self,
        estimator: Any,
        param_distributions: Any,
        *,
        cv: Any,
        n_trials: int = 50,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        error_score: Any = "raise",
        backend: Any = None,
        ledger: TrialLedger | None = None,
        should_stop: Callable[[], bool] | None = None,
        sampler: Any = None,
        pruner: Any = None,
        random_state: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.param_distributions = param_distributions
        self.cv = cv
        self.n_trials = n_trials
        self.scoring = scoring
        self.n_jobs = n_jobs
        self.refit = refit
        self.error_score = error_score
        self.backend = backend
        self.ledger = ledger
        self.should_stop = should_stop
        self.sampler = sampler
        self.pruner = pruner
        self.random_state = random_state
        self.verbose = verbose

    def _check(self) -> None:
        super()._check()
        if not isinstance(self.scoring, str | None) and not callable(self.scoring):
            msg = f"scoring must be one score to maximise, got {self.scoring!r}."
            raise TypeError(msg)
        if not is_positive_int(self.n_trials):
            msg = f"n_trials must be an int of at least 1, got {self.n_trials!r}."
            raise ValueError(msg)

    def _candidates_scored(
        self, scorer: Scorer, n_splits: int
    ) -> tuple[list[dict[str, Any]], list[list[Score]]]:
        """Propose, score fold by fold, prune."""
        optuna = _optuna()
        space = _distributions(optuna, self.param_distributions)
        self.study_ = optuna.create_study(
            direction="maximize",
            sampler=self.sampler or optuna.samplers.TPESampler(seed=self.random_state),
            pruner=self.pruner or optuna.pruners.MedianPruner(),
        )
        found: list[tuple[Any, list[Score]]] = []
        with scorer.opened(self.n_trials * n_splits):
            width = scorer.backend.slots(self.n_trials)
            for first in range(0, self.n_trials, width):
                trials = [
                    self.study_.ask(space)
                    for _ in range(min(width, self.n_trials - first))
                ]
                found += self._round(trials, scorer, n_splits)
        self.n_pruned_ = self.n_trials - len(found)
        self._trial_numbers = [trial.number for trial, _ in found]
        return [dict(trial.params) for trial, _ in found], [row for _, row in found]

    def _round(
        self, trials: list[Any], scorer: Scorer, n_splits: int
    ) -> list[tuple[Any, list[Score]]]:
        """Score trials on one fold after the other; return those that saw them all."""
        rows: dict[int, list[Score]] = {trial.number: [] for trial in trials}
        alive = list(trials)
        for fold in range(n_splits):
            places = [Candidate(trial.number, dict(trial.params)) for trial in alive]
            done = scorer.score(places, [fold])
            for trial in list(alive):
                row = rows[trial.number]
                row.append(done[trial.number, fold])
                mean = float(np.mean([score.value for score in row]))
                trial.report(mean, fold)
                if fold < n_splits - 1 and trial.should_prune():
                    self.study_.tell(trial, state=_optuna().trial.TrialState.PRUNED)
                    alive.remove(trial)
        for trial in alive:
            mean = float(np.mean([score.value for score in rows[trial.number]]))
            self.study_.tell(trial, mean)
        return [(trial, rows[trial.number]) for trial in alive]

    def _results(
        self,
        candidates: list[dict[str, Any]],
        scores: list[list[Score]],
        n_splits: int,
    ) -> dict[str, Any]:
        """Return what ``cv_results_`` holds, with the trials' numbers."""
        results = super()._results(candidates, scores, n_splits)
        return {**results, "trial": np.array(self._trial_numbers)}


def _optuna() -> Any:
    """Return the extra's module, or say how to get it."""
    try:
        return import_module("optuna")
    except ImportError as error:
        msg = (
            "PurgedOptunaSearchCV needs optuna. Install it with "
            "pip install 'skatra[optuna]'."
        )
        raise MissingDependencyError(msg) from error


def _distributions(optuna: Any, given: Any) -> dict[str, Any]:
    """Return every parameter's distribution; lists are choices."""
    if not isinstance(given, Mapping) or not given:
        msg = (
            "param_distributions must be a dict of name to distribution or list of "
            f"choices, got {given!r}."
        )
        raise ValueError(msg)
    space = {}
    for name, values in given.items():
        if isinstance(values, optuna.distributions.BaseDistribution):
            space[name] = values
        elif isinstance(values, Sequence) and not isinstance(values, str) and values:
            space[name] = optuna.distributions.CategoricalDistribution(list(values))
        else:
            msg = (
                f"param_distributions[{name!r}] must be an optuna distribution or a "
                f"list of choices, got {values!r}."
            )
            raise ValueError(msg)
    return space
