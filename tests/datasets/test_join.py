"""The loader as a step of a pipeline: as of t0, never later, tunable, portable."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skatra.datasets import Database, SQLiteDatasetLoader, iter_batches, load_dataset
from skatra.exceptions import DatabaseCorruptError, EmptyDataError
from tests.datasets.scratch import fresh

START = pd.Timestamp("2020-01-01", tz="UTC")


def frame_of(symbols, hours, values, name="x"):
    """Return one feature at some hours of some symbols."""
    times = START + pd.to_timedelta(hours, unit="h")
    index = pd.MultiIndex.from_arrays([symbols, times], names=["symbol", "time"])
    return pd.DataFrame({name: values, f"{name}2": -np.asarray(values)}, index=index)


@st.composite
def stories(draw):
    """Return features by (symbol, hour), keys, a delay, a look-back, an age."""
    hours = st.lists(st.integers(0, 60), unique=True, max_size=15)
    known = {symbol: sorted(draw(hours)) for symbol in "AB"}
    keys = draw(
        st.lists(
            st.tuples(st.sampled_from("ABC"), st.integers(-5, 70)),
            min_size=1,
            max_size=12,
        )
    )
    ages = st.none() | st.integers(0, 30)
    return known, keys, draw(st.integers(0, 10)), draw(st.integers(1, 3)), draw(ages)


@settings(max_examples=60)
@given(story=stories())
def test_the_join_is_the_last_row_in_time_and_never_looks_ahead(story):
    """Each key gets what a loop over all rows finds; changing the future does not."""
    known, keys, delay, look_back, age = story
    rows = [(s, h) for s, hours in known.items() for h in hours]
    if not rows:
        rows = known["A"] = [0]
        rows = [("A", 0)]
    values = [float(1000 * ord(s) + h) for s, h in rows]
    frame = frame_of(*zip(*rows, strict=True), values)
    X = pd.DataFrame(
        {
            "symbol": [s for s, _ in keys],
            "t0": START + pd.to_timedelta([h for _, h in keys], unit="h"),
        }
    )
    expected = []
    for symbol, hour in keys:
        past = sorted(h for s, h in rows if s == symbol and h <= hour - delay)[::-1]
        if past and age is not None and past[0] < hour - age:
            past = []
        row = [1000.0 * ord(symbol) + h for h in past[:look_back]]
        row += [np.nan] * (look_back - len(row))
        expected.append([sign * v for v in row for sign in (1, -1)])
    with fresh() as db:
        db.write_features(frame, "base")
        loader = SQLiteDatasetLoader(
            db.path,
            look_back=look_back,
            delay=f"{delay}h",
            max_age=None if age is None else pd.Timedelta(age, unit="h"),
        )
        before = loader.fit_transform(X)
        latest = X["t0"].max() - pd.Timedelta(delay, unit="h")
        later = frame.index.get_level_values(1) > latest
        if later.any():
            db.write_features(frame[later] * 7, "base")
        after = loader.transform(X)

    np.testing.assert_array_equal(before.to_numpy(), np.array(expected))
    np.testing.assert_array_equal(after.to_numpy(), before.to_numpy())


@pytest.mark.parametrize("name", ["delay", "max_age"])
def test_a_span_of_centuries_does_not_wrap_round(name):
    """The delay that int64 cannot subtract finds nothing; the age lets all through."""
    t0 = pd.DatetimeIndex(["1677-09-22", "1970-01-01", "2262-04-10"], tz="UTC")
    keys = pd.DataFrame({"symbol": "A", "t0": t0})
    times = [pd.Timestamp(-(2**63) + 1, tz="UTC"), *t0]
    index = pd.MultiIndex.from_product([["A"], times], names=["symbol", "time"])
    with fresh() as db:
        db.write_features(pd.DataFrame({"x": [-1.0, 0.0, 1.0, 2.0]}, index), "base")
        loader = SQLiteDatasetLoader(db.path, **{name: pd.Timedelta(2**63 - 1)})
        found = loader.fit_transform(keys)["x"]

    nan = np.nan
    expected = [nan, -1.0, 0.0] if name == "delay" else [0.0, 1.0, 2.0]
    np.testing.assert_array_equal(found, expected)


@pytest.fixture
def market(tmp_path):
    """Give the path of a database with two feature sets, keys and labels."""
    path = tmp_path / "x.db"
    rng = np.random.default_rng(0)
    hours = np.tile(np.arange(120), 2)
    symbols = np.repeat(["A", "B"], 120)
    useful = rng.standard_normal(240)
    t0 = START + pd.to_timedelta(hours, unit="h")
    with Database(path, create=True) as db:
        db.write_features(frame_of(symbols, hours, useful), "useful")
        noise = rng.standard_normal(240)
        db.write_features(frame_of(symbols, hours, noise, "z"), "noise")
        index = pd.MultiIndex.from_arrays([symbols, t0], names=["symbol", "t0"])
        label = {"t1": t0, "ret": 0.1, "label": 1, "side": 1, "touched": "time"}
        db.write_labels(pd.DataFrame(label, index=index), "l")
    return path, pd.DataFrame({"symbol": symbols, "t0": t0}), (useful > 0).astype(int)


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_a_search_tunes_sets_columns_and_look_back(market, backend):
    """In threads and in processes; it finds the set that tells something."""
    import joblib

    path, X, y = market
    pipeline = make_pipeline(
        SQLiteDatasetLoader(path), SimpleImputer(), LogisticRegression()
    )
    grid = [
        {
            "sqlitedatasetloader__feature_set": ["noise", "useful"],
            "sqlitedatasetloader__look_back": [1, 2],
        },
        {
            "sqlitedatasetloader__feature_set": ["useful"],
            "sqlitedatasetloader__columns": [["x"], ["x2"]],
        },
    ]
    with joblib.parallel_backend(backend, n_jobs=2):
        search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(X, y)

    assert search.best_params_["sqlitedatasetloader__feature_set"] == "useful"
    assert search.best_score_ > 0.9


def test_it_is_cloned_and_pickled(market):
    """With a path or a Database; the result is the same, names included."""
    path, X, _ = market
    with Database(path) as db:
        for database in (path, str(path), db):
            loader = SQLiteDatasetLoader(
                database, feature_set="useful", columns=["x2"], look_back=2
            ).fit(X)
            copy = pickle.loads(pickle.dumps(loader))  # noqa: S301 - our own bytes
            again = clone(loader).set_output(transform="pandas").fit(X)
            expected = loader.transform(X)
            assert list(loader.get_feature_names_out()) == ["x2", "x2_lag1"]
            pd.testing.assert_frame_equal(copy.transform(X), expected)
            pd.testing.assert_frame_equal(again.transform(X), expected)
        by_index = X.set_index(["symbol", "t0"])
        values = loader.transform(by_index).to_numpy()
        np.testing.assert_array_equal(values, expected.to_numpy())


def test_a_set_made_anew_keeps_the_fitted_names(market):
    """Values go to their names whatever the order; a column that is gone is named."""
    path, X, _ = market
    with Database(path) as db:
        old = db.features("useful")
        db.write_features(old, "useful", {"version": 1})
        loader = SQLiteDatasetLoader(path, feature_set="useful", look_back=2).fit(X)
        expected = loader.transform(X)
        turned = old[old.columns[::-1]].assign(more=1.0)
        db.write_features(turned, "useful", {"version": 2}, replace=True)
        pd.testing.assert_frame_equal(loader.transform(X), expected)
        db.write_features(old[["x"]], "useful", {"version": 3}, replace=True)
    with pytest.raises(EmptyDataError, match="x2"):
        loader.transform(X)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"look_back": 0}, ValueError, "look_back must be"),
        ({"delay": "-1D"}, ValueError, "delay must be a time >= 0"),
        ({"delay": "soon"}, ValueError, "delay must be a length of time"),
        ({"max_age": "-1s"}, ValueError, "max_age must be a time >= 0"),
        ({"feature_set": "absent"}, EmptyDataError, "no feature set 'absent'"),
        ({"columns": ["absent"]}, EmptyDataError, "columns must name features"),
    ],
)
def test_wrong_parameters_are_named(market, options, error, message):
    """Fit refuses them."""
    path, X, _ = market
    with pytest.raises(error, match=message):
        SQLiteDatasetLoader(path, **{"feature_set": "useful"} | options).fit(X)


def test_keys_that_are_none_are_refused(market):
    """X needs a symbol and a t0."""
    path, X, _ = market
    loader = SQLiteDatasetLoader(path, feature_set="useful")
    with pytest.raises(ValueError, match="'t0' as a column or index level"):
        loader.fit(X[["symbol"]])
    with pytest.raises(TypeError, match="must be a DataFrame"):
        loader.fit(X.to_numpy())


@pytest.mark.parametrize("batch_rows", [1, 7, 60, 10_000])
def test_batches_put_together_are_the_dataset(market, batch_rows):
    """No t0 is split, none is missing, and none is too large."""
    path, _, _ = market
    with Database(path) as db:
        whole = load_dataset(db, "useful", "l")
        batches = list(iter_batches(db, "useful", "l", batch_rows=batch_rows))
        with pytest.raises(ValueError, match="batch_rows"):
            next(iter_batches(db, "useful", "l", batch_rows=0))

    data = pd.concat([batch.data for batch in batches])
    assert data.index.equals(whole.data.index)
    assert (data.to_numpy() == whole.data.to_numpy()).all()
    assert max(len(batch.data) for batch in batches) <= max(batch_rows, 2)


def test_batches_are_of_one_size_whatever_is_left_out(market):
    """Open, unknown and unmatched labels take no room in a batch."""
    path, _, _ = market
    late = START + pd.Timedelta("100h")
    with Database(path) as db:
        labels = db.labels("l")
        hours = (labels.index.get_level_values(1) - START) // pd.Timedelta("1h")
        labels.loc[(hours % 7 == 3), "touched"] = "open"
        labels["t1"] += pd.to_timedelta((hours % 5 == 1) * 500, unit="h")
        extra = labels.rename(lambda t: t - pd.Timedelta("30min"), level=1)
        db.write_labels(pd.concat([labels, extra.iloc[::3]]), "some")
        options = {"batch_rows": 20, "as_of": late}
        sizes = [len(b.data) for b in iter_batches(db, "useful", "some", **options)]

        assert set(sizes[:-1]) == {20}
        assert 0 < sizes[-1] <= 20
        assert sum(sizes) == len(load_dataset(db, "useful", "some", as_of=late).data)


@pytest.mark.parametrize("changed", [{"look_back": 4}, {"columns": ["x2"]}])
def test_a_fitted_loader_stays_as_it_was_fitted(tmp_path, changed):
    """Values stand under their names whatever is set after fit, until the next one."""
    frame = frame_of(["A"] * 5, range(5), np.arange(5.0))
    keys = pd.DataFrame({"symbol": "A", "t0": frame.index.get_level_values(1)})
    with Database(tmp_path / "x.db", create=True) as db:
        db.write_features(frame, "base")
    loader = SQLiteDatasetLoader(tmp_path / "x.db", look_back=2).fit(keys)
    before = loader.transform(keys)
    loader.set_params(**changed)

    pd.testing.assert_frame_equal(loader.transform(keys), before)
    fresh_one = clone(loader).fit_transform(keys)
    assert list(loader.fit(keys).transform(keys)) == list(fresh_one) != list(before)


def test_two_columns_of_one_name_are_refused(tmp_path):
    """A feature that is called as a lag of another: fit names both."""
    keys = frame_of(["A"] * 3, range(3), np.zeros(3)).index
    frame = pd.DataFrame({"x": 1.0, "x_lag1": 2.0}, index=keys)
    X = keys.set_names(["symbol", "t0"]).to_frame(index=False)
    with Database(tmp_path / "x.db", create=True) as db:
        db.write_features(frame, "base")
    loader = SQLiteDatasetLoader(tmp_path / "x.db", look_back=2)
    with pytest.raises(ValueError, match=r"look_back=2.*'x_lag1'.*Choose columns"):
        loader.fit(X)
    assert list(loader.set_params(columns=["x"]).fit_transform(X)) == ["x", "x_lag1"]
    assert list(loader.set_params(columns=None, look_back=1).fit_transform(X)) == [
        "x",
        "x_lag1",
    ]


def test_fit_names_tables_that_are_not_those_of_skatra(tmp_path):
    """It reads one state of the file, as transform does."""
    keys = frame_of(["A"] * 3, range(3), np.zeros(3)).index
    X = keys.set_names(["symbol", "t0"]).to_frame(index=False)
    with Database(tmp_path / "x.db", create=True) as db:
        db.write_features(pd.DataFrame({"x": 1.0}, index=keys), "base")
        with db.transaction() as connection:
            connection.execute("ALTER TABLE feature_columns RENAME TO gone")
    with pytest.raises(DatabaseCorruptError, match="are not those that skatra made"):
        SQLiteDatasetLoader(tmp_path / "x.db").fit(X)
