"""PurgedKFold against its peers and against the time numpy needs to write indices.

Every contender does ``list(cv.split(...))`` for the same rows, in one process, in
turns: PurgedKFold with 10 folds, then CombinatorialPurgedKFold with 10 folds of which
2 are tested at a time (45 splits). Medians are shown, and ratios to the limit and to
the floor:

limit
    The arrays of the same splits by ``np.concatenate`` of ``np.arange`` for the
    training rows and one ``np.arange`` for the test rows.
floor
    The same arrays as one copy each out of an existing ``arange``.
one argsort of t0
    What unsorted rows cost at least, on top.

Labels span 1 to 99 rows, the embargo is 1 % of the time. Ours gets label_times as a
fresh datetime Series in the order of X, so nothing is cached from the last turn, and
what is timed includes all its checks. scikit-learn's KFold purges nothing. Peers that
need sorted rows run on sorted rows only. Rows marked "unsorted" are permuted. skfolio
and RiskLabAI are run if they are installed; the table says when they are absent.

    python benchmarks/bench_splits.py                   # some minutes
    python benchmarks/bench_splits.py --peer-max-n 1000000
"""

import argparse
import json
import platform
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold

from skatra.model_selection import (
    CombinatorialPurgedKFold,
    PurgedKFold,
    audit_splits,
)

N_FOLDS = 10
OPTIONAL = ("skfolio", "RiskLabAI")
RESULTS = Path(__file__).parent / "results" / "bench_splits.json"


class Rows:
    """n rows one minute apart, sorted or permuted, with labels of 1 to 99 rows."""

    def __init__(self, n_rows: int, *, permuted: bool):
        rng = np.random.default_rng(0)
        t0 = pd.date_range("2000-01-01", periods=n_rows, freq="min").to_numpy()
        t1 = t0 + rng.integers(1, 100, n_rows) * np.timedelta64(1, "m")
        order = rng.permutation(n_rows) if permuted else slice(None)
        self.t0, self.t1 = t0[order], t1[order]
        self.embargo = pd.Timedelta(n_rows // 100, unit="min")
        self.X = np.zeros((n_rows, 1))
        cv = PurgedKFold(N_FOLDS, embargo=self.embargo)
        self.in_order = pd.Series(t1, index=t0)
        self.spans = [
            (*spans_of(train), int(test[0]), int(test[-1]) + 1)
            for train, test in cv.split(self.X, label_times=self.in_order)
        ]

    def label_times(self) -> pd.Series:
        """Return a Series that shares no cache with an earlier one."""
        return pd.Series(self.t1.copy(), index=pd.DatetimeIndex(self.t0.copy()))


def spans_of(train: np.ndarray) -> tuple[int, int]:
    """Return the end of the first run of training rows and the start of the last."""
    breaks = np.flatnonzero(np.diff(train) > 1)
    if len(breaks) == 0:
        return (len(train), len(train)) if train[0] == 0 else (0, int(train[0]))
    return int(train[breaks[0]]) + 1, int(train[breaks[-1] + 1])


def contenders(rows: Rows) -> dict[str, Callable[[], Callable[[], list]]]:
    """Return, by name, what prepares a run outside the clock and returns it."""
    n_rows = len(rows.t0)
    base = np.arange(n_rows)

    def ours():
        label_times = rows.label_times()
        cv = PurgedKFold(N_FOLDS, embargo=rows.embargo)
        return lambda: list(cv.split(rows.X, label_times=label_times))

    def kfold():
        return lambda: list(KFold(N_FOLDS).split(rows.X))

    def limit():
        return lambda: [
            (
                np.concatenate((np.arange(left), np.arange(right, n_rows))),
                np.arange(start, stop),
            )
            for left, right, start, stop in rows.spans
        ]

    def floor():
        return lambda: [
            (np.concatenate((base[:left], base[right:])), base[start:stop].copy())
            for left, right, start, stop in rows.spans
        ]

    def audit():
        label_times = rows.label_times()
        cv = PurgedKFold(N_FOLDS, embargo=rows.embargo)
        return lambda: [audit_splits(cv, rows.X, label_times=label_times)]

    def argsort():
        t0 = rows.t0.astype(np.int64)
        return lambda: [np.argsort(t0)]

    return {
        "limit": limit,
        "floor": floor,
        "one argsort of t0": argsort,
        "skatra PurgedKFold": ours,
        "scikit-learn KFold": kfold,
        "skatra audit_splits": audit,
    }


def peers(rows: Rows) -> dict[str, Callable[[], Callable[[], list]]]:
    """Return the peers, which need sorted rows and their extra installed."""
    import purgedcv
    from timeseriescv.cross_validation import CombPurgedKFoldCV

    def purged():
        t0, t1 = pd.Series(rows.t0), pd.Series(rows.t1)
        return lambda: list(
            purgedcv.PurgedKFold(
                N_FOLDS,
                prediction_times=t0,
                evaluation_times=t1,
                embargo=rows.embargo,
            ).split(rows.X)
        )

    def timeseriescv():
        X = pd.DataFrame(rows.X, index=rows.t0)
        times = {
            "pred_times": pd.Series(rows.t0, index=rows.t0),
            "eval_times": pd.Series(rows.t1, index=rows.t0),
        }
        cv = CombPurgedKFoldCV(N_FOLDS, n_test_splits=1, embargo_td=rows.embargo)
        return lambda: list(cv.split(X, **times))

    return {"purgedcv": purged, "timeseriescv": timeseriescv}


def combinatorial(rows: Rows) -> dict[str, Callable[[], Callable[[], list]]]:
    """Return what splits C(10, 2) combinations, and the limit and floor of it."""
    base = np.arange(len(rows.t0))
    cv = CombinatorialPurgedKFold(N_FOLDS, 2, embargo=rows.embargo)
    runs = [
        (runs_of(train), runs_of(test))
        for train, test in cv.split(rows.X, label_times=rows.in_order)
    ]

    def ours():
        label_times = rows.label_times()
        return lambda: list(cv.split(rows.X, label_times=label_times))

    def limit():
        def ranges(part):
            return np.concatenate([np.arange(start, stop) for start, stop in part])

        return lambda: [(ranges(train), ranges(test)) for train, test in runs]

    def floor():
        def copies(part):
            return np.concatenate([base[start:stop] for start, stop in part])

        return lambda: [(copies(train), copies(test)) for train, test in runs]

    def argsort():
        t0 = rows.t0.astype(np.int64)
        return lambda: [np.argsort(t0)]

    return {
        "limit": limit,
        "floor": floor,
        "one argsort of t0": argsort,
        "skatra CPCV(10, 2)": ours,
    }


def runs_of(part: np.ndarray) -> list[tuple[int, int]]:
    """Return the runs of successive rows, the short ones joined to the next.

    A few rows before a block survive one by one where their label is short.
    """
    breaks = np.flatnonzero(np.diff(part) > 1) + 1
    edges = [0, *breaks[np.diff(breaks, prepend=0) > 100].tolist(), len(part)]
    return [(int(part[a]), int(part[a]) + b - a) for a, b in pairwise(edges)]


def combinatorial_peers(rows: Rows) -> dict[str, Callable[[], Callable[[], list]]]:
    """Return the peers' CPCV, of those that are installed."""
    import purgedcv

    n_rows = len(rows.t0)

    def purged():
        t0, t1 = pd.Series(rows.t0), pd.Series(rows.t1)
        return lambda: list(
            purgedcv.CombinatorialPurgedCV(
                N_FOLDS,
                2,
                prediction_times=t0,
                evaluation_times=t1,
                embargo=rows.embargo,
            ).split(rows.X)
        )

    def skfolio():
        from skfolio.model_selection import CombinatorialPurgedCV

        cv = CombinatorialPurgedCV(
            N_FOLDS, 2, purged_size=99, embargo_size=n_rows // 100
        )
        return lambda: list(cv.split(rows.X))

    def risklabai():
        from RiskLabAI.backtest.validation import CombinatorialPurged

        times = pd.Series(rows.t1, index=rows.t0)
        X = pd.DataFrame(rows.X, index=rows.t0)
        cv = CombinatorialPurged(N_FOLDS, 2, times, embargo=0.01)
        return lambda: list(cv.split(X))

    optional = dict(zip(OPTIONAL, (skfolio, risklabai), strict=True))
    found = {name: run for name, run in optional.items() if find_spec(name)}
    return {"purgedcv": purged, **found}


def measure(
    runs: dict[str, Callable], *, repeats: int, budget: float
) -> dict[str, list[float]]:
    """Time all contenders in turns; one that used up its budget sits out."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for turn in range(repeats):
        # Who runs after whom matters: the memory that one frees serves the next.
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            prepare = runs[name]
            if sum(seconds[name]) > budget:
                continue
            run = prepare()
            start = perf_counter()
            splits = run()
            seconds[name].append(perf_counter() - start)
            del splits
    return seconds


def jobs(sizes: list[int]) -> Iterator[tuple[str, int, bool]]:
    """Yield what to run: CPCV from 100,000 rows on."""
    for splitter, least in (("kfold", 0), ("cpcv", 10**5)):
        for n_rows in sizes:
            for permuted in (False, True):
                if n_rows >= least:
                    yield splitter, n_rows, permuted


def main() -> None:
    """Run everything, print a table of ratios, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, nargs="+", default=[10**4, 10**5, 10**6])
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--peer-max-n", type=int, default=10**5, help="0 for no peers")
    parser.add_argument("--budget", type=float, default=10, help="s per contender, n")
    options = parser.parse_args()
    cells = []
    absent = [name for name in OPTIONAL if not find_spec(name)]
    print(
        f"{'splitter':8} {'n':>9} {'rows':9} {'contender':21} {'ms':>11} "
        f"{'x limit':>9} {'x floor':>9}"
    )
    for splitter, n_rows, permuted in jobs(options.n):
        rows = Rows(n_rows, permuted=permuted)
        kfold = splitter == "kfold"
        runs = contenders(rows) if kfold else combinatorial(rows)
        if not permuted and n_rows <= options.peer_max_n:
            runs |= peers(rows) if kfold else combinatorial_peers(rows)
        times = measure(runs, repeats=options.repeats, budget=options.budget)
        medians = {name: median(values) for name, values in times.items()}
        for name, seconds in medians.items():
            cell = {
                "splitter": splitter,
                "n_rows": n_rows,
                "order": "unsorted" if permuted else "sorted",
                "contender": name,
                "milliseconds": round(seconds * 1e3, 3),
                "times_limit": round(seconds / medians["limit"], 2),
                "times_floor": round(seconds / medians["floor"], 2),
                "repeats": len(times[name]),
            }
            cells.append(cell)
            print(
                f"{splitter:8} {n_rows:>9} {cell['order']:9} {name:21} "
                f"{cell['milliseconds']:>11.3f} {cell['times_limit']:>9.2f} "
                f"{cell['times_floor']:>9.2f}"
            )
    if absent:
        print(f"not installed, so not run: {', '.join(absent)}")
    libraries = ["numpy", "pandas", "scikit-learn", "purgedcv", "timeseriescv"]
    report = {
        "n_folds": N_FOLDS,
        "not_installed": absent,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in libraries},
        "cells": cells,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
