"""What happens to files: odd names, no permission, damage, a full disk, old tables."""

import contextlib
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skatra.datasets import Database, get_db_pool, load_dataset
from skatra.datasets._schema import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION
from skatra.exceptions import (
    DatabaseCorruptError,
    DatabaseError,
    DatabaseNotFoundError,
    DiskFullError,
    PoolClosedError,
    SchemaVersionError,
)
from tests.small_disk import on_small_disk

ROOT = Path(__file__).parents[2]


def frame(n=400, value=1.0):
    """Return features of two symbols over two years."""
    days = pd.date_range("2020-06-01", periods=n, tz="UTC")
    index = pd.MultiIndex.from_product([["A", "B"], days], names=["symbol", "time"])
    x = value + np.arange(len(index))
    return pd.DataFrame({"x": x, "y": -x}, index=index)


def bars(n=400):
    """Return bars of two symbols."""
    columns = ["open", "high", "low", "close", "volume"]
    return pd.DataFrame(1.0, index=frame(n).index, columns=columns)


@pytest.fixture
def path(tmp_path):
    """Give a database with bars and features, closed."""
    path = tmp_path / "x.db"
    with Database(path, create=True) as db:
        db.write_bars(bars())
        db.write_features(frame(), "base")
    return path


@contextlib.contextmanager
def sqlite(path):
    """Open the file as another program would."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        yield connection
        connection.commit()


@pytest.mark.parametrize(
    "name",
    [
        "a?mode=ro",
        "a%3Fb.db",
        "a#b.db",
        "file:x.db",
        "with space.db",
        "é☃.db",
        ":memory:x",
    ],
)
def test_a_name_means_the_file_of_that_name(tmp_path, monkeypatch, name):
    """No character of a path has a meaning of its own, relative or absolute."""
    monkeypatch.chdir(tmp_path)
    with Database(name, create=True) as db:
        db.write_run("r", {})
    with Database(tmp_path / name) as db:
        assert len(db.runs()) == 1

    names = {entry.name for entry in tmp_path.iterdir()}
    assert {name, f"{name}-lock"} <= names
    assert names <= {name, *(f"{name}-{kind}" for kind in ("lock", "shm", "wal"))}


def test_what_is_no_database_is_named(tmp_path, path):
    """Each wrong path has its own sentence and way out."""
    (tmp_path / "text.db").write_text("time,open,high\n" * 100)
    (tmp_path / "empty.db").touch()
    with sqlite(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE t (x)")

    with pytest.raises(DatabaseNotFoundError, match="create=True"):
        Database(tmp_path / "no.db")
    with pytest.raises(FileNotFoundError):
        Database(path / "x.db")
    with pytest.raises(DatabaseError, match="directory does not exist"):
        Database(tmp_path / "no" / "x.db", create=True)
    with pytest.raises(DatabaseError, match="is a directory"):
        Database(tmp_path, create=True)
    with pytest.raises(DatabaseCorruptError, match="not an SQLite database"):
        Database(tmp_path / "text.db")
    with pytest.raises(DatabaseError, match="empty file"):
        Database(tmp_path / "empty.db")
    with pytest.raises(DatabaseError, match="another program"):
        Database(tmp_path / "other.db", create=True)
    with pytest.raises(ValueError, match="contradict"):
        Database(path, create=True, readonly=True)
    assert Database(tmp_path / "empty.db", create=True).check() == []


def test_a_database_travels_as_its_path(path):
    """Pickling opens again by path; closing one object leaves others open."""
    db = Database(path, readonly=True)
    other = pickle.loads(pickle.dumps(db))  # noqa: S301 - our own bytes
    db.close()

    assert other.readonly
    assert other.symbols() == ["A", "B"]
    with pytest.raises(PoolClosedError, match="Open it again"):
        db.symbols()
    with pytest.raises(DatabaseError, match="readonly=True"):
        other.write_run("r", {})


PERMISSION_STORY = """
import os, sys
from skatra.datasets import Database
from skatra.exceptions import DatabaseError
path, case = sys.argv[1:]
if os.geteuid() == 0:
    os.setegid(65534)
    os.seteuid(65534)
try:
    with Database(path, readonly="readonly" in case) as db:
        print(len(db.bars()))
        db.write_run("r", {})
except DatabaseError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "case", "expected"),
    [
        (0o444, 0o777, "file", ["800", "read-only for this user", "chmod"]),
        (0o444, 0o777, "readonly", ["800", "opened with readonly=True"]),
        (0o444, 0o555, "folder", ["directory of", "is read-only for this user"]),
        (0o000, 0o777, "secret", ["DatabaseError", "cannot be opened"]),
    ],
)
def test_missing_permissions_are_named(path, file_mode, folder_mode, case, expected):
    """A read-only file can be read; what cannot be done says why."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "x.db")
        shutil.copy(path, target)
        target.chmod(file_mode)
        Path(folder).chmod(folder_mode)
        output = subprocess.run(
            [sys.executable, "-c", PERMISSION_STORY, str(target), case],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        Path(folder).chmod(0o777)

    for part in expected:
        assert part in output


def test_a_reader_recovers_what_a_killed_writer_left(tmp_path):
    """A hot rollback journal is undone, although readers cannot write."""
    made, path = tmp_path / "made.db", tmp_path / "x.db"
    with contextlib.closing(sqlite3.connect(made, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 3000,)] * 300)
        shutil.copy(made, path)
        shutil.copy(f"{made}-journal", f"{path}-journal")

    with get_db_pool(path) as pool, pool.get_connection() as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_damaged_header_is_named(path):
    """The first bytes gone: no database any more."""
    with path.open("r+b") as file:
        file.write(b"\0" * 50)

    with pytest.raises(DatabaseCorruptError, match="first page is damaged"):
        Database(path)


def test_a_damaged_page_is_found(path):
    """Garbage inside the file: check says so instead of failing."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(40_000))

    assert Database(path).check()


def test_a_flipped_bit_in_a_chunk_is_found(path):
    """SQLite sees nothing; our checksum names set, symbol, column and time."""
    with sqlite(path) as connection:
        data = bytearray(
            connection.execute(
                "SELECT data FROM feature_chunks WHERE col = 2 "
                "AND sid = (SELECT sid FROM symbols WHERE symbol = 'B')"
            ).fetchone()[0]
        )
    whole = path.read_bytes()
    position = whole.index(bytes(data[:200])) + 100
    damaged = bytearray(whole)
    damaged[position] ^= 1
    path.write_bytes(damaged)
    db = Database(path)

    with pytest.raises(
        DatabaseCorruptError, match=r"set 'base', symbol 'B', column 'y'"
    ):
        db.features("base")
    assert db.features("base", columns=["x"]).shape == (800, 1)
    assert ["checksum" in problem for problem in db.check()] == [True]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE feature_chunks SET crc32 = crc32 + 1 WHERE col = 0",
        "UPDATE feature_chunks SET crc32 = crc32 + 1 WHERE col = 2",
        "DELETE FROM feature_chunks WHERE col = 1",
        "UPDATE label_chunks SET crc32 = crc32 + 1 WHERE col = 1",
        "DELETE FROM label_chunks WHERE col = 2",
    ],
)
def test_the_advice_for_a_damaged_chunk_is_true(path, damage):
    """Writing the symbol's rows again with replace=True, as the message says."""
    db = Database(path)
    features = db.features("base")
    label = {"ret": 0.5, "label": 1, "side": 1, "touched": "time"}
    labels = features[[]].assign(t1=features.index.get_level_values(1), **label)
    db.write_labels(labels, "triple_barrier")
    before = load_dataset(db)
    with sqlite(path) as connection:
        connection.execute(damage)
    assert all("again with replace=True" in problem for problem in db.check())
    with pytest.raises(DatabaseCorruptError, match="again with replace=True"):
        load_dataset(db)

    db.write_features(features, "base", replace=True)
    db.write_labels(labels, "triple_barrier", replace=True)
    assert db.check() == []
    pd.testing.assert_frame_equal(load_dataset(db).data, before.data)


def test_a_chunk_in_the_wrong_place_is_found(path):
    """A chunk that was moved to another column fails, although its bytes are whole."""
    with sqlite(path) as connection:
        connection.execute("UPDATE feature_chunks SET col = -col WHERE col > 0")
        connection.execute("UPDATE feature_chunks SET col = 3 + col WHERE col < 0")

    with pytest.raises(DatabaseCorruptError, match="checksum"):
        Database(path).features("base")


def test_broken_rules_are_found(path):
    """Rows that other programs spoiled are listed one rule at a time."""
    with sqlite(path) as connection:
        connection.execute("UPDATE bars SET low = 2.0 WHERE sid = 1")
        connection.execute("DELETE FROM feature_chunks WHERE col = 1 AND sid = 1")
        connection.execute("DELETE FROM symbols WHERE sid = 2")
    problems = "\n".join(Database(path).check())

    for part in ("400 bars have high < low", "columns are missing", "has no symbols"):
        assert part in problems


def room(pool, pages):
    """Let the file grow by some pages; no pool sees this cursor, so it stays so."""
    with pool.get_connection(readonly=False) as connection:
        cursor = sqlite3.Cursor(connection)
        now = cursor.execute("PRAGMA page_count").fetchone()[0]
        cursor.execute(f"PRAGMA max_page_count = {now + pages}").fetchone()
        cursor.close()


@pytest.mark.parametrize("what", ["bars", "features", "labels", "trades", "run"])
def test_a_full_disk_keeps_nothing_of_the_write(path, what):
    """SQLITE_FULL in the middle: all before is there, nothing of this write is."""
    db = Database(path)
    before = db.bars(), db.features("base"), db.info()["rows"]
    big = frame(30_000).loc[["A"]]
    times = big.index.get_level_values(1)
    label = {"ret": 0.1, "label": 1, "side": 1, "touched": "time"}
    numbers = dict.fromkeys(
        ["quantity", "entry_price", "exit_price", "pnl", "ret"], 1.0
    )
    writes = {
        "bars": lambda: db.write_bars(bars(20_000)),
        "features": lambda: db.write_features(frame(60_000), "base"),
        "labels": lambda: db.write_labels(big[[]].assign(t1=times, **label), "l"),
        "trades": lambda: db.write_trades(
            pd.DataFrame(
                {"symbol": "Z", "opened_at": times, "closed_at": times, "side": 1}
                | numbers
            )
        ),
        "run": lambda: db.write_run("r", {"text": "x" * 10**6}),
    }
    room(db.pool, 10)

    with pytest.raises(
        DiskFullError, match=r"disk full .*nothing of this write.*again"
    ):
        writes[what]()
    with pytest.raises(OSError, match="disk full"):
        writes[what]()
    pd.testing.assert_frame_equal(db.bars(), before[0])
    pd.testing.assert_frame_equal(db.features("base"), before[1])
    assert db.info()["rows"] == before[2]
    assert db.symbols() == ["A", "B"]
    assert db.check() == []
    room(db.pool, 10**9)
    writes[what]()
    assert db.check() == []


def test_a_disk_that_is_really_full(tmp_path):
    """See full_disk_story: bars to settlements, backup and vacuum on a tmpfs."""
    command = [sys.executable, "-m", "tests.datasets.full_disk_story"]
    done = subprocess.run(
        [*on_small_disk(tmp_path, "32m"), *command, str(tmp_path / "x.db")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_a_newer_file_is_refused(path):
    """Nobody can know what a later version meant."""
    with sqlite(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = path.read_bytes()

    with pytest.raises(SchemaVersionError, match=r"newer skatra.*pip install"):
        Database(path)
    assert path.read_bytes() == before


def test_tables_that_another_process_upgraded_are_not_written(path):
    """A process that knows only the old ones is told to start again."""
    with Database(path) as db, db.pool.get_connection() as reader:
        db.write_run("before", {})
        with sqlite(path) as connection:
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        with pytest.raises(SchemaVersionError, match=r"7 now.*6 when.*Start this"):
            db.write_run("after", {})
        with sqlite(path) as connection:
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        assert reader.execute("SELECT run_id FROM runs").fetchall() == [("before",)]
        db.write_run("again", {})
        assert list(db.runs().index) == ["before", "again"]


def version_1(path):
    """Make a file as the first version did, with one label."""
    with sqlite(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for statement in MIGRATIONS[0]:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("INSERT INTO symbols VALUES (1, 'A')")
        connection.execute("INSERT INTO label_sets VALUES (1, 'old', NULL)")
        connection.execute("INSERT INTO labels VALUES (1, 1, 5, 6, 0.5, 1, 1, 'time')")


def test_an_older_file_is_upgraded_after_a_backup(tmp_path):
    """Rows survive, new tables work, and the file as it was stands beside it."""
    path = tmp_path / "x.db"
    version_1(path)
    with pytest.raises(SchemaVersionError, match="readonly=False"):
        Database(path, readonly=True)
    db = Database(path)

    assert db.labels("old")["ret"].tolist() == [0.5]
    assert db.trades().empty
    assert db.check() == []
    assert db.info()["schema_version"] == SCHEMA_VERSION
    with sqlite(tmp_path / "x.db.v1.bak") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM labels").fetchone() == (1,)
    db.close()
    Database(path).close()
    assert len(list(tmp_path.glob("*.bak*"))) == 1


def test_an_upgrade_without_space_changes_nothing(tmp_path):
    """The transaction of a migration is all or nothing, too."""
    path = tmp_path / "x.db"
    version_1(path)
    pool = get_db_pool(path)
    room(pool, 0)

    with pytest.raises(DiskFullError):
        Database(path)
    with pool.get_connection() as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        tables = connection.execute("SELECT name FROM sqlite_schema").fetchall()
        assert ("trades",) not in tables


def test_readers_of_one_call_see_one_state(path):
    """A frame never mixes two states of the file."""
    db, n = Database(path), 20
    seen = []
    for value in range(n):
        db.write_features(frame(value=float(value)), "base")
        values = db.features("base")
        seen.append(np.unique(values["x"].to_numpy() + values["y"].to_numpy()))

    assert all(list(values) == [0.0] for values in seen)
