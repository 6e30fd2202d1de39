"""Scores against the number of folds: they keep rising where labels leak."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from html import escape
from inspect import signature
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold, cross_val_score

from skatra.model_selection._split import PurgedKFold
from skatra.typing import LabelTimesLike
from skatra.utils import require_matplotlib

# Vermilion and blue of Okabe and Ito first, with marks of their own.
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKS = "os^Dvx"


@dataclass(frozen=True, slots=True, repr=False)
class LeakDiagnostic:
    """Scores of each splitter against its number of folds.

    Made by :func:`leak_diagnostic`.

    Attributes
    ----------
    mean : DataFrame of shape (n_k, n_splitters), float64
        Mean score over folds; index n_splits, one column per splitter.
    standard_error : DataFrame of the same shape, float64
        Of the mean, taking folds as independent.
    """

    mean: pd.DataFrame
    standard_error: pd.DataFrame

    @property
    def rise(self) -> "pd.Series[float]":
        """Mean score at the most folds less that at the fewest, per splitter."""
        rise: pd.Series[float] = (self.mean.iloc[-1] - self.mean.iloc[0]).rename("rise")
        return rise

    @property
    def summary(self) -> str:
        """One line: how far each splitter's score rises with the folds."""
        first, last = self.mean.index[0], self.mean.index[-1]
        rises = ", ".join(
            f"{value:+.3f} by {name}" for name, value in self.rise.items()
        )
        return f"score from {first} to {last} folds: {rises}"

    def plot(self, ax: Any = None) -> Any:
        """Draw each splitter's scores, with one standard error to both sides.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        ax : matplotlib Axes
            Where it was drawn.

        Raises
        ------
        MissingDependencyError
            If matplotlib is not installed.
        """
        require_matplotlib()
        import matplotlib.pyplot as plt

        if ax is None:
            ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")[1]
        for number, name in enumerate(self.mean.columns):
            mean, error_bar = self.mean[name], self.standard_error[name]
            ax.errorbar(
                mean.index,
                mean,
                yerr=error_bar,
                label=str(name),
                color=_COLOURS[number % len(_COLOURS)],
                marker=_MARKS[number % len(_MARKS)],
                capsize=2.5,
                linewidth=1.6,
                markersize=5,
            )
        ax.set_xscale("log")
        ax.set_xticks(self.mean.index, [str(k) for k in self.mean.index])
        ax.minorticks_off()
        ax.set_xlabel("number of folds")
        ax.set_ylabel("mean score")
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
        ax.legend(frameon=False)
        return ax

    def __repr__(self) -> str:
        """Return the summary and the mean scores."""
        return f"{self.summary}\n{self.mean.round(4).to_string()}"

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.summary)}</p>{self.mean.round(4).to_html(border=0)}"


def leak_diagnostic(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    label_times: "LabelTimesLike",
    n_splits: Sequence[int] = (2, 4, 8, 16, 32),
    splitters: Mapping[str, Any] | None = None,
    scoring: Any = None,
    params: Mapping[str, Any] | None = None,
    n_jobs: int | None = None,
) -> LeakDiagnostic:
    """Score a model at growing numbers of folds, with and without purging.

    The more folds there are, the more training rows lie next to test rows. If
    labels leak, the score goes on rising towards one fold per row; without a leak
    it levels off at some number of folds, beyond which more training data no longer
    help [1]_. Compare the two curves: their gap is what the leak is worth.

    Parameters
    ----------
    estimator : estimator
        Cloned for each fold.

    X : array-like of shape (n, n_features)
        The rows.

    y : array-like of shape (n,)
        Their targets.

    label_times : Series or array-like of shape (n_samples, 2)
        One label per row, in row order: a Series (index t0, values t1) or two
        columns (t0, t1).

    n_splits : sequence of int, default=(2, 4, 8, 16, 32)
        Numbers of folds, rising, each at least 2.

    splitters : dict of str to splitter, default=None
        Splitters by name, each with an attribute `n_splits` that is set on a copy.
        None compares ``KFold(shuffle=True, random_state=0)`` with
        :class:`PurgedKFold`.

    scoring : str, callable or None, default=None
        As in :func:`~sklearn.model_selection.cross_val_score`.

    params : dict, default=None
        Passed to `fit`, e.g. sample_weight; as in `cross_val_score`.

    n_jobs : int, default=None
        Processes.

    Returns
    -------
    diagnostic : LeakDiagnostic
        Prints as a table; see `rise`, `summary` and `plot`.

    Raises
    ------
    LabelTimesError
        If the label times do not fit the rows.
    ValueError
        If `n_splits` does not rise, or a split cannot be made.

    See Also
    --------
    audit_splits : Count leaking pairs without fitting anything.

    References
    ----------
    .. [1] M. López de Prado, *Advances in Financial Machine Learning*, Wiley
       2018, section 7.3.

    Examples
    --------
    Targets that share noise with their neighbours, and features that know nothing
    but the time:

    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsRegressor
    >>> from skatra.model_selection import leak_diagnostic
    >>> rng = np.random.default_rng(0)
    >>> t0 = np.arange(400)
    >>> noise = rng.standard_normal(420)
    >>> y = np.array([noise[t : t + 20].mean() for t in t0])
    >>> diagnostic = leak_diagnostic(
    ...     KNeighborsRegressor(3), t0[:, None], y,
    ...     label_times=np.column_stack([t0, t0 + 19]), n_splits=(2, 4, 8),
    ... )
    >>> bool(diagnostic.mean.loc[8, "KFold(shuffle=True)"] > 0.8)
    True
    >>> bool(diagnostic.mean.loc[8, "PurgedKFold"] < 0)
    True
    """
    counts = [int(k) for k in n_splits]
    if len(counts) < 2 or counts[0] < 2 or (np.diff(counts) <= 0).any():
        raise ValueError(
            "n_splits must hold at least two rising numbers of folds of at least 2, "
            f"got {list(n_splits)}."
        )
    if splitters is None:
        splitters = {
            "KFold(shuffle=True)": KFold(shuffle=True, random_state=0),
            "PurgedKFold": PurgedKFold(),
        }
    scores = {
        (name, k): cross_val_score(
            estimator,
            X,
            y,
            scoring=scoring,
            cv=_splits(name, cv, k, X, y, label_times),
            params=params,
            n_jobs=n_jobs,
            error_score="raise",
        )
        for name, cv in splitters.items()
        for k in counts
    }
    index = pd.Index(counts, name="n_splits")
    mean, error = (
        pd.DataFrame(
            {name: [of(scores[name, k]) for k in counts] for name in splitters},
            index=index,
        )
        for of in (np.mean, _standard_error)
    )
    return LeakDiagnostic(mean, error)


def _splits(
    name: str, cv: Any, k: int, X: Any, y: Any, label_times: Any
) -> list[tuple[Any, Any]]:
    """Return the splits of a copy with k folds."""
    if not hasattr(cv, "n_splits"):
        raise ValueError(
            f"splitters[{name!r}] must have an attribute n_splits to be set, got "
            f"{cv!r}."
        )
    cv = copy(cv)
    cv.n_splits = k
    takes = "label_times" in signature(cv.split).parameters
    options = {"label_times": label_times} if takes else {}
    return list(cv.split(X, y, **options))


def _standard_error(scores: Any) -> float:
    return float(np.std(scores, ddof=1) / np.sqrt(len(scores)))
