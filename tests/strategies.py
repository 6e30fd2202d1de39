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

SYMBOL_NAMES = st.text(
    st.characters(exclude_categories=("Cs",)), min_size=1, max_size=5
)
_NANOSECONDS = st.integers(-(2**62), 2**62)
_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_ANY_FLOAT = {
    "float64": st.floats(width=64),
    "float32": st.floats(width=32),
}


@st.composite
def time_axes(draw, min_size=1):
    """Distinct sorted datetimes of any unit and zone, as aware or naive UTC."""
    unit = draw(st.sampled_from(sorted(_UNITS)))
    n = draw(st.integers(min_size, 8))
    far = st.lists(_NANOSECONDS, min_size=n, max_size=n, unique=True)
    near = st.lists(
        st.integers(-3 * 10**17, 3 * 10**17), min_size=n, max_size=n, unique=True
    )
    ticks = sorted({t // _UNITS[unit] for t in draw(st.one_of(far, near))})
    naive = pd.DatetimeIndex(np.array(ticks, dtype="i8").view(f"M8[{unit}]"))
    zone = draw(st.sampled_from([None, "UTC", "America/New_York", "Asia/Kolkata"]))
    return naive if zone is None else naive.tz_localize("UTC").tz_convert(zone)


@st.composite
def keyed(draw, time_name="time", min_rows=0):
    """A (symbol, time) index with a random row order."""
    names = draw(st.lists(SYMBOL_NAMES, min_size=1, max_size=3, unique=True))
    times = draw(time_axes(max(1, min_rows)))
    rows = [(name, k) for name in names for k in range(len(times))]
    rows = draw(
        st.lists(st.sampled_from(rows), unique=True, min_size=min_rows, max_size=12)
    )
    return pd.MultiIndex.from_arrays(
        [
            pd.Index([name for name, _ in rows], dtype="str"),
            times[[k for _, k in rows]],
        ],
        names=["symbol", time_name],
    )


@st.composite
def stored_features(draw):
    """Feature frames: float64 and float32, NaN, infinities and -0.0."""
    index = draw(keyed())
    names = draw(st.lists(SYMBOL_NAMES, min_size=1, max_size=3, unique=True))
    columns = {}
    for name in names:
        dtype = draw(st.sampled_from(sorted(_ANY_FLOAT)))
        values = st.lists(_ANY_FLOAT[dtype], min_size=len(index), max_size=len(index))
        columns[name] = np.array(draw(values), dtype=dtype)
    return pd.DataFrame(columns, index=index)


@st.composite
def stored_bars(draw):
    """Sorted bars that can be trusted."""
    index = draw(keyed(min_rows=1)).sort_values()
    n = len(index)
    price = st.floats(1e-3, 1e6)
    four = np.array(
        draw(st.lists(st.tuples(*[price] * 4), min_size=n, max_size=n)), dtype=float
    )
    four.sort(axis=1)
    return pd.DataFrame(
        {
            "open": four[:, 1],
            "high": four[:, 3],
            "low": four[:, 0],
            "close": four[:, 2],
            "volume": draw(st.lists(st.floats(0, 1e12), min_size=n, max_size=n)),
        },
        index=index,
    )


@st.composite
def stored_labels(draw):
    """Label frames, some rows open, with or without weights."""
    index = draw(keyed("t0"))
    n = len(index)
    level = index.get_level_values(1)
    span = draw(st.integers(0, 10**6))
    touched = draw(
        st.lists(
            st.sampled_from(["profit", "stop", "time", "open"]), min_size=n, max_size=n
        )
    )
    ret = draw(st.lists(st.floats(-1, 10), min_size=n, max_size=n))
    side = draw(st.lists(st.sampled_from([-1, 1]), min_size=n, max_size=n))
    frame = pd.DataFrame(
        {
            "t1": level + pd.Timedelta(span, unit="s"),
            "ret": [
                np.nan if t == "open" else r for t, r in zip(touched, ret, strict=True)
            ],
            "label": np.sign(ret).astype("int8"),
            "side": np.array(side, dtype="int8"),
            "touched": pd.array(touched, dtype="str"),
        },
        index=index,
    ).astype({"ret": "float64"})
    if n and draw(st.booleans()):
        weights = st.lists(st.floats(0, 10), min_size=n, max_size=n)
        frame["weight"] = draw(weights)
    return frame


@st.composite
def stored_trades(draw):
    """Closed trades."""
    index = draw(keyed())
    n = len(index)
    opened = index.get_level_values(1)
    number = st.floats(-1e9, 1e9)
    numbers = {
        name: np.array(draw(st.lists(number, min_size=n, max_size=n)), dtype=float)
        for name in ("quantity", "entry_price", "exit_price", "pnl", "ret")
    }
    side = draw(st.lists(st.sampled_from([-1, 1]), min_size=n, max_size=n))
    return pd.DataFrame(
        {
            "symbol": index.get_level_values(0),
            "opened_at": opened,
            "closed_at": opened + pd.Timedelta(draw(st.integers(0, 10**6)), unit="s"),
            "side": np.array(side, dtype="int8"),
            **numbers,
        }
    )


# --- returns, probabilities and trades -----------------------------------------
