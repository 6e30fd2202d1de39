"""``skatra db``: look after a database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from skatra.cli._export import write_csv
from skatra.cli._output import print_json

EXIT_PROBLEMS = 3

app = typer.Typer(
    name="db",
    help="Describe, verify, copy, restore, shrink, export or upgrade a database.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Database = Annotated[Path, typer.Argument(help="SQLite database.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far something is, on stderr: a bar at a terminal, else one line."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.print(title)
        yield lambda *_: None
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        console=console,
    ) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@app.command()
def info(database: Database, as_json: AsJson = False, debug: Debug = False) -> None:
    """Print sizes, row counts, time ranges and the sets."""
    del debug
    from skatra import datasets

    with datasets.Database(database, readonly=True) as db:
        found = db.info()
    found["path"] = str(found["path"])
    found["ranges"] = {
        name: None if ends is None else [str(end) for end in ends]
        for name, ends in found["ranges"].items()
    }
    if as_json:
        print_json(found)
        return
    typer.echo(f"{found['path']}: {found['size_bytes']:,} bytes, ", nl=False)
    typer.echo(f"tables of version {found['schema_version']}")
    for name, count in found["rows"].items():
        ends = found["ranges"].get(name)
        span = "" if ends is None else f"  {ends[0]} to {ends[1]}"
        typer.echo(f"  {name:<12}{count:>14,}{span}")
    for kind in ("feature_sets", "label_sets"):
        for name, entry in found[kind].items():
            typer.echo(
                f"  {kind[:-5]} set {name!r}: {entry['rows']:,} rows of "
                f"{entry['symbols']:,} symbols"
            )


@app.command()
def check(database: Database, as_json: AsJson = False, debug: Debug = False) -> None:
    """Verify the file, checksums and skatra's rules; leave with 3 if any is broken."""
    del debug
    from skatra import datasets

    with (
        datasets.Database(database, readonly=True) as db,
        _progress(f"checking {database}"),
    ):
        problems = db.check()
    if as_json:
        print_json({"path": str(database), "problems": problems})
    else:
        for problem in problems:
            typer.echo(problem)
        typer.echo(
            f"{len(problems)} problem{'s' * (len(problems) > 1)}. Write the damaged "
            "sets again from their source, or restore a backup: "
            f"skatra db restore BACKUP {database}"
            if problems
            else "sound"
        )
    if problems:
        raise typer.Exit(EXIT_PROBLEMS)


@app.command()
def backup(
    database: Database,
    target: Annotated[Path, typer.Argument(help="The copy; must not exist.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Copy a database, also while others use it; all of one state or nothing."""
    del debug
    from skatra import datasets

    with (
        datasets.Database(database, readonly=True) as db,
        _progress(f"copying {database} to {target}") as report,
    ):
        copy = db.backup(target, progress=report)
    _done({"path": str(copy), "size_bytes": copy.stat().st_size}, as_json)


@app.command()
def restore(
    backup: Annotated[Path, typer.Argument(help="A copy made by skatra db backup.")],
    database: Annotated[Path, typer.Argument(help="What it takes the place of.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Put a copy of a backup in the place of a database that nobody uses."""
    del debug
    from skatra import datasets

    with _progress(f"restoring {database} from {backup}") as report:
        restored = datasets.restore_backup(backup, database, progress=report)
    size = restored.stat().st_size
    _done({"path": str(restored), "size_bytes": size}, as_json)


@app.command()
def vacuum(database: Database, as_json: AsJson = False, debug: Debug = False) -> None:
    """Give unused space back to the disk."""
    del debug
    from skatra import datasets

    with datasets.Database(database) as db, _progress(f"shrinking {database}"):
        freed = db.vacuum()
    _done({"path": str(database), "freed_bytes": freed}, as_json)


@app.command()
def export(
    database: Database,
    target: Annotated[Path, typer.Argument(help="CSV file, also .csv.gz.")],
    features: Annotated[str | None, typer.Option(help="Feature set to export.")] = None,
    labels: Annotated[str | None, typer.Option(help="Label set to export.")] = None,
    symbols: Annotated[
        list[str] | None,
        typer.Option(
            help="Comma-separated symbols; may be given again; all by default."
        ),
    ] = None,
    start: Annotated[str | None, typer.Option(help="First time.")] = None,
    end: Annotated[str | None, typer.Option(help="Last time.")] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write bars, a feature set or a label set as plain rows for other tools."""
    del debug
    from skatra import datasets

    if features is not None and labels is not None:
        raise ValueError("--features and --labels exclude each other; choose one.")
    with (
        datasets.Database(database, readonly=True) as db,
        _progress(f"writing {target}") as report,
    ):
        span = {"start": start, "end": end}
        rows = write_csv(db, target, features, labels, symbols, span, report)
    _done({"path": str(target), "rows": rows}, as_json)


@app.command()
def migrate(database: Database, as_json: AsJson = False, debug: Debug = False) -> None:
    """Upgrade the tables, after a backup beside the file; stop all others first."""
    del debug
    from skatra import datasets

    with _progress(f"upgrading {database}"), datasets.Database(database) as db:
        version = db.info()["schema_version"]
    _done({"path": str(database), "schema_version": version}, as_json)


def _done(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(result)
    else:
        typer.echo(", ".join(f"{key}: {value}" for key, value in result.items()))
