"""A LightGBM search that bins once per fold, behind scikit-learn's face."""

import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Self

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.utils import indexable

from skatra.retraining._boosters import Candidate, Score
from skatra.retraining._fold_data import SearchRows
from skatra.retraining._scoring import Scorer, TrialLedger
from skatra.retraining._tasks import make_backend
from skatra.utils import check_method_params

_REFUSED = (
    "callbacks",
    "eval_X",
    "eval_class_weight",
    "eval_group",
    "eval_init_score",
    "eval_names",
    "eval_sample_weight",
    "eval_set",
    "eval_y",
    "init_model",
)


class LGBMSearch(GridSearchCV):
    """What LightGBM searches share: checks, folds, results and the last fit."""

    estimator: Any
    scoring: Any
    n_jobs: int | None
    refit: Any
    cv: Any
    verbose: int
    error_score: Any
    backend: Any
    ledger: TrialLedger | None
    should_stop: Callable[[], bool] | None
    return_train_score = False

    def __sklearn_clone__(self) -> Self:
        """Return an unfitted twin that shares the ledger, the backend and the stop."""
        shared = ("backend", "ledger", "should_stop")
        twin = type(self)(
            **{
                name: value if name in shared else clone(value, safe=False)
                for name, value in self.get_params(deep=False).items()
            }
        )
        if hasattr(self, "_metadata_request"):
            twin._metadata_request = deepcopy(self._metadata_request)  # noqa: SLF001
        return twin

    @abstractmethod
    def _candidates_scored(
        self, scorer: Scorer, n_splits: int
    ) -> tuple[list[dict[str, Any]], list[list[Score]]]:
        """Return candidates and the scores of each on every fold."""

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Score every candidate on every fold, then fit the best one on all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Whatever LightGBM takes.
        y : array-like of shape (n_samples,), default=None
            The target.
        **params : dict
            ``label_times`` for the splitter, ``sample_weight`` for fits and scores,
            other parameters of ``fit``: with metadata routing, whoever requested them
            gets them; without, as in :class:`~sklearn.model_selection.GridSearchCV`.

        Returns
        -------
        self : object
            Itself.

        Raises
        ------
        TypeError
            If ``estimator`` is no LGBMClassifier or LGBMRegressor.
        ValueError
            If there is nothing to try, or a parameter of ``fit`` is passed that
            cannot be shared among candidates (``eval_set``, ``callbacks``).
        SearchStoppedError
            If ``should_stop()`` became true.
        WorkersNotReadyError
            If the workers of a cluster cannot do the work.
        """
        self._check()
        scorers, refit_metric = self._get_scorers()
        X, y = indexable(X, y)
        routed = self._get_routed_params_for_fit(check_method_params(X, params, None))
        fit_params = dict(routed.estimator.fit)
        if refused := sorted(set(fit_params) & set(_REFUSED)):
            msg = (
                f"{type(self).__name__} shares boosters among candidates and cannot "
                f"pass on {', '.join(refused)}. Use GridSearchCV for them; to stop "
                "early without leaks, see PurgedEarlyStoppingClassifier."
            )
            raise ValueError(msg)
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(cv.split(X, y, **routed.splitter.split))
        self.n_splits_ = len(splits)
        score_params = dict(routed.scorer.score)
        scorer = Scorer(
            clone(self.estimator),
            scorers,
            SearchRows(X, y, fit_params, score_params, splits),
            scoring=self.scoring,
            backend=make_backend(self.backend, self.n_jobs),
            ledger=self.ledger,
            should_stop=self.should_stop,
            error_score=self.error_score,
        )
        candidates, scores = self._candidates_scored(scorer, len(splits))
        results = self._results(candidates, scores, len(splits))
        self.n_scores_from_ledger_ = scorer.n_taken
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(scores[0][0].value)
            refit_metric = self.refit
        self._choose(results, refit_metric)
        if self.refit:
            self._fit_best(X, y, fit_params)
        self.scorer_ = getattr(scorers, "_scorers", scorers)
        self.cv_results_ = results
        return self

    def _check(self) -> None:
        if type(self.estimator) not in (LGBMClassifier, LGBMRegressor):
            msg = (
                "estimator must be an LGBMClassifier or LGBMRegressor, got "
                f"{type(self.estimator).__name__}. Any other estimator, a pipeline "
                "too, can be searched by GridSearchCV(estimator, grid, "
                "cv=PurgedKFold(...))."
            )
            raise TypeError(msg)

    def _results(
        self,
        candidates: list[dict[str, Any]],
        scores: list[list[Score]],
        n_splits: int,
    ) -> dict[str, Any]:
        """Return what ``cv_results_`` holds."""
        if not candidates or not n_splits:
            msg = (
                f"No fits were performed: param_grid gives {len(candidates)} "
                f"candidates and cv {n_splits} splits. Give at least one of each."
            )
            raise ValueError(msg)
        flat = [score for row in scores for score in row]
        whole = next((s.value for s in flat if isinstance(s.value, Mapping)), None)
        self.multimetric_ = whole is not None
        out = []
        for score in flat:
            value = score.value
            if whole is not None and not isinstance(value, Mapping):
                value = dict.fromkeys(whole, value)
            out.append(
                {
                    "fit_time": score.fit_seconds,
                    "score_time": score.score_seconds,
                    "test_scores": value,
                }
            )
        results: dict[str, Any] = self._format_results(candidates, n_splits, out)
        return results

    def _choose(self, results: dict[str, Any], refit_metric: Any) -> None:
        """Set ``best_index_``, ``best_score_`` and ``best_params_``."""
        if not self.refit and self.multimetric_:
            return
        self.best_index_ = self._select_best_index(self.refit, refit_metric, results)
        if not callable(self.refit):
            self.best_score_ = results[f"mean_test_{refit_metric}"][self.best_index_]
        self.best_params_ = results["params"][self.best_index_]

    def _fit_best(self, X: Any, y: Any, fit_params: dict[str, Any]) -> None:
        """Fit the best candidate on all rows, by one thread unless told otherwise."""
        best = clone(self.estimator).set_params(**clone(self.best_params_, safe=False))
        n_jobs = best.n_jobs
        start = time.perf_counter()
        best.set_params(n_jobs=1 if n_jobs is None else n_jobs)
        best.fit(X, y, **fit_params)
        best.set_params(n_jobs=n_jobs)
        self.refit_time_ = time.perf_counter() - start
        self.best_estimator_ = best
        if hasattr(best, "feature_names_in_") and hasattr(X, "columns"):
            self.feature_names_in_ = best.feature_names_in_


class PurgedLGBMSearchCV(LGBMSearch):
    """Search LightGBM's parameters under purged splits, binning once per fold.

    Gives the results of :class:`~sklearn.model_selection.GridSearchCV` around
    :class:`lightgbm.LGBMClassifier` (equal to 1e-12), for less work: candidates that
    differ in parameters of the trees only share one binned Dataset per fold, made of
    its training rows alone, and candidates that differ in ``n_estimators`` only are
    scored from the first trees of one booster. Candidates that differ in anything that
    a Dataset depends on (``subsample_for_bin``, ``random_state``,
    ``min_child_samples``, ``class_weight``, ``objective``, ``linear_tree``,
    ``max_bin`` and the others that LightGBM documents as Dataset parameters) get one
    each. LightGBM filters features by ``min_child_samples`` before it bins.

    Every pair of fold and booster is one task, run by one LightGBM thread unless the
    estimator says otherwise (``n_jobs`` of the estimator), and in parallel to others:
    threads that wait for each other are slowed down many times over by a busy
    neighbour, single ones are not.

    Parameters
    ----------
    estimator : LGBMClassifier or LGBMRegressor
        What to tune.
    param_grid : dict, list of dict, or iterable of dict
        A grid (name to values), several, or candidates as such, for example a
        :class:`~sklearn.model_selection.ParameterSampler`; a dict in an iterable
        whose values are no sequences is one candidate.
    cv : splitter, int or iterable of (train, test)
        Usually a :class:`~skatra.model_selection.PurgedKFold`.
    scoring : str, callable, list, tuple or dict, default=None
        As in GridSearchCV.
    n_jobs : int, default=None
        Tasks at a time with threads and processes; None is one per core.
    refit : bool, str or callable, default=True
        As in GridSearchCV.
    error_score : "raise" or float, default="raise"
        Score of a fit that fails.
    backend : {"threads", "processes", "dask"}, str, Client or DaskBackend, default=None
        Where tasks run. A str with "://" is the address of a Dask scheduler. None is
        "threads": LightGBM works outside Python's lock.
    ledger : object, default=None
        Has ``get(key)``, which returns a record or None, and ``put(key, record)``: a
        dict-like store. Scores found there are not computed again; each new one is
        put there at once. The key is the SHA-256 of data, fold, parameters, scoring
        and code.
    should_stop : callable, default=None
        Asked between tasks; when it returns true, tasks in hand are finished and put
        into the ledger, and SearchStoppedError is raised.
    verbose : int, default=0
        Above 0, the number of fits is printed.

    Attributes
    ----------
    cv_results_ : dict of ndarray
        As in GridSearchCV; a booster's time is divided among its candidates.
    best_params_, best_index_, best_score_, best_estimator_, refit_time_
        As in GridSearchCV.
    scorer_, multimetric_, `n_splits_`, classes_
        As in GridSearchCV.
    n_scores_from_ledger_ : int
        Scores that did not have to be computed.

    See Also
    --------
    PurgedOptunaSearchCV : Proposes candidates, and prunes them fold by fold.
    PurgedEarlyStoppingClassifier : Finds the number of trees on purged rows.

    Notes
    -----
    Bits agree with GridSearchCV as far as LightGBM's own do: with
    ``data_sample_strategy="goss"`` results depend on the number of threads, which is
    one here.

    References
    ----------
    Ke et al. (2017), "LightGBM: A Highly Efficient Gradient Boosting Decision Tree",
    NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import sklearn
    >>> from lightgbm import LGBMClassifier
    >>> from skatra.model_selection import PurgedKFold
    >>> from skatra.retraining import PurgedLGBMSearchCV
    >>> rng = np.random.default_rng(0)
    >>> days = pd.date_range("2020-01-01", periods=600, freq="D")
    >>> X = pd.DataFrame(rng.normal(size=(600, 3)), columns=["a", "b", "c"], index=days)
    >>> y = (X["a"] + rng.normal(size=600) > 0).astype(int)
    >>> label_times = pd.Series(days + pd.Timedelta("5D"), index=days)
    >>> search = PurgedLGBMSearchCV(
    ...     LGBMClassifier(verbose=-1),
    ...     {"num_leaves": [3, 15], "n_estimators": [10, 40]},
    ...     cv=PurgedKFold(3),
    ...     scoring="neg_log_loss",
    ... )
    >>> with sklearn.config_context(enable_metadata_routing=True):
    ...     search = search.fit(X, y, label_times=label_times)
    >>> search.best_params_
    {'n_estimators': 40, 'num_leaves': 3}
    """

    def __init__(
        self,
        estimator: Any,
        param_grid: Any,
        *,
        cv: Any,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        error_score: Any = "raise",
        backend: Any = None,
        ledger: TrialLedger | None = None,
        should_stop: Callable[[], bool] | None = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.param_grid = param_grid
        self.cv = cv
        self.scoring = scoring
        self.n_jobs = n_jobs
        self.refit = refit
        self.error_score = error_score
        self.backend = backend
        self.ledger = ledger
        self.should_stop = should_stop
        self.verbose = verbose

    def _candidates_scored(
        self, scorer: Scorer, n_splits: int
    ) -> tuple[list[dict[str, Any]], list[list[Score]]]:
        """Score every candidate on every fold."""
        grid = candidates_of(self.param_grid)
        if self.verbose > 0:
            print(  # noqa: T201
                f"Scoring {len(grid)} candidates on {n_splits} folds, totalling "
                f"{len(grid) * n_splits} fits"
            )
        places = [Candidate(place, params) for place, params in enumerate(grid)]
        folds = range(n_splits)
        with scorer.opened(len(grid) * n_splits):
            done = scorer.score(places, folds)
        return grid, [[done[place, f] for f in folds] for place in range(len(grid))]


def is_positive_int(value: Any) -> bool:
    """Tell whether a parameter is a count of at least one."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def candidates_of(param_grid: Any) -> list[dict[str, Any]]:
    """Return the candidates of a grid, of several, or of an iterable."""
    if isinstance(param_grid, Mapping):
        return list(ParameterGrid(param_grid))
    if not isinstance(param_grid, Iterable) or isinstance(param_grid, str):
        msg = (
            "param_grid must be a dict of name to values, a list of such dicts, or an "
            f"iterable of candidates, got {type(param_grid).__name__}."
        )
        raise TypeError(msg)
    found: list[dict[str, Any]] = []
    for entry in param_grid:
        if not isinstance(entry, Mapping):
            msg = f"param_grid must hold dicts, got {type(entry).__name__}."
            raise TypeError(msg)
        grid = bool(entry) and all(
            isinstance(values, Sequence | np.ndarray) and not isinstance(values, str)
            for values in entry.values()
        )
        found += list(ParameterGrid(dict(entry))) if grid else [dict(entry)]
    return found
