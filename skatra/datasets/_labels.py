"""Labels with their label times as rows of a table."""

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
    from_ns,
    key_index,
    keys_of,
    show,
    to_ns,
)
from skatra.datasets._label_chunks import LabelArrays, drop_chunks, write_chunks
from skatra.datasets._tables import (
    chosen_symbols,
    clear_set,
    ensure_set,
    find_set,
    from_json,
    set_names,
    stored,
    symbol_id,
    upsert,
)
from skatra.exceptions import LabelTimesError

LABEL_COLUMNS = ("t1", "ret", "label", "side", "touched")
_STORED = ("set_id", "sid", "t0", *LABEL_COLUMNS, "weight")


def write_labels(
    connection: sqlite3.Connection,
    frame: pd.DataFrame,
    label_set: str,
    spec: dict[str, Any] | None,
    *,
    replace: bool = False,
) -> WriteReport:
    """Insert or replace labels."""
    values = _checked(frame)
    keys = keys_of(frame.index, "labels", error=LabelTimesError)
    if replace:
        symbols = [symbol for symbol, _ in keys.blocks()]
        clear_set(connection, "label", label_set, spec, symbols)
    set_id = ensure_set(connection, "label", label_set, spec)
    columns = [column[keys.order] for column in values]
    lists = [column.tolist() for column in columns]
    report = WriteReport(0, 0, 0)
    for symbol, rows in keys.blocks():
        sid, t0 = symbol_id(connection, symbol), keys.times[rows]
        drop_chunks(connection, set_id, [sid])
        report += upsert(
            connection,
            "labels",
            _STORED,
            ("set_id", "sid", "t0"),
            zip(
                [set_id] * len(t0),
                [sid] * len(t0),
                t0.tolist(),
                *(column[rows] for column in lists),
                strict=True,
            ),
            (
                "set_id = ? AND sid = ? AND t0 BETWEEN ? AND ?",
                (set_id, sid, int(t0[0]), int(t0[-1])),
            ),
        )
        (count,) = connection.execute(
            "SELECT count(*) FROM labels WHERE set_id = ? AND sid = ?", (set_id, sid)
        ).fetchone()
        whole = _arrays(t0, [column[rows] for column in columns])
        write_chunks(connection, set_id, sid, whole if count == len(t0) else None)
    return report


def _arrays(t0: Int64Array, columns: list[NDArray[Any]]) -> LabelArrays:
    """Return checked columns as they are kept in chunks."""
    t1, ret, label, side, touched, weight = columns
    return LabelArrays(
        t0,
        t1,
        ret.astype(np.float64),
        label.astype(np.int8),
        side.astype(np.int8),
        (touched == "open").astype(np.int8),
        weight.astype(np.float64),
    )


def _checked(frame: pd.DataFrame) -> list[NDArray[Any]]:
    """Return the columns to store, in row order, or refuse them."""
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"labels must be a DataFrame, got {type(frame).__name__}.")
    missing = [column for column in LABEL_COLUMNS if column not in frame.columns]
    extra = [c for c in frame.columns if c not in (*LABEL_COLUMNS, "weight")]
    if missing or extra:
        raise ValueError(
            f"labels must have the columns {', '.join(LABEL_COLUMNS)} and may have "
            f"weight; missing {missing}, unknown {extra}."
        )
    index = frame.index
    t1 = to_ns(frame["t1"], "t1", LabelTimesError)
    if isinstance(index, pd.MultiIndex):
        t0 = to_ns(index.get_level_values(-1), "t0", LabelTimesError)
        _refuse(
            t1 < t0,
            index,
            "t1 must not be before t0",
            "Drop those labels",
            LabelTimesError,
        )
    touched = frame["touched"].to_numpy(dtype=object)
    text = np.array([isinstance(word, str) and word != "" for word in touched], bool)
    _refuse(~text, index, "touched must be text", "Fill in 'time', 'profit', ...")
    ret = _floats(frame, "ret")
    unknown = np.isnan(ret) & (touched != "open")
    _refuse(
        unknown | np.isinf(ret),
        index,
        "ret must be finite (NaN only where touched is 'open')",
        "Drop those labels, or mark them open",
    )
    returns = ret.astype(object)
    returns[np.isnan(ret)] = None
    columns: list[NDArray[Any]] = [t1, returns]
    for name in ("label", "side"):
        numbers = _floats(frame, name)
        _refuse(
            ~np.isin(numbers, (-1, 0, 1)),
            index,
            f"{name} must be -1, 0 or 1",
            "Use the sign",
        )
        columns.append(numbers.astype(np.int64))
    columns.append(touched)
    if "weight" in frame.columns:
        weight = _floats(frame, "weight")
        bad = ~(np.isfinite(weight) & (weight >= 0))
        _refuse(bad, index, "weight must be finite and >= 0", "Drop those labels")
        return [*columns, weight]
    return [*columns, np.full(len(frame), None, dtype=object)]


def _floats(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    column = frame[name]
    if not pd.api.types.is_numeric_dtype(column.dtype):
        raise ValueError(f"column {name!r} must be numeric, got {column.dtype}.")
    values: NDArray[np.float64] = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return values


def _refuse(
    bad: NDArray[np.bool_],
    index: pd.Index,
    requirement: str,
    way_out: str,
    error: type[Exception] = ValueError,
) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        raise error(f"{requirement}; not so in {show(index, rows)}. {way_out}.")


def read_labels(
    connection: sqlite3.Connection,
    label_set: str,
    symbols: str | Sequence[str] | None,
    start: Any,
    end: Any,
    as_of: Any,
) -> pd.DataFrame:
    """Read labels sorted by (symbol, t0); the range is one of t0."""
    low, high = bounds_ns(start, end)
    known = bounds_ns(None, as_of)[1]
    set_id = find_set(connection, "label", label_set)
    names: list[str] = []
    counts: list[int] = []
    rows: list[tuple[Any, ...]] = []
    chosen = chosen_symbols(connection, symbols, [("label", set_id)])
    for name, sid in chosen.items():
        part = connection.execute(
            "SELECT t0, t1, ret, label, side, touched, weight FROM labels "
            "WHERE set_id = ? AND sid = ? AND t0 BETWEEN ? AND ? AND t1 <= ? "
            "ORDER BY t0",
            (set_id, sid, low, high, known),
        ).fetchall()
        if part:
            names.append(name)
            counts.append(len(part))
            rows += part
    t0, t1, ret, label, side, touched, weight = (
        zip(*rows, strict=True) if rows else [()] * 7
    )
    frame = pd.DataFrame(
        {
            "t1": from_ns(stored(t1, np.int64, "labels")),
            "ret": stored(ret, np.float64, "labels"),
            "label": stored(label, np.int8, "labels"),
            "side": stored(side, np.int8, "labels"),
            "touched": pd.array(list(touched), dtype="str"),
        },
    )
    frame.index = key_index(names, counts, stored(t0, np.int64, "labels"), "t0")
    if any(value is not None for value in weight):
        frame["weight"] = stored(weight, np.float64, "labels")
    return frame


def label_sets(connection: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    """Describe every label set."""
    result = {}
    for name in set_names(connection, "label"):
        spec, rows, symbols = connection.execute(
            "SELECT s.spec, count(l.t0), count(DISTINCT l.sid) FROM label_sets s "
            "LEFT JOIN labels l USING (set_id) WHERE s.name = ?",
            (name,),
        ).fetchone()
        result[name] = {
            "rows": rows,
            "symbols": symbols,
            "spec": None if spec is None else from_json(spec, "label_sets"),
        }
    return result
