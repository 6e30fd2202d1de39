"""Databases that live as long as one example."""

import contextlib
import os
import tempfile
from pathlib import Path

from skatra.datasets import Database

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


@contextlib.contextmanager
def fresh():
    """Give an empty database in a directory of its own."""
    with (
        tempfile.TemporaryDirectory(dir=MEMORY) as folder,
        Database(Path(folder, "x.db"), create=True) as db,
    ):
        yield db
