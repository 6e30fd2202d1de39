"""Laws of what the command says of itself, and of completion in a shell."""

import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from skatra.cli._app import app

BIN = Path(sys.executable).parent


def commands():
    """Return every command's click object by its words."""
    found = {}
    for name, command in typer.main.get_command(app).commands.items():
        found[name,] = command
        for child, deeper in getattr(command, "commands", {}).items():
            found[name, child] = deeper
    return found


COMMANDS = commands()


def help_of(words, columns):
    """Return a help page as a terminal of that width shows it."""
    environment = {"COLUMNS": str(columns), "TERM": "dumb"}
    shown = CliRunner().invoke(app, [*words, "--help"], env=environment)

    assert shown.exit_code == 0
    return shown.stdout


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("words", COMMANDS, ids="-".join)
def test_help_says_every_word_and_fits(words, columns):
    """Nothing of a command's description is lost, and no line is too long."""
    shown = help_of(words, columns)
    spoken = [word.strip("`") for word in COMMANDS[words].help.split()]

    assert max(len(line.rstrip()) for line in shown.splitlines()) <= columns
    for word in spoken:
        assert word in shown, word


@pytest.mark.parametrize("words", COMMANDS, ids="-".join)
def test_paragraphs_are_filled(words):
    """The lines of a description break where the terminal ends, not the source."""
    page = help_of(words, 80).partition("╭")[0]
    lines = [line.strip() for line in page.splitlines()]
    for line, following in pairwise(lines):
        if line and following:
            assert len(line) + 1 + len(following.split()[0]) > 78, (line, following)


def test_the_first_page_lists_every_exit_code():
    """What a script must know stands on the page that opens first."""
    shown = help_of((), 80)

    for code in (0, 2, 3, 4, 5, 6, 7, 8, 10, 130):
        assert re.search(rf"^ +. {code}: \w", shown, flags=re.MULTILINE), code


@pytest.mark.skipif(not shutil.which("bash"), reason="completes in bash, not found")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("re",), {"retrain"}),
        (("db", "ch"), {"check"}),
        (("models", "r"), {"rollback"}),
        (("retrain", "--show"), {"--show-config"}),
        (("nothing",), set()),
    ],
)
def test_bash_completes(typed, offered):
    """The script that ``--show-completion bash`` prints completes in a real bash."""
    words = " ".join(("skatra", *typed))
    code = (
        'set -eu; eval "$(skatra --show-completion bash)"; '
        f"COMP_WORDS=({words}) COMP_CWORD={len(typed)}; "
        "complete -p skatra >/dev/null; _skatra_completion skatra; "
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
    )

    assert set(done.stdout.split()) == offered
