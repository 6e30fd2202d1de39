"""``skatra retrain``."""

import contextlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from skatra.cli._output import (
    StageProgress,
    open_in_browser,
    print_json,
    print_paths,
    print_summary,
)

EXIT_NOT_PROMOTED = 10


def _number_or_span(text: str) -> int | float | str:
    """Return a count or a share where the text is a number, else the text."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _parse_grid(text: str) -> dict[str, list[Any]]:
    """Return the parameters to search."""
    try:
        grid = json.loads(text)
    except json.JSONDecodeError as error:
        msg = f"grid must be JSON, got {text!r}: {error}."
        raise ValueError(msg) from error
    if not isinstance(grid, dict) or not all(
        isinstance(values, list) and values for values in grid.values()
    ):
        msg = f'grid must map names to lists, as {{"num_leaves": [7, 15]}}, got {text}.'
        raise ValueError(msg)
    return grid


def retrain_command(
    database: Annotated[Path, typer.Argument(help="SQLite database with bars.")],
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
    n_estimators: Annotated[int, typer.Option(help="Trees of every model.")] = 100,
    learning_rate: Annotated[
        float, typer.Option(help="Shrinkage of every tree.")
    ] = 0.05,
    kelly_multiplier: Annotated[
        float, typer.Option(help="Share of full Kelly staked.")
    ] = 0.25,
    side: Annotated[str, typer.Option(help="both, long or short.")] = "both",
    max_position: Annotated[
        float, typer.Option(help="Largest position, as a fraction of capital.")
    ] = 1.0,
    confidence: Annotated[
        float, typer.Option(help="Confidence of the gate's lower bound.")
    ] = 0.95,
    cost: Annotated[
        float, typer.Option(help="Cost of turning over one unit of capital.")
    ] = 0.0002,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 7,
    n_jobs: Annotated[
        int, typer.Option("--n-jobs", "-j", help="Processes; -1 uses every core.")
    ] = -1,
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

    Leaves with 0 when the model was promoted and with 10 when it was trained and
    the gate refused it; the refused model is kept, and the served one stays.
    """
    del debug
    from skatra.retraining import (
        STAGES,
        RetrainConfig,
        require_report_libraries,
        retrain,
        write_report,
    )

    if report:
        require_report_libraries()
    config = RetrainConfig(
        database=database,
        models=models,
        symbols=None if symbols is None else tuple(symbols.split(",")),
        feature_set=feature_set,
        label_set=label_set,
        max_holding=max_holding,
        barrier_width=barrier_width,
        n_splits=n_splits,
        embargo=_number_or_span(embargo),
        holdout=holdout,
        n_estimators=n_estimators,
        learning_rate=learning_rate,
        max_position=max_position,
        confidence=confidence,
        **({} if grid is None else {"param_grid": _parse_grid(grid)}),
        kelly_multiplier=kelly_multiplier,
        side=side,  # type: ignore[arg-type] # RetrainConfig refuses other words
        cost=cost,
        seed=seed,
        n_jobs=n_jobs,
    )
    paths = {"database": database, "model": models}
    with StageProgress(STAGES, len(STAGES) + report).show() as progress:
        result = retrain(
            config, progress=lambda stage: progress.stage("retrain", stage)
        )
        paths["model"] = result.model_path
        if report:
            progress.stage("retrain", "report")
            page = models / f"{result.run_id}.html"
            paths["report"] = write_report(result, page)
    if as_json:
        print_json(result.to_dict() | {k: str(v) for k, v in paths.items()})
    else:
        print_summary([result])
        print_paths(paths)
    if report:
        open_in_browser(paths["report"], False if as_json else browser)
    if not result.verdict.promoted:
        raise typer.Exit(EXIT_NOT_PROMOTED)
