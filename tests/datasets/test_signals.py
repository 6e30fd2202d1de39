"""Signals are kept with their predictions, trials with what they were made of."""

import contextlib
import sqlite3

import pandas as pd
import pytest

from skatra.datasets import Database, WriteReport, make_edge_bars
from skatra.datasets._schema import APPLICATION_ID, SCHEMA_VERSION, apply
from skatra.exceptions import LabelTimesError

DAYS = pd.date_range("2024-01-01", periods=3, tz="UTC")
KEYS = pd.MultiIndex.from_product([["A", "B"], DAYS], names=["symbol", "t0"])
TRIAL = {
    "data_hash": "d",
    "fold_hash": "f",
    "code_version": "1",
    "params": {"num_leaves": 7, "learning_rate": 0.1},
    "scores": [0.1, 0.2],
}


def signals(**changes):
    """Make a frame of six signals, half of them short, one without a position."""
    wanted = [0.2, -0.2, 0.1, -0.1, 0.3, -0.3]
    frame = pd.DataFrame(
        {"probability": 0.5, "price": 10.0, "wanted": wanted, "position": wanted},
        index=KEYS,
    )
    frame.loc[KEYS[4], "position"] = 0.0
    return frame.assign(**changes)


@pytest.fixture
def db(tmp_path):
    """Give an empty database."""
    with Database(tmp_path / "x.db", create=True) as db:
        yield db


def test_a_signal_comes_with_its_prediction(db):
    """One write keeps both; again changes nothing, not even the time of writing."""
    frame = signals()
    assert db.write_signals(frame.iloc[::-1], "m") == WriteReport(6, 0, 0)
    before = db.signals("m")
    assert db.write_signals(frame, "m") == WriteReport(0, 0, 6)
    stored = db.signals("m")

    pd.testing.assert_frame_equal(stored, before)
    pd.testing.assert_frame_equal(stored[list(frame)], frame, check_index_type=False)
    assert stored["side"].tolist() == [1, -1, 1, -1, 0, -1]
    said = db.predictions("m")
    assert said["value"].tolist() == frame["probability"].tolist()
    assert said["position"].tolist() == frame["position"].tolist()
    assert db.check() == []
    assert db.info()["rows"]["signals"] == 6


@pytest.mark.parametrize(("durable", "written"), [(False, 0), (False, 1), (True, 1)])
def test_a_transaction_around_signals_waits_for_the_disk(db, durable, written):
    """Its commit, or one right after it, is made with synchronous=FULL."""
    statements = []
    with db.transaction(durable=durable) as connection:
        levels = connection.execute("PRAGMA synchronous").fetchone()
        connection.set_trace_callback(statements.append)
        db.write_run("r", {})
        for _ in range(written):
            db.write_signals(signals(), "m")
    connection.set_trace_callback(None)
    after = statements[statements.index("COMMIT") + 1 :]
    full = [sql.startswith("PRAGMA synchronous = FULL") for sql in after[:1]]
    commits = [sql.startswith("PRAGMA user_version = ") for sql in after[-1:]]
    assert levels == (1 + durable,)
    assert full == commits == [True] * (written and not durable)
    with db.transaction() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (1,)
    assert len(db.signals()) == written * len(KEYS)


def test_another_value_is_an_update_with_a_new_time(db):
    """The time says when the values that stand were written."""
    db.write_signals(signals(), "m")
    before = db.signals("m")["created_at"]
    report = db.write_signals(signals(price=[10.0] * 5 + [11.0]), "m")
    later = db.signals("m")["created_at"] > before

    assert report == WriteReport(0, 1, 5)
    assert later.tolist() == [False] * 5 + [True]


def test_signals_as_of_a_time_are_those_until_then(db):
    """Whatever the range says."""
    db.write_signals(signals(), "m")
    whole = db.signals()
    times = whole.index.get_level_values("t0")
    for as_of in times.unique():
        known = whole[times <= as_of]
        pd.testing.assert_frame_equal(db.signals(as_of=as_of), known)
        pd.testing.assert_frame_equal(db.signals(end=times[-1], as_of=as_of), known)


def test_signals_of_all_models_or_of_one(db):
    """A range of t0 and symbols narrow them down."""
    db.write_signals(signals(), "m")
    db.write_signals(signals(probability=0.6), "n")

    assert len(db.signals()) == 12
    assert set(db.signals("n")["probability"]) == {0.6}
    assert len(db.signals("m", "B", DAYS[1])) == 2
    assert db.signals("other").empty
    assert str(db.signals("other")["created_at"].dtype) == "datetime64[ns, UTC]"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probability": 1.1}, r"probability must lie in \[0, 1\]; not so in 6 of 6"),
        ({"price": 0.0}, "price must be positive"),
        ({"price": float("nan")}, "price must be finite"),
        ({"position": 0.15}, "must have the sign of wanted"),
        ({"extra": 1.0}, "must have the columns"),
    ],
)
def test_what_cannot_be_a_signal_is_refused(db, changes, message):
    """Nothing is written then, neither signal nor prediction."""
    with pytest.raises(ValueError, match=message):
        db.write_signals(signals(**changes), "m")
    assert db.info()["rows"]["predictions"] == 0


def test_keys_occur_once(db):
    """A repeated (symbol, t0) is refused by name."""
    with pytest.raises(LabelTimesError, match="repeated"):
        db.write_signals(pd.concat([signals(), signals()]), "m")
    with pytest.raises(TypeError, match="must be a DataFrame"):
        db.write_signals([1], "m")
    assert db.info()["rows"]["predictions"] == 0


def test_check_finds_signals_that_contradict_themselves(db):
    """A side, a size or a prediction changed by hand is named."""
    db.write_signals(signals(), "m")
    with db.transaction() as connection:
        connection.execute("UPDATE signals SET side = -side WHERE sid = 1")
        connection.execute("UPDATE signals SET position = -9 WHERE sid = 2")
        connection.execute("UPDATE trials SET record = 'x'")
    db.write_trial("k", TRIAL)
    with db.transaction() as connection:
        connection.execute("UPDATE trials SET record = 'x'")

    problems = " ".join(db.check())
    assert "sign of their position" in problems
    assert "beyond what was wanted" in problems
    assert "3 signals differ from their prediction" in problems
    assert "1 trials have a record" in problems


def test_a_trial_comes_back_as_it_was_written(db):
    """A key is written once; another record of it is an update, and keeps its age."""
    assert db.write_trial("k", TRIAL) == WriteReport(1, 0, 0)
    assert db.write_trial("k", TRIAL) == WriteReport(0, 0, 1)
    assert db.write_trial("j", {**TRIAL, "data_hash": "e"}) == WriteReport(1, 0, 0)
    assert db.write_trial("k", {**TRIAL, "scores": [1]}) == WriteReport(0, 1, 0)

    assert db.trial("k") == {**TRIAL, "scores": [1]}
    assert db.trial("other") is None
    assert list(db.trials().index) == ["k", "j"]
    frame = db.trials("e")
    assert frame["params"].tolist() == [TRIAL["params"]]
    assert frame["record"].tolist() == [{"scores": [0.1, 0.2]}]
    assert frame[["data_hash", "fold_hash", "code_version"]].loc["j"].tolist() == [
        "e",
        "f",
        "1",
    ]
    assert db.trials("other").empty
    assert list(db.trials("other")) == list(frame)


def test_a_trial_must_say_what_it_was_made_of(db):
    """An entry that is missing or no text is named."""
    with pytest.raises(ValueError, match=r"entries \['fold_hash', 'params'\]"):
        db.write_trial("k", {"data_hash": "d", "code_version": "1"})
    with pytest.raises(ValueError, match="data_hash must be non-empty text"):
        db.write_trial("k", {**TRIAL, "data_hash": 1})
    with pytest.raises(ValueError, match="record must hold only what JSON can say"):
        db.write_trial("k", {**TRIAL, "score": float("nan")})
    with pytest.raises(TypeError, match="params must be a dict"):
        db.write_trial("k", {**TRIAL, "params": [1]})
    with pytest.raises(TypeError, match="record must be a dict"):
        db.write_trial("k", None)
    assert db.trials().empty


def test_a_file_of_version_3_is_upgraded(tmp_path):
    """Its predictions stay, signals and trials can be written, a backup stands."""
    path = tmp_path / "x.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for version in range(3):
            apply(connection, version)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 3")
        connection.execute("INSERT INTO symbols VALUES (1, 'A')")
        connection.execute("INSERT INTO predictions VALUES ('m', 1, 5, 0.6, 0.1)")
        connection.commit()
    with Database(path) as db:
        assert db.info()["schema_version"] == SCHEMA_VERSION
        assert db.predictions("m")["value"].tolist() == [0.6]
        db.write_signals(signals(), "m")
        db.write_trial("k", TRIAL)
        assert db.check() == []
    assert (tmp_path / "x.db.v3.bak").is_file()


def test_the_last_bars_of_each_symbol(db):
    """``last`` and ``columns`` cut what is read, not what it says."""
    bars = make_edge_bars(30, symbols=("A", "B"))
    db.write_bars(bars)
    end = bars.index.get_level_values(1)[20]
    expected = bars[bars.index.get_level_values(1) <= end].groupby(level=0).tail(4)

    found = db.bars(end=end, columns=["close", "open"], last=4)
    assert found.index.tolist() == expected.index.tolist()
    assert list(found) == ["close", "open"]
    assert (found["close"] == expected["close"]).all()
    with pytest.raises(ValueError, match="columns must be some of"):
        db.bars(columns=["adjusted"])
    with pytest.raises(ValueError, match="last must be a whole number of at least 1"):
        db.bars(last=0)
