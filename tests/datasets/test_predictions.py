"""Predictions and their settlement: kept, joined, and never known too early."""

import pandas as pd
import pytest

from skatra.datasets import Database, WriteReport
from skatra.exceptions import DatabaseError, LabelTimesError

DAYS = pd.date_range("2024-01-01", periods=6, tz="UTC")
KEYS = pd.MultiIndex.from_product([["A", "B"], DAYS], names=["symbol", "t0"])


@pytest.fixture
def db(tmp_path):
    """Give a database with predictions, all but the last two of B settled."""
    said = pd.DataFrame({"value": 0.5, "position": range(12)}, index=KEYS)
    done = pd.DataFrame(
        {"t1": KEYS.get_level_values(1) + pd.Timedelta("2D"), "ret": 0.25}, index=KEYS
    )
    with Database(tmp_path / "x.db", create=True) as db:
        assert db.write_predictions(said.iloc[::-1], "m") == WriteReport(12, 0, 0)
        assert db.settle_predictions(done.iloc[:10], "m") == WriteReport(10, 0, 0)
        assert db.settle_predictions(done.iloc[:10], "m") == WriteReport(0, 0, 10)
        yield db


def test_they_come_back_with_their_outcomes(db):
    """Sorted by (symbol, t0); open ones have neither t1 nor ret."""
    frame = db.predictions("m")

    assert list(frame.index) == list(KEYS)
    assert frame["position"].tolist() == list(range(12))
    assert frame["t1"].isna().tolist() == [False] * 10 + [True] * 2
    assert frame["ret"].dropna().tolist() == [0.25] * 10
    assert len(db.predictions("m", "B", DAYS[1], DAYS[2])) == 2
    assert db.predictions("other").empty
    assert str(db.predictions("other")["t1"].dtype) == "datetime64[ns, UTC]"
    assert db.check() == []
    assert db.info()["rows"]["settlements"] == 10


def test_as_of_knows_nothing_later(db):
    """A t0 or t1 after as_of is not there yet; changing it changes nothing."""
    before = db.predictions("m", as_of=DAYS[3])
    later = db.predictions("m").loc[lambda f: f["t1"] > DAYS[3]]
    db.settle_predictions(later[["t1"]].assign(ret=-1.0), "m")

    assert before.index.get_level_values(1).max() == DAYS[3]
    assert before["t1"].max() == DAYS[3]
    assert before["t1"].isna().sum() == 4
    pd.testing.assert_frame_equal(db.predictions("m", as_of=DAYS[3]), before)


@pytest.mark.parametrize("changed", [{}, {"value": 0.7}, {"position": 0.0}])
def test_a_prediction_is_what_its_signal_says(db, changed):
    """One that would differ is refused with all of the write; the file stays sound."""
    keys = KEYS[:3]
    signal = {"probability": 0.6, "price": 100.0, "wanted": 0.2, "position": 0.1}
    db.write_signals(pd.DataFrame(signal, index=keys[1:2]), "m")
    before = db.predictions("m")
    said = {"value": 0.6, "position": 0.1} | changed
    if changed:
        with pytest.raises(DatabaseError, match=r"'m'.*'A'.*02.*write_signals"):
            db.write_predictions(pd.DataFrame(said, index=keys), "m")
        pd.testing.assert_frame_equal(db.predictions("m"), before)
    else:
        assert db.write_predictions(pd.DataFrame(said, index=keys), "m").unchanged == 1
    db.write_predictions(pd.DataFrame(said, index=keys), "other")
    signal["position"] = 0.2
    db.write_signals(pd.DataFrame(signal, index=keys), "m")
    assert db.check() == []


def test_other_rows_of_the_time_range_do_not_matter(db):
    """A signal that differs from its own prediction hinders no other write."""
    keys = KEYS[:3]
    signal = {"probability": 0.6, "price": 100.0, "wanted": 0.2, "position": 0.1}
    db.write_signals(pd.DataFrame(signal, index=keys[1:2]), "m")
    with db.transaction() as connection:
        connection.execute("UPDATE signals SET probability = 0.9")
    said = pd.DataFrame({"value": 0.7, "position": 0.0}, index=keys[[0, 2]])
    assert db.write_predictions(said, "m").updated == 2
    said = pd.DataFrame({"value": 0.7, "position": 0.0}, index=keys)
    with pytest.raises(DatabaseError, match=r"1 predictions of .* 2024-01-02"):
        db.write_predictions(said, "m")


def test_what_cannot_be_kept_is_refused(db):
    """Outcomes of nothing, repeated keys, missing numbers: named, nothing written."""
    one = pd.DataFrame({"t1": DAYS[:1], "ret": 0.1}, index=KEYS[:1])
    with pytest.raises(DatabaseError, match=r"1 settlements .*'n'.*no prediction"):
        db.settle_predictions(one, "n")
    with pytest.raises(ValueError, match="ret must be finite"):
        db.settle_predictions(one.assign(ret=float("nan")), "m")
    with pytest.raises(ValueError, match="must have the columns value, position"):
        db.write_predictions(one, "m")
    with pytest.raises(LabelTimesError, match="repeated"):
        db.settle_predictions(pd.concat([one, one]), "m")
    with pytest.raises(TypeError, match="must be a DataFrame"):
        db.write_predictions([1], "m")
    assert db.info()["rows"]["settlements"] == 10
