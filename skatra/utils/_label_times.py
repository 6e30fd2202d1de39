"""Label times from whatever the user has, as numbers that compare exactly."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skatra.exceptions import LabelTimesError
from skatra.typing import IntArray, LabelTimesLike, TimeArray

_UNITS = ("s", "ms", "us", "ns")
_WAY_OUT = "Pass a Series (index t0, values t1), a two-column frame or an (n, 2) array."


@dataclass(frozen=True, slots=True)
class LabelIntervals:
    """The closed label intervals [t0, t1] as numbers, one per row.

    Attributes
    ----------
    t0, t1 : ndarray of shape (n,), int64 or float64
        Starts and ends in the same unit and dtype, in row order.
    unit : {"s", "ms", "us", "ns"} or None
        Unit of datetimes (UTC); None for plain numbers.
    """

    t0: TimeArray
    t1: TimeArray
    unit: str | None

    def __len__(self) -> int:
        """Return the number of labels."""
        return len(self.t0)


def times_to_numbers(times: Any, name: str) -> tuple[TimeArray, str | None, str | None]:
    """Return times as int64 or float64, with their unit and time zone.

    Parameters
    ----------
    times : Index, Series, ndarray or sequence of shape (n,)
        Datetimes of any unit and time zone (numpy's, Arrow's or objects), integers
        or floats.
    name : str
        What the caller's user calls them, for the error message.

    Returns
    -------
    numbers : ndarray of shape (n,)
        int64 (datetimes in UTC and their own unit, integers) or float64.
    unit : {"s", "ms", "us", "ns"} or None
        Of datetimes; None for numbers.
    tz : str or None
        "UTC-based" marker: None for naive datetimes and numbers.

    Examples
    --------
    >>> import pandas as pd
    >>> from skatra.utils import times_to_numbers
    >>> times_to_numbers(pd.to_datetime(["1970-01-02"]).as_unit("s"), "times")
    (array([86400]), 's', None)
    """
    index = _with_dtype_of_times(times)
    if isinstance(index, pd.DatetimeIndex):
        numbers: TimeArray = index.asi8
        missing = np.flatnonzero(np.asarray(index.isna()))
        unit: str | None = index.unit
        tz = None if index.tz is None else str(index.tz)
    elif index.dtype.kind in "iuf":
        unit, tz = None, None
        numbers, missing = _plain_numbers(index, name)
    else:
        msg = (
            f"{name} must hold datetimes, integers or floats, got dtype "
            f"{index.dtype}{_conversion(index)}"
        )
        raise LabelTimesError(msg)
    if len(missing):
        msg = (
            f"{name} must not hold missing or infinite times; {len(missing)} of "
            f"{len(index)} rows do, the first at positions {missing[:5].tolist()}. "
            "Drop those rows from X, y and label_times together."
        )
        raise LabelTimesError(msg)
    return numbers, unit, tz


def holds_times(index: pd.Index) -> bool:
    """Tell whether an index holds datetimes, of numpy or Arrow.

    Parameters
    ----------
    index : Index
        Not a MultiIndex, of which no level is looked at.

    Returns
    -------
    bool
        False for objects, whatever they are.

    Examples
    --------
    >>> import pandas as pd
    >>> from skatra.utils import holds_times
    >>> holds_times(pd.date_range("2026-01-05", periods=3))
    True
    >>> holds_times(pd.RangeIndex(3))
    False
    """
    return isinstance(index, pd.DatetimeIndex) or (
        isinstance(index.dtype, pd.ArrowDtype)
        and str(index.dtype).startswith("timestamp[")
    )


def _with_dtype_of_times(times: Any) -> pd.Index:
    """Return an index, of numpy's datetimes where Arrow or objects hold them."""
    index = times if isinstance(times, pd.Index) else pd.Index(times)
    if isinstance(index, pd.MultiIndex):
        return index
    if holds_times(index):
        return pd.DatetimeIndex(index)
    if index.dtype == np.object_:
        inferred = index.infer_objects()
        return inferred if holds_times(inferred) else index
    return index


def _conversion(index: pd.Index) -> str:
    """Say what values of another dtype are, and what makes datetimes of them."""
    if isinstance(index, pd.PeriodIndex):
        return ". Convert periods with .to_timestamp()."
    kind = pd.api.types.infer_dtype(index)
    ways = {
        "string": "Convert text with pandas.to_datetime.",
        "date": "Convert dates with pandas.to_datetime, which takes their midnight.",
        "datetime": (
            "They mix time zones, or reach beyond one unit: convert them with "
            "pandas.to_datetime(..., utc=True)."
        ),
        "period": "Convert periods with .to_timestamp().",
    }
    way = ways.get(kind, "Make them one of these.")
    return f" that holds values of kind {kind!r}. {way}"


def _plain_numbers(index: pd.Index, name: str) -> tuple[TimeArray, IntArray]:
    """Return integers or floats, and the rows where they are missing."""
    missing = np.flatnonzero(np.asarray(index.isna()))
    if len(missing):
        return np.empty(0, dtype=np.int64), missing
    values = index.to_numpy()
    if index.dtype.kind == "f":
        floats = values.astype(np.float64, copy=False)
        return floats, np.flatnonzero(~np.isfinite(floats))
    if index.dtype.kind == "u" and len(values) and values.max() > np.iinfo("i8").max:
        msg = f"{name} must fit 64-bit signed integers, got {values.max()}."
        raise LabelTimesError(msg)
    return values.astype(np.int64, copy=False), missing


def event_times(index: pd.Index, name: str = "label_times") -> pd.Index:
    """Return the time level of an index: itself, or a MultiIndex's datetime level.

    Parameters
    ----------
    index : Index of shape (n,)
        Times, or a MultiIndex with one level of datetimes.
    name : str, default="label_times"
        What the user calls it, for the error message.

    Returns
    -------
    Index of shape (n,)
        The times, in row order; Arrow's datetimes as numpy's.

    Raises
    ------
    LabelTimesError
        If a MultiIndex has no datetime level, or more than one.

    Examples
    --------
    >>> import pandas as pd
    >>> from skatra.utils import event_times
    >>> days = pd.date_range("2024-01-01", periods=2)
    >>> rows = pd.MultiIndex.from_product([["SP500"], days], names=["symbol", "t0"])
    >>> event_times(rows).equals(days)
    True
    """
    if not isinstance(index, pd.MultiIndex):
        return pd.DatetimeIndex(index) if holds_times(index) else index
    levels = [i for i, level in enumerate(index.levels) if holds_times(level)]
    if len(levels) != 1:
        msg = (
            f"the MultiIndex of {name} must have exactly one datetime level (t0), "
            f"got {len(levels)} among levels {list(index.names)}."
        )
        raise LabelTimesError(msg)
    return pd.DatetimeIndex(index.get_level_values(levels[0]))


def common_unit(
    first: tuple[TimeArray, str | None],
    second: tuple[TimeArray, str | None],
    names: tuple[str, str],
) -> tuple[TimeArray, TimeArray, str | None]:
    """Bring two time arrays to one unit and dtype without rounding.

    Parameters
    ----------
    first, second : tuple of (ndarray of shape (n,), str or None)
        Times as int64 or float64, with the unit of datetimes.
    names : tuple of (str, str)
        What the user calls them, for the error message.

    Returns
    -------
    first, second : ndarray of shape (n,)
        In one unit and dtype.
    unit : str or None
        Theirs; None for plain numbers.

    Raises
    ------
    LabelTimesError
        If one holds datetimes and the other numbers, or the finer unit cannot
        hold a time of the coarser array.

    Examples
    --------
    >>> import numpy as np
    >>> from skatra.utils import common_unit
    >>> days, hours = (np.array([2]), "s"), (np.array([500]), "ms")
    >>> common_unit(days, hours, ("t0", "t1"))
    (array([2000]), array([500]), 'ms')
    """
    (a, unit_a), (b, unit_b) = first, second
    if (unit_a is None) != (unit_b is None):
        kinds = [
            "numbers" if unit is None else "datetimes" for unit in (unit_a, unit_b)
        ]
        msg = (
            f"{names[0]} and {names[1]} must be of one kind, got {kinds[0]} and "
            f"{kinds[1]}. Give both as datetimes, or both as numbers; a Series holds "
            "t0 in its index and t1 in its values: "
            "pandas.Series(t1.to_numpy(), index=t0)."
        )
        raise LabelTimesError(msg)
    if unit_a == unit_b:
        if a.dtype != b.dtype:
            a, b = _to_float(a, names[0]), _to_float(b, names[1])
        return a, b, unit_a
    assert unit_a is not None  # noqa: S101 - both are units here
    assert unit_b is not None  # noqa: S101
    unit = max(unit_a, unit_b, key=_UNITS.index)
    return (
        _to_unit(a, unit_a, unit, names[0]),
        _to_unit(b, unit_b, unit, names[1]),
        unit,
    )


def _to_float(times: TimeArray, name: str) -> TimeArray:
    limit = 2**53
    if (
        times.dtype.kind == "i"
        and len(times)
        and (times.max() > limit or times.min() < -limit)
    ):
        msg = (
            f"{name} holds integers beyond 2**53 that floats cannot represent; "
            "give t0 and t1 both as integers."
        )
        raise LabelTimesError(msg)
    floats: TimeArray = times.astype(np.float64, copy=False)
    return floats


def _to_unit(times: TimeArray, unit: str, finer: str, name: str) -> TimeArray:
    factor = 1000 ** (_UNITS.index(finer) - _UNITS.index(unit))
    if factor == 1 or len(times) == 0:
        return times
    limit = np.iinfo(np.int64).max // factor
    if times.max() > limit or times.min() < -limit:
        msg = (
            f"{name} holds times that the finer unit '{finer}' cannot represent; "
            f"give both in unit '{unit}' with .dt.as_unit or .as_unit."
        )
        raise LabelTimesError(msg)
    scaled: TimeArray = times * factor
    return scaled


def as_label_intervals(
    label_times: LabelTimesLike, name: str = "label_times"
) -> LabelIntervals:
    """Turn label times into numbers that compare exactly.

    Parameters
    ----------
    label_times : Series or array-like of shape (n_samples,) or (n_samples, 2)
        A Series with index t0 (for a MultiIndex its datetime level) and values
        t1; or two columns (t0, t1). Datetimes of any unit and time zone,
        integers or floats. Mixed datetime units are compared exactly.
    name : str, default="label_times"
        What the caller's user calls it, for error messages.

    Returns
    -------
    LabelIntervals
        Arrays of shape (n,) in row order.

    Raises
    ------
    LabelTimesError
        If a time is missing, t1 < t0, t0 and t1 differ in kind or in being time
        zone aware; the message shows the first offending rows.

    Examples
    --------
    >>> import pandas as pd
    >>> from skatra.utils import as_label_intervals
    >>> label_times = pd.Series([3, 5], index=[1, 2])
    >>> intervals = as_label_intervals(label_times)
    >>> intervals.t0, intervals.t1, intervals.unit
    (array([1, 2]), array([3, 5]), None)
    """
    if isinstance(label_times, pd.Series):
        starts: Any = event_times(label_times.index, name)
        ends: Any = label_times
    elif isinstance(label_times, pd.DataFrame):
        if label_times.shape[1] != 2:
            way_out = _WAY_OUT
            if "t1" in label_times.columns:
                way_out = 'Of a frame of labels pass labels["t1"].'
            msg = f"{name} must have 2 columns, got {label_times.shape[1]}. {way_out}"
            raise LabelTimesError(msg)
        starts, ends = label_times.iloc[:, 0], label_times.iloc[:, 1]
    else:
        array = np.asarray(label_times)
        if array.ndim != 2 or array.shape[1] != 2:
            msg = f"{name} must be of shape (n, 2), got {array.shape}. {_WAY_OUT}"
            raise LabelTimesError(msg)
        starts, ends = array[:, 0], array[:, 1]
    t0, unit0, tz0 = times_to_numbers(starts, f"{name} (t0)")
    t1, unit1, tz1 = times_to_numbers(ends, f"{name} (t1)")
    t0, t1, unit = common_unit((t0, unit0), (t1, unit1), (f"{name} t0", f"{name} t1"))
    if (tz0 is None) != (tz1 is None):
        msg = (
            f"{name} mixes time zone aware and naive times: t0 has "
            f"{tz0 or 'no time zone'}, t1 has {tz1 or 'no time zone'}. "
            "Localize one with .tz_localize."
        )
        raise LabelTimesError(msg)
    bad = np.flatnonzero(t1 < t0)
    if len(bad):
        first = ", ".join(
            f"{row}: t0={pd.Index(starts)[row]}, t1={pd.Index(ends)[row]}"
            for row in bad[:3]
        )
        msg = (
            f"{name} must not end before they start (t1 >= t0); {len(bad)} of "
            f"{len(t0)} rows do, the first at positions {first}."
        )
        raise LabelTimesError(msg)
    return LabelIntervals(t0, t1, unit)
