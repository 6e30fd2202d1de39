"""Laws of what a scrape says of a database: the last reading, and whether it held."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import wait
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skatra import monitoring
from skatra.datasets import Database
from skatra.monitoring import _database
from skatra.monitoring._database import DEADLINE, DatabaseReader, _opened
from skatra.monitoring._render import Page, pool_rows


@pytest.fixture
def path(tmp_path):
    """Return a database of some pages of bars, with monitoring on."""
    path = tmp_path / "x.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bars (sid, ts, note)")
        connection.execute("CREATE TABLE symbols (sid)")
        rows = [(1, number, "x" * 200) for number in range(2000)]
        connection.executemany("INSERT INTO bars VALUES (?, ?, ?)", rows)
        connection.commit()
    monitoring.enable()
    yield path
    monitoring.disable()


def slow_reader(path, seconds):
    """Read a database from a disk that needs so long."""

    @contextlib.contextmanager
    def borrow():
        time.sleep(seconds)
        with _opened(path) as connection:
            yield connection

    return DatabaseReader(path, borrow)


@pytest.fixture
def slow(path):
    """Read the database from a disk that needs more than the deadline."""
    reader = slow_reader(path, 3 * DEADLINE)
    yield reader
    reader.close()


def success(reader):
    """Scrape, and return what it says of the reading."""
    return reader.read()["db_collect_success"][0][1]


def scrapes(reader, n=4):
    """Return what scrapes say, each after the readings of the last have ended."""
    found = []
    for _ in range(n):
        found.append(success(reader))
        wait([reader._pending, reader._counting], 20)
    return found


def errors():
    """Return how many errors of the exporter were counted."""
    lines = monitoring.render().splitlines()
    return sum(
        float(line.split()[-1])
        for line in lines
        if line.startswith('skatra_errors_total{component="exporter"')
    )


def test_a_slow_disk_is_a_sound_one(slow):
    """A reading that ended after its scrape is the next one's."""
    assert scrapes(slow) == [0.0, 1.0, 1.0, 1.0]
    found = slow.read()
    assert (("x.db", "bars"), 2000.0) in found["db_table_rows"]
    assert found["db_collect_duration_seconds"][0][1] >= 3 * DEADLINE


def test_a_count_that_fails_late_is_a_failure_until_one_succeeds(
    slow, path, monkeypatch
):
    """Damage in a table, which only a count meets, shows however long it takes."""
    monkeypatch.setattr(_database, "COUNT_EVERY", 0.0)
    assert scrapes(slow)[1:] == [1.0] * 3
    sound, before = path.read_bytes(), errors()
    path.write_bytes(sound[:8192] + os.urandom(len(sound) - 8192))

    assert scrapes(slow, 5)[2:] == [0.0] * 3
    assert "db_table_rows" not in slow.read()
    assert errors() > before
    path.write_bytes(sound)
    assert scrapes(slow, 5)[2:] == [1.0] * 3


def test_the_time_of_a_reading_that_failed_shows(slow, path):
    """The last reading is the last one, not the last that succeeded."""
    path.write_bytes(os.urandom(8192))
    scrapes(slow, 2)

    assert slow.read()["db_collect_duration_seconds"][0][1] >= 3 * DEADLINE


def test_a_disk_that_hangs_holds_up_no_scrape(path, monkeypatch):
    """Only the reader's threads touch it; what was read fades."""
    reader = DatabaseReader(path)
    assert scrapes(reader, 2)[1] == 1.0
    stat, back = os.stat, threading.Event()

    def hanging(file, *arguments, **options):
        if "x.db" in str(file):
            back.wait(20)
        return stat(file, *arguments, **options)

    monkeypatch.setattr(os, "stat", hanging)
    monkeypatch.setattr(_database, "FRESH", 10 * DEADLINE)
    start = time.monotonic()
    found = [reader.read() for _ in range(3)]
    assert time.monotonic() - start < 3 * DEADLINE + 1
    time.sleep(10 * DEADLINE)
    faded = reader.read()
    back.set()
    monkeypatch.undo()

    assert all(rows["db_size_bytes"] for rows in (*found, faded))
    assert faded["db_collect_success"][0][1] == 0.0
    assert faded["db_collect_duration_seconds"][0][1] >= 10 * DEADLINE
    assert scrapes(reader, 2)[1] == 1.0
    reader.close()


READ_BY_ANOTHER = """
import os, sys, tempfile, time
import sqlite3
from pathlib import Path
from skatra import monitoring
from skatra.datasets import Database
from skatra.monitoring._database import DatabaseReader, _opened

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "x.db")
    Database(path, create=True).close()
    path.chmod(0o644)
    Path(folder).chmod(0o555)
    monitoring.enable()
    child = os.fork()
    if child == 0:
        writer = path.open("r+b")
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        reader = DatabaseReader(path)
        for _ in range(100):
            found = reader.read()
            if found["db_collect_success"][0][1]:
                break
            time.sleep(0.05)
        known = (("x.db", "runs"), 0.0) in found.get("db_table_rows", [])
        noticed = False
        try:
            with _opened(path) as connection:
                connection.execute("SELECT * FROM runs").fetchall()
                writer.write(writer.read(100))
                writer.flush()
        except sqlite3.OperationalError as error:
            noticed = "changed while" in str(error)
        os._exit(not (known and noticed))
    status = os.waitpid(child, 0)[1]
    Path(folder).chmod(0o755)
sys.exit(status != 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and its permissions")
def test_a_database_at_rest_is_read_by_who_may_not_write():
    """Its folder is closed to the exporter, which cannot make the log's index.

    What it read is not believed if the file changed meanwhile: it took no lock.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ_BY_ANOTHER], check=False
    )

    assert done.returncode == 0


@pytest.fixture
def linked(tmp_path_factory):
    """Return a link to a database whose log holds rows that the file lacks."""
    elsewhere, folder = (tmp_path_factory.mktemp(name) for name in ("data", "links"))
    path, link = elsewhere / "real.db", folder / "x.db"
    with contextlib.closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("PRAGMA wal_autocheckpoint=0")
        writer.execute("CREATE TABLE bars (sid, ts)")
        writer.execute("CREATE TABLE symbols (sid)")
        writer.commit()
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        writer.executemany("INSERT INTO bars VALUES (1, ?)", [(n,) for n in range(50)])
        writer.commit()
        link.symlink_to(path)
        monitoring.enable()
        yield link, path
    monitoring.disable()


def test_a_link_says_what_its_file_says(linked, monkeypatch):
    """The log, which holds the newest rows, is beside the file, not the link."""
    link, path = linked
    disks = {link.parent: 1, path.parent: 2}
    used = shutil.disk_usage("/")._replace
    monkeypatch.setattr(shutil, "disk_usage", lambda p: used(free=disks[Path(p)]))
    reader = DatabaseReader(link)
    scrapes(reader, 2)
    found = reader.read()
    log = path.with_name("real.db-wal").stat().st_size

    assert found["db_collect_success"] == [(("x.db",), 1.0)]
    assert (("x.db", "bars"), 50.0) in found["db_table_rows"]
    assert found["db_wal_size_bytes"] == [(("x.db",), float(log))]
    assert log > 0
    assert found["db_filesystem_free_bytes"] == [(("x.db",), 2.0)]


LINKED_FOR_ANOTHER = """
import os, sqlite3, sys
from pathlib import Path
from skatra.monitoring._database import _opened

if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    with _opened(Path(sys.argv[1])) as connection:
        print(connection.execute("SELECT count(*) FROM bars").fetchone()[0])
except sqlite3.OperationalError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs Unix and its permissions")
def test_a_link_to_a_database_in_use_is_never_read_without_its_log(linked):
    """Where the log may not be read, that is an error: the file lacks its rows."""
    link, path = linked
    for folder in (link.parent, path.parent):
        for above in (folder, *folder.parents[:2]):
            above.chmod(0o755)
    path.with_name("real.db-shm").chmod(0)
    path.with_name("real.db-wal").chmod(0)
    path.parent.chmod(0o555)
    command = [sys.executable, "-W", "ignore", "-c", LINKED_FOR_ANOTHER, str(link)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    path.parent.chmod(0o755)

    assert "unable to open database file" in done.stdout


def test_a_missing_database_is_one_error_a_scrape(tmp_path):
    """What fails for the same reason is not tried."""
    monitoring.enable()
    reader, before = DatabaseReader(tmp_path / "absent.db"), errors()
    found = scrapes(reader, 10)
    monitoring.disable()

    assert found == [0.0] * 10
    assert errors() - before == 10


def test_databases_of_a_page_share_one_deadline(path):
    """A page is there before the disk answers, however many wait for it.

    One deadline for each would be twice as long as the disk needs.
    """
    n_readers, answered = 80, threading.Event()
    disk = threading.Timer(n_readers / 2 * DEADLINE, answered.set)

    @contextlib.contextmanager
    def borrow():
        answered.wait()
        with _opened(path) as connection:
            yield connection

    page = Page([DatabaseReader(path, borrow) for _ in range(n_readers)])
    disk.start()
    page.render()
    assert not answered.is_set()
    disk.cancel()
    answered.set()


def test_without_a_thread_the_reading_has_failed(path, monkeypatch):
    """The page is served all the same, and the next scrape tries again."""

    def refuse(_):
        raise RuntimeError("can't start new thread")

    reader = DatabaseReader(path)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert scrapes(reader, 2) == [0.0, 0.0]
    assert scrapes(reader, 2)[1] == 1.0


HANGS = """
import contextlib, sys, time
from skatra.monitoring._database import DatabaseReader

@contextlib.contextmanager
def borrow():
    time.sleep(60)
    yield

print(DatabaseReader(sys.argv[1], borrow).read()["db_collect_success"][0][1])
"""


def test_a_disk_that_hangs_holds_up_no_end_of_the_process(path):
    """Nothing waits for a reading once nobody can scrape it."""
    command = [sys.executable, "-W", "ignore", "-c", HANGS, str(path)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=40)

    assert done.stdout.strip() == b"0.0"


STAKES = st.sampled_from([-0.2, -1e-9, 0.0, 1e-9, 0.3])
RETURNS = st.none() | st.sampled_from([-0.02, -1e-12, 0.0, 1e-12, 0.01])


@settings(max_examples=20)
@given(st.lists(st.tuples(STAKES, RETURNS), min_size=1, max_size=30))
def test_stored_predictions_are_what_became_of_them(bets):
    """Each is in one state; only money that was staked is won or lost."""
    expected = Counter(
        "open"
        if ret is None
        else "no_stake"
        if stake == 0
        else "won"
        if ret and (ret > 0) == (stake > 0)
        else "lost"
        for stake, ret in bets
    )
    t0 = pd.date_range("2026-01-05", periods=len(bets), freq="D", tz="UTC")
    index = pd.MultiIndex.from_product([["A"], t0], names=["symbol", "t0"])
    said = pd.DataFrame({"value": 0.5, "position": [b[0] for b in bets]}, index=index)
    became = pd.DataFrame(
        {"t1": t0 + pd.Timedelta("1D"), "ret": [b[1] for b in bets]}, index=index
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.db")
        with Database(path, create=True) as db:
            db.write_predictions(said, "run")
            closed = became[became["ret"].notna()].astype({"ret": float})
            if len(closed):
                db.settle_predictions(closed, "run")
        reader = DatabaseReader(path)
        with _opened(path) as connection:
            found = reader._count(connection)["db_predictions"]
        reader.close()

    assert {labels[2]: value for labels, value in found} == {
        state: float(expected[state]) for state in ("open", "no_stake", "won", "lost")
    }


def test_more_databases_than_the_label_may_have_are_refused(tmp_path):
    """Their gauges cannot share "other", and more series are more than was said."""
    paths = [tmp_path / f"{number}.db" for number in range(11)]
    with pytest.raises(ValueError, match="at most 10 databases"):
        monitoring.serve_metrics(port=0, databases=paths)


def test_pools_beyond_the_label_share_other(tmp_path):
    """Their connections add up; the names are as many as was said."""
    opened = [
        Database(tmp_path / f"pool{number:02}.db", create=True) for number in range(13)
    ]
    for db in opened:
        db.runs()
    found = _render_pools()
    for db in opened:
        db.close()

    assert len(found) <= 11
    assert found["other"] >= 3 * min(found.values())


def _render_pools():
    rows = pool_rows()["db_pool_connections_max"]
    return {labels[0]: value for labels, value in rows}
