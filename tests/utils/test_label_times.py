"""Label times become numbers that compare exactly, or are refused."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from skatra.exceptions import LabelTimesError
from skatra.utils import as_label_intervals
from tests import strategies
from tests.model_selection.oracle import NANOSECONDS, exact_times

DAYS = pd.date_range("2026-03-27", periods=5, freq="D")


@given(strategies.label_times())
def test_no_time_is_rounded(series):
    """Times keep their exact value in the finer of the two units."""
    intervals = as_label_intervals(series)
    factor = NANOSECONDS.get(intervals.unit, 1)

    for expected, got in zip(
        exact_times(series), (intervals.t0, intervals.t1), strict=True
    ):
        assert expected == [time * factor for time in got.tolist()]
    assert intervals.t0.dtype == intervals.t1.dtype


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_every_form_gives_the_same(zone):
    """Series, two columns, arrays and lists of pairs are one and the same."""
    index = DAYS.tz_localize(zone)
    series = pd.Series(index + pd.Timedelta("1D"), index=index)
    frame = series.reset_index()
    expected = as_label_intervals(series)
    pairs = list(zip(index, series, strict=True))
    for form in (frame, frame.to_numpy(), pairs):
        got = as_label_intervals(form)
        scale = NANOSECONDS[got.unit] / NANOSECONDS[expected.unit]

        assert (got.t0 * scale).tolist() == expected.t0.tolist()
        assert (got.t1 * scale).tolist() == expected.t1.tolist()


def test_sorted_datetimes_are_not_copied():
    """Equal units cost no conversion: the numbers are the Series' own memory."""
    series = pd.Series(DAYS + pd.Timedelta("1D"), index=DAYS)
    intervals = as_label_intervals(series)

    assert np.shares_memory(intervals.t0, DAYS.asi8)
    assert np.shares_memory(intervals.t1, series.array.asi8)


def in_nanoseconds(intervals):
    """Return starts and ends as integers that do not overflow."""
    factor = NANOSECONDS[intervals.unit]
    return [
        [time * factor for time in times.tolist()]
        for times in (intervals.t0, intervals.t1)
    ]


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_datetimes_of_arrow_and_objects_are_those_of_numpy(unit, zone):
    """The container of a datetime changes no number; nanoseconds are kept."""
    pytest.importorskip("pyarrow", reason="Arrow's dtypes need pyarrow")
    t0 = DAYS.tz_localize(zone).as_unit(unit)
    t1 = t0 + pd.Timedelta(1 if unit == "ns" else 10**9, unit="ns")
    expected = as_label_intervals(pd.Series(t1, index=t0))
    suffix = "" if zone is None else f", tz={zone}"
    arrow = f"timestamp[{unit}{suffix}][pyarrow]"
    for dtype in (arrow, object):
        series = pd.Series(t1, index=t0.astype(dtype)).astype(dtype)
        panel = pd.MultiIndex.from_arrays([list("abcde"), series.index])
        forms = [series, series.rename_axis("t0").reset_index()]
        forms += [series.set_axis(panel)] if dtype == arrow else []
        for form in forms:
            got = as_label_intervals(form)
            assert in_nanoseconds(got) == in_nanoseconds(expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([dt.date(2026, 3, 28)] * 5, "kind 'date'. Convert dates with pandas.to_dat"),
        (["2026-03-28"] * 5, "kind 'string'. Convert text with pandas.to_datetime"),
        (
            [
                pd.Timestamp("2027", tz=zone)
                for zone in [*["UTC", "Asia/Tokyo"] * 2, "UTC"]
            ],
            "mix time zones.*utc=True",
        ),
        (pd.period_range("2027", periods=5), r"got dtype period.*\.to_timestamp\(\)"),
        ([{}] * 5, "kind 'mixed'. Make them one of these"),
    ],
)
def test_other_values_are_called_what_they_are(values, message):
    """The refusal says which kind of value it got and what converts that kind."""
    series = pd.Series(values, index=DAYS)
    with pytest.raises(
        LabelTimesError, match=rf"\(t1\) must hold datetimes.*{message}"
    ):
        as_label_intervals(series)


def test_nullable_and_unsigned_integers_are_integers():
    """Nullable and unsigned dtypes give int64, if they fit."""
    series = pd.Series([3, 4], index=pd.Index([1, 2], dtype="uint64"), dtype="Int64")
    intervals = as_label_intervals(series)

    assert intervals.t0.dtype == intervals.t1.dtype == np.int64
    assert intervals.t1.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("label_times", "message"),
    [
        (
            pd.Series([3, None], index=[1, 2], dtype="Int64"),
            r"missing.*positions \[1\]",
        ),
        (pd.Series([3.0, np.inf], index=[1.0, 2.0]), r"infinite.*positions \[1\]"),
        (pd.Series([2**63 + 1], index=[1], dtype="uint64"), "fit 64-bit signed"),
        (pd.Series([2.0**54], index=[2**53 + 1]), r"beyond 2\*\*53"),
        (pd.Series([True, True], index=[0, 1]), "got dtype bool"),
        (pd.Series(DAYS, index=range(5)), "one kind.*both as numbers"),
        (pd.DataFrame({"t0": [1], "t1": [2], "ret": [0.1]}), "2 columns, got 3"),
        (np.arange(4), r"shape \(n, 2\), got \(4,\)"),
        (
            pd.Series(
                pd.DatetimeIndex(np.array(["2500-01-01"], dtype="M8[s]")),
                index=pd.DatetimeIndex(["2026-01-01"]).as_unit("ns"),
            ),
            "finer unit 'ns' cannot represent",
        ),
        (
            pd.Series(DAYS, index=pd.MultiIndex.from_product([[0], range(5)])),
            "exactly one datetime level",
        ),
        (pd.Series([5, 1, 2], index=[4, 3, 3]), "2 of 3 rows do.*1: t0=3, t1=1"),
    ],
)
def test_refused(label_times, message):
    """Each error says what is required, what was got and where."""
    with pytest.raises(LabelTimesError, match=message):
        as_label_intervals(label_times)
