"""Labels, weights and statistics against their peers and against what numpy must do.

Each task runs at the size that a user has ("full"), and at a size that the peers can
finish ("small"), all contenders in one process, in turns; minima are shown. The limit
of a task is numpy doing the least that any implementation must:

triple barrier
    Read high, low and close once, write five columns of events.
uniqueness
    Sort all t0 and t1.
sequential bootstrap
    One sum of twenty numbers per draw.
PBO
    The matrix products of all splits with the block sums of returns and squares.
trend scanning
    One multiplication and addition per bar and step of the longest window.
deflated Sharpe ratio
    Mean and standard deviation of the returns.

A peer that has no such function, is not installed or fails to import is named with
the reason. mlfinpy declares pandas < 3 and numpy < 1.27; what is used of it here also
runs beyond. Set OMP_WAIT_POLICY=PASSIVE and OPENBLAS_NUM_THREADS=1, else a peer's idle
threads spin while others are timed.

    python benchmarks/bench_labels.py                 # about two minutes
"""

import argparse
import importlib
import json
import platform
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from math import comb
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import pandas as pd
from scipy.stats import kurtosis, skew

from skatra.labeling import trend_scanning_labels, triple_barrier_labels
from skatra.metrics import deflated_sharpe_ratio, probability_of_backtest_overfitting
from skatra.sample_weight import average_uniqueness, sequential_bootstrap

RESULTS = Path(__file__).parent / "results" / "bench_labels.json"
PEERS = ("mlfinpy", "RiskLabAI", "purgedcv", "skfolio")
HOLDING = 20
Runs = dict[str, Callable[[], object]]
NOT_OFFERED = {
    "triple barrier": ("purgedcv", "skfolio"),
    "uniqueness": ("purgedcv", "skfolio"),
    "sequential bootstrap": ("RiskLabAI", "purgedcv", "skfolio"),
    "PBO": ("mlfinpy", "skfolio"),
    "trend scanning": ("purgedcv", "skfolio"),
    "deflated Sharpe ratio": ("mlfinpy",),
}
missing: dict[str, str] = {}


def peer(name: str):
    """Return a peer's module, or None, with the reason noted, where it has none."""
    try:
        return importlib.import_module(name)
    except Exception as error:
        missing[name.partition(".")[0]] = f"cannot be imported: {error!r}"
        return None


def bars_of(n_bars: int) -> pd.DataFrame:
    """Return minute bars of a random walk."""
    rng = np.random.default_rng(0)
    close = 100 * np.exp(0.001 * rng.standard_normal(n_bars).cumsum())
    index = pd.date_range("2000-01-01", periods=n_bars, freq="min")
    high, low = close * 1.0005, close * 0.9995
    return pd.DataFrame(
        {"open": close, "high": high, "low": low, "close": close}, index
    )


def barriers(n_bars: int, n_events: int) -> Runs:
    bars = bars_of(n_bars)
    events = bars.index[:: max(1, n_bars // n_events)][:n_events]
    events = events[events <= bars.index[-HOLDING - 1]]
    columns = [bars[name].to_numpy() for name in ("high", "low", "close")]
    out = [np.zeros(len(events)) for _ in range(5)]

    def ours(path):
        return lambda: triple_barrier_labels(
            bars, target=0.003, max_holding=HOLDING, events=events, path=path
        )

    runs = {
        "limit": lambda: [column.copy() for column in (*columns, *out)],
        "skatra": ours("close"),
        "skatra (high, low)": ours("ohlc"),
    }
    labeling = peer("mlfinpy.labeling")
    if labeling and n_bars <= 10**5:
        target = pd.Series(0.003, index=bars.index)
        ends = pd.Series(events + pd.Timedelta(HOLDING, unit="min"), index=events)

        def mlfinpy():
            found = labeling.get_events(
                bars["close"], events, [1, 1], target, 0.0, 1, ends, verbose=False
            )
            return labeling.get_bins(found, bars["close"])

        runs["mlfinpy"] = mlfinpy
    other = peer("RiskLabAI.data.labeling")
    if other and n_bars <= 10**5:
        limits = events + pd.Timedelta(HOLDING, unit="min")
        frame = pd.DataFrame({"End Time": limits, "Base Width": 0.003}, events)
        runs["RiskLabAI (t1 only)"] = lambda: other.triple_barrier(
            bars["close"], frame, [1, 1], list(events)
        )
    return runs


def uniqueness(n_labels: int) -> Runs:
    rng = np.random.default_rng(0)
    index = pd.date_range("2000-01-01", periods=n_labels + 100, freq="min")
    t0 = np.arange(n_labels)
    t1 = t0 + rng.integers(1, 100, n_labels)
    labels = pd.Series(index[t1], index=index[t0], name="t1")
    numbers = np.concatenate([t0, t1])
    runs = {
        "limit": lambda: np.sort(numbers),
        "skatra": lambda: average_uniqueness(labels, times=index),
    }
    if n_labels <= 10**4:
        concurrent = peer("mlfinpy.sampling.concurrent")
        weights = peer("RiskLabAI.data.weights")
        close = pd.Series(1.0, index=index)
        if concurrent:
            frame = labels.to_frame()
            runs["mlfinpy"] = lambda: concurrent.get_av_uniqueness_from_triple_barrier(
                frame, close, 1, verbose=False
            )
        if weights:
            runs["RiskLabAI (concurrency only)"] = lambda: (
                weights.expand_label_for_meta_labeling(index, labels, labels.index)
            )
    return runs


def bootstrap(n_labels: int) -> Runs:
    rng = np.random.default_rng(0)
    t0 = np.arange(n_labels)
    labels = np.column_stack([t0, t0 + rng.integers(1, 20, n_labels)])
    part = [1.0] * 20
    runs = {
        "limit": lambda: [sum(part) for _ in range(n_labels)],
        "skatra": lambda: sequential_bootstrap(labels, random_state=0),
    }
    sampling = peer("mlfinpy.sampling")
    if sampling and n_labels <= 2000:
        table = np.zeros((labels.max() + 1, n_labels))
        for column, (first, last) in enumerate(labels):
            table[first : last + 1, column] = 1.0
        sampling.seq_bootstrap(table[:50, :20], random_state=np.random.RandomState(0))
        runs["mlfinpy"] = lambda: sampling.seq_bootstrap(
            table, random_state=np.random.RandomState(0)
        )
    return runs


def pbo(n_blocks: int) -> Runs:
    trials = np.random.default_rng(7).standard_normal((1000, 100))
    halves = np.random.default_rng(0).random((comb(n_blocks, n_blocks // 2), n_blocks))
    sums = trials[:n_blocks]
    runs = {
        "limit": lambda: [halves @ sums, halves @ sums],
        "skatra": lambda: (
            probability_of_backtest_overfitting(trials, n_blocks=n_blocks).probability
        ),
    }
    if n_blocks <= 10:
        purgedcv = peer("purgedcv")
        if purgedcv:
            runs["purgedcv"] = lambda: purgedcv.probability_of_backtest_overfitting(
                trials.T, n_blocks
            )
        overfitting = peer("RiskLabAI.backtest.probability_of_backtest_overfitting")
        if overfitting:
            runs["RiskLabAI"] = lambda: overfitting.probability_of_backtest_overfitting(
                trials, n_blocks
            )
    return runs


def trends(n_bars: int) -> Runs:
    bars = bars_of(n_bars)
    close = bars["close"].to_numpy()
    runs = {
        "limit": lambda: [close * 2.0 + close for _ in range(20)],
        "skatra": lambda: trend_scanning_labels(bars, max_window=20),
    }
    labeling = peer("mlfinpy.labeling")
    if labeling and n_bars <= 1000:
        runs["mlfinpy"] = lambda: labeling.trend_scanning_labels(
            bars["close"], look_forward_window=20
        )
    other = peer("RiskLabAI.data.labeling")
    if other and n_bars <= 1000:
        runs["RiskLabAI"] = lambda: other.find_trend_using_trend_scanning(
            bars.index, bars["close"], (3, 21)
        )
    return runs


def deflated(n_returns: int) -> Runs:
    returns = np.random.default_rng(0).normal(0.05, 1, n_returns)
    runs = {
        "limit": lambda: returns.mean() / returns.std(ddof=1),
        "skatra": lambda: deflated_sharpe_ratio(
            returns, 100, 0.05, expected_maximum="approximate"
        ),
    }
    purgedcv = peer("purgedcv")
    if purgedcv:
        runs["purgedcv"] = lambda: purgedcv.deflated_sharpe_ratio(returns, 100, 0.05**2)
    ratios = np.random.default_rng(1).normal(0, 0.05, 100)
    measures = peer("skfolio.measures")
    if measures:
        runs["skfolio"] = lambda: measures.deflated_sharpe_ratio(returns, ratios)
    backtest = peer("RiskLabAI.backtest")
    if backtest:
        runs["RiskLabAI"] = lambda: backtest.probabilistic_sharpe_ratio(
            returns.mean() / returns.std(ddof=1),
            backtest.benchmark_sharpe_ratio(ratios),
            n_returns,
            skew(returns),
            kurtosis(returns, fisher=False),
        )
    return runs


def measure(
    runs: Runs, *, repeats: int, budget: float
) -> dict[str, list[tuple[float, float]]]:
    """Time all contenders in turns; one that used up its budget sits out.

    Wall time and processor time: on a busy machine, and for a peer that uses several
    cores, the second is the fairer one.
    """
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            if sum(wall for wall, _ in seconds[name]) > budget:
                continue
            start, begun = perf_counter(), process_time()
            run()
            seconds[name].append((perf_counter() - start, process_time() - begun))
    return seconds


def installed(name: str) -> str:
    """Return a library's version, or that it is absent."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def main() -> None:
    """Run everything, print a table of ratios, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--budget", type=float, default=5, help="s per contender, task")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    tasks = {
        "triple barrier, 1e5 events on 1e6 bars": lambda: barriers(10**6, 10**5),
        "triple barrier, 2e3 events on 2e4 bars": lambda: barriers(20_000, 2000),
        "uniqueness, 1e6 labels": lambda: uniqueness(10**6),
        "uniqueness, 5e3 labels": lambda: uniqueness(5000),
        "sequential bootstrap, 1e4 of 1e4": lambda: bootstrap(10**4),
        "sequential bootstrap, 2000 of 2000": lambda: bootstrap(2000),
        "sequential bootstrap, 500 of 500": lambda: bootstrap(500),
        "PBO of 1000 x 100, S = 16": lambda: pbo(16),
        "PBO of 1000 x 100, S = 10": lambda: pbo(10),
        "trend scanning, 1e6 bars": lambda: trends(10**6),
        "trend scanning, 700 bars": lambda: trends(700),
        "deflated Sharpe ratio, 1e4 returns": lambda: deflated(10**4),
    }
    cells = []
    libraries = ["numpy", "pandas", "scipy", "scikit-learn", *PEERS]
    versions = {name: installed(name) for name in libraries}
    for name in PEERS:
        print(f"{name}: {versions[name]}")
    print(
        f"{'task':40} {'contender':29} {'ms':>11} {'x limit':>9} "
        f"{'x skatra':>9} {'cpu x':>9}"
    )
    for task, prepare in tasks.items():
        times = measure(prepare(), repeats=options.repeats, budget=options.budget)
        least = {name: min(w for w, _ in values) for name, values in times.items()}
        cpu = {name: min(c for _, c in values) for name, values in times.items()}
        for name, seconds in least.items():
            cell = {
                "task": task,
                "contender": name,
                "milliseconds": round(seconds * 1e3, 4),
                "times_limit": round(seconds / least["limit"], 2),
                "times_skatra": round(seconds / least["skatra"], 2),
                "cpu_times_skatra": round(cpu[name] / max(cpu["skatra"], 1e-9), 2),
                "repeats": len(times[name]),
            }
            cells.append(cell)
            print(
                f"{task:40} {name:29} {cell['milliseconds']:>11.3f} "
                f"{cell['times_limit']:>9.2f} {cell['times_skatra']:>9.2f} "
                f"{cell['cpu_times_skatra']:>9.2f}"
            )
    for name in PEERS:
        if versions[name] == "absent":
            missing[name] = "not installed"
    for task, names in NOT_OFFERED.items():
        print(f"{task:40} not offered by {', '.join(names)}")
    for name, reason in missing.items():
        print(f"{name}: {reason}")
    report = {
        "python": platform.python_version(),
        "versions": versions,
        "not_offered": NOT_OFFERED,
        "missing": missing,
        "cells": cells,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
