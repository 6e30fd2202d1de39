"""``skatra serve-metrics``."""

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from skatra.exceptions import EmptyDataError


def serve(
    database: Annotated[
        list[Path] | None,
        typer.Option("--database", "-d", help="SQLite database to watch; repeatable."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 9464,
    certfile: Annotated[
        Path | None, typer.Option(help="PEM certificate: serve TLS.")
    ] = None,
    keyfile: Annotated[Path | None, typer.Option(help="PEM key of it.")] = None,
    credentials_file: Annotated[
        Path | None,
        typer.Option(help="File with 'user:password' for HTTP basic authentication."),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="Leave after this long; default: Ctrl-C.", min=0.0),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Serve databases' metrics to Prometheus: size, rows, newest times, outcomes.

    Listens on this machine only unless told otherwise. A database that is missing,
    locked or damaged shows as skatra_db_collect_success 0, never as a failed scrape.
    """
    del debug
    from skatra.monitoring import serve_metrics

    if not database:
        raise typer.BadParameter(
            "name at least one database to watch: --database market.db.",
            param_hint="--database",
        )
    credentials = None
    if credentials_file is not None:
        credentials = credentials_file.read_text(encoding="utf-8").strip()
        if not credentials:
            raise EmptyDataError(f"{credentials_file} is empty; write user:password.")
    with serve_metrics(
        host=host,
        port=port,
        databases=database or (),
        certfile=certfile,
        keyfile=keyfile,
        credentials=credentials,
    ) as server:
        typer.echo(server.url)
        wait_for_end(seconds)


def wait_for_end(seconds: float | None, ended: threading.Event | None = None) -> None:
    """Wait for Ctrl-C, SIGTERM, the end of a time or somebody who sets the event."""
    ended = ended or threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        ended.wait(seconds)
    except KeyboardInterrupt:
        return
