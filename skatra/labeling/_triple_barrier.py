"""Triple-barrier labels."""

from typing import Literal

import numpy as np
import pandas as pd

from skatra.labeling._barriers import OPEN, Path, first_touch
from skatra.labeling._events import (
    default_events,
    first_labels,
    locate_events,
    sides_at,
    values_at,
)
from skatra.labeling._frame import check_choice, in_blocks, label_frame
from skatra.typing import FloatArray
from skatra.utils import (
    PRICE_COLUMNS,
    SymbolBlocks,
    as_count,
    as_number,
    check_bars,
    column_values,
    symbol_blocks,
)


def triple_barrier_labels(
    bars: pd.DataFrame,
    *,
    target: "pd.Series[float] | float",
    profit_taking: float | None = 1.0,
    stop_loss: float | None = 1.0,
    max_holding: int = 20,
    events: pd.Index | None = None,
    side: "pd.Series[int] | int | None" = None,
    path: Literal["ohlc", "close"] = "ohlc",
    open_events: Literal["drop", "mark"] = "drop",
) -> pd.DataFrame:
    """Label each event by the first of three barriers that its price reaches.

    A position opens at the close of bar t0. It ends at the profit barrier, at the
    stop barrier, or at the close of bar t0 + max_holding (the vertical barrier),
    whichever comes first. The label uses bars in (t0, t1] only, and entry at the
    close of t0.

    Parameters
    ----------
    bars : DataFrame of shape (n_bars, n_columns)
        Columns open, high, low, close (close alone for ``path="close"``). Index:
        DatetimeIndex (one symbol) or MultiIndex (symbol, time), times rising within
        each symbol.
    target : Series or float
        Width of a barrier of size 1, as a simple return (0.02 is 2 %): one positive
        number for all events, or a Series indexed like the bars or the events, such
        as ``daily_volatility(bars["close"]) * np.sqrt(max_holding)``.
    profit_taking, stop_loss : float or None, default=1.0
        Distance of the barrier from the entry, in targets. None or inf: no such
        barrier.
    max_holding : int, default=20
        Bars from t0 to the vertical barrier, at least 1.
    events : Index or None, default=None
        The bars to label, a subset of ``bars.index`` in any order. None: each bar
        whose target is not missing.
    side : Series of -1 and 1, int or None, default=None
        Direction of the position; -1 puts the profit below the entry and the stop
        above. None: long.
    path : {"ohlc", "close"}, default="ohlc"
        "ohlc": a barrier is reached when the bar's high or low reaches it, and the
        position ends at the barrier's price, or at the open when the bar opens
        beyond it. When one bar reaches both barriers after its open, the stop counts
        (the bar does not tell which came first). "close": a barrier is reached when
        a close reaches it, and the position ends at that close.
    open_events : {"drop", "mark"}, default="drop"
        What becomes of events that reach no barrier before the symbol's last bar,
        while the vertical barrier lies beyond it. "drop" leaves them out. "mark"
        keeps them with touched "open", t1 the symbol's last bar, ret NaN and label
        0: leave them out of training. They are never labelled by the last price.

    Returns
    -------
    DataFrame of shape (n_events, 5)
        Index: the events, named "t0" or ("symbol", "t0"). Columns:

        - ``t1``: time of the bar in which the position ends, > t0 (>= t0 if marked);
        - ``ret``: float64, simple return of the position, exit / entry - 1, times
          side;
        - ``label``: int8, sign of ret;
        - ``side``: int8, -1 or 1;
        - ``touched``: category, "profit", "stop", "time" or "open".

        ``frame["t1"]`` are the label times that the splitters take.

    Raises
    ------
    BarsError
        If bars cannot be trusted, see :func:`skatra.utils.check_bars`.
    ValueError
        If an event is no bar or repeats, a target is missing or not positive, a side
        is neither -1 nor 1, or a parameter is out of range.

    See Also
    --------
    daily_volatility : A target.

    Notes
    -----
    M. López de Prado, Advances in Financial Machine Learning (2018), sections 3.3
    to 3.5. There a barrier must be passed; here reaching it is enough.

    Examples
    --------
    >>> import pandas as pd
    >>> from skatra.labeling import triple_barrier_labels
    >>> days = pd.date_range("2024-01-01", periods=5)
    >>> bars = pd.DataFrame({"open": [100, 100, 101, 103, 99.0],
    ...                      "high": [101, 102, 104, 103, 99.0],
    ...                      "low": [99, 100, 101, 97, 98.0],
    ...                      "close": [100, 101, 103, 98, 98.0]}, index=days)
    >>> triple_barrier_labels(bars, target=0.03, max_holding=2)
                       t1   ret  label  side touched
    t0
    2024-01-01 2024-01-03  0.03      1     1  profit
    2024-01-02 2024-01-04 -0.03     -1     1    stop
    2024-01-03 2024-01-04 -0.03     -1     1    stop
    """
    max_holding = as_count(max_holding, "max_holding")
    _check_parameters(profit_taking, stop_loss, path, open_events)
    check_bars(bars, columns=PRICE_COLUMNS if path == "ohlc" else ("close",))
    if events is None:
        events = default_events(bars.index, target, "target")
    rows = locate_events(events, bars.index)
    labelled = bars.index[rows]
    widths = _check_targets(values_at(target, labelled, "target"), labelled)
    sides = sides_at(side, labelled)

    blocks = symbol_blocks(bars.index)
    prices = _path(bars, blocks, path)
    start, last = in_blocks(rows, blocks)
    entry = prices.close[start]
    profit = entry * (1 + sides * widths * _size(profit_taking))
    stop = entry * (1 - sides * widths * _size(stop_loss))
    long = sides > 0
    barriers = (np.where(long, stop, profit), np.where(long, profit, stop))
    exits = first_touch(prices, start, last, barriers, long, max_holding)

    ret = sides * (exits.price / entry - 1)
    frame = label_frame(
        bars.index, blocks, rows, exits.bar, ret, np.sign(ret), sides, exits.touched
    )
    return frame if open_events == "mark" else frame[exits.touched != OPEN]


def _check_parameters(
    profit_taking: float | None,
    stop_loss: float | None,
    path: str,
    open_events: str,
) -> None:
    """Refuse parameters out of range."""
    for name, size in (("profit_taking", profit_taking), ("stop_loss", stop_loss)):
        if size is not None and not as_number(size, name) > 0:
            msg = (
                f"{name} must be a positive number of targets, got {size!r}. Pass "
                "None for no such barrier."
            )
            raise ValueError(msg)
    check_choice("path", path, ("ohlc", "close"))
    check_choice("open_events", open_events, ("drop", "mark"))


def _size(size: float | None) -> float:
    """Read None as a barrier out of reach."""
    return np.inf if size is None else float(size)


def _check_targets(widths: FloatArray, events: pd.Index) -> FloatArray:
    """Refuse targets that are missing, infinite or not positive."""
    bad = np.flatnonzero(~((widths > 0) & (widths < np.inf)))
    if len(bad):
        msg = (
            f"target must be positive and finite at each event; {len(bad)} of "
            f"{len(events)} are not, the first: {first_labels(events, bad)} "
            f"({widths[bad[0]]}). Label the others: "
            "events=target.index[target > 0]."
        )
        raise ValueError(msg)
    return widths


def _path(bars: pd.DataFrame, blocks: SymbolBlocks, path: str) -> Path:
    """Return the prices at which barriers are looked for, in symbol blocks."""
    close = blocks.gather(column_values(bars, "close"))
    if path == "close":
        return Path(close, close, close, close)
    opening, high, low = (
        blocks.gather(column_values(bars, column)) for column in PRICE_COLUMNS[:3]
    )
    return Path(opening, high, low, close)
