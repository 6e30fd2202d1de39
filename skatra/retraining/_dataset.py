"""From bars in the database to the rows that a run learns from."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from skatra.datasets import Database, load_dataset
from skatra.exceptions import DatabaseError, EmptyDataError
from skatra.features import PRICE_FEATURES, price_features
from skatra.labeling import daily_volatility, triple_barrier_labels
from skatra.retraining._checks import UNUSABLE, DataReport, check_data
from skatra.retraining._config import RetrainConfig
from skatra.retraining._ledger import digest_of
from skatra.sample_weight import average_uniqueness
from skatra.typing import IntArray

BUILT_IN = "skatra"


@dataclass(frozen=True, slots=True)
class Rows:
    """Aligned rows, sorted by (t0, symbol).

    Attributes
    ----------
    data : DataFrame of shape (n, n_features)
        Features known at t0; index (symbol, t0), as of every other attribute.
    target : Series of int
        -1 or +1, the sign of the return.
    label_times, returns, side, sample_weight, groups : Series
        t1; simple return of a unit staked on the side; the side, -1 or 1;
        uniqueness; symbol.
    positions : ndarray of shape (n,), intp
        Where the rows stand among all rows of the run.
    """

    data: pd.DataFrame
    target: "pd.Series[int]"
    label_times: "pd.Series[Any]"
    returns: "pd.Series[float]"
    side: "pd.Series[int]"
    sample_weight: "pd.Series[float]"
    groups: "pd.Series[str]"
    positions: IntArray

    def take(self, mask: Any) -> "Rows":
        """Return the rows of a boolean mask or of positions."""
        rows = np.flatnonzero(mask) if np.asarray(mask).dtype == bool else mask
        taken = {
            f.name: getattr(self, f.name).iloc[rows]
            for f in fields(self)
            if f.name != "positions"
        }
        return Rows(**taken, positions=self.positions[rows])

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.data)


def label_set_name(config: RetrainConfig) -> str:
    """Return the stored name of the run's labels: other barriers, another set."""
    built_in = config.label_set == "triple_barrier"
    if not built_in or (config.max_holding, config.barrier_width) == (20, 1.0):
        return config.label_set
    return f"triple_barrier-{config.max_holding}-{config.barrier_width:g}"


@dataclass(frozen=True, slots=True)
class Sources:
    """What a run starts from, checked.

    Attributes
    ----------
    bars : DataFrame
        Without those that were waived and that nothing can be computed from.
    features, labels : DataFrame or None
        Computed or stored; None while bars are not sound.
    report : DataReport
    """

    bars: pd.DataFrame
    features: pd.DataFrame | None
    labels: pd.DataFrame | None
    report: DataReport


def read_sources(
    db: Database, config: RetrainConfig, previous_rows: int | None = None
) -> Sources:
    """Read the bars, compute or read both sets, and check all of them."""
    bars = db.bars(symbols=config.symbols)
    if len(bars) == 0:
        msg = (
            f"{db.path} holds no bars. Load some with skatra ingest, or with "
            "Database.write_bars."
        )
        raise EmptyDataError(msg)
    first = check_data(bars, waive=config.waive, max_gap=config.max_gap)
    sound = first.sound_bars(bars)
    computable = not any(
        problem.check in ("bad-volume", "unsorted", *UNUSABLE)
        for problem in first.errors
    )
    features = labels = None
    if config.feature_set != "base":
        features = db.features(config.feature_set, symbols=config.symbols)
    elif computable:
        _refuse_to_replace("feature", "base", db.feature_sets())
        features = price_features(sound)
    if config.label_set != "triple_barrier":
        labels = db.labels(config.label_set, symbols=config.symbols)
    elif computable:
        _refuse_to_replace("label", label_set_name(config), db.label_sets())
        labels = _triple_barrier(sound, config)
    report = check_data(
        bars,
        features,
        labels,
        waive=config.waive,
        max_gap=config.max_gap,
        previous_rows=previous_rows,
    )
    return Sources(sound, features, labels, report)


def store_built_in_sets(
    db: Database, config: RetrainConfig, sources: Sources | None = None
) -> None:
    """Store the built-in feature and label sets.

    Both are computed before either is written, and neither replaces a set of that
    name that somebody else made.
    """
    if sources is None:
        sources = read_sources(db, config)
        sources.report.raise_for_problems()
    if config.feature_set == "base" and sources.features is not None:
        spec: dict[str, Any] = {
            "made_by": BUILT_IN,
            "features": dict(PRICE_FEATURES),
        }
        db.write_features(sources.features, "base", spec=spec, replace=True)
    if config.label_set == "triple_barrier" and sources.labels is not None:
        spec = {
            "made_by": BUILT_IN,
            "barriers": config.barrier_width,
            "max_holding": config.max_holding,
            "target": "daily_volatility * sqrt(max_holding)",
        }
        db.write_labels(sources.labels, label_set_name(config), spec=spec, replace=True)


def previous_rows(db: Database, config: RetrainConfig) -> int | None:
    """Return the rows of the last run on the same symbols, features and labels."""
    names = ("symbols", "feature_set", "label_set", "max_holding", "barrier_width")
    settings = config.to_dict()
    for card in reversed(db.runs()["card"].tolist()):
        before = card.get("config", {})
        if "data" in card and all(before.get(n) == settings[n] for n in names):
            return int(card["data"]["rows"])
    return None


def _refuse_to_replace(kind: str, name: str, sets: Mapping[str, Any]) -> None:
    """Keep a set that a user wrote under a built-in name."""
    if name in sets and (sets[name]["spec"] or {}).get("made_by") != BUILT_IN:
        msg = (
            f"{kind}_set {name!r} in the database was not made by skatra retrain, "
            "which would replace it. Store yours under another name and pass "
            f"{kind}_set=that name (--{kind}-set)."
        )
        raise DatabaseError(msg)


def _triple_barrier(bars: pd.DataFrame, config: RetrainConfig) -> pd.DataFrame:
    """Return labels with uniqueness weights; bars that do not move get none."""
    width = daily_volatility(bars["close"]) * np.sqrt(config.max_holding)
    labels = triple_barrier_labels(
        bars,
        target=width.where(width > 0),
        profit_taking=config.barrier_width,
        stop_loss=config.barrier_width,
        max_holding=config.max_holding,
    )
    labels["weight"] = np.asarray(
        average_uniqueness(labels["t1"], groups=labels.index.get_level_values("symbol"))
    )
    return labels


def load_rows(db: Database, config: RetrainConfig) -> tuple[Rows, dict[str, Any]]:
    """Load the run's rows; return them with what was left out, and their origin.

    A label of exactly 0 (price unchanged) has no direction to learn and is left
    out, as are open labels and labels without features.
    """
    name = label_set_name(config)
    bunch = load_dataset(db, config.feature_set, name, symbols=config.symbols)
    rows = Rows(
        bunch.data,
        bunch.target,
        bunch.label_times,
        bunch.returns,
        bunch.side,
        bunch.sample_weight,
        bunch.groups,
        np.arange(len(bunch.data)),
    )
    directed = np.asarray((bunch.target != 0) & (bunch.side != 0))
    kept = rows.take(directed)
    kept = replace(kept, positions=np.arange(len(kept)))
    learned = set(kept.groups.unique())
    wanted = set(db.symbols() if config.symbols is None else config.symbols)
    if config.symbols is not None and wanted - learned:
        msg = (
            f"symbols must have at least one labelled row with features each; "
            f"{sorted(wanted - learned)} have none. Load more bars, or leave them out."
        )
        raise EmptyDataError(msg)
    if kept.target.nunique() < 2:
        msg = (
            f"the label set {name!r} must hold labels of both signs, got "
            f"{sorted(kept.target.unique().tolist())} in {len(kept)} rows. Load more "
            "bars, or narrow the barriers with barrier_width."
        )
        raise EmptyDataError(msg)
    return kept, {
        "feature_spec_sha256": feature_spec_digest(db, config),
        "rows_without_direction": int((~directed).sum()),
        "labels_without_features": int(bunch.unmatched),
        "open_labels": int(bunch.n_open),
        "symbols_without_rows": sorted(wanted - learned),
    }


def feature_spec_digest(db: Database, config: RetrainConfig) -> str:
    """Return a SHA-256 of what a stored feature set says of how it was made."""
    return digest_of(db.feature_sets()[config.feature_set]["spec"])


def bars_behind(sources: Sources, rows: Rows) -> pd.DataFrame:
    """Return the bars of the rows' symbols.

    Raises
    ------
    EmptyDataError
        If a symbol has labels and no bars.
    """
    symbols = sorted(rows.groups.unique())
    there = sources.bars.index.get_level_values("symbol")
    missing = sorted(set(symbols) - set(there))
    if missing:
        msg = (
            f"{missing} have labels and no bars, so that nothing can be followed bar "
            "by bar. Load their bars with skatra ingest, or leave them out of symbols."
        )
        raise EmptyDataError(msg)
    return sources.bars[there.isin(symbols)]


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
        rows.side,
        rows.sample_weight,
    )
    for column in columns:
        digest.update(np.ascontiguousarray(column.to_numpy(), "<f8").tobytes())
    return digest.hexdigest()


def bars_digest(bars: pd.DataFrame) -> str:
    """Return a SHA-256 over the bars that positions are followed along."""
    digest = hashlib.sha256()
    digest.update("\x1f".join(bars.index.get_level_values(0).astype(str)).encode())
    times = pd.DatetimeIndex(bars.index.get_level_values(1))
    digest.update(np.ascontiguousarray(times.as_unit("ns").asi8, "<i8").tobytes())
    digest.update(np.ascontiguousarray(bars["close"].to_numpy(), "<f8").tobytes())
    return digest.hexdigest()
