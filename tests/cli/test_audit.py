"""``skatra audit`` as a user meets it."""

import json

import numpy as np
import pandas as pd
import pytest

from skatra.datasets import Database, read_label_times
from skatra.exceptions import EmptyDataError, LabelTimesError, MissingDependencyError
from skatra.model_selection import audit_usual_splitters
from tests.cli.test_cli import refused, skatra

DAYS = pd.date_range("2026-01-05", periods=60, freq="D", tz="UTC")
LABEL_TIMES = pd.Series(DAYS + pd.Timedelta("4D"), index=DAYS.rename("t0"), name="t1")
NAMES = ["KFold", "KFold(shuffle=True)", "TimeSeriesSplit", "PurgedKFold"]


def labels_of(symbol, touched="time"):
    """Return stored labels of one symbol."""
    index = pd.MultiIndex.from_product([[symbol], DAYS], names=["symbol", "t0"])
    columns = {"t1": LABEL_TIMES.array, "ret": 0.1, "label": 1, "side": 1}
    return pd.DataFrame({**columns, "touched": touched}, index=index)


def test_each_splitter_gets_one_line(tmp_path):
    """Four lines: who leaks how much; the purged one leaks nothing."""
    LABEL_TIMES.reset_index().to_csv(tmp_path / "labels.csv", index=False)
    done = skatra("audit", "labels.csv", cwd=tmp_path)
    lines = done.stdout.splitlines()

    assert done.returncode == 0, done.stderr
    assert len(lines) == len(NAMES)
    for name, line in zip(NAMES, lines, strict=True):
        assert line.startswith(f"{name} ")
        assert (" 0 leaking pairs" in line) == (name == "PurgedKFold")


def test_json_holds_the_figures_of_the_library(tmp_path):
    """Columns can be named, options reach the splitter, JSON is alone on stdout."""
    table = LABEL_TIMES.reset_index().set_axis(["open", "close"], axis=1)
    table.to_csv(tmp_path / "labels.csv", index=False)
    options = ["--t0", "open", "--t1", "close", "--n-splits", "4"]
    spans = ["--embargo", "2D", "--purge-gap", "1"]
    done = skatra("audit", "labels.csv", *options, *spans, "--json", cwd=tmp_path)

    expected = audit_usual_splitters(LABEL_TIMES, n_splits=4, embargo="2D", purge_gap=1)
    assert json.loads(done.stdout) == {
        name: audit.to_dict() for name, audit in expected.items()
    }


def test_a_database_is_audited_by_label_set(tmp_path):
    """The one label set is found; of several, one must be named."""
    with Database(tmp_path / "market.db", create=True) as db:
        db.write_labels(pd.concat([labels_of("B"), labels_of("A")]), "own")
        assert len(read_label_times(tmp_path / "market.db")) == 120
        db.write_labels(labels_of("A", "open"), "open")
    message = refused(skatra("audit", "market.db", cwd=tmp_path))
    done = skatra("audit", "market.db", "--label-set", "own", "--json", cwd=tmp_path)

    assert "2 label sets" in message
    assert "--label-set" in message
    assert json.loads(done.stdout)["PurgedKFold"]["n_rows"] == 120
    assert json.loads(done.stdout)["PurgedKFold"]["leaking_pairs"] == 0
    with pytest.raises(EmptyDataError, match="no closed labels"):
        read_label_times(tmp_path / "market.db", label_set="open")


def test_input_that_cannot_be_audited_is_one_line(tmp_path):
    """Missing files and senseless spans leave with 2 and the way out."""
    assert "absent.csv" in refused(skatra("audit", "absent.csv", cwd=tmp_path))
    LABEL_TIMES.reset_index().to_csv(tmp_path / "labels.csv", index=False)
    assert "embargo" in refused(
        skatra("audit", "labels.csv", "--embargo", "soon", cwd=tmp_path)
    )


def test_files_are_read_as_they_are(tmp_path):
    """Rows keep the file's order; numbers stay numbers; text is UTC."""
    shuffled = LABEL_TIMES.iloc[np.random.default_rng(0).permutation(60)]
    shuffled.reset_index().to_csv(tmp_path / "labels.csv.gz", index=False)
    back = read_label_times(tmp_path / "labels.csv.gz")
    assert (back.index == shuffled.index).all()
    assert (back.to_numpy() == shuffled.to_numpy()).all()

    pd.DataFrame({"t0": [1, 2], "t1": [3, 4]}).to_csv(tmp_path / "n.csv", index=False)
    numbers = read_label_times(tmp_path / "n.csv")
    assert numbers.to_dict() == {1: 3, 2: 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t0,end\n1,2\n", r"must have the columns \['t1'\].*--t1"),
        ("t0,t1\n", "has no rows"),
        ("t0,t1\n2,1\n", "must not end before they start"),
        ("t0,t1\n2026-01-04,2026-01-05\n05/01/2026,2026-01-06\n", "01/2026' in row 2"),
        ("", "no readable CSV"),
        ("t0,t1\n1,\n", "missing"),
    ],
)
def test_bad_files_say_what_is_wrong(tmp_path, text, message):
    """Each flaw has its own message."""
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises((LabelTimesError, EmptyDataError), match=message):
        read_label_times(path)


def test_parquet_files(tmp_path):
    """Parquet is read where a reader is installed, and asks for one elsewhere."""
    path = tmp_path / "labels.parquet"
    try:
        LABEL_TIMES.to_frame().to_parquet(path)
    except ImportError:
        path.write_bytes(b"PAR1")
        with pytest.raises(MissingDependencyError, match="pyarrow"):
            read_label_times(path)
    else:
        pd.testing.assert_series_equal(
            read_label_times(path), LABEL_TIMES, check_freq=False
        )
