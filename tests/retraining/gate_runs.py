"""Seeded runs of the whole pipeline on data without an edge, and with one.

As a script it makes the full count and writes the result:

    python tests/retraining/gate_runs.py --out benchmarks/results/gate_runs.json
"""

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom, binomtest

from skatra.datasets import Database, load_index_bars, make_edge_bars
from skatra.retraining import RetrainConfig
from skatra.retraining._dataset import Rows, load_rows, store_built_in_sets
from skatra.retraining._decision import Decision, decide
from skatra.retraining._registry import Champion
from skatra.retraining._session import Session
from skatra.retraining._steps import (
    fit_whole,
    judge_holdout,
    search,
    split_holdout,
)

SETTINGS: dict[str, Any] = {
    "n_splits": 3,
    "n_estimators": 25,
    "max_holding": 5,
    "param_grid": {"num_leaves": [4, 8]},
}


def shuffled(rows: Rows, seed: int) -> Rows:
    """Give every row the outcome of another row of its symbol; spans stay."""
    rng = np.random.default_rng(seed)
    order = np.arange(len(rows))
    for symbol in sorted(rows.groups.unique()):
        mine = np.flatnonzero(rows.groups == symbol)
        order[mine] = rng.permutation(mine)
    return dataclasses.replace(
        rows,
        target=rows.target.set_axis(rows.target.index)
        .iloc[order]
        .set_axis(rows.target.index),
        returns=rows.returns.iloc[order].set_axis(rows.returns.index),
    )


def noise_champion(rows: Rows, config: RetrainConfig, seed: int) -> Champion:
    """Fit a champion on shuffled outcomes of the development rows."""
    development, _ = split_holdout(shuffled(rows, 10_000 + seed), config)
    model = fit_whole(development, {"n_estimators": 25}, config, Session())
    return Champion("champion", model, {}, development.label_times.max())


def decide_on(
    rows: Rows, bars: Any, config: RetrainConfig, champion: Champion | None = None
) -> Decision:
    """Search, size and judge, as a run does, without publishing."""
    session = Session()
    development, held_out = split_holdout(rows, config)
    found = search(development, config, session)
    judged = judge_holdout(
        rows, development, held_out, bars, found.best_params, config, session
    )
    return decide(
        rows,
        development,
        held_out,
        judged,
        bars,
        found,
        config,
        session,
        leaking_pairs=0,
        champion=champion,
    )


def real_rows(folder: Path, config: RetrainConfig) -> tuple[Rows, Any]:
    """Return labelled rows of the bundled index bars."""
    path = folder / "real.db"
    with Database(path, create=True) as db:
        db.write_bars(load_index_bars())
        store_built_in_sets(db, config)
        rows, _ = load_rows(db, config)
        return rows, db.bars()


def planted_rows(folder: Path, config: RetrainConfig, seed: int) -> tuple[Rows, Any]:
    """Return labelled rows of a series with an edge."""
    path = folder / f"edge-{seed}.db"
    with Database(path, create=True) as db:
        db.write_bars(make_edge_bars(4000, edge=0.3, seed=1000 + seed))
        store_built_in_sets(db, config)
        rows, _ = load_rows(db, config)
        bars = db.bars()
    path.unlink()
    return rows, bars


def run_shuffled(runs: int, folder: Path, *, champion: bool = False) -> list[Decision]:
    """Judge models of real bars whose outcomes were shuffled."""
    config = RetrainConfig(
        database=folder / "real.db", models=folder / "models", **SETTINGS
    )
    rows, bars = real_rows(folder, config)
    decisions = []
    for seed in range(runs):
        settings = dataclasses.replace(config, seed=seed)
        given = noise_champion(rows, settings, seed) if champion else None
        decisions.append(decide_on(shuffled(rows, seed), bars, settings, given))
    return decisions


def run_planted(runs: int, folder: Path, *, champion: bool = False) -> list[Decision]:
    """Judge models of series with a planted edge."""
    decisions = []
    for seed in range(runs):
        config = RetrainConfig(
            database=folder / "edge.db", models=folder / "models", seed=seed, **SETTINGS
        )
        rows, bars = planted_rows(folder, config, seed)
        given = noise_champion(rows, config, seed) if champion else None
        decisions.append(decide_on(rows, bars, config, given))
    return decisions


def statement(good: int, runs: int) -> dict[str, Any]:
    """Say what a count proves: the exact 95 % interval of the true rate."""
    low, high = binomtest(good, runs).proportion_ci(0.95, method="exact")
    return {
        "runs": runs,
        "good": good,
        "interval_95": [round(float(low), 4), round(float(high), 4)],
        "chance_of_95_of_100_or_more_at_true_rate": {
            str(rate): round(float(binom.sf(94, 100, rate)), 4)
            for rate in (0.90, 0.95, 0.99)
        },
    }


def why(decisions: list[Decision]) -> dict[str, int]:
    """Count the checks that failed."""
    counts: dict[str, int] = {}
    for decision in decisions:
        for check in decision.verdict.checks:
            if not check.passed:
                counts[check.name] = counts.get(check.name, 0) + 1
    return counts


def main() -> None:
    """Run both sides and write what they show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = {"settings": SETTINGS}
    for champion in (False, True):
        facing = "a champion that learned noise" if champion else "cash"
        for run, what in (
            (run_shuffled, "refused on shuffled labels"),
            (run_planted, "promoted with a planted edge"),
        ):
            with tempfile.TemporaryDirectory() as folder:
                decisions = run(options.runs, Path(folder), champion=champion)
            promoted = sum(d.verdict.promoted for d in decisions)
            good = promoted if run is run_planted else options.runs - promoted
            result[f"{what}, against {facing}"] = {
                **statement(good, options.runs),
                "failed checks": why(decisions),
            }
    text = json.dumps(result, indent=1)
    sys.stdout.write(text + "\n")
    if options.out is not None:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
