"""``skatra db`` as a user meets it."""

import csv
import json
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from skatra.datasets import Database, make_edge_bars
from tests.cli.test_cli import refused, skatra
from tests.small_disk import on_small_disk


@pytest.fixture
def market(tmp_path):
    """Return a database with bars, features and labels."""
    path = tmp_path / "market.db"
    bars = make_edge_bars(100, symbols=("A", "B"))
    with Database(path, create=True) as db:
        db.write_bars(bars)
        db.write_features(bars[["close"]], "base")
        t1 = bars.index.get_level_values(1)
        label = {"ret": 0.1, "label": 1, "side": 1, "touched": "time"}
        db.write_labels(bars[[]].assign(t1=t1, **label), "l")
    return path


def figures(*arguments, cwd):
    """Run a command with --json and return what it prints."""
    done = skatra("db", *arguments, "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_info_and_check(tmp_path, market):
    """Both print for people and as JSON; progress is on stderr."""
    found = figures("info", market, cwd=tmp_path)
    assert found["rows"]["bars"] == 200
    assert found["feature_sets"]["base"]["rows"] == 200
    assert found["label_sets"]["l"]["rows"] == 200
    text = skatra("db", "info", market, cwd=tmp_path).stdout
    assert "200" in text
    assert "feature set 'base'" in text
    done = skatra("db", "check", market, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "sound\n")
    assert "checking" in done.stderr


def test_check_leaves_with_3_when_something_is_wrong(tmp_path, market):
    """Every problem is listed with advice."""
    connection = sqlite3.connect(market)
    connection.execute("UPDATE feature_chunks SET crc32 = crc32 + 1 WHERE col = 1")
    connection.commit()
    connection.close()
    done = skatra("db", "check", market, cwd=tmp_path)

    assert done.returncode == 3
    assert "checksum" in done.stdout
    assert "skatra db restore BACKUP" in done.stdout


def test_backup_vacuum_and_migrate(tmp_path, market):
    """A copy is a database; an existing file is not overwritten."""
    assert figures("backup", market, "copy.db", cwd=tmp_path)["size_bytes"] > 0
    assert figures("info", "copy.db", cwd=tmp_path)["rows"]["bars"] == 200
    assert "exists already" in refused(
        skatra("db", "backup", market, "copy.db", cwd=tmp_path)
    )
    assert figures("vacuum", "copy.db", cwd=tmp_path)["freed_bytes"] >= 0
    assert figures("migrate", "copy.db", cwd=tmp_path)["schema_version"] >= 3


def test_a_backup_is_restored_when_nobody_uses_the_database(tmp_path, market):
    """Its log is not played into the copy; a damaged backup changes nothing."""
    figures("backup", market, "copy.db", cwd=tmp_path)
    code = (
        "import os, sys; from skatra.datasets import Database; "
        "db = Database('market.db'); db.write_run('later', {'x': 'y' * 10**5}); "
        "print(flush=True); input(); os._exit(1)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    words = ("db", "restore", "copy.db", market)
    assert "open in another process" in refused(skatra(*words, cwd=tmp_path))
    process.communicate("\n")
    log = tmp_path / "market.db-wal"
    assert log.stat().st_size > 10**5
    before = market.read_bytes(), log.read_bytes()
    damaged = bytearray((tmp_path / "copy.db").read_bytes())
    damaged[len(damaged) // 2 :] = bytes(len(damaged) - len(damaged) // 2)
    (tmp_path / "damaged.db").write_bytes(damaged)
    for backup, message, code in (
        ("damaged.db", "no sound backup", 5),
        ("absent.db", "no database at", 2),
        (market, "the backup itself", 2),
    ):
        done = skatra("db", "restore", backup, market, cwd=tmp_path)
        assert message in refused(done, code)
        assert (market.read_bytes(), log.read_bytes()) == before

    for _ in range(2):
        figures(*words[1:], cwd=tmp_path)
        with Database(market) as db:
            assert db.check() == []
            assert list(db.runs().index) == []
            assert len(db.bars()) == 200
        # A first page that no SQLite opens is no obstacle.
        market.write_bytes(b"damaged" * 1000)
    assert not list(tmp_path.glob("*.restored*"))


@pytest.mark.parametrize("what", [[], ["--features", "base"], ["--labels", "l"]])
def test_export_writes_plain_rows(tmp_path, market, what):
    """CSV holds what the database gives; an existing file is not overwritten."""
    result = figures(
        "export", market, "rows.csv", "--symbols", "B", *what, cwd=tmp_path
    )
    table = pd.read_csv(tmp_path / "rows.csv", index_col=[0, 1])

    assert result["rows"] == len(table) == 100
    if "l" not in what:
        with Database(market) as db:
            assert table["close"].tolist() == db.bars("B")["close"].tolist()
    assert "exists" in refused(skatra("db", "export", market, "rows.csv", cwd=tmp_path))


def exported(path, *arguments, cwd):
    """Export and read back by (symbol, time)."""
    figures("export", path, "rows.csv", *arguments, cwd=cwd)
    table = pd.read_csv(cwd / "rows.csv")
    (cwd / "rows.csv").unlink()
    for name in {"time", "t0", "t1"} & set(table):
        table[name] = pd.to_datetime(table[name]).astype("datetime64[ns, UTC]")
    return table.set_index(list(table.columns[:2]))


@pytest.mark.parametrize("weights", [(), "A", "B", "AB", "C"])
def test_exported_labels_are_those_of_the_database(tmp_path, market, weights):
    """Whichever symbols have weights, or labels at all, every value has its column."""
    with Database(market) as db:
        db.write_bars(db.bars("A").droplevel(0), symbol="0 has bars only")
        for symbol in weights:
            rows = db.labels("l", symbols="A").droplevel(0).head(7)
            rows = pd.concat({symbol: rows}, names=["symbol"]).assign(weight=0.25)
            db.write_labels(rows, "l", replace=True)
        labels = db.labels("l")
    table = exported(market, "--labels", "l", cwd=tmp_path)

    assert ("weight" in table) == bool(weights)
    pd.testing.assert_frame_equal(
        table, labels, check_dtype=False, check_index_type=False
    )


def test_an_export_is_one_state_of_a_database_in_use(tmp_path, market):
    """A writer goes on between the symbols; two exports to one name are each whole."""
    symbols = [f"s{k:02}" for k in range(40)]
    days = pd.date_range("2024-01-01", periods=300, tz="UTC")
    index = pd.MultiIndex.from_product([symbols, days], names=["symbol", "time"])
    stop = threading.Event()

    def write(db):
        state = 0.0
        while not stop.is_set():
            state += 1
            db.write_features(pd.DataFrame({"x": state}, index=index), "state")

    with Database(market) as db, ThreadPoolExecutor(3) as threads:
        db.write_features(pd.DataFrame({"x": 0.0}, index=index), "state")
        writer = threads.submit(write, db)
        words = ("db", "export", market, "rows.csv", "--features", "state")
        try:
            both = [threads.submit(skatra, *words, cwd=tmp_path) for _ in range(2)]
            done = [export.result() for export in both]
        finally:
            stop.set()
        writer.result()
    codes = [export.returncode for export in done]
    table = pd.read_csv(tmp_path / "rows.csv")

    assert 0 in codes
    assert set(codes) <= {0, 2}
    assert len(table) == len(index)
    assert len(set(table["x"])) == 1
    assert not list(tmp_path.glob("*partial*"))


def test_symbols_to_export_are_named_as_one_likes(tmp_path, market):
    """After commas, with spaces, one by one; a comma may be part of a name."""
    with Database(market) as db:
        db.write_bars(db.bars("A").droplevel(0), symbol="A, B")
        db.write_bars(db.bars("A").droplevel(0), symbol="C")
    for given, wanted in (
        (["A,C"], {"A", "C"}),
        (["A, C"], {"A", "C"}),
        (["C ", "A"], {"A", "C"}),
        (["A, B"], {"A, B"}),
        (["B, A", "A, B"], {"A", "B", "A, B"}),
    ):
        options = [word for text in given for word in ("--symbols", text)]
        table = exported(market, *options, cwd=tmp_path)
        assert set(table.index.get_level_values(0)) == wanted
    assert "no 'X'" in refused(
        skatra("db", "export", market, "x.csv", "--symbols", "A, X", cwd=tmp_path)
    )


@pytest.mark.parametrize("compression", ["zlib", "none"])
def test_exported_features_are_what_was_packed(tmp_path, compression):
    """Read by SQLite alone from the rows, every number and time is the one written."""
    days = pd.date_range("2001-01-01 00:00:00.000000001", periods=4100, tz="UTC")
    index = pd.MultiIndex.from_product([["A", "B"], days], names=["symbol", "time"])
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "tick": np.round(rng.standard_normal(len(index)), 2),
            "noise": rng.standard_normal(len(index)) * 1e-300,
            "small": rng.standard_normal(len(index)).astype(np.float32),
        },
        index=index,
    )
    path = tmp_path / "x.db"
    with Database(path, create=True) as db:
        db.write_features(frame, "base", compression=compression)
        with db.pool.get_connection() as connection:
            (packed,) = connection.execute(
                "SELECT count(*) FROM feature_chunks WHERE dtype LIKE '%z'"
            ).fetchone()
        assert (packed > 0) == (compression == "zlib")
    figures("export", path, "rows.csv", "--features", "base", cwd=tmp_path)
    with (tmp_path / "rows.csv").open() as file:
        head, *lines = csv.reader(file)
    # SQLite's own way from text to numbers may miss the last bit.
    split = ((line[:2], line[2:]) for line in lines)
    rows = [(*keys, *map(float, values)) for keys, values in split]
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE TABLE rows (symbol TEXT, time TEXT, tick REAL, noise REAL, small REAL)"
    )
    connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?)", rows)
    stored = connection.execute("SELECT * FROM rows ORDER BY symbol, time").fetchall()
    connection.close()
    symbols, times, *columns = zip(*stored, strict=True)

    assert head == ["symbol", "time", "tick", "noise", "small"]
    assert pd.MultiIndex.from_arrays([symbols, pd.to_datetime(times)]).equals(index)
    for name, column in zip(frame.columns, columns, strict=True):
        values = np.array(column, dtype=frame[name].dtype)
        # SQLite keeps no sign of zero.
        np.testing.assert_array_equal(values, frame[name])


def test_mistakes_are_one_line(tmp_path, market):
    """A missing database, an unknown set: exit code 2 and the way out."""
    assert "absent.db" in refused(skatra("db", "info", "absent.db", cwd=tmp_path))
    message = refused(
        skatra("db", "export", market, "x.csv", "--features", "no", cwd=tmp_path)
    )
    assert "no feature set 'no'" in message
    assert not list(tmp_path.glob("*x.csv"))


@pytest.mark.parametrize(
    ("command", "copy"), [("backup", "copy.db"), ("export", "rows.csv")]
)
def test_full_disk_during_a_copy(tmp_path, market, command, copy):
    """A copy that does not fit leaves nothing behind, and says so."""
    (tmp_path / "small").mkdir()
    keep = ["sh", "-c", '"$@"; code=$?; ls -A small | grep . >&2; exit $code', "sh"]
    before = [*on_small_disk(tmp_path / "small", "8k"), *keep]
    done = skatra("db", command, market, f"small/{copy}", cwd=tmp_path, before=before)

    assert done.returncode == 5
    assert "disk full" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")


def test_help_is_quick():
    """``skatra db --help`` loads no pandas."""
    code = (
        "import sys; from skatra.cli._app import run; run(['db', '--help']); "
        "sys.exit('pandas' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False
    )
    assert done.returncode == 0
