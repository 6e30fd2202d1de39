"""Fill the disk before every step of publishing in turn, and tell what came of it.

Run as a program: ``python full_disk_story.py FOLDER TOLD``, on a small file system of
its own; writes one JSON document. Steps are what Python does to files below the models
folder.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path

import pandas as pd

from skatra.cli._app import run
from skatra.datasets import Database, make_edge_bars
from skatra.exceptions import TrainingError
from skatra.retraining import load_champion, load_settings, retrain, verify_models

JOB = """
database = "market.db"
models = "models"
feature_set = "mine"
max_holding = 3
n_splits = 2
n_estimators = 5
n_paths = 0
[param_grid]
num_leaves = [3]
min_child_samples = [5]
[gate]
min_blocks = 2
min_growth = -100.0
max_overfitting = 1.0
min_deflated_sharpe = 0.0
max_drawdown = 1.0
max_excess_loss = 100.0
min_stake = 0.0
"""
BARS = make_edge_bars(1200, edge=0.6, seed=4)
FEATURES = pd.DataFrame({"volume": BARS["volume"], "range": BARS["high"] - BARS["low"]})
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Disk:
    """A file system that is full from a step of publishing on."""

    def __init__(self, folder):
        self.folder, self.models = folder, str(folder / "models")
        self.ballast = folder / "ballast"
        self.left, self.steps = None, []
        sys.addaudithook(self._see)

    def _see(self, event, arguments):
        if self.left is None or event not in ("open", "os.mkdir", "os.rename"):
            return
        if not str(arguments[0]).startswith(self.models):
            return
        if event == "open" and not int(arguments[2]) & WRITES:
            return
        self.steps.append(event)
        if self.left == 0:
            self.left = None
            self.fill()
        else:
            self.left -= 1

    def fill(self):
        """Take all the space there is, and what SQLite keeps for its next writes."""
        connection = sqlite3.connect(self.folder / "market.db")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        with self.ballast.open("wb", buffering=0) as file:
            for size in (2**20, 2**12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def free(self):
        """Give the space back."""
        self.left = None
        self.ballast.unlink(missing_ok=True)


def champion(folder):
    """Return what is served: the pointer, and what it decides."""
    model = load_champion(folder / "models")
    decisions = model.decision_function(FEATURES.iloc[-50:])
    return [(folder / "models" / "CURRENT").read_text(), decisions.tolist()]


def cut_off(folder, disk, moment, **options):
    """Fill the disk at an event; return what the run says, and give the space back."""
    config = load_settings(folder / "job.toml").config

    def observe(event):
        if moment in (event["event"], event.get("stage")) and not disk.ballast.exists():
            disk.fill()

    try:
        retrain(dataclasses.replace(config, **options), observe=observe)
    except TrainingError as error:
        return str(error)
    finally:
        disk.free()
    return "went on"


def main(folder):
    """Promote one model; let a second run out of space at each step, then let it be."""
    (folder / "job.toml").write_text(JOB)
    with Database(folder / "market.db", create=True) as db:
        db.write_bars(BARS.iloc[:700])
        db.write_features(FEATURES.iloc[:700], "mine")
    job = ["retrain", "--config", str(folder / "job.toml"), "--no-report", "-j", "1"]
    told = {"first": run(job), "full": []}
    with Database(folder / "market.db") as db:
        db.write_bars(BARS)
        db.write_features(FEATURES, "mine")
    before, disk = champion(folder), Disk(folder)
    told["trained"] = [
        cut_off(folder, disk, moment) for moment in ("prepare", "search")
    ]
    tempfile.tempdir = str(folder)
    told["trained"].append(cut_off(folder, disk, "data", backend="processes"))
    tempfile.tempdir = None
    told["same"] = champion(folder) == before
    for step in range(30):
        disk.left, disk.steps = step, []
        code = run(job)
        reached = disk.ballast.exists()
        disk.free()
        with Database(folder / "market.db") as db:
            sound, runs = db.check() == [], len(db.runs())
        left = [p.name for p in (folder / "models").glob(".*")]
        told["full"].append(
            {
                "code": code,
                "reached": reached,
                "step": disk.steps[-1] if disk.steps else None,
                "same": champion(folder) == before,
                "sound": sound and verify_models(folder / "models") == {},
                "runs": runs,
                "left": left,
            }
        )
        if code == 0:
            break
        # A whole model that nothing points to may stay; here each run does every step.
        for path in (folder / "models").glob("*/"):
            if path.name not in before[0]:
                shutil.rmtree(path)
    told["again"] = run(job)
    return told


if __name__ == "__main__":
    document = main(Path(sys.argv[1]))
    Path(sys.argv[2]).write_text(json.dumps(document))
