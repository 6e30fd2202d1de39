"""How often the gate's bound of growth lets a book without an edge pass.

As a script it makes the full count and writes the result:

    python tests/retraining/gate_bounds.py --out benchmarks/results/gate_bounds.json
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from skatra.retraining._evaluation import block_bootstrap_bound

LIFE = 20
"""Bars that a bet lives, and a block is long."""


def idle_book(rng, n_bars):
    """Return what the mean of the last bets of a coin earns from bar to bar."""
    bets = rng.choice([-1.0, 1.0], n_bars + LIFE)
    held = np.convolve(bets, np.full(LIFE, 1 / LIFE), mode="valid")[:n_bars]
    return 0.01 * held * rng.standard_normal(n_bars)


def passes(n_blocks, n_runs, seed=0):
    """Return how many books of so many blocks have a lower bound above 0."""
    rng = np.random.default_rng(seed)
    return sum(
        block_bootstrap_bound(
            idle_book(rng, n_blocks * LIFE),
            block=LIFE,
            confidence=0.95,
            n_resamples=500,
        )
        > 0
        for _ in range(n_runs)
    )


def nights(n_runs, *, n_bars=2500, n_nights=250, seed=0):
    """Return how many nights, and how many years of nights, let noise pass.

    Each night judges the last quarter of bars that grow by one a night, with the exact
    error of a mean of independent values: z > 1.645.
    """
    rng = np.random.default_rng(seed)
    ends = n_bars + np.arange(n_nights)
    starts = ends * 3 // 4
    single, yearly = 0, 0
    for _ in range(n_runs):
        total = np.cumsum(np.r_[0.0, rng.standard_normal(ends[-1])])
        z = (total[ends] - total[starts]) / np.sqrt(ends - starts)
        single += int((z > 1.645).sum())
        yearly += bool((z > 1.645).any())
    return single, yearly


def share(count, n):
    """Return a share with its exact 95 % interval."""
    low, high = binomtest(count, n).proportion_ci(0.95)
    return {"share": round(count / n, 4), "low": round(low, 4), "high": round(high, 4)}


def main():
    """Count, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    n = options.runs
    single, yearly = nights(n)
    found = {
        "promised": 0.05,
        **{f"{k} blocks": share(passes(k, n), n) for k in (3, 10, 30, 100)},
        "one night of 250": {"share": round(single / (250 * n), 4)},
        "at least one of 250 nights": share(yearly, n),
        "runs": n,
    }
    text = json.dumps(found, indent=1)
    print(text)  # noqa: T201
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
