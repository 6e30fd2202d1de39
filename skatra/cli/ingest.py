"""``skatra ingest``."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from skatra.cli._output import print_json

EXIT_REJECTS = 3


def ingest(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet file with bars.")],
    database: Annotated[
        Path, typer.Argument(help="SQLite database; created when it is missing.")
    ],
    symbol: Annotated[
        str | None, typer.Option(help="Symbol, when the file has no such column.")
    ] = None,
    rejects: Annotated[
        Path | None,
        typer.Option(help="CSV file for refused rows; FILE.rejects.csv by default."),
    ] = None,
    allow_rejects: Annotated[
        bool, typer.Option("--allow-rejects", help="Leave with 0 all the same.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the counts as JSON on stdout.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Read bars from a file into the database; running it twice changes nothing.

    The file needs the columns time (or date), open, high, low and close; volume and
    symbol are taken where present, others are named and not read. Rows
    that are no sound bars are kept apart with their line and reason, and the command
    then leaves with 3.
    """
    del debug
    from skatra.datasets import ingest_bars

    report = ingest_bars(file, database, symbol=symbol, rejects=rejects)
    if as_json:
        path = None if report.rejects is None else str(report.rejects)
        print_json(dataclasses.asdict(report) | {"rejects": path})
    else:
        typer.echo(
            f"{report.inserted:,} bars inserted, {report.updated:,} updated, "
            f"{report.unchanged:,} unchanged in {database}"
        )
    if report.unread:
        names = ", ".join(report.unread)
        typer.echo(f"columns that no bar has, not read: {names}", err=True)
    if report.rejected:
        for reason, lines in report.problems.items():
            shown = ", ".join(map(str, lines))
            typer.echo(f"rejected: {reason}; first in lines {shown}", err=True)
        typer.echo(
            f"{report.rejected:,} rows rejected, kept in {report.rejects}; mend them "
            "there and ingest that file.",
            err=True,
        )
        if not allow_rejects:
            raise typer.Exit(EXIT_REJECTS)
