"""Bars as rows of a table."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from skatra.datasets._frames import WriteReport, bounds_ns, key_index, keys_of
from skatra.datasets._tables import chosen_symbols, symbol_id, upsert
from skatra.exceptions import BarsError
from skatra.utils import BAR_COLUMNS, check_bars, column_values


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
        sid, ts = symbol_id(connection, name), keys.times[rows]
        report += upsert(
            connection,
            "bars",
            ("sid", "ts", *BAR_COLUMNS),
            ("sid", "ts"),
            zip(
                [sid] * len(ts),
                ts.tolist(),
                *(column[rows].tolist() for column in columns),
                strict=True,
            ),
            ("sid = ? AND ts BETWEEN ? AND ?", (sid, int(ts[0]), int(ts[-1]))),
        )
    return report


def read_bars(
    connection: sqlite3.Connection,
    symbols: str | Sequence[str] | None,
    start: Any,
    end: Any,
    as_of: Any,
) -> pd.DataFrame:
    """Read bars sorted by (symbol, time)."""
    low, high = bounds_ns(start, end)
    high = min(high, bounds_ns(None, as_of)[1])
    names: list[str] = []
    parts: list[list[tuple[Any, ...]]] = []
    for name, sid in chosen_symbols(connection, symbols).items():
        rows = connection.execute(
            "SELECT ts, open, high, low, close, volume FROM bars "
            "WHERE sid = ? AND ts BETWEEN ? AND ? ORDER BY ts",
            (sid, low, high),
        ).fetchall()
        if rows:
            names.append(name)
            parts.append(rows)
    counts = [len(part) for part in parts]
    total = sum(counts)
    ts = np.fromiter((row[0] for part in parts for row in part), np.int64, total)
    values = np.empty((len(BAR_COLUMNS), total))
    filled = 0
    for part in parts:
        for k, column in enumerate(list(zip(*part, strict=True))[1:]):
            values[k, filled : filled + len(part)] = column
        filled += len(part)
    return pd.DataFrame(
        values.T,
        index=key_index(names, counts, ts),
        columns=list(BAR_COLUMNS),
        copy=False,
    )
