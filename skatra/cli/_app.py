"""The command group and the one place where errors become messages."""

import errno
import sqlite3
import sys
import traceback

import typer
from rich.console import Console
from rich.text import Text

import skatra
from skatra.cli import (
    audit,
    db,
    demo,
    ingest,
    models,
    retrain,
    serve_metrics,
    signals,
)
from skatra.cli._output import on_stderr
from skatra.exceptions import (
    DatabaseCorruptError,
    DatabaseError,
    DatabaseNotFoundError,
    DataCheckError,
    DiskFullError,
    ModelCorruptError,
    PoolTimeoutError,
    PublishError,
    RunLockedError,
    RunStoppedError,
    SchemaVersionError,
    SkatraError,
    StaleError,
    TrainingError,
    WorkersNotReadyError,
)

EXIT_BAD_INPUT = 2
EXIT_FAILED = 5
EXIT_INTERRUPTED = 130
EXIT_CODES: tuple[tuple[type[Exception], int], ...] = (
    (DataCheckError, 3),
    (RunLockedError, 4),
    (TrainingError, EXIT_FAILED),
    (WorkersNotReadyError, EXIT_FAILED),
    (RunStoppedError, 6),
    (PublishError, 7),
    (ModelCorruptError, 7),
    (StaleError, 8),
    (DatabaseCorruptError, EXIT_FAILED),
    (DiskFullError, EXIT_FAILED),
    (PoolTimeoutError, EXIT_FAILED),
)

app = typer.Typer(
    name="skatra",
    help=(
        "Leak-free financial machine learning: purged cross-validation, Kelly sizing "
        "and retraining from one SQLite database.\n\n"
        "Never used it? `skatra demo` shows it all on bundled data. With labels "
        "of your own, `skatra audit labels.csv`. With bars of your own, "
        "`skatra ingest`, then `skatra retrain` every night and "
        "`skatra signals` after every bar. Each command explains itself under "
        "`--help`."
    ),
    epilog=(
        "Exit codes:\n\n"
        "- 0: done\n\n"
        "- 2: bad input; one line says what, and the way out\n\n"
        "- 3: a data check failed, rows were rejected, or db check found damage\n\n"
        "- 4: another run holds the lock\n\n"
        "- 5: training failed, or the disk or the database: full, damaged, locked, "
        "not to be written\n\n"
        "- 6: stopped; the next run goes on from there\n\n"
        "- 7: a model or its report could not be written or verified\n\n"
        "- 8: bars or model too old for signals\n\n"
        "- 10: trained, but not promoted\n\n"
        "- 130: interrupted\n\n"
    ),
    rich_markup_mode="markdown",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
BEGIN, DAILY, UPKEEP = "To begin", "Day by day", "Upkeep"
app.command(name="demo", rich_help_panel=BEGIN)(demo.demo)
app.command(name="audit", rich_help_panel=BEGIN)(audit.audit)
app.command(name="ingest", rich_help_panel=DAILY)(ingest.ingest)
app.command(name="retrain", rich_help_panel=DAILY)(retrain.retrain_command)
app.command(name="signals", rich_help_panel=DAILY)(signals.signals)
app.command(name="serve-metrics", rich_help_panel=DAILY)(serve_metrics.serve)
app.add_typer(models.app, rich_help_panel=UPKEEP)
app.add_typer(db.app, rich_help_panel=UPKEEP)


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
        if "--debug" in arguments:
            traceback.print_exc()
        else:
            _say(_message(error))
        return _code(error)
    return 0


def _code(error: Exception) -> int:
    """Return the exit code of an error."""
    for kind, code in EXIT_CODES:
        if isinstance(error, kind):
            return code
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    named = isinstance(error, DatabaseError) and isinstance(
        error.__cause__, sqlite3.Error
    )
    wrong = isinstance(error, DatabaseNotFoundError | SchemaVersionError)
    return EXIT_FAILED if (full or named) and not wrong else EXIT_BAD_INPUT


def _message(error: Exception) -> str:
    """Return an error as one line; failed checks as a line each."""
    if isinstance(error, DataCheckError):
        return str(error)
    return " ".join(str(error).split()) or type(error).__name__


def _say(message: str) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    with on_stderr():
        console.print(Text.assemble(("error: ", "bold red"), message))
