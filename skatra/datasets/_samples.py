"""Bars that come with the package: real index quotes, and a series with an edge."""

import hashlib
import io
import operator
from collections.abc import Sequence
from importlib import resources

import numpy as np
import pandas as pd

from skatra.exceptions import BarsError
from skatra.typing import FloatArray
from skatra.utils import BAR_COLUMNS, as_number

_FILE = "index_bars.npy"
_SHA256 = "22a80d26442fc0e9696a975b650cfd13ccffea0671b6ec0936df8f772069e7a8"
_SYMBOLS = ("SP500", "NASDAQ")

_PERSISTENCE = 0.5 ** (1 / 10)
_SIGMA = 0.01


def load_index_bars() -> pd.DataFrame:
    """Return daily bars of the S&P 500 and the NASDAQ composite, 1999 to 2018.

    The quotes are bundled; nothing is downloaded. They come from a data vendor by
    way of the package ``arch`` 8.0.0 (NCSA licence; see ``data/README.md`` beside
    this module) and are for testing and example purposes only.

    Returns
    -------
    DataFrame of shape (10062, 5)
        Index: MultiIndex ("symbol", "time"), sorted, symbols "NASDAQ" and "SP500",
        5,031 sessions each; time is the session's date at midnight UTC. Columns
        open, high, low, close (index points, as printed by the source) and volume
        (shares; 0 on two NASDAQ sessions, as in the source), all float64.

    Raises
    ------
    BarsError
        If the bundled file's checksum differs from the one it was released with.

    Examples
    --------
    >>> from skatra.datasets import load_index_bars
    >>> bars = load_index_bars()
    >>> bars.loc["SP500", "close"].iloc[[0, -1]].tolist()
    [1228.099976, 2506.850098]
    """
    content = resources.files("skatra.datasets").joinpath("data", _FILE).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != _SHA256:
        msg = (
            f"the bundled file {_FILE} is damaged: its sha256 must be {_SHA256}, got "
            f"{digest}. Install skatra again."
        )
        raise BarsError(msg)
    numbers = np.load(io.BytesIO(content), allow_pickle=False)
    days = numbers[0].astype("datetime64[D]")
    blocks = {}
    for row, symbol in zip((1, 6), _SYMBOLS, strict=True):
        # The source printed single-precision numbers with six decimals.
        points = (numbers[row : row + 4] / 100).astype(np.float32).astype(np.float64)
        volume = numbers[row + 4] * 10_000.0
        blocks[symbol] = np.vstack([np.round(points, 6), volume])
    return _frame(days, blocks)


def make_edge_bars(
    n_bars: int = 2500,
    *,
    edge: float = 0.3,
    symbols: Sequence[str] = ("EDGE",),
    seed: int = 0,
) -> pd.DataFrame:
    r"""Return artificial bars whose volume foretells the next bars' returns.

    For each symbol, with independent standard normal :math:`z, e, u, v`:

    .. math::

        s_t &= \varphi s_{t-1} + \sqrt{1 - \varphi^2}\, z_t,
            \qquad \varphi = 2^{-1/10} \\
        \log(\mathrm{volume}_t) &= \log(10^6) + 0.5\, s_t + 0.25\, u_t \\
        \log (\mathrm{close}_{t+1} / \mathrm{close}_t) &=
            0.01 \left(\mathit{edge}\, s_t + \sqrt{1 - \mathit{edge}^2}\,
            e_{t+1}\right)

    The signal s has variance 1 and a half-life of 10 bars. Past prices show
    only a trace of it; volume shows it plainly. The open lies
    :math:`0.002\, v` (log) from the last close; high and low lie beyond open and
    close by half-normal distances of scale 0.004.

    Parameters
    ----------
    n_bars : int, default=2500
        Bars per symbol, at least 1: consecutive weekdays from 2000-01-03.
    edge : float, default=0.3
        Correlation in [-1, 1] of the signal with the next bar's return; 0 plants
        nothing. Negative values foretell the opposite move.
    symbols : sequence of str, default=("EDGE",)
        Distinct names. A symbol's bars do not depend on which others are asked for
        after it.
    seed : int, default=0
        The same seed gives the same bars.

    Returns
    -------
    DataFrame of shape (n_bars * len(symbols), 5)
        As :func:`load_index_bars`: MultiIndex ("symbol", "time"), sorted; columns
        open, high, low, close, volume, float64.

    Raises
    ------
    ValueError
        If n_bars < 1, edge lies outside [-1, 1], or symbols are empty or repeated.

    Examples
    --------
    >>> from skatra.datasets import make_edge_bars
    >>> bars = make_edge_bars(300, symbols=("UP", "DOWN"), seed=1)
    >>> bars.shape
    (600, 5)
    >>> list(bars.index.levels[0])
    ['DOWN', 'UP']
    """
    n_bars = operator.index(n_bars)
    if n_bars < 1:
        msg = f"n_bars must be an integer of at least 1, got {n_bars!r}."
        raise ValueError(msg)
    if not -1 <= as_number(edge, "edge") <= 1:
        msg = f"edge must be a correlation in [-1, 1], got {edge!r}."
        raise ValueError(msg)
    names = [symbols] if isinstance(symbols, str) else list(symbols)
    if not names or len(set(names)) < len(names):
        msg = f"symbols must be distinct names, at least one, got {names}."
        raise ValueError(msg)
    days = np.busday_offset(np.datetime64("2000-01-03"), np.arange(n_bars))
    blocks = {
        name: _edge_block(n_bars, edge, np.random.default_rng([seed, k]))
        for k, name in enumerate(names)
    }
    return _frame(days, blocks)


def _edge_block(n: int, edge: float, rng: np.random.Generator) -> FloatArray:
    """Draw one symbol's open, high, low, close and volume, shape (5, n)."""
    from scipy.signal import lfilter

    shocks, moves, noise, gaps, above, below = rng.standard_normal((6, n))
    shocks[1:] *= np.sqrt(1 - _PERSISTENCE**2)
    signal = lfilter([1.0], [1.0, -_PERSISTENCE], shocks)
    returns = _SIGMA * np.sqrt(1 - edge**2) * moves
    returns[0] = 0
    returns[1:] += _SIGMA * edge * signal[:-1]
    log_close = np.log(100.0) + np.cumsum(returns)
    log_open = log_close - returns + 0.2 * _SIGMA * gaps
    log_high = np.maximum(log_open, log_close) + 0.4 * _SIGMA * np.abs(above)
    log_low = np.minimum(log_open, log_close) - 0.4 * _SIGMA * np.abs(below)
    log_volume = np.log(1e6) + 0.5 * signal + 0.25 * noise
    block: FloatArray = np.exp([log_open, log_high, log_low, log_close, log_volume])
    return block


def _frame(days: np.ndarray, blocks: dict[str, FloatArray]) -> pd.DataFrame:
    """Stack blocks of shape (5, n) to bars sorted by (symbol, time)."""
    time = pd.DatetimeIndex(days.astype("datetime64[us]"), name="time").tz_localize(
        "UTC"
    )
    symbols = sorted(blocks)
    index = pd.MultiIndex.from_product([symbols, time], names=["symbol", "time"])
    values = np.concatenate([blocks[symbol] for symbol in symbols], axis=1)
    return pd.DataFrame(values.T, index=index, columns=list(BAR_COLUMNS))
