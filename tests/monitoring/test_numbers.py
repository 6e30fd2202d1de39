"""Laws of the numbers: counted once, capped visibly, zero before the first event."""

import builtins
import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import timeit
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn.exceptions
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from prometheus_client.parser import text_string_to_metric_families
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

import skatra.exceptions
from skatra import monitoring
from skatra.datasets import Database
from skatra.exceptions import LeakageError, PoolTimeoutError
from skatra.model_selection import PurgedKFold, audit_splits
from skatra.monitoring._catalogue import (
    BINS,
    CATALOGUE,
    KNOWN_ERRORS,
    LABELS,
    PROBABILITY_BUCKETS,
)
from skatra.monitoring._recorder import Recorder
from skatra.monitoring._store import Distribution, Store
from skatra.sizing import KellyClassifier
from skatra.utils import observation

PROBABILITIES = hnp.arrays(
    np.float64, st.integers(1, 60), elements=st.floats(0.0, 1.0, width=32)
)
OR_NAN = hnp.arrays(
    np.float64,
    st.integers(1, 60),
    elements=st.floats(0.0, 1.0, width=32) | st.just(np.nan),
)


def value(recorder, short, *labels):
    """Return the value of one label set as a scrape sees it, None if there is none."""
    recorder.store.snapshot()
    child = recorder.store.families[short].children.get(labels)
    return None if child is None else child.value


@pytest.fixture
def model():
    """Return a fitted Kelly classifier."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    returns = 0.01 * X[:, 0] + rng.normal(scale=0.02, size=200)
    fitted = KellyClassifier(LogisticRegression(), max_position=0.3)
    return fitted.fit(X, returns > 0, returns=returns)


def exported(text):
    """Return name -> type of every exported family."""
    return {f.name: f.type for f in text_string_to_metric_families(text)}


def test_catalogue_names_are_well_formed():
    """Counters end in _total, nothing else does; help and labels are there."""
    for short, metric in CATALOGUE.items():
        assert (metric.kind == "counter") == short.endswith("_total"), short
        assert (metric.kind == "histogram") == bool(metric.buckets), short
        assert list(metric.buckets) == sorted(set(metric.buckets)), short
        assert metric.help.endswith(".")
        assert set(metric.labels) <= set(LABELS)


def test_the_page_and_the_catalogue_hold_the_same_names(tmp_path):
    """Every family exported is in the catalogue, and every other way round."""
    with Database(tmp_path / "x.db", create=True):
        with monitoring.serve_metrics(port=0, databases=[tmp_path / "x.db"]) as server:
            text = server._page.render().decode()
        monitoring.disable()
    names = {n for n in exported(text) if n.startswith("skatra_")}

    assert names == {m.name.removesuffix("_total") for m in CATALOGUE.values()}
    for name, kind in exported(text).items():
        metric = CATALOGUE.get(name.removeprefix("skatra_")) or CATALOGUE.get(
            f"{name.removeprefix('skatra_')}_total"
        )
        assert metric is None or metric.kind == kind


def test_nothing_heavy_is_imported_until_metrics_are_served():
    """Importing, enabling and counting need no prometheus_client."""
    code = (
        "import sys; from skatra import monitoring; monitoring.enable(models=['m']); "
        "monitoring.record_outcomes('m', [0.5], [True]); "
        "print('prometheus_client' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "False"


def test_enabling_twice_keeps_the_numbers():
    """A second call announces more names and forgets nothing."""
    monitoring.enable(models=["first"])
    monitoring.record_outcomes("first", [0.55], [True])
    text = monitoring.render()
    monitoring.enable(models=["second"])
    again = monitoring.render()
    monitoring.disable()

    line = 'skatra_calibration_positives_total{bin="0.5",model="first"}'
    assert line in text
    assert line in again
    assert (
        'skatra_prediction_rows_total{method="predict_proba",model="second"} 0' in again
    )
    assert not monitoring.is_enabled()


def test_a_report_costs_next_to_nothing_when_off(model):
    """Off, a report is a lookup: under the fiftieth of one row's prediction."""
    assert observation.observer is None
    row = np.zeros((1, 2))

    def report():
        if observation.observer is not None:
            raise AssertionError

    cost = min(timeit.repeat(report, number=20_000, repeat=5)) / 20_000
    call = (
        min(timeit.repeat(lambda: model._probabilities(row), number=20, repeat=5)) / 20
    )
    record = min(
        timeit.repeat(
            lambda: monitoring.record_error("x", ValueError), number=20_000, repeat=5
        )
    )

    assert cost < call / 50
    assert record / 20_000 < call / 50


def test_predictions_are_the_same_and_counted(recorder, model):
    """Values do not depend on who listens, and counts are exact.

    A position asks for a probability, which counts as a call of its own.
    """
    X = np.random.default_rng(1).normal(size=(50, 2))
    observation.set_observer(None)
    silent = model.predict_proba(X), model.decision_function(X)
    observation.set_observer(recorder)
    with monitoring.scope(model="m", strategy="s"):
        loud = model.predict_proba(X), model.decision_function(X)

    np.testing.assert_array_equal(silent[0], loud[0])
    np.testing.assert_array_equal(silent[1], loud[1])
    assert value(recorder, "prediction_rows_total", "m", "predict_proba") == 100
    assert value(recorder, "prediction_rows_total", "m", "decision_function") == 50
    assert value(recorder, "predictions_in_progress", "m") == 0
    seen = recorder.store.families["prediction_probability"].children[("m",)]
    assert sum(seen.counts) == 100
    assert seen.total == pytest.approx(2 * loud[0][:, 1].sum())
    stakes = recorder.store.families["kelly_fraction_ratio"].children
    assert sum(stakes["s", "short"].counts) == (loud[1] < 0).sum()
    assert sum(stakes["s", "long"].counts) == (loud[1] >= 0).sum()
    capped = (np.abs(loud[1]) == 0.3).sum()
    assert (value(recorder, "kelly_capped_total", "s", "max_position") or 0) == capped


@pytest.mark.parametrize("side", ["long", "short", "both"])
def test_only_what_a_limit_cuts_is_capped(recorder, side):
    """A bet on a side that is not allowed is no stake and meets no limit."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 1))
    returns = 0.02 * np.sign(X[:, 0] + rng.normal(size=500))
    fitted = KellyClassifier(LogisticRegression(), side=side, max_position=0.3)
    fitted.fit(X, returns > 0, returns=returns)
    with monitoring.scope(strategy="s"):
        positions = fitted.decision_function(X)
        single = [fitted.decision_function(row[None])[0] for row in X[:20]]

    cut = (np.abs(positions) == 0.3).sum() + (np.abs(single) == 0.3).sum()
    assert 0 < cut == value(recorder, "kelly_capped_total", "s", "max_position")


def test_a_scope_without_probabilities_counts_no_stakes(recorder, model):
    """Rows that are predicted again are staked once, by who knows what was staked."""
    X = np.random.default_rng(1).normal(size=(50, 2))
    with monitoring.scope(model="m", strategy="s", probabilities=False):
        positions = model.decision_function(X)
    recorder.record_positions("s", positions[:5], {"max_exposure": 2})
    recorder.store.snapshot()
    stakes = recorder.store.families["kelly_fraction_ratio"].children

    assert sum(stakes["s", "short"].counts) + sum(stakes["s", "long"].counts) == 5
    assert value(recorder, "kelly_capped_total", "s", "max_position") == 0
    assert value(recorder, "kelly_capped_total", "s", "max_exposure") == 2
    assert value(recorder, "prediction_rows_total", "m", "decision_function") == 50


def test_a_failed_prediction_is_counted_and_raised(recorder, model):
    """The error reaches the caller; type and part are kept, the message is not."""
    with monitoring.scope(model="m"), pytest.raises(ValueError, match="features"):
        model.predict_proba(np.zeros((1, 3)))

    assert value(recorder, "prediction_failures_total", "m", "ValueError") == 1
    assert value(recorder, "errors_total", "sizing", "ValueError") == 1
    assert value(recorder, "predictions_in_progress", "m") == 0


def test_scopes_nest_and_end(recorder, model):
    """An inner scope wins, keeps what it does not name, and ends with its block."""
    row = np.zeros((1, 2))
    with monitoring.scope(model="outer", strategy="s"):
        with monitoring.scope(model="inner"):
            model.decision_function(row)
        model.predict_proba(row)
    model.predict_proba(row)

    for name, method in (
        ("inner", "decision_function"),
        ("outer", "predict_proba"),
        ("unscoped", "predict_proba"),
    ):
        assert value(recorder, "prediction_rows_total", name, method) == 1


@given(OR_NAN, st.sampled_from([1, 2, 100, 300]), st.booleans())
def test_one_pass_counts_as_the_loop_does(values, times, is_read):
    """The vectorised histogram equals the one that counts value by value.

    Also where its buffer fills up, is read in between, and is smaller than an array.
    NaN counts in neither.
    """
    known = np.count_nonzero(~np.isnan(values))
    fast, slow = (Distribution(PROBABILITY_BUCKETS) for _ in range(2))
    for _ in range(times):
        fast.add_all(values)
        if is_read:
            assert sum(fast.counts) % max(1, known) == 0
    fast.add_all(np.repeat(values, times))
    for one in 2 * times * values.tolist():
        slow.add(one)

    assert fast.counts == slow.counts
    assert sum(fast.counts) == 2 * times * known
    assert fast.total == pytest.approx(slow.total, rel=1e-12, abs=1e-12)


@given(PROBABILITIES, st.data())
def test_calibration_counters_give_the_brier_score(values, data):
    """Sums over bins are those of the rows, and bins are those of the histogram."""
    won = data.draw(hnp.arrays(np.bool_, len(values)))
    recorder = Recorder(Store())
    recorder.record_outcomes("m", values, won)
    numbers = recorder.model("m")
    numbers.probability.add_all(values)
    recorder.store.snapshot()
    total = {
        short: [value(recorder, f"calibration_{short}_total", "m", low) for low in BINS]
        for short in ("observations", "positives", "predicted_probability")
    }

    brier = value(recorder, "calibration_squared_error_total", "m") / len(values)
    assert brier == pytest.approx(np.mean((values - won) ** 2), rel=1e-9, abs=1e-12)
    assert sum(total["observations"]) == len(values)
    assert sum(total["positives"]) == won.sum()
    assert sum(total["predicted_probability"]) == pytest.approx(values.sum())
    bins = [
        value(recorder, "prediction_probability_bin_total", "m", low) for low in BINS
    ]
    assert bins == total["observations"]


def test_a_bet_of_nobody_knows_what_leaves_the_sums_alone(recorder):
    """NaN would stay in a counter for ever."""
    recorder.record_outcomes("m", [0.5, np.nan], [True, True])

    assert value(recorder, "calibration_squared_error_total", "m") == 0.25
    assert value(recorder, "calibration_observations_total", "m", "0.9") == 0


def test_labels_are_capped_and_it_shows(recorder):
    """Values beyond the cap share "other", lose nothing, and are counted."""
    cap = LABELS["model"].cap
    for number in range(cap + 5):
        recorder.record_outcomes(f"model{number}", [0.5], [True])
    family = recorder.store.families["calibration_squared_error_total"]

    assert len(family.children) == cap + 1
    assert sum(child.value for child in family.children.values()) == (cap + 5) * 0.25
    assert family.children[("other",)].value == 5 * 0.25
    dropped = recorder.store.families["exporter_dropped_label_values_total"].children
    assert dropped[(family.metric.name,)].value >= 5


def test_known_label_sets_exist_at_zero(recorder):
    """What can happen is there before it happens, so that its first time shows."""
    recorder.store.announce(model=("m",), strategy=("s",), symbol=("A", "B"))

    assert value(recorder, "leakage_violations_total", "m", "overlap") == 0
    assert value(recorder, "signals_total", "s", "B", "short") == 0
    assert value(recorder, "retrain_runs_total", "m", "failure") == 0
    assert value(recorder, "errors_total", "datasets", "PoolTimeoutError") == 0
    assert value(recorder, "errors_total", "signals", "ModelNotFoundError") == 0
    assert value(recorder, "model_trained_timestamp_seconds", "m") is None


def test_known_errors_are_errors_and_fit_under_the_cap():
    """None is misspelt, and all of them leave room for others."""
    names = {name for errors in KNOWN_ERRORS.values() for name in errors}
    for name in names:
        places = (skatra.exceptions, builtins, sqlite3, sklearn.exceptions)
        assert any(hasattr(place, name) for place in places), name
    assert len(names) <= LABELS["error_type"].cap - 5


def test_predictions_of_threads_are_counted_once_while_others_read(recorder):
    """Every row and every value counts, whoever reads and whatever callers change."""
    rng = np.random.default_rng(0)
    batches = [rng.random((n, 2)) for n in (1, 2, 20, 300, 5000) * 40]

    def predict(name):
        with monitoring.scope(model=name, strategy="s"):
            for batch in batches:
                method = "predict_proba"
                recorder.predict(method, np.copy, batch)[:] = 7.0
                stakes = recorder.predict("decision_function", np.copy, batch[:, 1])
                stakes[:] = 7.0

    threads = [threading.Thread(target=predict, args=("m",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        recorder.store.snapshot()
    for thread in threads:
        thread.join()
    rows = 4 * sum(map(len, batches))
    total = 4 * sum(batch[:, 1].sum() for batch in batches)

    for method in ("predict_proba", "decision_function"):
        assert value(recorder, "prediction_rows_total", "m", method) == rows
        calls = recorder.store.families["prediction_duration_seconds"].children
        assert sum(calls["m", method].counts) == 4 * len(batches)
    for short, labels in (
        ("prediction_probability", ("m",)),
        ("kelly_fraction_ratio", ("s", "long")),
    ):
        found = recorder.store.families[short].children[labels]
        assert sum(found.counts) == rows
        assert found.total == pytest.approx(total, rel=1e-12)


def test_calls_under_way_show_also_of_models_beyond_the_cap(recorder):
    """A scrape within a call sees it, under "other" where names have run out."""
    seen = []

    def look(X):
        seen.append(value(recorder, "predictions_in_progress", labels))
        return X

    for number in range(LABELS["model"].cap + 3):
        labels = f"m{number}" if number < LABELS["model"].cap else "other"
        with monitoring.scope(model=f"m{number}"):
            recorder.predict("predict_proba", look, np.full((1, 2), 0.5))

    assert seen == [1.0] * len(seen)
    for name in ("m0", "other"):
        assert value(recorder, "predictions_in_progress", name) == 0
    assert value(recorder, "prediction_rows_total", "other", "predict_proba") == 3


def test_what_is_counted_while_the_lock_is_held_is_counted(recorder):
    """Finalisers and handlers of signals run anywhere, also inside of an update."""

    class Counting(str):
        __slots__ = ()

        def __hash__(self):
            monitoring_ended(recorder)
            return super().__hash__()

    def monitoring_ended(found):
        found.store.observe("retrain_duration_seconds", ("late",), 1.0)

    done = threading.Thread(
        target=lambda: recorder.store.add("audits_total", (Counting("x"),)), daemon=True
    )
    done.start()
    done.join(20)

    assert not done.is_alive()
    assert value(recorder, "audits_total", "x") == 1
    assert recorder.store.families["retrain_duration_seconds"].children["late",].counts


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_no_calls_and_no_lock_of_its_parent(recorder):
    """Its parent's threads go on there, not here, and no half of an update is seen."""
    inside, done = threading.Event(), threading.Event()

    def slow(X):
        inside.set()
        done.wait(60)
        return X

    def call():
        with monitoring.scope(model="m"):
            recorder.predict("predict_proba", slow, np.full((1, 2), 0.5))

    def hammer():
        while not done.is_set():
            recorder.store.add("audits_total", ("x",))

    def seen_by_a_thread():
        busy = []
        reader = threading.Thread(
            target=lambda: busy.append(value(recorder, "predictions_in_progress", "m"))
        )
        reader.start()
        reader.join()
        return busy

    threads = [threading.Thread(target=target) for target in (call, hammer)]
    for thread in threads:
        thread.start()
    inside.wait(60)
    codes = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork
        for _ in range(20):
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                os._exit(seen_by_a_thread() != [0.0])
            codes.append(os.waitpid(child, 0)[1])
    busy = value(recorder, "predictions_in_progress", "m")
    done.set()
    for thread in threads:
        thread.join()

    assert codes == [0] * 20
    assert busy == 1
    assert value(recorder, "predictions_in_progress", "m") == 0


def test_a_model_that_is_replaced_every_night_fills_no_label():
    """Versions that are forgotten leave room for those to come."""
    monitoring.enable(models=["m"])
    for number in range(2 * LABELS["version"].cap):
        monitoring.record_model(
            "m", version=f"run{number}", algorithm="LGBMClassifier", trained=1.0
        )
    text = monitoring.render()
    monitoring.disable()

    assert f'model="m",version="run{number}"}} 1.0' in text
    assert 'values_total{metric="skatra_model_info"} 0.0' in text


def test_threads_lose_no_update(recorder):
    """Ten threads add up."""
    threads = [
        threading.Thread(
            target=lambda: [
                recorder.store.add("audits_total", ("x",)) for _ in range(500)
            ]
        )
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert value(recorder, "audits_total", "x") == 5000


def test_databases_and_pools_report(recorder, tmp_path):
    """Blocks, statements, changed rows, waits, timeouts and errors are counted."""
    name = "x.db"
    with Database(tmp_path / name, create=True) as db:
        db.write_run("first", {})
        db.write_run("second", {})
        db.runs()
        before = value(recorder, "db_pool_timeouts_total", name)
        ready, done = threading.Event(), threading.Event()

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

    assert before == 0
    assert value(recorder, "db_pool_timeouts_total", name) == 1
    assert value(recorder, "errors_total", "datasets", "PoolTimeoutError") == 1
    assert value(recorder, "db_rows_written_total", name) == 2
    assert value(recorder, "db_statements_total", name, "execute") > 4
    blocks = recorder.store.families["db_query_duration_seconds"].children
    assert sum(blocks[name, "write"].counts) == 2
    assert sum(blocks[name, "read"].counts) >= 1


def test_splits_and_audits_report_and_only_real_leaks_alarm(recorder):
    """KFold audited as a warning example is no alarm; a guarded leak is one."""
    days = pd.date_range("2026-01-05", periods=30, freq="D")
    label_times = pd.Series(days + pd.Timedelta("2D"), index=days)
    X = np.zeros((30, 1))
    audit_splits(PurgedKFold(3, embargo="1D"), X, label_times=label_times)
    naive = audit_splits(KFold(3), X, label_times=label_times)

    assert value(recorder, "cv_splits_total", "PurgedKFold") == 3
    rows = [
        value(recorder, "cv_split_rows_total", "PurgedKFold", role)
        for role in ("train", "test", "dropped")
    ]
    assert sum(rows) == 90
    assert rows[1] == 30
    assert (
        value(recorder, "audit_leaking_pairs_total", "KFold") == naive.n_leaking_pairs
    )
    assert value(recorder, "leakage_violations_total", "unscoped", "overlap") in (
        None,
        0,
    )
    with monitoring.scope(model="m"), pytest.raises(LeakageError):
        naive.raise_for_leaks()
    assert (
        value(recorder, "leakage_violations_total", "m", "overlap")
        == naive.n_leaking_pairs
    )


def test_retraining_reports_how_it_ended():
    """Success, refusal and failure are told apart; a failure is raised."""
    monitoring.enable(models=["r"])
    with monitoring.observe_retraining("r"), monitoring.observe_stage("r", "fit"):
        pass
    with monitoring.observe_retraining("r") as run:
        run["outcome"] = "refused"
    with pytest.raises(RuntimeError), monitoring.observe_retraining("r"):
        raise RuntimeError
    text = monitoring.render()
    monitoring.disable()

    for outcome in ("success", "refused", "failure"):
        assert f'retrain_runs_total{{model="r",outcome="{outcome}"}} 1.0' in text
    assert 'skatra_retrain_in_progress{model="r"} 0.0' in text
    assert 'retrain_stage_duration_seconds_count{model="r",stage="fit"} 1.0' in text


def test_a_textfile_remembers_when_runs_leaked_and_did_not_end(tmp_path, monkeypatch):
    """The next process goes on from both times; an ended run takes its own back."""
    file = tmp_path / "run.prom"
    found = []
    for leaks in (1, 0):
        monkeypatch.setattr(monitoring._instruments, "_recorder", None)
        monitoring.enable(models=["r"])
        monitoring.resume_textfile(file)
        monitoring.begin_retraining("r")
        monitoring.record_leakage("r", "overlap", leaks)
        monitoring.write_textfile(file)
        found.append(times_of(file.read_text(), "r"))
    with monitoring.observe_retraining("r"):
        pass
    ended = times_of(monitoring.render(), "r")
    monitoring.disable()

    assert found[0] == found[1]
    assert [time.time() - moment < 60 for moment in found[0]] == [True, True]
    assert ended == [0, found[0][1]]


def test_a_round_that_got_through_stands_when_rounds_begin_anew(tmp_path, monkeypatch):
    """A process that starts again and again does not make its last success young."""
    file = tmp_path / "signals.prom"
    last = re.compile(r"(?m)^(skatra_signal_round_timestamp_seconds\S+) (\S+)$")
    monkeypatch.setattr(monitoring._instruments, "_recorder", None)
    monitoring.enable(strategies=["k"])
    monitoring.expect_rounds("k", 60)
    made = monitoring.write_textfile(file).read_text()
    file.write_text(last.sub(r"\1 1000.0", made))
    monkeypatch.setattr(monitoring._instruments, "_recorder", None)
    monitoring.enable(strategies=["k"])
    monitoring.resume_textfile(file)
    monitoring.expect_rounds("k", 30)
    resumed = last.search(monitoring.render())[2]
    with monitoring.time_signals("k"):
        pass
    after = last.search(monitoring.render())[2]
    monitoring.disable()

    assert float(last.search(made)[2]) == pytest.approx(time.time(), abs=60)
    assert float(resumed) == 1000
    assert float(after) == pytest.approx(time.time(), abs=60)


@pytest.mark.parametrize("ends", ["success", "failure"])
def test_the_recipe_for_a_script_of_ones_own_ends_what_it_began(
    tmp_path, monkeypatch, ends
):
    """The README's lines, as they stand: overdue is only a run that never ended."""
    readme = Path(__file__).parents[2] / "grafana" / "README.md"
    recipe = re.search(r"(?s)  ```python\n(.*?)  ```", readme.read_text("utf-8"))[1]
    file, seen = tmp_path / "own.prom", []
    since = re.compile(r"(?m)^skatra_retrain_unfinished_since_\w+{.*?} (\S+)$")
    monkeypatch.setattr(monitoring._instruments, "_recorder", None)

    def work():
        seen.extend(map(float, since.findall(file.read_text())))
        if ends == "failure":
            raise ZeroDivisionError

    with contextlib.suppress(ZeroDivisionError):
        exec(textwrap.dedent(recipe), {"model": "own", "path": file, "work": work})  # noqa: S102
    page = file.read_text()
    monitoring.disable()

    assert seen == [pytest.approx(time.time(), abs=60)]
    assert since.findall(page) == ["0.0"]
    assert f'skatra_retrain_runs_total{{model="own",outcome="{ends}"}} 1.0' in page


def times_of(page, model):
    """Return since when no run has ended, and when the last overlap was found."""
    of = f'_timestamp_seconds{{check="overlap",model="{model}"}}'
    return [
        float(re.search(rf"^skatra_{re.escape(name)} (\S+)$", page, re.MULTILINE)[1])
        for name in (
            f'retrain_unfinished_since_timestamp_seconds{{model="{model}"}}',
            f"leakage_last{of}",
        )
    ]
