"""``skatra audit``."""

from pathlib import Path
from typing import Annotated

import typer

from skatra.cli._output import print_json, print_leaks


def audit(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE_OR_DB",
            help="CSV or Parquet file with label starts and ends, or a database.",
        ),
    ],
    t0: Annotated[str, typer.Option("--t0", help="Column of label starts.")] = "t0",
    t1: Annotated[str, typer.Option("--t1", help="Column of label ends.")] = "t1",
    label_set: Annotated[
        str | None, typer.Option(help="Label set, when a database has several.")
    ] = None,
    n_splits: Annotated[int, typer.Option(help="Splits of each splitter.")] = 5,
    purge_gap: Annotated[
        str,
        typer.Option(help="PurgedKFold's extra distance, e.g. 5D, 10 (t0) or 0.01."),
    ] = "0",
    embargo: Annotated[
        str, typer.Option(help="PurgedKFold's embargo, e.g. 5D, 10 (t0) or 0.01.")
    ] = "0",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every figure as JSON on stdout.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Say what KFold, TimeSeriesSplit and PurgedKFold leak on your own labels.

    A training row leaks when its label [t0, t1] overlaps that of a test row. Rows
    are split in the order of the file; those of a database in time order.
    """
    del debug
    from skatra.datasets import read_label_times
    from skatra.model_selection import audit_usual_splitters

    audits = audit_usual_splitters(
        read_label_times(source, t0=t0, t1=t1, label_set=label_set),
        n_splits=n_splits,
        purge_gap=_span(purge_gap),
        embargo=_span(embargo),
    )
    if as_json:
        print_json({name: found.to_dict() for name, found in audits.items()})
    else:
        print_leaks(audits)


def _span(text: str) -> int | float | str:
    """Return a count, a share or a time span."""
    for form in (int, float):
        try:
            return form(text)
        except ValueError:
            continue
    return text
