"""What commands print: progress on stderr, results on stdout."""

import json
import os
import sys
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from skatra.model_selection import SplitAudit
    from skatra.retraining import RetrainResult


class StageProgress:
    """Shows which stage runs: a bar on a terminal, a line per stage elsewhere."""

    def __init__(self, stages: Mapping[str, str], total: int) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._stages = stages
        self._total = total
        self._started = 0
        self._bar: Progress | None = None
        self._task: Any = None

    @contextmanager
    def show(self) -> Iterator["StageProgress"]:
        """Show progress for a block."""
        if not self._console.is_terminal:
            yield self
            return
        with Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        ) as self._bar:
            self._task = self._bar.add_task("Starting", total=self._total)
            yield self
            self._bar.update(self._task, description="Done", completed=self._total)

    def stage(self, title: str, name: str) -> None:
        """Announce a stage."""
        self._started += 1
        text = self._stages.get(name, "Drawing the report")
        if self._bar is None:
            self._console.print(f"[{self._started}/{self._total}] {title}: {text}")
        else:
            self._bar.update(self._task, description=text, completed=self._started - 1)


def print_json(document: Any) -> None:
    """Print strict JSON."""
    from skatra.utils import json_ready

    json.dump(json_ready(document), sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def print_summary(results: "Sequence[RetrainResult]") -> None:
    """Print one table of figures and one conclusion per run."""
    console = Console(highlight=False)
    table = Table(title="Out of sample", title_justify="left", header_style="bold")
    table.add_column("")
    for number, _ in enumerate(results, start=1):
        table.add_column(
            f"({number})" if len(results) > 1 else "figure", justify="right"
        )
    for label, values in _figures(results):
        table.add_row(label, *values)
    console.print()
    console.print(table)
    for number, result in enumerate(results, start=1):
        lead = f"({number}) " if len(results) > 1 else ""
        verdict = (
            ("PROMOTED", "green") if result.verdict.promoted else ("REFUSED", "yellow")
        )
        console.print()
        console.print(Text.assemble((f"{lead}{result.title}  ", "bold"), verdict))
        console.print(result.conclusion)


def _figures(
    results: "Sequence[RetrainResult]",
) -> Iterator[tuple[str, list[str]]]:
    for index, first in enumerate(results[0].splitters):
        yield (
            f"AUC, {first.model}, {first.splitter}",
            [f"{result.splitters[index].auc:.3f}" for result in results],
        )
    for index, first in enumerate(results[0].splitters[:3]):
        yield (
            f"leaking pairs, {first.splitter}",
            [f"{result.splitters[index].leaking_pairs:,}" for result in results],
        )
    rows = (
        ("held-out AUC", "auc", "{:.3f}"),
        ("mean Kelly stake", "mean_absolute_position", "{:.1%}"),
        ("log growth a year, after cost", "log_growth_per_year", "{:+.2%}"),
        ("maximum drawdown", "max_drawdown", "{:.1%}"),
    )
    for label, key, form in rows:
        yield label, [form.format(result.holdout.scores[key]) for result in results]


def print_leaks(audits: "Mapping[str, SplitAudit]") -> None:
    """Print one line per splitter."""
    console = Console(highlight=False, soft_wrap=True)
    width = max(map(len, audits))
    for name, audit in audits.items():
        share = audit.n_leaking_rows / max(int(audit.totals["train"]), 1)
        pairs = audit.n_leaking_pairs
        console.print(
            Text.assemble(
                (f"{name:{width}}  ", "bold"),
                (f"{pairs:,} leaking pairs", "red" if pairs else "green"),
                f", {share:.1%} of training rows leak, {audit.share_used:.1%} of "
                f"{audit.n_rows:,} rows used, {audit.n_splits} splits",
            )
        )


def print_paths(paths: dict[str, Path]) -> None:
    """Print where things were written, relative to here where that is shorter."""
    console = Console(highlight=False, soft_wrap=True)
    console.print()
    for label, path in paths.items():
        shown = os.path.relpath(path)
        console.print(
            f"{label + ':':<10}{shown if len(shown) < len(str(path)) else path}"
        )


def open_in_browser(path: Path, wanted: bool | None) -> None:
    """Open a page; by default only for a person at a terminal."""
    if wanted is None:
        wanted = sys.stdout.isatty() and not os.environ.get("CI")
    if wanted:
        webbrowser.open(path.as_uri())
