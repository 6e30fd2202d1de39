"""Kill -9 at random moments, each story run by test_processes in its own interpreter.

A child works and acknowledges on a pipe what it committed; it is killed; its parent
opens the file, and the next child goes on with it. SKATRA_KILLS (50 by default) is the
number of kills in each of the four stories.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from skatra.datasets import Database
from skatra.datasets._chunks import ChunkKey, store
from skatra.datasets._connections import open_connection
from skatra.datasets._schema import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION
from tests.datasets.process_stories import forked

SYMBOLS = ["A", "B", "C"]
KILLS = int(os.environ.get("SKATRA_KILLS", "50"))
STEP = {}
DICE = random.Random(7)  # noqa: S311 - no secret


def killed(work, *arguments):
    """Run work in a child, kill it somewhere, return how often it acknowledged.

    The child acknowledges once before the work itself starts. It is killed at random
    within its first or second step, however long a step takes on this machine.
    """
    read, write = os.pipe()
    pid = forked(work, *arguments, lambda: os.write(write, b"x"))
    os.close(write)
    os.read(read, 1)
    begin, said = time.monotonic(), DICE.randrange(2)
    if said:
        os.read(read, 1)
        STEP[work] = time.monotonic() - begin
    time.sleep(DICE.random() * STEP.get(work, 0.02))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while part := os.read(read, 1 << 16):
        said += len(part)
    os.close(read)
    return said


def rows_of(days):
    """Return the keys of three symbols on some days."""
    times = pd.Timestamp("2019-12-20", tz="UTC") + pd.to_timedelta(list(days), "D")
    return pd.MultiIndex.from_product([SYMBOLS, times], names=["symbol", "time"])


def bars_of(days):
    """Return bars whose prices are the number of the day, plus one."""
    index = rows_of(days)
    prices = np.tile(np.array(list(days), dtype=float), len(SYMBOLS)) + 1
    names = ["open", "high", "low", "close", "volume"]
    return pd.DataFrame(dict.fromkeys(names, prices), index=index)


def labels_of(index, value):
    """Return labels that all have one weight."""
    t0 = index.get_level_values(1)
    return pd.DataFrame(
        {"t1": t0, "ret": 0.5, "label": 1, "side": 1, "touched": "time"}, index=index
    ).assign(weight=float(value))


def write_days(path, day, acknowledge):
    """Write bars, then features, labels and a run in one transaction, day by day."""
    db = Database(path)
    acknowledge()
    while True:
        db.write_bars(bars_of([day]))
        acknowledge()
        index = rows_of([day])
        with db.transaction():
            db.write_features(pd.DataFrame({"x": float(day)}, index=index), "s")
            db.write_labels(labels_of(index, day), "s")
            db.write_run(str(day), {"day": day})
        acknowledge()
        day += 1


def writes(path):
    """Every acknowledged write is there; what was not acknowledged is whole or absent.

    Bars of a day are one write, features, labels and the run of a day are another.
    """
    Database(path, create=True).close()
    day = 0
    for _ in range(KILLS):
        said = killed(write_days, path, day)
        with Database(path) as db:
            assert db.check() == []
            bars, runs = db.bars(), len(db.runs())
            assert len(bars) % len(SYMBOLS) == 0
            n_bars = len(bars) // len(SYMBOLS)
            assert n_bars + runs - 2 * day in (said, said + 1)
            assert n_bars - runs in (0, 1)
            if runs:
                features, labels = db.features("s"), db.labels("s")
                assert features["x"].tolist() == [*range(runs)] * len(SYMBOLS)
                assert labels["weight"].tolist() == features["x"].tolist()
            assert (
                bars["close"].to_numpy().reshape(3, -1) == np.arange(n_bars) + 1
            ).all()
            day = runs


def replace_all(path, version, acknowledge):
    """Write all features again and again, with other values, of changing length."""
    db = Database(path)
    acknowledge()
    while True:
        version += 1
        index = rows_of(range(2_500 if version % 3 else 4_100))
        frame = pd.DataFrame({"x": float(version), "y": -float(version)}, index=index)
        db.write_features(frame, "s", replace=version % 2 == 0)
        acknowledge()


def replacements(path):
    """Chunks are those of one version, the last acknowledged one or the next.

    A version that merges keeps later rows of an earlier one; one that replaces does
    not.
    """
    Database(path, create=True).close()
    version = 0
    for _ in range(KILLS):
        said = killed(replace_all, path, version)
        with Database(path) as db:
            assert db.check() == []
            found = db.features("s") if db.feature_sets() else None
        if found is None:
            assert said == 0
            continue
        values = found["x"].to_numpy().reshape(len(SYMBOLS), -1)
        assert (found["y"].to_numpy() == -found["x"].to_numpy()).all()
        assert (values == values[0]).all()
        assert len(np.unique(values[0, :2_500])) == 1
        now = int(values[0, 0])
        assert now - version in (said, said + 1)
        if now % 2 == 0:
            assert values.shape[1] == (2_500 if now % 3 else 4_100)
            assert (values == now).all()
        version = now


def copy_often(path, folder, number, acknowledge):
    """Write, copy and give space back, over and over."""
    db = Database(path)
    acknowledge()
    while True:
        number += 1
        index = rows_of(range(500))
        with db.transaction():
            db.write_labels(labels_of(index, number), "s", replace=True)
            db.write_run("last", {"number": number})
        db.backup(Path(folder, f"copy{number}"))
        acknowledge()
        db.vacuum()


def copies(path):
    """A copy that has its name is whole: one state of the file, none in between."""
    folder = Path(f"{path}.copies")
    folder.mkdir()
    Database(path, create=True).close()
    number = checked = 0
    for _ in range(KILLS):
        said = killed(copy_often, path, folder, number)
        for target in (path, *folder.glob("copy*[0-9]")):
            with Database(target) as db:
                assert db.check() == []
                runs = db.runs()
                last = runs["card"].iloc[0]["number"] if len(runs) else 0
                assert not last or (db.labels("s")["weight"] == last).all()
            if target == path:
                assert last - number in (said, said + 1)
                number = last
            else:
                assert target.name == f"copy{last}"
                checked += 1
        copied = {file.name for file in folder.glob("copy*[0-9]")}
        assert len(copied) in (said, said + 1)
        for file in folder.iterdir():
            file.unlink()
    assert checked > KILLS // 4


def made_by_version_1(path):
    """Make a file of the first version with features and labels, return its bytes."""
    connection = open_connection(Path(path), readonly=False, create=True)
    connection.execute("BEGIN")
    for statement in MIGRATIONS[0]:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    connection.execute("INSERT INTO label_sets VALUES (1, 's', NULL)")
    connection.execute("INSERT INTO feature_sets VALUES (1, 's', NULL)")
    connection.execute("INSERT INTO feature_columns VALUES (1, 1, 'x', 'f8')")
    times = rows_of(range(1_000)).get_level_values(1).as_unit("ns")[:1_000]
    ns, years = times.asi8, times.year.to_numpy()
    connection.execute("ALTER TABLE feature_chunks RENAME COLUMN period TO t_lo")
    for sid, symbol in enumerate(SYMBOLS, 1):
        connection.execute("INSERT INTO symbols VALUES (?, ?)", (sid, symbol))
        connection.executemany(
            "INSERT INTO labels VALUES (1, ?, ?, ?, 0.5, 1, 1, 'time')",
            ((sid, t, t) for t in ns.tolist()),
        )
        store(
            connection,
            "feature_chunks",
            (
                (ChunkKey(1, sid, int(year), col), column[years == year])
                for year in np.unique(years)
                for col, column in enumerate([ns, np.arange(1_000.0)])
            ),
        )
    connection.execute("ALTER TABLE feature_chunks RENAME COLUMN t_lo TO period")
    connection.commit()
    connection.close()
    return Path(path).read_bytes()


def upgrade(path, acknowledge):
    """Open a file of the first version, then write to it."""
    acknowledge()
    db = Database(path)
    acknowledge()
    day = 1_000
    while True:
        db.write_bars(bars_of([day]))
        acknowledge()
        day += 1


def upgrades(path):
    """An upgrade is done or not, step by step; copies beside the file are whole."""
    original = made_by_version_1(f"{path}.1")
    halfway = 0
    for number in range(KILLS):
        target = Path(f"{path}.{number}.db")
        target.write_bytes(original)
        said = killed(upgrade, target)
        halfway += said == 0
        with Database(target) as db:
            assert db.check() == []
            assert db.info()["schema_version"] == SCHEMA_VERSION
            assert db.features("s")["x"].tolist() == [*range(1_000)] * 3
            assert len(db.labels("s")) == 3_000
            if said:
                bars = len(db.bars()) // len(SYMBOLS)
                assert bars in (said - 1, said)
        backups = [*target.parent.glob(f"{target.name}.v*.bak")]
        assert backups
        for backup in backups:
            with Database(backup) as db:
                assert db.check() == []
                assert len(db.features("s")) == len(db.labels("s")) == 3_000
        for file in target.parent.glob(f"{target.name}*"):
            file.unlink()
    assert halfway > KILLS // 4


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
