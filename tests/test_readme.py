"""The README's code runs and type-checks as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from readme_renderer import markdown

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


BEFORE = """
import pandas as pd
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from skatra.model_selection import PurgedKFold

days = pd.date_range("2024-01-01", periods=200, tz="UTC")
trades = pd.DataFrame({"entry": days, "exit": days + pd.Timedelta("3D")})
trades = trades.sample(frac=1, random_state=0)
X = pd.DataFrame({"x": range(200)})
y = pd.Series([0, 1] * 100)
model, grid = LogisticRegression(), {"C": [0.1, 1.0]}
"""
AFTER = """
train, test = next(cv.split(X, label_times=label_times))
entry, exit = trades["entry"].array, trades["exit"].array
assert all(
    exit[a] < entry[b] or exit[b] < entry[a] for a in train for b in test
)
print(search.n_splits_, len(train) > 0)
X.index = label_times.index
cv_bound = PurgedKFold(5, embargo="5D", label_times=label_times)
bound = GridSearchCV(model, grid, cv=cv_bound)
listed = GridSearchCV(model, grid, cv=list(cv.split(X, label_times=label_times)))
for other in (bound, listed):
    assert other.fit(X, y).best_score_ == search.best_score_
"""
"""The README's other ways without routing, and its promise, held to the search."""


def blocks():
    """Return the README's Python code."""
    text = README.read_text("utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def example(tmp_path):
    """Return the code from bars to stakes as a program."""
    path = tmp_path / "example.py"
    path.write_text(blocks()[1], encoding="utf-8")
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


def test_one_line_of_a_search_changes(tmp_path):
    """The search runs on rows in any order, leaks nothing, with routing or without."""
    said = run(tmp_path / "swap.py", BEFORE + blocks()[0] + AFTER)

    assert said == ["5 True"]


def test_the_example_runs_anywhere(example):
    """It leaks nothing, and stakes on the planted edge what the comment says."""
    code = example.read_text(encoding="utf-8")
    leaks, stake = run(example, code)

    assert leaks == "0"
    assert stake == re.search(r"print\(f.*# (\d+%)", code)[1]


@pytest.mark.oracle
def test_what_it_stakes_on_noise_is_said(example):
    """Of twelve series without an edge as many are staked on as the text says."""
    code = example.read_text(encoding="utf-8").replace("edge=0.4", "edge=0.0")
    codes = [code.replace("seed=0", f"seed={seed}") for seed in range(12)]
    lines = run(example, f"for code in {codes!r}:\n    exec(code)\n")
    stakes = [int(line.rstrip("%")) for line in lines[1::2]]
    staked = sorted(stake for stake in stakes if stake)
    words = dict(zip(("five", "seven"), (5, 7), strict=True))
    text = " ".join(README.read_text("utf-8").split())
    said = re.search(r"stakes nothing on (\w+) and (\d+) to (\d+) % on (\w+)", text)

    assert (words[said[1]], words[said[4]]) == (12 - len(staked), len(staked))
    assert (int(said[2]), int(said[3])) == (staked[0], staked[-1])


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
