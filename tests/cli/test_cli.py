"""The command as a user meets it: a real process, its output and its exit code."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys

import pytest

from skatra.datasets import Database, load_index_bars, make_edge_bars
from tests.small_disk import on_small_disk

SMALL = ["--n-splits", "2", "--no-report", "-j", "1", "--max-holding", "10"]


def skatra(*arguments, cwd, before=()):
    """Run the command and return the finished process."""
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    return subprocess.run(
        [*before, sys.executable, "-W", "error", "-m", "skatra", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def refused(done, code=2):
    """Return the message of a command that refused its input as it must."""
    lines = done.stderr.strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]

    assert done.returncode == code, done.stderr
    assert len(errors) == 1
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return errors[0]


@pytest.fixture
def market(tmp_path):
    """Return a small database."""
    path = tmp_path / "market.db"
    with Database(path, create=True) as db:
        db.write_bars(make_edge_bars(1600, edge=0.5, seed=1))
    return path


def test_help_names_every_command(tmp_path):
    """``skatra --help`` and every command's help leave with 0."""
    done = skatra("--help", cwd=tmp_path)

    assert done.returncode == 0
    for command in ("audit", "demo", "ingest", "models", "retrain", "signals"):
        assert command in done.stdout
        assert skatra(command, "--help", cwd=tmp_path).returncode == 0


def test_unknown_commands_and_options_are_usage_errors(tmp_path):
    """A typo leaves with 2 and says what it does not know."""
    for arguments in (["frobnicate"], ["retrain", "x.db", "--frobnicate"]):
        done = skatra(*arguments, cwd=tmp_path)

        assert done.returncode == 2
        assert "frobnicate" in done.stderr


def test_missing_database(tmp_path):
    """A missing database is one line with the way out, and is not created."""
    message = refused(skatra("retrain", "absent.db", cwd=tmp_path))

    assert "absent.db" in message
    assert "skatra ingest" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command", [["retrain"], ["retrain", "--dry-run"], ["signals"]]
)
@pytest.mark.parametrize("at", [0, 3])
def test_a_damaged_database_is_no_usage_error(tmp_path, market, command, at):
    """Damage of its head or of its pages leaves with 5, before anything is fitted."""
    pages = bytearray(market.read_bytes())
    pages[4096 * at :] = b"\x55" * (len(pages) - 4096 * at)
    market.write_bytes(pages)
    message = refused(skatra(*command, market, cwd=tmp_path), code=5)

    assert "damaged" in message
    assert "restore a backup" in message


def test_a_full_disk_at_the_start_is_no_usage_error(tmp_path, market):
    """Where not even the lock of the run fits: code 5 and the way out."""
    (tmp_path / "small").mkdir()
    fill = (
        f'cp "{market}" small/m.db; dd if=/dev/zero of=small/x bs=4k 2>/dev/null; "$@"'
    )
    before = [*on_small_disk(tmp_path / "small", "2m"), "sh", "-c", fill, "sh"]
    done = skatra("retrain", "small/m.db", *SMALL, cwd=tmp_path, before=before)

    assert done.returncode == 5, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "disk full" in last or "No space left" in last


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path, market):
    """Of the database, of metrics and of rejects; what to do stands in the message."""
    (tmp_path / "small").mkdir()
    (tmp_path / "bad.csv").write_text("time,open,high,low,close\n2024-01-01,1,2,1,x\n")
    fill = f'cp "{market}" bad.csv small; mount -o remount,ro small; "$@"'
    before = [*on_small_disk(tmp_path / "small", "4m"), "sh", "-c", fill, "sh"]

    def said(*words, code):
        done = skatra(*words, cwd=tmp_path, before=before)
        return refused(done, code=code)

    for more in ([], ["--dry-run"]):
        message = said("retrain", "small/market.db", *SMALL, *more, code=5)
        assert "SQLite keeps its write-ahead log beside the file" in message
        assert "Make the directory writable" in message
    metrics = ["--metrics-file", "small/x.prom"]
    message = said("retrain", market, *SMALL, *metrics, code=2)
    assert "a folder that exists and can be written" in message
    message = said("ingest", "small/bad.csv", "new.db", "--symbol", "X", code=2)
    assert "bad.csv.rejects.csv cannot be made: Read-only" in message


def test_debug_shows_the_traceback(tmp_path):
    """``--debug`` adds the traceback to the same exit code."""
    done = skatra("retrain", "absent.db", "--debug", cwd=tmp_path)

    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "DatabaseNotFoundError" in done.stderr


def test_empty_table(tmp_path):
    """A database without bars says how to load some."""
    with Database(tmp_path / "market.db", create=True):
        pass
    message = refused(skatra("retrain", "market.db", cwd=tmp_path))

    assert "no bars" in message
    assert not (tmp_path / "models").exists()


def test_unsorted_and_duplicated_bars(tmp_path):
    """Order does not matter; a repeated bar is kept apart, with its line."""
    bars = load_index_bars().loc["SP500"].head(10)
    bars.iloc[[*range(9, -1, -1), 0]].to_csv(tmp_path / "bars.csv")
    done = skatra("ingest", "bars.csv", "market.db", "--symbol", "X", cwd=tmp_path)

    assert done.returncode == 3
    assert done.stdout.startswith("10 bars inserted")
    assert "an earlier row has this symbol and time; first in lines 12" in done.stderr
    with Database(tmp_path / "market.db") as db:
        assert db.bars("X")["close"].tolist() == bars["close"].tolist()


def test_labels_that_end_before_they_start(tmp_path, market):
    """Spoilt label times stop the run before anything is written."""
    skatra("retrain", market, *SMALL, cwd=tmp_path)
    shutil.rmtree(tmp_path / "models")
    with sqlite3.connect(market) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE label_sets SET name = 'own'")
        connection.execute("UPDATE labels SET t1 = t0 - 1")
    connection.close()
    done = skatra("retrain", market, "--label-set", "own", cwd=tmp_path)

    assert "check" in refused(done, 3)
    assert "t1-before-t0" in done.stderr
    assert not (tmp_path / "models").exists()


def test_not_a_database(tmp_path):
    """A file that is no database is named as such and left as it is."""
    (tmp_path / "market.db").write_bytes(b"not a database" * 1000)
    message = refused(skatra("retrain", "market.db", cwd=tmp_path), code=5)

    assert "not an SQLite database" in message
    assert (tmp_path / "market.db").read_bytes() == b"not a database" * 1000


def test_bad_setting(tmp_path, market):
    """A value out of range names its parameter."""
    assert "holdout" in refused(
        skatra("retrain", market, "--holdout", "1.5", cwd=tmp_path)
    )
    assert "side" in refused(skatra("retrain", market, "--side", "up", cwd=tmp_path))
    for option, value in (
        ("--embargo", "soon"),
        ("--grid", "num_leaves"),
        ("--grid", '{"num_leaves": 7}'),
        ("--grid", '{"n_jobs": [2]}'),
    ):
        message = refused(skatra("retrain", market, option, value, cwd=tmp_path))

        assert option.strip("-") in message


def test_a_value_that_lightgbm_refuses(tmp_path, market):
    """LightGBM's own refusal is one line, too, and leaves with 5."""
    done = skatra(
        "retrain", market, *SMALL, "--grid", '{"num_leaves": [-1]}', cwd=tmp_path
    )

    assert "num_leaves" in refused(done, 5)
    assert not (tmp_path / "models").exists()


def test_retrain_promotes_and_says_so(tmp_path, market):
    """A promoted run leaves with 0; JSON is alone on stdout, progress on stderr."""
    done = skatra("retrain", market, *SMALL, "--json", cwd=tmp_path)
    figures = json.loads(done.stdout)

    assert done.returncode == 0, done.stderr
    assert figures["promoted"]
    assert "[1/" in done.stderr
    assert (tmp_path / "models" / figures["run_id"] / "model.txt").exists()


def test_retrain_refuses_noise_with_10(tmp_path):
    """A model that earns nothing leaves with 10 and is kept, not served."""
    with Database(tmp_path / "market.db", create=True) as db:
        db.write_bars(make_edge_bars(1700, edge=0.0, seed=3))
    done = skatra("retrain", "market.db", *SMALL, cwd=tmp_path)

    assert done.returncode == 10, done.stderr
    assert "REFUSED" in done.stdout
    assert not (tmp_path / "models" / "CURRENT").exists()
    assert len(list((tmp_path / "models").iterdir())) == 1


def test_full_disk_while_writing_bars(tmp_path):
    """A disk that fills up during ingest is one line, and the way out is named."""
    load_index_bars().to_csv(tmp_path / "bars.csv")
    (tmp_path / "small").mkdir()
    before = on_small_disk(tmp_path / "small", "200k")
    message = refused(
        skatra("ingest", "bars.csv", "small/market.db", cwd=tmp_path, before=before),
        code=5,
    )

    assert "disk full" in message.lower()
    assert "Free space" in message


def test_full_disk_while_publishing(tmp_path, market):
    """A disk that fills up at publish leaves no part of a model."""
    (tmp_path / "models").mkdir()
    before = [
        *on_small_disk(tmp_path / "models", "16k"),
        "sh",
        "-c",
        '"$@"; code=$?; ls -A models | grep . >&2; exit $code',
        "sh",
    ]
    done = skatra("retrain", market, *SMALL, cwd=tmp_path, before=before)

    assert done.returncode == 7
    assert "No space left" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")


def test_interrupt_leaves_nothing_half_written(tmp_path, market):
    """Ctrl-C leaves with 6 and one line; no model is there in part."""
    process = subprocess.Popen(
        [sys.executable, "-m", "skatra", "retrain", str(market), "-j", "1"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if "[4/" in line:
            process.send_signal(2)
            break
    _, rest = process.communicate(timeout=60)

    assert process.returncode == 6, rest
    assert "Traceback" not in rest
    assert not list((tmp_path / "models").glob("*"))
