"""A LightGBM Dataset filled from chunks, without the whole matrix in memory."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skatra.datasets._database import Database
from skatra.datasets._feature_reader import FeatureReader, Rows, SymbolTimes
from skatra.datasets._frames import bounds_ns
from skatra.datasets._loader import Samples, weights_of
from skatra.datasets._tables import find_set

if TYPE_CHECKING:
    import lightgbm

_BLOCK_ROWS = 8192


def lightgbm_dataset(
    db: Database,
    feature_set: str = "base",
    label_set: str = "triple_barrier",
    *,
    symbols: str | Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    start: Any = None,
    end: Any = None,
    as_of: Any = None,
    params: dict[str, Any] | None = None,
    reference: "lightgbm.Dataset | None" = None,
) -> "lightgbm.Dataset":
    """Bin features for LightGBM straight from the database.

    LightGBM keeps one byte or two for each value; the features themselves are read a
    few thousand rows at a time and never are in memory together. The result is the
    Dataset of the frame that ``load_dataset`` returns, sorted by (symbol, t0).

    Parameters
    ----------
    db : Database
        The database to read.
    feature_set, label_set : str, default="base", "triple_barrier"
        Names of the sets.
    symbols : str or sequence of str, default=None
        None means all.
    columns : sequence of str, default=None
        Features in the wanted order; None means all.
    start : datetime-like, default=None
        First t0, included; None is open.
    end : datetime-like, default=None
        Last t0, included; None is open.
    as_of : datetime-like, default=None
        Leave out labels with a later t1, which were not known then.
    params : dict, default=None
        Parameters of the bins, such as ``max_bin``.
    reference : lightgbm.Dataset, default=None
        Take the bins of this one, as validation data must.

    Returns
    -------
    lightgbm.Dataset
        Constructed; rows sorted by (symbol, t0), labels as stored, and weights if the
        set has some.

    Raises
    ------
    EmptyDataError
        If a set does not exist, or nothing is left.
    DatabaseCorruptError
        If a chunk of features fails its checksum.
    DatabaseError
        If only some of the labels have weights.

    See Also
    --------
    load_dataset : The same rows as frames, sorted by (t0, symbol).

    Examples
    --------
    >>> import pandas as pd
    >>> from skatra.datasets import Database, lightgbm_dataset
    >>> days = pd.date_range("2024-01-01", periods=100, tz="UTC")
    >>> rows = pd.MultiIndex.from_product([["SP500"], days], names=["symbol", "t0"])
    >>> labels = pd.DataFrame({"t1": days, "ret": 0.1, "label": 1, "side": 1,
    ...                        "touched": "time"}, index=rows)
    >>> with Database(":memory:") as db:
    ...     x = pd.DataFrame({"x": range(100)}, index=rows, dtype=float)
    ...     _ = db.write_features(x, "base")
    ...     _ = db.write_labels(labels, "triple_barrier")
    ...     train = lightgbm_dataset(db, params={"verbose": -1})
    >>> train.num_data(), train.num_feature(), train.get_feature_name()
    (100, 1, ['x'])
    """
    import lightgbm

    low, high = bounds_ns(start, end)
    with db._reading() as connection:  # noqa: SLF001 - one box
        reader = FeatureReader(connection, feature_set, columns, low, high)
        label = find_set(connection, "label", label_set), label_set
        samples = Samples(connection, reader, label, symbols, (low, high), as_of)
        samples.raise_if_empty(db, feature_set, label_set)

        class SymbolRows(_Rows, lightgbm.Sequence):
            """Rows of one symbol as LightGBM asks for them."""

            batch_size = _BLOCK_ROWS

        dataset = lightgbm.Dataset(
            [SymbolRows(reader, *part) for part in samples.parts],
            label=samples.labels.label,
            weight=weights_of(samples.labels.weight, label_set),
            feature_name=list(reader.columns),
            params=params,
            reference=reference,
        )
        dataset.construct()
    return dataset


class _Rows:
    """Some rows of one symbol, of which a block at a time is in memory.

    Parameters
    ----------
    reader : FeatureReader
    features : SymbolTimes
    chosen : slice or ndarray
        Rows of ``features``, rising.
    """

    def __init__(
        self, reader: FeatureReader, features: SymbolTimes, chosen: Rows
    ) -> None:
        self._reader, self._features = reader, features
        self._rows = np.arange(len(features.times))[chosen]
        self._first = self._stop = 0
        self._block: NDArray[np.float64] = np.empty((0, len(reader.columns)))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, which: int | slice | Iterable[int]) -> NDArray[np.float64]:
        if isinstance(which, slice):
            rows = self._rows[which]
            return np.concatenate(
                [self._take(rows[k : k + _BLOCK_ROWS]) for k in _starts(len(rows))]
                or [self._block[:0]]
            )
        if isinstance(which, int | np.integer):
            row: NDArray[np.float64] = self._take(self._rows[[which]])[0]
            return row
        return np.stack([self[int(k)] for k in which])

    def _take(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return rising rows that lie near each other, as float64."""
        low, high = int(rows[0]), int(rows[-1]) + 1
        if low < self._first or high > self._stop:
            stop = max(high, min(low + _BLOCK_ROWS, len(self._features.times)))
            _, arrays = self._reader.room(stop - low)
            part = self._features.part(low, stop)
            self._reader.fill([part], dict(enumerate(arrays)))
            self._block = np.stack(arrays, axis=1).astype(np.float64, copy=False)
            self._first, self._stop = low, stop
        return self._block[rows - self._first]


def _starts(n: int) -> range:
    return range(0, n, _BLOCK_ROWS)
