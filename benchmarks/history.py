"""What earlier runs measured, so that a slowdown shows.

``results/history.jsonl`` holds one line per run and figure: when, at which commit and
version, on which Python and kind of machine, and the value.
"""

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from figures import RESULTS, Figure

HISTORY = RESULTS / "history.jsonl"
SLOWDOWN = 1.5
"""How many times worse than the median of earlier runs a ratio must be to be flagged.

Ratios of one run repeat to some tens of percent on a shared machine."""
Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Slowdown:
    """A ratio that got worse."""

    benchmark: str
    figure: str
    value: float
    usual: float
    n_earlier: int

    def __str__(self) -> str:
        """Say it in one line."""
        return (
            f"{self.benchmark}: {self.figure} is {self.value:.4g}, and was "
            f"{self.usual:.4g} (median of {self.n_earlier} earlier runs)"
        )


def circumstances(version: str) -> Line:
    """Return what a line says about the run: date, commit, Python, machine."""
    git = ["git", "-C", str(RESULTS), "describe", "--always", "--dirty=+"]
    try:
        commit = subprocess.run(git, check=True, capture_output=True, text=True).stdout  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.strip(),
        "version": version,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def read(path: Path = HISTORY) -> list[Line]:
    """Return all lines, oldest first."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line]


def new_lines(
    history: Sequence[Line], figures: Sequence[Figure], run: Line
) -> list[Line]:
    """Return the lines to add for one benchmark; none if it has not run since."""
    latest = {
        line["figure"]: line["value"]
        for line in history
        if figures and line["benchmark"] == figures[0].benchmark
    }
    if {figure.name: figure.value for figure in figures}.items() <= latest.items():
        return []
    return [
        run
        | {
            "benchmark": figure.benchmark,
            "figure": figure.name,
            "value": figure.value,
            "better": figure.better,
            "ratio": figure.ratio,
        }
        for figure in figures
    ]


def append(lines: Iterable[Line], path: Path = HISTORY) -> None:
    """Add lines at the end of the file."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def slowdowns(history: Sequence[Line], *, limit: float = SLOWDOWN) -> list[Slowdown]:
    """Return the ratios whose last value is `limit` times worse than usual.

    Usual is the median of all earlier runs of the same figure; a single run is
    compared with nothing, and neither is a figure that the newest run does not have.
    """
    newest = {line["benchmark"]: line["date"] for line in history}
    values: dict[tuple[str, str], list[Line]] = {}
    for line in history:
        if line["ratio"]:
            values.setdefault((line["benchmark"], line["figure"]), []).append(line)
    found = []
    for (benchmark, figure), lines in values.items():
        *earlier, last = (line["value"] for line in lines)
        if not earlier or lines[-1]["date"] != newest[benchmark]:
            continue
        usual = median(earlier)
        least, most = (
            (last, usual) if lines[-1]["better"] == "higher" else (usual, last)
        )
        if most > limit * least:
            found.append(Slowdown(benchmark, figure, last, usual, len(earlier)))
    return found
