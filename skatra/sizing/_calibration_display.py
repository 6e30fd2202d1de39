"""Whether probabilities are right, and what a wrong one stakes."""

from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skatra.sizing._figures import BLUE, VERMILION, clean, new_axes
from skatra.sizing._kelly import _checked
from skatra.sizing._kelly_classifier import KellyClassifier
from skatra.sizing._payoffs import PayoffTable
from skatra.sizing._stakes import capped
from skatra.typing import FloatArray
from skatra.utils import as_finite_column, check_same_rows

__all__ = ["KellyCalibrationDisplay"]

_Z = 1.959963984540054
_STRATEGIES = ("quantile", "uniform")


class KellyCalibrationDisplay:
    """Reliability of probabilities, and the stake that each bin gets and deserves.

    Make it with :meth:`from_estimator` or :meth:`from_predictions`. Above, how often
    the positive class came against how often it was predicted, with intervals of 95 %.
    Below, the stake that each bin got, and the one that the frequency seen would have
    deserved: an error of a probability is a stake too large or on the wrong side.

    Parameters
    ----------
    prob_pred, prob_true : ndarray of shape (n_bins,), float64
        Mean predicted probability of each bin, and the share of positives in it.
    low, high : ndarray of shape (n_bins,), float64
        Wilson's interval of the share, 95 %, for independent rows.
    counts : ndarray of shape (n_bins,), int
        Rows of each bin.
    stakes, deserved : ndarray of shape (n_bins,), float64
        Mean position of the rows of a bin, and the position at `prob_true`.
    curve : pair of ndarray
        Probabilities from 0 to 1 and their positions.

    Attributes
    ----------
    ax_ : two matplotlib Axes
        Reliability above, stakes below.
    figure_ : matplotlib Figure
        The figure of `ax_`.

    See Also
    --------
    sklearn.calibration.CalibrationDisplay : The reliability curve alone.
    KellyGrowthDisplay : What a stake too large costs.

    References
    ----------
    .. [1] M. Meyer, I. Barziy and J. F. Joubert, "Meta-Labeling: Calibration and
       Position Sizing", Journal of Financial Data Science 5(2), 2023.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> import numpy as np
    >>> from skatra.sizing import KellyCalibrationDisplay
    >>> rng = np.random.default_rng(0)
    >>> p = rng.uniform(0.4, 0.6, 4000)
    >>> happened = rng.uniform(size=4000) < p
    >>> too_sure = 0.5 + 2.0 * (p - 0.5)
    >>> display = KellyCalibrationDisplay.from_predictions(happened, too_sure, n_bins=2)
    >>> display.prob_pred.round(2), display.prob_true.round(2)
    (array([0.4, 0.6]), array([0.45, 0.53]))
    >>> display.stakes.round(2), display.deserved.round(2)
    (array([-0.05,  0.05]), array([-0.02,  0.02]))
    """

    def __init__(
        self,
        prob_pred: FloatArray,
        prob_true: FloatArray,
        *,
        low: FloatArray,
        high: FloatArray,
        counts: Any,
        stakes: FloatArray,
        deserved: FloatArray,
        curve: tuple[FloatArray, FloatArray],
    ) -> None:
        self.prob_pred = prob_pred
        self.prob_true = prob_true
        self.low = low
        self.high = high
        self.counts = counts
        self.stakes = stakes
        self.deserved = deserved
        self.curve = curve

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        n_bins: int = 10,
        strategy: str = "quantile",
        ax: Any = None,
    ) -> Self:
        """Draw the probabilities and positions of a fitted KellyClassifier.

        Give rows that it was not fitted on: on its own rows a model looks right.

        Parameters
        ----------
        estimator : KellyClassifier, or Pipeline that ends in one
            Fitted.
        X : array-like of shape (n, n_features)
            Rows to predict.
        y : array-like of shape (n,)
            Their labels, of the classes of the model.
        n_bins : int, default=10
            At most so many bins; equal probabilities stay together.
        strategy : {"quantile", "uniform"}, default="quantile"
            Bins of the same number of rows, or of the same width.
        ax : two matplotlib Axes, default=None
            Where to draw, upper first; None makes a figure.

        Returns
        -------
        KellyCalibrationDisplay

        Raises
        ------
        TypeError
            If the estimator is no KellyClassifier.
        ValueError
            If rows do not match or hold other classes.
        MissingDependencyError
            If matplotlib is not installed.
        """
        check_is_fitted(estimator)
        model = estimator[-1] if hasattr(estimator, "steps") else estimator
        if not isinstance(model, KellyClassifier):
            msg = (
                "estimator must be a KellyClassifier or a pipeline that ends in one, "
                f"got {type(model).__name__}. Use from_predictions for probabilities "
                "of other models."
            )
            raise TypeError(msg)
        check_same_rows(X=X, y=y)
        labels = np.asarray(y)
        strange = ~np.isin(labels, model.classes_)
        if strange.any():
            msg = (
                f"y must hold the classes {model.classes_.tolist()}, got "
                f"{labels[strange][0]!r}."
            )
            raise ValueError(msg)

        def positions(p: FloatArray) -> FloatArray:
            return capped(
                model.payoff_table_.fraction(p),
                model.kelly_multiplier_,
                model.side,
                model.max_position,
                model.concurrency_,
            )

        return cls._binned(
            labels == model.classes_[1],
            np.asarray(estimator.predict_proba(X), dtype=np.float64)[:, 1],
            np.asarray(estimator.decision_function(X), dtype=np.float64),
            positions,
            n_bins,
            strategy,
        ).plot(ax=ax)

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_prob: Any,
        *,
        payoff_table: PayoffTable | None = None,
        kelly_multiplier: float = 0.25,
        side: str = "both",
        max_position: float = 1.0,
        n_bins: int = 10,
        strategy: str = "quantile",
        ax: Any = None,
    ) -> Self:
        """Draw given probabilities and the positions that follow from them.

        Parameters
        ----------
        y_true : array-like of shape (n,)
            Whether the event happened: True or 1, False or 0.
        y_prob : array-like of shape (n,)
            Predicted probabilities of the event, in [0, 1].
        payoff_table : PayoffTable, default=None
            Full Kelly of a probability; None stands for payoffs of +1 and -1.
        kelly_multiplier : float in [0, 1], default=0.25
            Share of full Kelly staked.
        side : {"both", "long", "short"}, default="both"
            Sides that may be taken.
        max_position : float > 0, default=1.0
            Largest absolute position.
        n_bins : int, default=10
            At most so many bins; equal probabilities stay together.
        strategy : {"quantile", "uniform"}, default="quantile"
            Bins of the same number of rows, or of the same width.
        ax : two matplotlib Axes, default=None
            Where to draw, upper first; None makes a figure.

        Returns
        -------
        KellyCalibrationDisplay

        Raises
        ------
        ValueError
            If values are out of range or rows do not match.
        MissingDependencyError
            If matplotlib is not installed.
        """
        check_same_rows(y_true=y_true, y_prob=y_prob)
        happened = as_finite_column(np.asarray(y_true, dtype=np.float64), "y_true")
        strange = happened[~np.isin(happened, (0.0, 1.0))]
        if len(strange):
            msg = (
                f"y_true must hold 0 and 1, or False and True, got {strange[0]:g}. "
                "Pass y == positive_class."
            )
            raise ValueError(msg)
        p = _checked(as_finite_column(y_prob, "y_prob"), "y_prob", upper=1.0)
        multiplier = float(_checked(kelly_multiplier, "kelly_multiplier", upper=1.0))
        limit = float(_checked(max_position, "max_position", positive=True))
        if side not in ("both", "long", "short"):
            msg = f"side must be 'both', 'long' or 'short', got {side!r}."
            raise ValueError(msg)
        table = payoff_table or PayoffTable.from_returns([1.0, -1.0], [True, False])

        def positions(p: FloatArray) -> FloatArray:
            return capped(table.fraction(p), multiplier, side, limit)

        return cls._binned(
            happened == 1.0, p, positions(p), positions, n_bins, strategy
        ).plot(ax=ax)

    @classmethod
    def _binned(
        cls,
        happened: Any,
        p: FloatArray,
        stakes: FloatArray,
        positions: Any,
        n_bins: Any,
        strategy: str,
    ) -> Self:
        """Take the means of bins."""
        if not isinstance(n_bins, int | np.integer) or n_bins < 1:
            msg = f"n_bins must be an integer of at least 1, got {n_bins!r}."
            raise ValueError(msg)
        if strategy not in _STRATEGIES:
            msg = f"strategy must be one of {_STRATEGIES}, got {strategy!r}."
            raise ValueError(msg)
        if not len(p):
            msg = "at least one row is needed, got none."
            raise ValueError(msg)
        share = np.linspace(0.0, 1.0, n_bins + 1)
        edges = share if strategy == "uniform" else np.quantile(p, share)
        places = np.searchsorted(np.unique(edges)[1:-1], p, side="right")
        _, places = np.unique(places, return_inverse=True)
        counts = np.bincount(places)
        truth = np.bincount(places, weights=happened) / counts
        low, high = _wilson(truth, counts)
        grid = np.linspace(0.0, 1.0, 401)
        return cls(
            np.bincount(places, weights=p) / counts,
            truth,
            low=low,
            high=high,
            counts=counts,
            stakes=np.bincount(places, weights=stakes) / counts,
            deserved=positions(truth),
            curve=(grid, positions(grid)),
        )

    def plot(self, *, ax: Any = None) -> Self:
        """Draw reliability above and stakes below.

        Parameters
        ----------
        ax : two matplotlib Axes, default=None
            Where to draw, upper first; None makes a figure.

        Returns
        -------
        KellyCalibrationDisplay
            Itself, with the axes it drew on.

        Raises
        ------
        ValueError
            If other than two axes are given.
        MissingDependencyError
            If matplotlib is not installed.
        """
        upper, lower = self.ax_ = new_axes(2, (6.4, 6.4), ax, "ax")
        self.figure_ = upper.figure
        self._draw_reliability(upper)
        self._draw_stakes(lower)
        ends = np.concatenate([self.prob_pred, self.low, self.high])
        margin = 0.06 * max(float(np.ptp(self.prob_pred)), 0.05)
        lower.set_xlim(
            max(0.0, self.prob_pred.min() - margin),
            min(1.0, self.prob_pred.max() + margin),
        )
        upper.set_xlim(lower.get_xlim())
        upper.set_ylim(max(0.0, ends.min() - margin), min(1.0, ends.max() + margin))
        for one in (upper, lower):
            clean(one)
        return self

    def _draw_reliability(self, ax: Any) -> None:
        ax.plot(
            [0, 1], [0, 1], color="0.5", ls=":", lw=1.2, label="perfectly calibrated"
        )
        error = np.abs([self.prob_true - self.low, self.high - self.prob_true])
        ax.errorbar(
            self.prob_pred,
            self.prob_true,
            yerr=error,
            color=BLUE,
            marker="o",
            ms=5,
            lw=1.4,
            elinewidth=1.0,
            capsize=2,
            label="share seen, with 95 % interval",
        )
        ax.set_ylabel("share of positives")
        ax.legend(frameon=False, loc="upper left")

    def _draw_stakes(self, ax: Any) -> None:
        ax.axhline(0.0, color="0.5", lw=0.8)
        ax.plot(*self.curve, color="0.5", lw=1.2, label="stake of a probability")
        ax.vlines(self.prob_pred, self.stakes, self.deserved, color="0.65", lw=1.2)
        ax.plot(
            self.prob_pred, self.stakes, "o", color=BLUE, ms=6, label="stake of the bin"
        )
        ax.plot(
            self.prob_pred,
            self.deserved,
            "D",
            color=VERMILION,
            mfc="none",
            ms=6,
            mew=1.5,
            label="stake the share seen deserves",
        )
        inside = (self.curve[0] >= self.prob_pred.min() - 0.02) & (
            self.curve[0] <= self.prob_pred.max() + 0.02
        )
        shown = np.concatenate([self.stakes, self.deserved, self.curve[1][inside], [0]])
        pad = 0.08 * max(float(np.ptp(shown)), 1e-3)
        ax.set_ylim(shown.min() - pad, shown.max() + pad)
        ax.set(xlabel="predicted probability", ylabel="position")
        ax.legend(frameon=False, loc="upper left")


def _wilson(share: FloatArray, counts: Any) -> tuple[FloatArray, FloatArray]:
    """Return Wilson's interval of 95 % for shares of so many rows."""
    centre = (share + _Z**2 / (2 * counts)) / (1 + _Z**2 / counts)
    half = (
        _Z
        * np.sqrt(share * (1 - share) / counts + _Z**2 / (4 * counts**2))
        / (1 + _Z**2 / counts)
    )
    return centre - half, centre + half
