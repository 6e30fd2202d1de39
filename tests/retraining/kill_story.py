"""Kill a retrain at random moments, run it again, and tell what came of it.

Run as a program: ``python kill_story.py FOLDER KILLS SEED NIGHT`` prints one JSON
document. NIGHT is "first", "later" (a champion is served) or "processes" (so it is, and
worker processes do the work). It forks children that have everything loaded, so that a
run takes a second.
"""

import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from skatra.datasets import Database, make_edge_bars
from skatra.retraining import RetrainConfig, load_model, read_card, retrain


def settings(folder, night="first"):
    """Return a run of a fraction of a second."""
    return RetrainConfig(
        backend="processes" if night == "processes" else "threads",
        n_jobs=2 if night == "processes" else 1,
        database=folder / "market.db",
        models=folder / "models",
        feature_set="mine",
        max_holding=3,
        n_splits=2,
        n_estimators=5,
        param_grid={"num_leaves": [3, 5], "min_child_samples": [5]},
        n_paths=2,
    )


def make_market(path, n_bars=600):
    """Write bars with an edge that everyone can see, and features of them."""
    bars = make_edge_bars(n_bars, edge=0.6, seed=4)
    seen = np.log(bars["volume"])
    features = pd.DataFrame({"volume": seen, "change": seen.diff().fillna(0.0)})
    with Database(path, create=True) as db:
        db.write_bars(bars)
        db.write_features(features, "mine")


def child(folder, told, night):
    """Run in this process; write what came of it, and leave without clean-up."""
    fresh = []

    def observe(event):
        if event["event"] == "task" and not event["cached"]:
            fresh.append(event["stage"])

    done = retrain(settings(folder, night), observe=observe, force=False)
    result = {"run_id": done.run_id, "fresh": fresh, **look_around(folder)}
    result["met"] = read_card(done.model_path)["judged_against"]
    if hasattr(done, "to_dict"):
        result["figures"] = {**done.to_dict(), "seconds": None}
    told.write_text(json.dumps(result))


def look_around(folder):
    """Return the state of the database and the models."""
    models = folder / "models"
    load_model(models)
    with Database(folder / "market.db") as db:
        problems, runs = db.check(), len(db.runs())
    return {
        "problems": problems,
        "runs": runs,
        "rows": rows(folder / "market.db"),
        "models": sorted(
            p.name for p in models.iterdir() if (p / "card.json").exists()
        ),
        "champion": read_card(models)["lineage"]["data_sha256"],
        "current": json.loads((models / "CURRENT").read_text())["run_id"],
    }


def forked(folder, told, night):
    """Start a child, which an alarm ends should it hang."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(300)
        try:
            child(folder, told, night)
        except Exception as error:  # noqa: BLE001 - told to the parent
            told.write_text(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        finally:
            os._exit(0)
    return pid


def rows(path):
    """Return how many tasks the ledger holds, by plain SQL."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT count(*) FROM trials").fetchone()[0]
    finally:
        connection.close()


def story(root, kills, seed, night):
    """Return the undisturbed run and what came of every killed one."""
    draw = random.Random(seed)  # noqa: S311 - moments, not secrets
    before = root / "before"
    before.mkdir()
    make_market(before / "market.db")
    if night != "first":
        os.waitpid(forked(before, root / "before.json", "first"), 0)
        make_market(before / "market.db", 900)
    calm = root / "calm"
    shutil.copytree(before, calm)
    start = time.perf_counter()
    os.waitpid(forked(calm, calm / "told.json", night), 0)
    length = time.perf_counter() - start
    expected = json.loads((calm / "told.json").read_text())
    already = rows(before / "market.db") if night != "first" else 0
    after = []
    for number in range(kills):
        folder = root / f"kill{number}"
        shutil.copytree(before, folder)
        pid = forked(folder, folder / "first.json", night)
        # Half of the time of worker processes goes to their start.
        time.sleep(draw.uniform(0.5 * (night == "processes"), 1.0) * length)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        survived = rows(folder / "market.db")
        os.waitpid(forked(folder, folder / "told.json", night), 0)
        told = json.loads((folder / "told.json").read_text())
        after.append({**told, "survived": survived - already})
        shutil.rmtree(folder)
    return {"expected": expected, "after": after}


if __name__ == "__main__":
    told = story(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    sys.stdout.write(json.dumps(told))
