"""Predictions of models, and what became of them, as rows of tables."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skatra.datasets._frames import (
    Int64Array,
    WriteReport,
    bounds_ns,
    check_symbols,
    from_ns,
    key_index,
    keys_of,
    show,
    to_ns,
)
from skatra.datasets._tables import chosen_symbols, stored, symbol_id, upsert
from skatra.exceptions import DatabaseError, LabelTimesError

_KEY = ("model", "sid", "t0")
_COLUMNS = {"predictions": ("value", "position"), "settlements": ("t1", "ret")}
_MISSING = np.iinfo(np.int64).min


def write_rows(
    connection: sqlite3.Connection,
    table: str,
    frame: pd.DataFrame,
    model: str,
    *,
    with_signals: bool = False,
) -> WriteReport:
    """Insert or replace predictions, or settlements of predictions that are there.

    Predictions whose signals are not written ``with_signals`` must be as those say.
    """
    check_symbols([model], "model")
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"{table} must be a DataFrame, got {type(frame).__name__}.")
    names = _COLUMNS[table]
    if sorted(map(str, frame.columns)) != sorted(names):
        raise ValueError(
            f"{table} must have the columns {', '.join(names)}, got "
            f"{list(frame.columns)}."
        )
    keys = keys_of(frame.index, table, error=LabelTimesError)
    columns = [column_of(frame, name)[keys.order].tolist() for name in names]
    report = WriteReport(0, 0, 0)
    for symbol, rows in keys.blocks():
        sid, t0 = symbol_id(connection, symbol), keys.times[rows].tolist()
        place = (
            "model = ? AND sid = ? AND t0 BETWEEN ? AND ?",
            (model, sid, t0[0], t0[-1]),
        )
        if table == "settlements":
            _refuse_unknown(connection, place, t0, (model, symbol))
        values = (column[rows] for column in columns)
        given = zip([model] * len(t0), [sid] * len(t0), t0, *values, strict=True)
        report += upsert(connection, table, (*_KEY, *names), _KEY, given, place)
        if table == "predictions" and not with_signals:
            _refuse_signalled(connection, place, t0, (model, symbol))
    return report


def column_of(frame: pd.DataFrame, name: str) -> NDArray[Any]:
    """Return one column to store, or refuse it."""
    if name == "t1":
        return to_ns(frame[name], name, LabelTimesError)
    if not pd.api.types.is_numeric_dtype(frame[name].dtype):
        raise ValueError(f"column {name!r} must be numeric, got {frame[name].dtype}.")
    values: NDArray[np.float64] = frame[name].to_numpy(np.float64, na_value=np.nan)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ValueError(
            f"{name} must be finite; not so in {show(frame.index, bad)}. Drop them."
        )
    return values


def _refuse_unknown(
    connection: sqlite3.Connection,
    place: tuple[str, tuple[Any, ...]],
    t0: list[int],
    what: tuple[str, str],
) -> None:
    query = f"SELECT t0 FROM predictions WHERE {place[0]}"  # noqa: S608 - own words
    known = {row[0] for row in connection.execute(query, place[1]).fetchall()}
    unknown = [time for time in t0 if time not in known]
    if unknown:
        first = from_ns(np.array(unknown[:1], dtype=np.int64))[0]
        raise DatabaseError(
            f"{len(unknown)} settlements of the model {what[0]!r}, symbol {what[1]!r} "
            f"have no prediction, the first at {first}. Write the predictions first."
        )


def _refuse_signalled(
    connection: sqlite3.Connection,
    place: tuple[str, tuple[Any, ...]],
    t0: list[int],
    what: tuple[str, str],
) -> None:
    """Raise, so that the write is undone, if signals of what was written differ."""
    rows = connection.execute(
        "SELECT t0 FROM signals s "  # noqa: S608 - own words
        f"JOIN predictions p USING (model, sid, t0) WHERE {place[0]} "
        "AND (p.value <> s.probability OR p.position <> s.position) ORDER BY t0",
        place[1],
    ).fetchall()
    written = set(t0) if rows else set()
    differ = [row[0] for row in rows if row[0] in written]
    if differ:
        time = from_ns(np.array(differ[:1], dtype=np.int64))[0]
        raise DatabaseError(
            f"{len(differ)} predictions of the model {what[0]!r}, symbol {what[1]!r} "
            f"have a signal that says otherwise, the first at {time}. Write them with "
            "write_signals, or under another model's name."
        )


def read_predictions(
    connection: sqlite3.Connection,
    model: str,
    symbols: str | Sequence[str] | None,
    start: Any,
    end: Any,
    as_of: Any,
) -> pd.DataFrame:
    """Read predictions with what was known of their outcome, by (symbol, t0)."""
    low, high = bounds_ns(start, end)
    known = bounds_ns(None, as_of)[1]
    names: list[str] = []
    counts: list[int] = []
    rows: list[tuple[Any, ...]] = []
    for name, sid in chosen_symbols(connection, symbols).items():
        part = connection.execute(
            "SELECT p.t0, value, position, t1, ret FROM predictions p "
            "LEFT JOIN settlements s ON s.model = p.model AND s.sid = p.sid "
            "AND s.t0 = p.t0 AND s.t1 <= ? "
            "WHERE p.model = ? AND p.sid = ? AND p.t0 BETWEEN ? AND ? ORDER BY p.t0",
            (known, model, sid, low, min(high, known)),
        ).fetchall()
        if part:
            names.append(name)
            counts.append(len(part))
            rows += part
    t0, value, position, t1, ret = zip(*rows, strict=True) if rows else [()] * 5
    ends: Int64Array = stored(
        [_MISSING if time is None else time for time in t1], np.int64, "settlements"
    )
    return pd.DataFrame(
        {
            "value": stored(value, np.float64, "predictions"),
            "position": stored(position, np.float64, "predictions"),
            "t1": from_ns(ends),
            "ret": stored(ret, np.float64, "predictions"),
        },
        index=key_index(names, counts, stored(t0, np.int64, "predictions"), "t0"),
    )
