"""The storage layer against its peers and against what the machine can do at all.

Pool: taking and giving back a connection, with and without a point read, from 1 to 32
threads on 4 connections, against a ``queue.LifoQueue`` pool, connect per operation,
one connection per thread and, where installed, SQLAlchemy's QueuePool and
psycopg_pool. Loading: 1e6 rows x 24 columns (symbol, t0, 20 features, label, t1) into
a frame against ``pandas.read_sql`` on a plain indexed table of the same rows, a
memcpy of the result and the bare reading of every chunk; the same for 3 columns, for
a range of 117,000 rows, for ``read_sql`` and for peak memory. Writing: rows a second.

ADBC and connectorx carry an SQLite of their own, and two in one process lose data, so
they run, where installed, in a process of their own on a file nobody else has open.

All in one run, in turns, best of several; only ratios say something about another
machine.

    python benchmarks/bench_database.py                 # about two minutes
    python benchmarks/bench_database.py --rows 100000
"""

import argparse
import contextlib
import gc
import importlib.util
import json
import platform
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, time
from typing import Any

import numpy as np
import pandas as pd
from database_pools import pools

from skatra.datasets import Database, SQLiteConnectionPool, load_dataset

RESULTS = Path(__file__).parent / "results" / "bench_database.json"
N_SYMBOLS, N_FEATURES, RANGE_SHARE = 100, 20, 0.117
FEATURES = [f"f{k:02d}" for k in range(N_FEATURES)]
POINT_READ = "SELECT x FROM point WHERE id = ?"
ADBC = """
import sys, time, adbc_driver_sqlite.dbapi as dbapi
with dbapi.connect(sys.argv[1]) as c, c.cursor() as cursor:
    best = 9e9
    for _ in range(3):
        start = time.perf_counter()
        cursor.execute("SELECT * FROM flat")
        cursor.fetch_arrow_table().to_pandas()
        best = min(best, time.perf_counter() - start)
print(best)
"""
CONNECTORX = """
import sys, time, connectorx
best = 9e9
for _ in range(3):
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


def best_of(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Time all contenders in turns; return the best seconds of each."""
    seconds = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats):
        for name, run in runs.items():
            gc.collect()
            start = perf_counter()
            result = run()
            seconds[name] = min(seconds[name], perf_counter() - start)
            del result
    return seconds


# --- pools ---------------------------------------------------------------------


def pool_cells(path: Path, seconds: float) -> list[dict[str, Any]]:
    """Measure every pool alone and under threads."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE point (id INTEGER PRIMARY KEY, x REAL)")
        rows = [(k, k * 0.5) for k in range(10_000)]
        connection.executemany("INSERT INTO point VALUES (?, ?)", rows)
        connection.commit()
        connection.execute("PRAGMA journal_mode = WAL")
    cells = []
    for name, take in pools(path, 4).items():
        cell: dict[str, Any] = {"pool": name}
        n = 100 if name == "connect per operation" else 2_000
        for key, read in (("microseconds", False), ("with_read", True)):
            best = float("inf")
            for _ in range(40):
                start = perf_counter()
                for k in range(n):
                    with take() as connection:
                        if read:
                            connection.execute(POINT_READ, (k,)).fetchone()
                best = min(best, (perf_counter() - start) / n)
            cell[key] = round(best * 1e6, 2)
        for threads in (1, 2, 8, 32):
            cell[f"threads_{threads}"] = crowd(take, threads, seconds)
        cells.append(cell)
    return cells


def crowd(take: Callable[[], Any], n_threads: int, seconds: float) -> dict[str, Any]:
    """Let threads read points for a while; count, and find the longest wait."""
    start_line = threading.Barrier(n_threads + 1)
    counts, waits, errors = [0] * n_threads, [0.0] * n_threads, [0]
    stop = [False]

    def work(me: int) -> None:
        start_line.wait()
        while not stop[0]:
            asked = perf_counter()
            try:
                with take() as connection:
                    waits[me] = max(waits[me], perf_counter() - asked)
                    connection.execute(POINT_READ, (me,)).fetchone()
            except sqlite3.OperationalError:
                errors[0] += 1
            counts[me] += 1

    threads = [threading.Thread(target=work, args=(k,)) for k in range(n_threads)]
    for thread in threads:
        thread.start()
    start_line.wait()
    begin = perf_counter()
    while perf_counter() - begin < seconds:
        threading.Event().wait(0.05)
    stop[0] = True
    for thread in threads:
        thread.join()
    return {
        "operations_per_second": round(sum(counts) / seconds),
        "longest_wait_ms": round(max(waits) * 1e3, 1),
        "fewest_of_one_thread": min(counts),
        "errors": errors[0],
    }


def mixed(path: Path, seconds: float) -> dict[str, Any]:
    """Run 8 threads, one operation in ten a read-modify-write, through our pool."""
    pool = SQLiteConnectionPool(path)
    stop, counts, waits, errors = [False], [0] * 8, [0.0] * 8, [0]

    def work(me: int) -> None:
        turn = 0
        while not stop[0]:
            turn += 1
            write = turn % 10 == 0
            asked = perf_counter()
            try:
                with pool.get_connection(readonly=not write) as connection:
                    waits[me] = max(waits[me], perf_counter() - asked)
                    (x,) = connection.execute(POINT_READ, (me,)).fetchone()
                    if write:
                        sql = "UPDATE point SET x = ? WHERE id = ?"
                        connection.execute(sql, (x + 1, me))
            except sqlite3.OperationalError:
                errors[0] += 1
            counts[me] += 1

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    threading.Event().wait(seconds)
    stop[0] = True
    for thread in threads:
        thread.join()
    pool.close()
    return {
        "operations_per_second": round(sum(counts) / seconds),
        "longest_wait_ms": round(max(waits) * 1e3, 1),
        "lock_errors": errors[0],
    }


WRITER = """
import json, sys, time
sys.path.insert(0, {root!r})
from skatra.datasets import SQLiteConnectionPool
path, me, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
pool = SQLiteConnectionPool(path)
waits, commits, errors = [0.0], 0, 0
print("ready", flush=True)
begin = float(sys.stdin.readline())
time.sleep(max(0.0, begin - time.time()))
while time.time() < begin + seconds:
    asked = time.perf_counter()
    try:
        with pool.get_connection(readonly=False) as connection:
            waits.append(time.perf_counter() - asked)
            sql = "UPDATE point SET x = x + 1 WHERE id = ?"
            connection.execute(sql, (me,))
        commits += 1
    except Exception:
        errors += 1
print(json.dumps([commits, errors, max(waits)]))
"""


def four_processes(path: Path, seconds: float) -> dict[str, Any]:
    """Let four processes write as fast as they can; every commit must be there."""
    code = WRITER.format(root=str(Path(__file__).parents[1]))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE point SET x = 0 WHERE id < 4")
        connection.commit()
    team = [
        subprocess.Popen(  # noqa: S603 - our own code
            [sys.executable, "-c", code, str(path), str(me), str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for me in range(4)
    ]
    for one in team:
        assert one.stdout is not None
        one.stdout.readline()
    begin = f"{time() + 0.2}\n"
    for one in team:
        assert one.stdin is not None
        one.stdin.write(begin)
        one.stdin.flush()
    said = [json.loads(one.communicate()[0]) for one in team]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        sql = "SELECT x FROM point WHERE id < 4 ORDER BY id"
        kept = [row[0] for row in connection.execute(sql)]
    return {
        "commits": [commits for commits, _, _ in said],
        "errors": sum(errors for _, errors, _ in said),
        "longest_wait_ms": round(max(wait for _, _, wait in said) * 1e3, 1),
        "lost": sum(commits for commits, _, _ in said) - sum(kept),
    }


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


def writing(db: Database, features: pd.DataFrame, labels: pd.DataFrame) -> dict:
    """Time the writes; durability is synchronous=NORMAL in write-ahead mode."""
    bars = bars_like(features)
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


def loading(db: Database, flat: Path, repeats: int) -> dict[str, Any]:
    """Time every way to a frame and say how they compare."""
    chunks = db.path
    result = load_dataset(db)
    values = result.data.to_numpy()
    target = np.empty_like(values)
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

    def every_chunk() -> int:
        rows = blobs.execute("SELECT data FROM feature_chunks ORDER BY chunk_id")
        return sum(len(data) for (data,) in rows)

    fast = {
        "memcpy": lambda: np.copyto(target, target[::1]),
        "memcpy into fresh memory": target.copy,
        "every chunk fetched": every_chunk,
        "load_dataset": lambda: load_dataset(db),
        "load_dataset, 3 features": lambda: load_dataset(db, columns=FEATURES[:3]),
        "features": lambda: db.features("base"),
        "load_dataset, range": lambda: load_dataset(db, start=low, end=high),
        "pandas, range": lambda: pd.read_sql(ranged, plain),
    }
    other = target.copy()
    fast["memcpy"] = lambda: np.copyto(target, other)
    slow: dict[str, Callable[[], Any]] = {
        "pandas.read_sql": lambda: pd.read_sql("SELECT * FROM flat", plain)
    }
    rows = flat.with_name("rows.db")
    with Database(rows, create=True) as row_db:
        copy_flat(row_db, flat)
        slow["Database.read_sql"] = lambda: row_db.read_sql("SELECT * FROM flat")
        seconds = best_of(slow, max(2, repeats // 3))
    seconds |= best_of(fast, repeats)
    plain.close()
    blobs.close()
    for name, module, code in (
        ("ADBC (own process)", "adbc_driver_sqlite", ADBC),
        ("connectorx (own process)", "connectorx", CONNECTORX),
    ):
        if importlib.util.find_spec(module):
            seconds[name] = float(in_a_process(code, flat))
    peaks = {}
    for what in ("load_dataset", "read_sql", "pandas.read_sql"):
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


def ratios(report: dict[str, Any]) -> dict[str, float]:
    """Return the figures that the targets are stated in."""
    s = report["loading"]["seconds"]
    size = report["loading"]["result_mb"]
    by_name = {cell["pool"]: cell for cell in report["pools"]}
    result = {
        "acquire and release, us (<= 2)": by_name["skatra"]["microseconds"],
        "longest wait of 32 threads, ms (< 20)": by_name["skatra"]["threads_32"][
            "longest_wait_ms"
        ],
        "longest wait of four processes, ms": report["four processes"][
            "longest_wait_ms"
        ],
        "lock errors and lost commits (0)": report["four processes"]["errors"]
        + report["four processes"]["lost"]
        + report["mix"]["lock_errors"],
        "load_dataset, x faster than pandas (>= 35)": s["pandas.read_sql"]
        / s["load_dataset"],
        "load_dataset, x memcpy (<= 6)": s["load_dataset"] / s["memcpy"],
        "load_dataset, x memcpy into fresh memory": s["load_dataset"]
        / s["memcpy into fresh memory"],
        "load_dataset, peak over result (<= 1.3)": report["loading"]["peak_mb"][
            "load_dataset"
        ]
        / size,
        "3 of 20 features, share of all": s["load_dataset, 3 features"]
        / s["load_dataset"],
        "range, x faster than pandas (>= 20)": s["pandas, range"]
        / s["load_dataset, range"],
        "read_sql, peak over that of pandas (<= 0.33)": report["loading"]["peak_mb"][
            "read_sql"
        ]
        / report["loading"]["peak_mb"]["pandas.read_sql"],
        "read_sql, x faster than pandas (>= 1)": s["pandas.read_sql"]
        / s["Database.read_sql"],
        "bars, new rows/s (>= 150000)": report["writing"]["bars, new"],
        "bars, replaced rows/s (>= 150000)": report["writing"]["bars, replaced"],
        "chunks, rows/s (>= 1000000)": report["writing"]["chunks"],
    }
    if "SQLAlchemy QueuePool" in by_name:
        ratio = (
            by_name["SQLAlchemy QueuePool"]["microseconds"]
            / by_name["skatra"]["microseconds"]
        )
        result["acquire, x faster than SQLAlchemy (>= 3)"] = ratio
    if "ADBC (own process)" in s:
        ratio = s["ADBC (own process)"] / s["load_dataset"]
        result["load_dataset, x faster than ADBC (>= 8)"] = ratio
    return {name: round(float(value), 2) for name, value in result.items()}


def absent() -> list[str]:
    """Return the peers that are not installed here."""
    peers = ["sqlalchemy", "psycopg", "psycopg_pool", "adbc_driver_sqlite"]
    return [
        name for name in [*peers, "connectorx"] if not importlib.util.find_spec(name)
    ]


def main() -> None:
    """Run everything, print tables of ratios, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10**6)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5, help="of a crowd")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report: dict[str, Any] = {
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "versions": {name: version(name) for name in ("numpy", "pandas")},
            "not_installed": absent(),
            "rows": options.rows,
            "pools": pool_cells(folder / "pool.db", options.seconds),
            "mix": mixed(folder / "pool.db", options.seconds),
            "four processes": four_processes(folder / "pool.db", options.seconds),
        }
        features, labels = frames(options.rows)
        write_flat(folder / "flat.db", features, labels)
        with Database(folder / "chunks.db", create=True) as db:
            report["writing"] = writing(db, features, labels)
            del features, labels
            report["loading"] = loading(db, folder / "flat.db", options.repeats)
    report["ratios"] = ratios(report)
    show(report)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")


def show(report: dict[str, Any]) -> None:
    """Print the tables."""
    print(f"{'pool':24} {'us':>7} {'+read':>7} {'32 thr op/s':>12} {'wait ms':>9}")
    for cell in report["pools"]:
        many = cell["threads_32"]
        print(
            f"{cell['pool']:24} {cell['microseconds']:>7.2f} {cell['with_read']:>7.2f} "
            f"{many['operations_per_second']:>12,} {many['longest_wait_ms']:>9.1f}"
        )
    print(f"not installed: {', '.join(report['not_installed']) or 'none'}")
    print(f"read/write mix, 8 threads: {report['mix']}")
    print(f"four writing processes: {report['four processes']}")
    for name, value in report["writing"].items():
        print(f"write {name:20} {value:>12,} rows/s")
    memcpy = report["loading"]["seconds"]["memcpy"]
    for name, value in report["loading"]["seconds"].items():
        print(f"{name:28} {value:>8.3f} s {value / memcpy:>8.1f} x memcpy")
    print(f"peak MB {report['loading']['peak_mb']}")
    print(f"result MB {report['loading']['result_mb']}")
    for name, value in report["ratios"].items():
        print(f"{name:46} {value:>12,.2f}")


if __name__ == "__main__":
    main()
