"""Bars as rows of a table."""

import sqlite3
from collections.abc import Sequence
from itertools import repeat
from typing import Any

import numpy as np
import pandas as pd

from skatra.datasets._frames import (
    Int64Array,
    WriteReport,
    bounds_ns,
    key_index,
    keys_of,
)
from skatra.datasets._tables import chosen_symbols, stored, symbol_id, upsert
from skatra.exceptions import BarsError
from skatra.typing import FloatArray
from skatra.utils import BAR_COLUMNS, as_count, check_bars, column_values


def write_bars(
    connection: sqlite3.Connection, bars: pd.DataFrame, symbol: str | None
) -> WriteReport:
    """Insert or replace bars."""
    check_bars(bars)
    extra = [str(column) for column in bars.columns if column not in BAR_COLUMNS]
    if extra:
        raise BarsError(
            f"bars has columns that the table of bars cannot keep: {extra}. Write them "
            "with write_features, or drop them."
        )
    keys = keys_of(bars.index, "bars", symbol=symbol, error=BarsError)
    columns = [column_values(bars, column)[keys.order] for column in BAR_COLUMNS]
    report = WriteReport(0, 0, 0)
    for name, rows in keys.blocks():
        values = np.array([column[rows] for column in columns])
        report += write_columns(connection, name, keys.times[rows], values)
    return report


def write_columns(
    connection: sqlite3.Connection, symbol: str, times: Int64Array, values: FloatArray
) -> WriteReport:
    """Insert or replace sound bars of one symbol, times rising.

    Parameters
    ----------
    connection : Connection
        In a write transaction.
    symbol : str
    times : ndarray of shape (n,), int64
        Nanoseconds UTC.
    values : ndarray of shape (5, n)
        Open, high, low, close and volume.
    """
    sid = symbol_id(connection, symbol)
    return upsert(
        connection,
        "bars",
        ("sid", "ts", *BAR_COLUMNS),
        ("sid", "ts"),
        zip(repeat(sid), times.tolist(), *values.tolist(), strict=False),
        ("sid = ? AND ts BETWEEN ? AND ?", (sid, int(times[0]), int(times[-1]))),
    )


def read_bars(
    connection: sqlite3.Connection,
    symbols: str | Sequence[str] | None,
    start: Any,
    end: Any,
    columns: Sequence[str] | None,
    last: int | None,
    as_of: Any,
) -> pd.DataFrame:
    """Read bars sorted by (symbol, time), only the last of each symbol if asked."""
    low, high = bounds_ns(start, end)
    columns = [columns] if isinstance(columns, str) else columns
    wanted = BAR_COLUMNS if columns is None else tuple(columns)
    if unknown := [name for name in wanted if name not in BAR_COLUMNS]:
        raise ValueError(f"columns must be some of {BAR_COLUMNS}, got {unknown}.")
    query = (
        f"SELECT {', '.join(('ts', *wanted))} FROM bars "  # noqa: S608 - own names
        "WHERE sid = ? AND ts BETWEEN ? AND ? ORDER BY ts"
    )
    if last is not None:
        query += f" DESC LIMIT {as_count(last, 'last')}"
    high = min(high, bounds_ns(None, as_of)[1])
    names: list[str] = []
    counts: list[int] = []
    times: list[Int64Array] = []
    blocks: list[FloatArray] = []
    for name, sid in chosen_symbols(connection, symbols).items():
        rows = connection.execute(query, (sid, low, high)).fetchall()
        if rows:
            # At once: tuples of all symbols kept together are what costs time.
            stamps, *numbers = zip(*rows, strict=True)
            forward = slice(None) if last is None else slice(None, None, -1)
            names.append(name)
            counts.append(len(rows))
            times.append(stored(stamps, np.int64, "bars")[forward])
            block = stored(numbers, np.float64, "bars").reshape(len(wanted), len(rows))
            blocks.append(block[:, forward])
    ts = np.concatenate(times) if times else np.empty(0, dtype=np.int64)
    values = np.concatenate(blocks, axis=1) if blocks else np.empty((len(wanted), 0))
    return pd.DataFrame(
        values.T, index=key_index(names, counts, ts), columns=list(wanted), copy=False
    )
