"""Probabilities to positions, as a transformer."""

import warnings
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from skatra.sizing._parameters import check_sizer_params
from skatra.sizing._payoffs import PayoffTable
from skatra.sizing._stakes import capped, effective_multiplier
from skatra.typing import FloatArray
from skatra.utils import as_finite_column, check_same_rows

__all__ = ["KellySizer"]


class KellySizer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Transform probabilities into fractional-Kelly positions.

    Every column of X holds probabilities of one event; the position is
    ``kelly_multiplier`` x f*(p). The payoffs of the event are given as ``win`` and
    ``loss``, or learned from the realised ``returns`` of the training rows. To size a
    classifier's own predictions, :class:`KellyClassifier` does both steps and keeps
    its probabilities out of fold.

    Parameters
    ----------
    kelly_multiplier : float in [0, 1] or (alpha, beta), default=0.25
        Share of full Kelly staked. A pair is a drawdown target: the share at which
        wealth ever falls to alpha times its start with probability beta, by
        :func:`kelly_multiplier_for_drawdown`.
    win, loss : float > 0, default=None
        Gain and loss per unit invested. None learns both from ``returns``.
    side : {"both", "long", "short"}, default="both"
        Sides that may be taken.
    max_position : float > 0, default=1.0
        Largest absolute position, as a fraction of capital.

    Attributes
    ----------
    payoff_table_ : PayoffTable
        f*(p) at full Kelly, before multiplier, side and cap.
    kelly_multiplier_ : float
        The share of full Kelly staked, of a drawdown target too.
    n_features_in_ : int
        Number of columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if X had string column names.

    Warns
    -----
    UserWarning
        In ``fit``, if neither payoffs nor returns are given (payoffs are then +-1 and
        f* = 2p - 1), or if the returns hold no gain or no loss (all positions are
        then 0). In ``transform``, if values outside [0, 1] are taken for the nearer.

    See Also
    --------
    KellyClassifier : Wraps the classifier that makes the probabilities.
    kelly_notional : The formula for two payoffs.

    References
    ----------
    Kelly (1956), "A New Interpretation of Information Rate", Bell System Technical
    Journal 35, 917-926.

    Examples
    --------
    >>> import pandas as pd
    >>> from skatra.sizing import KellySizer
    >>> proba = pd.DataFrame({"up": [0.3, 0.5, 0.6]})
    >>> sizer = KellySizer(kelly_multiplier=0.5, win=1.0, loss=1.0)
    >>> sizer.set_output(transform="pandas").fit_transform(proba).round(6)
        up
    0 -0.2
    1  0.0
    2  0.1
    """

    __metadata_request__fit: ClassVar[dict[str, Any]] = {
        "returns": True,
        "sample_weight": True,
    }

    def __init__(
        self,
        *,
        kelly_multiplier: float | tuple[float, float] = 0.25,
        win: float | None = None,
        loss: float | None = None,
        side: str = "both",
        max_position: float = 1.0,
    ) -> None:
        self.kelly_multiplier = kelly_multiplier
        self.win = win
        self.loss = loss
        self.side = side
        self.max_position = max_position

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, returns: Any = None
    ) -> "KellySizer":
        """Learn the payoffs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)
            Probabilities.
        y : array-like of shape (n_samples,), default=None
            Whether the event happened: two classes, the greater one means yes. Used
            with returns only; None takes the sign of the return.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the returns.
        returns : array-like of float of shape (n_samples,), default=None
            Simple return that a long unit position realised in each row.

        Returns
        -------
        KellySizer
            The fitted transformer.

        Raises
        ------
        ValueError
            If a parameter is out of range, rows do not match by index, values are not
            finite, y does not hold two classes, or both payoffs and returns are given.
        """
        check_sizer_params(self)
        check_same_rows(X=X, y=y, returns=returns, sample_weight=sample_weight)
        validate_data(self, X, dtype=np.float64)
        weight = None
        if sample_weight is not None:
            weight = as_finite_column(sample_weight, "sample_weight", negative=False)
            if not np.any(weight > 0):
                msg = "sample_weight must be above 0 in some row, got only zeros."
                raise ValueError(msg)
        self.kelly_multiplier_ = effective_multiplier(self.kelly_multiplier)
        given = self.win is not None
        if given and returns is not None:
            msg = (
                f"win={self.win!r} and loss={self.loss!r} were given and returns as "
                "well. Leave win and loss at None to learn them from the returns."
            )
            raise ValueError(msg)
        if returns is None:
            win, loss = (self.win, self.loss) if given else (1.0, 1.0)
            if not given:
                warnings.warn(
                    "KellySizer was fitted without returns: it takes every win and "
                    "loss to be +-1, so that full Kelly is 2p - 1. Pass fit(..., "
                    "returns=), or set win and loss.",
                    UserWarning,
                    stacklevel=2,
                )
            payoffs = np.array([win, -loss], dtype=np.float64)  # type: ignore[operator]
            self.payoff_table_ = PayoffTable.from_returns(payoffs, [True, False])
            return self
        payoffs = as_finite_column(returns, "returns")
        positive = payoffs > 0 if y is None else _happened(y)
        if np.all(positive) or not np.any(positive):
            self.payoff_table_ = _nothing(payoffs)
        else:
            self.payoff_table_ = PayoffTable.from_returns(payoffs, positive, weight)
        if self.payoff_table_.is_empty:
            warnings.warn(
                "Positions are 0: the training returns hold no gain or no loss, so "
                "nothing bounds a stake.",
                UserWarning,
                stacklevel=2,
            )
        return self

    def transform(self, X: Any) -> FloatArray:
        """Return the positions: kelly_multiplier x f*(p), by side and cap.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)
            Probabilities.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_columns)
            Signed fractions of capital; negative is short.
        """
        check_is_fitted(self)
        p = validate_data(self, X, reset=False, dtype=np.float64)
        outside = int(np.count_nonzero((p < 0.0) | (p > 1.0)))
        if outside:
            warnings.warn(
                f"X must hold probabilities; {outside} of {p.size} values are outside "
                "[0, 1] and are taken for the nearer bound. Pass predict_proba, not "
                "decision_function.",
                UserWarning,
                stacklevel=2,
            )
        return capped(
            self.payoff_table_.fraction(p),
            self.kelly_multiplier_,
            self.side,
            self.max_position,
        )


def _happened(y: Any) -> Any:
    """Return whether y is the greater of its two classes."""
    column = column_or_1d(y)
    classes = np.unique(column)
    if len(classes) != 2:
        msg = (
            f"y must hold two classes with returns, got {len(classes)}: "
            f"{classes[:5].tolist()}. Pass y=None to take the sign of the returns."
        )
        raise ValueError(msg)
    return column == classes[1]


def _nothing(payoffs: FloatArray) -> PayoffTable:
    """Return the table of returns that bound no stake."""
    mean = float(payoffs.mean())
    grid = np.array([0.0, 1.0])
    return PayoffTable(grid, np.zeros(2), mean, mean, (-np.inf, np.inf))
