"""What models said, what became of it, and how they were made: methods for that."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from skatra.datasets import _predictions, _signals, _trades, _trials
from skatra.datasets._database_file import DatabaseFile
from skatra.datasets._frames import WriteReport

Symbols = str | Sequence[str] | None


class DatabaseRecords(DatabaseFile):
    """Predictions, signals, trials and runs of a ``Database``."""

    def write_predictions(self, frame: pd.DataFrame, model: str) -> WriteReport:
        """Insert a model's predictions, replacing those of the same symbol and t0.

        Parameters
        ----------
        frame : DataFrame of shape (n_predictions, 2)
            Index (symbol, t0); columns value (what the model said, such as a
            probability) and position (signed share of capital), finite.
        model : str
            The model's name, such as a run id.

        Returns
        -------
        WriteReport
            How many rows were inserted, updated and left alone.

        Raises
        ------
        ValueError
            If columns are missing or numbers not finite.
        DatabaseError
            If one has a signal of the model that says otherwise; nothing is written.
        """
        with self._writing() as connection:
            return _predictions.write_rows(connection, "predictions", frame, model)

    def settle_predictions(self, frame: pd.DataFrame, model: str) -> WriteReport:
        """Say what became of predictions, replacing earlier settlements.

        Parameters
        ----------
        frame : DataFrame of shape (n_settlements, 2)
            Index (symbol, t0) of predictions that are there; columns t1 (when the
            outcome was known) and ret (simple return of a long unit position).
        model : str
            The name they were written under.

        Returns
        -------
        WriteReport
            How many rows were inserted, updated and left alone.

        Raises
        ------
        DatabaseError
            If there is no such prediction.
        ValueError
            If columns are missing or numbers not finite.
        sqlite3.IntegrityError
            If t1 < t0.
        """
        with self._writing() as connection:
            return _predictions.write_rows(connection, "settlements", frame, model)

    def predictions(
        self,
        model: str,
        symbols: Symbols = None,
        start: Any = None,
        end: Any = None,
        *,
        as_of: Any = None,
    ) -> pd.DataFrame:
        """Return a model's predictions and what became of them.

        Parameters
        ----------
        model : str
            The name they were written under.
        symbols : str or sequence of str, default=None
            None means all.
        start, end : datetime-like, default=None
            First and last t0, both included.
        as_of : datetime-like, default=None
            Leave out what was not known then: predictions with a later t0, and
            outcomes with a later t1.

        Returns
        -------
        DataFrame of shape (n_predictions, 4)
            Index (symbol, t0), sorted; value, position, t1 (NaT while open) and ret
            (NaN while open).
        """
        with self._reading() as connection:
            return _predictions.read_predictions(
                connection, model, symbols, start, end, as_of
            )

    def write_signals(self, frame: pd.DataFrame, model: str) -> WriteReport:
        """Insert a model's signals with their predictions, in one transaction.

        A signal is a prediction with the size that limits left of it. Both are
        written or neither; those of the same symbol and t0 are replaced. The commit
        waits for the disk, also that of a ``transaction`` around it.

        Parameters
        ----------
        frame : DataFrame of shape (n_signals, 4)
            Index (symbol, t0); columns probability (of a rise, in [0, 1]), price (the
            close at t0, > 0), wanted (signed share of capital before limits) and
            position (what is left of it: same sign or 0, not larger), finite.
        model : str
            The model's name, such as a run id.

        Returns
        -------
        WriteReport
            Of the signals.

        Raises
        ------
        ValueError
            If columns are missing or values cannot be kept.
        LabelTimesError
            If a (symbol, t0) is missing or repeated.

        Examples
        --------
        >>> import pandas as pd
        >>> from skatra.datasets import Database
        >>> index = pd.MultiIndex.from_tuples(
        ...     [("A", pd.Timestamp("2024-01-02", tz="UTC"))], names=["symbol", "t0"])
        >>> frame = pd.DataFrame({"probability": 0.6, "price": 10.0, "wanted": 0.2,
        ...                       "position": 0.1}, index=index)
        >>> with Database(":memory:") as db:
        ...     report = db.write_signals(frame, "m")
        ...     signals, predictions = db.signals("m"), db.predictions("m")
        >>> report
        WriteReport(inserted=1, updated=0, unchanged=0)
        >>> signals["side"].tolist(), predictions["value"].tolist()
        ([1], [0.6])
        """
        with self._writing(durable=True) as connection:
            return _signals.write_signals(connection, frame, model)

    def signals(
        self,
        model: str | None = None,
        symbols: Symbols = None,
        start: Any = None,
        end: Any = None,
        *,
        as_of: Any = None,
    ) -> pd.DataFrame:
        """Return signals of a model, or of all of them.

        Parameters
        ----------
        model : str, default=None
            None means all.
        symbols : str or sequence of str, default=None
            None means all.
        start, end : datetime-like, default=None
            First and last t0, both included.
        as_of : datetime-like, default=None
            Leave out signals that were not known then: those with a later t0.

        Returns
        -------
        DataFrame of shape (n_signals, 7)
            Index (symbol, t0), sorted (then by time of writing); columns model,
            probability, price, wanted, position, side (int8, the sign of position)
            and created_at (UTC, when these values were written).

        Raises
        ------
        EmptyDataError
            If there is no such symbol.
        """
        with self._reading() as connection:
            return _signals.read_signals(connection, model, symbols, start, end, as_of)

    def write_trial(self, key: str, record: dict[str, Any]) -> WriteReport:
        """Keep the record of one trial, replacing an earlier one of the same key.

        A trial is one set of parameters fitted and scored on one set of folds of
        some data: what search engines look up to not do it twice, and what deflated
        statistics count.

        Parameters
        ----------
        key : str
            Its name, such as a hash of the four entries below.
        record : dict
            ``data_hash``, ``fold_hash`` and ``code_version`` (str), ``params`` (dict)
            and any more that JSON can say.

        Returns
        -------
        WriteReport
            How many rows were inserted, updated and left alone.

        Raises
        ------
        ValueError
            If one of the four is missing, or JSON cannot say the record.

        Examples
        --------
        >>> from skatra.datasets import Database
        >>> record = {"data_hash": "d", "fold_hash": "f", "code_version": "1",
        ...           "params": {"num_leaves": 7}, "score": 0.5}
        >>> with Database(":memory:") as db:
        ...     _ = db.write_trial("k", record)
        ...     db.trial("k") == record, db.trial("other"), len(db.trials("d"))
        (True, None, 1)
        """
        with self._writing() as connection:
            return _trials.write_trial(connection, key, record)

    def trial(self, key: str) -> dict[str, Any] | None:
        """Return the record of a trial as it was written, None if there is none.

        Parameters
        ----------
        key : str
            The key it was written under.

        Returns
        -------
        dict or None
            The record, or None if there is none.
        """
        with self._reading() as connection:
            return _trials.read_trial(connection, key)

    def trials(self, data_hash: str | None = None) -> pd.DataFrame:
        """Return the trials made on some data, the first written first.

        Parameters
        ----------
        data_hash : str, default=None
            None means all data.

        Returns
        -------
        DataFrame of shape (n_trials, 6)
            Index key; columns data_hash, fold_hash, code_version, params (dict),
            record (dict of the other entries) and created_at (UTC, when it was first
            written).
        """
        with self._reading() as connection:
            return _trials.read_trials(connection, data_hash)

    def write_run(self, run_id: str, card: dict[str, Any]) -> WriteReport:
        """Keep the card of a run, replacing an earlier one of the same id.

        Parameters
        ----------
        run_id : str
            The run's name.
        card : dict
            Anything JSON can say.

        Returns
        -------
        WriteReport
            How many rows were inserted, updated and left alone.
        """
        with self._writing() as connection:
            return _trades.write_run(connection, run_id, card)

    def runs(self) -> pd.DataFrame:
        """Return all runs, the first written first.

        Returns
        -------
        DataFrame of shape (n_runs, 2)
            Index run_id; columns created_at (UTC) and card (dict).
        """
        with self._reading() as connection:
            return _trades.read_runs(connection)
