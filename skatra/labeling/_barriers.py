"""Which barrier comes first, for many events at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skatra.typing import FloatArray, IntArray

PROFIT, STOP, TIME, OPEN = range(4)
TOUCHES = ("profit", "stop", "time", "open")


@dataclass(frozen=True, slots=True)
class Path:
    """What a position lives through, bar by bar, in symbol blocks."""

    opening: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray


@dataclass(frozen=True, slots=True)
class Exits:
    """Where, at what price and why each event ends."""

    bar: IntArray
    price: FloatArray
    touched: NDArray[np.int8]


def first_touch(
    path: Path,
    start: IntArray,
    last: IntArray,
    barriers: tuple[FloatArray, FloatArray],
    long: NDArray[np.bool_],
    max_holding: int,
) -> Exits:
    """Walk all open events forward together, one bar per step.

    Parameters
    ----------
    path : Path
    start, last : ndarray of shape (n_events,)
        Row of the event, and the last row of its symbol.
    barriers : (lower, upper), each ndarray of shape (n_events,)
        Prices; -inf or inf where there is none.
    long : ndarray of shape (n_events,)
        Whether the upper barrier is the profit.
    max_holding : int
        Bars to the vertical barrier.

    Returns
    -------
    Exits
        Events that run out of bars keep their symbol's last bar, no price (NaN) and
        the touch "open".
    """
    lower, upper = barriers
    bar = last.copy()
    price = np.full(len(start), np.nan)
    touched = np.full(len(start), OPEN, dtype=np.int8)
    alive = np.arange(len(start))
    for step in range(1, max_holding + 1):
        alive = alive[start[alive] + step <= last[alive]]
        if not len(alive):
            break
        now = start[alive] + step
        up = path.high[now] >= upper[alive]
        down = path.low[now] <= lower[alive]
        hit = up | down
        done, at = alive[hit], now[hit]
        bar[done] = at
        price[done], touched[done] = _settle(
            path.opening[at],
            (lower[done], upper[done]),
            (down[hit], up[hit]),
            long[done],
        )
        alive = alive[~hit]
    else:
        bar[alive] = start[alive] + max_holding
        price[alive] = path.close[bar[alive]]
        touched[alive] = TIME
    return Exits(bar, price, touched)


def _settle(
    opening: FloatArray,
    barriers: tuple[FloatArray, FloatArray],
    hits: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    long: NDArray[np.bool_],
) -> tuple[FloatArray, NDArray[np.int8]]:
    """Decide price and touch in bars that reach at least one barrier."""
    lower, upper = barriers
    down, up = hits
    # The open comes first in time: beyond a barrier it settles the matter.
    opens_down, opens_up = opening <= lower, opening >= upper
    stopped_below = np.where(long, down, ~up)  # of two barriers in a bar, the stop
    falls = opens_down | (~opens_up & stopped_below)
    price = np.where(falls, lower, upper)
    price = np.where(opens_down | opens_up, opening, price)
    return price, np.where(falls == long, STOP, PROFIT).astype(np.int8)
