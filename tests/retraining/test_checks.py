"""Every fault is found by name, alone and all at once; sound data have none."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.datasets import load_index_bars, make_edge_bars
from skatra.exceptions import BarsError, DataCheckError
from skatra.features import price_features
from skatra.labeling import triple_barrier_labels
from skatra.retraining import CHECKS, check_data


def _sound():
    """Return sound bars of two symbols, with features and labels."""
    bars = make_edge_bars(300, symbols=("A", "B"), seed=2)
    rng = np.random.default_rng(0)
    features = pd.DataFrame(
        rng.normal(size=(len(bars), 3)), index=bars.index, columns=["x", "y", "z"]
    )
    labels = triple_barrier_labels(bars, target=0.02, max_holding=5)
    return bars, features, labels


def _set(frame, rows, column, value):
    frame = frame.copy()
    frame.iloc[rows, frame.columns.get_loc(column)] = value
    return frame


def _swap(frame, first, second):
    order = np.arange(len(frame))
    order[[first, second]] = order[[second, first]]
    return frame.iloc[order]


def _all_prices(bars, row, value):
    bars = bars.copy()
    bars.iloc[row, :4] = value
    return bars


def _without_label(frame, column, labels):
    """Return features of which one tells the outcome."""
    frame = frame.copy()
    frame[column] = labels["ret"].reindex(frame.index).to_numpy() * 3.0
    return frame


def _late(labels, bars):
    return _set(labels, [4], "t1", bars.index[-1][1] + pd.Timedelta("1D"))


def _no_gap(bars):
    """Return bars without forty in the middle of the second symbol."""
    start = 300 + 100
    return bars.drop(index=bars.index[start : start + 40])


def _naive(labels):
    return labels.assign(t1=labels["t1"].dt.tz_localize(None))


FAULTS = {
    "unsorted": lambda b, f, y: (_swap(b, 50, 51), f, y),
    "duplicates": lambda b, f, y: (pd.concat([b.iloc[:10], b.iloc[9:]]), f, y),
    "nonfinite-prices": lambda b, f, y: (_set(b, [20], "open", np.inf), f, y),
    "nonpositive-prices": lambda b, f, y: (_all_prices(b, 30, 0.0), f, y),
    "inconsistent-ohlc": lambda b, f, y: (_set(b, [40], "close", 1e6), f, y),
    "bad-volume": lambda b, f, y: (_set(b, [60], "volume", -1.0), f, y),
    "gaps": lambda b, f, y: (_no_gap(b), f, y),
    "mixed-time-zones": lambda b, f, y: (b, f, _naive(y)),
    "t1-before-t0": lambda b, f, y: (b, f, _set(y, [3], "t1", b.index[0][1])),
    "t1-past-last-bar": lambda b, f, y: (b, f, _late(y, b)),
    "constant-features": lambda b, f, y: (b, f.assign(x=1.0), y),
    "missing-features": lambda b, f, y: (b, f.assign(y=np.nan), y),
    "label-in-features": lambda b, f, y: (b, _without_label(f, "z", y), y),
    "fewer-rows": lambda b, f, y: (b, f, y),
}


def _seeded(names):
    """Return sound data with faults, and the rows of the last run."""
    tables = _sound()
    # Faults that move rows come last, so that positions of others hold.
    moved = ("duplicates", "gaps", "unsorted", "mixed-time-zones")
    for name in sorted(names, key=lambda name: name in moved):
        tables = FAULTS[name](*tables)
    return (*tables, 10**6 if "fewer-rows" in names else 1)


def _found(names, **options):
    bars, features, labels, before = _seeded(names)
    return check_data(bars, features, labels, previous_rows=before, **options)


def test_every_check_is_seeded():
    """No check stands without a fault that it must find."""
    assert set(FAULTS) == set(CHECKS)


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_alone(name):
    """One fault is found under its name, with its rows, and nothing else is."""
    report = _found([name])

    assert [problem.check for problem in report.problems] == [name]
    assert len(report.problems[0].positions) > 0
    with pytest.raises(DataCheckError, match=name) as error:
        report.raise_for_problems()
    assert error.value.report is report


def test_all_faults_at_once():
    """Every fault is listed in one message."""
    report = _found(FAULTS)

    assert {problem.check for problem in report.problems} == set(CHECKS)
    with pytest.raises(DataCheckError) as error:
        report.raise_for_problems()
    assert all(name in str(error.value) for name in CHECKS)
    assert set(report.to_frame()["check"]) == set(CHECKS)


@given(
    st.sets(st.sampled_from(sorted(FAULTS))), st.sets(st.sampled_from(sorted(CHECKS)))
)
def test_any_faults_are_found_and_only_waived_ones_pass(faults, waived):
    """What is found is what was seeded; what is refused is what was not waived."""
    report = _found(faults, waive=waived)

    assert {problem.check for problem in report.problems} == faults
    assert {problem.check for problem in report.errors} == faults - waived


def test_rows_are_those_that_were_spoilt():
    """Positions name the spoilt rows, however many symbols alternate."""
    bars, features, labels = _sound()
    spoilt = _set(bars, [5, 299, 300, 420], "close", np.nan)
    (problem,) = check_data(spoilt, features, labels).problems

    assert problem.positions.tolist() == [5, 299, 300, 420]
    assert "4 of 600 rows, first A" in problem.detail


def _told_by_one(features, labels):
    """Return features of which one is the outcome, in the second symbol alone."""
    told = features["x"].copy()
    told.loc["B"] = labels["label"].reindex(features.loc[["B"]].index).to_numpy()
    return features.assign(x=told)


def _without_times(bars, rows):
    """Return bars of which some have no time."""
    times = pd.Series(bars.index.get_level_values(1)).mask(np.isin(range(600), rows))
    symbols = bars.index.get_level_values(0)
    return bars.set_axis(pd.MultiIndex.from_arrays([symbols, times], names=["s", "t"]))


def _of_a_stranger(labels):
    return labels.set_axis(labels.index.set_levels(["A", "STRANGER"], level=0))


FAR = [*range(50), 200, *range(51, 200), 50, *range(201, 600)]
HOSTILE = {
    "features twice": (
        lambda b, f, y: (b, pd.concat([f, f.iloc[[3]]]), y),
        [("duplicates", "features", [3])],
    ),
    "labels twice": (
        lambda b, f, y: (b, f, pd.concat([y.iloc[:5], y.iloc[4:]])),
        [("duplicates", "labels", [4])],
    ),
    "bars far out of order have no gap": (
        lambda b, f, y: (b.iloc[FAR], f, y),
        [("unsorted", "bars", [51, 200])],
    ),
    "all bars in any order": (
        lambda b, f, y: (b.iloc[::-1], f, y),
        [("unsorted", "bars", [i for i in range(600) if i not in (0, 300)])],
    ),
    "no time": (
        lambda b, f, y: (_without_times(b, [7, 599]), f, y),
        [("unsorted", "bars", [7, 599])],
    ),
    "no end": (
        lambda b, f, y: (b, f, _set(y, [5], "t1", pd.NaT)),
        [("t1-before-t0", "labels", [5])],
    ),
    "the return, huge and shifted": (
        lambda b, f, y: (b, f.assign(z=y["ret"].reindex(f.index) * -1e200), y),
        [("label-in-features", "features", [2])],
    ),
    "the label of one symbol": (
        lambda b, f, y: (b, _told_by_one(f, y), y),
        [("label-in-features", "features", [0])],
    ),
    "infinite in every row": (
        lambda b, f, y: (b, f.assign(y=np.inf), y),
        [("constant-features", "features", [1])],
    ),
    "one value or none": (
        lambda b, f, y: (b, f.assign(y=np.where(np.arange(600) % 2, 1, np.nan)), y),
        [("constant-features", "features", [1])],
    ),
    "another zone for ends": (
        lambda b, f, y: (b, f, y.assign(t1=y["t1"].dt.tz_convert("Asia/Tokyo"))),
        [("mixed-time-zones", "rows", [0, 1])],
    ),
    "prices below zero and none": (
        lambda b, f, y: (_set(_set(b, [3], "low", -1.0), [4], "low", np.nan), f, y),
        [("nonfinite-prices", "bars", [4]), ("nonpositive-prices", "bars", [3])],
    ),
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_hostile_tables_are_told_and_not_stumbled_over(fault):
    """What is wrong is found in its table and rows, and nothing else is."""
    spoil, expected = HOSTILE[fault]
    found = check_data(*spoil(*_sound())).problems

    assert [(p.check, p.table, p.positions.tolist()) for p in found] == expected


def test_hostile_tables_at_once():
    """Faults of every table in one list, none hidden by another."""
    tables = _sound()
    names = ["infinite in every row", "the label of one symbol"]
    names += ["prices below zero and none", "no end", "labels twice", "features twice"]
    expected = []
    for name in names:
        tables = HOSTILE[name][0](*tables)
        expected += HOSTILE[name][1]
    found = check_data(*tables).problems

    assert len(found) == len(expected)
    for check, table, positions in expected:
        (problem,) = [p for p in found if (p.check, p.table) == (check, table)]
        assert len(problem.positions) == len(positions)


def test_labels_of_a_symbol_without_bars():
    """Nothing follows a label whose symbol has no bar."""
    bars, features, labels = _sound()
    (problem,) = check_data(bars, features, _of_a_stranger(labels)).problems

    assert problem.check == "t1-past-last-bar"
    assert len(problem.positions) == (labels.index.get_level_values(0) == "B").sum()


def test_tables_that_cannot_be_checked_are_refused_by_name():
    """A missing price and a feature of text are no problem to waive."""
    bars, features, labels = _sound()
    with pytest.raises(BarsError, match=r"bars must have .* close.*got open, high"):
        check_data(bars.drop(columns="close"))
    with pytest.raises(ValueError, match=r"features must be numbers.*\['x'\]"):
        check_data(bars, features.assign(x="a"), labels)
    assert check_data(bars.iloc[:0], features.iloc[:0], labels.iloc[:0]).problems == ()


def test_bundled_bars_are_sound():
    """Twenty years of two indices fail no check, September 2001 included."""
    bars = load_index_bars()

    assert check_data(bars, price_features(bars)).problems == ()


def test_gaps_follow_the_data_or_the_user():
    """Monthly bars have no gaps; a span of the user's own is the law."""
    bars = make_edge_bars(60, symbols=("A",))
    times = pd.date_range("2015-01-31", periods=60, freq="ME", tz="UTC")
    bars.index = pd.MultiIndex.from_arrays([["A"] * 60, times], names=bars.index.names)

    assert check_data(bars).problems == ()
    (problem,) = check_data(bars, max_gap="20D").problems
    assert (problem.check, len(problem.positions)) == ("gaps", 59)


def test_times_of_several_zones_in_one_index():
    """An index that mixes naive and aware times is told, not stumbled over."""
    bars = make_edge_bars(10, symbols=("A",)).loc["A"]
    bars.index = pd.Index(
        [t if i % 2 else t.tz_convert("Asia/Tokyo") for i, t in enumerate(bars.index)],
        dtype=object,
    )

    assert {p.check for p in check_data(bars).problems} == {"mixed-time-zones"}


def test_waived_bars_are_left_out():
    """Bars that nothing can be computed from go when their check is waived."""
    bars, *_ = _seeded(["nonfinite-prices", "inconsistent-ohlc", "unsorted"])
    report = check_data(bars, waive=["nonfinite-prices", "inconsistent-ohlc"])
    left = report.sound_bars(bars)

    assert len(left) == len(bars) - 2
    assert check_data(left).problems == ()


def test_unknown_waivers_are_refused_with_the_list():
    """A misspelt waiver would let nothing pass; it is refused with what there is."""
    with pytest.raises(ValueError, match=r"'gap'.*gaps, "):
        check_data(_sound()[0], waive=["gap"])
