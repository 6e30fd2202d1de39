"""Where labels live among points in time, symbol by symbol."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skatra.exceptions import LabelTimesError
from skatra.typing import IntArray, LabelTimesLike, TimeArray
from skatra.utils import (
    as_label_intervals,
    common_unit,
    event_times,
    holds_times,
    times_to_numbers,
)


@dataclass(frozen=True, slots=True)
class Places:
    """Labels and points on one line, symbol after symbol.

    Attributes
    ----------
    start, end : ndarray of shape (n_labels,)
        Where each label starts and ends.
    points : ndarray of shape (n_points,)
        The points, in the order given, of the symbols that have labels.
    index : Index of shape (n_points,) or None
        The points as the user knows them; None where none were given.
    """

    start: TimeArray
    end: TimeArray
    points: TimeArray
    index: pd.Index | None

    def lives(self) -> tuple[IntArray, IntArray, int]:
        """Return where each label's life begins and stops among the distinct points.

        Raises
        ------
        LabelTimesError
            If a label's interval holds no point.
        """
        points = distinct(self.points)
        first = np.searchsorted(points, self.start, side="left")
        stop = np.searchsorted(points, self.end, side="right")
        empty = np.flatnonzero(first >= stop)
        if len(empty):
            msg = (
                "times must hold a point in each label's interval [t0, t1]; "
                f"{len(empty)} of {len(first)} labels have none, the first at rows "
                f"{empty[:3].tolist()}. Pass the index of the bars that the labels "
                "were made from."
            )
            raise LabelTimesError(msg)
        return first, stop, len(points)


def place_labels(
    label_times: LabelTimesLike, groups: Any = None, times: pd.Index | None = None
) -> Places:
    """Put labels and points on one line.

    ``times`` None stands for the distinct t0 and t1 of each symbol's labels; a
    plain index for the same points in every symbol.
    """
    labels = as_label_intervals(label_times)
    n = len(labels)
    index = label_times.index if isinstance(label_times, pd.Series) else None
    codes, names = _group_codes(groups, index, n)
    if times is None:
        t0, t1 = labels.t0, labels.t1
        grid_codes, grid = np.tile(codes, 2), np.concatenate([t0, t1])
        shown = None
    else:
        numbers, unit, zone = times_to_numbers(event_times(times, "times"), "times")
        _check_zone(label_times, zone)
        both, grid, _ = common_unit(
            (np.concatenate([labels.t0, labels.t1]), labels.unit),
            (numbers, unit),
            ("label_times", "times"),
        )
        t0, t1 = both[:n], both[n:]
        grid_codes, grid, shown = _spread(times, grid, names)
    if codes.any() or grid_codes.any():
        moments = distinct(np.concatenate([grid, t0, t1]))

        def key(of: NDArray[np.int64], values: TimeArray) -> NDArray[np.int64]:
            return of * len(moments) + np.searchsorted(moments, values)

        grid, t0, t1 = key(grid_codes, grid), key(codes, t0), key(codes, t1)
    return Places(t0, t1, grid, shown)


def as_weights(values: Any, label_times: LabelTimesLike, name: str) -> Any:
    """Return a Series for label times that are one, else the array."""
    if isinstance(label_times, pd.Series):
        return pd.Series(values, index=label_times.index, name=name)
    return values


def distinct(values: Any) -> Any:
    """Sort and drop repeats (np.unique hashes first, which costs three times more)."""
    ordered = np.sort(values)
    fresh = np.ones(len(ordered), dtype=bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    return ordered[fresh]


def starts_of(label_times: LabelTimesLike) -> Any:
    """Return t0 as the user gave it, None where an array has lost its zone."""
    if isinstance(label_times, pd.Series):
        return event_times(label_times.index)
    if isinstance(label_times, pd.DataFrame):
        return event_times(pd.Index(label_times.iloc[:, 0]))
    return None


def _check_zone(label_times: LabelTimesLike, zone: str | None) -> None:
    """Refuse to compare naive times with times in a time zone."""
    starts = starts_of(label_times)
    if starts is None:
        return
    _, _, own = times_to_numbers(starts, "label_times")
    if (own is None) != (zone is None):
        msg = (
            "label_times and times must both have a time zone or both none, got "
            f"{own or 'none'} and {zone or 'none'}. Localize one with .tz_localize."
        )
        raise LabelTimesError(msg)


def _group_codes(
    groups: Any, index: pd.Index | None, n: int
) -> tuple[NDArray[np.int64], pd.Index]:
    """Return each label's symbol as a number, and the symbols by number."""
    if groups is None and isinstance(index, pd.MultiIndex):
        others = [
            level
            for level in range(index.nlevels)
            if not holds_times(index.levels[level])
        ]
        if len(others) != 1:
            msg = (
                "label_times must have one level beside its datetime level, got the "
                f"levels {list(index.names)}. Pass groups."
            )
            raise LabelTimesError(msg)
        groups = index.get_level_values(others[0])
    if groups is None:
        return np.zeros(n, dtype=np.int64), pd.Index([])
    if getattr(groups, "ndim", 1) != 1:
        msg = f"groups must be one-dimensional, got shape {groups.shape}."
        raise LabelTimesError(msg)
    codes, names = pd.factorize(pd.Index(groups))
    if len(codes) != n:
        msg = f"groups must have one entry per label: {n}, got {len(codes)}."
        raise LabelTimesError(msg)
    missing = np.flatnonzero(codes < 0)
    if len(missing):
        msg = (
            f"groups must not be missing; {len(missing)} of {n} are, the first at "
            f"rows {missing[:3].tolist()}."
        )
        raise LabelTimesError(msg)
    return codes.astype(np.int64), pd.Index(names)


def _spread(
    times: pd.Index, grid: TimeArray, names: pd.Index
) -> tuple[NDArray[np.int64], TimeArray, pd.Index]:
    """Say for each point of the grid to which symbol it belongs."""
    if isinstance(times, pd.MultiIndex) and len(names):
        symbols = times.get_level_values(int(holds_times(times.levels[0])))
        codes = names.get_indexer(symbols).astype(np.int64)
        known = codes >= 0
        return codes[known], grid[known], times[known]
    count = max(len(names), 1)
    shown = times
    if len(names):
        shown = pd.MultiIndex.from_product([names, times], names=["symbol", times.name])
    return np.repeat(np.arange(count), len(grid)), np.concatenate([grid] * count), shown
