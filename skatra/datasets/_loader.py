"""Features and labels of a database as one dataset for scikit-learn."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch

from skatra.datasets._database import Database
from skatra.datasets._feature_reader import FeatureReader, Rows, SymbolTimes
from skatra.datasets._frames import (
    Int64Array,
    bounds_ns,
    from_ns,
    multi_index,
    small_range,
    time_codes,
)
from skatra.datasets._label_chunks import read_label_arrays
from skatra.datasets._tables import ReadSets, chosen_symbols, find_set
from skatra.exceptions import DatabaseError, EmptyDataError

_Sort = Callable[[NDArray[Any]], NDArray[Any]]


def load_dataset(
    db: Database,
    feature_set: str = "base",
    label_set: str = "triple_barrier",
    *,
    symbols: str | Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    start: Any = None,
    end: Any = None,
    as_of: Any = None,
) -> Bunch:
    """Join a feature set and a label set on (symbol, time == t0).

    Both are read in one transaction, so they fit together even while another
    process writes. Labels that are still open (touched is "open") have no outcome
    yet and are left out; labels without features are left out and counted.

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
    start, end : datetime-like, default=None
        First and last t0, both included.
    as_of : datetime-like, default=None
        Leave out labels that were not known then, those with a later t1: what could
        have been learnt from on that day.

    Returns
    -------
    Bunch
        In one row order, sorted by (t0, symbol), all indexed by (symbol, t0):

        - ``data``: DataFrame of shape (n_samples, n_features);
        - ``target``: Series of int8, the labels as stored;
        - ``label_times``: Series of datetimes, t1;
        - ``returns``: Series of float64, of a unit staked on the side;
        - ``side``: Series of int8, -1, 0 or 1;
        - ``sample_weight``: Series of float64; 1 where the set has no weights;
        - ``groups``: Series of str, the symbol;

        and

        - ``feature_names``: list of str;
        - ``unmatched``: int, labels left out because no features are stored at their
          t0;
        - ``n_open``: int, labels left out because they are open.

    Raises
    ------
    EmptyDataError
        If a set does not exist (the message lists those that do), or nothing is
        left.
    DatabaseCorruptError
        If a chunk of features fails its checksum.
    DatabaseError
        If only some of the labels have weights.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import pandas as pd
    >>> from skatra.datasets import Database, load_dataset
    >>> folder = tempfile.TemporaryDirectory()
    >>> db = Database(Path(folder.name, "market.db"), create=True)
    >>> days = pd.date_range("2024-01-01", periods=3, tz="UTC")
    >>> rows = pd.MultiIndex.from_product([["SP500"], days], names=["symbol", "t0"])
    >>> _ = db.write_features(pd.DataFrame({"x": [1.0, 2.0, 3.0]}, index=rows), "base")
    >>> labels = pd.DataFrame({"t1": days[1:], "ret": [0.1, -0.1], "label": [1, -1],
    ...                        "side": 1, "touched": "time"}, index=rows[:2])
    >>> _ = db.write_labels(labels, "triple_barrier")
    >>> ds = load_dataset(db)
    >>> ds.data.shape, ds.target.tolist(), ds.unmatched
    ((2, 1), [1, -1], 0)
    >>> db.close()
    >>> folder.cleanup()
    """
    if not isinstance(db, Database):
        raise TypeError(
            f"db must be a Database, got {type(db).__name__}. Open one: "
            "Database('market.db')."
        )
    span = {"start": start, "end": end}
    chosen = {"symbols": symbols, "columns": columns, "as_of": as_of}
    return cast("Bunch", _load(db, feature_set, label_set, **span, **chosen))


def _load(
    db: Database,
    feature_set: str,
    label_set: str,
    *,
    symbols: str | Sequence[str] | None,
    columns: Sequence[str] | None,
    start: Any,
    end: Any,
    as_of: Any,
    weighted: bool | None = None,
) -> Bunch | None:
    """Read a dataset, or a batch of one, whose ``weighted`` is that of the whole.

    A batch of which no sample is left is None.
    """
    low, high = bounds_ns(start, end)
    with db._reading() as connection:  # noqa: SLF001 - one box
        reader = FeatureReader(connection, feature_set, columns, low, high)
        set_id = find_set(connection, "label", label_set)
        samples = Samples(
            connection, reader, (set_id, label_set), symbols, (low, high), as_of
        )
        if weighted is not None and not samples.n:
            return None
        samples.raise_if_empty(db, feature_set, label_set)
        index, places, sort = samples.order()
        labels = samples.labels
        weight = weights_of(labels.weight, label_set, weighted=weighted)
        columns_of: dict[str, Any] = {
            "target": sort(labels.label),
            "returns": sort(labels.ret),
            "side": sort(labels.side),
            "label_times": from_ns(sort(labels.t1)),
            "sample_weight": np.ones(samples.n) if weight is None else sort(weight),
        }
        # The features need the room.
        del samples.labels, labels, weight, sort
        data = _fill(reader, samples, places, index)
    columns_of["groups"] = index.get_level_values(0)
    series = {
        name: pd.Series(values, index=index, name=name, copy=False)
        for name, values in columns_of.items()
    }
    return Bunch(
        data=data,
        **series,
        feature_names=list(reader.columns),
        unmatched=samples.unmatched,
        n_open=samples.n_open,
    )


def iter_batches(
    db: Database,
    feature_set: str = "base",
    label_set: str = "triple_barrier",
    *,
    batch_rows: int = 100_000,
    symbols: str | Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    start: Any = None,
    end: Any = None,
    as_of: Any = None,
) -> Iterator[Bunch]:
    """Yield a dataset too large for memory piece by piece, in order of t0.

    Put together, the batches are what ``load_dataset`` returns; all labels of one
    t0 are in one batch, which is filled up as far as that lets it: when every t0 has
    as many labels, all batches but the last are of one size. Each batch is one state
    of the file.

    Parameters
    ----------
    db : Database
        The database to read.
    feature_set, label_set : str, default="base", "triple_barrier"
        Names of the sets.
    batch_rows : int, default=100000
        Most samples in a batch, unless a single t0 has more.
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

    Yields
    ------
    Bunch
        As ``load_dataset`` returns.

    Raises
    ------
    ValueError
        If ``batch_rows`` is less than 1.
    EmptyDataError
        If a set does not exist; also when it, a column or a symbol was removed
        between two batches.
    DatabaseError
        If only some of all the labels have weights.

    Examples
    --------
    >>> import pandas as pd
    >>> from skatra.datasets import Database, iter_batches
    >>> days = pd.date_range("2024-01-01", periods=5, tz="UTC")
    >>> rows = pd.MultiIndex.from_product([["SP500"], days], names=["symbol", "t0"])
    >>> labels = pd.DataFrame({"t1": days, "ret": 0.1, "label": 1, "side": 1,
    ...                        "touched": "time"}, index=rows)
    >>> with Database(":memory:") as db:
    ...     _ = db.write_features(pd.DataFrame({"x": 1.0}, index=rows), "base")
    ...     _ = db.write_labels(labels, "triple_barrier")
    ...     [len(batch.data) for batch in iter_batches(db, batch_rows=2)]
    [2, 2, 1]
    """
    if batch_rows < 1:
        raise ValueError(f"batch_rows must be an integer >= 1, got {batch_rows!r}.")
    low, high = bounds_ns(start, end)
    with db._reading() as connection:  # noqa: SLF001 - one box
        reader = FeatureReader(connection, feature_set, columns, low, high)
        label = (find_set(connection, "label", label_set), label_set)
        sets: ReadSets = (reader.read_set, ("label", label[0]))
        names = list(chosen_symbols(connection, symbols, sets))
        samples = Samples(connection, reader, label, names, (low, high), as_of)
    times, counts = np.unique(samples.labels.t0, return_counts=True)
    chosen: dict[str, Any] = {
        "symbols": names,
        "columns": reader.columns,
        "as_of": as_of,
        "weighted": weights_of(samples.labels.weight, label_set) is not None,
    }
    del samples, reader
    first, filled = 0, 0
    for k, count in enumerate(counts.tolist()):
        if filled and filled + count > batch_rows:
            yield from _batch(db, feature_set, label_set, times[[first, k - 1]], chosen)
            first, filled = k, 0
        filled += count
    if filled:
        yield from _batch(db, feature_set, label_set, times[[first, -1]], chosen)


def _batch(
    db: Database,
    feature_set: str,
    label_set: str,
    ends: Int64Array,
    chosen: dict[str, Any],
) -> Iterator[Bunch]:
    start, end = from_ns(ends)
    batch = _load(db, feature_set, label_set, start=start, end=end, **chosen)
    if batch is not None:  # else its rows were removed meanwhile
        yield batch


class Samples:
    """Labels that have features, symbol by symbol, on their way to one order.

    Attributes
    ----------
    labels : LabelArrays
        Those of one symbol after the other.
    parts : list of (SymbolTimes, rows)
        For each symbol with such labels, its features and which rows of them.
    n, n_open, n_labels, n_features, unmatched : int
        Labels with features, open ones, all labels known, rows of features, and
        closed labels without features.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        reader: FeatureReader,
        label_set: tuple[int, str],
        symbols: str | Sequence[str] | None,
        bounds: tuple[int, int],
        as_of: Any,
    ) -> None:
        sets: ReadSets = (reader.read_set, ("label", label_set[0]))
        chosen = chosen_symbols(connection, symbols, sets)
        found = [reader.times(*symbol) for symbol in chosen.items()]
        self.n_features = sum(len(part.times) for part in found if part is not None)
        self.labels, self._counts = read_label_arrays(
            connection, label_set, chosen, bounds, self.n_features
        )
        if as_of is not None:
            self._keep(self.labels.t1 <= bounds_ns(None, as_of)[1])
        self.n_labels = len(self.labels.t0)
        self._keep(self.labels.is_open == 0)
        self.n_open = self.n_labels - len(self.labels.t0)
        self.parts: list[tuple[SymbolTimes, Rows]] = []
        self._match(found)
        self.n = len(self.labels.t0)
        self.unmatched = self.n_labels - self.n_open - self.n

    def _keep(self, wanted: NDArray[np.bool_]) -> None:
        """Forget the other labels."""
        if not wanted.all():
            kept = np.concatenate([[0], np.cumsum(wanted)])
            self._counts = np.diff(kept[np.cumsum([0, *self._counts])])
            self.labels = self.labels.part(wanted)

    def _match(self, found: Sequence[SymbolTimes | None]) -> None:
        """Keep the labels at whose t0 there are features."""
        hits = np.zeros(len(self.labels.t0), dtype=bool)
        begin = 0
        for features, count in zip(found, self._counts.tolist(), strict=True):
            t0 = self.labels.t0[begin : begin + count]
            hit = hits[begin : begin + count]
            begin += count
            if features is None:
                continue
            if np.array_equal(t0, features.times):
                hit[:] = True
                self.parts.append((features, slice(None)))
                continue
            at = np.searchsorted(features.times, t0)
            at = np.minimum(at, len(features.times) - 1)
            hit[:] = features.times[at] == t0
            if hit.any():
                self.parts.append((features, at[hit]))
        self._keep(hits)
        self._counts = self._counts[self._counts > 0]

    def raise_if_empty(self, db: Database, feature_set: str, label_set: str) -> None:
        """Say why nothing is left, if nothing is."""
        if not self.n:
            _raise_empty((feature_set, self.n_features), label_set, self, db)

    def order(self) -> tuple[pd.MultiIndex, list[Rows], _Sort]:
        """Return the order of (t0, symbol).

        Returns
        -------
        index : MultiIndex
        places : list of slice or ndarray
            Where the rows of each symbol go; slices if the symbols take turns.
        sort : callable
            Brings a column of the labels into the order.
        """
        n_symbols, times = len(self.parts), self.labels.t0
        uniques = times[: self._counts[0]].copy()
        table = (n_symbols, len(uniques))
        places: list[Rows] = []
        if (self._counts == len(uniques)).all() and bool(
            (times.reshape(table) == uniques).all()
        ):
            owners = np.tile(small_range(n_symbols), len(uniques))
            codes = np.repeat(small_range(len(uniques)), n_symbols)
            places += [slice(k, self.n, n_symbols) for k in range(n_symbols)]

            def sort(column: NDArray[Any]) -> NDArray[Any]:
                return np.array(column.reshape(table).T, order="C").ravel()
        else:
            ends = np.cumsum(self._counts)[:-1]
            uniques, codes = time_codes(np.split(times, ends))
            owner = np.repeat(np.arange(n_symbols), self._counts)
            order = np.argsort(codes * n_symbols + owner)
            place = np.empty(self.n, dtype=np.intp)
            place[order] = np.arange(self.n)
            owners, codes = owner[order], codes[order]
            places += np.split(place, ends)

            def sort(column: NDArray[Any]) -> NDArray[Any]:
                return column[order]

        symbols = [features.symbol for features, _ in self.parts]
        return multi_index(symbols, uniques, owners, codes, "t0"), places, sort


def _fill(
    reader: FeatureReader, samples: Samples, places: list[Rows], index: pd.MultiIndex
) -> pd.DataFrame:
    """Read the features straight to where they belong, or by way of a shelf."""
    block, arrays = reader.room(samples.n)
    parts = [features for features, _ in samples.parts]
    taken = [rows for _, rows in samples.parts]
    if len(parts) == 1 and isinstance(taken[0], slice):
        reader.fill(parts, dict(enumerate(arrays)))
    else:
        reader.in_order(parts, taken, places, arrays)
    return reader.framed(block, arrays, index)


def weights_of(
    weights: NDArray[np.float64], label_set: str, *, weighted: bool | None = None
) -> NDArray[np.float64] | None:
    """Return the weights of labels, None if there are none; refuse a mixture.

    ``weighted`` says whether earlier labels of the set had weights.
    """
    missing = int(np.isnan(weights).sum())
    if 0 < missing < len(weights):
        raise DatabaseError(
            f"{missing} of {len(weights)} labels of the set {label_set!r} have no "
            "weight. Write weights for all of them, or for none."
        )
    if weighted is not None and weighted == bool(missing):
        raise DatabaseError(
            f"labels of the set {label_set!r} got or lost their weights between two "
            "batches. Read them again from the start."
        )
    return None if missing else weights


def _raise_empty(
    features: tuple[str, int], label_set: str, samples: Samples, db: Database
) -> None:
    feature_set, n_features = features
    n_labels, n_open = samples.n_labels, samples.n_open
    sets = (
        f"The database has the feature sets {list(db.feature_sets())} and the label "
        f"sets {list(db.label_sets())}."
    )
    if n_features == 0:
        problem = (
            f"the feature set {feature_set!r} has no rows in the chosen range. Write "
            f"some with write_features, or widen symbols, start and end"
        )
    elif n_labels == 0:
        problem = (
            f"the label set {label_set!r} has no rows in the chosen range. Write some "
            f"with write_labels, or widen symbols, start and end"
        )
    elif n_labels == n_open:
        problem = (
            f"all {n_labels} labels of {label_set!r} are still open. Add later bars "
            "and label again"
        )
    else:
        problem = (
            f"none of the {n_labels - n_open} labels of {label_set!r} has features in "
            f"{feature_set!r} at its t0. Make both from the same bars"
        )
    raise EmptyDataError(f"{problem}. {sets}")
