"""Feature importance measured on test folds."""

import numbers
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.base import clone
from sklearn.metrics import check_scoring
from sklearn.model_selection import cross_validate

from skatra.exceptions import MissingDependencyError
from skatra.utils import HTMLRepr, as_number

_BASE = "unchanged"


@dataclass(frozen=True, slots=True)
class FeatureImportance(HTMLRepr):
    """Importance of features, or of clusters of features, fold by fold.

    Attributes
    ----------
    per_fold : DataFrame of shape (n_folds, n_features), float64
        One column per feature or cluster.

    Examples
    --------
    >>> import pandas as pd
    >>> from skatra.inspection import FeatureImportance
    >>> FeatureImportance(pd.DataFrame({"a": [0.2, 0.4], "b": [0.0, 0.1]})).to_frame()
       mean  standard_error
    a  0.30            0.10
    b  0.05            0.05
    """

    per_fold: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """Return mean and standard error over the folds, the most important first.

        Returns
        -------
        DataFrame of shape (n_features, 2)
            Columns mean and standard_error (NaN with one fold). Both are NaN, and the
            row is last, where a fold gives no number: ruin with and without shuffling.
        """
        frame = pd.DataFrame(
            {
                "mean": self.per_fold.mean(skipna=False),
                "standard_error": self.per_fold.std(skipna=False)
                / np.sqrt(len(self.per_fold)),
            }
        )
        return frame.sort_values("mean", ascending=False, kind="stable")

    def interval(self, confidence: float = 0.95) -> pd.DataFrame:
        """Return two-sided intervals of the mean over folds, by Student's t.

        Folds share training rows, so that their differences are not independent and
        the intervals are too narrow.

        Parameters
        ----------
        confidence : float, default=0.95
            Strictly between 0 and 1.

        Returns
        -------
        DataFrame of shape (n_features, 2)
            Columns low and high, in the order of :meth:`to_frame`; NaN with one fold.

        Raises
        ------
        ValueError
            If ``confidence`` is out of range.

        References
        ----------
        Student (1908), The probable error of a mean, Biometrika 6(1).

        Examples
        --------
        >>> import pandas as pd
        >>> from skatra.inspection import FeatureImportance
        >>> FeatureImportance(pd.DataFrame({"a": [0.1, 0.2, 0.3]})).interval().round(3)
             low   high
        a -0.048  0.448
        """
        if not 0.0 < as_number(confidence, "confidence") < 1.0:
            raise ValueError(
                f"confidence must lie strictly between 0 and 1, got {confidence!r}."
            )
        frame = self.to_frame()
        freedom = len(self.per_fold) - 1
        reach = stats.t.ppf(0.5 + confidence / 2, freedom) if freedom else np.nan
        reach = reach * frame["standard_error"]
        return pd.DataFrame(
            {"low": frame["mean"] - reach, "high": frame["mean"] + reach}
        )

    def plot(self, ax: Any = None) -> Any:
        """Draw means with one standard error, the most important on top.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        matplotlib Axes
            Where it was drawn.

        Raises
        ------
        MissingDependencyError
            If matplotlib is not installed (``skatra[plot]``).
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            msg = "plots need matplotlib. Install it with: pip install 'skatra[plot]'."
            raise MissingDependencyError(msg) from error
        frame = self.to_frame()[::-1]
        if ax is None:
            height = 1.2 + 0.25 * len(frame)
            ax = Figure(figsize=(6, height), layout="constrained").subplots()
        ax.barh(
            [str(name) for name in frame.index],
            frame["mean"],
            xerr=frame["standard_error"].fillna(0.0),
        )
        ax.axvline(0, color="black", linewidth=1)
        ax.set_xlabel("importance on test folds")
        return ax


def mean_decrease_importance(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    cv: Any,
    scoring: Any = None,
    clusters: Mapping[str, Sequence[Any]] | None = None,
    params: dict[str, Any] | None = None,
    n_repeats: int = 5,
    random_state: int = 0,
    n_jobs: int | None = None,
) -> FeatureImportance:
    """Measure how much worse test folds are scored when a feature is shuffled (MDA).

    The estimator is fitted once per fold; the feature's values are then shuffled
    among the rows of the test fold. With ``clusters`` all features of a cluster are
    shuffled by one permutation, so that what they say in common is lost: among
    features that stand in for each other, each alone looks useless.

    Parameters
    ----------
    estimator : estimator
        Cloned for each fold.
    X : DataFrame or ndarray of shape (n_samples, n_features)
        Rows and features.
    y : array-like of shape (n_samples,)
        Labels.
    cv : splitter or iterable of (train, test)
        Such as ``PurgedKFold``. An integer is refused: its folds would leak on
        overlapping labels, and leaks look important.
    scoring : str, callable or None, default=None
        Any scorer of scikit-learn, or ``growth_scorer()``. None: the estimator's
        own score.
    clusters : mapping of str to sequence of columns, default=None
        Columns shuffled together, by name (by position for arrays), such as
        :func:`feature_clusters` gives. None: each feature alone.
    params : dict, default=None
        Metadata such as ``label_times`` and ``returns``, routed to splitter, fit and
        scorer as by :func:`sklearn.model_selection.cross_validate`; needs metadata
        routing to be enabled.
    n_repeats : int, default=5
        Permutations of each feature, averaged.
    random_state : int, default=0
        Of the permutations.
    n_jobs : int, default=None
        Folds computed in parallel, as in joblib.

    Returns
    -------
    FeatureImportance
        Score of the untouched fold minus score with the feature shuffled; about 0
        for a useless feature, negative where shuffling happens to help.

    Raises
    ------
    ValueError
        If cv is an integer, n_repeats < 1, or clusters name unknown columns.

    See Also
    --------
    single_feature_importance : Not blind to features that stand in for each other.
    sklearn.inspection.permutation_importance : For one fitted model.

    Notes
    -----
    M. López de Prado, Advances in Financial Machine Learning (2018), section 8.3.2,
    and Machine Learning for Asset Managers (2020), section 6.5.2 for clusters. The
    standard error takes folds to be independent and is too small where they share
    training rows. A feature chosen for its importance on these folds was chosen on
    test data: confirm it on later rows.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import KFold
    >>> from skatra.inspection import mean_decrease_importance
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(rng.normal(size=(300, 2)), columns=["signal", "noise"])
    >>> y = X["signal"] + rng.normal(size=300) > 0
    >>> importance = mean_decrease_importance(
    ...     LogisticRegression(), X, y, cv=KFold(5), scoring="accuracy")
    >>> importance.to_frame().index.tolist()
    ['signal', 'noise']
    """
    _check_cv(cv)
    if operator.index(n_repeats) < 1:
        msg = f"n_repeats must be an integer of at least 1, got {n_repeats!r}."
        raise ValueError(msg)
    names = _names(X)
    places = {name: [place] for place, name in enumerate(names)}
    chosen = places if clusters is None else _places(clusters, names)
    scorer = _ShufflingScorer(
        check_scoring(estimator, scoring), list(chosen.values()), n_repeats,
        random_state,
    )  # fmt: skip
    scores = _cross_validate(estimator, X, y, cv, scorer, params, n_jobs)
    columns = {
        name: scores[f"test_{_BASE}"] - scores[f"test_{number}"]
        for number, name in enumerate(chosen)
    }
    return FeatureImportance(pd.DataFrame(columns))


def single_feature_importance(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    cv: Any,
    scoring: Any = None,
    params: dict[str, Any] | None = None,
    n_jobs: int | None = None,
) -> FeatureImportance:
    """Score the estimator on each feature alone (SFI).

    Parameters
    ----------
    estimator : estimator
        Cloned for each feature and fold; fitted on one column.
    X : DataFrame or ndarray of shape (n_samples, n_features)
        Rows and features.
    y : array-like of shape (n_samples,)
        Labels.
    cv : splitter or iterable of (train, test)
        Such as ``PurgedKFold``; an integer is refused.
    scoring : str, callable or None, default=None
        Any scorer of scikit-learn, or ``growth_scorer()``. None: the estimator's
        own score.
    params : dict, default=None
        Metadata, routed as in :func:`mean_decrease_importance`.
    n_jobs : int, default=None
        Folds computed in parallel, as in joblib.

    Returns
    -------
    FeatureImportance
        Scores on the test folds: compare them with the score of no skill, which is 0
        for log growth and the base rate for accuracy.

    Raises
    ------
    ValueError
        If cv is an integer.

    See Also
    --------
    mean_decrease_importance : Sees what features do together.

    Notes
    -----
    M. López de Prado, Advances in Financial Machine Learning (2018), section 8.4.1.
    It is blind to features that help only in company of others.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import KFold
    >>> from skatra.inspection import single_feature_importance
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2))
    >>> y = X[:, 1] + rng.normal(size=300) > 0
    >>> importance = single_feature_importance(
    ...     LogisticRegression(), X, y, cv=KFold(5), scoring="accuracy")
    >>> importance.to_frame().index.tolist()
    [1, 0]
    """
    _check_cv(cv)
    if not hasattr(cv, "split"):
        cv = list(cv)
    columns = {}
    for place, name in enumerate(_names(X)):
        part = X.iloc[:, [place]] if isinstance(X, pd.DataFrame) else X[:, [place]]
        scorer = check_scoring(estimator, scoring)
        scores = _cross_validate(estimator, part, y, cv, scorer, params, n_jobs)
        columns[name] = scores["test_score"]
    return FeatureImportance(pd.DataFrame(columns))


class _ShufflingScorer:
    """Score a fitted model on the rows as they are, and with columns shuffled.

    cross_validate takes the dictionary for several metrics, and routes to the inner
    scorer what it requests.
    """

    def __init__(
        self, scorer: Any, places: list[list[int]], n_repeats: int, seed: int
    ) -> None:
        self.scorer = scorer
        self.places = places
        self.n_repeats = n_repeats
        self.seed = seed

    def __call__(
        self, estimator: Any, X: Any, y: Any, **params: Any
    ) -> dict[str, float]:
        """Return the score of the fold, and the mean score for each set of columns."""
        rng = np.random.default_rng(self.seed)
        n_rows = len(X)
        orders = [rng.permutation(n_rows) for _ in range(self.n_repeats)]
        scores = {_BASE: float(self.scorer(estimator, X, y, **params))}
        for number, places in enumerate(self.places):
            shuffled = [
                self.scorer(estimator, _shuffle(X, places, order), y, **params)
                for order in orders
            ]
            scores[str(number)] = float(np.mean(shuffled))
        return scores

    def get_metadata_routing(self) -> Any:
        """Return what the inner scorer requests."""
        return self.scorer.get_metadata_routing()


def _shuffle(X: Any, places: list[int], order: Any) -> Any:
    """Return a copy with some columns in another row order."""
    changed = X.copy()
    if not isinstance(X, pd.DataFrame):
        changed[:, places] = X[order][:, places]
        return changed
    for place in places:
        column = X.iloc[:, place]
        changed.isetitem(place, column.iloc[order].set_axis(X.index))
    return changed


def _cross_validate(
    estimator: Any,
    X: Any,
    y: Any,
    cv: Any,
    scorer: Any,
    params: dict[str, Any] | None,
    n_jobs: int | None,
) -> dict[str, Any]:
    """Fit and score fold by fold; errors are errors."""
    scores: dict[str, Any] = cross_validate(
        clone(estimator), X, y, cv=cv, scoring=scorer, params=params, n_jobs=n_jobs,
        error_score="raise",
    )  # fmt: skip
    return scores


def _names(X: Any) -> list[Any]:
    """Return the names of the columns, or their positions."""
    if isinstance(X, pd.DataFrame):
        if not X.columns.is_unique:
            twice = X.columns[X.columns.duplicated()].tolist()
            msg = f"X must not repeat a column name, got {twice} twice. Rename them."
            raise ValueError(msg)
        return list(X.columns)
    if getattr(X, "ndim", 0) != 2:
        msg = f"X must be a DataFrame or a 2-d array, got {type(X).__name__}."
        raise ValueError(msg)
    return list(range(X.shape[1]))


def _places(
    clusters: Mapping[str, Sequence[Any]], names: list[Any]
) -> dict[Any, list[int]]:
    """Return the positions of each cluster's columns."""
    known = {name: place for place, name in enumerate(names)}
    places = {}
    for cluster, columns in clusters.items():
        if isinstance(columns, str):
            msg = (
                f"clusters must hold lists of columns; cluster {cluster!r} is the "
                f"text {columns!r}. Pass [{columns!r}]."
            )
            raise ValueError(msg)  # noqa: TRY004 - as of all bad clusters
        strangers = [column for column in columns if column not in known]
        if strangers or not len(columns):
            msg = f"clusters must hold columns of X; cluster {cluster!r} " + (
                f"names {strangers[:3]}." if strangers else "holds none."
            )
            raise ValueError(msg)
        places[cluster] = [known[column] for column in columns]
    return places


def _check_cv(cv: Any) -> None:
    """Refuse integers, which stand for folds that leak."""
    if cv is None or isinstance(cv, numbers.Number | str):
        msg = (
            f"cv must be a splitter or an iterable of (train, test), got {cv!r}: the "
            "folds of an integer leak on overlapping labels. Pass a PurgedKFold."
        )
        raise ValueError(msg)
