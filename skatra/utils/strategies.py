"""Hypothesis strategies that draw label times, for property tests of your splits.

Each returns a strategy of Series (index t0, values t1), as splitters take them::

    from hypothesis import given
    from skatra.model_selection import audit_splits
    from skatra.utils.strategies import label_times

    @given(label_times(min_rows=60))
    def test_my_splitter_never_leaks(series):
        audit = audit_splits(MySplitter(), series.to_frame(), label_times=series)
        audit.raise_for_leaks()

Importing this module needs neither pytest nor Hypothesis; drawing needs Hypothesis.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from skatra.exceptions import MissingDependencyError

__all__ = [
    "KINDS",
    "SHAPES",
    "UNITS",
    "ZONES",
    "label_times",
    "panel_label_times",
    "time_indexes",
]

KINDS = ("datetime", "int", "float")
"""What times are made of."""

SHAPES = (
    "overlapping",
    "nested",
    "touching",
    "points",
    "duplicated",
    "gaps",
    "mixed",
)
"""How labels lie to each other."""

UNITS = ("s", "ms", "us", "ns")
"""Units of datetimes."""

ZONES = (None, "UTC", "America/New_York", "Europe/Berlin")
"""Time zones of datetimes; two of them change to and from daylight saving."""


def label_times(
    *,
    shapes: Sequence[str] = SHAPES,
    kinds: Sequence[str] = KINDS,
    units: Sequence[str] = UNITS,
    zones: Sequence[str | None] = ZONES,
    min_rows: int = 12,
    max_rows: int = 60,
    is_sorted: bool | None = None,
) -> Any:
    """Draw label times of one asset.

    Parameters
    ----------
    shapes : sequence of str, default=SHAPES
        "overlapping": labels of a few steps; "nested": some far longer ones around
        them; "touching": each ends where the next starts; "points": t1 = t0;
        "duplicated": several start together; "gaps": irregular starts with long
        holes; "mixed": any of it.

    kinds : sequence of str, default=KINDS
        "datetime", "int" or "float".

    units, zones : sequence, default=UNITS and ZONES
        Of datetimes. t0 and t1 may differ in unit.

    min_rows, max_rows : int, default=12 and 60
        Number of labels.

    is_sorted : bool, default=None
        Whether t0 rise with the rows; None draws both.

    Returns
    -------
    strategy : SearchStrategy of Series
        Index t0, values t1 >= t0.

    Raises
    ------
    MissingDependencyError
        If Hypothesis is not installed.

    Examples
    --------
    >>> from hypothesis import given
    >>> from skatra.utils.strategies import label_times
    >>> @given(label_times(shapes=["touching"], kinds=["int"], is_sorted=True))
    ... def test_each_label_ends_where_the_next_starts(series):
    ...     assert (series.to_numpy()[:-1] == series.index[1:]).all()
    >>> test_each_label_ends_where_the_next_starts()
    """
    for name, given, known in (("shapes", shapes, SHAPES), ("kinds", kinds, KINDS)):
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ValueError(f"{name} must be among {known}, got {unknown}.")
    st = _hypothesis()

    @st.composite  # type: ignore[untyped-decorator]
    def series(draw: Any) -> "pd.Series[Any]":
        n_rows = draw(st.integers(min_rows, max_rows))
        starts, ends = _steps(draw, st, draw(st.sampled_from(list(shapes))), n_rows)
        ordered = draw(st.booleans()) if is_sorted is None else is_sorted
        if not ordered:
            order = np.array(draw(st.permutations(range(n_rows))))
            starts, ends = starts[order], ends[order]
        kind = draw(st.sampled_from(list(kinds)))
        return _as_series(draw, st, (starts, ends), kind, units, zones)

    return series()


def panel_label_times(
    *,
    max_assets: int = 4,
    shapes: Sequence[str] = SHAPES,
    units: Sequence[str] = UNITS,
    zones: Sequence[str | None] = ZONES,
    min_rows: int = 6,
    max_rows: int = 20,
) -> Any:
    """Draw label times of several assets that share many t0.

    Parameters
    ----------
    max_assets : int, default=4
        At most so many assets, at least one.

    shapes : sequence of str, default=SHAPES
        "overlapping": labels of a few steps; "nested": some far longer ones around
        them; "touching": each ends where the next starts; "points": t1 = t0;
        "duplicated": several start together; "gaps": irregular starts with long holes;
        "mixed": any of it.

    units : sequence of str, default=UNITS
        Units of datetimes; t0 and t1 may differ in theirs.

    zones : sequence of str or None, default=ZONES
        Time zones of datetimes; None is naive.

    min_rows, max_rows : int, default=6 and 20
        Number of labels of each asset.

    Returns
    -------
    strategy : SearchStrategy of Series
        MultiIndex (symbol, t0) without duplicates, values t1; assets stacked one
        after another, or sorted by t0.

    Raises
    ------
    MissingDependencyError
        If Hypothesis is not installed.

    Examples
    --------
    >>> from hypothesis import given
    >>> from skatra.utils.strategies import panel_label_times
    >>> @given(panel_label_times())
    ... def test_index_is_unique(series):
    ...     assert series.index.is_unique
    >>> test_index_is_unique()
    """
    st = _hypothesis()

    @st.composite  # type: ignore[untyped-decorator]
    def series(draw: Any) -> "pd.Series[Any]":
        starts, ends, symbols = [], [], []
        for symbol in "DBCA"[: draw(st.integers(1, max_assets))]:
            n_rows = draw(st.integers(min_rows, max_rows))
            own = _steps(draw, st, draw(st.sampled_from(list(shapes))), n_rows)
            distinct, first = np.unique(own[0], return_index=True)
            starts.append(distinct)
            ends.append(own[1][first])
            symbols += [symbol] * len(distinct)
        steps = np.concatenate(starts), np.concatenate(ends)
        flat = _as_series(draw, st, steps, "datetime", units, zones)
        index = pd.MultiIndex.from_arrays([symbols, flat.index], names=["symbol", "t0"])
        panel = flat.set_axis(index)
        return (
            panel if draw(st.booleans()) else panel.sort_index(level=["t0", "symbol"])
        )

    return series()


def time_indexes(
    *,
    units: Sequence[str] = UNITS,
    zones: Sequence[str | None] = ZONES,
    min_rows: int = 12,
    max_rows: int = 60,
) -> Any:
    """Draw rising DatetimeIndexes with gaps and ties, for splitters without labels.

    Parameters
    ----------
    units : sequence of str, default=UNITS
        Units of datetimes; t0 and t1 may differ in theirs.
    zones : sequence of str or None, default=ZONES
        Time zones of datetimes; None is naive.
    min_rows : int, default=12
        Fewest times.
    max_rows : int, default=60
        Most times.

    Returns
    -------
    strategy : SearchStrategy of DatetimeIndex
        For ``@given``.

    Raises
    ------
    MissingDependencyError
        If Hypothesis is not installed.

    Examples
    --------
    >>> from hypothesis import given
    >>> from skatra.utils.strategies import time_indexes
    >>> @given(time_indexes())
    ... def test_times_rise(index):
    ...     assert index.is_monotonic_increasing
    >>> test_times_rise()
    """
    drawn = label_times(
        kinds=["datetime"],
        units=units,
        zones=zones,
        min_rows=min_rows,
        max_rows=max_rows,
        is_sorted=True,
    )
    return drawn.map(lambda series: series.index)


def _hypothesis() -> Any:
    try:
        from hypothesis import strategies
    except ImportError as error:
        msg = "drawing label times needs Hypothesis. Install skatra[test]."
        raise MissingDependencyError(msg) from error
    return strategies


def _steps(draw: Any, st: Any, shape: str, n_rows: int) -> tuple[Any, Any]:
    """Return sorted starts and their ends in whole steps."""

    def integers(low: int, high: int) -> Any:
        return np.array(
            draw(st.lists(st.integers(low, high), min_size=n_rows, max_size=n_rows))
        )

    starts = np.arange(n_rows)
    if shape == "duplicated":
        starts = np.sort(integers(0, max(n_rows // 3, 3)))
    elif shape == "gaps":
        starts = np.cumsum(np.where(integers(0, 4) == 0, 20, 1))
    elif shape == "mixed":
        starts = np.sort(integers(0, 2 * n_rows))
    if shape == "touching":
        return starts, starts + 1
    if shape == "points":
        return starts, starts.copy()
    lengths = integers(0, draw(st.sampled_from([1, 4, 9])))
    if shape in ("nested", "mixed"):
        rows = draw(st.lists(st.integers(0, n_rows - 1), max_size=3))
        lengths[rows] += n_rows // 4
    return starts, starts + lengths


def _as_series(
    draw: Any,
    st: Any,
    steps: tuple[Any, Any],
    kind: str,
    units: Sequence[str],
    zones: Sequence[str | None],
) -> "pd.Series[Any]":
    starts, ends = steps
    if kind == "float":
        step = draw(st.sampled_from([0.1, 1.0, 1e-3]))
        return pd.Series(
            ends * step, index=pd.Index(starts * step, name="t0"), name="t1"
        )
    if kind != "datetime":
        return pd.Series(ends, index=pd.Index(starts, name="t0"), name="t1")
    step = pd.Timedelta(draw(st.sampled_from(["1s", "1h", "1D"]))).to_timedelta64()
    origins = ["2026-03-07", "2026-10-24", "1969-12-31"]
    origin = pd.Timestamp(draw(st.sampled_from(origins)))
    zone = draw(st.sampled_from(list(zones)))
    t0, t1 = (
        (origin + pd.TimedeltaIndex(times * step)).as_unit(
            draw(st.sampled_from(list(units)))
        )
        for times in (starts, ends)
    )
    if zone is not None:
        t0, t1 = (times.tz_localize("UTC").tz_convert(zone) for times in (t0, t1))
    return pd.Series(t1, index=t0.rename("t0"), name="t1")
