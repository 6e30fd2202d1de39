"""From what Kelly wants of each symbol to what the book may hold."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from skatra.typing import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalLimits:
    """Limits on the positions of :func:`make_signals`.

    Kelly sizes each bet as if it were the only one. The book that the gate judged
    splits capital evenly between symbols and holds the average of a symbol's
    overlapping bets; so do signals, before any limit cuts them.

    Parameters
    ----------
    max_position : float, default=0.2
        Largest absolute position in one symbol, its open bets included, as a share
        of capital.
    max_exposure : float, default=1.0
        Largest sum of absolute positions, open bets included. New bets are cut by
        one factor to fit what is left.
    split : bool, default=True
        Whether positions are divided by the number of symbols scored and by the
        mean number of a symbol's bets that live at once (the overlap budget). False
        leaves Kelly's full stake on every bet, subject to the limits.

    Examples
    --------
    >>> from skatra.retraining import SignalLimits
    >>> SignalLimits(max_exposure=0.5).max_position
    0.2
    """

    max_position: float = 0.2
    max_exposure: float = 1.0
    split: bool = True

    def __post_init__(self) -> None:
        """Refuse limits that say nothing."""
        for name in ("max_position", "max_exposure"):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(
                    f"{name} must be a positive share of capital, got {value!r}."
                )


def limited(
    wanted: "pd.Series[float]",
    open_positions: "pd.Series[float]",
    limits: SignalLimits,
    *,
    n_symbols: int,
    concurrency: float,
) -> "pd.Series[float]":
    """Return what the limits leave of the wanted positions of some symbols.

    Parameters
    ----------
    wanted : Series of shape (n_symbols,), index symbol
        Signed shares of capital.
    open_positions : Series, index symbol
        Signed shares of capital in bets whose labels have not closed, one or more
        rows for a symbol.
    limits : SignalLimits
    n_symbols : int
        How many symbols share the capital, those whose bets stand among them.
    concurrency : float
        Mean number of a symbol's bets that live at once, at least 1.

    Returns
    -------
    Series of shape (n_symbols,)
        Never of another sign or larger than wanted.
    """
    *_, values = _steps(wanted, open_positions, limits, n_symbols, concurrency)
    return pd.Series(values, index=wanted.index, name="position")


def cut_by(
    wanted: "pd.Series[float]",
    open_positions: "pd.Series[float]",
    limits: SignalLimits,
    *,
    n_symbols: int,
    concurrency: float,
) -> "pd.Series[str]":
    """Return which limit cuts each position, the first of them, or "".

    That capital is split between symbols and overlapping bets is no limit. The
    parameters are those of :func:`limited`.
    """
    steps = _steps(wanted, open_positions, limits, n_symbols, concurrency)
    shares, fits, values = steps
    found = np.select(
        [fits != shares, values != fits], ["max_position", "max_exposure"], ""
    )
    return pd.Series(found, index=wanted.index, name="cut")


def _steps(
    wanted: "pd.Series[float]",
    open_positions: "pd.Series[float]",
    limits: SignalLimits,
    n_symbols: int,
    concurrency: float,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the positions after the split, within max_position and in all."""
    shares: FloatArray = np.array(wanted, dtype=np.float64)
    if limits.split:
        shares /= max(concurrency, 1.0) * n_symbols
    by_symbol = open_positions.groupby(level=0).sum()
    held = by_symbol.reindex(wanted.index, fill_value=0.0).to_numpy(np.float64)
    room_up = np.maximum(limits.max_position - held, 0.0)
    room_down = np.minimum(-limits.max_position - held, 0.0)
    fits = np.clip(shares, room_down, room_up)
    total = float(np.abs(fits).sum())
    room = max(limits.max_exposure - float(open_positions.abs().sum()), 0.0)
    return shares, fits, fits * (room / total) if total > room else fits
