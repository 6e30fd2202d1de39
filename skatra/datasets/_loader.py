"""Features and labels of a database as one dataset for scikit-learn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch

from skatra.datasets._database import Database
from skatra.datasets._features import FeatureBlock
from skatra.datasets._features import read_features as _read_features
from skatra.datasets._labels import read_labels
from skatra.exceptions import DatabaseError, EmptyDataError


def load_dataset(
    db: Database,
    feature_set: str = "base",
    label_set: str = "triple_barrier",
    *,
    symbols: str | Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    start: Any = None,
    end: Any = None,
) -> Bunch:
    """Join a feature set and a label set on (symbol, time == t0).

    Both are read in one transaction, so they fit together even while another
    process writes. Labels that are still open (touched is "open") have no outcome
    yet and are left out; labels without features are left out and counted.

    Parameters
    ----------
    db : Database
    feature_set, label_set : str, default="base", "triple_barrier"
        Names of the sets.
    symbols : str or sequence of str, default=None
        None means all.
    columns : sequence of str, default=None
        Features in the wanted order; None means all.
    start, end : datetime-like, default=None
        First and last t0, both included.

    Returns
    -------
    Bunch
        In one row order, sorted by (t0, symbol), all indexed by (symbol, t0):

        - ``data``: DataFrame of shape (n_samples, n_features);
        - ``target``: Series of int8, the labels as stored;
        - ``label_times``: Series of datetimes, t1;
        - ``returns``: Series of float64;
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
    with db.pool.get_connection() as connection:
        connection.execute("BEGIN").close()
        features = _read_features(connection, feature_set, columns, symbols, start, end)
        labels = read_labels(connection, label_set, symbols, start, end)
    n_open = int((labels["touched"] == "open").sum())
    closed = labels[labels["touched"] != "open"]
    where = _positions(features, closed.index)
    matched = np.flatnonzero(where >= 0)
    unmatched = len(closed) - len(matched)
    if not len(matched):
        _raise_empty(
            (feature_set, len(features.times)), (label_set, len(labels)), n_open, db
        )
    order = matched[np.lexsort((_codes(closed.index)[matched], _t0(closed)[matched]))]
    closed = closed.iloc[order]
    index = closed.index
    return Bunch(
        data=features.frame(index, where[order]),
        target=closed["label"].rename("target"),
        label_times=closed["t1"].rename("label_times"),
        returns=closed["ret"].rename("returns"),
        sample_weight=_weights(closed, label_set),
        groups=pd.Series(index.get_level_values(0), index=index, name="groups"),
        feature_names=list(features.columns),
        unmatched=unmatched,
        n_open=n_open,
    )


def _codes(index: pd.Index) -> NDArray[np.intp]:
    """Return the rank of each row's symbol (the levels are sorted)."""
    assert isinstance(index, pd.MultiIndex)  # noqa: S101
    return np.asarray(index.codes[0], dtype=np.intp)


def _t0(frame: pd.DataFrame) -> NDArray[np.int64]:
    index: Any = frame.index
    times: NDArray[np.int64] = index.levels[1].asi8[index.codes[1]]
    return times


def _positions(features: FeatureBlock, index: pd.Index) -> NDArray[np.intp]:
    """Return the feature row of each label, -1 where there is none."""
    assert isinstance(index, pd.MultiIndex)  # noqa: S101
    codes = _codes(index)
    t0 = index.levels[1].asi8[index.codes[1]]  # type: ignore[attr-defined]
    where = np.full(len(index), -1, dtype=np.intp)
    rank = {symbol: k for k, symbol in enumerate(index.levels[0])}
    begin = 0
    for symbol, count in zip(features.symbols, features.counts, strict=True):
        times = features.times[begin : begin + count]
        rows = np.flatnonzero(codes == rank.get(symbol, -2))
        at = np.searchsorted(times, t0[rows])
        hit = times[np.minimum(at, count - 1)] == t0[rows]
        where[rows[hit]] = begin + at[hit]
        begin += count
    return where


def _weights(labels: pd.DataFrame, label_set: str) -> "pd.Series[float]":
    if "weight" not in labels.columns:
        return pd.Series(1.0, index=labels.index, name="sample_weight")
    weights = labels["weight"].rename("sample_weight")
    missing = int(weights.isna().sum())
    if 0 < missing < len(weights):
        raise DatabaseError(
            f"{missing} of {len(weights)} labels of the set {label_set!r} have no "
            "weight. Write weights for all of them, or for none."
        )
    return weights.fillna(1.0)


def _raise_empty(
    features: tuple[str, int], labels: tuple[str, int], n_open: int, db: Database
) -> None:
    (feature_set, n_features), (label_set, n_labels) = features, labels
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
