"""Searches on processes and on a real Dask cluster, and what is left when one dies."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from lightgbm import LGBMClassifier
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import skatra
from skatra.exceptions import WorkersNotReadyError
from skatra.model_selection import (
    CombinatorialPurgedKFold,
    PurgedKFold,
    cross_val_paths,
)
from skatra.retraining import DaskBackend, PurgedLGBMSearchCV

distributed = pytest.importorskip("distributed", reason="needs skatra[dask]")
psutil = pytest.importorskip("psutil", reason="comes with skatra[dask]")

GRID = {"num_leaves": [3, 5, 7, 9], "n_estimators": [5, 10]}
MODEL = LGBMClassifier(n_jobs=1, verbose=-1)


class Ledger(dict):
    """A dict that can put, and calls back."""

    def __init__(self, on_put=lambda _: None):
        super().__init__()
        self.on_put = on_put

    def put(self, key, record):
        """Keep a record that must be new."""
        assert key not in self
        self[key] = record
        self.on_put(self)


@pytest.fixture(autouse=True)
def routing():
    """Every test routes metadata."""
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture(scope="module")
def rows():
    """Return rows, target and label times."""
    rng = np.random.default_rng(0)
    t0 = pd.date_range("2020-01-01", periods=600, freq="h")
    X = pd.DataFrame(rng.normal(size=(600, 4)), columns=list("abcd"), index=t0)
    y = (X["a"] + rng.normal(size=600) > 0).to_numpy()
    return X, y, pd.Series(t0 + pd.Timedelta("5h"), index=t0)


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


@pytest.fixture(scope="module")
def client(cluster):
    """Return a client of the cluster."""
    with distributed.Client(cluster) as client:
        yield client


def searched(rows, grid=GRID, **options):
    """Return a fitted search."""
    X, y, label_times = rows
    options = {"scoring": "neg_log_loss", "cv": PurgedKFold(3), **options}
    return PurgedLGBMSearchCV(MODEL, grid, **options).fit(X, y, label_times=label_times)


@pytest.fixture(scope="module")
def local(rows):
    """Return the search on one thread."""
    with sklearn.config_context(enable_metadata_routing=True):
        return searched(rows, n_jobs=1)


def assert_equal(expected, actual):
    """Equal scores to the last bit, and the same choice."""
    for name in ("split0_test_score", "split2_test_score", "mean_test_score"):
        np.testing.assert_array_equal(
            actual.cv_results_[name], expected.cv_results_[name]
        )
    assert actual.best_params_ == expected.best_params_


def test_processes_leave_the_workers_of_joblib_alone(rows):
    """Joblib's own process pool works before and after a search on processes."""
    numbers = [joblib.delayed(abs)(-k) for k in range(4)]
    assert joblib.Parallel(n_jobs=2, backend="loky")(numbers) == [0, 1, 2, 3]
    searched(rows, backend="processes", n_jobs=2)
    assert joblib.Parallel(n_jobs=2, backend="loky")(numbers) == [0, 1, 2, 3]


def test_processes_give_the_local_result_though_one_is_killed(rows, local):
    """A killed worker process costs its tasks, which are done again elsewhere."""
    killed = []

    def kill(ledger):
        if len(ledger) == 4:
            workers = [
                child
                for child in psutil.Process().children(recursive=True)
                if "LokyProcess" in " ".join(child.cmdline())
            ]
            workers[0].kill()
            killed.append(workers[0].pid)

    ledger = Ledger(kill)
    found = searched(rows, backend="processes", n_jobs=2, ledger=ledger)

    assert killed
    assert len(ledger) == 24
    assert_equal(local, found)


def test_a_cluster_gives_the_local_result_though_a_worker_is_killed(
    rows, local, cluster, client
):
    """Two Dask workers, one killed by SIGKILL on the way: equal bits, no score twice.

    Found by the scheduler's address, as on a command line.
    """
    pids = list(client.run(os.getpid).values())

    def kill(ledger):
        if len(ledger) == 6:
            os.kill(pids[0], signal.SIGKILL)

    ledger = Ledger(kill)
    found = searched(
        rows,
        backend=DaskBackend(cluster.scheduler_address, deadline=240.0),
        ledger=ledger,
    )

    assert len(pids) == 2
    assert len(ledger) == 24
    assert_equal(local, found)
    client.wait_for_workers(2, timeout=60)
    assert pids[0] not in client.run(os.getpid).values()


def test_a_finished_ledger_needs_no_worker_to_fit(rows, local, client):
    """What one backend has scored, another one need not."""
    ledger = Ledger()
    searched(rows, n_jobs=1, ledger=ledger)
    found = searched(rows, backend=client, ledger=ledger)

    assert found.n_scores_from_ledger_ == 24
    assert_equal(local, found)


def test_a_search_can_be_cloned_with_its_connection(client):
    """A clone shares the client."""
    search = PurgedLGBMSearchCV(MODEL, GRID, cv=3, backend=client)

    assert clone(search).backend is client
    backend = DaskBackend(client)
    assert clone(search.set_params(backend=backend)).backend is backend


def test_errors_of_tasks_come_home(rows, client):
    """LightGBM's refusal on a worker is raised here."""
    with pytest.raises(Exception, match="num_leaves"):
        searched(rows, {"num_leaves": [1]}, backend=client)


def test_rows_that_workers_cannot_read_are_named(client):
    """Without a shared folder the search fails before it starts, and says why."""
    from skatra.retraining._fold_data import InFile

    missing = InFile("/nowhere/rows.joblib", 10)
    with (
        pytest.raises(WorkersNotReadyError, match="DaskBackend\\(folder=") as error,
        DaskBackend(client).connected(missing),
    ):
        pass

    assert "/nowhere/rows.joblib" in str(error.value)


@pytest.mark.usefixtures("client")
def test_plain_searches_run_on_the_cluster_through_joblib(rows):
    """``joblib.parallel_config("dask")`` carries GridSearchCV and cross_val_paths."""
    X, y, label_times = rows
    search = GridSearchCV(
        MODEL, {"num_leaves": [3, 5]}, cv=PurgedKFold(3), scoring="neg_log_loss"
    )
    expected = clone(search).fit(X, y, label_times=label_times)
    options = {
        "cv": CombinatorialPurgedKFold(4, 2),
        "method": "predict_proba",
        "params": {"label_times": label_times},
    }
    paths = cross_val_paths(MODEL, X, y, **options)
    with joblib.parallel_config("dask"):
        found = clone(search).fit(X, y, label_times=label_times)
        far = cross_val_paths(MODEL, X, y, **options)

    np.testing.assert_array_equal(
        found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(far.paths, paths.paths)


def free_port():
    """Return a port that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_workers_that_cannot_import_are_named_within_the_deadline(rows, tmp_path):
    """Where skatra cannot be imported, the search ends with a named error.

    A real scheduler and worker, started where an empty package stands in the way.
    """
    hidden = tmp_path / "skatra"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("raise ImportError('no skatra here')\n")
    address = f"tcp://127.0.0.1:{free_port()}"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    options = {"env": environment, "cwd": tmp_path, "stderr": subprocess.DEVNULL}
    run = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    scheduler = subprocess.Popen(
        [*run, "--host", address, "--no-dashboard", "--no-show"], **options
    )
    run = [sys.executable, "-m", "distributed.cli.dask_worker", address]
    worker = subprocess.Popen(
        [*run, "--no-nanny", "--no-dashboard", "--nthreads", "1"], **options
    )
    try:
        start = time.monotonic()
        with pytest.raises(WorkersNotReadyError, match=r"no skatra here|the scheduler"):
            searched(rows, backend=DaskBackend(address, deadline=20.0))
        assert time.monotonic() - start < 120
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()


def test_workers_with_other_software_are_named(rows, tmp_path):
    """A worker of other code or another LightGBM would fill the ledger with its own.

    Real workers: one imports a copy of skatra with a comment more, beside the metadata
    of a LightGBM that is not the one here.
    """
    shutil.copytree(Path(skatra.__file__).parent, tmp_path / "skatra")
    with (tmp_path / "skatra" / "typing.py").open("a") as file:
        file.write("# another night\n")
    metadata = tmp_path / "lightgbm-99.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: lightgbm\nVersion: 99.0\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with distributed.LocalCluster(
        n_workers=0, dashboard_address="127.0.0.1:0", host="127.0.0.1"
    ) as cluster:
        words = [cluster.scheduler_address, "--no-nanny", "--no-dashboard"]
        worker = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_worker", *words],
            env=environment,
            cwd=tmp_path,
            stderr=subprocess.DEVNULL,
        )
        try:
            with pytest.raises(WorkersNotReadyError) as error:
                searched(rows, backend=DaskBackend(cluster.scheduler_address))
        finally:
            worker.kill()
            worker.wait()

    assert "Worker tcp://127.0.0.1:" in str(error.value)
    assert "lightgbm is 99.0 there and" in str(error.value)
    assert "the code of skatra is" in str(error.value)
    assert "numpy" not in str(error.value).partition("Install")[0]


def test_an_absent_scheduler_is_named(rows):
    """Nobody listens: the address is in the error."""
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(WorkersNotReadyError, match=address):
        searched(rows, backend=DaskBackend(address, deadline=1.0))
