"""Trades and runs as rows of tables."""

import sqlite3
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from skatra.datasets._frames import (
    WriteReport,
    bounds_ns,
    check_symbols,
    from_ns,
    show,
    to_ns,
)
from skatra.datasets._tables import (
    chosen_symbols,
    from_json,
    stored,
    symbol_id,
    to_json,
    upsert,
)

TRADE_COLUMNS = (
    "symbol",
    "opened_at",
    "closed_at",
    "side",
    "quantity",
    "entry_price",
    "exit_price",
    "pnl",
    "ret",
)
_NUMBERS = TRADE_COLUMNS[4:]
_STORED = ("sid", *TRADE_COLUMNS[1:])
_KEY = ("sid", "opened_at", "closed_at", "side")


def write_trades(connection: sqlite3.Connection, frame: pd.DataFrame) -> WriteReport:
    """Insert or replace closed trades."""
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"trades must be a DataFrame, got {type(frame).__name__}.")
    if sorted(map(str, frame.columns)) != sorted(TRADE_COLUMNS):
        raise ValueError(
            f"trades must have the columns {', '.join(TRADE_COLUMNS)}, got "
            f"{list(frame.columns)}."
        )
    symbols = check_symbols(frame["symbol"].tolist(), "trades")
    opened = to_ns(frame["opened_at"], "opened_at")
    closed = to_ns(frame["closed_at"], "closed_at")
    numbers = {}
    for name in ("side", *_NUMBERS):
        if not pd.api.types.is_numeric_dtype(frame[name].dtype):
            raise ValueError(
                f"column {name!r} must be numeric, got {frame[name].dtype}."
            )
        numbers[name] = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
    problems = {
        "closed_at must not be before opened_at": closed < opened,
        "side must be -1 or 1": ~np.isin(numbers["side"], (-1, 1)),
        "every number must be finite": ~np.isfinite(list(numbers.values())).all(axis=0),
        "a trade (symbol, opened_at, closed_at, side) must occur once; merge its "
        "fills": pd.DataFrame([symbols, opened, closed, numbers["side"]])
        .T.duplicated()
        .to_numpy(),
    }
    for requirement, bad in problems.items():
        if bad.any():
            raise ValueError(
                f"{requirement}; not so in {show(frame.index, np.flatnonzero(bad))}."
            )
    ids = {symbol: symbol_id(connection, symbol) for symbol in sorted(set(symbols))}
    return upsert(
        connection,
        "trades",
        _STORED,
        _KEY,
        zip(
            [ids[symbol] for symbol in symbols],
            opened.tolist(),
            closed.tolist(),
            numbers["side"].astype(np.int64).tolist(),
            *(numbers[name].tolist() for name in _NUMBERS),
            strict=True,
        ),
        ("1", ()),
    )


def read_trades(
    connection: sqlite3.Connection,
    symbols: str | Sequence[str] | None,
    start: Any,
    end: Any,
    as_of: Any = None,
) -> pd.DataFrame:
    """Read trades sorted by (opened_at, symbol); the range is one of opened_at."""
    low, high = bounds_ns(start, end)
    known = bounds_ns(None, as_of)[1]
    chosen = {sid: name for name, sid in chosen_symbols(connection, symbols).items()}
    rows = connection.execute(
        "SELECT t.sid, opened_at, closed_at, side, quantity, entry_price, exit_price, "
        "pnl, ret FROM trades t JOIN symbols s USING (sid) "
        "WHERE opened_at BETWEEN ? AND ? AND closed_at <= ? "
        "ORDER BY opened_at, symbol, closed_at, side",
        (low, high, known),
    ).fetchall()
    columns: Any = list(zip(*(row for row in rows if row[0] in chosen), strict=True))
    sid, opened, closed, side, *numbers = columns or [()] * len(TRADE_COLUMNS)
    return pd.DataFrame(
        {
            "symbol": pd.array([chosen[k] for k in sid], dtype="str"),
            "opened_at": from_ns(stored(opened, np.int64, "trades")),
            "closed_at": from_ns(stored(closed, np.int64, "trades")),
            "side": stored(side, np.int8, "trades"),
            **{
                name: stored(values, np.float64, "trades")
                for name, values in zip(_NUMBERS, numbers, strict=True)
            },
        }
    )


def write_run(
    connection: sqlite3.Connection, run_id: str, card: dict[str, Any]
) -> WriteReport:
    """Insert or replace the card of one run."""
    check_symbols([run_id], "run_id")
    text = to_json(card, "card")
    row = connection.execute(
        "SELECT card FROM runs WHERE run_id = ?", (run_id,)
    ).fetchone()
    if row is None:
        connection.execute(
            "INSERT INTO runs (run_id, created_at, card) VALUES (?, ?, ?)",
            (run_id, time.time_ns(), text),
        )
        return WriteReport(1, 0, 0)
    if row[0] == text:
        return WriteReport(0, 0, 1)
    connection.execute("UPDATE runs SET card = ? WHERE run_id = ?", (text, run_id))
    return WriteReport(0, 1, 0)


def read_runs(connection: sqlite3.Connection) -> pd.DataFrame:
    """Read all runs in the order in which they were first written."""
    rows = connection.execute(
        "SELECT run_id, created_at, card FROM runs ORDER BY created_at, rowid"
    ).fetchall()
    cards = [from_json(row[2], "runs") for row in rows]
    return pd.DataFrame(
        {
            "created_at": from_ns(stored([row[1] for row in rows], np.int64, "runs")),
            "card": np.array([None, *cards], dtype=object)[1:],
        },
        index=pd.Index([row[0] for row in rows], dtype="str", name="run_id"),
    )
