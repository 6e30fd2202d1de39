"""Bars from files, and sets that are rebuilt."""

import bz2
import gzip
import io
import lzma
import tempfile
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skatra.datasets import (
    Database,
    IngestReport,
    ingest_bars,
    load_index_bars,
    make_edge_bars,
)
from skatra.exceptions import BarsError
from tests.cli.test_cli import skatra


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


def test_a_file_without_a_column_is_refused_and_no_database_is_made(tmp_path, bars):
    """Nothing is made of a file that cannot hold bars."""
    file = tmp_path / "bars.csv"
    bars.loc["SP500"].drop(columns="high").to_csv(file)
    with pytest.raises(BarsError, match=r"columns \['high'\]"):
        ingest_bars(file, tmp_path / "market.db", symbol="SPX")

    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("batch_rows", [7, 100_000])
def test_order_does_not_matter(tmp_path, bars, kind, batch_rows):
    """Rows of all symbols in any order give the same table, in batches of any size."""
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="Parquet needs skatra[parquet]")
    file, database = tmp_path / f"bars.{kind}", tmp_path / "market.db"
    mixed = bars.sample(frac=1.0, random_state=0).reset_index()
    if kind == "csv":
        mixed.to_csv(file, index=False)
    else:
        mixed.to_parquet(file, index=False)
    first = ingest_bars(file, database, batch_rows=batch_rows)
    again = ingest_bars(file, database, batch_rows=batch_rows)
    with Database(database) as db:
        stored = db.bars()

    assert first == IngestReport(len(bars), 0, 0)
    assert again == IngestReport(0, 0, len(bars))
    pd.testing.assert_frame_equal(
        stored, bars.sort_index(), check_index_type=False, check_freq=False
    )


EPOCH = (
    "time is a number and no time in ISO 8601: convert it if it counts seconds or "
    "milliseconds since 1970"
)
BAD = {
    "2020-01-02,1,2,0.5": "it has 4 fields, not 7",
    "2020-01-02,1,2,0.5,1,1,A,": "it has 8 fields, not 7",
    '2020-01-02,1,2,0.5,1,1,"A': "a quote is not closed",
    "soon,1,2,0.5,1,1,A": "time is no time in ISO 8601",
    "3020-01-02,1,2,0.5,1,1,A": "time is no time in ISO 8601",
    "2020-01-02,1,2,0.5,1,1,": "symbol is missing",
    "2020-01-02,,2,0.5,1,1,A": "open is missing",
    "2020-01-02,1,2,0.5,dear,1,A": "close is no number",
    "2020-01-02,1_0,20,1,10,1,A": "open is no number",
    "1704067200000,1,2,0.5,1,1,A": EPOCH,
    "1704067200.5,1,2,0.5,1,1,A": EPOCH,
    f'2020-01-02,1,2,0.5,1,1,"{"A" * 140_000}"': (
        "it cannot be read: field larger than field limit (131072)"
    ),
    "2020-01-02,1,inf,0.5,1,1,A": "high is not finite",
    "2020-01-02,0,2,0,1,1,A": "a price is not positive",
    "2020-01-02,1,0.2,0.5,1,1,A": "high is below low",
    "2020-01-02,3,2,0.5,1,1,A": "open or close is outside low to high",
    "2020-01-02,1,2,0.5,1,-1,A": "volume is negative",
    "2020-01-01,1,2,0.5,1,2,A": "an earlier row has this symbol and time",
}


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
@pytest.mark.parametrize("row", BAD)
def test_a_bad_row_is_kept_apart_with_its_line(tmp_path, row, batch_rows):
    """The row stands in the rejects as it was; sound rows around it are written."""
    file, database = tmp_path / "bars.csv", tmp_path / "market.db"
    file.write_text(
        "time,open,high,low,close,volume,symbol\n2020-01-01,1,2,0.5,1.5,1,A\n\n"
        f"{row}\n2020-01-03,1,2,0.5,1.5,1,A\n"
    )
    report = ingest_bars(file, database, batch_rows=batch_rows)
    with Database(database) as db:
        stored = db.bars("A")

    assert [f"{t:%d}" for _, t in stored.index] == ["01", "03"]
    assert stored["close"].tolist() == [1.5, 1.5]
    assert report.problems == {BAD[row]: [4]}
    assert (report.inserted, report.rejected) == (2, 1)
    header, kept = report.rejects.read_text().splitlines()
    assert header == "line,reason,time,open,high,low,close,volume,symbol"
    assert kept.startswith("4,")
    assert kept.endswith(f",{row}")


def test_a_mended_rejects_file_can_be_ingested(tmp_path):
    """What was wrong is corrected in place; line and reason do not disturb."""
    file, database = tmp_path / "bars.csv", tmp_path / "market.db"
    file.write_text("time,open,high,low,close,symbol\n2020-01-01,1,2,0.5,x,A\n")
    rejects = ingest_bars(file, database, rejects=tmp_path / "bad.csv").rejects
    rejects.write_text(rejects.read_text().replace(",x,", ",1.5,"))
    report = ingest_bars(rejects, database)

    assert rejects == tmp_path / "bad.csv"
    assert report == IngestReport(1, 0, 0)


def test_rejects_of_an_earlier_run_do_not_stay(tmp_path):
    """A sound file leaves no rejects behind."""
    file, database = tmp_path / "bars.csv", tmp_path / "market.db"
    file.write_text("time,open,high,low,close,symbol\n2020-01-01,1,2,0.5,x,A\n")
    rejects = ingest_bars(file, database).rejects
    assert rejects == tmp_path / "bars.csv.rejects.csv"
    file.write_text(file.read_text().replace(",x,", ",1.5,"))
    assert ingest_bars(file, database).rejects is None
    assert not rejects.exists()


def test_parquet_rows_are_kept_apart_too(tmp_path, bars):
    """Rows count from 1; the rest is written."""
    pytest.importorskip("pyarrow", reason="Parquet needs skatra[parquet]")
    frame = bars.reset_index()
    frame.loc[3, "close"] = float("nan")
    frame.loc[5, "high"] = 0.01
    frame.to_parquet(tmp_path / "bars.parquet", index=False)
    report = ingest_bars(tmp_path / "bars.parquet", tmp_path / "market.db")

    assert report.problems == {"close is missing": [4], "high is below low": [6]}
    assert report.inserted == len(frame) - 2


@given(st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=20))
def test_prices_keep_every_bit(prices):
    """Text of shortest round trip is read as the number it was made of."""
    days = pd.date_range("2020-01-01", periods=len(prices), tz="UTC", name="time")
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), prices), days)
    with tempfile.TemporaryDirectory() as folder:
        file, database = Path(folder, "bars.csv"), Path(folder, "market.db")
        frame.to_csv(file)
        ingest_bars(file, database, symbol="A")
        with Database(database) as db:
            assert db.bars()["close"].tolist() == prices


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
        (b"date,open,high,low,close\n", "no rows"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, content, message):
    """An empty file, other encodings and two columns of times are said so."""
    file = tmp_path / "bars.csv"
    file.write_bytes(content)
    with pytest.raises(BarsError, match=message) as error:
        ingest_bars(file, tmp_path / "market.db", symbol="X")

    assert str(file) in str(error.value)


ROWS = "".join(f"2024-01-01T00:00:{s:02d},1,2,0.5,1.{s},1\n" for s in range(60))
CSV = f"time,open,high,low,close,volume\n{ROWS}".encode()


def zipped(content):
    """Return a ZIP archive of one file."""
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bars.csv", content)
    return kept.getvalue()


ARCHIVES = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zip": zipped,
}


@settings(max_examples=60, deadline=None)
@given(
    suffix=st.sampled_from([*ARCHIVES]),
    at=st.integers(0, 1 << 16),
    junk=st.binary(min_size=1, max_size=16),
    cut=st.booleans(),
)
def test_a_damaged_archive_is_read_or_named(suffix, at, junk, cut):
    """Whichever bytes are wrong or missing: an error that names the file, no other."""
    whole = ARCHIVES[suffix](CSV)
    at %= len(whole)
    rest = b"" if cut else whole[at + len(junk) :]
    with tempfile.TemporaryDirectory() as folder:
        file, database = Path(folder, f"bars.csv{suffix}"), Path(folder, "market.db")
        file.write_bytes(whole)
        assert ingest_bars(file, database, symbol="A").inserted == 60
        file.write_bytes(whole[:at] + junk + rest)
        message = str(file)
        try:
            ingest_bars(file, database, symbol="A")
        except BarsError as error:
            message = str(error)
        assert str(file) in message


@pytest.mark.parametrize("suffix", ARCHIVES)
def test_what_is_no_archive_is_named(tmp_path, suffix):
    """Plain text under the name of an archive is said so."""
    file = tmp_path / f"bars.csv{suffix}"
    file.write_bytes(CSV)
    with pytest.raises(BarsError, match="cannot be read as CSV"):
        ingest_bars(file, tmp_path / "market.db", symbol="A")


def test_a_damaged_page_of_parquet_is_named(tmp_path):
    """Also where the footer is sound, so that the damage shows on the way."""
    pytest.importorskip("pyarrow", reason="Parquet needs skatra[parquet]")
    file = tmp_path / "bars.parquet"
    make_edge_bars(5000).reset_index().to_parquet(file, row_group_size=1000)
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = b"\xaa" * 4000
    file.write_bytes(content)
    with pytest.raises(BarsError, match=r"bars\.parquet cannot be read as Parquet"):
        ingest_bars(file, tmp_path / "market.db")


def test_a_number_beside_a_huge_one_is_read_as_written(tmp_path):
    """An integer of more than 64 bits in a column does not make 1_0 a ten."""
    file, database = tmp_path / "bars.csv", tmp_path / "market.db"
    day = "2024-01-0{},1,2,0.5,1.5,{}\n"
    volumes = (10**25, "1_0", 7, 10**25 + 1)
    rows = [day.format(k + 1, volume) for k, volume in enumerate(volumes)]
    file.write_text("time,open,high,low,close,volume\n" + "".join(rows))
    report = ingest_bars(file, database, symbol="A")
    with Database(database) as db:
        stored = db.bars("A")["volume"].tolist()

    assert report.problems == {"volume is no number": [3]}
    assert stored == [1e25, 7.0, 1e25]


def test_epochs_in_parquet_are_no_times(tmp_path):
    """Every row is kept apart, and the reason says what they may be."""
    pytest.importorskip("pyarrow", reason="Parquet needs skatra[parquet]")
    frame = pd.DataFrame({"time": [1704067200, 1704153600], "symbol": "A"})
    frame = frame.assign(open=1.0, high=2.0, low=0.5, close=1.5)
    frame.to_parquet(tmp_path / "bars.parquet")
    report = ingest_bars(tmp_path / "bars.parquet", tmp_path / "market.db")

    assert report.problems == {EPOCH: [1, 2]}


def test_rejects_that_cannot_be_made_are_named_with_the_way_out(tmp_path):
    """A bad row without a place for it asks for another file."""
    file = tmp_path / "bars.csv"
    file.write_text("time,open,high,low,close\n2020-01-01,1,2,0.5,x\n")
    rejects = tmp_path / "absent" / "bad.csv"
    with pytest.raises(FileNotFoundError, match=r"line 2 .*absent.bad\.csv.*--rejects"):
        ingest_bars(file, tmp_path / "market.db", symbol="A", rejects=rejects)


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


@pytest.mark.parametrize("symbol", ["", " ", "A ", "\tA"])
def test_a_blank_symbol_is_no_symbol(tmp_path, bars, symbol):
    """Bars never go under a name that nobody can type again; no database is made."""
    file = tmp_path / "bars.csv"
    bars.loc["SP500"].to_csv(file)
    with pytest.raises(ValueError, match="symbol must be a name"):
        ingest_bars(file, tmp_path / "market.db", symbol=symbol)
    assert list(tmp_path.iterdir()) == [file]


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


def test_replace_without_a_spec_keeps_the_set_s_spec_and_other_symbols(tmp_path):
    """Only another spec, given, drops all; how chunks are packed stays then, too."""
    days = [f"2020-01-{day:02d}" for day in range(1, 29)]
    a, b = (
        pd.DataFrame({"f": 1.0}, index=_labels(s, days).index).rename_axis(
            ["symbol", "time"]
        )
        for s in "AB"
    )
    with Database(tmp_path / "market.db", create=True) as db:
        db.write_features(pd.concat([a, b]), "x", {"v": 1}, compression="zlib")
        db.write_labels(_labels("A", days), "x", {"v": 1})
        db.write_labels(_labels("B", days), "x", {"v": 1})
        db.write_features(a.iloc[:3], "x", replace=True)
        db.write_labels(_labels("A", days[:3]), "x", replace=True)
        sets = [db.feature_sets()["x"], db.label_sets()["x"]]
        assert [(s["rows"], s["symbols"], s["spec"]) for s in sets] == [
            (31, 2, {"v": 1})
        ] * 2
        assert len(db.features("x", symbols="A")) == 3

        db.write_features(a, "x", {"v": 2}, replace=True)
        described = db.feature_sets()["x"]
        assert (described["symbols"], described["spec"]) == (1, {"v": 2})
        assert described["compression"] == "zlib"
        with db.pool.get_connection() as connection:
            query = "SELECT DISTINCT dtype FROM feature_chunks ORDER BY dtype"
            assert connection.execute(query).fetchall() == [("f8z",), ("i8z",)]
        assert db.check() == []


def test_replace_gives_a_set_without_spec_its_first_one(tmp_path):
    """Other symbols' rows stay: nobody said that they were made in another way."""
    with Database(tmp_path / "market.db", create=True) as db:
        for symbol in "AB":
            db.write_labels(_labels(symbol, ["2020-01-01"]), "x")
        db.write_labels(_labels("A", ["2020-01-02"]), "x", {"v": 1}, replace=True)

        assert db.label_sets()["x"] == {"rows": 2, "symbols": 2, "spec": {"v": 1}}


def test_rejects_replace_no_file_but_earlier_ones(tmp_path):
    """Input, database and whatever else is there are refused, and stay as they are."""
    file, database = tmp_path / "bars.csv", tmp_path / "x.db"
    file.write_text("time,open,high,low,close\n2024-01-01,1,2,1,x\n")
    for name, place in (("path", file), ("database", tmp_path / "." / "x.db")):
        with pytest.raises(ValueError, match=f"another file than {name}"):
            ingest_bars(file, database, symbol="A", rejects=place)
    notes = tmp_path / "bars.csv.rejects.csv"
    notes.write_text("mine")
    with pytest.raises(ValueError, match="rejects must be a new file"):
        ingest_bars(file, database, symbol="A")
    with pytest.raises(ValueError, match="rejects must be a new file"):
        ingest_bars(file, database, symbol="A", rejects=tmp_path)

    assert "2024-01-01" in file.read_text()
    assert notes.read_text() == "mine"
    assert not database.exists()


@pytest.mark.parametrize(
    "time", ["now", "today", "2024", " 2024", "12:30", "1704153600", "45300"]
)
def test_a_time_has_a_date(tmp_path, time):
    """What pandas would read as today or as some first of January is rejected."""
    file = tmp_path / "bars.csv"
    rows = [f"{t},1,2,0.5,1.5" for t in (time, "2024-02", "202403", "20240401")]
    file.write_text("\n".join(["time,open,high,low,close", *rows]))
    report = ingest_bars(file, tmp_path / "x.db", symbol="A")

    reason = EPOCH if time == "1704153600" else "time is no time in ISO 8601"
    assert report.problems[reason][0] == 2


@pytest.mark.parametrize("kind", ["bool", "boolean"])
def test_true_is_no_number(tmp_path, kind):
    """Neither in text nor in a column of truth values."""
    bars = make_edge_bars(3).loc["EDGE"].reset_index()
    bars["volume"] = pd.Series([True, True, False], dtype=kind)
    bars.to_csv(tmp_path / "bars.csv", index=False)
    bars.to_parquet(tmp_path / "bars.parquet")
    for name, lines in (("bars.csv", [2, 3, 4]), ("bars.parquet", [1, 2, 3])):
        report = ingest_bars(tmp_path / name, tmp_path / "x.db", symbol="A")
        assert report.problems == {"volume is no number": lines}


@pytest.mark.parametrize("name", ["BARS.PARQUET", "BARS.CSV.GZ", "Bars.Csv"])
def test_suffixes_may_be_capitals(tmp_path, name):
    """What a file is, its name says in any case."""
    bars = make_edge_bars(9).loc["EDGE"]
    if name.endswith("PARQUET"):
        bars.to_parquet(tmp_path / name)
    else:
        packed = {"compression": "gzip"} if name.endswith("GZ") else {}
        bars.to_csv(tmp_path / name, **packed)
    assert ingest_bars(tmp_path / name, tmp_path / "x.db", symbol="A").inserted == 9


def test_columns_that_no_bar_has_are_named(tmp_path):
    """Nothing is dropped without a word: neither in Python nor from a shell."""
    file = tmp_path / "quotes.csv"
    file.write_text(
        "Date,Open,High,Low,Close,Adj Close,Volume\n2024-01-02,1,2,0.5,1.5,1.4,10\n"
    )
    report = ingest_bars(file, tmp_path / "market.db", symbol="X")
    done = skatra("ingest", file, "market.db", "--symbol", "X", cwd=tmp_path)

    assert report.unread == ("Adj Close",)
    assert done.returncode == 0
    assert "not read: Adj Close" in done.stderr
