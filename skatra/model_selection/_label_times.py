"""Where a splitter's label times come from."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn import get_config

from skatra.exceptions import LabelTimesError
from skatra.model_selection._spans import is_positive
from skatra.typing import LabelTimesLike
from skatra.utils import (
    LabelIntervals,
    as_label_intervals,
    common_unit,
    event_times,
    holds_times,
    times_to_numbers,
)

_THREE_WAYS = (
    "give any one of: (1) split(X, label_times=...), which scikit-learn's searches "
    "pass on from search.fit(X, y, label_times=...) under "
    "sklearn.config_context(enable_metadata_routing=True){state}; (2) label_times as a "
    "Series in the constructor, aligned to X.index by label; (3) a positive "
    "purge_gap in the constructor as the horizon of labels that start at t0"
)


def resolve_label_intervals(
    X: Any,
    passed: "LabelTimesLike | None",
    *,
    own: "pd.Series[Any] | None",
    purge_gap: Any,
    who: str,
    ways: str | None = None,
) -> LabelIntervals:
    """Return one label interval per row of X, or refuse.

    Parameters
    ----------
    X : array-like with n rows
    passed : label times in the row order of X, or None
    own : the constructor's Series, to be aligned by label, or None
    purge_gap : a checked span; if positive, point labels will do
    who : the caller's name, for error messages
    ways : what the caller's user may give; None for those of a splitter
    """
    n_rows = count_rows(X)
    if n_rows == 0:
        raise ValueError(f"{who} needs rows to split, got X with 0 rows.")
    if passed is not None:
        _check_length(passed, n_rows)
        intervals = as_label_intervals(passed)
        _check_same_starts(X, passed, intervals)
        return intervals
    if own is not None:
        return as_label_intervals(_align(own, X))
    if is_positive(purge_gap):
        return _point_labels(X, n_rows)
    if ways is None:
        on = get_config()["enable_metadata_routing"]
        ways = _THREE_WAYS.format(state="" if on else " (metadata routing is off)")
    raise LabelTimesError(f"{who} does not know when labels end; {ways}.")


def count_rows(X: Any, name: str = "X") -> int:
    """Return the number of rows of an array, frame, sparse matrix or list."""
    shape = getattr(X, "shape", None)
    if not shape and (shape is not None or not hasattr(X, "__len__")):
        raise TypeError(
            f"{name} must be a frame, array, sparse matrix or list with one entry for "
            f"each row, got {X!r}."
        )
    return int(shape[0]) if shape else len(X)


def _time_index(X: Any) -> pd.Index | None:
    """Return the datetimes in the index of X, if it has any."""
    index: Any = getattr(X, "index", None)
    return event_times(index, "X") if _count_time_levels(index) else None


def _count_time_levels(index: Any) -> int:
    if not isinstance(index, pd.MultiIndex):
        return int(isinstance(index, pd.Index) and holds_times(index))
    return sum(holds_times(level) for level in index.levels)


def _check_length(label_times: LabelTimesLike, n_rows: int) -> None:
    if count_rows(label_times) != n_rows:
        raise LabelTimesError(
            f"label_times must have one row for each row of X, in the same order: "
            f"got {count_rows(label_times)} label times for {n_rows} rows. Select "
            "the rows of X and label_times together, e.g. "
            "label_times.loc[X.index]."
        )


def _check_same_starts(
    X: Any, label_times: LabelTimesLike, intervals: LabelIntervals
) -> None:
    """Refuse label times whose t0 contradict the index of X."""
    theirs = getattr(label_times, "index", None)
    ours = getattr(X, "index", None)
    if ours is theirs and isinstance(label_times, pd.Series):
        return
    if intervals.unit is None or _count_time_levels(ours) > 1:
        return  # nothing to compare with: no datetimes, or no telling which
    times = _time_index(X)
    if times is None:
        return
    expected, unit, tz = times_to_numbers(times, "X.index")
    if (tz is None) != (_time_zone(label_times) is None):
        raise LabelTimesError(
            "label_times and X.index must both be time zone aware or both naive: "
            f"label_times has {_time_zone(label_times) or 'no time zone'}, X.index "
            f"has {tz or 'no time zone'}. Localize one with .tz_localize."
        )
    got, expected, _ = common_unit(
        (intervals.t0, intervals.unit), (expected, unit), ("label_times t0", "X.index")
    )
    bad = np.flatnonzero(got != expected)
    if (
        len(bad) == 0
        and isinstance(ours, pd.MultiIndex)
        and isinstance(theirs, pd.MultiIndex)
        and isinstance(label_times, pd.Series)
        and ours.nlevels == theirs.nlevels
        and not ours.equals(theirs)
    ):
        bad = np.flatnonzero([a != b for a, b in zip(ours, theirs, strict=True)])
    if len(bad):
        shown: Any = theirs if isinstance(label_times, pd.Series) else None
        first = "; ".join(
            f"row {row}: X has {ours[row]}"  # type: ignore[index]
            + (f", label_times has {shown[row]}" if shown is not None else "")
            for row in bad[:3]
        )
        raise LabelTimesError(
            f"label_times must be in the row order of X, but t0 and X.index differ "
            f"in {len(bad)} of {len(got)} rows. {first}. Align them with "
            "label_times.loc[X.index]."
        )


def _time_zone(label_times: LabelTimesLike) -> str | None:
    starts: Any
    if isinstance(label_times, pd.Series):
        starts = event_times(label_times.index)[:1]
    elif isinstance(label_times, pd.DataFrame):
        starts = label_times.iloc[:1, 0]
    else:
        starts = np.asarray(label_times)[:1, 0]
    return times_to_numbers(starts, "label_times (t0)")[2]


def _align(own: "pd.Series[Any]", X: Any) -> "pd.Series[Any]":
    """Select the constructor's label times for the rows of X, by label."""
    index = getattr(X, "index", None)
    ways = (
        "Pass split(X, label_times=...) instead (in searches: metadata routing, "
        "search.fit(X, y, label_times=...))"
    )
    if not isinstance(index, pd.Index):
        raise LabelTimesError(
            "the constructor's label_times are aligned to X.index by label, but X is "
            f"a {type(X).__name__} without a pandas index. {ways}, or keep X a "
            "DataFrame."
        )
    if not own.index.is_unique:
        rows = np.flatnonzero(own.index.duplicated())
        raise LabelTimesError(
            "the constructor's label_times must have unique labels to be aligned to "
            f"X.index; {len(rows)} of {len(own)} are repeated, the first is "
            f"{own.index[rows[0]]}. Index X and label_times by (symbol, t0), or "
            f"{ways[0].lower()}{ways[1:]}."
        )
    if index is own.index or index.equals(own.index):
        return own
    rows = own.index.get_indexer(index)
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        _check_same_awareness(own.index, index)
        first = [str(label) for label in index[missing[:3]]]
        raise LabelTimesError(
            "the constructor's label_times must hold every label of X.index; "
            f"{len(missing)} of {len(index)} are missing, the first are {first}. "
            f"{ways}."
        )
    return own.iloc[rows]


def _check_same_awareness(theirs: pd.Index, ours: pd.Index) -> None:
    """Refuse an aware and a naive index, whose labels never match."""
    if not all(_count_time_levels(index) == 1 for index in (theirs, ours)):
        return
    zones = [
        times_to_numbers(event_times(index)[:0], "index")[2] for index in (theirs, ours)
    ]
    if (zones[0] is None) != (zones[1] is None):
        raise LabelTimesError(
            "the constructor's label_times and X.index must both be time zone aware or "
            f"both naive, or no label matches: the index of label_times has "
            f"{zones[0] or 'no time zone'}, X.index has {zones[1] or 'no time zone'}. "
            "Localize one with .tz_localize."
        )


def _point_labels(X: Any, n_rows: int) -> LabelIntervals:
    """Return labels that end where they start, at the rows' own times."""
    index = getattr(X, "index", None)
    if isinstance(index, (pd.PeriodIndex, pd.TimedeltaIndex)):
        raise LabelTimesError(
            f"X must be indexed by datetimes to take t0 from it, got a "
            f"{type(index).__name__}. Convert it, e.g. with .to_timestamp()."
        )
    times = _time_index(X)
    if times is None:
        rows = np.arange(n_rows)
        return LabelIntervals(rows, rows, None)
    t0, unit, _ = times_to_numbers(times, "X.index")
    return LabelIntervals(t0, t0, unit)
