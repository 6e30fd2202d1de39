"""What the peers of skatra's splitters do with the same rows.

Nothing here imports skatra, so that an interpreter of another environment can run it
for a peer that wants other versions of numpy and pandas than ours:

    python benchmarks/splits_peers.py python-fold kfold 100000

prints the seconds of each run as JSON.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd

N_FOLDS = 10
LONGEST = 99
SLOW = 60.0
"""Seconds beyond which a peer is not run."""


class Rows:
    """n rows one minute apart, sorted or permuted, with labels of 1 to 99 rows."""

    def __init__(self, n_rows: int, *, permuted: bool = False):
        rng = np.random.default_rng(0)
        t0 = pd.date_range("2000-01-01", periods=n_rows, freq="min").to_numpy()
        t1 = t0 + rng.integers(1, LONGEST + 1, n_rows) * np.timedelta64(1, "m")
        order = rng.permutation(n_rows) if permuted else slice(None)
        self.t0, self.t1 = t0[order], t1[order]
        self.embargo = pd.Timedelta(n_rows // 100, unit="min")
        self.n_embargo = n_rows // 100
        self.X = np.zeros((n_rows, 1))

    def __len__(self) -> int:
        return len(self.t0)

    def label_times(self) -> pd.Series:
        """Return a Series that shares no cache with an earlier one."""
        return pd.Series(self.t1.copy(), index=pd.DatetimeIndex(self.t0.copy()))

    def frame(self) -> pd.DataFrame:
        """Return X with t0 as its index."""
        return pd.DataFrame(self.X, index=pd.DatetimeIndex(self.t0))


Run = Callable[[], list]


def purgedcv(splitter: str, rows: Rows) -> Run:
    import purgedcv as peer

    times = {
        "prediction_times": pd.Series(rows.t0),
        "evaluation_times": pd.Series(rows.t1),
    }

    def run() -> list:
        if splitter == "kfold":
            cv = peer.PurgedKFold(N_FOLDS, embargo=rows.embargo, **times)
        elif splitter == "cpcv":
            cv = peer.CombinatorialPurgedCV(N_FOLDS, 2, embargo=rows.embargo, **times)
        else:
            cv = peer.WalkForwardSplit(N_FOLDS, len(rows) // (N_FOLDS + 1), **times)
        return list(cv.split(rows.X))

    return run


def timeseriescv(splitter: str, rows: Rows) -> Run:
    from timeseriescv.cross_validation import CombPurgedKFoldCV, PurgedWalkForwardCV

    X = rows.frame()
    times = {
        "pred_times": pd.Series(rows.t0, index=rows.t0),
        "eval_times": pd.Series(rows.t1, index=rows.t0),
    }
    if splitter == "walk":
        cv = PurgedWalkForwardCV(N_FOLDS + 1, min_train_splits=1)
    else:
        cv = CombPurgedKFoldCV(
            N_FOLDS, n_test_splits=1 + (splitter == "cpcv"), embargo_td=rows.embargo
        )
    return lambda: list(cv.split(X, **times))


def python_fold(splitter: str, rows: Rows) -> Run:
    from fold.model_selection import PurgedKFoldCV, PurgedWalkForwardCV

    X = rows.frame()
    times = {"pred_times": X.index, "eval_times": pd.DatetimeIndex(rows.t1)}
    if splitter == "walk":
        cv = PurgedWalkForwardCV(N_FOLDS + 1, min_train_folds=1)
    else:
        cv = PurgedKFoldCV(N_FOLDS, 1 + (splitter == "cpcv"), embargo_td=rows.embargo)
    return lambda: list(cv.split(X, **times))


def risklabai(splitter: str, rows: Rows) -> Run:
    from RiskLabAI.backtest.validation import (
        CombinatorialPurged,
        PurgedKFold,
        WalkForward,
    )

    X = rows.frame()
    times = pd.Series(rows.t1, index=rows.t0)
    if splitter == "kfold":
        cv = PurgedKFold(N_FOLDS, times, embargo=0.01)
    elif splitter == "cpcv":
        cv = CombinatorialPurged(N_FOLDS, 2, times, embargo=0.01)
    else:
        cv = WalkForward(N_FOLDS, gap=LONGEST)
    return lambda: list(cv.split(X))


def skfolio(splitter: str, rows: Rows) -> Run:
    from skfolio.model_selection import CombinatorialPurgedCV, WalkForward

    if splitter == "walk":
        size = len(rows) // (N_FOLDS + 1)
        cv = WalkForward(size, size, expand_train=True, purged_size=LONGEST)
    else:
        cv = CombinatorialPurgedCV(
            N_FOLDS, 2, purged_size=LONGEST, embargo_size=rows.n_embargo
        )
    return lambda: list(cv.split(rows.X))


COUNTS = "not comparable: purges counts"
PEERS: dict[str, tuple[str, Callable[[str, Rows], Run], dict[str, str]]] = {
    "purgedcv": ("purgedcv", purgedcv, dict.fromkeys(("kfold", "cpcv", "walk"), "")),
    "timeseriescv": (
        "timeseriescv.cross_validation",
        timeseriescv,
        {"kfold": "", "cpcv": "tests the wrong rows", "walk": ""},
    ),
    "python-fold": (
        "fold.model_selection",
        python_fold,
        dict.fromkeys(("kfold", "cpcv", "walk"), ""),
    ),
    "RiskLabAI": (
        "RiskLabAI.backtest.validation",
        risklabai,
        {"kfold": "leaks: purges by the last row's t1", "cpcv": "", "walk": COUNTS},
    ),
    "skfolio": ("skfolio.model_selection", skfolio, {"cpcv": COUNTS, "walk": COUNTS}),
}
"""Module, what makes a run, and the splitters it has with a note on each."""


def why_absent(name: str) -> str | None:
    """Return why a peer cannot be imported here, or None if it can."""
    module = PEERS[name][0]
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module.partition(".")[0]:
            return "not installed"
        return f"fails: {error}"
    except Exception as error:
        return f"fails: {type(error).__name__}: {error}"
    return None


def seconds_here(name: str, splitter: str, rows: Rows) -> list[float]:
    """Time a peer in this process: up to 5 runs within 10 seconds, at least one."""
    seconds: list[float] = []
    run = PEERS[name][1](splitter, rows)
    while len(seconds) < 5 and sum(seconds) < 10:
        start = perf_counter()
        splits = run()
        seconds.append(perf_counter() - start)
        del splits
    return seconds


def seconds_elsewhere(
    python: str, name: str, splitter: str, n_rows: int
) -> list[float]:
    """Time a peer in an interpreter of its own."""
    command = [python, str(Path(__file__)), name, splitter, str(n_rows)]
    output = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return json.loads(output.stdout.splitlines()[-1])


if __name__ == "__main__":
    name, splitter, n_rows = sys.argv[1:]
    print(json.dumps(seconds_here(name, splitter, Rows(int(n_rows)))))
