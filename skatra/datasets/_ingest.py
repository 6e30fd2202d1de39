"""Bars from CSV and Parquet files into the database."""

import os
from pathlib import Path
from typing import Any

import pandas as pd

from skatra.datasets._database import Database
from skatra.datasets._frames import WriteReport
from skatra.exceptions import BarsError, MissingDependencyError
from skatra.utils import check_bars

__all__ = ["ingest_bars"]

_TIME_NAMES = ("time", "date", "datetime", "timestamp")
_MISSING = ("", "N/A", "NA", "NULL", "NaN", "None", "nan", "null")
_REQUIRED = ("open", "high", "low", "close")


def ingest_bars(
    path: str | os.PathLike[str],
    database: str | os.PathLike[str],
    *,
    symbol: str | None = None,
) -> WriteReport:
    r"""Read bars from a CSV or Parquet file and upsert them into a database.

    Columns are matched without regard to case: ``time`` (or ``date``, ``datetime``,
    ``timestamp``; ISO 8601 text or datetimes, UTC where no zone is given), ``open``,
    ``high``, ``low``, ``close``, and where present ``volume`` (0 where absent) and
    ``symbol``. The bars must be sorted by time within each symbol,
    without duplicates, and consistent; nothing is written otherwise.

    Parameters
    ----------
    path : path-like
        ``.csv`` (also compressed, e.g. ``.csv.gz``) or ``.parquet``.
    database : path-like
        The database; created when it is missing.
    symbol : str, optional
        The bars' symbol, when the file has no ``symbol`` column.

    Returns
    -------
    WriteReport
        Bars inserted, updated and unchanged.

    Raises
    ------
    FileNotFoundError
        If there is no file at ``path``.
    MissingDependencyError
        If the file is Parquet and pyarrow is not installed.
    BarsError
        If columns are missing, times cannot be read, or the bars are unsorted,
        duplicated or inconsistent; the message lists every problem.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skatra.datasets import ingest_bars
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "bars.csv")
    ...     lines = ["date,open,high,low,close,volume", "2024-01-02,1,2,0.5,1.5,10"]
    ...     _ = file.write_text("\n".join(lines))
    ...     ingest_bars(file, Path(folder, "market.db"), symbol="SP500")
    WriteReport(inserted=1, updated=0, unchanged=0)
    """
    bars = _read_bars(Path(path), symbol)
    check_bars(bars)  # before the database is created
    with Database(database, create=True) as db:
        return db.write_bars(bars)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path).reset_index()
    except ImportError as error:
        msg = f"{path} is Parquet, which needs pyarrow: pip install pyarrow."
        raise MissingDependencyError(msg) from error


def _read_csv(path: Path) -> pd.DataFrame:
    """Return the file's cells; symbols stay the text they are (007, NA)."""
    try:
        header = pd.read_csv(path, nrows=0).columns
        symbol = [name for name in header if str(name).strip().lower() == "symbol"]
        missing: Any = {name: _MISSING for name in header if name not in symbol}
        text: Any = dict.fromkeys(symbol, "str")
        return pd.read_csv(
            path, dtype=text, na_values=missing, keep_default_na=False, index_col=False
        )
    except (ValueError, UnicodeError) as error:
        reason = str(error).strip().splitlines()[0]
        msg = f"{path} cannot be read as CSV in UTF-8: {reason}. Mend the file."
        raise BarsError(msg) from error


def _times(column: "pd.Series[Any]", name: str) -> pd.DatetimeIndex:
    """Return a column as UTC times; formats are never guessed."""
    way_out = "Write them as ISO 8601, e.g. 2024-01-31 or 2024-01-31T15:30:00Z."
    if pd.api.types.is_numeric_dtype(column.dtype):
        msg = f"{name} must hold times, got {column.dtype}. {way_out}"
        raise BarsError(msg)
    try:
        if not isinstance(column.dtype, pd.DatetimeTZDtype):
            column = pd.to_datetime(column, format="ISO8601", utc=True)
        return pd.DatetimeIndex(column)
    except (ValueError, TypeError) as error:
        msg = f"{name} must hold times: {str(error).splitlines()[0]}. {way_out}"
        raise BarsError(msg) from error


def _read_bars(path: Path, symbol: str | None) -> pd.DataFrame:
    """Return the file's bars with index (symbol, time)."""
    if not path.is_file():
        msg = f"there is no file at {path}. Check the path."
        raise FileNotFoundError(msg)
    frame = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    frame.columns = [str(name).strip().lower() for name in frame.columns]
    named = [name for name in _TIME_NAMES if name in frame]
    if len(named) > 1:
        msg = f"{path} must have one column of times, got {named}. Join or drop some."
        raise BarsError(msg)
    time = named[0] if named else None
    missing = [name for name in _REQUIRED if name not in frame]
    if time is None or missing:
        wanted = ([] if time else ["time"]) + missing
        msg = (
            f"{path} must have the columns {wanted}, got {list(frame.columns)}. Rename "
            "them in the file."
        )
        raise BarsError(msg)
    if ("symbol" in frame) == (symbol is not None):
        msg = (
            f"{path} has a symbol column; leave symbol out."
            if symbol is not None
            else f"{path} has no symbol column; name the symbol of its bars."
        )
        raise BarsError(msg)
    times = _times(frame[time], f"the column {time!r} of {path}")
    symbols = (
        frame["symbol"].astype(str).str.strip()
        if symbol is None
        else [symbol] * len(frame)
    )
    if "volume" not in frame:
        frame["volume"] = 0.0
    bars = frame[[*_REQUIRED, "volume"]].set_index(
        pd.MultiIndex.from_arrays([symbols, times], names=["symbol", "time"])
    )
    try:
        return bars.astype("float64")
    except ValueError as error:
        msg = f"the prices in {path} must be numbers: {error}."
        raise BarsError(msg) from error
