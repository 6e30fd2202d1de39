"""``skatra models``: what was published, what is served, and going back."""

from pathlib import Path
from typing import Annotated, Any

import typer

from skatra.cli._output import print_json

EXIT_PROBLEMS = 7

app = typer.Typer(
    name="models",
    help="Look after published models: list, show, verify, promote, roll back.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Models = Annotated[Path, typer.Argument(help="Models folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@app.command(name="list")
def list_command(
    models: Models = Path("models"), as_json: AsJson = False, debug: Debug = False
) -> None:
    """List every model, promoted or refused, the oldest first."""
    del debug
    from skatra.exceptions import ModelNotFoundError
    from skatra.retraining import list_models

    if not models.is_dir():
        raise ModelNotFoundError(
            f"there is no models folder at {models}. Check the path; the first skatra "
            "retrain makes it."
        )
    rows: Any = list_models(models).reset_index().to_dict(orient="records")
    found = [{**row, "trained_until": str(row["trained_until"])} for row in rows]
    if as_json:
        print_json(found)
        return
    for row in found:
        mark = "*" if row["champion"] else " "
        say = row["problem"] or row["reason"]
        typer.echo(f"{mark} {row['run_id']}  {row['outcome'] or 'damaged':<20}  {say}")
    served = any(row["champion"] for row in found)
    pointer = "* is served" if served else "none is served (skatra models verify)"
    typer.echo(f"{_count(len(found), 'model')} in {models}; {pointer}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


@app.command()
def show(
    models: Models = Path("models"),
    run: Annotated[
        str | None, typer.Option(help="Model, or the start of its name; the champion.")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Print a model's card: settings, verdict, scores and lineage."""
    del debug
    from skatra.retraining import show_model

    card = show_model(models, run)
    if as_json:
        print_json(card)
        return
    lineage = card.get("lineage", {})
    lines = {
        "model": card["run_id"] + (" (served)" if card["champion"] else ""),
        "outcome": card.get("outcome", ""),
        "reason": card.get("reason", ""),
        "judged against": card.get("judged_against") or "cash",
        "judged since": card.get("judged_since", ""),
        "trained until": card.get("trained_until", ""),
        "parameters": card.get("best_params", {}),
        "intervals": card.get("intervals", {}),
        "data": lineage.get("data_sha256", ""),
        "code": f"skatra {lineage.get('skatra', '')}, {lineage.get('code_sha256', '')}",
        "seed": lineage.get("seed", ""),
    }
    for name, value in lines.items():
        typer.echo(f"{name:<15} {value}")


@app.command()
def verify(
    models: Models = Path("models"),
    database: Annotated[
        Path | None, typer.Option(help="Compare the champion with its run in here.")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Check every file against its checksum; leave with 7 if any is damaged."""
    del debug
    from skatra.retraining import verify_models

    problems = verify_models(models, database)
    if as_json:
        print_json({"models": str(models), "problems": problems})
    else:
        for name, problem in problems.items():
            typer.echo(f"{name}: {problem}")
        typer.echo(_count(len(problems), "problem") if problems else "sound")
    if problems:
        raise typer.Exit(EXIT_PROBLEMS)


@app.command()
def promote(
    run: Annotated[str, typer.Argument(help="Model, or the start of its name.")],
    models: Annotated[
        Path, typer.Option("--models", "-m", help="Models folder.")
    ] = Path("models"),
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Serve a model, also one that the gate refused, in one atomic step."""
    del debug
    from skatra.retraining import promote_model

    _served(promote_model(models, run), as_json)


@app.command()
def rollback(
    models: Models = Path("models"), as_json: AsJson = False, debug: Debug = False
) -> None:
    """Serve the champion before this one again, in one atomic step."""
    del debug
    from skatra.retraining import rollback_model

    _served(rollback_model(models), as_json)


def _served(run_id: str, as_json: bool) -> None:
    if as_json:
        print_json({"run_id": run_id})
    else:
        typer.echo(f"{run_id} is served")
