"""The public strategies of label times."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, find, given, settings

from skatra.model_selection import PurgedKFold, audit_splits
from skatra.utils import as_label_intervals, strategies


@given(strategies.label_times())
def test_label_times_can_be_used(series):
    """Every drawn Series is valid: t1 >= t0, one kind, one time zone."""
    assert len(as_label_intervals(series)) == len(series)
    assert (series.index.name, series.name) == ("t0", "t1")


@given(strategies.panel_label_times())
def test_panels_can_be_split_without_leaks(series):
    """Panels come with a unique (symbol, t0) index and split cleanly."""
    assert series.index.is_unique
    cv = PurgedKFold(2)
    try:
        audit = audit_splits(cv, series.to_frame(), label_times=series)
    except ValueError as error:
        assert "training rows" in str(error) or "distinct t0" in str(error)  # noqa: PT017
        return
    assert audit.n_leaking_pairs == 0


@given(strategies.time_indexes())
def test_time_indexes_rise(index):
    """Indexes are sorted datetimes."""
    assert isinstance(index, pd.DatetimeIndex)
    assert index.is_monotonic_increasing


def _overlaps(series):
    return (series.to_numpy()[:-1] > series.index.to_numpy()[1:]).any()


SHAPES_FOUND = {
    "overlapping": _overlaps,
    "nested": lambda s: (np.diff(s.to_numpy()) < 0).any(),
    "touching": lambda s: (s.to_numpy()[:-1] == s.index[1:]).all(),
    "points": lambda s: (s.to_numpy() == s.index).all(),
    "duplicated": lambda s: s.index.has_duplicates,
    "gaps": lambda s: (np.diff(s.index) >= 20).any(),
    "mixed": lambda s: s.index.has_duplicates and _overlaps(s),
}


@pytest.mark.parametrize("shape", strategies.SHAPES)
def test_every_shape_holds_what_its_name_says(shape):
    """Each shape can be found by its property."""
    drawn = strategies.label_times(shapes=[shape], kinds=["int"], is_sorted=True)
    search = settings(max_examples=500, phases=[Phase.generate], database=None)
    assert len(find(drawn, SHAPES_FOUND[shape], settings=search))


@pytest.mark.parametrize("unit", strategies.UNITS)
@pytest.mark.parametrize("zone", strategies.ZONES)
def test_chosen_units_and_zones_come_out(unit, zone):
    """What is drawn has the unit and the zone that were asked for, sorted if asked."""
    drawn = strategies.label_times(
        kinds=["datetime"], units=[unit], zones=[zone], is_sorted=True, max_rows=15
    )

    @settings(max_examples=3)
    @given(drawn)
    def check(series):
        assert series.index.unit == series.dt.unit == unit
        assert (None if series.index.tz is None else str(series.index.tz)) == zone
        assert series.index.is_monotonic_increasing

    check()


def test_unknown_names_are_refused():
    """A misspelt shape or kind says which there are."""
    with pytest.raises(ValueError, match=r"shapes must be among.*'ovrlap'"):
        strategies.label_times(shapes=["ovrlap"])
    with pytest.raises(ValueError, match="kinds must be among"):
        strategies.label_times(kinds=["date"])


def test_without_hypothesis_the_extra_is_named():
    """Importing needs neither pytest nor Hypothesis; drawing says what to install."""
    code = (
        "import sys\n"
        "sys.modules['hypothesis'] = sys.modules['pytest'] = None\n"
        "from skatra.exceptions import MissingDependencyError\n"
        "from skatra.utils import splitter_checks, strategies\n"
        "from skatra.model_selection import PurgedKFold\n"
        "splitter_checks.check_splitter(PurgedKFold(3))\n"
        "for call in (strategies.label_times, strategies.panel_label_times,\n"
        "             lambda: splitter_checks.parametrize_with_splitter_checks([])):\n"
        "    try: call()\n"
        "    except MissingDependencyError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.count("skatra[test]") == 3
