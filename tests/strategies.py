"""The one home of Hypothesis strategies."""

import datetime as dt

import numpy as np
import pandas as pd
from hypothesis import assume
from hypothesis import strategies as st

from skatra.metrics import TrackRecord
from skatra.model_selection import (
    CombinatoriallySymmetricKFold,
    CombinatorialPurgedKFold,
    PurgedKFold,
    PurgedWalkForward,
)

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


@st.composite
def purge_options(draw, series, *, embargo=True):
    """Gap, embargo and closed for any purged splitter."""
    spans = spans_for(series)
    options = {"purge_gap": draw(spans), "closed": draw(CLOSED)}
    return {**options, "embargo": draw(spans)} if embargo else options


@st.composite
def kfolds(draw, series):
    """PurgedKFold, CombinatorialPurgedKFold (sampled, repeated) or the symmetric one.

    They purge across groups or within them.
    """
    n_distinct = series.index.nunique()
    assume(n_distinct >= 2)
    options = draw(purge_options(series))
    options["purge_scope"] = draw(st.sampled_from(["all", "groups"]))
    n_folds = draw(st.integers(2, min(6, n_distinct)))
    kind = draw(st.sampled_from(["kfold", "combinatorial", "symmetric"]))
    if kind == "kfold":
        return PurgedKFold(n_folds, **options)
    if kind == "symmetric":
        return CombinatoriallySymmetricKFold(n_folds // 2 * 2, **options)
    max_splits = draw(st.none() | st.integers(n_folds, 20))
    return CombinatorialPurgedKFold(
        n_folds,
        draw(st.integers(1, n_folds - 1)),
        max_splits=max_splits,
        random_state=draw(st.integers(0, 3)),
        n_repeats=draw(st.integers(1, max(1, min(3, n_distinct // n_folds)))),
        **options,
    )


@st.composite
def walk_forwards(draw, series):
    """PurgedWalkForward with all forms of sizes."""
    timed = isinstance(series.index, pd.DatetimeIndex)
    sizes = st.none() | st.integers(1, 10)
    if timed:
        hours = st.integers(1, 90).map(lambda value: pd.Timedelta(hours=value))
        sizes = sizes | hours | st.integers(1, 90).map(lambda value: f"{value}s")
    return PurgedWalkForward(
        draw(st.integers(2, 4)),
        test_size=draw(sizes),
        max_train_size=draw(sizes),
        **draw(purge_options(series, embargo=False)),
    )


def groups_for(series):
    """One of up to four groups for every row."""
    n_rows = len(series)
    return st.lists(st.sampled_from("CADB"), min_size=n_rows, max_size=n_rows).map(
        np.array
    )


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
def chunk_values(draw):
    """Columns of a chunk: any bits of each dtype, few distinct ones or many."""
    dtype = np.dtype(draw(st.sampled_from(["<f8", "<f4", "<i8", "<i1"])))
    alphabet = st.binary(min_size=dtype.itemsize, max_size=dtype.itemsize)
    distinct = draw(st.lists(alphabet, min_size=1, max_size=5))
    picked = draw(st.lists(st.sampled_from(distinct), max_size=300))
    repeats = draw(st.integers(1, 5))
    return np.frombuffer(b"".join(picked) * repeats, dtype=dtype)


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


def probabilities() -> st.SearchStrategy[float]:
    """Probabilities, 0 and 1 included."""
    return st.floats(0.0, 1.0)


def payoffs() -> st.SearchStrategy[float]:
    """Gains and losses per unit invested, from a basis point to tenfold."""
    return st.floats(1e-4, 10.0)


def trade_returns(
    min_size: int = 0, max_size: int = 40
) -> st.SearchStrategy[list[float]]:
    """Returns of closed trades: losses short of everything, break-evens, gains."""
    moves = st.one_of(st.just(0.0), st.floats(-0.95, -1e-4), st.floats(1e-4, 3.0))
    return st.lists(moves, min_size=min_size, max_size=max_size)


@st.composite
def classed_returns(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Returns with a binary class each: gains and losses, both classes present.

    The class may be the sign of the return, or have little to do with it.
    """
    gains = draw(st.lists(st.floats(1e-3, 2.0), min_size=1, max_size=15))
    losses = draw(st.lists(st.floats(-0.9, -1e-3), min_size=1, max_size=15))
    returns = np.array(gains + losses)
    positive = returns > 0
    if draw(st.booleans()):
        flips = draw(
            st.lists(st.booleans(), min_size=len(returns), max_size=len(returns))
        )
        positive = positive ^ np.array(flips)
        assume(positive.any())
        assume(not positive.all())
    return returns, positive


@st.composite
def concurrent_bets(
    draw: st.DrawFn,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Positions, lives [t0, t1) in whole days, groups, and times to ask about."""
    n = draw(st.integers(0, 25))
    days = st.integers(0, 20)
    start = np.array(draw(st.lists(days, min_size=n, max_size=n)), dtype=np.int64)
    length = np.array(draw(st.lists(days, min_size=n, max_size=n)), dtype=np.int64)
    position = draw(st.lists(st.floats(-1.0, 1.0), min_size=n, max_size=n))
    group = draw(st.lists(st.sampled_from("AB"), min_size=n, max_size=n))
    times = draw(st.lists(st.integers(-2, 45), max_size=12))
    lives = np.column_stack([start, start + length])
    return (
        np.array(position),
        lives,
        np.array(group, dtype=object),
        np.array(times, dtype=np.int64),
    )


@st.composite
def sided_returns(draw: st.DrawFn, max_size: int = 30) -> np.ndarray:
    """Returns with at least one gain and one loss, ties and zeros among them."""
    gains = draw(st.lists(st.floats(1e-3, 3.0), min_size=1, max_size=max_size))
    losses = draw(st.lists(st.floats(-0.95, -1e-3), min_size=1, max_size=max_size))
    zeros = [0.0] * draw(st.integers(0, 2))
    return np.array(draw(st.permutations(gains + losses + zeros)))


@st.composite
def asset_scenarios(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scenarios of a few assets, some repeated or hopeless, and weights."""
    n = draw(st.integers(2, 30))
    m = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([0.01, 0.1, 0.3]))
    drift = rng.uniform(-scale, scale, m)
    returns = np.clip(drift + scale * rng.standard_t(4, (n, m)), -0.95, 5.0)
    if m > 1 and draw(st.booleans()):
        returns[:, 1] = returns[:, 0]
    return returns, rng.uniform(0.1, 1.0, n)


# --- track records -------------------------------------------------------------


@st.composite
def track_records(draw: st.DrawFn) -> TrackRecord:
    """Records of any length, skewness and kurtosis that a distribution can have."""
    skewness = draw(st.floats(-3, 3))
    return TrackRecord(
        draw(st.floats(-0.8, 0.8)),
        draw(st.integers(2, 5000)),
        skewness,
        1 + skewness**2 + draw(st.floats(0, 20)),
    )


# --- records of tasks ----------------------------------------------------------


def records():
    """Figures by name, lists and dicts of them: every float, NaN and infinities too.

    Keys are sorted, as JSON in the database is.
    """
    figures = st.recursive(
        st.floats() | st.integers(-(2**53), 2**53) | st.booleans() | st.none(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3).map(
                _sorted
            )
        ),
        max_leaves=8,
    )
    return st.dictionaries(st.text("abc", max_size=2), figures, max_size=4).map(_sorted)


def _sorted(record):
    return dict(sorted(record.items()))
