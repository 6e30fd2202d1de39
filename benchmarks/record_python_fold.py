"""Record what python-fold 0.1.2 makes of random labels, for the tests to compare.

python-fold wants numpy below 2 and pandas below 3, so no environment of skatra has it.
Run this with the interpreter of one that has:

    other-environment/bin/python benchmarks/record_python_fold.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from fold.model_selection import PurgedKFoldCV, PurgedWalkForwardCV

ORIGIN = pd.Timestamp("2026-01-05")
RECORD = Path(__file__).parents[1] / "tests/model_selection/data/python_fold.json"


def record(kind: str, seed: int) -> dict:
    """Return hours of labels and embargo, and the splits."""
    rng = np.random.default_rng(seed)
    n_rows, longest = 60, [3, 8, 20][seed % 3]
    t0 = np.cumsum(rng.integers(1, 4, n_rows))
    t1 = t0 + rng.integers(0, longest, n_rows)
    embargo = [0, 2, 5][seed % 3] if kind != "walk" else 0
    X = pd.DataFrame({"x": 0.0}, index=ORIGIN + pd.to_timedelta(t0, unit="h"))
    if kind == "walk":
        cv = PurgedWalkForwardCV(5, min_train_folds=1)
    else:
        span = pd.Timedelta(embargo, unit="h")
        cv = PurgedKFoldCV(5, 1 + (kind == "cpcv"), embargo_td=span)
    ends = ORIGIN + pd.to_timedelta(t1, unit="h")
    return {
        "kind": kind,
        "t0": t0.tolist(),
        "t1": t1.tolist(),
        "embargo": embargo,
        "splits": [
            [np.asarray(part).tolist() for part in split]
            for split in cv.split(X, pred_times=X.index, eval_times=ends)
        ],
    }


if __name__ == "__main__":
    cases = [
        record(kind, seed) for kind in ("kfold", "cpcv", "walk") for seed in range(4)
    ]
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(
        f'{{"python-fold": "{version("python-fold")}", "cases": [\n{lines}\n]}}\n'
    )
