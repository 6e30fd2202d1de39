"""``skatra signals`` and ``skatra ingest`` against what they promise.

Signals: one round over 500 symbols (newest bars read, features, score, Kelly, limits,
settlement of the round before, one durable transaction), against reading the same
bars alone. Ingest: bars a second from CSV and Parquet into the keyed table, new and
again, against ``executemany`` of ready tuples into the same table: what SQLite itself
takes.

All in one run, best of several; only ratios say something about another machine.

    python benchmarks/bench_signals.py
"""

import argparse
import gc
import json
import platform
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pandas as pd

from skatra.datasets import Database, ingest_bars, make_edge_bars
from skatra.features import LOOK_BACK
from skatra.retraining import RetrainConfig, make_signals, retrain

RESULTS = Path(__file__).parent / "results" / "bench_signals.json"


def timed(run: Callable[[], Any]) -> tuple[float, float]:
    """Return wall and processor seconds of a call."""
    gc.collect()
    start, cpu = perf_counter(), process_time()
    run()
    return perf_counter() - start, process_time() - cpu


def best(runs: list[tuple[float, float]]) -> dict[str, float]:
    """Return the least of several."""
    wall, cpu = (min(values) for values in zip(*runs, strict=True))
    return {"seconds": round(wall, 4), "cpu_seconds": round(cpu, 4)}


def signals(folder: Path, n_symbols: int, repeats: int) -> dict[str, Any]:
    """Time rounds of signals, each settling bets of the rounds before."""
    learned = folder / "learned.db"
    names = tuple(f"S{k:03d}" for k in range(n_symbols))
    bars = make_edge_bars(1600, edge=0.4, symbols=names, seed=1)
    with Database(learned, create=True) as db:
        db.write_bars(bars.loc[list(names[:2])])
    models = folder / "models"
    retrain(
        RetrainConfig(
            database=learned,
            models=models,
            n_splits=3,
            n_estimators=100,
            param_grid={"num_leaves": [7]},
            max_holding=10,
            n_paths=0,
        )
    )
    live = folder / "live.db"
    with Database(live, create=True) as db:
        db.write_bars(bars)
    days = bars.index.get_level_values(1).unique().sort_values()
    options: dict[str, Any] = {"symbols": names, "allow_stale": True}
    for day in days[-12 - repeats : -repeats]:
        make_signals(live, models, now=day, **options)
    reports = []
    rounds = [
        timed(
            lambda day=day: reports.append(
                make_signals(live, models, now=day, **options)
            )
        )
        for day in days[-repeats:]
    ]

    def read() -> None:
        with Database(live) as db:
            db.bars(names, last=LOOK_BACK)

    return {
        "symbols": n_symbols,
        "bars": len(bars),
        "round": best(rounds),
        "settled_in_a_round": [report.settled for report in reports],
        "open_bets": reports[-1].unsettled,
        "reading_the_bars_alone": best([timed(read) for _ in range(repeats)]),
    }


def ingest(folder: Path, n_bars: int, repeats: int) -> dict[str, Any]:
    """Time bars from files into a new database, and again into the same."""
    bars = make_edge_bars(n_bars // 10, symbols=tuple(f"S{k}" for k in range(10)))
    found: dict[str, Any] = {"bars": len(bars)}
    table = bars.reset_index()
    for kind in ("csv", "parquet"):
        file = folder / f"bars.{kind}"
        if kind == "csv":
            table.to_csv(file, index=False)
        else:
            table.to_parquet(file, index=False)
        new, again = [], []
        for k in range(repeats):
            path = folder / f"{kind}{k}.db"
            new.append(timed(lambda f=file, p=path: ingest_bars(f, p)))
            again.append(timed(lambda f=file, p=path: ingest_bars(f, p)))
            path.unlink()
        for name, runs in (("new", new), ("again", again)):
            entry: dict[str, float] = best(runs)
            entry["bars_per_second"] = round(len(bars) / entry["seconds"])
            entry["bars_per_cpu_second"] = round(len(bars) / entry["cpu_seconds"])
            found[f"{kind}, {name}"] = entry
    rows = list(
        zip(
            np.repeat(np.arange(10), len(bars) // 10).tolist(),
            pd.DatetimeIndex(table["time"]).as_unit("ns").asi8.tolist(),
            *(
                table[name].tolist()
                for name in ("open", "high", "low", "close", "volume")
            ),
            strict=True,
        )
    )

    def bare() -> None:
        connection = sqlite3.connect(folder / f"bare{perf_counter()}.db")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(
            "CREATE TABLE bars (sid INTEGER NOT NULL, ts INTEGER NOT NULL, open REAL, "
            "high REAL, low REAL, close REAL, volume REAL, PRIMARY KEY (sid, ts)) "
            "STRICT, WITHOUT ROWID"
        )
        connection.executemany("INSERT INTO bars VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        connection.commit()
        connection.close()

    entry = best([timed(bare) for _ in range(repeats)])
    entry["bars_per_second"] = round(len(bars) / entry["seconds"])
    found["executemany of ready tuples"] = entry
    return found


def main() -> None:
    """Run both parts, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--bars", type=int, default=500_000)  # of ten symbols: to 2200
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = {
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
            "signals": signals(Path(folder), options.symbols, options.repeats),
            "ingest": ingest(Path(folder), options.bars, options.repeats),
        }
    print(json.dumps(result, indent=1))
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
