"""The command group and the one place where errors become messages."""

import sys
import traceback

import typer
from rich.console import Console
from rich.text import Text

import skatra
from skatra.cli import audit, db, demo, ingest, retrain, serve_metrics
from skatra.exceptions import SkatraError

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="skatra",
    help="Leak-free financial machine learning: purged cross-validation, Kelly "
    "sizing and retraining from one SQLite database.",
    epilog="Exit codes: 0 done, 2 bad input (one line says what and the way out), "
    "3 db check found damage, 10 trained but not promoted, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(name="audit")(audit.audit)
app.add_typer(db.app)
app.command(name="demo")(demo.demo)
app.command(name="ingest")(ingest.ingest)
app.command(name="retrain")(retrain.retrain_command)
app.command(name="serve-metrics")(serve_metrics.serve)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"skatra {skatra.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False,
        "--version",
        callback=_show_version,
        is_eager=True,
        help="Print the version and leave.",
    ),
) -> None:
    """Take the options that come before a command."""
    del version


def run(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code; errors are one line on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        app(arguments, standalone_mode=True)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 1
    except KeyboardInterrupt:
        _say("interrupted; what was written is whole.")
        return EXIT_INTERRUPTED
    except (SkatraError, OSError, ValueError) as error:
        from skatra.utils import observation

        if observation.observer is not None:
            observation.observer.failed("cli", error)
        if "--debug" in arguments:
            traceback.print_exc()
        else:
            _say(_one_line(error))
        return EXIT_BAD_INPUT
    return 0


def _one_line(error: Exception) -> str:
    """Return an error as one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _say(message: str) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(Text.assemble(("error: ", "bold red"), message))
