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

    A set that somebody wrote is told by its rows at the first t0, as many as the
    largest power of two up to 1,024: new bars leave them as they are. The built-in
    sets are told by their definitions, whatever their bars were adjusted to.
    """
    t0 = rows.data.index.get_level_values(1)
    times = t0.unique().sort_values()
    count = 1 << (min(len(times), _MOST_TIMES).bit_length() - 1)
    first = rows.take(np.asarray(t0 <= times[count - 1]))
    settings = config.to_dict()
    features: Any = PRICE_FEATURES
    labels: Any = None
    if config.feature_set != "base":
        features = first.data
    if config.label_set != "triple_barrier":
        labels = [first.label_times, first.target, first.returns, first.side]
    return fingerprint(
        {name: settings[name] for name in _JUDGED_BY},
        sorted(rows.groups.unique().tolist()),
        (config.feature_set, features),
        (label_set_name(config), labels),
    )
