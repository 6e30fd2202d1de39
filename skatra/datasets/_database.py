"""The database: frames in, frames out, every call through the pool."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from skatra.datasets import _bars, _features, _labels, _tables, _trades
from skatra.datasets._database_records import DatabaseRecords
from skatra.datasets._feature_reader import FeatureReader
from skatra.datasets._frames import WriteReport, bounds_ns

Symbols = str | Sequence[str] | None


class Database(DatabaseRecords):
    """Bars, features, labels, trades, models' records and runs in one SQLite file.

    Frames go in and come out; times may have any datetime unit and time zone
    (naive times mean UTC) and come back as UTC with nanoseconds, exactly. Every call
    takes a connection from the file's pool and gives it back: the object itself
    holds none, may be used from any number of threads and processes, and pickles as
    its path. Every write is one transaction: kept as a whole or not at all.

    Parameters
    ----------
    path : str or path-like
        The file. ``?``, ``#``, ``%`` and ``file:`` in it have no special meaning.
        ":memory:" makes a new database that lives as long as this object.
    create : bool, default=False
        Create the file when it is missing. Its directory must exist.
    readonly : bool, default=False
        Refuse to write.

    Attributes
    ----------
    path : Path
        The file, absolute and with links followed.
    readonly : bool

    Raises
    ------
    DatabaseNotFoundError
        If the file is missing and ``create`` is False.
    DatabaseCorruptError
        If the file is no SQLite database.
    SchemaVersionError
        If a newer skatra wrote it. A file of an older skatra is upgraded, after a
        backup beside it (``<path>.v<version>.bak``).
    DatabaseError
        If it is a directory, cannot be read, or belongs to another program.

    See Also
    --------
    load_dataset : Features and labels, joined, for scikit-learn.
    get_db_pool : The pool, for SQL of your own.

    Notes
    -----
    Beside the file stand SQLite's ``-wal`` and ``-shm`` while it is in use (empty ones
    may stay when it was only read), and ``-lock``, the queue of writing processes,
    for good. Do not copy or move a file that is in use.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import pandas as pd
    >>> from skatra.datasets import Database
    >>> folder = tempfile.TemporaryDirectory()
    >>> db = Database(Path(folder.name, "market.db"), create=True)
    >>> bars = pd.DataFrame(
    ...     {"open": [1.0, 2.0], "high": [2.0, 3.0], "low": [0.5, 1.5],
    ...      "close": [1.5, 2.5], "volume": [10.0, 20.0]},
    ...     index=pd.to_datetime(["2024-01-02", "2024-01-03"]))
    >>> db.write_bars(bars, symbol="SP500")
    WriteReport(inserted=2, updated=0, unchanged=0)
    >>> db.write_bars(bars, symbol="SP500")
    WriteReport(inserted=0, updated=0, unchanged=2)
    >>> db.bars(start="2024-01-03")["close"]
    symbol  time
    SP500   2024-01-03 00:00:00+00:00    2.5
    Name: close, dtype: float64
    >>> db.check()
    []
    >>> db.close()
    >>> folder.cleanup()
    """

    def symbols(self) -> list[str]:
        """Return every symbol that was ever written, sorted.

        Returns
        -------
        list of str
            Names, sorted.
        """
        with self._reading() as connection:
            return list(_tables.all_symbols(connection))

    def write_bars(self, bars: pd.DataFrame, symbol: str | None = None) -> WriteReport:
        """Insert bars, replacing those of the same symbol and time.

        Parameters
        ----------
        bars : DataFrame of shape (n_bars, 5)
            Index (symbol, time), or times with ``symbol`` given; columns open, high,
            low, close, volume.
        symbol : str, default=None
            The symbol of bars whose index holds times only.

        Returns
        -------
        WriteReport
            How many rows were inserted, updated and left alone.

        Raises
        ------
        BarsError
            If bars are unsorted, duplicated or inconsistent; see
            ``skatra.utils.check_bars``.
        """
        with self._writing() as connection:
            return _bars.write_bars(connection, bars, symbol)

    def bars(
        self,
        symbols: Symbols = None,
        start: Any = None,
        end: Any = None,
        *,
        columns: Sequence[str] | None = None,
        last: int | None = None,
        as_of: Any = None,
    ) -> pd.DataFrame:
        """Return bars of some symbols and times.

        Parameters
        ----------
        symbols : str or sequence of str, default=None
            None means all.
        start, end : datetime-like, default=None
            First and last point in time, both included; "2018-12-31" is its
            midnight. None is open-ended.
        columns : sequence of str, default=None
            Some of the columns, in the wanted order; None means all.
        last : int, default=None
            Only so many bars of each symbol, the newest ones of the range.
        as_of : datetime-like, default=None
            Leave out bars of a later time. A bar counts as known at its own time:
            where that is the bar's start, subtract its length from ``as_of``.

        Returns
        -------
        DataFrame of shape (n_bars, n_columns)
            float64 columns open, high, low, close, volume; index (symbol, time),
            sorted, time UTC with nanoseconds.

        Raises
        ------
        EmptyDataError
            If there is no such symbol.
        """
        with self._reading() as connection:
            return _bars.read_bars(
                connection, symbols, start, end, columns, last, as_of
            )

    def write_features(
        self,
        frame: pd.DataFrame,
        feature_set: str,
        spec: dict[str, Any] | None = None,
        *,
        replace: bool = False,
        compression: str | None = None,
    ) -> WriteReport:
        """Insert feature rows, replacing those of the same symbol and time.

        Parameters
        ----------
        frame : DataFrame of shape (n_rows, n_features)
            Index (symbol, time); float64 or float32 columns, any values (NaN,
            infinities and -0.0 are kept bit for bit).
        feature_set : str
            The set's name. Its first write fixes its columns and dtypes.
        spec : dict, default=None
            How the features were made, as JSON; a set keeps one spec, and None
            leaves it as it is.
        replace : bool, default=False
            Drop the frame's symbols from the set first, or all symbols if ``spec``
            is given and the set was made with another; in the same transaction.
        compression : {"zlib", "none"}, default=None
            How chunks are written from now on. "zlib" suits cold data with few
            distinct values, such as prices in ticks; noise does not shrink, and
            unpacking costs more than reading. None keeps what the set has, which is
            "none" at first. Chunks that do not change stay as they are.

        Returns
        -------
        WriteReport
            How many rows were inserted, updated and left alone.

        Raises
        ------
        ValueError
            If the frame is malformed, or ``compression`` is another word.
        DatabaseError
            If the set has other columns, dtypes or another spec.
        """
        with self._writing() as connection:
            return _features.write_features(
                connection,
                frame,
                feature_set,
                spec,
                replace=replace,
                compression=compression,
            )

    def features(
        self,
        feature_set: str,
        columns: Sequence[str] | None = None,
        symbols: Symbols = None,
        start: Any = None,
        end: Any = None,
        *,
        as_of: Any = None,
    ) -> pd.DataFrame:
        """Return features; columns, symbols and chunks not asked for are not read.

        Parameters
        ----------
        feature_set : str
            The set's name.
        columns : sequence of str, default=None
            Features in the wanted order; None means all.
        symbols : str or sequence of str, default=None
            None means all.
        start, end : datetime-like, default=None
            First and last time, both included.
        as_of : datetime-like, default=None
            Leave out rows of a later time. Values are those stored now: what a row
            held before it was replaced is not kept.

        Returns
        -------
        DataFrame of shape (n_rows, n_features)
            Index (symbol, time), sorted; dtypes as written.

        Raises
        ------
        EmptyDataError
            If there is no such set, column or symbol; the message lists those there
            are.
        DatabaseCorruptError
            If a chunk fails its checksum.
        """
        with self._reading() as connection:
            low, high = bounds_ns(start, end)
            high = min(high, bounds_ns(None, as_of)[1])
            reader = FeatureReader(connection, feature_set, columns, low, high)
            chosen = _tables.chosen_symbols(connection, symbols, [reader.read_set])
            return reader.frame(chosen)

    def feature_sets(self) -> dict[str, dict[str, Any]]:
        """Return name -> columns, rows, symbols and spec of every feature set.

        Returns
        -------
        dict of dict
            The spec, columns and extent of each set, by name.
        """
        with self._reading() as connection:
            return _features.feature_sets(connection)

    def write_labels(
        self,
        frame: pd.DataFrame,
        label_set: str,
        spec: dict[str, Any] | None = None,
        *,
        replace: bool = False,
    ) -> WriteReport:
        """Insert labels, replacing those of the same symbol and t0.

        Parameters
        ----------
        frame : DataFrame of shape (n_labels, 5 or 6)
            Index (symbol, t0); columns t1, ret, label, side, touched and, if wanted,
            weight (sample weight >= 0). ``ret`` may be NaN where touched is "open".
            Without weight, labels that are there lose the one they have.
        label_set : str
            The set's name.
        spec : dict, default=None
            How the labels were made, as JSON; a set keeps one spec, and None
            leaves it as it is.
        replace : bool, default=False
            Drop the frame's symbols from the set first, or all symbols if ``spec``
            is given and the set was made with another; in the same transaction.

        Returns
        -------
        WriteReport
            How many rows were inserted, updated and left alone.

        Raises
        ------
        LabelTimesError
            If a time is missing or repeated, or t1 < t0.
        ValueError
            If other values cannot be kept.
        """
        with self._writing() as connection:
            return _labels.write_labels(
                connection, frame, label_set, spec, replace=replace
            )

    def labels(
        self,
        label_set: str,
        symbols: Symbols = None,
        start: Any = None,
        end: Any = None,
        *,
        as_of: Any = None,
    ) -> pd.DataFrame:
        """Return labels of some symbols whose t0 lies in a range.

        Parameters
        ----------
        label_set : str
            The set's name.
        symbols : str or sequence of str, default=None
            None means all.
        start, end : datetime-like, default=None
            First and last t0, both included.
        as_of : datetime-like, default=None
            Leave out labels that were not known then: those with a later t1.

        Returns
        -------
        DataFrame of shape (n_labels, 5 or 6)
            Index (symbol, t0), sorted; t1 (UTC), ret (float64), label and side
            (int8), touched (str), and weight (float64) if any was written.

        Raises
        ------
        EmptyDataError
            If there is no such set or symbol; the message lists those there are.
        """
        with self._reading() as connection:
            return _labels.read_labels(
                connection, label_set, symbols, start, end, as_of
            )

    def label_sets(self) -> dict[str, dict[str, Any]]:
        """Return name -> rows, symbols and spec of every label set.

        Returns
        -------
        dict of dict
            The spec and extent of each set, by name.
        """
        with self._reading() as connection:
            return _labels.label_sets(connection)

    def write_trades(self, frame: pd.DataFrame) -> WriteReport:
        """Insert closed trades, replacing those of the same symbol, times and side.

        The commit waits for the disk, also that of a ``transaction`` around it:
        acknowledged trades survive a power failure.

        Parameters
        ----------
        frame : DataFrame of shape (n_trades, 9)
            Columns symbol, opened_at, closed_at, side (-1 or 1), quantity,
            entry_price, exit_price, pnl (money) and ret (simple return).

        Returns
        -------
        WriteReport
            How many rows were inserted, updated and left alone.

        Raises
        ------
        ValueError
            If columns are missing, numbers not finite, or a trade occurs twice.
        """
        with self._writing(durable=True) as connection:
            return _trades.write_trades(connection, frame)

    def trades(
        self,
        symbols: Symbols = None,
        start: Any = None,
        end: Any = None,
        *,
        as_of: Any = None,
    ) -> pd.DataFrame:
        """Return trades of some symbols opened in a range.

        Parameters
        ----------
        symbols : str or sequence of str, default=None
            None means all.
        start, end : datetime-like, default=None
            First and last opened_at, both included.
        as_of : datetime-like, default=None
            Leave out trades that were not known then: those closed later.

        Returns
        -------
        DataFrame of shape (n_trades, 9)
            Columns as in ``write_trades``, sorted by (opened_at, symbol).
        """
        with self._reading() as connection:
            return _trades.read_trades(connection, symbols, start, end, as_of)
