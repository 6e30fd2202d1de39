"""Kelly sizing against its peers and against one pass of numpy over the data.

Every contender of a task solves the same problem in one process, in turns; medians of
wall time are shown, their ratio to ours, and how far each answer is from the exact one.

limit
    One numpy pass over the same data: what any answer costs at least.

fit and decision are compared with the inner classifier's own work turn by turn: the
median of the ratios of each turn is shown as "x limit".

Linear algebra runs on one thread for all, since busy cores make threads wait for each
other. Peers that are not installed (keeks, kelzer, RiskLabAI, cvxpy with Clarabel) are
listed as absent. kelzer and keeks take one bet per call (arrays raise): a loop over a
list of floats is timed on fewer bets and scaled up. kelzer rounds to four decimals
unless told otherwise.

    python benchmarks/bench_sizing.py            # about a minute
"""

import json
import os
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier
from scipy.optimize import brentq, minimize, minimize_scalar
from sklearn.base import clone

from skatra.model_selection import PurgedKFold
from skatra.sizing import (
    KellyClassifier,
    afml_bet_size,
    average_active_positions,
    kelly_fraction,
    kelly_from_returns,
    kelly_portfolio,
)

RESULTS = Path(__file__).parent / "results" / "bench_sizing.json"
PEERS = ("scipy", "keeks", "kelzer", "RiskLabAI", "cvxpy", "clarabel")


def timed(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, Any]:
    """Return the median seconds and the last answer of each run, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    answers = {name: run() for name, run in runs.items()}
    for _ in range(repeats):
        for name, run in runs.items():
            start = perf_counter()
            answers[name] = run()
            seconds[name].append(perf_counter() - start)
    return {name: (median(seconds[name]), answers[name]) for name in runs}


def paired(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, Any]:
    """Return median seconds, and the median ratio to the limit of the same turn."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    names = list(runs)
    for turn in range(repeats):
        # Who goes first changes, as the first of a turn may find a colder cache.
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = perf_counter()
            runs[name]()
            seconds[name].append(perf_counter() - start)
    ratio = {
        name: median(np.divide(seconds[name], seconds["limit"]).tolist())
        for name in runs
    }
    return {name: (median(seconds[name]), ratio[name]) for name in runs}


def binary(repeats: int) -> list[dict]:
    """10^6 fractions, each with its own odds."""
    rng = np.random.default_rng(0)
    n, few = 1_000_000, 20_000
    p, b = rng.uniform(size=n), rng.uniform(0.2, 5.0, n)
    pairs = list(zip(p[:few].tolist(), b[:few].tolist(), strict=True))
    runs = {
        "limit": lambda: p * b,
        "skatra": lambda: kelly_fraction(p, b),
        "list comprehension": lambda: [max(q - (1 - q) / o, 0.0) for q, o in pairs],
    }
    try:
        from keeks.binary_strategies.kelly import KellyCriterion

        runs["keeks"] = lambda: [
            KellyCriterion(o, 1.0, 0.0).evaluate(q, 1.0) for q, o in pairs
        ]
        runs["keeks"]()
    except Exception as error:
        print(f"keeks not timed: {error!r}")
        runs.pop("keeks", None)
    try:
        import kelzer

        runs["kelzer, 4 decimals"] = lambda: [
            kelzer.fraction(q, o + 1, 1.0) for q, o in pairs
        ]
        runs["kelzer, 15 decimals"] = lambda: [
            kelzer.fraction(q, o + 1, 1.0, 15) for q, o in pairs
        ]
        runs["kelzer, 15 decimals"]()
    except Exception as error:
        print(f"kelzer not timed: {error!r}")
        runs = {name: run for name, run in runs.items() if "kelzer" not in name}
    found = timed(runs, repeats)
    exact = np.array(found["list comprehension"][1])
    whole = {"limit", "skatra"}
    return [
        row(
            "1e6 binary fractions",
            name,
            seconds * (1 if name in whole else n // few),
            # kelzer leaves a negative edge negative.
            None
            if name == "limit"
            else float(np.max(np.abs(np.maximum(answer[:few], 0.0) - exact))),
        )
        for name, (seconds, answer) in found.items()
    ]


def afml(repeats: int) -> list[dict]:
    """Bet sizes of AFML chapter 10, and the average of those alive."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0.02, 0.98, 1_000_000)
    start = np.sort(rng.integers(0, 10**6, 20_000))
    life = np.column_stack([start, start + rng.integers(1, 2000, 20_000)])
    times = np.unique(life)
    sizes = rng.uniform(-1, 1, 20_000)
    size_runs = {
        "limit": lambda: np.sqrt(p * (1 - p)),
        "skatra": lambda: afml_bet_size(p),
    }
    mean_runs = {
        "limit": lambda: np.sort(times),
        "skatra": lambda: average_active_positions(sizes, life, times),
    }
    try:
        from RiskLabAI.backtest import bet_sizing

        side = np.ones(len(p))
        size_runs["RiskLabAI, Phi(p) for Phi(z)"] = lambda: (
            bet_sizing.probability_bet_size(p, side)
        )
        size_runs["RiskLabAI, Phi(p) for Phi(z)"]()
        signals = pd.DataFrame({"signal": sizes, "t1": life[:, 1]}, index=life[:, 0])
        mean_runs["RiskLabAI"] = lambda: bet_sizing.mp_avg_active_signals(
            signals, times
        ).to_numpy()
        mean_runs["RiskLabAI"]()
    except Exception as error:
        print(f"RiskLabAI not timed: {error!r}")
    rows = []
    for task, runs in (("1e6 AFML sizes", size_runs), ("2e4 averaged", mean_runs)):
        found = timed(runs, repeats)
        ours = found["skatra"][1]
        rows += [
            row(
                task,
                name,
                seconds,
                None if name == "limit" else float(np.max(np.abs(answer - ours))),
            )
            for name, (seconds, answer) in found.items()
        ]
    return rows


def empirical(repeats: int) -> list[dict]:
    """f* of 10^5 fat-tailed trades, and of 1000 series of 1000."""
    rng = np.random.default_rng(0)
    trades = np.clip(0.002 + 0.03 * rng.standard_t(3, 100_000), -0.95, None)
    ruin = -1.0 / trades.min()

    def slope(f):
        return np.mean(trades / (1 + f * trades))

    found = timed(
        {
            "limit": lambda: float(np.sum(trades / (1 + 0.5 * trades))),
            "skatra": lambda: kelly_from_returns(trades),
            "scipy brentq": lambda: brentq(
                slope, 0, ruin * (1 - 1e-9), xtol=1e-14, rtol=1e-14
            ),
            "scipy minimize_scalar": lambda: (
                minimize_scalar(
                    lambda f: -np.log1p(f * trades).mean(),
                    bounds=(0, ruin * (1 - 1e-9)),
                    method="bounded",
                    options={"xatol": 1e-9},
                ).x
            ),
        },
        repeats,
    )
    exact = brentq(slope, 0, ruin * (1 - 1e-9), xtol=1e-16, rtol=1e-15)
    rows = [
        row("f* of 1e5 trades", name, seconds, abs(answer - exact))
        for name, (seconds, answer) in found.items()
    ]
    for entry in rows:
        if entry["contender"] == "limit":
            entry["error"] = None
    table = np.clip(0.002 + 0.03 * rng.standard_t(3, (1000, 1000)), -0.95, None)
    series = table.T.copy()

    def one(x):
        edge = -1.0 / x.min() * (1 - 1e-9)
        root = brentq(lambda f: np.mean(x / (1 + f * x)), 0, edge, xtol=1e-14)
        return root if np.mean(x) > 0 else 0.0

    def each():
        return [one(x) if np.mean(x) > 0 else 0.0 for x in series]

    found = timed(
        {
            "limit": lambda: series / (1 + 0.5 * series),
            "skatra": lambda: kelly_from_returns(table),
            "scipy brentq loop": each,
        },
        repeats,
    )
    truth = np.array(found["scipy brentq loop"][1])
    return rows + [
        row(
            "f* of 1000 series",
            name,
            seconds,
            None if name == "limit" else float(np.max(np.abs(answer - truth))),
        )
        for name, (seconds, answer) in found.items()
    ]


def portfolio(repeats: int) -> list[dict]:
    """20 assets x 5000 scenarios, long only with cash."""
    rng = np.random.default_rng(0)
    returns = 0.02 * rng.standard_t(4, (5000, 20)) + rng.uniform(-1e-3, 3e-3, 20)
    returns += 0.01 * rng.standard_t(4, (5000, 1))
    runs = {
        "limit": lambda: (
            returns.T @ (returns / (1 + returns @ np.full(20, 0.05))[:, None])
        ),
        "skatra": lambda: kelly_portfolio(returns).weights,
        "scipy SLSQP": lambda: (
            minimize(
                lambda w: -np.log1p(returns @ w).mean(),
                np.full(20, 0.01),
                jac=lambda w: -(returns / (1 + returns @ w)[:, None]).mean(axis=0),
                bounds=[(0, 1)] * 20,
                constraints={"type": "ineq", "fun": lambda w: 1 - w.sum()},
                method="SLSQP",
                options={"ftol": 1e-14, "maxiter": 300},
            ).x
        ),
    }
    try:
        import cvxpy as cp

        def clarabel():
            w = cp.Variable(20, nonneg=True)
            goal = cp.Maximize(cp.sum(cp.log(1 + returns @ w)) / 5000)
            cp.Problem(goal, [cp.sum(w) <= 1]).solve(solver="CLARABEL")
            return np.clip(w.value, 0, None)

        runs["cvxpy Clarabel"] = clarabel
    except ImportError as error:
        print(f"cvxpy not timed: {error!r}")

    def gap(w):
        w = w / max(w.sum(), 1.0)
        ratio = 1.0 / (1 + returns @ w)
        best = max(float((ratio @ (1 + returns)).max()), float(ratio.sum())) / 5000
        return float(np.log(best))

    found = timed(runs, repeats)
    return [
        row(
            "portfolio 20 x 5000",
            name,
            seconds,
            None if name == "limit" else gap(answer),
        )
        for name, (seconds, answer) in found.items()
    ]


def classifier(repeats: int) -> list[dict]:
    """KellyClassifier's own time on top of its inner classifier's."""
    rng = np.random.default_rng(0)
    n = 100_000
    X = rng.normal(size=(n, 10))
    returns = np.clip(0.002 * X[:, 0] + 0.02 * rng.standard_t(4, n), -0.9, None)
    y, rows = returns > 0, slice(0, 20_000)
    life = np.column_stack([np.arange(20_000), np.arange(20_000) + 20])
    inner = LGBMClassifier(n_estimators=100, verbose=-1, n_jobs=1)
    cv = PurgedKFold(5)
    folds = list(cv.split(X[rows], label_times=life))

    def cross_fit():
        for train, test in folds:
            clone(inner).fit(X[train], y[train]).predict_proba(X[test])
        return clone(inner).fit(X[rows], y[rows])

    model = KellyClassifier(inner, calibration="sigmoid", cv=cv)

    def fit():
        return clone(model).fit(
            X[rows], y[rows], returns=returns[rows], label_times=life
        )

    fitted = fit()
    bare = KellyClassifier(inner).fit(X[rows], y[rows], returns=returns[rows])
    slow = paired({"limit": cross_fit, "skatra": fit}, max(5, repeats // 3))
    fast = paired(
        {
            "limit": lambda: bare.estimator_.predict_proba(X),
            "predict": lambda: bare.predict(X),
            "skatra": lambda: bare.decision_function(X),
            "decision, calibrated": lambda: fitted.decision_function(X),
        },
        repeats,
    )
    tasks = {
        "fit; limit = inner cross-fitting": slow,
        "decision, 1e5 rows; limit = predict_proba": fast,
    }
    return [
        row(task, name, seconds, None) | {"ratio_to_limit": ratio}
        for task, found in tasks.items()
        for name, (seconds, ratio) in found.items()
    ]


def row(task: str, contender: str, seconds: float, error: float | None) -> dict:
    return {"task": task, "contender": contender, "seconds": seconds, "error": error}


def main() -> None:
    rows = binary(15) + afml(9) + empirical(31) + portfolio(7) + classifier(21)
    ours = {r["task"]: r["seconds"] for r in rows if r["contender"] == "skatra"}
    print(f"{'task':44} {'contender':24} {'ms':>10} {'x ours':>8} {'error':>9}")
    for r in rows:
        r["ratio_to_ours"] = r["seconds"] / ours[r["task"]]
        paid = r.get("ratio_to_limit")
        paid = "" if paid is None else f"  x limit {paid:.3f}"
        error = "" if r["error"] is None else f"{r['error']:.1e}"
        print(
            f"{r['task']:44} {r['contender']:24} {1e3 * r['seconds']:10.3f} "
            f"{r['ratio_to_ours']:8.2f} {error:>9}{paid}"
        )
    versions = {}
    for name in PEERS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    print("peers:", versions)
    machine = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "numpy": np.__version__,
        "peers": versions,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
