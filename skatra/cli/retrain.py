"""``skatra retrain``."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skatra.cli._output import (
    StageProgress,
    on_stderr,
    open_in_browser,
    print_json,
    print_paths,
    print_plan,
    print_summary,
    results,
)
from skatra.exceptions import PublishError

if TYPE_CHECKING:
    from skatra.retraining import RetrainConfig, RetrainResult, UpToDate

EXIT_NOT_PROMOTED = 10
CHAMPION = "champion"


def _bounds(pairs: Sequence[str]) -> dict[str, str]:
    """Return the gate's bounds out of NAME=VALUE."""
    split = [pair.partition("=") for pair in pairs]
    if wrong := [name for name, equals, value in split if not (equals and value)]:
        msg = f"gate must be NAME=VALUE, such as max_drawdown=0.3, got {wrong[0]!r}."
        raise ValueError(msg)
    return {name.strip(): value.strip() for name, _, value in split}


def _given(context: typer.Context) -> dict[str, Any]:
    """Return the settings that stand on the command line."""
    given = {
        name: value
        for name, value in context.params.items()
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }
    for switch in _SWITCHES:
        given.pop(switch, None)
    if "grid" in given:
        given["param_grid"] = given.pop("grid")
    if "waive" in given:
        given["waive"] = tuple(given["waive"])
    if "gate" in given:
        given["gate"] = _bounds(given["gate"])
    return given


_SWITCHES = (
    "config_file",
    "show_config",
    "dry_run",
    "force",
    "log",
    "metrics_file",
    "report",
    "browser",
    "as_json",
    "debug",
)


def retrain_command(
    context: typer.Context,
    database: Annotated[
        Path | None,
        typer.Argument(help="SQLite database with bars.", show_default=False),
    ] = None,
    models: Annotated[
        Path, typer.Option("--models", "-m", help="Folder to publish models in.")
    ] = Path("models"),
    symbols: Annotated[
        str | None, typer.Option(help="Comma-separated symbols; all by default.")
    ] = None,
    feature_set: Annotated[
        str, typer.Option(help='"base" is computed; others must be stored.')
    ] = "base",
    label_set: Annotated[
        str, typer.Option(help='"triple_barrier" is computed; others must be stored.')
    ] = "triple_barrier",
    max_holding: Annotated[
        int, typer.Option(help="Bars after which a position closes.")
    ] = 20,
    barrier_width: Annotated[
        float, typer.Option(help="Barriers, in standard deviations over max-holding.")
    ] = 1.0,
    n_splits: Annotated[int, typer.Option(help="Purged folds.")] = 5,
    embargo: Annotated[
        str, typer.Option(help="Span after each test block, e.g. 5D.")
    ] = "5D",
    holdout: Annotated[
        float, typer.Option(help="Last share of rows, seen by the gate only.")
    ] = 0.25,
    grid: Annotated[
        str | None,
        typer.Option(
            help='LightGBM parameters to search, as JSON: {"num_leaves": [7]}.'
        ),
    ] = None,
    n_estimators: Annotated[
        int, typer.Option(help="Trees of every model; at most, with early stopping.")
    ] = 100,
    learning_rate: Annotated[
        float, typer.Option(help="Shrinkage of every tree.")
    ] = 0.05,
    early_stopping_rounds: Annotated[
        int,
        typer.Option(
            help="Trees without improvement after which a model stops; 0 for never."
        ),
    ] = 0,
    early_stopping_fraction: Annotated[
        float, typer.Option(help="Last share of training rows, purged, that says so.")
    ] = 0.15,
    kelly_multiplier: Annotated[
        float, typer.Option(help="Share of full Kelly staked.")
    ] = 0.25,
    side: Annotated[str, typer.Option(help="both, long or short.")] = "both",
    max_position: Annotated[
        float, typer.Option(help="Largest position, as a fraction of capital.")
    ] = 1.0,
    gate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A bound of the gate, such as max_drawdown=0.3; may be repeated.",
        ),
    ] = None,
    cost: Annotated[
        float, typer.Option(help="Cost of turning over one unit of capital.")
    ] = 0.0002,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 7,
    n_paths: Annotated[
        int, typer.Option(help="Backtest paths of the tuned model; 0 for none.")
    ] = 4,
    waive: Annotated[
        list[str] | None,
        typer.Option(help="Data check to let pass, by name; may be repeated."),
    ] = None,
    max_gap: Annotated[
        str | None,
        typer.Option(help="Longest time without a bar, e.g. 10D (default: by data)."),
    ] = None,
    n_jobs: Annotated[
        int,
        typer.Option("--n-jobs", "-j", help="Threads or processes; -1 for all cores."),
    ] = -1,
    backend: Annotated[
        str, typer.Option(help="Where models are fitted: threads, processes, dask.")
    ] = "threads",
    scheduler_address: Annotated[
        str | None, typer.Option(help="Dask scheduler, e.g. tcp://host:8786.")
    ] = None,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="TOML file of settings; SKATRA_RETRAIN_... variables win, then flags.",
        ),
    ] = None,
    show_config: Annotated[
        bool,
        typer.Option("--show-config", help="Print every setting and its origin."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print folds, fits, time and memory only."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Train even if nothing changed.")
    ] = False,
    log: Annotated[
        Path | None, typer.Option(help="Append events to this file as JSON lines.")
    ] = None,
    metrics_file: Annotated[
        Path | None,
        typer.Option(help="Write metrics here for node_exporter, *.prom."),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write an HTML report.")
    ] = True,
    browser: Annotated[
        bool | None,
        typer.Option(
            "--open/--no-open", help="Open the report (default: at a terminal)."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every figure as JSON on stdout.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Tune, validate, size, judge and publish a LightGBM model.

    Leaves with 0 when the model was promoted or nothing changed since it was
    trained, with 10 when it was trained and the gate refused it; the refused model
    is kept, and the served one stays. A run that was stopped (6) or killed, or that a
    full disk or a damaged or locked database ended (5), goes on where it was.
    """
    from skatra.retraining import UpToDate, load_settings, plan_retrain

    published: list[RetrainResult | UpToDate] = []
    with _metrics(None if show_config or dry_run else metrics_file, published):
        with _counted():
            settings = load_settings(
                config_file,
                _given(context),
                environ=os.environ,
                defaults={"models": models, "n_jobs": n_jobs},
                origin="flag {name}",
            )
        config = settings.config
        if show_config:
            with results():
                typer.echo(settings.to_toml())
            return
        if dry_run:
            plan = plan_retrain(config)
            with results():
                print_json(plan.to_dict()) if as_json else print_plan(plan)
            return
        result, paths = _train(config, log=log, report=report, force=force)
        published.append(result)
    with _after(result, "results could not be printed"), results():
        _print_result(result, paths, as_json=as_json)
    if "report" in paths:
        open_in_browser(paths["report"], False if as_json else browser)
    if not (isinstance(result, UpToDate) or result.verdict.promoted):
        raise typer.Exit(EXIT_NOT_PROMOTED)


@contextlib.contextmanager
def _metrics(
    path: Path | None, published: "Sequence[RetrainResult | UpToDate]"
) -> Iterator[None]:
    """Count what happens inside; write it before, and whatever happened."""
    if path is None:
        yield
        return
    if path.suffix != ".prom" or not os.access(path.parent, os.W_OK | os.X_OK):
        raise ValueError(
            "metrics-file must end in .prom, in a folder that exists and can be "
            f"written, got {path}."
        )
    from skatra import monitoring
    from skatra.retraining import STAGES, RunLock

    with RunLock(path):  # two that go on from the same numbers lose each other's
        monitoring.enable(models=[CHAMPION], stages=tuple(STAGES))
        monitoring.resume_textfile(path)
        monitoring.begin_retraining(CHAMPION)
        monitoring.write_textfile(path)
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):  # what ended the run says more
                monitoring.write_textfile(path)
            raise
        with _after(published[0], "metrics could not be written"):
            monitoring.write_textfile(path)


@contextlib.contextmanager
def _counted() -> Iterator[None]:
    """Count a run that fails before it begins."""
    from skatra import monitoring

    try:
        yield
    except Exception:
        with monitoring.observe_retraining(CHAMPION):
            raise


def _train(
    config: "RetrainConfig", *, log: Path | None, report: bool, force: bool
) -> "tuple[RetrainResult | UpToDate, dict[str, Path]]":
    """Run with progress, log and signals; return what came of it and where it is."""
    from skatra.retraining import (
        STAGES,
        RetrainResult,
        UpToDate,
        json_log,
        require_report_libraries,
        retrain,
        stop_on_signals,
        write_report,
    )

    with contextlib.ExitStack() as stack:
        should_stop = stack.enter_context(stop_on_signals())
        with _counted():
            if report:
                require_report_libraries()
            write = stack.enter_context(json_log(log)) if log is not None else None
        bar = StageProgress(STAGES, len(STAGES) + report)
        progress = stack.enter_context(bar.show())

        unwritten: list[OSError] = []

        def observe(event: Mapping[str, Any]) -> None:
            progress.observe(event)
            if event["event"] == "incomparable":
                with on_stderr():
                    typer.echo(
                        "warning: the champion cannot be compared, so that the gate "
                        f"will refuse this run's model: {event['problem']}",
                        err=True,
                    )
            try:
                if write is not None:
                    write(event)
            except OSError as error:
                if not unwritten:
                    unwritten.append(error)
                    msg = f"warning: the log (--log) lacks events: {error}. The run "
                    with on_stderr():
                        typer.echo(msg + "goes on.", err=True)

        options: dict[str, Any] = {
            "progress": lambda stage: progress.stage("retrain", stage),
            "observe": observe,
            "should_stop": should_stop,
        }
        result = retrain(config, force=force, **options)
        if report and isinstance(result, UpToDate) and not _page(result).exists():
            progress.restart()
            # The figures of a page are not kept.
            result = retrain(config, repeat=result, **options)
        paths = {"database": Path(config.database), "model": result.model_path}
        if report and isinstance(result, RetrainResult):
            progress.stage("retrain", "report")
            with _after(result, "the report could not be written"):
                paths["report"] = write_report(result, _page(result))
    return result, paths


def _page(done: "RetrainResult | UpToDate") -> Path:
    """Return where the report of a run stands."""
    return done.model_path.parent / f"{done.run_id}.html"


@contextlib.contextmanager
def _after(done: "RetrainResult | UpToDate", what: str) -> Iterator[None]:
    """Say of an output that fails that the run before it is done."""
    from skatra.retraining import UpToDate

    try:
        yield
    except OSError as error:
        promoted = (
            done.promoted if isinstance(done, UpToDate) else done.verdict.promoted
        )
        msg = (
            f"{what}: {error}. The run itself is done: the model in {done.model_path} "
            f"was {'promoted' if promoted else 'refused'}. Mend this and run the same "
            "command again, which trains nothing anew but for a missing report."
        )
        raise PublishError(msg) from error


def _print_result(
    done: "RetrainResult | UpToDate", paths: dict[str, Path], *, as_json: bool
) -> None:
    """Print what a run found, or that nothing had to be done."""
    from skatra.retraining import RetrainResult

    if isinstance(done, RetrainResult):
        if as_json:
            print_json(done.to_dict() | {k: str(v) for k, v in paths.items()})
        else:
            print_summary([done])
            print_paths(paths)
        return
    verdict = "promoted" if done.promoted else "refused"
    if as_json:
        print_json(
            {
                "up_to_date": True,
                "run_id": done.run_id,
                "promoted": done.promoted,
                "champion": done.champion_id,
                "model": str(done.model_path),
            }
        )
    else:
        served = (
            f"{done.champion_id} is served"
            if done.champion_id
            else "no model is served until the gate lets one pass"
        )
        typer.echo(
            f"up to date: the same data, settings and code gave {done.run_id}, which "
            f"was {verdict}; {served}. Train again with --force."
        )
