"""Fixed-horizon and meta-labels against a plain loop."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.datasets import make_edge_bars
from skatra.labeling import (
    fixed_horizon_labels,
    meta_labels,
    triple_barrier_labels,
)
from skatra.model_selection import PurgedKFold, audit_splits
from tests.laws import assert_no_look_ahead
from tests.strategies import coarse_bars

COLUMNS = ["t1", "ret", "label", "side", "touched"]


@given(
    bars=coarse_bars(),
    horizon=st.integers(1, 8),
    threshold=st.sampled_from([0.0, 0.02, 0.1]),
    side=st.sampled_from([None, -1]),
)
def test_equals_the_plain_loop(bars, horizon, threshold, side):
    """Return over the next bars of the symbol, 0 within the threshold, or open."""
    labels = fixed_horizon_labels(
        bars, horizon=horizon, threshold=threshold, side=side, open_events="mark"
    )
    for (symbol, time), row in labels.iterrows():
        own = bars.loc[symbol, "close"]
        at = own.index.get_loc(time)
        if at + horizon >= len(own):
            assert (row["touched"], row["label"]) == ("open", 0)
            assert row["t1"] == own.index[-1]
            assert np.isnan(row["ret"])
            continue
        move = (side or 1) * (own.iloc[at + horizon] / own.iloc[at] - 1)
        assert row["t1"] == own.index[at + horizon]
        assert row["ret"] == pytest.approx(move, abs=1e-12)
        assert row["label"] == (np.sign(move) if abs(move) > threshold else 0)
        assert (row["side"], row["touched"]) == (side or 1, "time")
    dropped = fixed_horizon_labels(
        bars, horizon=horizon, threshold=threshold, side=side
    )
    pd.testing.assert_frame_equal(dropped, labels[labels["touched"] != "open"])


@given(bars=coarse_bars(), horizon=st.integers(1, 8))
def test_is_the_triple_barrier_without_barriers(bars, horizon):
    """One frame for all labellings: same index, columns and dtypes."""
    expected = triple_barrier_labels(
        bars, target=1.0, profit_taking=None, stop_loss=None, max_holding=horizon
    )

    pd.testing.assert_frame_equal(fixed_horizon_labels(bars, horizon=horizon), expected)


@given(bars=coarse_bars(), row=st.integers(0, 10**6), seed=st.integers(0, 9))
def test_nothing_after_t1_matters(bars, row, seed):
    """Altering or removing later bars leaves a label as it is."""
    labels = fixed_horizon_labels(bars, horizon=3)
    if labels.empty:
        return
    event = labels.iloc[[row % len(labels)]]

    def label(given):
        index = event.index.set_names(["symbol", "time"])
        made = fixed_horizon_labels(given, horizon=3, events=index)
        return made.rename_axis(index.names)[["ret", "label"]]

    assert_no_look_ahead(label, bars, event["t1"].iloc[0], seed)


def test_thresholds_per_event_choose_the_events():
    """Bars without a threshold are no events; a Series is matched by label."""
    bars = make_edge_bars(50)
    threshold = pd.Series(0.01, index=bars.index)
    threshold.iloc[:7] = np.nan
    labels = fixed_horizon_labels(bars, horizon=5, threshold=threshold[::-1])

    assert len(labels) == 50 - 7 - 5
    quiet = labels["ret"].abs() <= 0.01
    assert quiet.any()
    assert ((labels["label"] == 0) == quiet).all()


def test_the_splitters_take_the_frame_as_it_is():
    """labels["t1"] are label times: purged folds do not leak."""
    labels = fixed_horizon_labels(make_edge_bars(200), horizon=10)
    audit = audit_splits(PurgedKFold(4), labels, label_times=labels["t1"])

    assert audit.n_leaking_pairs == 0


@given(bars=coarse_bars(), cost=st.sampled_from([0.0, 0.01]))
def test_meta_labels_say_whether_it_paid(bars, cost):
    """1 where the side earned more than it cost; nothing else changes."""
    side = pd.Series(np.resize([1, -1, -1], len(bars)), index=bars.index)
    labels = fixed_horizon_labels(bars, horizon=2, side=side)
    meta = meta_labels(labels, cost=cost)

    assert (meta["label"] == (labels["ret"] > cost)).all()
    assert meta["label"].dtype == np.int8
    pd.testing.assert_frame_equal(
        meta.drop(columns="label"), labels.drop(columns="label")
    )


def test_misuse_is_named():
    """Each message says what was required, what came, and the way out."""
    bars = make_edge_bars(20)
    for options, message in [
        ({"horizon": 0}, "horizon must be a whole number"),
        ({"open_events": "keep"}, "open_events must be one of"),
        ({"threshold": -0.1}, "threshold must be finite and not negative.*20 of 20"),
        ({"side": 2}, "side must be -1 or 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            fixed_horizon_labels(bars, **{"horizon": 2, **options})
    marked = fixed_horizon_labels(bars, horizon=2, open_events="mark")
    for frame, options, message in [
        (marked, {}, r"2 of 20 have none.*Leave open events out"),
        (marked[COLUMNS[:1]], {}, r"lacks the columns \['ret', 'side'\]"),
        ([1, 2], {}, "must be a frame of labels"),
        (marked[:5], {"cost": -1}, "cost must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            meta_labels(frame, **options)


def test_targets_of_other_bars_are_named_as_such():
    """Without events the target chooses them: the message is about the target."""
    days = pd.date_range("2026-01-01", periods=4)
    bars = pd.DataFrame({"close": [1.0, 2.0, 1.0, 2.0]}, days)
    longer = pd.Series(0.1, pd.date_range("2025-12-31", periods=4))

    with pytest.raises(ValueError, match=r"index of threshold .*; 1 of 4.*reindex"):
        fixed_horizon_labels(bars, horizon=1, threshold=longer)
    assert len(fixed_horizon_labels(
        bars, horizon=1, threshold=longer.reindex(bars.index)
    )) == 3  # fmt: skip
    with pytest.raises(ValueError, match=r"events must be one-dim.*\(4, 1\)"):
        fixed_horizon_labels(bars, horizon=1, events=bars)
    with pytest.raises(ValueError, match="cost must be a number, got '0'"):
        meta_labels(fixed_horizon_labels(bars, horizon=1), cost="0")


def test_events_may_be_a_list_of_pairs():
    """Symbol and time, as they come out of a loop."""
    bars = make_edge_bars(30, symbols=("A", "B"))[["close"]]
    pairs = [bars.index[3], bars.index[40]]

    found = fixed_horizon_labels(bars, horizon=2, events=pairs)
    assert found.index.tolist() == pairs


def test_a_whole_frame_of_labels_as_label_times_is_told_the_way_out():
    """The column t1 is what the splitters take."""
    labels = fixed_horizon_labels(make_edge_bars(30), horizon=2)

    with pytest.raises(ValueError, match=r'got 5\..* pass labels\["t1"\]'):
        list(PurgedKFold(2).split(labels, label_times=labels))
