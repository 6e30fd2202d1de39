"""Transactions over several writes, copies of a database in use, upkeep."""

import asyncio
import contextlib
import errno
import gc
import itertools
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

from skatra.datasets import Database, _backup, make_edge_bars, restore_backup
from skatra.datasets._connections import open_connection
from skatra.datasets._file_lock import FileLock
from skatra.exceptions import BarsError, DatabaseCorruptError, DatabaseError
from skatra.utils import observation
from tests.datasets.scratch import as_version_5


@pytest.fixture
def db(tmp_path):
    """Give a database with some bars."""
    with Database(tmp_path / "x.db", create=True) as db:
        db.write_bars(make_edge_bars(50))
        yield db


def one_trade(symbol):
    """Return a trade that was closed."""
    day = pd.DatetimeIndex(["2024-01-01"], tz="UTC")
    numbers = dict.fromkeys(("quantity", "entry_price", "exit_price", "pnl"), 1.0)
    times = {"opened_at": day, "closed_at": day}
    return pd.DataFrame({"symbol": symbol, "side": 1, "ret": 0.1} | numbers | times)


def two_runs(db, error=None):
    """Write two runs in one transaction, and perhaps fail."""
    with db.transaction():
        db.write_run("a", {})
        assert list(db.runs().index) == ["a"]
        db.write_run("b", {})
        if error is not None:
            raise error


def test_a_transaction_is_kept_as_a_whole_or_not_at_all(db):
    """Several writes commit together; an error undoes all of them."""
    with pytest.raises(KeyError):
        two_runs(db, KeyError())
    assert db.runs().empty
    two_runs(db)
    assert list(db.runs().index) == ["a", "b"]


def test_others_see_a_transaction_when_it_has_ended(db):
    """Readers of other threads see the state before it, without waiting."""
    seen = []
    with db.transaction():
        db.write_run("a", {})
        thread = threading.Thread(target=lambda: seen.append(len(db.runs())))
        thread.start()
        thread.join(20)
    assert seen == [0]


def test_a_failed_write_inside_a_transaction_leaves_nothing(db):
    """If its error is caught, the rest of the block is kept."""
    bars = make_edge_bars(10, symbols=("NEW",))
    with db.transaction(durable=True) as connection:
        db.write_run("a", {})
        with pytest.raises(BarsError):
            db.write_bars(bars.iloc[::-1])
        with pytest.raises(TypeError):
            db.write_run("b", "no dict")
        connection.execute("UPDATE runs SET card = '{\"x\": 1}'")
        with pytest.raises(DatabaseError, match="inside a transaction"):
            db.transaction().__enter__()
    assert db.runs()["card"].tolist() == [{"x": 1}]
    assert db.symbols() == ["EDGE"]
    with (
        Database(db.path, readonly=True) as reader,
        pytest.raises(DatabaseError, match="readonly=True"),
        reader.transaction(),
    ):
        pass


def test_a_transaction_belongs_to_its_task(db):
    """No other coroutine's write is a part of it, nor lost with it; its own are."""

    async def write(name):
        db.write_run(name, {})

    async def fails(inside, tried):
        with db.transaction():
            db.write_run("lost", {})
            inside.set()
            await tried.wait()
            raise ValueError

    async def other(inside, tried):
        await inside.wait()
        try:
            with pytest.raises(DatabaseError, match="inside a write of the same"):
                db.write_run("refused", {})
        finally:
            tried.set()

    async def main():
        events = asyncio.Event(), asyncio.Event()
        results = await asyncio.gather(
            other(*events), fails(*events), return_exceptions=True
        )
        assert list(map(type, results)) == [type(None), ValueError]
        with db.transaction():
            await asyncio.gather(write("a"), write("b"))
            late = asyncio.create_task(write("c"))
        await late

    asyncio.run(main())
    assert list(db.runs().index) == ["a", "b", "c"]


def test_what_a_task_was_told_to_be_on_the_disk_is_there(db):
    """A durable write is never a part of another task's block, which may undo it."""
    outcomes, trade = [], one_trade("waits")

    async def fill(name):
        await asyncio.sleep(0)
        try:
            db.write_trades(one_trade(name))
        except DatabaseError as error:
            assert "another task's transaction" in str(error)  # noqa: PT017
        else:
            outcomes.append(name)

    async def main():
        with contextlib.suppress(KeyError), db.transaction():
            db.write_run("undone", {})
            await asyncio.gather(fill("A"), fill("B"))
            late = asyncio.create_task(fill("late"))
            waits = asyncio.create_task(asyncio.to_thread(db.write_trades, trade))
            await asyncio.sleep(0.1)
            raise KeyError
        await asyncio.gather(late, waits)
        with db.transaction():
            await fill("C")

    asyncio.run(main())
    with db.transaction():
        asyncio.run(fill("D"))
    assert outcomes == ["C", "D"]
    assert sorted(db.trades()["symbol"]) == ["C", "D", "waits"]
    assert db.runs().empty


def test_a_transaction_may_end_in_another_thread(db):
    """As that of a generator that is closed there; its thread goes on to write."""

    def block():
        with db.transaction():
            db.write_run("undone", {})
            yield

    generator = block()
    next(generator)
    with ThreadPoolExecutor(1) as threads:
        threads.submit(generator.close).result()
    db.write_run("kept", {})
    assert list(db.runs().index) == ["kept"]


def test_a_database_open_in_this_process_is_not_replaced(db, tmp_path):
    """Neither by its own backup nor by another; nothing is left of the attempt."""
    copy = db.backup(tmp_path / "copy.db")
    with pytest.raises(DatabaseError, match="open in this process"):
        restore_backup(copy, db.path)
    db.write_run("kept", {})
    new = restore_backup(copy, tmp_path / "new.db")
    with Database(new) as other:
        assert other.check() == db.check() == []
        assert other.runs().empty
    assert not list(tmp_path.glob("*.restored*"))


KILLED = """
import os, sys
from pathlib import Path
from skatra.datasets import Database, restore_backup
path, step = sys.argv[1:]
db = Database(path)
copy = db.backup(path + ".copy")
db.write_run("in the log", {})
if step == "write":
    os._exit(1)
"""
STOPPED = """
import os, sys
from pathlib import Path
from skatra.datasets import restore_backup
path, step = sys.argv[1:]
def die(self, target, do=getattr(Path, step.split()[1])):
    if step.startswith("after"):
        do(self, target)
    os._exit(9)
setattr(Path, step.split()[1], die)
restore_backup(path + ".copy", path)
"""


@pytest.fixture
def in_log(tmp_path):
    """Give a database whose last commit is in the log of a killed process."""
    path = tmp_path / "market.db"
    with Database(path, create=True) as db:
        db.write_bars(make_edge_bars(50))
    code = [sys.executable, "-c", KILLED, path, "write"]
    assert subprocess.run(code, check=False).returncode == 1
    assert path.with_name("market.db-wal").stat().st_size > 0
    return path


def whole(path):
    """Return the runs of a sound database."""
    with Database(path) as db:
        assert db.check() == []
        assert len(db.bars()) == 50
        return list(db.runs().index)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.EBUSY, errno.EIO])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_restore_that_fails_keeps_what_is_in_the_log(
    in_log, monkeypatch, number, damaged
):
    """The last commits are in the database or its log as before."""
    path, copy = in_log, in_log.with_name("market.db.copy")
    log = path.with_name("market.db-wal")
    if damaged:
        path.write_bytes(b"damaged" * 1000)
    before = path.read_bytes(), log.read_bytes()

    def refuse(*_):
        raise OSError(number, "no")

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "replace", refuse)
        error = OSError if number == errno.EIO else DatabaseError
        text = "no" if number == errno.EIO else r"cannot be replaced \(no\); it is as"
        with pytest.raises(error, match=text):
            restore_backup(copy, path)
    if damaged:
        assert (path.read_bytes(), log.read_bytes()) == before
    else:
        assert whole(path) == ["in the log"]
    assert not list(path.parent.glob("*.restored*"))
    restore_backup(copy, path)
    assert whole(path) == []


@pytest.mark.parametrize(
    ("step", "runs"),
    [
        ("before rename", ["in the log"]),
        ("before replace", ["in the log"]),
        ("after replace", []),
    ],
)
def test_a_killed_restore_leaves_the_old_or_the_new_database(in_log, step, runs):
    """Never a file without its log, nor a file with the other's."""
    code = [sys.executable, "-c", STOPPED, in_log, step]
    assert subprocess.run(code, check=False).returncode == 9
    assert whole(in_log) == runs
    restore_backup(in_log.with_name("market.db.copy"), in_log)
    assert whole(in_log) == []


def test_an_older_backup_is_upgraded_on_its_way(db, tmp_path):
    """The backup stays as it was, with nothing beside it; so does the mode."""
    old = db.backup(tmp_path / "old.db")
    as_version_5(old)
    before, target = old.read_bytes(), tmp_path / "market.db"
    target.write_bytes(b"damaged" * 1000)
    target.chmod(0o600)
    there = set(tmp_path.iterdir())
    restore_backup(old, target)
    assert old.read_bytes() == before
    assert set(tmp_path.iterdir()) - there == {tmp_path / "market.db-lock"}
    assert target.stat().st_mode & 0o777 == 0o600
    assert whole(target) == []


@pytest.mark.skipif(os.name == "nt", reason="no unshare")
@pytest.mark.parametrize("log", [False, True])
def test_a_backup_is_restored_from_a_read_only_disk(in_log, tmp_path, log):
    """Also one with the log of a killed process, which is played into the copy."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for path in [in_log, in_log.with_name("market.db-wal")] if log else [in_log]:
        shutil.copyfile(path, shelf / path.name)
    script = (
        'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && '
        '! touch "$1/x" 2>/dev/null && exec "$2" -c "$3" "$1/market.db" "$4"'
    )
    code = (
        "import sys; from skatra.datasets import restore_backup as r; r(*sys.argv[1:])"
    )
    words = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh"]
    new = tmp_path / "new.db"
    subprocess.run([*words, shelf, sys.executable, code, new], check=True)
    assert whole(new) == (["in the log"] if log else [])
    assert len(list(shelf.iterdir())) == 1 + log


def test_a_caught_error_does_not_keep_a_database_open(db, tmp_path):
    """What is damaged can be restored by the process that noticed it."""
    copy, path = db.backup(tmp_path / "copy.db"), db.path
    db.close()
    bad = bytearray(path.read_bytes())
    bad[16384:] = b"x" * (len(bad) - 16384)
    path.write_bytes(bad)
    gc.disable()
    try:
        with contextlib.suppress(DatabaseCorruptError), Database(path) as broken:
            broken.bars()
        assert not [pool for pool in observation.pools if pool.path == path]
    finally:
        gc.enable()
    restore_backup(copy, path)
    assert whole(path) == []


def test_a_backup_is_one_state_of_a_database_in_use(db, tmp_path):
    """Writers go on; the copy holds all of some commits and nothing of the rest."""
    stop = threading.Event()

    def write():
        k = 0
        while not stop.is_set():
            with db.transaction():
                db.write_run(f"a{k}", {})
                db.write_run(f"b{k}", {})
            k += 1

    steps = []
    thread = threading.Thread(target=write)
    thread.start()
    try:
        copies = [
            db.backup(tmp_path / f"copy{k}.db", progress=lambda *s: steps.append(s))
            for k in range(5)
        ]
    finally:
        stop.set()
        thread.join(20)
    for path in copies:
        with Database(path) as copy:
            assert copy.check() == []
            assert len(copy.runs()) % 2 == 0
            pd.testing.assert_frame_equal(copy.bars(), db.bars())
    assert steps[-1][0] == steps[-1][1]
    assert list(tmp_path.glob("*.partial")) == []
    with pytest.raises(DatabaseError, match="exists already"):
        db.backup(copies[0])
    with pytest.raises(DatabaseError, match=r"directory of .* does not exist"):
        db.backup(tmp_path / "absent" / "copy.db")


def test_commits_never_put_a_backup_back(db, tmp_path, monkeypatch):
    """It copies each page of one state once, however many commits come between."""
    monkeypatch.setattr(_backup, "_PAGES", 1)
    left = []

    def commit(done, total):
        left.append(total - done)
        if len(left) == 99:
            raise StopIteration
        writer.submit(db.write_run, f"run {len(left)}", {}).result()

    with ThreadPoolExecutor(1) as writer:
        copied = db.backup(tmp_path / "copy.db", progress=commit)
    with Database(copied) as copy:
        assert copy.runs().empty
    assert len(left) > 9
    assert left == list(range(len(left) - 1, -1, -1))


def test_of_two_backups_to_one_name_one_is_refused(db, tmp_path):
    """The first copy that is complete keeps the name, from threads and processes."""
    target = tmp_path / "copy.db"
    code = "import sys; from skatra.datasets import Database as D; D(sys.argv[1])"
    other = [sys.executable, "-c", f"{code}.backup(sys.argv[2])", db.path, target]

    def overtake(*_):
        if not target.exists():
            subprocess.run(other, check=True)

    with pytest.raises(DatabaseError, match="exists already"):
        db.backup(target, progress=overtake)
    gate = threading.Barrier(4)

    def together(k):
        gate.wait()
        try:
            return db.backup(tmp_path / f"round{k // 4}.db")
        except DatabaseError as error:
            return str(error)

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(together, range(40)))
    for k in range(0, 40, 4):
        refused = [r for r in results[k : k + 4] if isinstance(r, str)]
        assert len(refused) == 3
        assert all("exists already" in message for message in refused)
        with Database(tmp_path / f"round{k // 4}.db") as copy:
            assert copy.check() == []
    assert list(tmp_path.glob("*.partial")) == []


def test_a_backup_spares_a_database_that_takes_its_name(db, tmp_path):
    """Whoever makes one is waited for, and keeps name, rows and log."""
    target, copied = tmp_path / "copy.db", threading.Event()
    log = tmp_path / "copy.db-wal"

    def progress(done, total):
        if done == total:
            copied.set()

    lock = FileLock(tmp_path / "copy.db-lock")
    assert lock.acquire(0)
    with ThreadPoolExecutor(1) as threads:
        backup = threads.submit(db.backup, target, progress=progress)
        assert copied.wait(20)
        other = open_connection(target, readonly=False, create=True)
        other.execute("CREATE TABLE t (x INTEGER) STRICT")
        before = log.read_bytes()
        lock.close()
        with pytest.raises(DatabaseError, match="exists already"):
            backup.result()
    assert log.read_bytes() == before
    assert other.execute("SELECT count(*) FROM t").fetchone() == (0,)
    other.close()
    assert list(tmp_path.glob("*.partial")) == []


def test_a_lock_that_its_holder_removed_is_made_anew(db, tmp_path):
    """A backup leaves no side file; who waited for that one excludes the others."""
    locks = [FileLock(tmp_path / "copy.db-lock") for _ in range(3)]
    assert locks[0].acquire(0)
    for bell in (None, threading.Event()):
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(locks[1].acquire, 20.0, "", bell)
            while "skatra-file-lock" not in {t.name for t in threading.enumerate()}:
                time.sleep(0.001)
            locks[0].path.unlink()
            locks[0].close()
            assert waiting.result()
        assert not locks[2].acquire(0)
        locks[:2] = locks[1::-1]
    locks[0].path.unlink()
    locks[0].close()
    db.backup(tmp_path / "copy.db")
    assert not locks[0].path.exists()


def test_a_lock_is_never_held_twice(tmp_path):
    """However often its holders remove the file on which somebody waits."""
    locks = [FileLock(tmp_path / "x-lock") for _ in range(6)]
    assert locks[0].acquire(0)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(FileLock(locks[0].path).acquire, 1.0)
        for old, new in itertools.pairwise(locks):
            time.sleep(0.1)  # for the other to wait for the file of now
            old.path.unlink()
            assert new.acquire(0)
            old.close()
        assert not waiting.result()
    locks[-1].close()
    assert locks[0].acquire(20.0)
    locks[0].close()


def test_a_backup_ignores_the_log_of_an_earlier_file_of_its_name(db, tmp_path):
    """What a killed writer left beside a removed copy is not played into a new one."""
    first, copy = db.backup(tmp_path / "first.db"), tmp_path / "copy.db"
    with Database(first) as old:
        old.write_run("stale", {})
        log = first.with_name("first.db-wal").read_bytes()
    copy.with_name("copy.db-wal").write_bytes(log)
    with Database(db.backup(copy)) as new:
        assert new.runs().empty
        assert new.check() == []


def test_a_backup_inside_a_transaction_is_refused(db, tmp_path):
    """It would wait for the very block that it stands in."""
    with db.transaction(), pytest.raises(DatabaseError, match="inside a transaction"):
        db.backup(tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


def test_vacuum_gives_space_back(tmp_path):
    """What was deleted leaves the file, and everything else stays."""
    with Database(tmp_path / "x.db", create=True) as db:
        bars = make_edge_bars(20_000, symbols=("A",))
        db.write_bars(bars)
        with db.transaction() as connection:
            connection.execute("DELETE FROM bars WHERE ts % 10 > 0 OR ts > 10")
        db.write_run("a", {})
        assert db.vacuum() > 100_000
        assert list(db.runs().index) == ["a"]
        assert db.check() == []
