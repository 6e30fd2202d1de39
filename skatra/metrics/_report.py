"""One honest sentence about a search."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student
from sklearn.base import is_regressor
from sklearn.utils.validation import check_is_fitted

from skatra.metrics._growth import GrowthScorer
from skatra.metrics._overfitting import choose_by_halves
from skatra.typing import FloatArray
from skatra.utils import HTMLRepr, as_number

__all__ = ["OverfittingReport", "overfitting_report"]

_NO_SKILL_IS_0 = ("r2", "explained_variance", "matthews_corrcoef")


@dataclass(frozen=True, slots=True)
class OverfittingReport(HTMLRepr):
    """How much of a search's best score luck explains.

    Made by :func:`overfitting_report`; ``str(report)`` is the sentence.

    Attributes
    ----------
    n_trials : float
        Configurations counted.
    n_splits : int
        Test folds of each.
    best_params : dict
        Of the configuration that the search chose.
    best_score : float
        Its mean score over the folds.
    standard_error : float
        Of that mean, from the spread over the folds.
    reference : float
        Score of no skill.
    luck_score : float
        What the best of n_trials configurations without skill reaches in half of
        such searches.
    deflated_score : float
        best_score - luck_score; above 0 there is more than luck usually gives.
    probability_of_luck : float
        Probability that the best of n_trials configurations without skill looks at
        least as good, in standard errors.
    probability_of_overfitting : float
        Share of the halvings of the folds in which the best of one half is no
        better than the median in the other; NaN below 4 folds or 2 configurations.

    Examples
    --------
    >>> from skatra.metrics import OverfittingReport
    >>> OverfittingReport.__slots__[0]
    'n_trials'
    """

    n_trials: float
    n_splits: int
    best_params: dict[str, Any]
    best_score: float
    standard_error: float
    reference: float
    luck_score: float
    deflated_score: float
    probability_of_luck: float
    probability_of_overfitting: float

    def __str__(self) -> str:
        """Say it in one sentence."""
        trials = f"{self.n_trials:g} configuration{'s' * (self.n_trials != 1)}"
        return (
            f"The best of {trials} scored {self.best_score:.4g} on average over "
            f"{self.n_splits} folds, {abs(self.deflated_score):.4g} "
            f"{'above' if self.deflated_score > 0 else 'below'} what the best of as "
            f"many without skill typically reaches ({self.luck_score:.4g}); luck "
            "alone would look as good with probability "
            f"{self.probability_of_luck:.2g}."
        )


def overfitting_report(
    search: Any,
    *,
    reference: float | None = None,
    n_trials: float | None = None,
    metric: str | None = None,
) -> OverfittingReport:
    """Say how many configurations a search tried, and whether its best is luck.

    The best mean score is compared, in standard errors over the folds, with the
    largest of ``n_trials`` Student t variables: what the best of as many
    configurations without skill would show.

    Parameters
    ----------
    search : fitted GridSearchCV, RandomizedSearchCV or the like
        Scores per fold are read from ``cv_results_``. Scores that are not finite
        (ruin, failed fits) count as trials.
    reference : float, default=None
        Score of a model without skill, such as the base rate for accuracy. None: 0
        for ``growth_scorer``, R^2, explained variance and Matthews' correlation, 0.5
        for the area under the ROC curve; refused for any other score, since against
        0 a useless model would look skilled.
    n_trials : float, default=None
        Independent configurations. None: all that the search tried, as if they were
        independent, which overstates luck where they are alike. Give a larger
        number to count earlier searches on the same data.
    metric : str, default=None
        Name of the score when several were recorded. None: the one that the search
        was refitted for.

    Returns
    -------
    OverfittingReport
        ``print`` it for the sentence.

    Raises
    ------
    NotFittedError
        If the search is not fitted.
    ValueError
        If there is one fold only, the scores of the best do not vary or are not
        finite, reference is not finite or unknown, n_trials < 1, or no score has the
        metric's name.

    See Also
    --------
    growth_scorer : Scores whose reference is 0.
    deflated_sharpe_ratio : For a record of returns.

    Notes
    -----
    Assumes folds of about equal size whose test rows do not overlap and whose mean
    scores are nearly normal. The training rows of K folds do overlap, and a drifting
    market moves all folds together: the standard error is then too small and the
    report too kind. It fails when the configurations were chosen after looking at
    the same data by hand; count those with ``n_trials``.

    The maximum of n independent variables with distribution F has distribution F^n;
    the idea is that of the deflated Sharpe ratio (Bailey and López de Prado, 2014),
    with Student's t in place of the normal distribution, as folds are few.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyRegressor
    >>> from sklearn.model_selection import GridSearchCV, KFold
    >>> from skatra.metrics import overfitting_report
    >>> y = np.random.default_rng(0).normal(size=200)
    >>> search = GridSearchCV(
    ...     DummyRegressor(strategy="quantile"), {"quantile": [0.1, 0.3, 0.5, 0.7]},
    ...     cv=KFold(8), scoring="r2").fit(np.zeros((200, 1)), y)
    >>> print(overfitting_report(search))
    The best of 4 configurations scored ... on average over 8 folds, ... below what
    the best of as many without skill typically reaches (...); luck alone would look
    as good with probability 1.
    """
    check_is_fitted(search, "cv_results_")
    results = search.cv_results_
    name = _metric(search, metric)
    scores = _fold_scores(results, name)
    if reference is None:
        reference = _no_skill(search, name)
    n_splits = scores.shape[1]
    if n_splits < 2:
        msg = "the search must have at least 2 folds: one score has no spread, got 1."
        raise ValueError(msg)
    last = np.ones(len(scores), dtype=bool)
    if "iter" in results:  # halving: only the last round's scores are comparable
        last = np.asarray(results["iter"]) == np.max(results["iter"])
    best = _best(search, scores, last, metric)
    tried = _n_tried(search, scores) if n_trials is None else n_trials
    if not np.isfinite(as_number(reference, "reference")):
        msg = f"reference must be a finite score, got {reference!r}."
        raise ValueError(msg)
    if not 1 <= as_number(tried, "n_trials") < np.inf:
        msg = f"n_trials must be a finite number of at least 1, got {n_trials!r}."
        raise ValueError(msg)
    mean = float(scores[best].mean())
    error = float(scores[best].std(ddof=1) / np.sqrt(n_splits))
    if not (np.isfinite(error) and error > 1e-14 * np.abs(scores[best]).max()):
        msg = (
            "the best configuration's scores must be finite and vary over the folds, "
            f"got {scores[best].tolist()}."
        )
        raise ValueError(msg)
    freedom = n_splits - 1
    single = student.sf((mean - reference) / error, freedom)
    luck = reference + error * student.isf(-np.expm1(np.log(0.5) / tried), freedom)
    with np.errstate(divide="ignore"):
        luck_alone = float(-np.expm1(tried * np.log1p(-single)))
    return OverfittingReport(
        n_trials=tried,
        n_splits=n_splits,
        best_params=dict(results["params"][best]),
        best_score=mean,
        standard_error=error,
        reference=float(reference),
        luck_score=float(luck),
        deflated_score=float(mean - luck),
        probability_of_luck=luck_alone,
        probability_of_overfitting=_overfitting(scores[last]),
    )


def _metric(search: Any, metric: str | None) -> str:
    """Return the name under which the scores are recorded."""
    if metric is not None:
        return metric
    return search.refit if isinstance(search.refit, str) else "score"


def _no_skill(search: Any, metric: str) -> float:
    """Return the score of no skill where it is known, else ask for it."""
    scoring = getattr(search, "scoring", None)
    if isinstance(scoring, Mapping):
        scoring = scoring[metric]
    elif isinstance(scoring, list | tuple | set):
        scoring = metric
    inner = getattr(search, "estimator", None)
    if scoring is None and inner is not None and is_regressor(inner):
        scoring = "r2"
    if isinstance(scoring, GrowthScorer) or scoring in _NO_SKILL_IS_0:
        return 0.0
    if isinstance(scoring, str) and scoring.startswith("roc_auc"):
        return 0.5
    shown = "the estimator's own score" if scoring is None else repr(scoring)
    msg = (
        f"reference must be given for {shown}: what does a model without skill score? "
        "0 for log growth, the share of the largest class for accuracy."
    )
    raise ValueError(msg)


def _fold_scores(results: dict[str, Any], metric: str) -> FloatArray:
    """Return the table of scores, one row per configuration, one column per fold."""
    columns: list[FloatArray] = []
    while (name := f"split{len(columns)}_test_{metric}") in results:
        columns.append(np.asarray(results[name], dtype=np.float64))
    if not columns:
        known = sorted(
            name.removeprefix("mean_test_")
            for name in results
            if name.startswith("mean_test_")
        )
        msg = f"metric must be one of the recorded scores {known}, got {metric!r}."
        raise ValueError(msg)
    return np.column_stack(columns)


def _best(search: Any, scores: FloatArray, last: Any, metric: str | None) -> int:
    """Return the row that the search chose, or would choose by the metric."""
    if metric is None and hasattr(search, "best_index_"):
        return int(search.best_index_)
    means = np.where(last, scores.mean(axis=1), -np.inf)
    return int(np.argmax(np.where(np.isnan(means), -np.inf, means)))


def _n_tried(search: Any, scores: FloatArray) -> float:
    """Return the number of configurations, each counted once."""
    return (
        int(search.n_candidates_[0])
        if hasattr(search, "n_candidates_")
        else len(scores)
    )


def _overfitting(scores: FloatArray) -> float:
    """Return the probability of overfitting with folds as blocks, NaN if too few."""
    table = scores[np.all(np.isfinite(scores), axis=1)].T
    n_blocks = min(len(table) // 2 * 2, 16)
    if n_blocks < 4 or table.shape[1] < 2:
        return np.nan
    return choose_by_halves(table[:n_blocks, None, :], "mean").probability
