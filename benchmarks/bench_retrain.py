"""The purged LightGBM search against GridSearchCV, a hand-written loop and itself.

grid
    GridSearchCV(LGBMClassifier), PurgedLGBMSearchCV, and a loop by hand that shares one
    Dataset per fold and scores all tree counts of one booster: 64 candidates on 5
    purged folds of 100,000 rows and 20 features, one thread. Processor time, and the
    greatest difference between scores.
busy
    Wall time of the search on all cores, alone and beside one process that never
    sleeps; and of one LightGBM fit with two threads, for comparison.
dask
    Wall time on threads of this process and on a Dask cluster of two worker processes.
scale
    Processor time of the search as the number of rows grows.

    python benchmarks/bench_retrain.py --part busy dask scale     # three minutes
    python benchmarks/bench_retrain.py --part grid                # six minutes more

Results of parts that are not run stay in results/bench_retrain.json.
"""

import argparse
import json
import multiprocessing
import os
import platform
from contextlib import contextmanager
from importlib.metadata import version
from itertools import product
from pathlib import Path
from time import perf_counter, process_time

import lightgbm as lgb
import numpy as np
import pandas as pd
import sklearn
from lightgbm import LGBMClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, ParameterGrid

from skatra.model_selection import PurgedKFold
from skatra.retraining import PurgedLGBMSearchCV

RESULTS = Path(__file__).parent / "results" / "bench_retrain.json"
TREES = {
    "num_leaves": [7, 15, 31, 63],
    "learning_rate": [0.05, 0.1],
    "reg_lambda": [0.0, 10.0],
}
COUNTS = [25, 50, 75, 100]
GRID = {**TREES, "n_estimators": COUNTS}
MODEL = LGBMClassifier(n_jobs=1, verbose=-1, random_state=0)
CV = PurgedKFold(5, embargo=0.01)


def make_rows(n_rows, n_features=20):
    """Return features, a noisy target and labels of 1 to 50 rows."""
    rng = np.random.default_rng(0)
    t0 = pd.date_range("2000-01-01", periods=n_rows, freq="min")
    t1 = t0 + pd.to_timedelta(rng.integers(1, 50, n_rows), unit="min")
    X = rng.normal(size=(n_rows, n_features))
    y = (X[:, :5].sum(axis=1) + X[:, 5] * X[:, 6] + 4 * rng.normal(size=n_rows)) > 0
    return X, y.astype(int), pd.Series(t1, index=t0)


def fitted(search, rows):
    """Fit a search on rows; return it with its wall and processor time."""
    X, y, label_times = rows
    with sklearn.config_context(enable_metadata_routing=True):
        wall, cpu = perf_counter(), process_time()
        search.fit(X, y, label_times=label_times)
        return search, perf_counter() - wall, process_time() - cpu


def ours(grid, *, cv=CV, **options):
    """Return the search without its last fit."""
    return PurgedLGBMSearchCV(
        MODEL, grid, cv=cv, scoring="neg_log_loss", refit=False, **options
    )


def loop_by_hand(rows):
    """Return the mean scores of the grid, in its order, by lightgbm alone."""
    X, y, label_times = rows
    scores = {}
    for train, test in CV.split(X, label_times=label_times):
        data = lgb.Dataset(X[train], y[train], params={"verbose": -1, "num_threads": 1})
        X_test, y_test = X[test], y[test]
        for leaves, rate, penalty in product(*TREES.values()):
            booster = lgb.train(
                {
                    "objective": "binary",
                    "num_leaves": leaves,
                    "learning_rate": rate,
                    "lambda_l2": penalty,
                    "num_threads": 1,
                    "seed": 0,
                    "verbose": -1,
                },
                data,
                max(COUNTS),
            )
            for count in COUNTS:
                chance = booster.predict(X_test, num_iteration=count, num_threads=1)
                key = (leaves, rate, penalty, count)
                scores.setdefault(key, []).append(-log_loss(y_test, chance))
    return np.array(
        [np.mean(scores[tuple(c[k] for k in GRID)]) for c in ParameterGrid(GRID)]
    )


def part_grid(options):
    """Compare processor time and scores on 64 candidates."""
    rows = make_rows(options.rows)
    found, wall, cpu = fitted(ours(GRID, n_jobs=1), rows)
    mine = found.cv_results_["mean_test_score"]
    wall_by_hand, cpu_by_hand = perf_counter(), process_time()
    by_hand = loop_by_hand(rows)
    cpu_by_hand = process_time() - cpu_by_hand
    wall_by_hand = perf_counter() - wall_by_hand
    plain = GridSearchCV(
        MODEL, GRID, cv=CV, scoring="neg_log_loss", refit=False, error_score="raise"
    )
    plain, wall_plain, cpu_plain = fitted(plain, rows)
    theirs = plain.cv_results_["mean_test_score"]
    return {
        "rows": options.rows,
        "candidates": len(ParameterGrid(GRID)),
        "folds": CV.get_n_splits(),
        "cpu_seconds": {
            "GridSearchCV": cpu_plain,
            "PurgedLGBMSearchCV": cpu,
            "loop by hand": cpu_by_hand,
        },
        "wall_seconds": {
            "GridSearchCV": wall_plain,
            "PurgedLGBMSearchCV": wall,
            "loop by hand": wall_by_hand,
        },
        "times_less_cpu_than_GridSearchCV": cpu_plain / cpu,
        "cpu_against_loop_by_hand": cpu / cpu_by_hand,
        "largest_score_difference_GridSearchCV": float(np.abs(mine - theirs).max()),
        "largest_score_difference_by_hand": float(np.abs(mine - by_hand).max()),
    }


def never_sleep():
    """Use one core until killed."""
    while True:
        sum(range(10_000))


@contextmanager
def neighbour():
    """Run one busy process."""
    process = multiprocessing.get_context("spawn").Process(
        target=never_sleep, daemon=True
    )
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def part_busy(options):
    """Compare wall time alone and beside a busy process."""
    rows = make_rows(options.rows // 2)
    grid = {"num_leaves": [15, 31], "reg_lambda": [0.0, 1.0], "n_estimators": [50]}

    def search():
        return fitted(ours(grid), rows)[1]

    def two_threads():
        start = perf_counter()
        LGBMClassifier(n_jobs=2, verbose=-1, n_estimators=50).fit(*rows[:2])
        return perf_counter() - start

    search()
    alone = min(search() for _ in range(options.repeats))
    alone_two = min(two_threads() for _ in range(options.repeats))
    with neighbour():
        search()
        beside = min(search() for _ in range(options.repeats))
        beside_two = min(two_threads() for _ in range(options.repeats))
    return {
        "rows": options.rows // 2,
        "search_alone": alone,
        "search_beside_a_busy_process": beside,
        "search_ratio": beside / alone,
        "one_fit_of_two_threads_alone": alone_two,
        "one_fit_of_two_threads_beside": beside_two,
        "one_fit_of_two_threads_ratio": beside_two / alone_two,
    }


def part_dask(options):
    """Compare threads with a cluster of two processes."""
    from distributed import Client, LocalCluster

    rows = make_rows(options.rows)
    grid = {"num_leaves": [15, 31, 63], "n_estimators": [50, 100]}
    local, local_wall, _ = fitted(ours(grid, n_jobs=2), rows)
    cluster = LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        host="127.0.0.1",
    )
    with cluster, Client(cluster) as client:
        far, first_wall, _ = fitted(ours(grid, backend=client), rows)
        _, far_wall, _ = fitted(ours(grid, backend=client), rows)
    difference = np.abs(
        local.cv_results_["mean_test_score"] - far.cv_results_["mean_test_score"]
    )
    return {
        "rows": options.rows,
        "candidates": len(ParameterGrid(grid)),
        "threads_wall": local_wall,
        "dask_first_wall": first_wall,
        "dask_wall": far_wall,
        "dask_against_threads": far_wall / local_wall,
        "largest_score_difference": float(difference.max()),
    }


def part_scale(options):
    """Measure processor time as rows grow."""
    grid = {"num_leaves": [31, 63], "n_estimators": [25, 50]}
    found = []
    for n_rows in options.scale:
        rows = make_rows(n_rows)
        _, wall, cpu = fitted(ours(grid, cv=PurgedKFold(3), n_jobs=1), rows)
        found.append({"rows": n_rows, "cpu_seconds": cpu, "wall_seconds": wall})
    return {"candidates": len(ParameterGrid(grid)), "folds": 3, "sizes": found}


PARTS = {"grid": part_grid, "busy": part_busy, "dask": part_dask, "scale": part_scale}


def main():
    """Run the parts asked for and write what they found beside the others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scale", type=int, nargs="+", default=[10**4, 10**5, 10**6])
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in options.part:
        start = perf_counter()
        results[name] = {
            **PARTS[name](options),
            "load_at_the_end": os.getloadavg()[0],
            "seconds": perf_counter() - start,
        }
        print(name, json.dumps(results[name], indent=2), flush=True)
        results["versions"] = {
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            **{p: version(p) for p in ("lightgbm", "scikit-learn", "numpy")},
        }
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
