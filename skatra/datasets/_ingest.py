"""Bars from CSV and Parquet files into the database."""

import csv
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skatra.datasets._bar_files import (
    Block,
    Columns,
    read_csv_blocks,
    read_parquet_blocks,
)
from skatra.datasets._bars import write_columns
from skatra.datasets._database import Database
from skatra.datasets._frames import Int64Array, WriteReport
from skatra.exceptions import BarsError
from skatra.typing import FloatArray
from skatra.utils import BAR_COLUMNS, HTMLRepr

__all__ = ["IngestReport", "ingest_bars"]

_SHOWN = 5
_SHORTEST = len("202401")
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


@dataclass(frozen=True, slots=True)
class IngestReport(HTMLRepr):
    """What :func:`ingest_bars` did with every row of a file.

    Attributes
    ----------
    inserted, updated, unchanged : int
        Bars that were new, that replaced other values, and that were there as given.
    rejected : int
        Rows that were refused.
    problems : dict of str to list of int
        Reason -> the first lines refused for it.
    rejects : Path or None
        The file that keeps refused rows; None when there are none.
    unread : tuple of str
        Columns of the file that no bar has, such as "Adj Close".
    """

    inserted: int
    updated: int
    unchanged: int
    rejected: int = 0
    problems: dict[str, list[int]] = field(default_factory=dict)
    rejects: Path | None = None
    unread: tuple[str, ...] = ()


def ingest_bars(
    path: str | os.PathLike[str],
    database: str | os.PathLike[str],
    *,
    symbol: str | None = None,
    rejects: str | os.PathLike[str] | None = None,
    batch_rows: int = 100_000,
) -> IngestReport:
    r"""Read bars from a CSV or Parquet file and upsert them into a database.

    Columns are matched without regard to case: ``time`` (or ``date``, ``datetime``,
    ``timestamp``; ISO 8601 text from year and month on, or datetimes, UTC where no
    zone is given), ``open``,
    ``high``, ``low``, ``close``, and where present ``volume`` (0 where absent) and
    ``symbol``. Rows may come in any order. The file is read in batches and each is
    committed, so that files larger than memory fit and a run that was killed goes on
    when it is repeated: bars that are there already change nothing.

    A row that is no sound bar (a field too many, no time, no number, high below low,
    a (symbol, time) that an earlier row had, ...) is never written and never lost: it
    goes to the file of rejects, with its line and the reason.

    Parameters
    ----------
    path : path-like
        ``.csv`` (also ``.csv.gz``, ``.bz2``, ``.xz``, ``.zip``) or ``.parquet``.
    database : path-like
        The database; created when it is missing.
    symbol : str, optional
        The bars' symbol, when the file has no ``symbol`` column.
    rejects : path-like, optional
        CSV file for refused rows: line, reason and the row as it was. By default
        the name of ``path`` with ``.rejects.csv`` appended. It is made when a row is
        refused; one of an earlier run is replaced, or removed when none is.
    batch_rows : int, default=100_000
        Rows held in memory at a time; beside them 8 bytes for each row read, to find
        repeated times.

    Returns
    -------
    IngestReport
        What was written, what was refused and why.

    Raises
    ------
    FileNotFoundError
        If there is no file at ``path``.
    MissingDependencyError
        If the file is Parquet and pyarrow is not installed.
    BarsError
        If columns are missing, there are no rows, or the file cannot be read at all.
    ValueError
        If ``symbol`` is empty or has blanks around it, or ``rejects`` is a file that
        is no earlier file of rejects.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skatra.datasets import ingest_bars
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "bars.csv")
    ...     lines = ["date,open,high,low,close,volume", "2024-01-02,1,2,0.5,1.5,10",
    ...              "2024-01-03,1,2,0.5,x,10"]
    ...     _ = file.write_text("\n".join(lines))
    ...     report = ingest_bars(file, Path(folder, "market.db"), symbol="SP500")
    ...     report.inserted, report.problems, report.rejects.read_text().splitlines()[1]
    (1, {'close is no number': [3]}, '3,close is no number,2024-01-03,1,2,0.5,x,10')
    """
    path = Path(path)
    if batch_rows < 1:
        raise ValueError(f"batch_rows must be at least 1, got {batch_rows!r}.")
    if symbol is not None and (symbol != symbol.strip() or not symbol):
        raise ValueError(
            f"symbol must be a name without blanks around it, got {symbol!r}."
        )
    if not path.is_file():
        raise FileNotFoundError(f"there is no file at {path}. Check the path.")
    kept = Path(f"{path}.rejects.csv") if rejects is None else Path(rejects)
    for name, other in (("path", path), ("database", Path(database))):
        if kept.resolve() == other.resolve():
            raise ValueError(
                f"rejects must be another file than {name}, got {str(kept)!r}: it "
                "would be replaced. Name a new file (rejects=, --rejects)."
            )
    if kept.exists() and not _is_rejects(kept):
        raise ValueError(
            f"rejects must be a new file or one of rejected rows, got {str(kept)!r}, "
            "which is neither and would be replaced. Move it away, or name another "
            "(rejects=, --rejects)."
        )
    parquet = path.suffix.lower() == ".parquet"
    read = read_parquet_blocks if parquet else read_csv_blocks
    # Before the database is created.
    columns, blocks = read(path, symbol, batch_rows)
    first = next(blocks, None)
    if first is None:
        raise BarsError(f"{path} has names of columns but no rows. Check its source.")
    report, seen = WriteReport(0, 0, 0), _Seen()
    with Database(database, create=True) as db, _Rejects(kept, columns).open() as bad:
        for block in chain([first], blocks):
            bars = _bars_of(block, columns, symbol, bad)
            with db.transaction() as connection:
                for name, times, values in bars.by_symbol(seen, bad):
                    report += write_columns(connection, name, times, values)
    return IngestReport(
        report.inserted,
        report.updated,
        report.unchanged,
        bad.count,
        bad.problems,
        kept if bad.count else None,
        columns.unread,
    )


class _Rejects:
    """The file of refused rows, made when there is one."""

    def __init__(self, path: Path, columns: Columns) -> None:
        self._path = path
        self._partial = path.with_name(f".partial.{path.name}")
        self._header = columns.names
        self._file: TextIO | None = None
        self.count = 0
        self.problems: dict[str, list[int]] = {}

    @contextmanager
    def open(self) -> Iterator["_Rejects"]:
        """Keep what is refused in a block, also if the block fails."""
        try:
            yield self
        finally:
            if self._file is not None:
                self._file.close()
                self._partial.replace(self._path)
            elif _is_rejects(self._path):
                self._path.unlink()

    def add(self, line: int, reason: str, row: str) -> None:
        """Keep one row."""
        if self._file is None:
            try:
                self._file = self._partial.open("w", encoding="utf-8", newline="")
            except OSError as error:
                raise type(error)(
                    f"line {line} is to be kept apart ({reason}), but the file of "
                    f"rejects {self._path} cannot be made: {error.strerror}. Name one "
                    "in a folder that can be written (rejects=, --rejects)."
                ) from error
            self._file.write(_cells("line", "reason", *self._header) + "\n")
        self._file.write(f"{line},{_cells(reason)},{row}\n")
        self.count += 1
        lines = self.problems.setdefault(reason, [])
        if len(lines) < _SHOWN:
            lines.append(int(line))


def _is_rejects(path: Path) -> bool:
    """Tell whether a file was left by an earlier run."""
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().startswith("line,reason,")


def _cells(*values: str) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


class _Seen:
    """Times read so far, to find those that are repeated."""

    def __init__(self) -> None:
        self._times: dict[str, list[Int64Array]] = {}
        self._last: dict[str, int] = {}

    def repeated(self, symbol: str, times: Int64Array) -> NDArray[np.bool_]:
        """Tell which of a symbol's sorted times were there before."""
        again = np.zeros(len(times), dtype=bool)
        again[1:] = times[1:] == times[:-1]
        if times[0] <= self._last.get(symbol, int(times[0]) - 1):
            again |= np.isin(times, np.concatenate(self._times[symbol]))
        self._times.setdefault(symbol, []).append(times)
        self._last[symbol] = max(int(times[-1]), self._last.get(symbol, int(times[-1])))
        return again


@dataclass(frozen=True, slots=True)
class _Bars:
    """Sound rows of a block."""

    block: Block
    rows: NDArray[np.intp]
    # A Categorical.
    symbols: Any
    times: Int64Array
    values: FloatArray

    def by_symbol(
        self, seen: _Seen, bad: _Rejects
    ) -> Iterator[tuple[str, Int64Array, FloatArray]]:
        """Yield each symbol's bars in order of time, but repeated ones."""
        codes = np.asarray(self.symbols.codes, dtype=np.int64)
        later = (codes[1:] > codes[:-1]) | (
            (codes[1:] == codes[:-1]) & (self.times[1:] > self.times[:-1])
        )
        order = (
            np.arange(len(codes)) if later.all() else np.lexsort((self.times, codes))
        )
        codes = codes[order]
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        for start, stop in pairwise([*starts, len(codes)]):
            rows = order[start:stop]
            name = str(self.symbols.categories[codes[start]])
            again = seen.repeated(name, self.times[rows])
            for k in rows[again]:
                at = int(self.rows[k])
                bad.add(
                    int(self.block.lines[at]),
                    "an earlier row has this symbol and time",
                    self.block.text(at),
                )
            rows = rows[~again]
            if len(rows):
                yield name, self.times[rows], self.values[:, rows]


def _bars_of(
    block: Block, columns: Columns, symbol: str | None, bad: _Rejects
) -> _Bars:
    """Return the sound rows of a block; keep the others apart."""
    frame, n = block.frame, len(block.frame)
    reasons = np.full(n, -1)
    texts: list[str] = []

    def refuse(wrong: NDArray[np.bool_], reason: str) -> None:
        chosen = wrong & (reasons < 0)
        if chosen.any():
            reasons[chosen] = len(texts)
            texts.append(reason)

    times, wrong, number = _times(frame[columns.time])
    name = columns.time.strip().lower()
    refuse(
        number,
        f"{name} is a number and no time in ISO 8601: convert it if it counts "
        "seconds or milliseconds since 1970",
    )
    refuse(wrong, f"{name} is no time in ISO 8601")
    if columns.symbol is None:
        symbols = pd.Categorical.from_codes(
            np.zeros(n, dtype=np.int8), pd.Index([str(symbol)])
        )
    else:
        names = frame[columns.symbol]
        missing = np.asarray(names.isna())
        names = names.astype(str).str.strip()
        refuse(missing | np.asarray(names == ""), "symbol is missing")
        symbols = pd.Categorical(names)
    values = np.zeros((len(BAR_COLUMNS), n))
    for k, name in enumerate(BAR_COLUMNS):
        if name in columns.numbers:
            values[k], missing, strange = _numbers(frame[columns.numbers[name]])
            refuse(missing, f"{name} is missing")
            refuse(strange, f"{name} is no number")
            refuse(~np.isfinite(values[k]), f"{name} is not finite")
    prices, (opened, high, low, close) = values[:4], values[:4]
    with np.errstate(invalid="ignore"):
        refuse(np.asarray((prices <= 0).any(axis=0)), "a price is not positive")
        refuse(high < low, "high is below low")
        refuse(
            (opened > high) | (opened < low) | (close > high) | (close < low),
            "open or close is outside low to high",
        )
        refuse(values[4] < 0, "volume is negative")
    lost = [
        (int(block.lines[k]), texts[reasons[k]], block.text(int(k)))
        for k in np.flatnonzero(reasons >= 0)
    ]
    for line, reason, row in sorted(block.broken + lost):
        bad.add(line, reason, row)
    if lost:
        rows = np.flatnonzero(reasons < 0)
        return _Bars(block, rows, symbols[rows], times[rows], values[:, rows])
    return _Bars(block, np.arange(n), symbols, times, values)


def _times(
    column: "pd.Series[Any]",
) -> tuple[Int64Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return times as nanoseconds UTC, which are none and which of these are numbers.

    Formats are not guessed.
    """
    if pd.api.types.is_numeric_dtype(column.dtype):
        number = np.asarray(column.notna())
        return np.zeros(len(column), dtype=np.int64), np.ones_like(number), number
    number = np.zeros(len(column), dtype=bool)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        index = pd.DatetimeIndex(column)
        index = index.tz_localize("UTC") if index.tz is None else index
    else:
        # pandas reads "now" and "today", and 2024 as its first day.
        text = column.astype(str).str.strip()
        dated = column.where(text.str.len() >= _SHORTEST)
        index = pd.DatetimeIndex(
            pd.to_datetime(dated, format="ISO8601", utc=True, errors="coerce")
        )
    factor = _NANOSECONDS[index.unit]
    missing = np.asarray(index.isna())
    limit = np.iinfo(np.int64).max // factor
    wrong = missing | (np.where(missing, 0, np.abs(index.asi8)) > limit)
    if wrong.any() and not pd.api.types.is_datetime64_any_dtype(column.dtype):
        number = wrong & np.asarray(text.str.fullmatch(r"\d{9,}(\.\d*)?"), dtype=bool)
    return np.where(wrong, 0, index.asi8) * factor, wrong, number


def _numbers(
    column: "pd.Series[Any]",
) -> tuple[FloatArray, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return float64 values, which are missing, and which are no numbers."""
    missing = np.asarray(column.isna())
    none = np.zeros(len(column), dtype=bool)
    if pd.api.types.is_bool_dtype(column.dtype):
        return np.full(len(column), np.nan), missing, ~missing
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(np.float64, na_value=np.nan), missing, none
    values, strange = np.full(len(column), np.nan), none
    for k, cell in enumerate(column.tolist()):
        try:
            values[k] = np.nan if missing[k] else float(cell)
        except (TypeError, ValueError):
            strange[k] = True
        # Python reads "1_0" as 10, and True as 1.
        strange[k] |= isinstance(cell, bool | np.bool_) or "_" in str(cell)
    return values, missing, strange
