"""``skatra demo``."""

from pathlib import Path
from typing import Annotated

import typer

from skatra.cli._output import (
    StageProgress,
    open_in_browser,
    print_json,
    print_paths,
    print_summary,
    results,
)


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder that receives everything.")
    ] = Path("skatra-demo"),
    n_jobs: Annotated[
        int, typer.Option("--n-jobs", "-j", help="Threads; -1 uses every core.")
    ] = -1,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write the HTML report.")
    ] = True,
    browser: Annotated[
        bool | None,
        typer.Option(
            "--open/--no-open", help="Open the report (default: at a terminal)."
        ),
    ] = None,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="Trade on and on, a day each tick, and serve metrics."
        ),
    ] = False,
    seconds: Annotated[
        float | None,
        typer.Option(help="End --live after this long (else Ctrl-C).", min=0.0),
    ] = None,
    port: Annotated[int, typer.Option(help="Port of --live's metrics.")] = 9464,
    ticks: Annotated[
        float, typer.Option(help="Days of market data per second of --live.", min=0.1)
    ] = 5.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every figure as JSON on stdout.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Run the whole story on bundled market data, in about two minutes.

    Bars go into SQLite, labels with label times come out, LightGBM is tuned under
    purged cross-validation, Kelly sizes the positions and a gate judges them: first
    on twenty years of real index bars, then on a series with a planted edge.
    """
    del debug
    if live:
        _run_live(output, seconds, port, ticks)
        return
    from skatra.retraining import STAGES, run_demo

    with StageProgress(STAGES, 2 * len(STAGES) + report, runs=2).show() as progress:
        result = run_demo(
            output,
            n_jobs=n_jobs,
            report=report,
            progress=progress.stage,
            observe=progress.observe,
        )
    with results():
        if as_json:
            print_json(result.to_dict())
        else:
            print_summary([result.real, result.planted])
            paths = {"database": result.database, "models": output / "models"}
            print_paths(paths | ({"report": result.report} if result.report else {}))
    if result.report is not None:
        open_in_browser(result.report, False if as_json else browser)


def _run_live(output: Path, seconds: float | None, port: int, ticks: float) -> None:
    """Replay the bundled data and serve metrics until told to end."""
    import threading

    from skatra.cli._live import LiveDemo
    from skatra.cli.serve_metrics import wait_for_end
    from skatra.monitoring import serve_metrics

    with serve_metrics(port=port):
        pass  # a port that is taken is said now, not after the demo has trained
    demo = LiveDemo(output)
    ended = threading.Event()
    with serve_metrics(port=port, databases=[demo.path]) as server:
        typer.echo(server.url)
        trader = threading.Thread(target=demo.run, args=(ended, ticks), daemon=True)
        trader.start()
        wait_for_end(seconds, ended)
        ended.set()
        trader.join(30.0)
    if demo.error is not None:
        raise demo.error
