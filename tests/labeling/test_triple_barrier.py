"""triple_barrier_labels against a plain loop over each event's path."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.datasets._samples import load_index_bars, make_edge_bars
from skatra.exceptions import BarsError
from skatra.labeling import daily_volatility, triple_barrier_labels
from skatra.sample_weight import average_uniqueness
from tests.laws import assert_no_look_ahead
from tests.strategies import coarse_bars

SIZES = st.sampled_from([None, 0.5, 1.0, 2.0, np.inf])


@st.composite
def tasks(draw):
    """(bars, keyword arguments), with every option in play."""
    bars = draw(coarse_bars())
    n = len(bars)
    per_bar = st.lists(st.sampled_from([0.01, 0.02, 0.03, 0.05]), min_size=n)
    width = pd.Series(draw(per_bar)[:n], index=bars.index)
    directions = st.lists(st.sampled_from([-1, 1]), min_size=n)
    side = pd.Series(draw(directions)[:n], index=bars.index)
    chosen = draw(st.permutations(range(n)))[: draw(st.integers(1, n))]
    return bars, {
        "target": draw(st.sampled_from([width, 0.02])),
        "profit_taking": draw(SIZES),
        "stop_loss": draw(SIZES),
        "max_holding": draw(st.integers(1, 12)),
        "side": draw(st.sampled_from([side, None, -1])),
        "events": draw(st.sampled_from([None, bars.index[chosen]])),
        "path": draw(st.sampled_from(["ohlc", "close"])),
    }


def _exit(later, entry, size_up, size_down, options):
    """Live through one symbol's later bars; return (bars held, price, touch)."""
    side = options["side"]
    profit = None if size_up is None else entry * (1 + side * size_up)
    stop = None if size_down is None else entry * (1 - side * size_down)

    def beyond(price, barrier, direction):
        return barrier is not None and direction * (price - barrier) >= 0

    for held, bar in enumerate(later, start=1):
        close = bar[3]
        opening, high, low = bar[:3] if options["path"] == "ohlc" else [close] * 3
        best, worst = (high, low) if side > 0 else (low, high)
        if beyond(opening, stop, -side):
            return held, opening, "stop"
        if beyond(opening, profit, side):
            return held, opening, "profit"
        if beyond(worst, stop, -side):
            return held, stop, "stop"
        if beyond(best, profit, side):
            return held, profit, "profit"
        if held == options["max_holding"]:
            return held, close, "time"
    return len(later), np.nan, "open"


def _oracle(bars, options):
    """Label event by event, in plain Python."""
    events = bars.index if options["events"] is None else options["events"]
    rows = []
    for symbol, time in events:
        own = bars.loc[symbol]
        at = own.index.get_loc(time)
        given = {
            name: value[(symbol, time)] if isinstance(value, pd.Series) else value
            for name, value in options.items()
        }
        given["side"] = 1 if given["side"] is None else int(given["side"])
        width = given["target"]
        sizes = [
            None if size is None or np.isinf(size) else width * size
            for size in (given["profit_taking"], given["stop_loss"])
        ]
        entry = own["close"].iloc[at]
        later = own[["open", "high", "low", "close"]].iloc[at + 1 :].to_numpy()
        held, price, touch = _exit(later[: given["max_holding"]], entry, *sizes, given)
        ret = given["side"] * (price / entry - 1)
        label = 0 if np.isnan(ret) else int(np.sign(ret))
        rows.append([own.index[at + held], ret, label, given["side"], touch])
    return rows


@given(task=tasks())
def test_equals_the_plain_loop(task):
    """Every option: t1, return, label, side and touch as the loop finds them."""
    bars, options = task
    actual = triple_barrier_labels(bars, open_events="mark", **options)
    expected = _oracle(bars, options)

    assert [row[0] for row in expected] == list(actual["t1"])
    np.testing.assert_allclose(
        actual["ret"], [row[1] for row in expected], rtol=0, atol=1e-12
    )
    assert [row[4] for row in expected] == list(actual["touched"])
    assert [row[3] for row in expected] == list(actual["side"])
    clear = ~(np.abs(actual["ret"]) < 1e-12).to_numpy()
    labels = np.array([row[2] for row in expected])
    assert (labels == actual["label"].to_numpy())[clear].all()


@given(task=tasks())
def test_frame_format(task):
    """Index names, dtypes, t1 after t0; "drop" is "mark" without open events."""
    bars, options = task
    marked = triple_barrier_labels(bars, open_events="mark", **options)
    dropped = triple_barrier_labels(bars, **options)
    events = bars.index if options["events"] is None else options["events"]

    assert list(events) == list(marked.index)
    assert list(marked.index.names) == ["symbol", "t0"]
    assert bars.index.levels[1].dtype == marked["t1"].dtype
    assert (marked["label"].dtype, marked["side"].dtype) == (np.int8, np.int8)
    assert (marked["ret"].isna() == (marked["touched"] == "open")).all()
    assert (dropped["t1"] > dropped.index.get_level_values("t0")).all()
    assert (np.sign(dropped["ret"]) == dropped["label"]).all()
    pd.testing.assert_frame_equal(dropped, marked[marked["touched"] != "open"])


@given(task=tasks(), row=st.integers(0, 10**6), seed=st.integers(0, 9))
def test_nothing_after_t1_matters(task, row, seed):
    """Altering or removing bars after a label's t1 leaves that label as it is."""
    bars, options = task
    options["events"] = None
    labels = triple_barrier_labels(bars, **options)
    if labels.empty:
        return
    event = labels.iloc[[row % len(labels)]]

    def label(given):
        index = event.index.set_names(["symbol", "time"])
        chosen = {**options, "events": index}
        return triple_barrier_labels(given, **chosen).rename_axis(index.names)[
            ["ret", "label"]
        ]

    assert_no_look_ahead(label, bars, event["t1"].iloc[0], seed)


@given(task=tasks())
def test_nothing_before_t0_matters(task):
    """Removing each symbol's bars before its first event changes no label."""
    bars, options = task
    expected = triple_barrier_labels(bars, **options)
    events = bars.index if options["events"] is None else options["events"]
    first = pd.Series(events.get_level_values(1), events.get_level_values(0))
    first = first.groupby(level=0).min()
    symbols = bars.index.get_level_values(0)
    keep = symbols.isin(first.index)
    rest = bars[keep]
    rest = rest[rest.index.get_level_values(1) >= first[symbols[keep]].to_numpy()]

    options["events"] = events
    pd.testing.assert_frame_equal(expected, triple_barrier_labels(rest, **options))


@given(bars=coarse_bars(), step=st.integers(1, 5))
def test_panel_equals_symbol_by_symbol(bars, step):
    """A panel's labels are those of its symbols one by one, named or not."""
    whole = triple_barrier_labels(bars, target=0.03, max_holding=step)
    for symbol, own in bars.groupby(level="symbol"):
        expected = whole[whole.index.get_level_values("symbol") == symbol]
        alone = triple_barrier_labels(
            own.droplevel("symbol"), target=0.03, max_holding=step
        )

        assert alone.index.name == "t0"
        pd.testing.assert_frame_equal(
            alone, expected.droplevel("symbol"), check_freq=False
        )


def _bars(*rows):
    """Bars of one symbol from (open, high, low, close)."""
    return pd.DataFrame(
        rows,
        pd.date_range("2024-01-01", periods=len(rows)),
        ["open", "high", "low", "close"],
        dtype=float,
    )


START = (100, 100, 100, 100)


@pytest.mark.parametrize(
    ("bar", "side", "ret", "touched"),
    [
        ((100, 111, 95, 105), 1, 0.10, "profit"),
        ((100, 105, 89, 95), 1, -0.10, "stop"),
        ((100, 115, 85, 100), 1, -0.10, "stop"),
        ((112, 115, 85, 100), 1, 0.12, "profit"),
        ((85, 115, 85, 100), 1, -0.15, "stop"),
        ((100, 105, 95, 104), 1, 0.04, "time"),
        ((100, 105, 95, 104), -1, -0.04, "time"),
        ((100, 105, 89, 95), -1, 0.10, "profit"),
        ((100, 115, 85, 100), -1, -0.10, "stop"),
        ((85, 90, 85, 90), -1, 0.15, "profit"),
    ],
    ids=[
        "high reaches profit",
        "low reaches stop",
        "both: stop first",
        "open beyond profit: before both",
        "open beyond stop: exit at open",
        "neither",
        "short: neither",
        "short: low is profit",
        "short: both, stop first",
        "short: open beyond profit",
    ],
)
def test_one_bar(bar, side, ret, touched):
    """What happens inside one bar, case by case, barriers at 10 %."""
    labels = triple_barrier_labels(
        _bars(START, bar), target=0.1, max_holding=1, side=side
    )

    assert labels["ret"].tolist() == [pytest.approx(ret)]
    assert labels["touched"].tolist() == [touched]


@pytest.mark.parametrize("path", ["ohlc", "close"])
def test_reaching_a_barrier_is_enough(path):
    """A price exactly at the barrier touches it."""
    labels = triple_barrier_labels(
        _bars(START, (100, 125, 100, 125)), target=0.25, path=path
    )

    assert labels["touched"].tolist() == ["profit"]


def test_open_events_are_never_labelled():
    """Too few bars ahead: left out, or marked with no return."""
    bars = _bars(START, (100, 101, 99, 101))
    marked = triple_barrier_labels(bars, target=0.1, open_events="mark")

    assert triple_barrier_labels(bars, target=0.1).empty
    assert marked["touched"].tolist() == ["open", "open"]
    assert marked["t1"].tolist() == [bars.index[1]] * 2
    assert marked["ret"].isna().all()
    assert (marked["label"] == 0).all()


def test_default_events_are_bars_with_a_target():
    """Missing targets are no events; other datetime units still match."""
    bars = make_edge_bars(60)
    target = daily_volatility(bars["close"])
    labels = triple_barrier_labels(bars, target=target, open_events="mark")
    nanoseconds = bars.copy()
    nanoseconds.index = bars.index.set_levels(
        bars.index.levels[1].as_unit("ns"), level=1
    )
    again = triple_barrier_labels(
        nanoseconds, target=target, events=target.index[2:], open_events="mark"
    )

    assert len(labels) == 58
    assert labels["ret"].tolist()[:30] == again["ret"].tolist()[:30]


def _cusum(returns, threshold):
    """Symmetric CUSUM filter, one counter reset at a time (AFML 2.5.2.1)."""
    events, up, down = [], 0.0, 0.0
    for bar, step in enumerate(returns, start=1):
        up, down = max(0.0, up + step), min(0.0, down + step)
        if down < -threshold:
            down = 0.0
            events.append(bar)
        elif up > threshold:
            up = 0.0
            events.append(bar)
    return np.array(events)


@pytest.mark.parametrize(
    ("symbol", "n_events", "counts", "touches", "uniqueness"),
    [
        ("SP500", 968, (534, 429), (370, 339, 254), (0.611627, 0.147727)),
        ("NASDAQ", 1356, (729, 622), (552, 508, 291), (0.491035, 0.130952)),
    ],
)
def test_reference_numbers(symbol, n_events, counts, touches, uniqueness):
    """Numbers derived independently: barriers at +-2 EWM(100) deviations of log
    prices, 10 bars, on CUSUM events of 2 %. In simple returns the two barriers are
    not of equal width, so profit and stop are asked for one at a time.
    """
    bars = load_index_bars().loc[symbol]
    cusum = _cusum(np.diff(np.log(bars["close"])), 0.02)
    events = bars.index[cusum[cusum + 10 < len(bars)]]
    width = 2 * daily_volatility(bars["close"], span=100)
    common = {"max_holding": 10, "events": events, "path": "close"}
    up = triple_barrier_labels(bars, target=np.expm1(width), stop_loss=None, **common)
    down = triple_barrier_labels(
        bars, target=-np.expm1(-width), profit_taking=None, **common
    )
    rises = (up["touched"] == "profit") & (up["t1"] <= down["t1"])
    falls = (down["touched"] == "stop") & (down["t1"] <= up["t1"])
    first = up.where(up["t1"] <= down["t1"], down)

    assert n_events == len(cusum)
    assert counts == ((first["label"] == 1).sum(), (first["label"] == -1).sum())
    assert touches == (rises.sum(), falls.sum(), (~rises & ~falls).sum())
    found = average_uniqueness(first["t1"], times=bars.index)
    assert uniqueness == pytest.approx((found.mean(), found.min()), abs=5e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profit_taking": 0}, "profit_taking must be a positive number.*None"),
        ({"stop_loss": -1}, "stop_loss must be a positive number"),
        ({"max_holding": 0}, "max_holding must be a whole number of at least 1, got 0"),
        ({"path": "mid"}, "path must be one of"),
        ({"open_events": "keep"}, "open_events must be one of"),
        ({"target": 0.0}, "target must be positive and finite.*2 of 2"),
        ({"target": [0.1, 0.1]}, "target must be a number or a Series.*got list"),
        ({"side": 0}, "side must be -1 or 1"),
        ({"events": pd.DatetimeIndex(["2023-01-01"])}, "events must be bars"),
        ({"events": pd.DatetimeIndex(["2024-01-01"] * 2)}, "events must be distinct"),
        (
            {
                "target": pd.Series(0.1, pd.DatetimeIndex(["2024-01-01"])),
                "events": pd.DatetimeIndex(["2024-01-02"]),
            },
            "target must have a value for each event; 1 of 1.*2024-01-02",
        ),
        (
            {"target": pd.Series(0.1, pd.DatetimeIndex(["2024-01-01"] * 2))},
            "events must be distinct",
        ),
    ],
)
def test_misuse_is_named(options, message):
    """Each message says what was required, what came, and the way out."""
    bars = _bars(START, START)
    with pytest.raises(ValueError, match=message):
        triple_barrier_labels(bars, **{"target": 0.1, **options})


def test_untrustworthy_bars_are_refused():
    """path="close" needs the close only, path="ohlc" all four prices."""
    bars = _bars(START, START)[["close"]]

    assert triple_barrier_labels(bars, target=0.1, path="close").empty
    with pytest.raises(BarsError, match="missing columns"):
        triple_barrier_labels(bars, target=0.1)
