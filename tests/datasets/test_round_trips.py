"""What goes into the database comes out, whatever units, zones and values it has."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.datasets import Database, WriteReport, make_edge_bars
from skatra.exceptions import (
    BarsError,
    DatabaseError,
    EmptyDataError,
    LabelTimesError,
)
from tests.datasets.scratch import fresh
from tests.strategies import (
    stored_bars,
    stored_features,
    stored_labels,
    stored_trades,
)


def utc(times):
    """Return the same points in time, UTC, nanoseconds."""
    times = pd.DatetimeIndex(times)
    times = times.tz_localize("UTC") if times.tz is None else times.tz_convert("UTC")
    return times.as_unit("ns")


def stored(frame, time_name="time"):
    """Return a frame as the database should give it back."""
    result = frame.copy()
    result.index = pd.MultiIndex.from_arrays(
        [frame.index.get_level_values(0), utc(frame.index.get_level_values(1))],
        names=["symbol", time_name],
    )
    for column in ("t1", "opened_at", "closed_at"):
        if column in result:
            result[column] = utc(result[column])
    return result.sort_index()


def same(left, right):
    """Rows, order, dtypes of values and values agree."""
    assert list(left.index) == list(right.index)
    assert list(left.index.names) == list(right.index.names)
    pd.testing.assert_frame_equal(
        left.reset_index(drop=True), right.reset_index(drop=True), check_exact=True
    )


def bits(frame):
    """Return the bytes of each column."""
    return {name: frame[name].to_numpy().tobytes() for name in frame.columns}


@given(bars=stored_bars())
def test_bars_come_back(bars):
    """Bars come back sorted, in UTC, to the nanosecond; again is no change."""
    with fresh() as db:
        first, second = db.write_bars(bars), db.write_bars(bars)

        same(db.bars(), stored(bars))
        assert first == WriteReport(len(bars), 0, 0)
        assert second == WriteReport(0, 0, len(bars))
        assert db.check() == []


@given(features=stored_features(), compression=st.sampled_from([None, "zlib"]))
def test_features_come_back_bit_for_bit(features, compression):
    """NaN payloads, infinities and -0.0 survive, packed or not; again is no change."""
    with fresh() as db:
        first = db.write_features(
            features, "set", {"look_back": 5}, compression=compression
        )
        second = db.write_features(features, "set")
        result = db.features("set")
        expected = stored(features)

        same(result, expected)
        assert bits(result) == bits(expected)
        assert first == WriteReport(len(features), 0, 0)
        assert second == WriteReport(0, 0, len(features))
        assert db.check() == []


@given(labels=stored_labels())
def test_labels_come_back(labels):
    """Labels, label times and weights come back; again is no change."""
    with fresh() as db:
        first, second = db.write_labels(labels, "set"), db.write_labels(labels, "set")

        same(db.labels("set"), stored(labels, "t0"))
        assert first == WriteReport(len(labels), 0, 0)
        assert second == WriteReport(0, 0, len(labels))
        assert db.check() == []


@given(trades=stored_trades())
def test_trades_come_back(trades):
    """Trades come back sorted by opening time and symbol; again is no change."""
    with fresh() as db:
        first, second = db.write_trades(trades), db.write_trades(trades)
        expected = trades.assign(
            opened_at=utc(trades["opened_at"]), closed_at=utc(trades["closed_at"])
        ).sort_values(["opened_at", "symbol"], ignore_index=True)

        pd.testing.assert_frame_equal(db.trades(), expected, check_exact=True)
        for as_of in expected["closed_at"].iloc[:2]:
            known = expected[expected["closed_at"] <= as_of].reset_index(drop=True)
            pd.testing.assert_frame_equal(db.trades(as_of=as_of), known)
        assert first == WriteReport(len(trades), 0, 0)
        assert second == WriteReport(0, 0, len(trades))
        assert db.check() == []


@given(features=stored_features(), data=st.data())
def test_any_part_of_features_is_the_part_of_the_whole(features, data):
    """Columns, symbols and a range of times select what pandas selects."""
    with fresh() as db:
        db.write_features(features, "set")
        whole = db.features("set")
        columns = data.draw(
            st.lists(st.sampled_from(list(features.columns)), min_size=1, unique=True)
        )
        symbols = data.draw(
            st.lists(st.sampled_from(db.symbols() or ["?"]), unique=True)
        )
        if not db.symbols():
            symbols = []
        times = whole.index.get_level_values(1)
        bounds = sorted(
            data.draw(st.lists(st.sampled_from(list(times)), min_size=2, max_size=2))
            if len(times)
            else pd.to_datetime(["2000", "2001"], utc=True)
        )
        start, end = (data.draw(st.sampled_from([None, bound])) for bound in bounds)
        part = db.features("set", columns, symbols, start, end)
        keep = whole.index.get_level_values(0).isin(symbols)
        if start is not None:
            keep &= times >= start
        if end is not None:
            keep &= times <= end

        same(part, whole.loc[keep, columns])


@given(features=stored_features(), data=st.data())
def test_order_of_feature_writes_does_not_matter(features, data):
    """Rows written in pieces, in any order, give what one write gives."""
    cut = data.draw(
        st.lists(st.booleans(), min_size=len(features), max_size=len(features))
    )
    cut = np.array(cut, dtype=bool)
    with fresh() as db:
        for name, pieces in {"a": (cut, ~cut), "b": (~cut, cut)}.items():
            for piece in pieces:
                db.write_features(features[piece], name)

        assert bits(db.features("a")) == bits(stored(features))
        assert bits(db.features("b")) == bits(stored(features))


@given(bars=stored_bars(), factor=st.sampled_from([2.0, 0.5]), data=st.data())
def test_an_upsert_counts_and_replaces(bars, factor, data):
    """New rows are inserted, changed ones updated, equal ones left alone."""
    n = len(bars)
    old = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    changed = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    with fresh() as db:
        if old.any():
            db.write_bars(bars[old])
        later = bars.copy()
        later.loc[changed] *= factor
        report = db.write_bars(later)

        assert report == WriteReport(
            int((~old).sum()), int((old & changed).sum()), int((old & ~changed).sum())
        )
        same(db.bars(), stored(later))


@pytest.mark.parametrize("n", [99, 100, 101, 357])
def test_an_upsert_counts_rows_of_any_number(tmp_path, n):
    """A third is new, a third changed and a third equal, of bars and of labels."""
    third = np.arange(n) % 3
    bars = make_edge_bars(n, symbols=("A",))
    label = {"ret": 0.1, "label": 1, "side": 1, "touched": "time", "weight": 1.0}
    labels = bars[[]].assign(t1=bars.index.get_level_values(1), **label)
    report = WriteReport(*np.bincount(third).tolist())
    with Database(tmp_path / "x.db", create=True) as db:
        db.write_bars(bars[third > 0])
        bars.loc[third == 1, "volume"] *= 2
        assert db.write_bars(bars) == report
        pd.testing.assert_series_equal(
            db.bars()["volume"], bars["volume"], check_index=False
        )
        db.write_labels(labels[third > 0], "l")
        labels.loc[third == 1, "weight"] = 2.0
        assert db.write_labels(labels, "l") == report
        assert db.labels("l")["weight"].tolist() == labels["weight"].tolist()
        assert db.check() == []


def one_label(t0="2020-01-01", t1="2020-01-02", **changes):
    """Return one label of the symbol A."""
    row = {"t1": pd.to_datetime([t1]), "ret": 0.1, "label": 1, "side": 1}
    row |= {"touched": "time"} | changes
    index = pd.MultiIndex.from_arrays(
        [["A"], pd.to_datetime([t0])], names=["symbol", "t0"]
    )
    return pd.DataFrame(row, index=index)


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        (one_label(t1="2019-12-31"), LabelTimesError, "A 2020-01-01.*Drop"),
        (one_label(t1=None), LabelTimesError, "t1 must not be missing"),
        (one_label(ret=np.nan), ValueError, "NaN only where touched is 'open'"),
        (one_label(ret=np.inf), ValueError, "ret must be finite"),
        (one_label(label=2), ValueError, "label must be -1, 0 or 1"),
        (one_label(touched=None), ValueError, "touched must be text"),
        (one_label(weight=-1.0), ValueError, "weight must be finite and >= 0"),
        (one_label().drop(columns="side"), ValueError, r"missing \['side'\]"),
        (one_label().droplevel(0), LabelTimesError, "indexed by"),
        (pd.concat([one_label()] * 2), LabelTimesError, "repeated"),
        (one_label(t0=None), LabelTimesError, "missing"),
        ("labels", TypeError, "must be a DataFrame"),
    ],
)
def test_labels_that_cannot_be_kept_are_refused(tmp_path, frame, error, message):
    """Each mistake is named with its rows, and nothing is written."""
    db = Database(tmp_path / "x.db", create=True)

    with pytest.raises(error, match=message):
        db.write_labels(frame, "set")
    assert db.label_sets() == {}
    assert db.symbols() == []


def features_of(**columns):
    """Return two feature rows of the symbol A."""
    days = pd.to_datetime(["2020-12-31", "2021-01-01"], utc=True)
    index = pd.MultiIndex.from_product([["A"], days], names=["symbol", "time"])
    return pd.DataFrame(columns or {"x": [1.0, 2.0]}, index=index)


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        (features_of(x=[1, 2]), ValueError, "float64 or float32, got int64"),
        (
            features_of(y=[1.0, 2.0]),
            DatabaseError,
            r"lacks \['x'\].*new columns \['y'\]",
        ),
        (features_of().astype("f4"), DatabaseError, "another dtype than float64"),
        (features_of().iloc[:, :0], ValueError, "at least one feature column"),
        (features_of().iloc[[0, 0]], ValueError, "repeated"),
        (features_of().rename(index={"A": ""}, level=0), ValueError, "non-empty text"),
        (features_of().rename(index={"A": 1}, level=0), ValueError, "non-empty text"),
    ],
)
def test_features_that_do_not_fit_are_refused(tmp_path, frame, error, message):
    """A set keeps its columns and dtypes; nothing of a refused write is kept."""
    db = Database(tmp_path / "x.db", create=True)
    db.write_features(features_of(), "set", {"span": 5})

    with pytest.raises(error, match=message):
        db.write_features(frame, "set")
    with pytest.raises(DatabaseError, match=r"made with .*5.* got .*6"):
        db.write_features(features_of(), "set", {"span": 6})
    same(db.features("set"), stored(features_of()))


def test_what_is_not_there_is_named_with_what_is(tmp_path):
    """Unknown sets, columns and symbols list the known ones."""
    db = Database(tmp_path / "x.db", create=True)
    with pytest.raises(EmptyDataError, match=r"no feature set yet.*write_features"):
        db.features("base")
    db.write_features(features_of(), "mine")

    with pytest.raises(EmptyDataError, match=r"no feature set 'base'.*\['mine'\]"):
        db.features("base")
    with pytest.raises(EmptyDataError, match=r"columns must name.*\['x'\]"):
        db.features("mine", ["z"])
    with pytest.raises(EmptyDataError, match="no 'B'; it has 'A'"):
        db.features("mine", symbols="B")
    with pytest.raises(ValueError, match="start must not be after end"):
        db.features("mine", start="2021", end="2020")
    with pytest.raises(ValueError, match="point in time"):
        db.features("mine", start="yesterdayish")


def test_bars_with_columns_of_their_own_are_refused(tmp_path):
    """No column is dropped in silence."""
    db = Database(tmp_path / "x.db", create=True)
    names = ["open", "high", "low", "close", "volume", "vwap"]
    bars = pd.DataFrame(1.0, index=pd.to_datetime(["2020-01-01"]), columns=names)

    with pytest.raises(BarsError, match=r"cannot keep: \['vwap'\]"):
        db.write_bars(bars, "A")
    with pytest.raises(BarsError, match="symbol='SP500'"):
        db.write_bars(bars.drop(columns="vwap"))


def test_empty_tables_give_empty_frames_of_the_right_types(tmp_path):
    """No rows is an answer; its columns and dtypes are those of a full one."""
    db = Database(tmp_path / "x.db", create=True)

    assert db.bars().shape == (0, 5)
    assert str(db.bars().index.levels[1].dtype) == "datetime64[ns, UTC]"
    assert str(db.trades()["opened_at"].dtype) == "datetime64[ns, UTC]"
    assert db.runs().empty
    assert db.info()["rows"]["bars"] == 0


def test_runs_keep_their_cards(tmp_path):
    """A card is any JSON; writing it again replaces it."""
    db = Database(tmp_path / "x.db", create=True)
    card = {"score": 0.5, "columns": ["é", "b"], "nested": {"none": None}}

    assert db.write_run("r1", card) == WriteReport(1, 0, 0)
    assert db.write_run("r1", card) == WriteReport(0, 0, 1)
    assert db.write_run("r1", {}) == WriteReport(0, 1, 0)
    assert db.write_run("r2", card).inserted == 1
    assert db.runs()["card"].to_dict() == {"r1": {}, "r2": card}
    with pytest.raises(ValueError, match="NaN into None"):
        db.write_run("r3", {"score": float("nan")})


@pytest.mark.parametrize(
    "number", [20210101, 2018.0, True, np.int64(2018), np.float32(0), np.bool_(True)]
)
def test_a_number_is_no_point_in_time(number):
    """It would be nanoseconds since 1970, which nobody means by it."""
    frame = make_edge_bars(20, symbols=("A",))
    with Database(":memory:") as db:
        db.write_bars(frame)
        for name in ("start", "end", "as_of"):
            with pytest.raises(ValueError, match="must be a point in time, such as"):
                db.bars(**{name: number})


def test_which_bars_are_wanted_is_said_in_whole_numbers_and_names():
    """One column may be named by its text; 1.9 bars, or True ones, are refused."""
    frame = make_edge_bars(20, symbols=("A",))
    with Database(":memory:") as db:
        db.write_bars(frame)
        pd.testing.assert_frame_equal(
            db.bars(columns="close", last=3),
            db.bars(columns=["close"], last=np.int8(3)),
        )
        for last in (1.9, 3.0, True, 0, "3"):
            with pytest.raises(ValueError, match="last must be a whole number"):
                db.bars(last=last)
        with pytest.raises(ValueError, match="columns must be some of"):
            db.bars(columns="nothing")
