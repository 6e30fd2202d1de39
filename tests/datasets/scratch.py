"""Databases that live as long as one example."""

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path

from skatra.datasets import Database
from skatra.datasets._schema import STALE, TRIGGERS

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


@contextlib.contextmanager
def fresh():
    """Give an empty database in a directory of its own."""
    with (
        tempfile.TemporaryDirectory(dir=MEMORY) as folder,
        Database(Path(folder, "x.db"), create=True) as db,
    ):
        yield db


def as_version_5(path):
    """Make a file what it was before chunks were listed."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for name, (event, row) in TRIGGERS.items():
            connection.execute(f"DROP TRIGGER {name}")
            stale = STALE.format(row=row)
            connection.execute(f"CREATE TRIGGER {name} AFTER {event} ON labels {stale}")
        for kind in ("feature", "label"):
            connection.execute(f"DROP TABLE {kind}_manifests")
        connection.execute("PRAGMA user_version = 5")
