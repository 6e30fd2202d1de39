"""What retraining and signals count is what they did."""

import dataclasses
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from skatra import monitoring
from skatra.datasets import Database
from skatra.exceptions import (
    EmptyDataError,
    LeakageError,
    ModelNotFoundError,
    PoolTimeoutError,
    StaleDataError,
    StaleModelError,
)
from skatra.model_selection import audit_splits
from skatra.monitoring import CATALOGUE, LABELS
from skatra.retraining import (
    SignalLimits,
    make_signals,
    promote_model,
    retrain,
    watch_signals,
)
from skatra.retraining._registry import read_card
from skatra.sizing import KellyClassifier


@pytest.fixture
def served(small_run, small_config, tmp_path):
    """Return a database of the bars alone, and the models folder; count."""
    path = tmp_path / "live.db"
    with Database(path, create=True) as db:
        db.write_bars(small_run.bars)
    promote_model(small_config.models, small_run.run_id)
    monitoring.enable(models=["champion"], strategies=["kelly"], symbols=["EDGE"])
    yield path, small_config.models
    monitoring.disable()


def counts():
    """Return the sum of every sample that the served model or its book has."""
    found = Counter()
    for family in text_string_to_metric_families(monitoring.render()):
        for sample in family.samples:
            labels = sample.labels
            if labels.get("model", labels.get("strategy")) in {"champion", "kelly"}:
                key = sample.name.removeprefix("skatra_"), labels.get("reason")
                found[key] += sample.value
    return found


def test_counts_equal_the_rows(served, small_run):
    """Signals, predictions, features, settlements: counted equals written."""
    path, models = served
    days = small_run.bars.index.get_level_values(1)[-30:]
    before = counts()
    for day in [*days, days[-1]]:
        make_signals(path, models, now=day)
    made = counts() - before
    with Database(path) as db:
        stored, said = db.signals(), db.predictions(small_run.run_id)
    settled = said.dropna(subset=["t1"])
    won = (settled["ret"] > 0).astype(float)

    assert len(stored) == 30
    assert made["signals_total", None] == (stored["position"] != 0).sum()
    flat = (stored["wanted"] == 0).sum()
    assert made["signals_suppressed_total", "no_edge"] == flat
    assert made["signals_suppressed_total", "duplicate"] == 1
    assert made["signal_generation_duration_seconds_count", None] == 31
    n_features = len(small_run.rows.data.columns)
    assert made["feature_bin_total", None] == 30 * n_features
    assert made["prediction_probability_count", None] == 30
    assert made["calibration_observations_total", None] == len(settled) > 0
    assert made["calibration_positives_total", None] == won.sum()
    assert made["calibration_squared_error_total", None] == pytest.approx(
        ((settled["value"] - won) ** 2).sum()
    )


def test_rounds_on_a_bar_that_was_seen_say_nothing_new(served, small_run):
    """A day of hourly rounds on one bar is one probability and one row of features."""
    path, models = served
    day = small_run.bars.index.get_level_values(1)[-1]
    before = counts()
    for _ in range(24):
        make_signals(path, models, now=day)
    made = counts() - before

    assert made["prediction_probability_count", None] == 1
    assert made["prediction_probability_bin_total", None] == 1
    assert made["feature_bin_total", None] == len(small_run.rows.data.columns)
    assert made["signal_generation_duration_seconds_count", None] == 24


def test_stakes_are_those_that_were_written(served, small_run):
    """Each bar's stake counts once, as it was after the limits that cut it."""
    path, models = served
    days = small_run.bars.index.get_level_values(1)[-30:]
    limits = SignalLimits(max_position=0.01, max_exposure=0.03, split=False)
    before = counts()
    for day in [*days, days[-1]]:
        make_signals(path, models, now=day, limits=limits)
    made = counts() - before
    with Database(path) as db:
        stored = db.signals()
    cut = (
        made["kelly_capped_total", "max_position"]
        + made["kelly_capped_total", "max_exposure"]
    )

    assert made["kelly_fraction_ratio_count", None] == len(stored)
    staked = stored["position"].abs().sum()
    assert made["kelly_fraction_ratio_sum", None] == pytest.approx(staked)
    assert cut == (stored["position"].abs() < stored["wanted"].abs()).sum() > 0
    nothing, wanted = stored["position"] == 0, stored["wanted"] != 0
    assert (nothing & wanted).sum() > 0
    assert made["signals_suppressed_total", "no_edge"] == (~wanted).sum()


def test_references_are_those_of_the_card(served, small_run):
    """Shares of training bins come from the card, and each sums to one."""
    path, models = served
    make_signals(path, models, now="2006-02-20")
    references = read_card(models)["references"]
    found = counts()
    known = sum(references["probability"]["counts"])

    assert found["prediction_probability_reference_count", None] == known
    assert found["feature_reference_bin_ratio", None] == pytest.approx(
        len(references["features"])
    )
    assert found["model_training_rows", None] == len(small_run.rows)


def test_the_first_failure_of_a_round_is_an_increase(served):
    """Old bars, an old model and a lost one are at zero before they happen."""
    path, models = served
    text = monitoring.render()
    for options, error in (
        ({"now": "2006-03-20"}, StaleDataError),
        ({"now": "2026-03-20"}, StaleModelError),
        ({"now": "2006-02-20", "symbols": ["NONE"]}, EmptyDataError),
        ({"models": models / "absent"}, ModelNotFoundError),
    ):
        with pytest.raises(error):
            make_signals(**{"database": path, "models": models} | options)
        assert f'component="signals",error_type="{error.__name__}"}} ' in text


def test_refusals_are_counted(served):
    """Old bars are held back and the error has its name."""
    path, models = served
    before = counts()
    with pytest.raises(StaleDataError):
        make_signals(path, models, now=pd.Timestamp("2006-03-20"))

    made = counts() - before
    assert made["signals_suppressed_total", "stale_data"] == 1
    assert 'error_type="StaleDataError"' in monitoring.render()


LIFE = """
import os, re, sys
from skatra import monitoring
from skatra.retraining import watch_signals

def die():
    rounds = re.findall(r"(?m)^skatra_signal_(?:round|interval)_.* (.*)$",
                        monitoring.render())
    print(*rounds, flush=True)
    os.kill(os.getpid(), 9)

monitoring.enable(strategies=["kelly"])
next(watch_signals(sys.argv[1], sys.argv[2], every=60, before=die))
"""


def test_a_process_that_dies_before_its_first_round_had_said_when_it_is_due(served):
    """Its alert waits for a round that never gets through, the scrape's wait included.

    No round was ever made here, so the time is that of the start.
    """
    start = time.time()
    command = [sys.executable, "-W", "ignore", "-c", LIFE, *map(str, served)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    began, every = map(float, done.stdout.split())

    assert done.returncode == -9
    assert start <= began <= time.time()
    assert every == 60


@pytest.fixture(scope="module")
def watched(small_config, tmp_path_factory):
    """Retrain, counting from nothing; return run, models folder and pages."""
    folder = tmp_path_factory.mktemp("watched")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(monitoring._instruments, "_recorder", None)
        monitoring.enable()
        config = dataclasses.replace(small_config, models=folder / "models")
        pages = []
        run = retrain(config, observe=lambda _: pages.append(monitoring.render()))
        pages.append(monitoring.render())
        promote_model(config.models, run.run_id)
        yield run, config.models, pages
        monitoring.disable()


def moved(page):
    """Return metrics that something happened to.

    Counters and histograms stand at zero before, and so do calls in progress and the
    time of the last leak; any other gauge is absent until it is set.
    """
    found = set()
    for family in text_string_to_metric_families(page):
        name = family.name + "_total" * (family.type == "counter")
        at_zero = family.type != "gauge" or name.endswith(
            ("in_progress", "leakage_last_timestamp_seconds")
        )
        if any(sample.value for sample in family.samples) or (
            family.samples and not at_zero
        ):
            found.add(name)
    return {name for name in found if name.startswith("skatra_")}


class Peeping(LogisticRegression):
    """Renders the metrics page in the middle of a prediction."""

    pages = []  # noqa: RUF012 - clones share it

    def predict_proba(self, X):
        """Predict, and look."""
        self.pages.append(monitoring.render())
        return super().predict_proba(X)


def fail_everywhere(path):
    """Let happen, for real, what a healthy run never counts."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    returns = 0.05 * X[:, 0] + rng.normal(scale=0.02, size=60)
    model = KellyClassifier(Peeping(), max_position=0.001)
    model.fit(X, returns > 0, returns=returns)
    model.decision_function(X)
    with pytest.raises(ValueError, match="features"):
        model.predict_proba(np.zeros((1, 3)))
    days = pd.date_range("2026-01-05", periods=30, freq="D")
    label_times = pd.Series(days + pd.Timedelta("2D"), index=days)
    naive = audit_splits(KFold(3), np.zeros((30, 1)), label_times=label_times)
    with pytest.raises(LeakageError):
        naive.raise_for_leaks()
    for number in range(LABELS["component"].cap + 1):
        monitoring.record_error(f"part{number}", ValueError())
    ready, done = threading.Event(), threading.Event()
    with Database(path) as db:

        def hold():
            with db.pool.get_connection(readonly=False):
                ready.set()
                done.wait(20)

        holder = threading.Thread(target=hold)
        holder.start()
        ready.wait(20)
        with (
            pytest.raises(PoolTimeoutError),
            db.pool.get_connection(readonly=False, timeout=0.01),
        ):
            pass
        done.set()
        holder.join()


def scraped(path):
    """Return pages of an exporter, until one could read the database in time."""
    pages = []
    with monitoring.serve_metrics(port=0, databases=[path]) as server:
        for _ in range(100):
            with urllib.request.urlopen(server.url) as answer:
                pages.append(answer.read().decode())
            if 'skatra_db_table_rows{database="live.db",table="bars"}' in pages[-1]:
                break
            time.sleep(0.05)
    return pages


def test_every_metric_of_the_catalogue_is_moved_by_some_code(watched, tmp_path):
    """Retraining, signals and faults move all that is exported, and nothing else."""
    run, models, before = watched
    pages = Peeping.pages = [*before]
    live = tmp_path / "live.db"
    monitoring.enable()
    with Database(live, create=True) as db:
        db.write_bars(run.bars)
        for day in run.bars.index.get_level_values(1)[-20:]:
            make_signals(live, models, now=day)
        next(watch_signals(live, models, every=60, now=day))
        fail_everywhere(live)
        pages += scraped(live)
    monitoring.disable()

    names = set().union(*map(moved, pages))

    assert names == {metric.name for metric in CATALOGUE.values()}


def test_folds_score_what_the_report_says(watched, small_config):
    """Scores of folds average to the tuned model's, rows to its training sets."""
    run, _, pages = watched
    tuned = run.out_of_fold("PurgedKFold", "tuned")
    found = {
        (sample.name, *map(sample.labels.get, ("metric", "fold"))): sample.value
        for family in text_string_to_metric_families(pages[-1])
        for sample in family.samples
    }
    folds = [str(fold) for fold in range(small_config.n_splits)]
    scored = {key[1:] for key in found if key[0] == "skatra_cv_fold_score"}

    assert scored == {(name, f) for name in ("auc", "log_loss") for f in folds}
    for name in ("auc", "log_loss"):
        scores = [found["skatra_cv_fold_score", name, fold] for fold in folds]
        assert np.mean(scores) == pytest.approx(getattr(tuned, name), rel=1e-12)
    rows = [found["skatra_cv_fold_train_rows", None, fold] for fold in folds]
    assert sum(rows) == tuned.train_rows
