"""The dataset: features and labels joined exactly, nothing lost in silence."""

import lightgbm
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate

from skatra.datasets import (
    Database,
    _feature_reader,
    iter_batches,
    lightgbm_dataset,
    load_dataset,
)
from skatra.datasets._chunks import MOST_ROWS
from skatra.exceptions import DatabaseError, EmptyDataError
from tests.datasets.scratch import fresh
from tests.strategies import stored_features, stored_labels


def keys(symbols, days):
    """Return a (symbol, t0) index."""
    return pd.MultiIndex.from_product([symbols, days], names=["symbol", "t0"])


DAYS = pd.date_range("2020-12-25", periods=12, tz="UTC")


def features(symbols="BA", days=DAYS):
    """Return two features that name their row."""
    index = keys(list(symbols), days)
    code = index.get_level_values(0).map(ord).to_numpy(dtype=float)
    return pd.DataFrame(
        {"code": code, "day": index.get_level_values(1).day * 1.0}, index
    )


def labels(symbols="AB", days=DAYS[:-1], **columns):
    """Return labels of one day each."""
    index = keys(list(symbols), days)
    sign = np.where(np.arange(len(index)) % 2, 1, -1)
    row = {"t1": index.get_level_values(1) + pd.Timedelta("1D"), "ret": 0.01 * sign}
    row |= {"label": sign, "side": 1, "touched": "time"} | columns
    return pd.DataFrame(row, index=index)


@pytest.fixture
def db(tmp_path):
    """Give a database with one feature and one label set."""
    with Database(tmp_path / "x.db", create=True) as db:
        db.write_features(features(), "base")
        db.write_labels(labels(), "triple_barrier")
        yield db


def test_the_bunch_goes_into_scikit_learn_as_it_is(db):
    """One row order, sorted by (t0, symbol), in every part."""
    ds = load_dataset(db)

    assert list(ds.data.index) == [(s, t) for t in DAYS[:-1] for s in "AB"]
    for part in (ds.target, ds.label_times, ds.returns, ds.sample_weight, ds.groups):
        assert part.index.equals(ds.data.index)
    assert ds.data["code"].tolist() == [65.0, 66.0] * 11
    assert ds.groups.tolist() == ["A", "B"] * 11
    assert ds.target.dtype == np.int8
    assert (ds.label_times.to_numpy() > ds.data.index.get_level_values(1)).all()
    assert ds.feature_names == ["code", "day"]
    assert (ds.unmatched, ds.n_open) == (0, 0)
    assert (ds.sample_weight == 1.0).all()
    scores = cross_validate(LogisticRegression(), ds.data, ds.target, cv=2)
    assert len(scores["test_score"]) == 2


@settings(max_examples=50)
@given(features=stored_features(), labels=stored_labels(), data=st.data())
def test_the_join_is_pandas_join(features, labels, data):
    """Rows, values and counts agree with a join by keys."""
    if len(features) and data.draw(st.booleans()):
        labels = labels.iloc[: len(features)]
        index = features.index[: len(labels)].set_names(["symbol", "t0"])
        labels = labels.iloc[: len(index)].set_axis(index)
        labels["t1"] = index.get_level_values(1)
    with fresh() as db:
        db.write_features(features, "f")
        db.write_labels(labels, "l")
        left, right = db.features("f"), db.labels("l")
        closed = right[right["touched"] != "open"]
        rows = sorted(
            set(left.index) & set(closed.index), key=lambda row: (row[1], row[0])
        )
        if not rows:
            with pytest.raises(EmptyDataError, match=r"\['f'\].*\['l'\]"):
                load_dataset(db, "f", "l")
            return
        ds = load_dataset(db, "f", "l")

    assert list(ds.data.index) == rows
    where = left.index.get_indexer(pd.MultiIndex.from_tuples(rows))
    for name in left.columns:
        assert (
            ds.data[name].to_numpy().tobytes() == left[name].to_numpy()[where].tobytes()
        )
    returns = dict(zip(closed.index, closed["ret"], strict=True))
    assert ds.returns.tolist() == [returns[row] for row in rows]
    assert ds.unmatched == len(closed) - len(rows)
    assert ds.n_open == len(right) - len(closed)


@pytest.mark.parametrize(("together", "room"), [(1, 1), (2, 10**5), (128, 2**23)])
@pytest.mark.parametrize("story", ["even", "uneven", "third", "ragged"])
def test_the_order_of_rows_does_not_depend_on_chunks(
    tmp_path, monkeypatch, story, together, room
):
    """Symbols with chunks of other sizes, gaps and ends; few or many at a time."""
    monkeypatch.setattr(_feature_reader, "_TOGETHER", together)
    monkeypatch.setattr(_feature_reader, "_ROOM", room)
    times = pd.date_range("2000-01-01", periods=2 * MOST_ROWS + 7, tz="UTC")
    index = pd.MultiIndex.from_product([list("ABC"), times], names=["symbol", "time"])
    x = np.arange(float(len(index)))
    frame = pd.DataFrame({"x": x, "y": (-x).astype(np.float32)}, index=index)
    if story == "ragged":
        symbol, row = frame.index.codes
        frame = frame[(symbol == 0) | (row % (symbol + 1) == 1) | (row > 2 * MOST_ROWS)]
    label = {"ret": 0.5, "label": 1, "side": 1, "touched": "time"}
    labels = frame[[]].assign(t1=frame.index.get_level_values(1), **label)
    labels = labels.iloc[:: 3 if story == "third" else 1]
    with Database(tmp_path / "x.db", create=True) as db:
        if story == "uneven":
            db.write_features(frame.loc[["B"]].iloc[: MOST_ROWS + 3], "base")
        db.write_features(frame, "base")
        db.write_labels(labels, "triple_barrier")
        ds, three = load_dataset(db), load_dataset(db, columns=["y"])

    expected = frame.loc[labels.index].sort_index(level=[1, 0])
    assert list(ds.data.index) == list(expected.index)
    assert ds.data["x"].tolist() == expected["x"].tolist()
    assert ds.data["y"].tolist() == expected["y"].tolist()
    assert three.data["y"].tolist() == expected["y"].tolist()


def test_labels_without_features_are_counted(db):
    """What is left out is said: unmatched and open labels."""
    db.write_labels(labels("C"), "triple_barrier")
    db.write_labels(
        labels("A", DAYS[-1:], touched="open", ret=np.nan), "triple_barrier"
    )
    ds = load_dataset(db)

    assert (len(ds.data), ds.unmatched, ds.n_open) == (22, 11, 1)


def test_any_part_can_be_loaded(db):
    """Columns keep the order asked for; the range is one of t0."""
    ds = load_dataset(
        db, columns=["day", "code"], symbols="B", start=DAYS[2], end=DAYS[3]
    )

    assert ds.data.columns.tolist() == ["day", "code"]
    assert list(ds.data.index) == [("B", DAYS[2]), ("B", DAYS[3])]


def test_weights_are_all_or_none(db):
    """Stored weights are used; a mixture is refused."""
    weight = np.linspace(0.1, 1, 22)
    db.write_labels(labels(weight=weight), "weighted")
    ds = load_dataset(db, label_set="weighted")
    db.write_labels(labels("A"), "weighted")

    assert sorted(ds.sample_weight) == sorted(weight)
    with pytest.raises(DatabaseError, match=r"11 of 22 labels.*no weight"):
        load_dataset(db, label_set="weighted")


def test_nothing_left_says_why_and_what_there_is(db):
    """Each way to get no rows has its sentence and the existing sets."""
    db.write_features(features(days=DAYS + pd.Timedelta("1h")), "shifted")
    db.write_labels(labels(touched="open", ret=np.nan), "open")
    db.write_labels(labels().iloc[:0], "none")

    with pytest.raises(
        EmptyDataError, match=r"none of the 22 labels.*\['base', 'shift"
    ):
        load_dataset(db, "shifted")
    with pytest.raises(EmptyDataError, match="all 22 labels of 'open' are still open"):
        load_dataset(db, label_set="open")
    with pytest.raises(EmptyDataError, match=r"'none' has no rows.*write_labels"):
        load_dataset(db, label_set="none")
    with pytest.raises(EmptyDataError, match="'base' has no rows in the chosen range"):
        load_dataset(db, start="2030")
    with pytest.raises(EmptyDataError, match=r"no label set 'x'.*triple_barrier"):
        load_dataset(db, label_set="x")
    with pytest.raises(TypeError, match="must be a Database, got str"):
        load_dataset("x.db")


def test_as_of_leaves_out_what_was_not_known(db):
    """Later rows of bars and features, and labels with a later t1, are absent."""
    then = DAYS[5]
    known = load_dataset(db, as_of=then)
    whole = load_dataset(db)

    assert (known.label_times <= then).all()
    kept = whole.label_times <= then
    pd.testing.assert_frame_equal(known.data, whole.data[kept])
    assert 0 < len(known.data) < len(whole.data)
    parts = [batch.data for batch in iter_batches(db, batch_rows=3, as_of=then)]
    pd.testing.assert_frame_equal(pd.concat(parts), known.data)
    labels, features = db.labels("triple_barrier"), db.features("base")
    pd.testing.assert_frame_equal(
        db.labels("triple_barrier", as_of=then), labels[labels["t1"] <= then]
    )
    pd.testing.assert_frame_equal(
        db.features("base", as_of=then),
        features[features.index.get_level_values(1) <= then],
    )
    names = ["open", "high", "low", "close", "volume"]
    db.write_bars(pd.DataFrame(1.0, index=features.index, columns=names))
    assert db.bars(as_of=then).index.equals(db.features("base", as_of=then).index)
    assert db.bars(start=DAYS[6], as_of=then).empty
    with pytest.raises(EmptyDataError, match="no rows in the chosen range"):
        load_dataset(db, as_of="1999-01-01")


@pytest.mark.parametrize("weighted", [False, True])
def test_lightgbm_learns_the_same_from_chunks_as_from_the_frame(tmp_path, weighted):
    """Same bins and trees, whichever rows have labels, however long symbols are."""
    rng = np.random.default_rng(0)
    days = pd.date_range("1990-01-01", periods=9_000, tz="UTC")
    index = pd.MultiIndex.from_tuples(
        [("A", day) for day in days] + [("B", day) for day in days[500:3_000]],
        names=["symbol", "t0"],
    )
    x = pd.DataFrame(rng.standard_normal((len(index), 4)), index, list("abcd"))
    x["a"] = np.where(x["a"] < -1, np.nan, x["a"])
    labeled = index[rng.random(len(index)) < 0.8]
    target = np.where(x.loc[labeled, "b"] + rng.standard_normal(len(labeled)) > 0, 1, 0)
    t1 = labeled.get_level_values(1)
    rows = {"t1": t1, "ret": 0.1, "label": target, "side": 1, "touched": "time"}
    frame = pd.DataFrame(rows, index=labeled)
    if weighted:
        frame["weight"] = rng.random(len(frame))
    params = {"objective": "binary", "verbose": -1, "num_threads": 1, "seed": 0}
    with Database(tmp_path / "x.db", create=True) as db:
        db.write_features(x, "base")
        db.write_labels(frame, "triple_barrier")
        ours = lightgbm_dataset(db, columns=["b", "a", "d"], params=params)
        later = lightgbm_dataset(db, columns=["b", "a", "d"], reference=ours)
        ds = load_dataset(db, columns=["b", "a", "d"])
    order = ds.data.sort_index().index
    theirs = lightgbm.Dataset(
        ds.data.loc[order],
        label=ds.target.loc[order],
        weight=ds.sample_weight.loc[order] if weighted else None,
        params=params,
    )
    models = [
        lightgbm.train(params, part, 5).model_to_string().split("pandas_categorical")[0]
        for part in (ours, theirs)
    ]

    assert ours.num_data() == later.num_data() == len(order)
    assert models[0] == models[1]


@pytest.mark.parametrize("days", [DAYS[:3], DAYS[3:7]])
def test_batches_refuse_what_the_dataset_refuses(db, days):
    """Weights of some labels only, also when each batch has all or none of them."""
    db.write_labels(labels(days=days, weight=0.5), "triple_barrier")
    for read in (load_dataset, lambda db: next(iter_batches(db, batch_rows=2))):
        with pytest.raises(DatabaseError, match="have no weight"):
            read(db)
    only = {"start": days[0], "end": days[-1]}
    parts = [part.sample_weight for part in iter_batches(db, batch_rows=2, **only)]
    pd.testing.assert_series_equal(
        pd.concat(parts), load_dataset(db, **only).sample_weight
    )


def _drop(db, table, column, name):
    with db.pool.get_connection(readonly=False) as connection:
        rename = f"UPDATE {table} SET {column} = 'gone' WHERE {column} = ?"
        connection.execute(rename, (name,))


def _make_anew(db, names):
    """Write the features under other names, which a set with a new spec may have."""
    db.write_features(features(), "base", spec={"version": 1})
    frame = features().rename(columns=names)
    db.write_features(frame, "base", spec={"version": 2}, replace=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda db: _drop(db, "feature_sets", "name", "base"), "no feature set 'base'"),
        (lambda db: _drop(db, "label_sets", "name", "triple_barrier"), "no label set"),
        (lambda db: _make_anew(db, {"day": "gone"}), "columns must name"),
        (lambda db: _drop(db, "feature_columns", "name", "day"), "fails its checksum"),
        (lambda db: _drop(db, "symbols", "symbol", "B"), "no 'B'"),
        (
            lambda db: db.write_labels(labels(weight=0.5), "triple_barrier"),
            "got or lost their weights",
        ),
    ],
)
def test_batches_do_not_end_before_the_data(db, change, message):
    """What vanished between two batches is an error, never a shorter dataset."""
    batches = iter_batches(db, batch_rows=4)
    next(batches)
    change(db)
    with pytest.raises((DatabaseError, EmptyDataError), match=message):
        list(batches)


def test_rows_that_were_removed_leave_their_batch_out(db):
    """Labels gone with their time are no error; all others come."""
    batches = iter_batches(db, batch_rows=2)
    first = next(batches)
    db.write_labels(labels(days=DAYS[5:7]), "triple_barrier", replace=True)
    rest = list(batches)

    assert first.data.index.get_level_values(1).unique().tolist() == [DAYS[0]]
    assert [part.data.index[0][1] for part in rest] == list(DAYS[5:7])
