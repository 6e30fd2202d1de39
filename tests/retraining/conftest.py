"""One small run on a planted edge, shared by the tests that only read it."""

import pytest

from skatra.datasets import Database, make_edge_bars
from skatra.retraining import RetrainConfig, retrain

GRID = {"num_leaves": [5], "min_child_samples": [50, 200]}


@pytest.fixture(scope="session")
def market(tmp_path_factory):
    """Return a database with a planted edge."""
    path = tmp_path_factory.mktemp("market") / "market.db"
    with Database(path, create=True) as db:
        db.write_bars(make_edge_bars(1600, edge=0.5, seed=1))
    return path


@pytest.fixture(scope="session")
def small_config(market, tmp_path_factory):
    """Return settings that run in seconds."""
    return RetrainConfig(
        database=market,
        models=tmp_path_factory.mktemp("models"),
        n_splits=3,
        param_grid=GRID,
        n_estimators=30,
        max_holding=10,
    )


@pytest.fixture(scope="session")
def small_run(small_config):
    """Return the run."""
    return retrain(small_config)
