"""CSV and Parquet files of bars as blocks of columns, with their line numbers."""

import bz2
import csv
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skatra.exceptions import BarsError, MissingDependencyError

TIME_NAMES = ("time", "date", "datetime", "timestamp")
REQUIRED = ("open", "high", "low", "close")
_NUMBERS = (*REQUIRED, "volume")
_MISSING = ("", "N/A", "NA", "NULL", "NaN", "None", "nan", "null")
# Before 3.1 the default parser of pandas may miss the nearest number by one bit.
_OLD_PANDAS = tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1)
_EXACT: dict[str, Any] = {"float_precision": "round_trip"} if _OLD_PANDAS else {}
_OPENERS: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
_DAMAGE = (
    UnicodeError,
    OSError,
    EOFError,
    RuntimeError,
    csv.Error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What readers of damaged text and archives raise; RuntimeError: a password."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column of a file is what.

    Attributes
    ----------
    names : list of str
        All columns as the file spells them.
    time : str
        As ``names`` spells it, as in ``symbol`` and ``numbers``.
    symbol : str or None
    numbers : dict of str to str
        open, high, low, close, volume -> column; volume only where present.
    """

    names: list[str]
    time: str
    symbol: str | None
    numbers: dict[str, str]

    @property
    def unread(self) -> tuple[str, ...]:
        """Columns that are left where they are, such as "Adj Close"."""
        read = {self.time, self.symbol, *self.numbers.values()}
        # What a file of rejects has before the row itself.
        return tuple(n for n in self.names if n not in read | {"line", "reason"})


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of a file.

    Attributes
    ----------
    frame : DataFrame
        The columns that are needed; numbers where they could be read as such.
    lines : ndarray of shape (n,)
        Line of the file (rows count from 1 in Parquet files).
    text : callable
        Returns the row at a position as it stands in the file.
    broken : list of (line, reason, text)
        Lines that are no rows at all.
    """

    frame: pd.DataFrame
    lines: NDArray[np.int64]
    text: Callable[[int], str]
    broken: list[tuple[int, str, str]]


def find_columns(path: Path, names: Sequence[Any], symbol: str | None) -> Columns:
    """Tell columns by name, without regard to case.

    Raises
    ------
    BarsError
        If some are missing, there are two of one, or the symbol is named twice or
        not at all.
    """
    given = [str(name) for name in names]
    known = [name.strip().lower() for name in given]
    times = [name for name in TIME_NAMES if name in known]
    if len(times) > 1:
        raise BarsError(
            f"{path} must have one column of times, got {times}. Join or drop some."
        )
    wanted = [] if times else ["time"]
    wanted += [name for name in REQUIRED if name not in known]
    if wanted:
        one = len(known) == 1
        raise BarsError(
            f"{path} must have the columns {wanted}, got {known}. "
            + ("Separate them by commas." if one else "Rename them in the file.")
        )
    needed = {*times, *_NUMBERS, "symbol"}
    twice = sorted({name for name in known if known.count(name) > 1} & needed)
    if twice:
        raise BarsError(f"{path} has the columns {twice} more than once. Drop some.")
    if ("symbol" in known) == (symbol is not None):
        raise BarsError(
            f"{path} has a symbol column; leave symbol out."
            if symbol is not None
            else f"{path} has no symbol column; name the symbol of its bars (symbol=, "
            "--symbol)."
        )
    spelled = dict(zip(known, given, strict=True))
    return Columns(
        given,
        spelled[times[0]],
        spelled.get("symbol"),
        {name: spelled[name] for name in _NUMBERS if name in spelled},
    )


def read_csv_blocks(
    path: Path, symbol: str | None, rows: int
) -> tuple[Columns, Iterator[Block]]:
    """Return the columns of a CSV file and an iterator over its rows."""
    lines = _text_lines(path)
    try:
        header = next(lines, "")
        names = next(csv.reader([header]), [])
    except _DAMAGE as error:
        raise _unreadable(path, "CSV in UTF-8", error) from error
    if not names:
        raise BarsError(f"{path} cannot be read as CSV: it is empty. Mend the file.")
    columns = find_columns(path, names, symbol)
    return columns, _csv_blocks(path, lines, columns, rows)


def _unreadable(path: Path, kind: str, error: Exception) -> BarsError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return BarsError(
        f"{path} cannot be read as {kind}: {reason.rstrip('.')}. Mend the file."
    )


def _text_lines(path: Path) -> Iterator[str]:
    """Yield lines of text, decompressed as the file's name says."""
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive:
            inner = archive.namelist()
            if len(inner) != 1:
                raise BarsError(f"{path} must hold one file, got {inner}.")
            with archive.open(inner[0]) as raw:
                yield from io.TextIOWrapper(raw, encoding="utf-8-sig")
        return
    opener = _OPENERS.get(path.suffix.lower(), open)
    with opener(path, mode="rt", encoding="utf-8-sig") as file:
        yield from file


def _csv_blocks(
    path: Path, lines: Iterator[str], columns: Columns, rows: int
) -> Iterator[Block]:
    first = 2
    while True:
        try:
            block = list(islice(lines, rows))
        except _DAMAGE as error:
            raise _unreadable(path, "CSV in UTF-8", error) from error
        if not block:
            return
        yield _csv_block(block, first, columns)
        first += len(block)


def _csv_block(block: list[str], first: int, columns: Columns) -> Block:
    """Read some lines; those that are no rows are told apart."""
    commas = len(columns.names) - 1
    counts = np.fromiter((line.count(",") for line in block), np.int64, len(block))
    suspects = set(np.flatnonzero(counts != commas).tolist())
    suspects |= {k for k, line in enumerate(block) if '"' in line or line.isspace()}
    broken, kept = [], np.ones(len(block), dtype=bool)
    for k in sorted(suspects):
        reason = _no_row(block[k], commas + 1)
        if reason is None:
            continue
        kept[k] = False
        if reason:
            broken.append((first + k, reason, block[k].rstrip("\r\n")))
    good = block if kept.all() else [block[k] for k in np.flatnonzero(kept)]
    if good and not good[-1].endswith("\n"):
        good[-1] += "\n"
    texts = {columns.time: "str"}
    if columns.symbol is not None:
        texts[columns.symbol] = "str"
    needed = [*texts, *columns.numbers.values()]

    def read(texts: dict[str, str]) -> pd.DataFrame:
        frame: pd.DataFrame = pd.read_csv(
            io.StringIO("".join(good)),
            header=None,
            # Names that are not needed may be repeated.
            names=[n if n in needed else f"\0{k}" for k, n in enumerate(columns.names)],
            usecols=needed,
            dtype=texts,
            na_values=dict.fromkeys(columns.numbers.values(), _MISSING),
            keep_default_na=False,
            index_col=False,
            skip_blank_lines=False,
            **_EXACT,
        )
        return frame

    frame = read(texts) if good else pd.DataFrame(columns=needed)
    # pandas reads "1_0" as 10 beside an integer that needs more than 64 bits.
    large = [n for n in columns.numbers.values() if frame[n].dtype == object]
    if good and large:
        frame = read(texts | dict.fromkeys(large, "str"))
    numbers = np.flatnonzero(kept) + first
    return Block(frame, numbers, lambda k: good[k].rstrip("\r\n"), broken)


def _no_row(line: str, n_fields: int) -> str | None:
    """Say why a line is no row; None if it is one, "" if it is blank."""
    if not line.strip():
        return ""
    if line.count('"') % 2:
        return "a quote is not closed"
    try:
        found = len(next(csv.reader([line])))
    except csv.Error as error:
        return f"it cannot be read: {error}"
    return None if found == n_fields else f"it has {found} fields, not {n_fields}"


def read_parquet_blocks(
    path: Path, symbol: str | None, rows: int
) -> tuple[Columns, Iterator[Block]]:
    """Return the columns of a Parquet file and an iterator over its rows."""
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingDependencyError(
            f"{path} is Parquet, which needs pyarrow: pip install 'skatra[parquet]'."
        ) from error
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, "Parquet", error) from error
    columns = find_columns(path, file.schema_arrow.names, symbol)
    return columns, _parquet_blocks(path, file, columns, rows)


def _parquet_blocks(
    path: Path, file: Any, columns: Columns, rows: int
) -> Iterator[Block]:
    import pyarrow as pa

    names = [columns.time, *columns.numbers.values()]
    if columns.symbol is not None:
        names.append(columns.symbol)
    first = 1
    with closing(file):
        batches = file.iter_batches(batch_size=rows, columns=names)
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as error:
                raise _unreadable(path, "Parquet", error) from error
            if batch is None:
                return
            frame = batch.to_pandas(ignore_metadata=True)
            lines = np.arange(first, first + len(frame))
            yield Block(frame, lines, _row_of(frame), [])
            first += len(frame)


def _row_of(frame: pd.DataFrame) -> Callable[[int], str]:
    return lambda k: frame.iloc[[k]].to_csv(index=False, header=False).rstrip("\r\n")
