"""Bars from files, and sets that are rebuilt."""

import pandas as pd
import pytest

from skatra.datasets import Database, ingest_bars, load_index_bars
from skatra.exceptions import BarsError


@pytest.fixture
def bars():
    """Return a few bars of two symbols."""
    return load_index_bars().groupby(level="symbol").head(20)


def test_csv_round_trip(tmp_path, bars):
    """Bars written as CSV come back exactly; the second time nothing changes."""
    file, database = tmp_path / "bars.csv.gz", tmp_path / "market.db"
    bars.to_csv(file)
    first = ingest_bars(file, database)
    again = ingest_bars(file, database)
    with Database(database) as db:
        stored = db.bars()

    assert (first.inserted, first.updated, first.unchanged) == (len(bars), 0, 0)
    assert (again.inserted, again.updated, again.unchanged) == (0, 0, len(bars))
    pd.testing.assert_frame_equal(
        stored, bars, check_index_type=False, check_freq=False
    )


def test_one_symbol_file_with_other_spellings(tmp_path, bars):
    """Column names match without regard to case; volume may be absent."""
    one = bars.loc["SP500"].drop(columns="volume")
    file, database = tmp_path / "bars.csv", tmp_path / "market.db"
    one.rename(columns=str.title).rename_axis("Date").to_csv(file)
    ingest_bars(file, database, symbol="SPX")
    with Database(database) as db:
        stored = db.bars("SPX")

    assert stored["close"].tolist() == one["close"].tolist()
    assert (stored["volume"] == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.iloc[::-1], "sort"),
        (lambda f: pd.concat([f.iloc[:1], f]), "repeats"),
        (lambda f: f.drop(columns="high"), "columns"),
        (lambda f: f.assign(close=-1.0), "close"),
        (lambda f: f.assign(close="dear"), "numbers"),
        (lambda f: f.rename(index=lambda _: "soon"), "times"),
    ],
)
def test_bad_bars_are_refused_and_no_database_is_made(tmp_path, bars, change, message):
    """Unsorted, duplicated, incomplete or inconsistent bars leave nothing behind."""
    file, database = tmp_path / "bars.csv", tmp_path / "market.db"
    change(bars.loc["SP500"]).rename_axis("time").to_csv(file)
    with pytest.raises(BarsError, match=message):
        ingest_bars(file, database, symbol="SPX")

    assert list(tmp_path.iterdir()) == [file]


def test_symbols_stay_text(tmp_path, bars):
    """Symbols that look like numbers or missing values stay what they are."""
    frame = bars.reset_index()
    frame["symbol"] = frame["symbol"].map({"SP500": "007", "NASDAQ": "NA"})
    frame.to_csv(tmp_path / "bars.csv", index=False)
    ingest_bars(tmp_path / "bars.csv", tmp_path / "market.db")
    with Database(tmp_path / "market.db") as db:
        assert db.symbols() == ["007", "NA"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as CSV"),
        ("date,open,high,low,close\nä,1,2,1,2".encode("latin-1"), "UTF-8"),
        (b"date,time,open,high,low,close\n2020-01-01,1,1,1,1,1", "one column"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, content, message):
    """An empty file, other encodings and two columns of times are said so."""
    file = tmp_path / "bars.csv"
    file.write_bytes(content)
    with pytest.raises(BarsError, match=message) as error:
        ingest_bars(file, tmp_path / "market.db", symbol="X")

    assert str(file) in str(error.value)


def test_symbol_is_asked_for_once(tmp_path, bars):
    """A file without symbols needs one; a file with symbols refuses one."""
    file = tmp_path / "bars.csv"
    bars.loc["SP500"].to_csv(file)
    with pytest.raises(BarsError, match="name the symbol"):
        ingest_bars(file, tmp_path / "market.db")
    bars.to_csv(file)
    with pytest.raises(BarsError, match="leave symbol out"):
        ingest_bars(file, tmp_path / "market.db", symbol="SPX")
    with pytest.raises(FileNotFoundError, match="no file"):
        ingest_bars(tmp_path / "absent.csv", tmp_path / "market.db")


def _labels(symbol, days):
    """Return labels of one symbol on the given days."""
    t0 = pd.to_datetime(days, utc=True)
    index = pd.MultiIndex.from_product([[symbol], t0], names=["symbol", "t0"])
    return pd.DataFrame(
        {"t1": t0, "ret": 0.1, "label": 1, "side": 1, "touched": "time"}, index=index
    )


def test_replace_drops_the_frame_s_symbols_only(tmp_path):
    """With the same spec, labels of other symbols stay and old ones of this go."""
    with Database(tmp_path / "market.db", create=True) as db:
        db.write_labels(_labels("A", ["2020-01-01", "2020-01-02"]), "x", {"h": 1})
        db.write_labels(_labels("B", ["2020-01-01"]), "x", {"h": 1})
        db.write_labels(_labels("A", ["2020-01-05"]), "x", {"h": 1}, replace=True)
        kept = db.labels("x").index

        assert [(s, f"{t:%d}") for s, t in kept] == [("A", "05"), ("B", "01")]


def test_replace_empties_a_set_of_another_spec(tmp_path):
    """With another spec nothing of the old set stays."""
    with Database(tmp_path / "market.db", create=True) as db:
        db.write_labels(_labels("B", ["2020-01-01"]), "x", {"h": 1})
        db.write_labels(_labels("A", ["2020-01-01"]), "x", {"h": 2}, replace=True)
        old = pd.DataFrame(
            {"f": [1.0], "g": [2.0]}, index=_labels("A", ["2020-01-01"]).index
        ).rename_axis(["symbol", "time"])
        db.write_features(old, "base", {"v": 1})
        db.write_features(old[["f"]], "base", {"v": 2}, replace=True)

        assert db.labels("x").index.get_level_values("symbol").tolist() == ["A"]
        assert db.features("base").columns.tolist() == ["f"]
        assert db.check() == []
