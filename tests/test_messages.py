"""Laws of error messages: what was wrong, what was got, and the way out."""

import ast
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skatra.datasets import Database, SQLiteDatasetLoader, ingest_bars
from skatra.inspection import mean_decrease_importance
from skatra.labeling import cusum_events, triple_barrier_labels
from skatra.metrics import log_growth, probability_of_backtest_overfitting
from skatra.model_selection import PurgedKFold, purged_train_test_split
from skatra.monitoring import serve_metrics
from skatra.retraining import load_settings
from skatra.sample_weight import return_attribution
from skatra.sizing import KellyCalibrationDisplay, PayoffTable

PACKAGE = Path(__file__).parents[1] / "skatra"
DAYS = pd.date_range("2024-01-01", periods=30)
FRAME = pd.DataFrame({"x": np.arange(30.0)}, index=DAYS)
CLOSE = pd.Series(1.0, index=DAYS)
BARS = pd.DataFrame(
    dict.fromkeys(("open", "high", "low", "close"), 1.0) | {"volume": 1.0}, index=DAYS
)


def vacuum_inside():
    """Shrink a database in the middle of a transaction."""
    with Database(":memory:") as db, db.transaction():
        db.vacuum()


def write_by_a_reader():
    """Change rows through a connection that only reads."""
    with Database("market.db", create=True) as db:
        db.read_sql("DELETE FROM bars")


def copy_to_nowhere():
    """Copy a database into a folder that is not there."""
    with Database("market.db", create=True) as db:
        db.backup(Path("nowhere", "copy.db"))


CASES = {
    "writing by a reader": (
        write_by_a_reader,
        "market.db",
        "only reads",
        "readonly=False",
    ),
    "a copy to nowhere": (
        copy_to_nowhere,
        "directory of",
        "copy.db",
        "mkdir -p",
    ),
    "label times of two kinds, one with a zone": (
        lambda: list(
            PurgedKFold(3).split(
                FRAME,
                label_times=pd.Series(range(30), index=DAYS.tz_localize("UTC")),
            )
        ),
        "label_times t1",
        "got datetimes and numbers",
        "both as datetimes",
    ),
    "no target at all": (
        lambda: triple_barrier_labels(BARS, target=CLOSE * np.nan),
        "target",
        "got 30 values, all missing",
        "needs more bars",
    ),
    "a database that is no path": (
        lambda: Database(None),
        "path",
        "got None",
        "text or path-like",
    ),
    "settings that are not there": (
        lambda: load_settings("absent.toml"),
        "--config",
        "absent.toml",
        "cannot be read",
    ),
    "bars separated by semicolons": (
        lambda: (
            Path("bars.csv").write_text("date;open;high;low;close\n"),
            ingest_bars("bars.csv", "market.db", symbol="X"),
        ),
        "bars.csv",
        "got ['date;open;high;low;close']",
        "by commas",
    ),
    "label times with row numbers for an index": (
        lambda: list(PurgedKFold(3).split(FRAME, label_times=pd.Series(DAYS))),
        "label_times t0",
        "got numbers and datetimes",
        "index=t0",
    ),
    "look_back": (
        lambda: SQLiteDatasetLoader("x.db", look_back=0).fit(
            pd.DataFrame({"symbol": ["A"], "t0": DAYS[:1]})
        ),
        "look_back",
        "got 0",
        ">= 1",
    ),
    "outcomes that are no outcomes": (
        lambda: KellyCalibrationDisplay.from_predictions([0, 2], [0.1, 0.2]),
        "y_true",
        "got 2",
        "y == positive_class",
    ),
    "a column twice": (
        lambda: mean_decrease_importance(
            None, pd.concat([FRAME, FRAME], axis=1), np.zeros(30), cv=[([0], [1])]
        ),
        "X",
        "got ['x'] twice",
        "Rename",
    ),
    "one trial": (
        lambda: probability_of_backtest_overfitting(np.zeros((30, 1))),
        "trial_returns",
        "got 1",
        "at least 2",
    ),
    "one class": (
        lambda: PayoffTable.from_returns([0.1, 0.2], [True, True]),
        "positive",
        "got 2 of the positive class only",
        "longer history",
    ),
    "credentials": (
        lambda: serve_metrics(port=0, credentials="secret"),
        "credentials",
        "without a colon",
        "user:password",
    ),
    "vacuum": (vacuum_inside, "vacuum", "inside a transaction", "after the block"),
    "threshold": (
        lambda: cusum_events(CLOSE, threshold=float("nan")),
        "threshold",
        "got nan",
        "Drop missing values",
    ),
    "prices that never move": (
        lambda: return_attribution(pd.Series(DAYS[5:], index=DAYS[:25]), CLOSE),
        "close",
        "is 0",
        "Check that",
    ),
    "no array": (purged_train_test_split, "array", "got none", "Pass X"),
    "no weight": (
        lambda: log_growth([0.1], [0.1], sample_weight=[0.0]),
        "sample_weight",
        "got only zeros",
        "above 0",
    ),
}


@pytest.mark.parametrize("case", CASES, ids=lambda name: name.replace(" ", "-"))
def test_messages_name_parameter_value_and_way_out(case, tmp_path, monkeypatch):
    """A user who reads the message alone knows what to change."""
    monkeypatch.chdir(tmp_path)
    call, *parts = CASES[case]

    with pytest.raises(Exception) as caught:
        call()

    for part in parts:
        assert part in str(caught.value)


def texts():
    """Return every message that the package raises as one literal, with its place."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                if ast.unparse(node.exc.func) == "SkipTest":
                    continue
                for argument in node.exc.args[:1]:
                    if isinstance(argument, ast.Constant):
                        yield f"{path.name}:{node.lineno}", str(argument.value)


def test_messages_are_sentences():
    """Every literal message ends as a sentence does, and says more than its type."""
    found = dict(texts())

    assert found
    short = {
        place: text
        for place, text in found.items()
        if not re.search(r"[.!)]$", text) or len(text.split()) < 4
    }
    assert short == {}
