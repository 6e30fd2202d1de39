"""The ledger of trials: what was fitted on which folds of which data."""

import sqlite3
import time
from typing import Any

import numpy as np
import pandas as pd

from skatra.datasets._frames import WriteReport, check_symbols, from_ns
from skatra.datasets._tables import from_json, stored, to_json, upsert

_TEXTS = ("data_hash", "fold_hash", "code_version")


def write_trial(
    connection: sqlite3.Connection, key: str, record: dict[str, Any]
) -> WriteReport:
    """Insert or replace the record of one trial."""
    check_symbols([key], "key")
    if not isinstance(record, dict):
        raise TypeError(f"record must be a dict, got {type(record).__name__}.")
    missing = [name for name in (*_TEXTS, "params") if name not in record]
    if missing:
        raise ValueError(f"record must have the entries {missing}, got {list(record)}.")
    texts = [record[name] for name in _TEXTS]
    for name, text in zip(_TEXTS, texts, strict=True):
        if not isinstance(text, str) or not text:
            raise ValueError(f"{name} must be non-empty text, got {text!r}.")
    params = to_json(record["params"], "params")
    rest = {k: v for k, v in record.items() if k not in (*_TEXTS, "params")}
    row = (key, *texts, params, to_json(rest, "record"), time.time_ns())
    columns = ("key", *_TEXTS, "params", "record")
    known = connection.execute(
        "SELECT created_at FROM trials WHERE key = ?", (key,)
    ).fetchone()
    return upsert(
        connection,
        "trials",
        (*columns, "created_at"),
        ("key",),
        [row if known is None else (*row[:-1], known[0])],
        ("key = ?", (key,)),
    )


def read_trial(connection: sqlite3.Connection, key: str) -> dict[str, Any] | None:
    """Read the record of one trial."""
    row = connection.execute(
        "SELECT data_hash, fold_hash, code_version, params, record FROM trials "
        "WHERE key = ?",
        (key,),
    ).fetchone()
    if row is None:
        return None
    texts = dict(zip(_TEXTS, row[:3], strict=True))
    params, record = (from_json(text, "trials") for text in row[3:])
    return {**texts, "params": params, **record}


def read_trials(connection: sqlite3.Connection, data_hash: str | None) -> pd.DataFrame:
    """Read the trials of some data in the order in which they were first written."""
    query = (
        "SELECT key, data_hash, fold_hash, code_version, params, record, created_at "
        "FROM trials"
    )
    given: tuple[str, ...] = ()
    if data_hash is not None:
        query += " WHERE data_hash = ?"
        given = (data_hash,)
    rows = connection.execute(f"{query} ORDER BY created_at, rowid", given).fetchall()
    columns: list[Any] = list(zip(*rows, strict=True)) if rows else [()] * 7
    frame: dict[str, Any] = {
        name: pd.array(list(column), dtype="str")
        for name, column in zip(_TEXTS, columns[1:4], strict=True)
    }
    for name, column in zip(("params", "record"), columns[4:6], strict=True):
        read = [from_json(text, "trials") for text in column]
        # A leading None keeps numpy from making an array of more dimensions.
        frame[name] = np.array([None, *read], dtype=object)[1:]
    frame["created_at"] = from_ns(stored(columns[6], np.int64, "trials"))
    return pd.DataFrame(frame, index=pd.Index(columns[0], dtype="str", name="key"))
