"""The README's code runs and type-checks as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from readme_renderer import markdown

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


@pytest.fixture
def example(tmp_path):
    """Return the first code block as a program."""
    code = re.search(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    path = tmp_path / "example.py"
    path.write_text(code[1], encoding="utf-8")
    return path


def run(example, code):
    """Return the lines that a program prints."""
    example.write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", example],
        cwd=example.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_the_example_runs_anywhere(example):
    """It leaks nothing, stakes on the planted edge, and little where there is none."""
    code = example.read_text(encoding="utf-8")
    leaks, stake = run(example, code)
    _, idle = run(example, code.replace("edge=0.4", "edge=0.0"))
    said = re.search(r"# (\d+%); of bars without an edge (\d+%)", code)

    assert leaks == "0"
    assert (stake, idle) == said.groups()


def test_types_reach_the_user(example):
    """A type checker has nothing to say of the example, and refuses a wrong name."""
    wrong = example.with_name("wrong.py")
    wrong.write_text(
        "from skatra.model_selection import PurgedKFold\n"
        "PurgedKFold(5, embargoed='5D')\n"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--config-file", ""),
            *("--disable-error-code", "import-untyped", "--follow-imports", "silent"),
            *(example, wrong),
        ],
        cwd=example.parent,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "embargoed" in done.stdout
    assert "example.py" not in done.stdout
    assert "Found 1 error in 1 file" in done.stdout


def test_it_renders_where_packages_are_listed():
    """The package index renders it; every file it links to exists."""
    text = README.read_text(encoding="utf-8")
    html = markdown.render(text)

    assert html is not None
    assert "<table>" in html
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / target).exists(), target
