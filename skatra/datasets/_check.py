"""Is everything in the file as it should be, and what is in it."""

import sqlite3
from typing import Any

import numpy as np

from skatra.datasets._errors import is_no_text, refuse_other_tables, translate
from skatra.datasets._features import check_features, feature_sets
from skatra.datasets._frames import from_ns
from skatra.datasets._label_chunks import check_label_chunks
from skatra.datasets._labels import label_sets
from skatra.datasets._pool import SQLiteConnectionPool
from skatra.datasets._schema import pragma
from skatra.exceptions import DatabaseCorruptError

_INVARIANTS = {
    "labels end before they start (t1 < t0)": (
        "SELECT count(*) FROM labels WHERE t1 < t0"
    ),
    "labels without return are not open": (
        "SELECT count(*) FROM labels WHERE ret IS NULL AND touched <> 'open'"
    ),
    "bars have high < low": "SELECT count(*) FROM bars WHERE high < low",
    "runs have a card that is no JSON": (
        "SELECT count(*) FROM runs WHERE NOT json_valid(card)"
    ),
    "signals have a side other than the sign of their position": (
        "SELECT count(*) FROM signals WHERE side <> (position > 0) - (position < 0)"
    ),
    "signals go beyond what was wanted": (
        "SELECT count(*) FROM signals "
        "WHERE abs(position) > abs(wanted) OR position * wanted < 0"
    ),
    "signals differ from their prediction": (
        "SELECT count(*) FROM signals s JOIN predictions p USING (model, sid, t0) "
        "WHERE p.value <> s.probability OR p.position <> s.position"
    ),
    "trials have a record or parameters that are no JSON": (
        "SELECT count(*) FROM trials "
        "WHERE NOT json_valid(record) OR NOT json_valid(params)"
    ),
    "settlements end before they start (t1 < t0)": (
        "SELECT count(*) FROM settlements WHERE t1 < t0"
    ),
    "trades close before they open": (
        "SELECT count(*) FROM trades WHERE closed_at < opened_at"
    ),
}
_TABLES = (
    "symbols",
    "bars",
    "labels",
    "trades",
    "predictions",
    "settlements",
    "signals",
    "trials",
    "runs",
)
_RANGES = {
    "bars": "ts",
    "labels": "t0",
    "trades": "opened_at",
    "predictions": "t0",
    "signals": "t0",
}


def check_all(pool: SQLiteConnectionPool) -> list[str]:
    """Return every problem found in one state of the file, none when it is sound."""
    problems: list[str] = []
    try:
        with pool.get_connection(readonly=True) as connection:
            # Written in between, chunks would differ from the rows read before them.
            begun = not connection.in_transaction
            if begun:
                connection.execute("BEGIN").close()
            try:
                for look in (_check_sqlite, check_features, check_label_chunks):
                    problems += look(connection)
            except sqlite3.OperationalError as error:
                refuse_other_tables(pool.path, error)
                if is_no_text(error):
                    raise translate(error, pool.path) from error
                raise
            finally:
                if begun:
                    connection.rollback()
    except DatabaseCorruptError as error:
        problems.append(str(error))
    except (sqlite3.Error, UnicodeDecodeError) as error:
        problems.append(str(translate(error, pool.path)))
    return problems


def _check_sqlite(connection: sqlite3.Connection) -> list[str]:
    """Ask SQLite about its pages and references, then skatra's own rules."""
    problems = [
        f"SQLite: {row[0]}"
        for row in connection.execute("PRAGMA integrity_check").fetchall()
        if row[0] != "ok"
    ]
    problems += [
        f"a row of {table} ({rowid}) has no {parent}."
        for table, rowid, parent, _ in connection.execute(
            "PRAGMA foreign_key_check"
        ).fetchall()
    ]
    for what, query in _INVARIANTS.items():
        count = connection.execute(query).fetchone()[0]
        if count:
            problems.append(f"{count} {what}.")
    return problems


def describe(connection: sqlite3.Connection) -> dict[str, Any]:
    """Return sizes, row counts and time ranges."""
    pages, size = pragma(connection, "page_count"), pragma(connection, "page_size")
    rows, ranges = {}, {}
    for table in _TABLES:
        count = connection.execute(f"SELECT count(*) FROM {table}")  # noqa: S608
        rows[table] = count.fetchone()[0]
    for table, column in _RANGES.items():
        low, high = connection.execute(
            f"SELECT min({column}), max({column}) FROM {table}"  # noqa: S608
        ).fetchone()
        ends = np.array([low, high], dtype=np.int64) if low is not None else None
        ranges[table] = None if ends is None else tuple(from_ns(ends))
    features = feature_sets(connection)
    rows["features"] = sum(item["rows"] for item in features.values())
    return {
        "schema_version": pragma(connection, "user_version"),
        "size_bytes": pages * size,
        "rows": rows,
        "ranges": ranges,
        "feature_sets": features,
        "label_sets": label_sets(connection),
    }
