"""Signals: predictions with the size that limits left of them, as rows of a table."""

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
    key_index,
    keys_of,
    show,
)
from skatra.datasets._predictions import column_of, write_rows
from skatra.datasets._tables import chosen_symbols, stored, symbol_id, upsert
from skatra.exceptions import LabelTimesError

_GIVEN = ("probability", "price", "wanted", "position")
_KEY = ("model", "sid", "t0")


def write_signals(
    connection: sqlite3.Connection, frame: pd.DataFrame, model: str
) -> WriteReport:
    """Insert or replace signals and the predictions that they belong to."""
    check_symbols([model], "model")
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"signals must be a DataFrame, got {type(frame).__name__}.")
    if sorted(map(str, frame.columns)) != sorted(_GIVEN):
        raise ValueError(
            f"signals must have the columns {', '.join(_GIVEN)}, got "
            f"{list(frame.columns)}."
        )
    values = {name: column_of(frame, name) for name in _GIVEN}
    position, wanted = values["position"], values["wanted"]
    problems = {
        "probability must lie in [0, 1]": (values["probability"] < 0)
        | (values["probability"] > 1),
        "price must be positive": values["price"] <= 0,
        "position must have the sign of wanted, or be 0, and not be larger": (
            position * wanted < 0
        )
        | (np.abs(position) > np.abs(wanted)),
    }
    for requirement, bad in problems.items():
        if bad.any():
            raise ValueError(
                f"{requirement}; not so in {show(frame.index, np.flatnonzero(bad))}."
            )
    said = frame[["probability", "position"]].set_axis(["value", "position"], axis=1)
    write_rows(connection, "predictions", said, model, with_signals=True)
    keys = keys_of(frame.index, "signals", error=LabelTimesError)
    columns = [values[name][keys.order].tolist() for name in _GIVEN]
    columns.append(np.sign(position).astype(np.int64)[keys.order].tolist())
    report, now = WriteReport(0, 0, 0), time.time_ns()
    for symbol, rows in keys.blocks():
        sid, t0 = symbol_id(connection, symbol), keys.times[rows].tolist()
        n = len(t0)
        report += upsert(
            connection,
            "signals",
            (*_KEY, *_GIVEN, "side", "created_at"),
            _KEY,
            zip(
                [model] * n,
                [sid] * n,
                t0,
                *(column[rows] for column in columns),
                [now] * n,
                strict=True,
            ),
            (
                "model = ? AND sid = ? AND t0 BETWEEN ? AND ?",
                (model, sid, t0[0], t0[-1]),
            ),
            stamp="created_at",
        )
    return report


def read_signals(
    connection: sqlite3.Connection,
    model: str | None,
    symbols: str | Sequence[str] | None,
    start: Any,
    end: Any,
    as_of: Any = None,
) -> pd.DataFrame:
    """Read signals by (symbol, t0), of all models if none is named."""
    low, high = bounds_ns(start, end)
    high = min(high, bounds_ns(None, as_of)[1])
    names: list[str] = []
    counts: list[int] = []
    rows: list[tuple[Any, ...]] = []
    for name, sid in chosen_symbols(connection, symbols).items():
        part = connection.execute(
            "SELECT t0, model, probability, price, wanted, position, side, created_at "
            "FROM signals WHERE (?1 IS NULL OR model = ?1) AND sid = ?2 "
            "AND t0 BETWEEN ?3 AND ?4 ORDER BY t0, created_at, model",
            (model, sid, low, high),
        ).fetchall()
        if part:
            names.append(name)
            counts.append(len(part))
            rows += part
    t0, models, *numbers, side, created = zip(*rows, strict=True) if rows else [()] * 8
    return pd.DataFrame(
        {
            "model": pd.array(list(models), dtype="str"),
            **{
                name: stored(column, np.float64, "signals")
                for name, column in zip(_GIVEN, numbers, strict=True)
            },
            "side": stored(side, np.int8, "signals"),
            "created_at": from_ns(stored(created, np.int64, "signals")),
        },
        index=key_index(names, counts, stored(t0, np.int64, "signals"), "t0"),
    )
