"""Fractional differentiation with a window of fixed width."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import fft
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from skatra.typing import FloatArray
from skatra.utils import as_count, as_number, check_bars, symbol_blocks

_WIDE = 4096  # beyond this window the Fourier transform is faster
_BLOCK, _BATCH = 1024, 16
_LONGEST = 10**6


def fractional_weights(
    d: float, *, tolerance: float = 1e-4, width: int | None = None
) -> FloatArray:
    """Return the weights of the last values in a fractional difference.

    Parameters
    ----------
    d : float
        Order of the difference, at least 0: 0 keeps the values, 1 is the ordinary
        difference.
    tolerance : float, default=1e-4
        The window ends before the first weight smaller than this in size.
    width : int, default=None
        Number of weights; None leaves it to ``tolerance``.

    Returns
    -------
    ndarray of shape (n_weights,), float64
        The weight of the value k rows ago: w_0 = 1, w_k = -w_{k-1} (d - k + 1) / k.

    Raises
    ------
    ValueError
        If d or tolerance is out of range, width < 1, or the tolerance asks for more
        than a million weights.

    Notes
    -----
    J. R. M. Hosking, "Fractional Differencing", Biometrika 68 (1981); M. López de
    Prado, Advances in Financial Machine Learning (2018), section 5.4.

    Examples
    --------
    >>> from skatra.features import fractional_weights
    >>> fractional_weights(0.4, width=5)
    array([ 1.    , -0.4   , -0.12  , -0.064 , -0.0416])
    >>> fractional_weights(1.0)
    array([ 1., -1.])
    """
    if not 0 <= as_number(d, "d") < np.inf:
        msg = f"d must be a number in [0, inf), got {d!r}."
        raise ValueError(msg)
    if width is not None:
        return _weights(d, as_count(width, "width, unless None,"))
    if not 0 < as_number(tolerance, "tolerance") < 1:
        msg = f"tolerance must be a number in (0, 1), got {tolerance!r}."
        raise ValueError(msg)
    count = 64
    while True:
        weights = _weights(d, count)
        # Sizes may grow at first where d > 1, and fall for good from d on.
        small = np.flatnonzero(np.abs(weights) < tolerance)
        small = small[small >= d]
        if len(small):
            return weights[: small[0]]
        if count > _LONGEST:
            msg = (
                f"tolerance={tolerance:g} asks for more than {_LONGEST} weights at "
                f"d={d:g}. Raise it, or give width."
            )
            raise ValueError(msg)
        count *= 4


def _weights(d: float, count: int) -> FloatArray:
    """Multiply the ratios of successive weights."""
    k = np.arange(1, count)
    return np.concatenate([[1.0], np.cumprod((k - 1 - d) / k)])


class FractionalDifference(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Difference series by a fractional order, keeping some of their memory.

    A price has memory but no fixed level, its returns a level but no memory.
    Between them, an order d of 0.3 to 0.6 often gives a series that is stationary
    and still strongly correlated with the price. Each row of the result depends on
    that row and the ``width_ - 1`` rows before it in the same symbol, and on nothing
    else, to the last bit: it never looks ahead.

    Parameters
    ----------
    d : float, default=0.4
        Order of the difference, at least 0.
    tolerance : float, default=1e-4
        The window ends before the first weight smaller than this in size: 282 rows
        for d = 0.4.
    width : int, default=None
        Rows in the window; None leaves it to ``tolerance``.

    Attributes
    ----------
    weights_ : ndarray of shape (n_weights,)
        Weight of the value k rows ago.
    width_ : int
        Rows in the window.
    n_features_in_ : int
        Number of columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if X had string column names.

    See Also
    --------
    fractional_weights : The weights.
    price_features : Stationary features of bars.

    Notes
    -----
    Nothing is learned from the values: apply it to whole histories, before they are
    split. Within a pipeline under cross-validation it would see the rows of a fold
    without their past, lose the first ones of each fold and join what purging has
    taken apart.

    No order makes every series stationary: a series with a break in its level keeps
    the break. Choosing d for the best backtest is one more search to count.

    Windows wider than 4,096 rows are summed by the Fourier transform, block by block
    from strictly earlier rows, so that not even rounding errors of the future
    arrive.

    M. López de Prado, Advances in Financial Machine Learning (2018), section 5.5.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skatra.features import FractionalDifference
    >>> days = pd.date_range("2024-01-01", periods=5)
    >>> prices = pd.DataFrame({"close": [100.0, 110.0, 121.0, 133.1, 146.41]}, days)
    >>> difference = FractionalDifference(d=0.5, width=3).set_output(transform="pandas")
    >>> difference.fit_transform(np.log(prices)).round(4)["close"].tolist()
    [nan, nan, 1.8699, 1.9056, 1.9414]
    """

    def __init__(
        self, d: float = 0.4, *, tolerance: float = 1e-4, width: int | None = None
    ) -> None:
        self.d = d
        self.tolerance = tolerance
        self.width = width

    def fit(self, X: Any, y: Any = None) -> "FractionalDifference":  # noqa: ARG002
        """Compute the weights; nothing is learned from the values.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
            Series, one per column.
        y : ignored
            Present for scikit-learn's sake.

        Returns
        -------
        FractionalDifference
            Itself.

        Raises
        ------
        ValueError
            If a parameter is out of range, or a value is missing or infinite.
        """
        self.weights_ = fractional_weights(
            self.d, tolerance=self.tolerance, width=self.width
        )
        self.width_ = len(self.weights_)
        validate_data(self, X, dtype=np.float64)
        return self

    def transform(self, X: Any) -> FloatArray:
        """Return the differences of each column, within each symbol.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
            Rows in time order. A frame may have a MultiIndex (symbol, time), symbols
            in any arrangement; with that or a DatetimeIndex times must rise within
            each symbol.

        Returns
        -------
        ndarray of shape (n_rows, n_columns), float64
            NaN in the first ``width_ - 1`` rows of each symbol.

        Raises
        ------
        BarsError
            If times fall or repeat within a symbol.
        ValueError
            If a value is missing or infinite, or columns differ from those of fit.
        """
        check_is_fitted(self)
        index = X.index if isinstance(X, pd.DataFrame) else None
        values = validate_data(self, X, reset=False, dtype=np.float64)
        if isinstance(index, pd.DatetimeIndex | pd.MultiIndex):
            check_bars(pd.DataFrame(index=index), "X", columns=())
        else:
            index = pd.RangeIndex(len(values))
        blocks = symbol_blocks(index)
        ordered = blocks.gather(values)
        result = np.full_like(ordered, np.nan)
        for begin, end in zip(blocks.offsets[:-1], blocks.offsets[1:], strict=True):
            for column in range(ordered.shape[1]):
                series = np.ascontiguousarray(ordered[begin:end, column])
                result[begin + self.width_ - 1 : end, column] = _filter(
                    series, self.weights_
                )
        return np.asarray(blocks.scatter(result))


def _filter(series: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the weighted sums of all full windows."""
    if len(series) < len(weights):
        return series[:0]
    if len(weights) <= _WIDE:
        return np.convolve(series, weights, mode="valid")
    return _filter_wide(series, weights)[len(weights) - 1 :]


def _filter_wide(series: FloatArray, weights: FloatArray) -> FloatArray:
    """Sum windows by blocks: earlier blocks by Fourier transform, the own one directly.

    All arrays have one shape whatever the length of the series, since libraries may
    round differently in another shape.
    """
    width = len(weights)
    past = width - 1
    n_blocks = -(-len(series) // _BLOCK)
    n_blocks += -n_blocks % _BATCH
    padded = np.zeros(past + n_blocks * _BLOCK)
    padded[past : past + len(series)] = series
    inside = padded[past:].reshape(-1, _BLOCK)
    before: NDArray[Any] = np.lib.stride_tricks.sliding_window_view(padded, past)
    before = before[: n_blocks * _BLOCK : _BLOCK]
    k = np.arange(_BLOCK)
    own = np.where(k >= k[:, None], weights[np.maximum(k - k[:, None], 0)], 0.0)
    size = fft.next_fast_len(past + _BLOCK, real=True)
    spectrum = fft.rfft(weights, size)
    result = np.empty_like(inside)
    for begin in range(0, n_blocks, _BATCH):
        some = slice(begin, begin + _BATCH)
        reached = fft.irfft(fft.rfft(before[some], size) * spectrum, size)
        result[some] = inside[some] @ own + reached[:, past : past + _BLOCK]
    return result.ravel()[: len(series)]
