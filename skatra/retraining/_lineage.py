"""What a run's result depends on, and one hash of it."""

import hashlib
import json
import platform
from collections.abc import Mapping
from typing import Any

import pandas as pd

import skatra
from skatra.retraining._config import RetrainConfig
from skatra.retraining._dataset import Rows, bars_digest, rows_digest
from skatra.retraining._fingerprint import code_digest, package_versions
from skatra.utils import json_ready


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
