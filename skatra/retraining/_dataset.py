"""From bars in the database to the rows that a run learns from."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skatra.datasets import Database, load_dataset
from skatra.exceptions import EmptyDataError
from skatra.features import PRICE_FEATURES, price_features
from skatra.labeling import daily_volatility, triple_barrier_labels
from skatra.retraining._config import RetrainConfig
from skatra.sample_weight import average_uniqueness


@dataclass(frozen=True, slots=True)
class Rows:
    """Aligned rows, sorted by (t0, symbol).

    Attributes
    ----------
    data : DataFrame of shape (n, n_features)
        Features known at t0; index (symbol, t0), as of every other attribute.
    target : Series of int
        -1 or +1, the sign of the return.
    label_times, returns, sample_weight, groups : Series
        t1, simple return of a long unit, uniqueness, symbol.
    """

    data: pd.DataFrame
    target: "pd.Series[int]"
    label_times: "pd.Series[Any]"
    returns: "pd.Series[float]"
    sample_weight: "pd.Series[float]"
    groups: "pd.Series[str]"

    def take(self, mask: Any) -> "Rows":
        """Return the rows of a boolean mask or of positions."""
        rows = np.flatnonzero(mask) if np.asarray(mask).dtype == bool else mask
        return Rows(
            self.data.iloc[rows],
            self.target.iloc[rows],
            self.label_times.iloc[rows],
            self.returns.iloc[rows],
            self.sample_weight.iloc[rows],
            self.groups.iloc[rows],
        )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.data)


def store_built_in_sets(db: Database, config: RetrainConfig) -> None:
    """Compute the built-in feature and label sets from the bars and store them."""
    bars = db.bars(symbols=config.symbols)
    if len(bars) == 0:
        msg = (
            f"{db.path} holds no bars. Load some with skatra ingest, or with "
            "Database.write_bars."
        )
        raise EmptyDataError(msg)
    if config.feature_set == "base":
        db.write_features(
            price_features(bars),
            "base",
            spec={"features": dict(PRICE_FEATURES)},
            replace=True,
        )
    if config.label_set == "triple_barrier":
        width = daily_volatility(bars["close"]) * np.sqrt(config.max_holding)
        labels = triple_barrier_labels(
            bars,
            target=width,
            profit_taking=config.barrier_width,
            stop_loss=config.barrier_width,
            max_holding=config.max_holding,
        )
        labels["weight"] = np.asarray(
            average_uniqueness(
                labels["t1"], groups=labels.index.get_level_values("symbol")
            )
        )
        spec = {
            "barriers": config.barrier_width,
            "max_holding": config.max_holding,
            "target": "daily_volatility * sqrt(max_holding)",
        }
        db.write_labels(labels, "triple_barrier", spec=spec, replace=True)


def load_rows(db: Database, config: RetrainConfig) -> tuple[Rows, int]:
    """Load the run's rows; return them with the count of rows without direction.

    A label of exactly 0 (price unchanged) has no direction to learn and is left
    out.
    """
    bunch = load_dataset(
        db, config.feature_set, config.label_set, symbols=config.symbols
    )
    rows = Rows(
        bunch.data,
        bunch.target,
        bunch.label_times,
        bunch.returns,
        bunch.sample_weight,
        bunch.groups,
    )
    directed = np.asarray(bunch.target) != 0
    kept = rows.take(directed)
    if kept.target.nunique() < 2:
        msg = (
            f"the label set {config.label_set!r} must hold labels of both signs, got "
            f"{sorted(kept.target.unique().tolist())} in {len(kept)} rows. Load more "
            "bars, or narrow the barriers with barrier_width."
        )
        raise EmptyDataError(msg)
    return kept, int((~directed).sum())


def rows_digest(rows: Rows) -> str:
    """Return a SHA-256 over every value that a run learns from."""
    digest = hashlib.sha256()
    digest.update("\x1f".join(rows.data.columns).encode())
    digest.update("\x1f".join(rows.groups.astype(str)).encode())
    for values in (rows.data.index.get_level_values(1), rows.label_times):
        times = pd.DatetimeIndex(values)
        digest.update(np.ascontiguousarray(times.as_unit("ns").asi8, "<i8").tobytes())
    columns: tuple[Any, ...] = (
        rows.data,
        rows.target,
        rows.returns,
        rows.sample_weight,
    )
    for column in columns:
        digest.update(np.ascontiguousarray(column.to_numpy(), "<f8").tobytes())
    return digest.hexdigest()
