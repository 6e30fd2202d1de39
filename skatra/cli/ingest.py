"""``skatra ingest``."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from skatra.cli._output import print_json


def ingest(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet file with bars.")],
    database: Annotated[
        Path, typer.Argument(help="SQLite database; created when it is missing.")
    ],
    symbol: Annotated[
        str | None, typer.Option(help="Symbol, when the file has no such column.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the counts as JSON on stdout.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Read bars from a file into the database; running it twice changes nothing.

    The file needs the columns time (or date), open, high, low and close; volume and
    symbol are taken where present. Unsorted, duplicated or inconsistent bars are
    refused as a whole, with every problem listed.
    """
    del debug
    from skatra.datasets import ingest_bars

    report = ingest_bars(file, database, symbol=symbol)
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        typer.echo(
            f"{report.inserted:,} bars inserted, {report.updated:,} updated, "
            f"{report.unchanged:,} unchanged in {database}"
        )
