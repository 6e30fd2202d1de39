"""The one home of Hypothesis strategies."""

import datetime as dt

import numpy as np
import pandas as pd
from hypothesis import strategies as st

# --- label times and splitters -------------------------------------------------

UNITS = ("s", "ms", "us", "ns")
CLOSED = st.sampled_from(["both", "left"])


@st.composite
def label_rows(draw, *, min_rows=4, max_rows=40):
    """Starts and lengths as small integers: overlapping, nested, touching, tied.

    Rows come sorted, reversed, shuffled or stacked by asset.
    """
    n_rows = draw(st.integers(min_rows, max_rows))
    spread = draw(st.sampled_from([n_rows // 3 + 1, n_rows, 4 * n_rows]))
    longest = draw(st.sampled_from([0, 1, 3, 10, spread]))
    starts = np.array(
        draw(st.lists(st.integers(0, spread), min_size=n_rows, max_size=n_rows))
    )
    lengths = np.array(
        draw(st.lists(st.integers(0, longest), min_size=n_rows, max_size=n_rows))
    )
    for row in draw(st.lists(st.integers(0, n_rows - 1), max_size=2)):
        lengths[row] += spread // 2
    order = draw(st.sampled_from(["sorted", "drawn", "reversed", "stacked"]))
    if order != "drawn":
        starts.sort()
    if order == "reversed":
        starts = starts[::-1].copy()
    if order == "stacked":
        starts = np.concatenate([starts[::2], starts[1::2]])
    return starts, starts + lengths


@st.composite
def label_times(draw, *, kinds=("int", "float", "s", *UNITS), min_rows=4, max_rows=40):
    """A Series (index t0, values t1): numbers, or datetimes of mixed units.

    Time zones include changes to and from daylight saving time.
    """
    starts, ends = draw(label_rows(min_rows=min_rows, max_rows=max_rows))
    kind = draw(st.sampled_from(kinds))
    if kind == "int":
        return pd.Series(ends, index=starts)
    if kind == "float":
        step = draw(st.sampled_from([0.1, 1.0, 1e-3]))
        return pd.Series(ends * step, index=starts * step)
    step = pd.Timedelta(
        draw(st.sampled_from(["1s", "1s", "1h", "1D"]))
    ).to_timedelta64()
    zone = draw(st.sampled_from([None, "UTC", "America/New_York", "Europe/Berlin"]))
    origin = pd.Timestamp(
        draw(st.sampled_from(["2026-03-07", "2026-10-24", "1969-12-31"]))
    )
    t0 = (origin + pd.TimedeltaIndex(starts * step)).as_unit(kind)
    t1 = origin + pd.TimedeltaIndex(ends * step)
    t1 = t1.as_unit(draw(st.sampled_from([kind, *UNITS])))
    if zone is not None:
        t0 = t0.tz_localize("UTC").tz_convert(zone)
        t1 = t1.tz_localize("UTC").tz_convert(draw(st.sampled_from([zone, "UTC"])))
    return pd.Series(t1, index=t0)


@st.composite
def time_spans(draw):
    """A time span in each form that users write, finer than the data too."""
    value = draw(st.integers(0, 5))
    unit = draw(st.sampled_from(["D", "h", "s", "ms", "ns"]))
    form = draw(st.sampled_from(["text", "pandas", "numpy", "datetime"]))
    if form == "text":
        return f"{value}{unit}"
    if form == "numpy":
        return np.timedelta64(value, unit)
    span = pd.Timedelta(f"{value}{unit}")
    if form == "datetime":
        return dt.timedelta(seconds=int(span.total_seconds()))
    return span


COUNTS = st.integers(0, 6)
SHARES = st.sampled_from([0.0, 0.01, 0.07, 0.1, 0.25])


def spans_for(series):
    """Gaps and embargoes that fit the label times: all three forms, or two."""
    if isinstance(series.index, pd.DatetimeIndex):
        return st.one_of(time_spans(), COUNTS, SHARES)
    return st.one_of(COUNTS, SHARES)


# --- bars, labels and features -------------------------------------------------

# --- frames for the database ---------------------------------------------------

# --- returns, probabilities and trades -----------------------------------------
