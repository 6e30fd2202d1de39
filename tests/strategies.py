"""The one home of Hypothesis strategies."""

import numpy as np
import pandas as pd
from hypothesis import strategies as st

# --- label times and splitters -------------------------------------------------

# --- bars, labels and features -------------------------------------------------


def _indexed(blocks, *, alternate):
    """Stack one symbol's bars after another, or let symbols alternate in time."""
    bars = pd.concat(blocks, names=["symbol", "time"])
    return bars.sort_index(level=["time", "symbol"]) if alternate else bars


@st.composite
def coarse_bars(draw, max_symbols=3, max_bars=25):
    """Bars on a coarse price grid, where touches, ties and gaps are frequent."""
    steps = st.integers(-4, 4)
    blocks = {}
    for symbol in "CAB"[: draw(st.integers(1, max_symbols))]:
        n = draw(st.integers(1, max_bars))
        days = draw(st.lists(st.integers(0, 60), min_size=n, max_size=n, unique=True))
        rows, close = [], 100
        for gap, move, above, below in draw(
            st.lists(
                st.tuples(steps, steps, st.integers(0, 3), st.integers(0, 3)),
                min_size=n,
                max_size=n,
            )
        ):
            opening = max(close + gap, 10)
            close = max(opening + move, 10)
            top, bottom = max(opening, close) + above, min(opening, close) - below
            rows.append([opening, top, bottom, close, above * 10])
        time = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(
            sorted(days), unit="D"
        )
        blocks[symbol] = pd.DataFrame(
            rows, time, ["open", "high", "low", "close", "volume"], dtype=float
        )
    return _indexed(blocks, alternate=draw(st.booleans()))


@st.composite
def long_bars(draw, max_symbols=2, max_bars=330):
    """Random walks long enough for every look-back, some flat, some untraded."""
    blocks = {}
    for symbol in "BA"[: draw(st.integers(1, max_symbols))]:
        n = draw(st.one_of(st.integers(252, max_bars), st.integers(1, 251)))
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        scale = draw(st.sampled_from([1e-4, 0.01, 0.2]))
        step = scale * rng.standard_normal(n)
        step[: draw(st.integers(0, n))] *= draw(st.sampled_from([0.0, 1.0]))
        close = draw(st.sampled_from([0.003, 100.0, 4e6])) * np.exp(np.cumsum(step))
        opening = close * np.exp(-step * rng.uniform(size=n))
        volume = rng.lognormal(10, 1, n) * (rng.uniform(size=n) < 0.9)
        volume *= draw(st.sampled_from([0.0, 1e-3, 1.0]))
        time = pd.date_range("2015-01-01", periods=n, freq="D", tz="UTC")
        blocks[symbol] = pd.DataFrame(
            {
                "open": opening,
                "high": np.maximum(opening, close) * (1 + np.abs(step)),
                "low": np.minimum(opening, close) / (1 + np.abs(step)),
                "close": close,
                "volume": volume,
            },
            index=time,
        )
    return _indexed(blocks, alternate=draw(st.booleans()))


@st.composite
def grouped_label_times(draw, max_labels=30):
    """(label_times of shape (n, 2) in integers, groups of shape (n,)), unsorted."""
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, 20), st.integers(0, 8), st.sampled_from("XYZ")),
            min_size=1,
            max_size=max_labels,
        )
    )
    times = np.array([(start, start + length) for start, length, _ in rows])
    return times, np.array([group for _, _, group in rows])


# --- frames for the database ---------------------------------------------------

# --- returns, probabilities and trades -----------------------------------------
