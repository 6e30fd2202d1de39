"""Whole runs on worker processes and on a real Dask cluster, some of them killed."""

import dataclasses
import os
import signal
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

from skatra.datasets import Database, make_edge_bars
from skatra.exceptions import WorkersNotReadyError
from skatra.retraining import DaskBackend, RetrainConfig, retrain
from skatra.retraining._session import Session, Task
from skatra.retraining._tasks import Processes

distributed = pytest.importorskip("distributed", reason="needs skatra[dask]")
cloudpickle = pytest.importorskip("cloudpickle", reason="comes with skatra[dask]")
psutil = pytest.importorskip("psutil", reason="comes with skatra[dask]")

PLAIN = {}
EARLY = {"early_stopping_rounds": 3, "early_stopping_fraction": 0.2}
FATAL = {False: ("search", "gate"), True: ("compare", "paths", "importance")}
"""Stages whose first task costs a worker its life, without and with early stopping."""


def write_market(path, n_bars):
    """Write a symbol with an edge, and features that tell of it."""
    bars = make_edge_bars(n_bars, edge=0.6, seed=4)
    volume = np.log(bars["volume"])
    features = pd.DataFrame({"volume": volume, "change": volume.diff().fillna(0.0)})
    with Database(path, create=True) as db:
        db.write_bars(bars)
        db.write_features(features, "mine")


def a_night_before(folder, **options):
    """Return settings, in a folder where a champion is served and bars were added."""
    folder.mkdir()
    config = RetrainConfig(
        database=folder / "market.db",
        models=folder / "models",
        feature_set="mine",
        max_holding=3,
        n_splits=2,
        n_estimators=8,
        param_grid={"num_leaves": [3, 5], "min_child_samples": [5]},
        n_paths=2,
        **options,
    )
    write_market(config.database, 600)
    assert retrain(config).verdict.promoted
    write_market(config.database, 900)
    return config


@pytest.fixture(scope="module", params=[PLAIN, EARLY], ids=["plain", "stopping early"])
def local(request, tmp_path_factory):
    """Return settings, figures, model, tasks and trials of a run on one thread."""
    root = tmp_path_factory.mktemp("local")
    config = a_night_before(root / "here", **request.param)
    return request.param, *told(config)


def told(config, on_task=lambda _: None):
    """Run, and return figures, the model's text, stages of tasks and trials kept."""
    stages = []

    def observe(event):
        if event["event"] == "task":
            stages.append(event["stage"])
            on_task(event)

    result = retrain(config, observe=observe)
    assert result.verdict.champion_id is not None
    with Database(config.database) as db:
        kept = len(db.trials())
    figures = {**result.to_dict(), "seconds": None}
    model = (result.model_path / "model.txt").read_text()
    return figures, model, Counter(stages), kept


@pytest.fixture(scope="module")
def cluster():
    """Start a Dask cluster of two worker processes."""
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        host="127.0.0.1",
    ) as cluster:
        yield cluster


def test_a_cluster_gives_the_local_run_though_workers_are_killed(
    local, cluster, tmp_path
):
    """One worker dies in every stage that fits: the same run, bit by bit.

    Search, comparison, paths, the gate's walk-forward fits and importance lose a
    worker each by SIGKILL, in one run or the other; tasks are in the ledger once,
    whoever did them.
    """
    options, *expected = local
    config = a_night_before(tmp_path / "far", **options)
    killed = {}

    def kill(event):
        stage = event["stage"]
        if stage in FATAL[bool(options)] and stage not in killed:
            workers = [w for w in cluster.workers.values() if w.pid is not None]
            killed[stage] = workers[-1].pid
            os.kill(killed[stage], signal.SIGKILL)

    found = told(
        dataclasses.replace(
            config, backend="dask", scheduler_address=cluster.scheduler_address
        ),
        kill,
    )

    assert sorted(killed) == sorted(FATAL[bool(options)])
    for here, there in zip(expected, found, strict=True):
        assert here == there


def test_processes_give_the_local_run_though_one_is_killed(local, tmp_path):
    """Worker processes serve all stages; a killed one costs its task alone."""
    options, *expected = local
    config = a_night_before(tmp_path / "near", **options)
    killed = []

    def kill(event):
        if event["stage"] == "compare" and not killed:
            workers = [
                child
                for child in psutil.Process().children(recursive=True)
                if "LokyProcess" in " ".join(child.cmdline())
            ]
            killed.append(workers[0].pid)
            workers[0].kill()

    found = told(dataclasses.replace(config, backend="processes", n_jobs=2), kill)

    assert killed
    for here, there in zip(expected, found, strict=True):
        assert here == there


def test_what_travels_is_small():
    """Rows and folds are mapped from files; a task carries less than a fold's rows."""
    sizes = []

    class Weighing(Processes):
        @contextmanager
        def open(self, slots):
            with super().open(slots) as pool:
                yield _Scales(pool, sizes)

    rows = big_rows(20_000)
    session = Session(backend=Weighing(1))
    half = np.arange(10_000), np.arange(10_000, 20_000)
    with session.working_on(rows):
        (outcome,) = session.run(rows, [Task("any", {}, half, count_rows)])

    assert outcome[0] == {"train": 10_000, "test": 10_000}
    assert 0 < max(sizes) < 2_000


class _Scales:
    """Weighs what is submitted to an executor."""

    def __init__(self, pool, sizes):
        self.pool, self.sizes = pool, sizes

    def submit(self, function, *args):
        """Weigh, and hand on."""
        self.sizes.append(len(cloudpickle.dumps((function, args))))
        return self.pool.submit(function, *args)


def count_rows(train, test):
    """Return how many rows reached the worker."""
    return {"train": len(train), "test": len(test)}, {}


def big_rows(n):
    """Return rows of one symbol."""
    from skatra.retraining._dataset import Rows

    index = pd.MultiIndex.from_product(
        [["A"], pd.date_range("2020-01-01", periods=n, freq="min", tz="UTC")],
        names=["symbol", "t0"],
    )
    ones = pd.Series(1.0, index=index)
    return Rows(
        pd.DataFrame({"a": ones, "b": ones}),
        ones.astype(int),
        pd.Series(index.get_level_values(1), index=index),
        ones,
        ones.astype(int),
        ones,
        pd.Series("A", index=index),
        np.arange(n),
    )


def test_a_cluster_without_workers_is_refused_before_anything_is_fitted():
    """The deadline ends the wait, and no trial was made."""
    with distributed.LocalCluster(
        n_workers=0, dashboard_address="127.0.0.1:0", host="127.0.0.1"
    ) as cluster:
        session = Session(backend=DaskBackend(cluster.scheduler_address, deadline=1.0))
        rows = big_rows(10)
        with (
            pytest.raises(WorkersNotReadyError, match="no worker"),
            session.working_on(rows),
        ):
            pytest.fail("nothing proved that workers are ready")
