"""What a run's result depends on, and one hash of it."""

import hashlib
import json
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

import skatra
from skatra.features import PRICE_FEATURES
from skatra.retraining._config import RetrainConfig
from skatra.retraining._dataset import (
    Rows,
    bars_digest,
    label_set_name,
    rows_digest,
)
from skatra.retraining._fingerprint import (
    code_digest,
    fingerprint,
    package_versions,
)
from skatra.typing import FloatArray, IntArray
from skatra.utils import json_ready

_JUDGED_BY = (
    "cost",
    "embargo",
    "holdout",
    "kelly_multiplier",
    "max_position",
    "n_splits",
    "side",
)
_MOST_TIMES = 1024
_SAME = 1e-9
"""Relative difference up to which two values of a column are one."""
_LARGEST = 1e300


def lineage_of(rows: Rows, bars: pd.DataFrame, config: RetrainConfig) -> dict[str, Any]:
    """Return what the result depends on."""
    return {
        "data_sha256": rows_digest(rows),
        "bars_sha256": bars_digest(bars),
        "skatra": skatra.__version__,
        "code_sha256": code_digest(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "seed": config.seed,
    }


def inputs_digest(lineage: Mapping[str, Any], config: RetrainConfig) -> str:
    """Return a SHA-256 over all that decides a run's result but the champion."""
    text = json.dumps(
        json_ready({"lineage": dict(lineage), "config": config.to_dict()}),
        sort_keys=True,
    )
    return hashlib.sha256(text.encode()).hexdigest()


def variant_of(rows: Rows, config: RetrainConfig) -> str:
    """Return a SHA-256 of all but LightGBM's parameters that tells trials apart.

    A set that somebody wrote is told by its rows at the first t0: the largest power of
    two that is at most half of them, up to 1,024, so that barriers which close out of
    order leave them as they are. Of each symbol's features and returns only the order
    of values counts, which neither last bits nor a factor change. The built-in sets
    are told by their definitions, whatever their bars were adjusted to, and the
    universe by what was chosen: all is the same choice when a symbol joins.
    """
    t0 = rows.data.index.get_level_values(1)
    times = t0.unique().sort_values()
    half = max(1, min(len(times), 2 * _MOST_TIMES) // 2)
    count = 1 << (half.bit_length() - 1)
    first = rows.take(np.asarray(t0 <= times[count - 1]))
    settings = config.to_dict()
    features: Any = PRICE_FEATURES
    labels: Any = None
    if config.feature_set != "base":
        features = _orders(first.data)
    if config.label_set != "triple_barrier":
        labels = [
            first.label_times,
            first.target,
            _orders(first.returns.to_frame()),
            first.side,
        ]
    return fingerprint(
        {name: settings[name] for name in _JUDGED_BY},
        None if config.symbols is None else sorted(set(config.symbols)),
        (config.feature_set, features),
        (label_set_name(config), labels),
    )


def _orders(values: pd.DataFrame) -> list[Any]:
    """Return each symbol's times and, column by column, the ranks of its values."""
    found: list[Any] = [[str(name) for name in values.columns]]
    for symbol, part in values.groupby(level=0, sort=True):
        columns = part.to_numpy(dtype=np.float64).T
        times = pd.DatetimeIndex(part.index.get_level_values(1)).as_unit("ns")
        found += [symbol, times.asi8, *(_ranks(column) for column in columns)]
    return found


def _ranks(values: FloatArray) -> IntArray:
    """Return dense ranks; values that rounding may tell apart are one, NaN is -1."""
    ranks = np.full(len(values), -1, dtype=np.int64)
    known = np.flatnonzero(~np.isnan(values))
    if len(known) == 0:
        return ranks
    known = known[np.argsort(values[known], kind="stable")]
    ordered = np.clip(values[known], -_LARGEST, _LARGEST)
    size = np.abs(ordered)
    usual = size[size < _LARGEST].mean() if (size < _LARGEST).any() else 0.0
    near = _SAME * np.maximum(np.maximum(size[1:], size[:-1]), usual)
    ranks[known[1:]] = np.cumsum(np.diff(ordered) > near)
    ranks[known[0]] = 0
    return ranks
