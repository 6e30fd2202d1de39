"""Purged splitters against their peers and against the time numpy needs to write.

Every contender does ``list(cv.split(...))`` for the same rows, in one process, in
turns: PurgedKFold with 10 folds, CombinatorialPurgedKFold with 10 folds of which 2 are
tested at a time (45 splits), PurgedWalkForward with 10 splits. Medians are shown, and
ratios to the limit, to the floor and to ours:

limit
    The arrays of the same splits by ``np.concatenate`` of ``np.arange`` for each part.
floor
    The same arrays as one copy each out of an existing ``arange``.
one argsort of t0
    What unsorted rows cost at least, on top.

Labels span 1 to 99 rows, the embargo is 1 % of the time. Ours gets label_times as a
fresh datetime Series in the order of X, so nothing is cached from the last turn, and
what is timed includes all its checks. scikit-learn's KFold and TimeSeriesSplit purge
nothing. Peers need sorted rows and run on those only, after everything else.

Splits of a million rows are hundreds of megabytes, and whether the allocator has them
at hand decides more than the splitter does. So all runs are made twice, in processes
of their own: "fresh" memory, where the allocator (of glibc) asks the system for each
array, as in the first split of a process; and "warm" memory, where it gives nothing
back and turns after the first touch no new page. Page faults are counted in the JSON.

A peer that is not installed or fails to import is named in the table. One that needs
other versions of numpy or pandas runs in an interpreter of its own. A peer is not run
where a tenth of the rows took it longer than a twentieth of a minute.

    python benchmarks/bench_splits.py                   # some minutes
    python benchmarks/bench_splits.py --python-fold other-environment/bin/python
"""

import argparse
import gc
import json
import os
import platform
import resource
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from sklearn.model_selection import KFold, TimeSeriesSplit
from splits_peers import (
    N_FOLDS,
    PEERS,
    SLOW,
    Rows,
    seconds_elsewhere,
    seconds_here,
    why_absent,
)

from skatra.model_selection import (
    CombinatorialPurgedKFold,
    PurgedKFold,
    PurgedWalkForward,
    audit_splits,
)

RESULTS = Path(__file__).parent / "results" / "bench_splits.json"
MEMORY = {
    "fresh": {"MALLOC_MMAP_THRESHOLD_": "65536"},
    "warm": {
        "MALLOC_MMAP_THRESHOLD_": str(2**25),
        "MALLOC_TRIM_THRESHOLD_": str(2**40),
    },
}
OURS = {"kfold": "PurgedKFold", "cpcv": "CPCV(10, 2)", "walk": "PurgedWalkForward"}


def splitter_of(splitter: str, rows: Rows) -> Any:
    """Return ours."""
    if splitter == "kfold":
        return PurgedKFold(N_FOLDS, embargo=rows.embargo)
    if splitter == "cpcv":
        return CombinatorialPurgedKFold(N_FOLDS, 2, embargo=rows.embargo)
    return PurgedWalkForward(N_FOLDS)


def contenders(splitter: str, rows: Rows) -> dict[str, Callable[[], Callable]]:
    """Return, by name, what prepares a run outside the clock and returns it."""
    n_rows = len(rows)
    base = np.arange(n_rows)
    cv = splitter_of(splitter, rows)
    in_order = Rows(n_rows).label_times()
    runs = [
        (runs_of(train), runs_of(test))
        for train, test in cv.split(rows.X, label_times=in_order)
    ]
    t0 = rows.t0.astype(np.int64)

    def ours():
        label_times = rows.label_times()
        return lambda: cv.split(rows.X, label_times=label_times)

    def audit():
        label_times = rows.label_times()
        return lambda: iter([audit_splits(cv, rows.X, label_times=label_times)])

    def ranges(part):
        return np.concatenate([np.arange(start, stop) for start, stop in part])

    def copies(part):
        return np.concatenate([base[start:stop] for start, stop in part])

    usual = {
        "kfold": ("scikit-learn KFold", KFold(N_FOLDS)),
        "walk": ("scikit-learn TimeSeriesSplit", TimeSeriesSplit(N_FOLDS)),
    }
    found = {
        "limit": lambda: lambda: ((ranges(a), ranges(b)) for a, b in runs),
        "floor": lambda: lambda: ((copies(a), copies(b)) for a, b in runs),
        "one argsort of t0": lambda: lambda: iter([np.argsort(t0)]),
        f"skatra {OURS[splitter]}": ours,
    }
    if splitter in usual:
        name, plain = usual[splitter]
        found[name] = lambda: lambda: plain.split(rows.X)
    if splitter == "kfold":
        found["skatra audit_splits"] = audit
    return found


def runs_of(part: np.ndarray) -> list[tuple[int, int]]:
    """Return the runs of successive rows, the short ones joined to the next.

    A few rows before a block survive one by one where their label is short.
    """
    breaks = np.flatnonzero(np.diff(part) > 1) + 1
    edges = [0, *breaks[np.diff(breaks, prepend=0) > 100].tolist(), len(part)]
    return [(int(part[a]), int(part[a]) + b - a) for a, b in pairwise(edges)]


def page_faults() -> int:
    """Return how many pages this process has touched for the first time."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def measure(
    runs: dict[str, Callable], *, repeats: int, budget: float
) -> dict[str, list[tuple[float, int]]]:
    """Time all contenders in turns; one that used up its budget sits out."""
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in runs}
    names = list(runs)
    for turn in range(repeats):
        # Who runs after whom matters: the memory that one frees serves the next.
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            if sum(seconds for seconds, _ in found[name]) > budget:
                continue
            run = runs[name]()
            faults, start = page_faults(), perf_counter()
            splits = list(run())
            found[name].append((perf_counter() - start, page_faults() - faults))
            del splits
    return found


def peak_megabytes(prepare: Callable) -> float:
    """Return the most memory held at a time while iterating, beyond the input."""
    run = prepare()
    gc.collect()
    tracemalloc.start()
    for _ in run():
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1e6


def run_peers(
    splitter: str, rows: Rows, python_fold: str | None, earlier: dict[str, float]
) -> dict[str, dict[str, Any]]:
    """Time the peers, or say why not."""
    found: dict[str, dict[str, Any]] = {}
    for name, (_, _, notes) in PEERS.items():
        if splitter not in notes:
            found[name] = {"note": "has no such splitter"}
            continue
        elsewhere = python_fold if name == "python-fold" else None
        absent = None if elsewhere else why_absent(name)
        if absent:
            found[name] = {"note": absent}
        elif earlier.get(name, 0) * 20 > SLOW:
            found[name] = {
                "note": f"not run: over {SLOW:.0f} s expected, a tenth of the rows "
                f"took {earlier[name]:.1f} s"
            }
        else:
            try:
                seconds = (
                    seconds_elsewhere(elsewhere, name, splitter, len(rows))
                    if elsewhere
                    else seconds_here(name, splitter, rows)
                )
            except Exception as error:
                found[name] = {"note": f"fails: {type(error).__name__}: {error}"[:100]}
                continue
            note = notes[splitter] + (" (own interpreter)" if elsewhere else "")
            found[name] = {"seconds": seconds, "note": note.strip()}
            earlier[name] = median(seconds)
    return found


def cells_of(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run everything in this process's kind of memory, print and return the cells."""
    cells = []
    for splitter in OURS:
        earlier: dict[str, float] = {}
        for n_rows in options.n:
            if n_rows < 10**5 and splitter != "kfold":
                continue
            for permuted in (False, True):
                rows = Rows(n_rows, permuted=permuted)
                runs = contenders(splitter, rows)
                times = measure(runs, repeats=options.repeats, budget=options.budget)
                found: dict[str, dict[str, Any]] = {
                    name: {
                        "seconds": [seconds for seconds, _ in pairs],
                        "page_faults": int(median(faults for _, faults in pairs)),
                        "peak_megabytes": round(peak_megabytes(runs[name]), 1),
                    }
                    for name, pairs in times.items()
                }
                if not permuted and options.memory == "warm" and not options.no_peers:
                    found |= run_peers(splitter, rows, options.python_fold, earlier)
                cells += table(splitter, n_rows, permuted, options.memory, found)
    return cells


def table(
    splitter: str,
    n_rows: int,
    permuted: bool,  # noqa: FBT001
    memory: str,
    found: dict[str, dict[str, Any]],
) -> list[dict[str, Any]]:
    """Print the lines of one table and return its cells."""
    cells = []
    medians = {
        name: median(x["seconds"]) for name, x in found.items() if "seconds" in x
    }
    for name, figures in found.items():
        cell = {
            "splitter": splitter,
            "n_rows": n_rows,
            "order": "unsorted" if permuted else "sorted",
            "memory": memory,
            "contender": name,
        }
        ratios = "-"
        if name in medians:
            seconds = medians[name]
            cell |= {
                "milliseconds": round(seconds * 1e3, 3),
                "times_limit": round(seconds / medians["limit"], 2),
                "times_floor": round(seconds / medians["floor"], 2),
                "times_ours": round(seconds / medians[f"skatra {OURS[splitter]}"], 2),
                "repeats": len(figures["seconds"]),
            }
            ratios = (
                f"{cell['milliseconds']:>11.3f} {cell['times_limit']:>9.2f} "
                f"{cell['times_floor']:>9.2f} {cell['times_ours']:>9.2f}"
            )
        cell |= {key: value for key, value in figures.items() if key != "seconds"}
        cells.append(cell)
        print(
            f"{splitter:6} {n_rows:>8} {cell['order']:8} {memory:6} {name:28} "
            f"{ratios:>41} {figures.get('peak_megabytes', ''):>7} "
            f"{figures.get('note', '')}",
            flush=True,
        )
    return cells


def version_of(name: str) -> str:
    """Return the version of a distribution installed here."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def main() -> None:
    """Run both kinds of memory in processes of their own and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, nargs="+", default=[10**4, 10**5, 10**6])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--budget", type=float, default=10, help="s per contender, n")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--python-fold", help="interpreter that has python-fold")
    parser.add_argument("--memory", choices=MEMORY, help=argparse.SUPPRESS)
    parser.add_argument("--cells", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        options.cells.write_text(json.dumps(cells_of(options)))
        return
    print(
        f"{'split':6} {'n':>8} {'rows':8} {'memory':6} {'contender':28} {'ms':>11} "
        f"{'x limit':>9} {'x floor':>9} {'x ours':>9} {'peak MB':>7}",
        flush=True,
    )
    cells = []
    with TemporaryDirectory() as folder:
        part = Path(folder) / "cells.json"
        for memory, environment in MEMORY.items():
            command = [sys.executable, __file__, *sys.argv[1:]]
            command += ["--memory", memory, "--cells", str(part)]
            subprocess.run(command, check=True, env=os.environ | environment)  # noqa: S603
            cells += json.loads(part.read_text())
    libraries = ["numpy", "pandas", "scikit-learn", *PEERS]
    report = {
        "n_folds": N_FOLDS,
        "python": platform.python_version(),
        "versions": {name: version_of(name) for name in libraries},
        "cells": cells,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
