"""The tables, and the way from each version of them to the next."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skatra.datasets._backup import copy_database
from skatra.datasets._chunks import ChunkKey, decode
from skatra.datasets._errors import refuse_other_tables
from skatra.datasets._features import replace_chunks
from skatra.datasets._label_chunks import store_chunks
from skatra.datasets._manifests import list_chunks
from skatra.datasets._pool import SQLiteConnectionPool
from skatra.exceptions import DatabaseError, SchemaVersionError

APPLICATION_ID = 0x534B5452  # "SKTR"

Step = str | Callable[[sqlite3.Connection], None]


def _chunks_of_years(connection: sqlite3.Connection) -> None:
    """Spread features that were kept by calendar year over chunks of even size."""
    places = connection.execute(
        "SELECT DISTINCT set_id, sid FROM old_chunks ORDER BY set_id, sid"
    ).fetchall()
    for set_id, sid in places:
        columns: dict[int, list[NDArray[Any]]] = {}
        for year, col, *stored in connection.execute(
            "SELECT period, col, dtype, n, crc32, data FROM old_chunks "
            "WHERE set_id = ? AND sid = ? ORDER BY period, col",
            (set_id, sid),
        ):
            what = f"feature set number {set_id}, symbol number {sid}"
            key = ChunkKey(set_id, sid, year, col)
            values = decode(tuple(stored), key, what)
            columns.setdefault(col, []).append(values)
        whole = [np.concatenate(parts) for _, parts in sorted(columns.items())]
        replace_chunks(connection, "feature_chunks", (set_id, sid), {}, whole)


def _chunks_of_labels(connection: sqlite3.Connection) -> None:
    """Make the chunks of labels that were kept as rows only."""
    places = connection.execute("SELECT DISTINCT set_id, sid FROM labels").fetchall()
    for set_id, sid in places:
        store_chunks(connection, set_id, sid)


def _lists_of_chunks(connection: sqlite3.Connection) -> None:
    """List the chunks that are there."""
    for kind in ("feature", "label"):
        list_chunks(connection, f"{kind}_chunks")


_VERSION_1: tuple[Step, ...] = (
    """
    CREATE TABLE symbols (
        sid INTEGER PRIMARY KEY,
        symbol TEXT NOT NULL UNIQUE
    ) STRICT
    """,
    """
    CREATE TABLE bars (
        sid INTEGER NOT NULL REFERENCES symbols (sid),
        ts INTEGER NOT NULL,  -- nanoseconds since 1970, UTC, as all times here
        open REAL NOT NULL,
        high REAL NOT NULL,
        low REAL NOT NULL,
        close REAL NOT NULL,
        volume REAL NOT NULL,
        PRIMARY KEY (sid, ts)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE feature_sets (
        set_id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        spec TEXT
    ) STRICT
    """,
    """
    CREATE TABLE feature_columns (
        set_id INTEGER NOT NULL REFERENCES feature_sets (set_id),
        col INTEGER NOT NULL CHECK (col >= 1),
        name TEXT NOT NULL,
        dtype TEXT NOT NULL,
        PRIMARY KEY (set_id, col),
        UNIQUE (set_id, name)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE feature_chunks (
        chunk_id INTEGER PRIMARY KEY,
        set_id INTEGER NOT NULL REFERENCES feature_sets (set_id),
        sid INTEGER NOT NULL REFERENCES symbols (sid),
        period INTEGER NOT NULL,  -- calendar year, UTC
        col INTEGER NOT NULL,  -- 0 holds the times
        dtype TEXT NOT NULL,
        n INTEGER NOT NULL,
        crc32 INTEGER NOT NULL,
        data BLOB NOT NULL,
        UNIQUE (set_id, sid, period, col)
    ) STRICT
    """,
    """
    CREATE TABLE label_sets (
        set_id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        spec TEXT
    ) STRICT
    """,
    """
    CREATE TABLE labels (
        set_id INTEGER NOT NULL REFERENCES label_sets (set_id),
        sid INTEGER NOT NULL REFERENCES symbols (sid),
        t0 INTEGER NOT NULL,
        t1 INTEGER NOT NULL,
        ret REAL,
        label INTEGER NOT NULL CHECK (label IN (-1, 0, 1)),
        side INTEGER NOT NULL CHECK (side IN (-1, 0, 1)),
        touched TEXT NOT NULL,
        PRIMARY KEY (set_id, sid, t0),
        CHECK (t1 >= t0)
    ) STRICT, WITHOUT ROWID
    """,
)

_VERSION_2: tuple[Step, ...] = (
    "ALTER TABLE labels ADD COLUMN weight REAL",
    """
    CREATE TABLE trades (
        trade_id INTEGER PRIMARY KEY,
        sid INTEGER NOT NULL REFERENCES symbols (sid),
        opened_at INTEGER NOT NULL,
        closed_at INTEGER NOT NULL,
        side INTEGER NOT NULL CHECK (side IN (-1, 1)),
        quantity REAL NOT NULL,
        entry_price REAL NOT NULL,
        exit_price REAL NOT NULL,
        pnl REAL NOT NULL,
        ret REAL NOT NULL,
        UNIQUE (sid, opened_at, closed_at, side),
        CHECK (closed_at >= opened_at)
    ) STRICT
    """,
    """
    CREATE TABLE runs (
        run_id TEXT PRIMARY KEY,
        created_at INTEGER NOT NULL,
        card TEXT NOT NULL
    ) STRICT
    """,
)

_CHUNK_COLUMNS = """
        sid INTEGER NOT NULL REFERENCES symbols (sid),
        t_lo INTEGER NOT NULL,  -- first time
        col INTEGER NOT NULL,  -- 0 holds the times
        dtype TEXT NOT NULL,
        n INTEGER NOT NULL,
        crc32 INTEGER NOT NULL,
        data BLOB NOT NULL,
        UNIQUE (set_id, sid, t_lo, col)
    ) STRICT
"""
STALE = """
    WHEN EXISTS (
        SELECT 1 FROM label_chunks WHERE set_id = {row}.set_id AND sid = {row}.sid
    )
    BEGIN
        DELETE FROM label_chunks WHERE set_id = {row}.set_id AND sid = {row}.sid;
    END
"""

_VERSION_3: tuple[Step, ...] = (
    "ALTER TABLE feature_chunks RENAME TO old_chunks",
    f"""
    CREATE TABLE feature_chunks (
        chunk_id INTEGER PRIMARY KEY,
        set_id INTEGER NOT NULL REFERENCES feature_sets (set_id),
        {_CHUNK_COLUMNS}
    """,
    f"""
    CREATE TABLE label_chunks (
        chunk_id INTEGER PRIMARY KEY,
        set_id INTEGER NOT NULL REFERENCES label_sets (set_id),
        {_CHUNK_COLUMNS}
    """,
    """
    CREATE TABLE predictions (
        model TEXT NOT NULL,
        sid INTEGER NOT NULL REFERENCES symbols (sid),
        t0 INTEGER NOT NULL,
        value REAL NOT NULL,
        position REAL NOT NULL,
        PRIMARY KEY (model, sid, t0)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE settlements (
        model TEXT NOT NULL,
        sid INTEGER NOT NULL,
        t0 INTEGER NOT NULL,
        t1 INTEGER NOT NULL,
        ret REAL NOT NULL,
        PRIMARY KEY (model, sid, t0),
        FOREIGN KEY (model, sid, t0) REFERENCES predictions (model, sid, t0),
        CHECK (t1 >= t0)
    ) STRICT, WITHOUT ROWID
    """,
    _chunks_of_years,
    "DROP TABLE old_chunks",
    _chunks_of_labels,
    "CREATE TRIGGER labels_inserted AFTER INSERT ON labels" + STALE.format(row="NEW"),
    "CREATE TRIGGER labels_updated AFTER UPDATE ON labels" + STALE.format(row="OLD"),
    "CREATE TRIGGER labels_moved AFTER UPDATE OF set_id, sid ON labels"
    + STALE.format(row="NEW"),
    "CREATE TRIGGER labels_deleted AFTER DELETE ON labels" + STALE.format(row="OLD"),
)

_VERSION_4: tuple[Step, ...] = (
    """
    CREATE TABLE signals (
        model TEXT NOT NULL,
        sid INTEGER NOT NULL,
        t0 INTEGER NOT NULL,
        probability REAL NOT NULL CHECK (probability BETWEEN 0 AND 1),
        price REAL NOT NULL CHECK (price > 0),
        wanted REAL NOT NULL,  -- signed share of capital before limits
        position REAL NOT NULL,  -- and after them
        side INTEGER NOT NULL CHECK (side IN (-1, 0, 1)),
        created_at INTEGER NOT NULL,
        PRIMARY KEY (model, sid, t0),
        FOREIGN KEY (model, sid, t0) REFERENCES predictions (model, sid, t0)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE trials (
        key TEXT PRIMARY KEY,
        data_hash TEXT NOT NULL,
        fold_hash TEXT NOT NULL,
        params TEXT NOT NULL,
        code_version TEXT NOT NULL,
        record TEXT NOT NULL,
        created_at INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX trials_of_data ON trials (data_hash)",
)

_VERSION_5: tuple[Step, ...] = (
    "ALTER TABLE feature_sets ADD COLUMN compression TEXT NOT NULL DEFAULT 'none'",
)

_MANIFEST = """
    CREATE TABLE {kind}_manifests (
        set_id INTEGER NOT NULL REFERENCES {kind}_sets (set_id),
        sid INTEGER NOT NULL REFERENCES symbols (sid),
        crc32 INTEGER NOT NULL,
        chunks BLOB NOT NULL,  -- first times, then numbers of rows, as int64
        PRIMARY KEY (set_id, sid)
    ) STRICT, WITHOUT ROWID
"""
_UNLISTED = """
    WHEN EXISTS (
        SELECT 1 FROM label_manifests
        WHERE set_id = {row}.set_id AND sid = {row}.sid
    )
    BEGIN
        DELETE FROM label_chunks WHERE set_id = {row}.set_id AND sid = {row}.sid;
        DELETE FROM label_manifests WHERE set_id = {row}.set_id AND sid = {row}.sid;
    END
"""
TRIGGERS = {
    "labels_inserted": ("INSERT", "NEW"),
    "labels_updated": ("UPDATE", "OLD"),
    "labels_moved": ("UPDATE OF set_id, sid", "NEW"),
    "labels_deleted": ("DELETE", "OLD"),
}

_VERSION_6: tuple[Step, ...] = (
    _MANIFEST.format(kind="feature"),
    _MANIFEST.format(kind="label"),
    _lists_of_chunks,
    *(f"DROP TRIGGER {name}" for name in TRIGGERS),
    *(
        f"CREATE TRIGGER {name} AFTER {event} ON labels" + _UNLISTED.format(row=row)
        for name, (event, row) in TRIGGERS.items()
    ),
)

MIGRATIONS: tuple[tuple[Step, ...], ...] = (
    _VERSION_1,
    _VERSION_2,
    _VERSION_3,
    _VERSION_4,
    _VERSION_5,
    _VERSION_6,
)
SCHEMA_VERSION = len(MIGRATIONS)


def pragma(connection: sqlite3.Connection, name: str) -> int:
    """Return the value of an integer pragma."""
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def ensure_schema(
    pool: SQLiteConnectionPool, *, create: bool, readonly: bool, keep_old: bool = True
) -> None:
    """Bring the file to this version of the tables, or say why that cannot be.

    An older file is copied beside itself first, unless ``keep_old`` is False.

    Raises
    ------
    SchemaVersionError
        If a newer skatra wrote the file, or an older one and it is opened
        read-only.
    DatabaseError
        If the file is empty and ``create`` is False, or belongs to another program.
    """
    with pool.get_connection() as connection:
        version = _our_version(connection, pool.path)
    if version == SCHEMA_VERSION:
        pool.schema_version = version
        return
    if version == 0 and not create:
        raise DatabaseError(
            f"{pool.path} is an empty file. Fill it with create=True, or check the "
            "path."
        )
    if readonly:
        raise SchemaVersionError(
            f"{pool.path} has tables of version {version}, this skatra reads version "
            f"{SCHEMA_VERSION}. Open it once with readonly=False: it is upgraded, with "
            "a backup beside it."
        )
    _upgrade(pool, keep_old=keep_old)
    pool.schema_version = SCHEMA_VERSION


def _our_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the tables; 0 for an empty file."""
    version = pragma(connection, "user_version")
    if pragma(connection, "application_id") == APPLICATION_ID:
        if version > SCHEMA_VERSION:
            raise SchemaVersionError(
                f"{path} has tables of version {version}, written by a newer skatra; "
                f"this one knows versions up to {SCHEMA_VERSION}. Upgrade skatra: "
                "pip install --upgrade skatra."
            )
        return version
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if version == 0 and tables == 0:
        return 0
    raise DatabaseError(
        f"{path} is an SQLite database of another program. Choose a path of its own "
        "for skatra's database."
    )


def _upgrade(pool: SQLiteConnectionPool, *, keep_old: bool) -> None:
    """Apply the missing migrations, one transaction each, after a backup."""
    backed_up = not keep_old
    with pool.get_connection() as reader:
        while True:
            with pool.get_connection(readonly=False) as writer:
                version = _our_version(writer, pool.path)
                if version >= SCHEMA_VERSION:
                    return
                if version > 0 and not backed_up:
                    _backup(reader, pool.path, version)
                backed_up = True
                try:
                    apply(writer, version)
                except sqlite3.OperationalError as error:
                    refuse_other_tables(pool.path, error)
                    raise
                writer.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                writer.execute(f"PRAGMA user_version = {version + 1}")


def apply(connection: sqlite3.Connection, version: int) -> None:
    """Take the tables from one version to the next."""
    for step in MIGRATIONS[version]:
        if callable(step):
            step(connection)
        else:
            connection.execute(step)


def _backup(source: sqlite3.Connection, path: Path, version: int) -> Path:
    """Copy the database beside itself, under a name that is free."""
    number = 0
    target = path.with_name(f"{path.name}.v{version}.bak")
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.v{version}.{number}.bak")
    return copy_database(source, target)
