"""What a model saw in training, small enough to keep: references for drift."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skatra.model_selection import PurgedKFold
from skatra.retraining._config import RetrainConfig
from skatra.retraining._contest import Contest
from skatra.retraining._dataset import Rows
from skatra.retraining._evaluation import block_bootstrap_bound
from skatra.retraining._steps import purged_kfold
from skatra.typing import FloatArray

_BINS = 10
_PROBABILITY_EDGES = np.linspace(0.0, 1.0, 21)


def reference_histograms(
    data: pd.DataFrame, probability: FloatArray
) -> dict[str, dict[str, Any]]:
    """Return histograms of features (bins of equal count) and of probabilities.

    Edges are inner edges: bin k holds edge[k - 1] < value <= edge[k], and the outer
    bins are open. Missing values are counted on their own.
    """
    features = {}
    for name in data.columns:
        values = data[name].to_numpy(dtype=np.float64)
        known = values[np.isfinite(values)]
        edges = np.unique(np.quantile(known, np.arange(1, _BINS) / _BINS))
        features[str(name)] = _histogram(known, edges) | {
            "missing": int(len(values) - len(known))
        }
    return {
        "features": features,
        "probability": _histogram(probability, _PROBABILITY_EDGES[1:-1]),
    }


def _histogram(values: FloatArray, edges: FloatArray) -> dict[str, Any]:
    places = np.searchsorted(edges, values, side="left")
    counts = np.bincount(places, minlength=len(edges) + 1)
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def intervals(contest: Contest, confidence: float, seed: int) -> dict[str, list[float]]:
    """Return two-sided intervals of the figures that the gate judged."""
    if contest.challenger is None:
        return {}
    block, year = max(1, contest.challenger.longest), contest.challenger.bars_per_year
    mine = np.asarray(contest.challenger.log_growth, dtype=np.float64)
    figures = {"log_growth_per_year": mine}
    if contest.champion is not None:
        theirs = np.asarray(contest.champion.log_growth, dtype=np.float64)
        figures["log_growth_above_champion_per_year"] = mine - theirs
    found = {}
    for name, values in figures.items():
        options: dict[str, Any] = {
            "block": block,
            "confidence": 0.5 + confidence / 2,
            "seed": seed,
        }
        low = block_bootstrap_bound(values, **options)
        high = -block_bootstrap_bound(-values, **options)
        found[name] = [year * low, year * high]
    return found


def fold_spans(rows: Rows, config: RetrainConfig) -> list[dict[str, Any]]:
    """Return what each purged fold tested: first t0, last t1 and how many rows."""
    found = []
    splits = purged_kfold(config).split(rows.data, label_times=rows.label_times)
    for train, test in splits:
        tested = rows.take(test)
        found.append(
            {
                "from": tested.data.index.get_level_values(1).min().isoformat(),
                "to": tested.label_times.max().isoformat(),
                "test_rows": len(test),
                "train_rows": len(train),
            }
        )
    return found


def fold_states(rows: Rows, config: RetrainConfig) -> list[NDArray[np.int8]]:
    """Return per fold 0 train, 1 test, 2 purged, 3 embargoed, for each row."""
    with_embargo = purged_kfold(config)
    without = PurgedKFold(config.n_splits)
    found = []
    for (train, test), (wider, _) in zip(
        with_embargo.split(rows.data, label_times=rows.label_times),
        without.split(rows.data, label_times=rows.label_times),
        strict=True,
    ):
        state = np.full(len(rows), 2, dtype=np.int8)
        state[wider] = 3
        state[train], state[test] = 0, 1
        found.append(state)
    return found


def fold_rows(rows: Rows, config: RetrainConfig) -> list[dict[str, Any]]:
    """Return per fold the span tested and how many rows have which state."""
    names = ("train_rows", "test_rows", "purged_rows", "embargoed_rows")
    found = []
    for state in fold_states(rows, config):
        tested = rows.take(np.flatnonzero(state == 1))
        counts = np.bincount(state, minlength=4).tolist()
        found.append(
            {
                "from": tested.data.index.get_level_values(1).min().isoformat(),
                "to": tested.label_times.max().isoformat(),
                **dict(zip(names, counts, strict=True)),
            }
        )
    return found
