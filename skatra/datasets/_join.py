"""Features of a database as a step of a pipeline."""

import os
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skatra.datasets._database import Database
from skatra.datasets._feature_reader import FeatureReader
from skatra.datasets._frames import Int64Array, bounds_ns, check_symbols, to_ns
from skatra.datasets._tables import known_symbols

_KEYS = ("symbol", "t0")


class SQLiteDatasetLoader(TransformerMixin, BaseEstimator):
    """Join features to keys (symbol, t0), as they were known at t0.

    ``X`` holds only the keys of the samples; ``transform`` reads the features from
    the database. So a search can tune which features are used, and how many past
    rows of them, like any other parameter, and splitters see small frames.

    A sample gets its symbol's last feature row at or before ``t0 - delay``, never a
    later one. It keeps no connection and travels to other threads and processes as
    its parameters.

    Parameters
    ----------
    database : path-like or Database
        The database; opened read-only when features are needed.
    feature_set : str, default="base"
        The set's name.
    columns : sequence of str, default=None
        Features in the wanted order; None means all.
    look_back : int, default=1
        Feature rows per sample: the latest one and ``look_back - 1`` before it.
    delay : timedelta-like, default="0s"
        How long before t0 a feature row must have been there.
    max_age : timedelta-like, default=None
        A row older than this at t0 counts as missing; None means any age will do.

    Attributes
    ----------
    feature_names_out_ : list of str
        ``name``, and ``name_lag1``, ``name_lag2``, ... of the rows before.
    n_features_in_ : int
        Columns of X.

    See Also
    --------
    load_dataset : The whole dataset at once, joined at equal times.

    Notes
    -----
    A sample whose features are missing gets NaN; LightGBM takes that as it is, other
    estimators need an imputer after this step. Columns and look-back are those of
    ``fit`` until the next one.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import pandas as pd
    >>> from skatra.datasets import Database, SQLiteDatasetLoader
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "market.db")
    >>> days = pd.date_range("2024-01-01", periods=3, tz="UTC")
    >>> rows = pd.MultiIndex.from_product([["SP500"], days], names=["symbol", "time"])
    >>> with Database(path, create=True) as db:
    ...     _ = db.write_features(pd.DataFrame({"x": [1.0, 2.0, 3.0]}, rows), "base")
    >>> keys = pd.DataFrame({"symbol": "SP500", "t0": days})
    >>> loader = SQLiteDatasetLoader(path, look_back=2, delay="1D")
    >>> loader.fit_transform(keys)
         x  x_lag1
    0  NaN     NaN
    1  1.0     NaN
    2  2.0     1.0
    >>> folder.cleanup()
    """

    def __init__(
        self,
        database: str | os.PathLike[str] | Database,
        *,
        feature_set: str = "base",
        columns: Sequence[str] | None = None,
        look_back: int = 1,
        delay: Any = "0s",
        max_age: Any = None,
    ) -> None:
        self.database = database
        self.feature_set = feature_set
        self.columns = columns
        self.look_back = look_back
        self.delay = delay
        self.max_age = max_age

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Check the parameters and learn the names of the features.

        Parameters
        ----------
        X : DataFrame of shape (n_samples, n_columns)
            Columns (or index levels) ``symbol`` and ``t0``.
        y : ignored
            Present for scikit-learn's sake.

        Returns
        -------
        SQLiteDatasetLoader
            Itself.

        Raises
        ------
        EmptyDataError
            If there is no such feature set or column.
        ValueError
            If a parameter or X cannot be used.
        """
        del y
        look_back: Any = self.look_back
        whole = isinstance(look_back, int | np.integer)
        if not whole or isinstance(look_back, bool) or look_back < 1:
            raise ValueError(
                f"look_back must be an integer >= 1, got {self.look_back!r}."
            )
        _span(self.delay, "delay")
        _span(self.max_age, "max_age")
        _keys(X)
        with self._open() as db, db._reading() as connection:  # noqa: SLF001 - one box
            low, high = bounds_ns(None, None)
            reader = FeatureReader(
                connection, self.feature_set, self.columns, low, high
            )
        names = [
            name if lag == 0 else f"{name}_lag{lag}"
            for lag in range(look_back)
            for name in reader.columns
        ]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(
                f"look_back={look_back} makes columns named {twice}, which "
                f"{self.feature_set!r} has as features already. Choose columns "
                "without them, or name the features otherwise."
            )
        self._columns, self._look_back = reader.columns, look_back
        self.n_features_in_ = X.shape[1]
        self.feature_names_out_ = names
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the features of each key.

        Parameters
        ----------
        X : DataFrame of shape (n_samples, n_columns)
            Keys in any order, also repeated.

        Returns
        -------
        DataFrame of shape (n_samples, n_features * look_back)
            Index as of X; float64, or float32 where all features are; NaN where no
            feature row was known in time.

        Raises
        ------
        DatabaseCorruptError
            If a chunk fails its checksum.
        EmptyDataError
            If the set is gone, or has one of the fitted columns no more.
        """
        check_is_fitted(self)
        symbols, t0 = _keys(X)
        known_at = _before(t0, _span(self.delay, "delay"))
        oldest = _before(t0, _span(self.max_age, "max_age"))
        codes, names = pd.factorize(np.array(symbols, dtype=object))
        with self._open() as db, db._reading() as connection:  # noqa: SLF001 - one box
            high = int(known_at.max()) if len(known_at) else 0
            low = bounds_ns(None, None)[0]
            # By name: the set may have been made anew with another order.
            reader = FeatureReader(
                connection, self.feature_set, self._columns, low, high
            )
            ids = known_symbols(connection, names)
            dtype = np.result_type(*reader.dtypes)
            values = np.full((len(X), len(self.feature_names_out_)), np.nan, dtype)
            for code, name in enumerate(names):
                rows = np.flatnonzero(codes == code)
                times = reader.times(name, ids[name]) if name in ids else None
                if times is None:
                    continue
                at = np.searchsorted(times.times, known_at[rows], "right") - 1
                fits = at >= 0
                if self.max_age is not None:
                    fits &= times.times[np.maximum(at, 0)] >= oldest[rows]
                rows, at = rows[fits], at[fits]
                if len(rows):
                    first = max(0, int(at.min()) - self._look_back + 1)
                    part = times.part(first, int(at.max()) + 1)
                    _, arrays = reader.room(len(part.times))
                    reader.fill([part], dict(enumerate(arrays)))
                    block = np.stack(arrays).astype(dtype, copy=False)
                    _place(values, rows, block, at - first, self._look_back)
        names_out = pd.Index(self.feature_names_out_)
        return pd.DataFrame(values, index=X.index, columns=names_out, copy=False)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return the names of the features.

        Parameters
        ----------
        input_features : ignored
            Present for scikit-learn's sake.

        Returns
        -------
        ndarray of str
            Columns of the frame that ``transform`` returns, in order.
        """
        del input_features
        check_is_fitted(self)
        return np.array(self.feature_names_out_, dtype=object)

    def _open(self) -> Database:
        given = self.database
        path = given.path if isinstance(given, Database) else given
        return Database(path, readonly=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags


def _place(
    values: NDArray[Any],
    rows: NDArray[np.intp],
    block: NDArray[Any],
    at: NDArray[np.intp],
    look_back: int,
) -> None:
    """Put the rows at, and up to ``look_back - 1`` before, ``at`` side by side."""
    width = len(block)
    for lag in range(look_back):
        there = at >= lag
        columns = slice(lag * width, (lag + 1) * width)
        values[rows[there], columns] = block.T[at[there] - lag]


def _before(times: Int64Array, span: int) -> Int64Array:
    """Return times less a span; where no nanoseconds reach, before every row.

    No row is stored at the least int64, which is NaT: wrapping round to the far
    future instead would look ahead.
    """
    least = int(np.iinfo(np.int64).min)
    return np.maximum(times, least + span) - span


def _span(value: Any, name: str) -> int:
    """Return a length of time in nanoseconds."""
    if value is None and name == "max_age":
        return 0
    try:
        span: Any = pd.Timedelta(value)
        ns = -1 if span is pd.NaT else int(span.as_unit("ns").value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be a length of time, such as '1D', got {value!r}."
        ) from error
    if ns < 0:
        raise ValueError(f"{name} must be a time >= 0, got {value!r}.")
    return ns


def _keys(X: Any) -> tuple[list[str], Int64Array]:
    """Return symbols and t0 (ns UTC) of the keys."""
    if not isinstance(X, pd.DataFrame):
        raise TypeError(
            f"X must be a DataFrame with symbol and t0, got {type(X).__name__}."
        )
    found: list[Any] = []
    for name in _KEYS:
        if name in X.columns:
            found.append(X[name])
        elif name in X.index.names:
            found.append(X.index.get_level_values(name))
        else:
            raise ValueError(
                f"X must have {name!r} as a column or index level, got the columns "
                f"{list(X.columns)} and levels {list(X.index.names)}."
            )
    return check_symbols(found[0].tolist(), "X"), to_ns(found[1], "t0")
