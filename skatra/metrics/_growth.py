"""Growth of capital under positions."""

import numbers
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import sklearn
from sklearn.base import BaseEstimator

from skatra.metrics._path import position_path
from skatra.utils import as_finite_column, check_same_rows, mean_log_growth

__all__ = [
    "GrowthScorer",
    "growth_scorer",
    "log_growth",
]


def log_growth(
    positions: Any, returns: Any, *, cost: float = 0.0, sample_weight: Any = None
) -> float:
    """Return the mean log growth of capital: mean of ``log(1 + f r - cost |f|)``.

    Parameters
    ----------
    positions : array-like of shape (n,)
        Signed fractions of capital f.
    returns : array-like of shape (n,)
        Simple returns r of a long unit position. Where both have a pandas index,
        the indexes must be equal.
    cost : float >= 0, default=0.0
        Paid per unit of capital staked, as a fraction.
    sample_weight : array-like of shape (n,), default=None
        Non-negative weights of the mean.

    Returns
    -------
    float
        In nats per event; -inf if an event takes all capital or more.

    Raises
    ------
    ValueError
        If rows do not match, values are not finite, cost is negative, there are no
        rows, or all weights are 0.

    See Also
    --------
    growth_scorer : The same for model selection.

    References
    ----------
    Kelly (1956), "A New Interpretation of Information Rate", Bell System Technical
    Journal 35, 917-926.

    Examples
    --------
    >>> from skatra.metrics import log_growth
    >>> round(log_growth([0.2, 0.2], [1.0, -0.5]), 6)
    0.038481
    >>> log_growth([1.0, -1.0], [-1.0, 0.5])
    -inf
    """
    _check_cost(cost)
    check_same_rows(positions=positions, returns=returns, sample_weight=sample_weight)
    weight = None
    if sample_weight is not None:
        weight = as_finite_column(sample_weight, "sample_weight", negative=False)
    return mean_log_growth(
        as_finite_column(positions, "positions"),
        as_finite_column(returns, "returns"),
        cost=cost,
        sample_weight=weight,
    )


class GrowthScorer(BaseEstimator):
    """Score estimators by the log growth of their positions.

    Made by :func:`growth_scorer`, which see. A scorer in scikit-learn's sense, that
    requests ``returns`` without being told to.

    Parameters
    ----------
    cost : float, default=0.0
        Paid per unit of capital staked (bought or sold, per time).
    returns : Series, default=None
        Returns held for rows known by their label.
    per : {"event", "time"}, default="event"
        Whether growth is a mean over rows, or a rate over time.

    Examples
    --------
    >>> from skatra.metrics import GrowthScorer
    >>> GrowthScorer(cost=0.001)
    GrowthScorer(cost=0.001)
    """

    # Weights that serve fitting need not serve scoring: ask for them by
    # set_score_request(sample_weight=True).
    __metadata_request__score: ClassVar[dict[str, Any]] = {
        "returns": True,
        "label_times": True,
        "sample_weight": False,
    }

    def __init__(
        self,
        cost: float = 0.0,
        *,
        returns: "pd.Series[Any] | None" = None,
        per: Literal["event", "time"] = "event",
    ) -> None:
        self.cost = cost
        self.returns = returns
        self.per = per

    def __call__(
        self,
        estimator: Any,
        X: Any,
        y: Any = None,
        returns: Any = None,
        sample_weight: Any = None,
        label_times: Any = None,
    ) -> float:
        """Score a fitted estimator, as scikit-learn calls its scorers.

        Parameters
        ----------
        estimator : estimator
            Fitted; its ``decision_function`` gives positions.
        X : array-like of shape (n_samples, n_features)
            Test rows.
        y : ignored
        returns, sample_weight, label_times : array-like, default=None
            As in :meth:`score`.

        Returns
        -------
        float
        """
        return self.score(
            estimator,
            X,
            y,
            returns=returns,
            sample_weight=sample_weight,
            label_times=label_times,
        )

    def score(
        self,
        estimator: Any,
        X: Any,
        y: Any = None,  # noqa: ARG002 - the place of scikit-learn's scorers
        *,
        returns: Any = None,
        sample_weight: Any = None,
        label_times: Any = None,
    ) -> float:
        """Return the log growth of the estimator's positions, per event or day.

        Parameters
        ----------
        estimator : estimator
            Fitted; its ``decision_function`` gives positions.
        X : array-like of shape (n_samples, n_features)
            Test rows.
        y : ignored
            Present for scikit-learn's sake.
        returns : array-like of shape (n_samples,), default=None
            Simple returns of a long unit position; None where they were given at
            construction.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the mean over events; they must be None per time.
        label_times : Series or array-like of shape (n_samples, 2), default=None
            Life of each row's position; needed per time.

        Returns
        -------
        float
            In nats per event, or per day (per 1 for times that are numbers) with
            overlapping positions averaged by time; -inf at ruin.

        Raises
        ------
        ValueError
            If returns are missing, given twice, or do not match X; or, per time, if
            label_times are missing or weights are given.
        """
        if not hasattr(estimator, "decision_function"):
            msg = (
                "growth_scorer scores positions from decision_function, which "
                f"{type(estimator).__name__} lacks. Wrap the classifier in "
                "skatra.sizing.KellyClassifier."
            )
            raise ValueError(msg)
        if self.returns is not None:
            if returns is not None:
                msg = (
                    "returns were given to growth_scorer and routed to it as well. "
                    "Use growth_scorer() when metadata routing is enabled."
                )
                raise ValueError(msg)
            returns = self._held_returns(X)
        if returns is None:
            raise ValueError(_no_returns())
        check_same_rows(
            X=X, returns=returns, sample_weight=sample_weight, label_times=label_times
        )
        if self.per == "time":
            return self._per_time(estimator, X, returns, sample_weight, label_times)
        return log_growth(
            estimator.decision_function(X),
            np.asarray(returns),
            cost=self.cost,
            sample_weight=None if sample_weight is None else np.asarray(sample_weight),
        )

    def _per_time(
        self, estimator: Any, X: Any, returns: Any, weight: Any, label_times: Any
    ) -> float:
        """Return the growth per unit of time, overlapping positions averaged."""
        if weight is not None or label_times is None:
            what = "got none" if label_times is None else "and no sample_weight"
            msg = (
                f"growth_scorer(per='time') needs the label_times of the rows, {what}. "
                "Enable metadata routing and pass label_times= to GridSearchCV.fit or "
                "within params= to cross_validate."
            )
            raise ValueError(msg)
        path = position_path(
            estimator.decision_function(X),
            np.asarray(returns),
            label_times,
            cost=self.cost,
        )
        return path.growth_per_time

    def _held_returns(self, X: Any) -> Any:
        """Return the held returns of the rows of X."""
        held = self.returns
        if not (isinstance(held, pd.Series) and held.index.is_unique):
            repeated = " with repeated labels" * isinstance(held, pd.Series)
            msg = (
                "growth_scorer(returns=) must be a Series with a unique index, got "
                f"{type(held).__name__}{repeated}."
            )
            raise ValueError(msg)
        if not hasattr(X, "index"):
            msg = (
                "growth_scorer(returns=series) matches rows by X.index, got X of type "
                f"{type(X).__name__}. Score a DataFrame, or use metadata routing."
            )
            raise ValueError(msg)
        places = held.index.get_indexer(X.index)
        missing = np.flatnonzero(places < 0)
        if len(missing):
            msg = (
                f"growth_scorer(returns=series) lacks {len(missing)} of {len(X)} rows "
                f"of X, the first is {X.index[missing[0]]!r}."
            )
            raise ValueError(msg)
        return held.iloc[places].set_axis(X.index)


def growth_scorer(
    cost: float = 0.0,
    *,
    returns: "pd.Series[Any] | None" = None,
    per: Literal["event", "time"] = "event",
) -> GrowthScorer:
    """Make a scorer of positions by their log growth, per event or per time.

    With metadata routing enabled it requests ``returns`` by default: pass them to
    ``GridSearchCV(..., scoring=growth_scorer()).fit(X, y, returns=returns)`` or
    ``cross_validate(..., params={"returns": returns})``, and each test fold is
    scored on its own. Weights are requested by
    ``growth_scorer().set_score_request(sample_weight=True)``. Searches turn an error
    of a scorer into a warning and NaN unless ``error_score="raise"`` is set.

    Parameters
    ----------
    cost : float >= 0, default=0.0
        Paid per unit of capital staked.
    returns : Series, default=None
        For tools that do not route metadata, or with routing off: the returns of
        all rows, matched to the scored ones by ``X.index``.
    per : {"event", "time"}, default="event"
        "event" is the mean over rows. "time" is the rate per day of
        :func:`position_path`, where overlapping labels are one position; it takes the
        ``label_times`` that are routed to the splitter as well.

    Returns
    -------
    GrowthScorer
        Callable as ``scorer(estimator, X, y, returns=...)``. A ruinous candidate
        scores -inf and ranks last.

    Raises
    ------
    ValueError
        If cost is negative or not finite, or per is neither.

    See Also
    --------
    log_growth : The metric itself.

    Examples
    --------
    >>> import numpy as np, sklearn
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import TimeSeriesSplit, cross_validate
    >>> from skatra.metrics import growth_scorer
    >>> from skatra.sizing import KellyClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 1))
    >>> returns = 0.01 * X[:, 0] + rng.normal(scale=0.01, size=400)
    >>> with sklearn.config_context(enable_metadata_routing=True):
    ...     scores = cross_validate(
    ...         KellyClassifier(LogisticRegression()), X, returns > 0,
    ...         cv=TimeSeriesSplit(3), scoring=growth_scorer(),
    ...         params={"returns": returns},
    ...     )["test_score"]
    >>> bool(np.all(scores > 0))
    True
    """
    _check_cost(cost)
    if per not in ("event", "time"):
        msg = f"per must be 'event' or 'time', got {per!r}."
        raise ValueError(msg)
    return GrowthScorer(cost, returns=returns, per=per)


def _no_returns() -> str:
    """Return what went wrong without returns, and the way out that is open."""
    routed = sklearn.get_config()["enable_metadata_routing"]
    switch = (
        "Metadata routing is enabled, but nothing was passed: pass"
        if routed
        else "Metadata routing is off: call "
        "sklearn.set_config(enable_metadata_routing=True) and pass"
    )
    return (
        f"growth_scorer needs the returns of the scored rows, got None. {switch} "
        "returns= to GridSearchCV.fit or params={'returns': ...} to cross_validate; or "
        "let the scorer hold them: growth_scorer(returns=series), matched by X.index. "
        "With error_score='raise' a search stops here, instead of scoring NaN."
    )


def _check_cost(cost: Any) -> None:
    """Refuse a cost that is no number, negative or not finite."""
    if not (isinstance(cost, numbers.Real) and 0.0 <= float(cost) < np.inf):
        msg = f"cost must be a number in [0, inf), got {cost!r}."
        raise ValueError(msg)
