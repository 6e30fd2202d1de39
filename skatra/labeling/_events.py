"""Find events among bars, and per-event values among what the user gave."""

from typing import Any

import numpy as np
import pandas as pd

from skatra.exceptions import EmptyDataError
from skatra.typing import FloatArray, IntArray
from skatra.utils import as_number


def locate_events(events: Any, bars_index: pd.Index) -> IntArray:
    """Return the row of each event among the bars.

    Raises
    ------
    ValueError
        If an event is no bar, or occurs twice.
    """
    if getattr(events, "ndim", 1) != 1:
        msg = (
            f"events must be one-dimensional, got {type(events).__name__} of shape "
            f"{events.shape}. Give a subset of bars.index."
        )
        raise ValueError(msg)
    index = events if isinstance(events, pd.Index) else pd.Index(events)
    repeated = np.flatnonzero(index.duplicated())
    if len(repeated):
        msg = (
            f"events must be distinct; {len(repeated)} of {len(index)} repeat an "
            f"earlier one, the first: {first_labels(index, repeated)}. Keep one of "
            "each with ~events.duplicated()."
        )
        raise ValueError(msg)
    rows: IntArray = bars_index.get_indexer(index)
    strangers = np.flatnonzero(rows < 0)
    if len(strangers):
        msg = (
            f"events must be bars (same symbol, time and time zone); "
            f"{len(strangers)} of {len(index)} are not, the first: "
            f"{first_labels(index, strangers)}. Give a subset of bars.index."
        )
        raise ValueError(msg)
    return rows


def values_at(values: Any, events: pd.Index, name: str) -> FloatArray:
    """Return a number, or a Series' values at the events, as float64.

    Raises
    ------
    ValueError
        If a Series repeats an index label or lacks an event.
    """
    if not isinstance(values, pd.Series):
        if not np.isscalar(values):
            msg = (
                f"{name} must be a number or a Series indexed like the events, got "
                f"{type(values).__name__}. Wrap an array: pd.Series(values, index)."
            )
            raise ValueError(msg)
        return np.full(len(events), as_number(values, name), dtype=np.float64)
    if not values.index.is_unique:
        msg = f"the index of {name} must not repeat. Keep one value per event."
        raise ValueError(msg)
    rows = values.index.get_indexer(events)
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        msg = (
            f"{name} must have a value for each event; {len(missing)} of "
            f"{len(events)} have none, the first: {first_labels(events, missing)}."
        )
        raise ValueError(msg)
    return values.to_numpy(dtype=np.float64, na_value=np.nan)[rows]


def default_events(bars_index: pd.Index, target: Any, name: str) -> pd.Index:
    """Return the bars with a target.

    Raises
    ------
    EmptyDataError
        If every target is missing.
    ValueError
        If a target is of no bar.
    """
    if not isinstance(target, pd.Series):
        return bars_index
    chosen = target.index[np.asarray(target.notna())]
    if len(target) and not len(chosen):
        msg = (
            f"{name} must be known at some bar, got {len(target)} values, all missing. "
            "A volatility needs more bars than its span; pass a float for one width."
        )
        raise EmptyDataError(msg)
    strangers = np.flatnonzero(bars_index.get_indexer(chosen) < 0)
    if len(strangers):
        msg = (
            f"the index of {name} must be bars where no events are given (same "
            f"symbol, time and time zone); {len(strangers)} of {len(chosen)} are not, "
            f"the first: {first_labels(chosen, strangers)}. Pass "
            f"{name}.reindex(bars.index)."
        )
        raise ValueError(msg)
    return chosen


def sides_at(side: Any, events: pd.Index) -> FloatArray:
    """Return the direction of each event's position, long where none is given.

    Raises
    ------
    ValueError
        If a side is neither -1 nor 1.
    """
    sides = values_at(1 if side is None else side, events, "side")
    bad = np.flatnonzero(np.abs(sides) != 1)
    if len(bad):
        msg = (
            f"side must be -1 or 1 at each event; {len(bad)} of {len(sides)} are "
            f"not, the first: {sides[bad[0]]}. Leave events without a side out."
        )
        raise ValueError(msg)
    return sides


def first_labels(index: pd.Index, rows: IntArray) -> str:
    """Show the first offending labels."""
    shown = ", ".join(
        " ".join(map(str, label)) if isinstance(label, tuple) else str(label)
        for label in index[rows[:3]]
    )
    return shown + (", ..." if len(rows) > 3 else "")
