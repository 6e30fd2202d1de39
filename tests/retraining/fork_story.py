"""Load LightGBM's threads in this process, fork, and retrain in the child.

Run as a program: ``python -m tests.retraining.fork_story FOLDER`` prints what came of
it as JSON.
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
from lightgbm import LGBMClassifier

from skatra.datasets import Database
from skatra.retraining import load_champion, retrain
from tests.retraining.kill_story import make_market, settings


def threads():
    """Return how many threads this process has."""
    return len(list(Path("/proc/self/task").iterdir()))


def use_every_thread():
    """Fit and predict by two OpenMP threads."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 3))
    model = LGBMClassifier(n_jobs=2, n_estimators=3, verbose=-1)
    model.fit(X, X[:, 0] > 0).predict_proba(X)


def forked(work):
    """Return the exit status of a child that works; an alarm ends one that hangs."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(120)
        work()
        os._exit(0)
    return os.waitpid(pid, 0)[1]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    make_market(folder / "market.db")
    config = settings(folder)
    retrain(config)
    alone = threads()
    use_every_thread()
    champion = load_champion(config.models)
    with Database(config.database) as db:
        rows = db.features("mine")[list(champion.feature_names_in_)]
    many = rows.iloc[np.arange(60_000) % len(rows)]

    def in_child():
        """Read, train again, and predict as many rows as are worth all threads."""
        load_champion(config.models)
        retrain(config)
        load_champion(config.models).decision_function(many)

    told = {
        "openmp": threads() - alone,
        "child": forked(in_child),
        "plain_lightgbm": forked(lambda: (signal.alarm(10), use_every_thread())),
    }
    sys.stdout.write(json.dumps(told))
