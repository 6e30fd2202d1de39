"""``skatra models``, ``signals`` and ``ingest``: output and exit codes."""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from skatra.datasets import Database, make_edge_bars
from skatra.retraining import RetrainConfig, read_card, retrain
from tests.cli.test_cli import refused, skatra
from tests.small_disk import on_small_disk


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a folder with market.db and models/, one model promoted."""
    folder = tmp_path_factory.mktemp("trained")
    with Database(folder / "market.db", create=True) as db:
        db.write_bars(make_edge_bars(1600, edge=0.5, seed=1))
    retrain(
        RetrainConfig(
            database=folder / "market.db",
            models=folder / "models",
            n_splits=2,
            n_estimators=20,
            param_grid={"num_leaves": [5]},
            max_holding=5,
            n_paths=0,
        )
    )
    return folder


def test_models_are_listed_shown_and_verified(trained):
    """The champion is marked, its card is JSON, and everything is sound."""
    listed = json.loads(skatra("models", "list", "--json", cwd=trained).stdout)
    shown = json.loads(skatra("models", "show", "--json", cwd=trained).stdout)
    verified = skatra("models", "verify", "--database", "market.db", cwd=trained)

    assert [row["champion"] for row in listed] == [True]
    assert shown["run_id"] == listed[0]["run_id"]
    assert shown["outcome"] == "promoted"
    assert verified.stdout.strip() == "sound"
    assert listed[0]["run_id"] in skatra("models", "list", cwd=trained).stdout
    assert "promoted" in skatra("models", "show", cwd=trained).stdout


def test_damage_leaves_with_7(trained, tmp_path):
    """One changed byte in a model is found and named."""
    run = next(path for path in (trained / "models").iterdir() if path.is_dir())
    folder = tmp_path / "models" / run.name
    folder.mkdir(parents=True)
    for path in run.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    text = bytearray((folder / "model.txt").read_bytes())
    text[-2] ^= 1
    (folder / "model.txt").write_bytes(text)
    done = skatra("models", "verify", cwd=tmp_path)

    assert done.returncode == 7
    assert "checksum" in done.stdout
    assert "checksum" in refused(
        skatra("models", "promote", run.name, cwd=tmp_path), code=7
    )


def test_a_models_folder_that_cannot_be_written_leaves_with_7(trained, tmp_path):
    """The pointer stays, and the message says what to do."""
    run = json.loads(skatra("models", "show", "--json", cwd=trained).stdout)["run_id"]
    (tmp_path / "small").mkdir()
    fill = (
        f'cp -r "{trained}/models" small; rm small/models/CURRENT; '
        'mount -o remount,ro small; "$@"'
    )
    before = [*on_small_disk(tmp_path / "small", "4m"), "sh", "-c", fill, "sh"]
    words = ["models", "promote", run, "-m", "small/models"]
    message = refused(skatra(*words, cwd=tmp_path, before=before), code=7)

    assert "CURRENT cannot be written: Read-only file system" in message
    assert "Make the folder writable" in message


def test_going_back_needs_somewhere_to_go(trained, tmp_path):
    """Without an earlier champion, or without models, the message says so."""
    assert "before the one that is served" in refused(
        skatra("models", "rollback", cwd=trained)
    )
    assert "no model is promoted" in refused(skatra("models", "rollback", cwd=tmp_path))
    run = json.loads(skatra("models", "show", "--json", cwd=trained).stdout)["run_id"]
    done = skatra("models", "promote", run[:5], cwd=trained)
    assert done.stdout.strip() == f"{run} is served"


def test_signals_once(trained):
    """Old bars leave with 8 unless told; a round is one line of JSON."""
    assert "--allow-stale" in refused(skatra("signals", "market.db", cwd=trained), 8)
    done = skatra("signals", "market.db", "--allow-stale", "--json", cwd=trained)
    report = json.loads(done.stdout)
    told = skatra("signals", "market.db", "--allow-stale", cwd=trained)

    assert done.returncode == 0
    assert [row["symbol"] for row in report["signals"]] == ["EDGE"]
    assert "1 signal, 0 bets" in told.stdout
    with Database(trained / "market.db") as db:
        assert len(db.signals()) == 1
        assert db.check() == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGTERM")
def test_signals_every_so_often_until_told_to_stop(trained):
    """SIGTERM ends the rounds in order."""
    command = [sys.executable, "-m", "skatra", "signals", "market.db"]
    with subprocess.Popen(
        [*command, "--allow-stale", "--json", "--every", "0.2"],
        cwd=trained,
        stdout=subprocess.PIPE,
        text=True,
        env={**__import__("os").environ, "PYTHONPATH": str(Path.cwd())},
    ) as process:
        rounds = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(60) == 0
    assert rounds[0]["run_id"] == rounds[1]["run_id"]


def test_signals_serve_metrics_while_they_run(trained):
    """The page of loopback shows the rounds; once, a port makes no sense."""
    command = [sys.executable, "-m", "skatra", "signals", "market.db"]
    with subprocess.Popen(
        [*command, "--allow-stale", "--every", "0.2", "--metrics-port", "0"],
        cwd=trained,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**__import__("os").environ, "PYTHONPATH": str(Path.cwd())},
    ) as process:
        url = process.stderr.readline().strip()
        waiting = process.stderr.readline()
        pages = [""]
        bins = 10 * len(read_card(trained / "models")["references"]["features"])
        while pages[0].count('skatra_feature_bin_total{bin="') < bins:
            pages = [urllib.request.urlopen(url, timeout=20).read().decode()]
        for _ in range(2):
            process.stdout.readline()
        pages.append(urllib.request.urlopen(url, timeout=20).read().decode())
        process.send_signal(signal.SIGTERM)
        process.communicate()
        assert process.returncode == 0
    assert url.startswith("http://127.0.0.1:")
    assert waiting.startswith("waiting up to 60 s for a first scrape (--first-scrape 0")
    first, found = (
        {
            sample.name: sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if "champion" in sample.labels.values() or "kelly" in sample.labels.values()
            if sample.labels.get("method", "predict_proba") == "predict_proba"
        }
        for page in pages
    )
    # Nothing is counted before the first scrape, and all is there at zero.
    assert {first[name] for name in found if name.endswith(("_total", "_count"))
            and "_reference_" not in name} == {0}  # fmt: skip
    assert first["skatra_model_info"] == 1
    assert found["skatra_prediction_rows_total"] >= 2
    assert time.time() - found["skatra_signal_round_timestamp_seconds"] < 60
    assert found["skatra_signal_interval_seconds"] == 0.2
    assert 'table="signals"' in pages[1]
    assert "--every" in refused(
        skatra("signals", "market.db", "--metrics-port", "0", cwd=trained)
    )


def test_rejected_rows_leave_with_3_unless_told(tmp_path):
    """What is wrong stands on stderr with lines; the sound rows are written."""
    file = tmp_path / "bars.csv"
    file.write_text(
        "time,open,high,low,close\n2020-01-01,1,2,0.5,x\n2020-01-02,1,2,0.5,1.5\n"
    )
    arguments = ["ingest", "bars.csv", "market.db", "--symbol", "A"]
    done = skatra(*arguments, cwd=tmp_path)
    again = skatra(*arguments, "--allow-rejects", "--json", cwd=tmp_path)

    assert done.returncode == 3
    assert "close is no number; first in lines 2" in done.stderr
    assert "1 rows rejected, kept in bars.csv.rejects.csv" in done.stderr
    assert done.stdout.startswith("1 bars inserted")
    assert again.returncode == 0
    assert json.loads(again.stdout) == {
        "inserted": 0,
        "updated": 0,
        "unchanged": 1,
        "rejected": 1,
        "problems": {"close is no number": [2]},
        "rejects": "bars.csv.rejects.csv",
        "unread": [],
    }
