"""The storage layer against its peers and against what the machine can do at all.

Pool: taking and giving back a connection, with and without a point read, from 1 to 32
threads on 4 connections, against a ``queue.LifoQueue`` pool, connect per operation,
one connection per thread and, where installed, SQLAlchemy's QueuePool and
psycopg_pool. Loading: 1e6 rows x 24 columns (symbol, t0, 20 features, label, t1) into
a frame against ``pandas.read_sql`` on a plain indexed table of the same rows, a
memcpy of the result and the bare reading of every chunk; the same for 3 columns, for
a range of 117,000 rows, for ``read_sql`` and for peak memory. Writing: rows a second,
the best of three new files.

ADBC and connectorx carry an SQLite of their own, and two in one process lose data, so
they run, where installed, in a process of their own on a file nobody else has open.

Floors: every chunk fetched, fetched and its CRC-32 computed, and the same with the
CRC-32 in a second thread: no loader that verifies its chunks can be faster.

Each part runs by itself, in turns, best of several, and is merged into one JSON; only
ratios within a part say something about another machine.

    python benchmarks/bench_database.py                  # all parts, minutes
    python benchmarks/bench_database.py --part loading   # or pools, or writing
    python benchmarks/bench_database.py --rows 100000
"""

import argparse
import contextlib
import gc
import importlib.util
import json
import platform
import queue
import sqlite3
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pandas as pd
from database_pools import four_processes, mixed, pool_cells, say

from skatra.datasets import Database, load_dataset

RESULTS = Path(__file__).parent / "results" / "bench_database.json"
N_SYMBOLS, N_FEATURES, RANGE_SHARE = 100, 20, 0.117
PARTS = ("pools", "writing", "loading")
FEATURES = [f"f{k:02d}" for k in range(N_FEATURES)]
ADBC = """
import sys, time, adbc_driver_sqlite.dbapi as dbapi
with dbapi.connect(sys.argv[1]) as c, c.cursor() as cursor:
    best = 9e9
    for _ in range(2):
        start = time.perf_counter()
        cursor.execute("SELECT * FROM flat")
        cursor.fetch_arrow_table().to_pandas()
        best = min(best, time.perf_counter() - start)
print(best)
"""
CONNECTORX = """
import sys, time, connectorx
best = 9e9
for _ in range(2):
    start = time.perf_counter()
    connectorx.read_sql("sqlite://" + sys.argv[1], "SELECT * FROM flat")
    best = min(best, time.perf_counter() - start)
print(best)
"""
PEAK = """
import gc, re, sys
from pathlib import Path
sys.path.insert(0, {root!r})
import sqlite3, numpy, pandas as pd
from skatra.datasets import Database, load_dataset
status = Path("/proc/self/status")
def kilobytes(field):
    return int(re.search(field + r":\\s+(\\d+) kB", status.read_text()).group(1))
what, chunks, flat = sys.argv[1:]
with Database(chunks) as db:
    db.symbols()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = kilobytes("VmRSS")
    if what == "load_dataset":
        result = load_dataset(db)
    elif what == "read_sql":
        result = Database(flat, readonly=True).read_sql("SELECT * FROM flat")
    else:
        result = pd.read_sql("SELECT * FROM flat", sqlite3.connect(flat))
    print((kilobytes("VmHWM") - before) / 1024)
"""


Seconds = dict[str, dict[str, float]]
"""Contender -> its best wall and processor seconds."""


def best_of(
    runs: dict[str, Callable[[], Any]], repeats: int, *, in_a_row: int = 1
) -> Seconds:
    """Time all contenders in turns; return the best seconds of each.

    Several times in a row, the later ones get memory that the system has at hand:
    a virtual machine may take half a second for the first touch of 160 MB.
    """
    seconds = {name: {"wall": float("inf"), "cpu": float("inf")} for name in runs}
    for turn in range(repeats):
        say(f"  round {turn + 1} of {repeats}: {', '.join(runs)}")
        for name, run in [(n, r) for n, r in runs.items() for _ in range(in_a_row)]:
            gc.collect()
            start, used = perf_counter(), process_time()
            result = run()
            used, wall = process_time() - used, perf_counter() - start
            best = seconds[name]
            best["wall"], best["cpu"] = min(best["wall"], wall), min(best["cpu"], used)
            del result
    return seconds


# --- loading and writing -------------------------------------------------------


def frames(n_rows: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return daily features and labels of 100 symbols."""
    days = pd.date_range("1990-01-01", periods=n_rows // N_SYMBOLS, freq="B", tz="UTC")
    symbols = [f"S{k:03d}" for k in range(N_SYMBOLS)]
    index = pd.MultiIndex.from_product([symbols, days], names=["symbol", "t0"])
    rng = np.random.default_rng(0)
    features = pd.DataFrame(
        rng.standard_normal((len(index), N_FEATURES)), index=index, columns=FEATURES
    )
    ret = rng.standard_normal(len(index)) * 0.01
    labels = pd.DataFrame(
        {
            "t1": index.get_level_values(1) + pd.Timedelta("7D"),
            "ret": ret,
            "label": np.sign(ret).astype(np.int8),
            "side": np.int8(1),
            "touched": "time",
        },
        index=index,
    )
    return features, labels


def bars_like(features: pd.DataFrame) -> pd.DataFrame:
    """Return bars with the first 300,000 of those keys."""
    rows = features.iloc[:300_000]
    close = 100 * np.exp(0.01 * rows["f00"].to_numpy())
    return pd.DataFrame(
        {
            "open": close * 1.01,
            "high": close * 1.02,
            "low": close * 0.98,
            "close": close,
            "volume": 1e6 + np.arange(len(rows)),
        },
        index=rows.index.set_names(["symbol", "time"]),
    )


def write_flat(path: Path, features: pd.DataFrame, labels: pd.DataFrame) -> None:
    """Write the plain table that the peers read: one row per sample."""
    times = features.index.get_level_values(1).as_unit("ns").asi8
    columns = [times.tolist(), features.index.get_level_values(0).tolist()]
    columns += [features[name].tolist() for name in FEATURES]
    columns += [labels["label"].tolist(), labels["t1"].dt.as_unit("ns").astype("int64")]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        reals = ", ".join(f"{name} REAL" for name in FEATURES)
        connection.execute(
            f"CREATE TABLE flat (ts INTEGER, symbol TEXT, {reals}, y INTEGER, "
            "t1 INTEGER)"
        )
        marks = ", ".join("?" * len(columns))
        rows = zip(*columns, strict=True)
        connection.executemany(
            f"INSERT INTO flat VALUES ({marks})",  # noqa: S608
            rows,
        )
        connection.execute("CREATE INDEX flat_key ON flat (symbol, ts)")
        connection.commit()


def writing(folder: Path, features: pd.DataFrame, labels: pd.DataFrame) -> dict:
    """Return rows a second of the best of three rounds, each into a new file."""
    bars = bars_like(features)
    rounds = []
    for turn in range(3):
        say(f"  round {turn + 1} of 3")
        with Database(folder / f"round{turn}.db", create=True) as db:
            rounds.append(written(db, features, labels, bars))
    return {name: max(cells[name] for cells in rounds) for name in rounds[0]}


def written(
    db: Database, features: pd.DataFrame, labels: pd.DataFrame, bars: pd.DataFrame
) -> dict[str, int]:
    """Time the writes; durability is synchronous=NORMAL in write-ahead mode."""
    changed = bars.assign(volume=bars["volume"] + 1)
    runs = {
        "chunks": (lambda: db.write_features(features, "base"), len(features)),
        "labels": (lambda: db.write_labels(labels, "triple_barrier"), len(labels)),
        "bars, new": (lambda: db.write_bars(bars), len(bars)),
        "bars, replaced": (lambda: db.write_bars(changed), len(bars)),
        "bars, unchanged": (lambda: db.write_bars(changed), len(bars)),
    }
    cells = {}
    for name, (run, rows) in runs.items():
        start = perf_counter()
        run()
        cells[name] = round(rows / (perf_counter() - start))
    return cells


def floors(blobs: sqlite3.Connection) -> dict[str, Callable[[], Any]]:
    """Return what any loader of these chunks must do at least."""
    every = "SELECT data FROM feature_chunks ORDER BY chunk_id"

    def fetched() -> int:
        return sum(len(data) for (data,) in blobs.execute(every))

    def verified() -> int:
        return sum(zlib.crc32(data) for (data,) in blobs.execute(every))

    def verified_by_two() -> None:
        batches: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()

        def verify() -> None:
            while (batch := batches.get()) is not None:
                for (data,) in batch:
                    zlib.crc32(data)

        helper = threading.Thread(target=verify)
        helper.start()
        rows = blobs.execute(every)
        while batch := rows.fetchmany(500):
            batches.put(batch)
        batches.put(None)
        helper.join()

    return {
        "floor: chunks fetched": fetched,
        "floor: and CRC-32": verified,
        "floor: and CRC-32, two cores": verified_by_two,
    }


def loading(db: Database, flat: Path, repeats: int) -> dict[str, Any]:
    """Time every way to a frame and say how they compare."""
    chunks = db.path
    result = load_dataset(db)
    values = result.data.to_numpy()
    target = np.ones_like(values)
    size_mb = (values.nbytes + 4 * 8 * len(values)) / 2**20
    times = result.data.index.levels[1]
    low = times[int(len(times) * 0.4)]
    high = times[int(len(times) * (0.4 + RANGE_SHARE))]
    between = f"ts BETWEEN {low.as_unit('ns').value} AND {high.as_unit('ns').value}"
    symbols = ", ".join(f"'{name}'" for name in db.symbols())
    ranged = f"SELECT * FROM flat WHERE symbol IN ({symbols}) AND {between}"  # noqa: S608
    plain = sqlite3.connect(f"{flat.as_uri()}?mode=ro", uri=True)
    blobs = sqlite3.connect(f"{chunks.as_uri()}?mode=ro", uri=True)
    del result, values

    fast = {
        "memcpy": lambda: np.copyto(target, target[::1]),
        "memcpy into fresh memory": lambda: np.copy(target, order="K"),
        **floors(blobs),
        "load_dataset": lambda: load_dataset(db),
        "load_dataset, 3 features": lambda: load_dataset(db, columns=FEATURES[:3]),
        "features": lambda: db.features("base"),
        "load_dataset, range": lambda: load_dataset(db, start=low, end=high),
        "pandas, range": lambda: pd.read_sql(ranged, plain),
    }
    other = np.copy(target, order="K")
    fast["memcpy"] = lambda: np.copyto(target, other)
    slow: dict[str, Callable[[], Any]] = {
        "pandas.read_sql": lambda: pd.read_sql("SELECT * FROM flat", plain)
    }
    rows = flat.with_name("rows.db")
    with Database(rows, create=True) as row_db:
        copy_flat(row_db, flat)
        slow["Database.read_sql"] = lambda: row_db.read_sql("SELECT * FROM flat")
        seconds = best_of(slow, 2)
    seconds |= best_of(fast, repeats, in_a_row=3)
    plain.close()
    blobs.close()
    for name, module, code in (
        ("ADBC (own process)", "adbc_driver_sqlite", ADBC),
        ("connectorx (own process)", "connectorx", CONNECTORX),
    ):
        if importlib.util.find_spec(module):
            say(f"  {name}")
            seconds[name] = {"wall": float(in_a_process(code, flat))}
    peaks = {}
    for what in ("load_dataset", "read_sql", "pandas.read_sql"):
        say(f"  peak memory of {what}")
        root = str(Path(__file__).parents[1])
        code = PEAK.format(root=root)
        peaks[what] = round(
            float(
                in_a_process(code, what, chunks, rows if what == "read_sql" else flat)
            )
        )
    return {"seconds": seconds, "peak_mb": peaks, "result_mb": round(size_mb)}


def copy_flat(db: Database, flat: Path) -> None:
    """Copy the plain table into one of our files, to read it with read_sql."""
    with contextlib.closing(sqlite3.connect(flat)) as source:
        (sql,) = source.execute("SELECT sql FROM sqlite_schema LIMIT 1").fetchone()
        rows = source.execute("SELECT * FROM flat")
        with db.pool.get_connection(readonly=False) as connection:
            connection.execute(sql)
            marks = ", ".join("?" * (N_FEATURES + 4))
            connection.executemany(
                f"INSERT INTO flat VALUES ({marks})",  # noqa: S608
                rows,
            )


def in_a_process(code: str, *arguments: object) -> str:
    """Run code in a process of its own and return what it prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(  # noqa: S603 - our own code
        command, capture_output=True, text=True, check=True
    )
    return done.stdout


def pool_ratios(report: dict[str, Any]) -> dict[str, float]:
    """Return the figures that the targets of pools are stated in."""
    by_name = {cell["pool"]: cell for cell in report["pools"]}
    ours, four = by_name["skatra"], report["four processes"]
    mix = report["mix"].values()
    errors = four["errors"] + four["lost"] + sum(cell["lock_errors"] for cell in mix)
    result = {
        "acquire and release, us (<= 2)": ours["microseconds"],
        "longest wait of 32 threads, ms (< 20)": ours["threads_32"]["longest_wait_ms"],
        "longest wait of four processes, ms": four["longest_wait_ms"],
        "lock errors and lost commits (0)": errors,
    }
    if "SQLAlchemy QueuePool" in by_name:
        peer = by_name["SQLAlchemy QueuePool"]["microseconds"]
        name = "acquire, x faster than SQLAlchemy (>= 3)"
        result[name] = peer / ours["microseconds"]
    return result


def load_ratios(loading: dict[str, Any]) -> dict[str, float]:
    """Return the figures that the targets of loading are stated in."""
    result = {}
    peak = loading["peak_mb"]
    for kind in ("wall", "cpu"):
        s = {k: v[kind] for k, v in loading["seconds"].items() if kind in v}
        load = s["load_dataset"]
        pairs = {
            "load_dataset, x faster than pandas (>= 35)": s["pandas.read_sql"] / load,
            "load_dataset, x memcpy (<= 6)": load / s["memcpy"],
            "load_dataset, x memcpy into fresh memory": load
            / s["memcpy into fresh memory"],
            "load_dataset, x fetch and CRC-32": load / s["floor: and CRC-32"],
            "fetch and CRC-32, x memcpy": s["floor: and CRC-32"] / s["memcpy"],
            "3 of 20 features, share of all": s["load_dataset, 3 features"] / load,
            "range, x faster than pandas (>= 20)": s["pandas, range"]
            / s["load_dataset, range"],
            "read_sql, x faster than pandas (>= 1)": s["pandas.read_sql"]
            / s["Database.read_sql"],
        }
        if "ADBC (own process)" in s:
            pairs["load_dataset, x faster than ADBC (>= 8)"] = (
                s["ADBC (own process)"] / load
            )
        for name, value in pairs.items():
            figure, bracket, target = name.partition(" (")
            result[f"{figure}, {kind}{bracket}{target}"] = value
    result["load_dataset, peak over result (<= 1.3)"] = (
        peak["load_dataset"] / loading["result_mb"]
    )
    result["read_sql, peak over that of pandas (<= 0.33)"] = (
        peak["read_sql"] / peak["pandas.read_sql"]
    )
    return result


def ratios(report: dict[str, Any]) -> dict[str, float]:
    """Return the figures that the targets are stated in, of the parts that ran."""
    result: dict[str, float] = {}
    if "pools" in report:
        result |= pool_ratios(report)
    if "loading" in report:
        result |= load_ratios(report["loading"])
    if "writing" in report:
        writing = report["writing"]
        result["bars, new rows/s (>= 150000)"] = writing["bars, new"]
        result["bars, replaced rows/s (>= 150000)"] = writing["bars, replaced"]
        result["labels, rows/s"] = writing["labels"]
        result["chunks, rows/s (>= 1000000)"] = writing["chunks"]
    return {name: round(float(value), 2) for name, value in result.items()}


def absent() -> list[str]:
    """Return the peers that are not installed here."""
    peers = ["sqlalchemy", "psycopg", "psycopg_pool", "adbc_driver_sqlite"]
    return [
        name for name in [*peers, "connectorx"] if not importlib.util.find_spec(name)
    ]


def run_part(part: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run one part in a folder of its own."""
    say(f"{part}:")
    if part == "pools":
        path, seconds = folder / "pool.db", options.seconds
        return {
            "not_installed": absent(),
            "pools": pool_cells(path, seconds),
            "mix": {str(n): mixed(path, n, seconds) for n in (1, 2, 8, 32)},
            "four processes": four_processes(path, seconds),
        }
    features, labels = frames(options.rows)
    if part == "writing":
        return {"writing": writing(folder, features, labels)}
    with Database(folder / "chunks.db", create=True) as db:
        say("  writing what is loaded")
        db.write_features(features, "base")
        db.write_labels(labels, "triple_barrier")
        write_flat(folder / "flat.db", features, labels)
        del features, labels
        return {"loading": loading(db, folder / "flat.db", options.repeats)}


def main() -> None:
    """Run the parts, print tables of ratios, merge into the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="default: all")
    parser.add_argument("--rows", type=int, default=10**6)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5, help="of a crowd")
    options = parser.parse_args()
    setting = {
        "format": 2,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "versions": {name: version(name) for name in ("numpy", "pandas")},
        "rows": options.rows,
    }
    report: dict[str, Any] = dict(setting)
    if RESULTS.exists():
        before = json.loads(RESULTS.read_text())
        if all(before.get(name) == value for name, value in setting.items()):
            report = before
    for part in options.part or PARTS:
        with tempfile.TemporaryDirectory() as name:
            report |= run_part(part, Path(name), options)
        report["ratios"] = ratios(report)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    show(report)


def show(report: dict[str, Any]) -> None:
    """Print the tables of what ran so far."""
    if "pools" in report:
        head = f"{'pool':24} {'us':>7} {'+read':>7} {'32 thr op/s':>12} {'wait ms':>9}"
        print(head)
        for cell in report["pools"]:
            many = cell["threads_32"]
            print(
                f"{cell['pool']:24} {cell['microseconds']:>7.2f} "
                f"{cell['with_read']:>7.2f} {many['operations_per_second']:>12,} "
                f"{many['longest_wait_ms']:>9.1f}"
            )
        print(f"not installed: {', '.join(report['not_installed']) or 'none'}")
        for threads, cell in report["mix"].items():
            print(f"read/write mix, {threads} threads: {cell}")
        print(f"four writing processes: {report['four processes']}")
    for name, value in report.get("writing", {}).items():
        print(f"write {name:20} {value:>12,} rows/s")
    if "loading" in report:
        memcpy = report["loading"]["seconds"]["memcpy"]["wall"]
        for name, best in report["loading"]["seconds"].items():
            used = f"{best['cpu']:>8.3f} s processor" if "cpu" in best else ""
            print(
                f"{name:30} {best['wall']:>8.3f} s {used:20} "
                f"{best['wall'] / memcpy:>8.1f} x memcpy"
            )
        print(f"peak MB {report['loading']['peak_mb']}")
        print(f"result MB {report['loading']['result_mb']}")
    for name, value in report["ratios"].items():
        print(f"{name:52} {value:>12,.2f}")


if __name__ == "__main__":
    main()
