"""``skatra signals``."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from skatra.monitoring import MetricsServer
    from skatra.retraining import SignalsReport


def signals(
    database: Annotated[Path, typer.Argument(help="SQLite database with bars.")],
    models: Annotated[
        Path, typer.Option("--models", "-m", help="Folder with the champion.")
    ] = Path("models"),
    symbols: Annotated[
        str | None,
        typer.Option(help="Comma-separated symbols; those that it learned from."),
    ] = None,
    every: Annotated[
        float | None, typer.Option(help="Seconds between rounds; once by default.")
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            help="Serve metrics on this port of loopback; 0 takes a free one."
        ),
    ] = None,
    first_scrape: Annotated[
        float,
        typer.Option(
            help="With --metrics-port, longest wait in seconds for a scrape before the "
            "first round: Prometheus misses what counts before it. 0 begins at once."
        ),
    ] = 60.0,
    max_position: Annotated[
        float, typer.Option(help="Largest position in a symbol, open bets included.")
    ] = 0.2,
    max_exposure: Annotated[
        float, typer.Option(help="Largest sum of positions, open bets included.")
    ] = 1.0,
    split: Annotated[
        bool,
        typer.Option(
            help="Split capital between symbols and a symbol's overlapping bets."
        ),
    ] = True,
    max_data_age: Annotated[
        str, typer.Option(help="Oldest newest bar to act on.")
    ] = "5D",
    max_model_age: Annotated[
        str | None,
        typer.Option(
            help="Longest time since the champion's last label (default: 90 days more "
            "than the gate needs to judge a successor)."
        ),
    ] = None,
    allow_stale: Annotated[
        bool, typer.Option("--allow-stale", help="Act on bars and models of any age.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON a round.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Score the newest bars, size them, write them; settle bets that have closed.

    A bar is bet on once by the models of a folder, and the bet stands as it was
    written: other limits or a new champion act from the next bar on. Leaves with 8 when
    bars or model are too old, with 7 when the champion is damaged, with 5 when the disk
    or the database is full, damaged or locked, and with 2 for other bad input.
    """
    del debug
    from skatra.retraining import (
        SignalLimits,
        make_signals,
        stop_on_signals,
        watch_signals,
    )

    if metrics_port is not None and every is None:
        raise ValueError("metrics-port needs --every: one round ends before a scrape.")
    options: dict[str, Any] = {
        "symbols": None
        if symbols is None
        else [name.strip() for name in symbols.split(",")],
        "limits": SignalLimits(
            max_position=max_position, max_exposure=max_exposure, split=split
        ),
        "max_data_age": max_data_age,
        "max_model_age": max_model_age,
        "allow_stale": allow_stale,
    }
    if every is None:
        _print(make_signals(database, models, **options), as_json)
        return
    if not every > 0:
        raise ValueError(f"every must be a positive number of seconds, got {every!r}.")
    if not first_scrape >= 0:
        raise ValueError(f"first-scrape must be 0 or more seconds, got {first_scrape}.")
    with (
        _metrics(database, options["symbols"], metrics_port) as server,
        stop_on_signals() as should_stop,
    ):

        def wait() -> None:
            if server is not None and first_scrape:
                typer.echo(
                    f"waiting up to {first_scrape:g} s for a first scrape "
                    "(--first-scrape 0 begins at once)",
                    err=True,
                )
                server.wait_for_scrape(first_scrape, should_stop=should_stop)

        rounds = watch_signals(
            database,
            models,
            every=every,
            should_stop=should_stop,
            on_error=lambda error: typer.echo(f"error: {error}", err=True),
            before=wait,
            **options,
        )
        for report in rounds:
            _print(report, as_json)
            sys.stdout.flush()


@contextlib.contextmanager
def _metrics(
    database: Path, symbols: list[str] | None, port: int | None
) -> "Iterator[MetricsServer | None]":
    """Serve metrics beside what happens inside."""
    if port is None:
        yield None
        return
    from skatra import monitoring
    from skatra.datasets import Database

    if symbols is None:
        with Database(database, readonly=True) as db:
            symbols = db.symbols()
    monitoring.enable(models=["champion"], strategies=["kelly"], symbols=symbols)
    with monitoring.serve_metrics(port=port, databases=[database]) as server:
        typer.echo(server.url, err=True)
        yield server


def _print(report: "SignalsReport", as_json: bool) -> None:
    """Print one round."""
    document = report.to_dict()
    if as_json:
        typer.echo(json.dumps(document, allow_nan=False))
        return
    for row in document["signals"]:
        typer.echo(
            f"{row['symbol']:<12} {row['t0']}  p {row['probability']:.3f}  "
            f"wanted {row['wanted']:+.2%}  position {row['position']:+.2%}"
        )
    for symbol, reason in report.left_out.items():
        typer.echo(f"{symbol}: left out, {reason}", err=True)
    for note in report.notes:
        typer.echo(note, err=True)
    typer.echo(
        f"model {report.run_id}: {_counted(len(report.signals), 'signal')}, "
        f"{_counted(report.settled, 'bet')} settled, {report.unsettled} open, "
        f"exposure {report.exposure:.1%}"
    )


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
