"""Label times from CSV and Parquet files and from databases."""

import os
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from skatra.datasets._database import Database
from skatra.exceptions import EmptyDataError, LabelTimesError, MissingDependencyError
from skatra.utils import as_label_intervals

__all__ = ["read_label_times"]

_SQLITE = b"SQLite format 3\0"


def read_label_times(
    path: str | os.PathLike[str],
    *,
    t0: str = "t0",
    t1: str = "t1",
    label_set: str | None = None,
) -> "pd.Series[Any]":
    r"""Read label times from a CSV or Parquet file, or from a skatra database.

    Parameters
    ----------
    path : path-like
        ``.csv`` (also compressed, e.g. ``.csv.gz``), ``.parquet`` or a database.
    t0, t1 : str, default="t0", "t1"
        Columns of a file: ISO 8601 text or datetimes (UTC where no zone is given),
        or numbers.
    label_set : str, optional
        Label set of a database; not needed when it has only one.

    Returns
    -------
    label_times : Series
        Index t0, values t1. Rows in the order of a file; those of a database
        sorted by (t0, symbol), open labels left out.

    Raises
    ------
    FileNotFoundError
        If there is no file at ``path``.
    LabelTimesError
        If a column is missing or its times cannot be used.
    EmptyDataError
        If there are no labels, or a database has several sets and none is named.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skatra.datasets import read_label_times
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "labels.csv")
    ...     _ = file.write_text("t0,t1\n2026-01-05,2026-01-09\n2026-01-06,2026-01-12\n")
    ...     read_label_times(file)
    t0
    2026-01-05 00:00:00+00:00   2026-01-09 00:00:00+00:00
    2026-01-06 00:00:00+00:00   2026-01-12 00:00:00+00:00
    Name: t1, dtype: datetime64[...]
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file at {path}. Check the path.")
    with path.open("rb") as file:
        is_database = file.read(len(_SQLITE)) == _SQLITE
    if is_database or label_set is not None:
        return _from_database(path, label_set)
    frame = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    missing = [name for name in (t0, t1) if name not in frame]
    if missing:
        raise LabelTimesError(
            f"{path} must have the columns {missing}, got {list(frame.columns)}. Name "
            "the columns of label starts and ends with t0 and t1 (--t0, --t1)."
        )
    if frame.empty:
        raise EmptyDataError(f"{path} has no rows. Give one row for each label.")
    starts, ends = (_times(frame[name], f"{name!r} of {path}") for name in (t0, t1))
    label_times = pd.Series(ends, index=pd.Index(starts, name=t0), name=t1)
    as_label_intervals(label_times)
    return label_times


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as e:
        raise LabelTimesError(
            f"{path} is no readable CSV file ({str(e).splitlines()[0]}). Give a .csv "
            "or .parquet file with the columns t0 and t1, or a skatra database."
        ) from e


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path).reset_index()
    except ImportError as error:
        raise MissingDependencyError(
            f"reading {path} needs pyarrow or fastparquet. Install pyarrow, or give "
            "the labels as CSV."
        ) from error


def _times(column: "pd.Series[Any]", name: str) -> pd.Index:
    """Return a column as numbers or UTC times; formats are never guessed."""
    if column.dtype.kind in "iufM" or isinstance(column.dtype, pd.DatetimeTZDtype):
        return cast("pd.Index", pd.Index(column.array))
    read: dict[str, Any] = {"format": "ISO8601", "utc": True}
    try:
        return pd.DatetimeIndex(pd.to_datetime(column, **read))
    except (ValueError, TypeError) as error:
        times = pd.to_datetime(column, errors="coerce", **read)
        row = int(np.argmax(times.isna() & column.notna()))
        raise LabelTimesError(
            f"the column {name} must hold times in ISO 8601, e.g. 2024-01-31 or "
            f"2024-01-31T15:30:00Z, got {column.iloc[row]!r} in row {row + 1}. Other "
            "forms are not guessed, as 03/01/2024 is two days: write them so."
        ) from error


def _from_database(path: Path, label_set: str | None) -> "pd.Series[Any]":
    with Database(path, readonly=True) as db:
        sets = list(db.label_sets())
        if label_set is None:
            if len(sets) != 1:
                raise EmptyDataError(
                    f"{path} has {len(sets)} label sets: {sets}. Name one with "
                    "label_set (--label-set), or write one with Database.write_labels."
                )
            label_set = sets[0]
        labels = db.labels(label_set)
    closed = labels.loc[labels["touched"] != "open", "t1"]
    if closed.empty:
        raise EmptyDataError(
            f"the label set {label_set!r} of {path} has no closed labels. Write some "
            "with Database.write_labels."
        )
    return closed.sort_index(level=["t0", "symbol"]).droplevel("symbol")
