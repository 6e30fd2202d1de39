"""What commands print: progress on stderr, results on stdout."""

import json
import os
import sys
import time
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from skatra.model_selection import SplitAudit
    from skatra.retraining import Plan, RetrainResult


class StageProgress:
    """Shows what runs and for how long: a bar on a terminal, else a line per stage.

    Parameters
    ----------
    stages : mapping of str to str
        Stages and what they do.
    total : int
        Stages in all.
    runs : int, default=1
        Runs in all; each tells how many tasks it has.
    """

    def __init__(self, stages: Mapping[str, str], total: int, runs: int = 1) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._stages = stages
        self._total = total
        self._runs = runs
        self.restart()
        self._bar: Progress | None = None
        self._task: Any = None

    def restart(self) -> None:
        """Count stages and tasks from the first."""
        self._tasks = self._started = self._done = self._worked = 0
        self._since = time.monotonic()

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
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
        ) as self._bar:
            self._task = self._bar.add_task("Starting", total=None)
            yield self
            self._bar.update(self._task, description="Done")

    def stage(self, title: str, name: str) -> None:
        """Announce a stage."""
        self._started += 1
        text = self._stages.get(name, "Drawing the report")
        if self._bar is None:
            place = f"[{self._started}/{self._total}]"
            line = f"{place} {title}: {text}{self._left()}"
            with on_stderr():
                self._console.print(line, markup=False)
        else:
            self._bar.update(self._task, description=text)

    def observe(self, event: Mapping[str, Any]) -> None:
        """Count a task; one that was done before tells nothing of the time left."""
        if event["event"] != "task":
            return
        self._tasks = self._runs * event["total"]
        self._done += 1
        self._worked += not event["cached"]
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, total=self._tasks)

    def _left(self) -> str:
        """Say how long the rest should take, once that can be told."""
        rest = self._tasks - self._done
        if self._worked < 2 or rest <= 0:
            return ""
        seconds = (time.monotonic() - self._since) / self._worked * rest
        return f" (about {seconds:,.0f} s left)"


@contextmanager
def results() -> Iterator[None]:
    """Print results; a reader that has left, such as ``head``, is no error."""
    try:
        yield
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # rich leaves by SystemExit
        _silence(sys.stdout)
    except OSError:
        _silence(sys.stdout)
        raise


@contextmanager
def on_stderr() -> Iterator[None]:
    """Say something beside results; where stderr takes nothing, nothing is said."""
    try:
        yield
    except OSError:
        _silence(sys.stderr)


def _silence(stream: TextIO) -> None:
    """Send nowhere what a stream still holds: else Python leaves with 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


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
            result.verdict.outcome.upper(),
            "green" if result.verdict.promoted else "yellow",
        )
        console.print()
        console.print(Text.assemble((f"{lead}{result.title}  ", "bold"), verdict))
        console.print(result.conclusion)


def _figures(
    results: "Sequence[RetrainResult]",
) -> Iterator[tuple[str, list[str]]]:
    from skatra.utils import format_number

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
        ("held-out AUC", "auc", ".3f"),
        ("mean Kelly stake", "mean_absolute_position", ".1%"),
        ("log growth a year, after cost", "log_growth_per_year", "+.2%"),
        ("maximum drawdown", "max_drawdown", ".1%"),
    )
    for label, key, form in rows:
        scores = [result.holdout.scores[key] for result in results]
        yield label, [format_number(score, form) for score in scores]
    yield "log growth a year, worst to best purged path", [_span(r) for r in results]
    tried = [f"{result.trials['on_these_symbols']:,}" for result in results]
    yield "models ever tried on these symbols", tried


def _span(result: "RetrainResult") -> str:
    """Return the growth of the worst and of the best backtest path."""
    from skatra.utils import format_number

    if not len(result.paths.table):
        return "none"
    growth = result.paths.table["log_growth_per_year"]
    return " to ".join(format_number(g, "+.2%") for g in (growth.min(), growth.max()))


def print_plan(plan: "Plan") -> None:
    """Print what a run would do."""
    console = Console(highlight=False, soft_wrap=True)
    columns = ["fold", "from", "to", "test", "train", "purged", "embargoed"]
    table = Table(*columns, title="Folds", title_justify="left", header_style="bold")
    times = [str(time) for name in ("from", "to") for time in plan.folds[name]]
    # Daily bars need no hours.
    shown = 10 if all(time[11:19] == "00:00:00" for time in times) else 16
    for row in plan.folds[columns].itertuples(index=False):
        fold, start, end, *counts = row
        dates = [str(time)[:shown].replace("T", " ") for time in (start, end)]
        table.add_row(str(fold), *dates, *(f"{n:,}" for n in counts))
    console.print(table)
    fits = ", ".join(f"{stage} {count:,}" for stage, count in plan.fits.items())
    console.print(f"rows:    {plan.rows:,}")
    console.print(f"fits:    {sum(plan.fits.values()):,} ({fits})")
    console.print(f"time:    about {plan.seconds:,.0f} s, from {plan.seconds_from}")
    console.print(f"memory:  about {plan.memory_bytes / 2**20:,.0f} MiB")
    console.print(f"gate:    {_evidence(plan.evidence)}")
    console.print("nothing was written")


def _evidence(found: Mapping[str, Any]) -> str:
    """Say whom the gate judges against, on how much, and from when it can."""
    against = found["champion"] or "cash"
    if found["problem"] is not None:
        return f"against {against}: it cannot promote. {found['problem']}"
    held = f"{found['blocks']} blocks of the {found['needed']} that it needs"
    if found["enough_from"] is None:
        return f"against {against} since {found['since'][:10]}, {held}"
    when = found["enough_from"]
    before = "ever" if when == "never" else f"before about {when[:10]}"
    return f"against {against}, {held}: it cannot promote {before}"


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
