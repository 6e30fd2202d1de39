"""Laws of the numbers where data or callers are strange: nothing lies for ever."""

import os
import tempfile
import timeit
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from skatra import monitoring
from skatra.datasets import Database
from skatra.exceptions import LeakageError, PoolTimeoutError
from skatra.model_selection import PurgedKFold, audit_splits
from skatra.monitoring import population_stability_index
from skatra.monitoring._catalogue import BINS, LABELS, OTHER
from skatra.monitoring._recorder import Recorder
from skatra.monitoring._store import Store
from skatra.sizing import KellyClassifier

STRANGE = st.sampled_from([0.0, 0.3, 0.7, 1.0, np.nan, np.inf, -np.inf])


@pytest.fixture
def enabled():
    """Count in this process for one test."""
    monitoring.enable()
    yield
    monitoring.disable()


def values(recorder, short, **wanted):
    """Return labels -> number of a family, of those with the labels wanted."""
    recorder.store.snapshot()
    family = recorder.store.families[short]
    return {
        labels: child.value
        for labels, child in family.children.items()
        if wanted.items()
        <= dict(zip(family.metric.labels, labels, strict=True)).items()
    }


def dropped(recorder):
    """Return how many updates were dropped, of all metrics."""
    return sum(values(recorder, "exporter_dropped_label_values_total").values())


def frame(prefix, n, rng):
    """Return as many features, of 200 rows."""
    names = [f"{prefix}{number}" for number in range(n)]
    return pd.DataFrame(rng.normal(size=(200, n)), columns=names)


def drift(recorder, feature):
    """Return the drift of a feature of the model "m"."""
    live, base = (
        values(recorder, short, model="m", feature=feature)
        for short in ("feature_bin_total", "feature_reference_bin_ratio")
    )
    keys = [("m", feature, low) for low in BINS]
    return population_stability_index(
        [live[key] for key in keys], [base[key] for key in keys]
    )


@pytest.mark.parametrize("n", [3, 25])
def test_rows_of_training_have_not_drifted(recorder, n):
    """Features beyond the cap are left out and said to be, once, and mix nowhere."""
    cap = LABELS["feature"].cap
    for prefix in ("f", "g"):  # a new champion learned other features
        X = frame(prefix, n, np.random.default_rng(0))
        before = dropped(recorder)
        for _ in range(3):  # each round says what is served
            recorder.set_reference("m", [0.5], X)
        recorder.record_features("m", X)
        named = {labels[1] for labels in values(recorder, "feature_bin_total")}

        assert named == set(X.columns[:cap])
        assert dropped(recorder) - before == max(0, n - cap)
        for name in named:
            assert drift(recorder, name) == pytest.approx(0, abs=1e-9)


def test_features_that_are_no_numbers_are_left_out(recorder):
    """Text, all missing and no rows raise nothing and hide no other column."""
    X = frame("f", 2, np.random.default_rng(0))
    strange = X.assign(text="a", missing=np.nan)
    recorder.set_reference("m", [0.5], strange)
    recorder.set_reference("none", [0.5], strange.iloc[:0])
    recorder.record_features("m", strange.assign(f1="b"))

    assert drift(recorder, "f0") == pytest.approx(0, abs=1e-9)
    seen = values(recorder, "feature_bin_total")
    assert {labels[:2] for labels in seen} == {("m", "f0"), ("m", "f1")}
    assert sum(seen.values()) == len(X)


@given(st.lists(STRANGE, max_size=8))
def test_a_reference_is_of_what_is_finite(probabilities):
    """Shares sum to one, or there are none; a reference that was goes."""
    recorder = Recorder(Store())
    recorder.set_reference("m", [0.5], None)
    recorder.set_reference("m", probabilities, None)
    shares = values(recorder, "prediction_probability_reference_bin_ratio")
    known = [p for p in probabilities if np.isfinite(p)]

    assert sum(shares.values()) == pytest.approx(1.0 if known else 0.0)
    whole = recorder.store.families["prediction_probability_reference"].children
    assert sum(sum(child.counts) for child in whole.values()) == len(known)


@given(st.lists(st.tuples(STRANGE, STRANGE), max_size=20))
def test_what_is_not_finite_leaves_calibration_alone(pairs):
    """Sums would be NaN for ever."""
    recorder = Recorder(Store())
    said, won = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    recorder.record_outcomes("m", said, won)
    known = np.isfinite(said) & np.isfinite(won)
    squared = values(recorder, "calibration_squared_error_total")["m",]

    assert squared == pytest.approx(((said[known] - won[known]) ** 2).sum())
    seen = values(recorder, "calibration_observations_total")
    assert sum(seen.values()) == known.sum()
    positives = values(recorder, "calibration_positives_total")
    assert sum(positives.values()) == pytest.approx(won[known].sum())


@pytest.mark.usefixtures("enabled")
def test_outcomes_of_other_rows_are_refused():
    """Which of them belong together, nobody knows."""
    with pytest.raises(ValueError, match="one length, got 2 and 1"):
        monitoring.record_outcomes("m", [0.5, 0.6], [True])


@settings(max_examples=20)
@given(st.sampled_from(["NaN", "-5", "+Inf", "1e400", "2.5"]))
def test_a_damaged_textfile_poisons_no_sum(number):
    """What cannot be a counter's value is left out, in a histogram, too."""
    metric = "skatra_retrain_duration_seconds"
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(monitoring._instruments, "_recorder", None)
        monitoring.enable(models=["m"])
        with monitoring.observe_retraining("m"):
            pass
        path = monitoring.write_textfile(Path(folder, "a.prom"))
        lines = [
            f"{line.rsplit(' ', 1)[0]} {number}"
            if line.startswith((f"{metric}_sum", "skatra_audits", "skatra_calibration"))
            else line
            for line in path.read_text().splitlines()
        ]
        path.write_text("\n".join(lines) + "\n")
        patch.setattr(monitoring._instruments, "_recorder", None)
        monitoring.enable(models=["m"])
        monitoring.resume_textfile(path)
        text = monitoring.render()
        monitoring.disable()
    found = [
        sample.value
        for family in text_string_to_metric_families(text)
        if family.type != "gauge"
        for sample in family.samples
        if sample.name.startswith("skatra_")
    ]

    assert all(0 <= value < np.inf for value in found)
    assert f'calibration_squared_error_total{{model="m"}} {number}' in text or (
        number != "2.5"
    )


def test_a_model_beyond_the_cap_costs_what_others_do(recorder):
    """Its name is looked up once, and dropped once."""
    row = np.array([[0.4, 0.6]])

    def cost(name):
        def call():
            with monitoring.scope(model=name, strategy=name):
                recorder.predict("predict_proba", lambda _: row, None)
                recorder.predict("decision_function", lambda _: row[0], None)

        call()
        return min(timeit.repeat(call, number=200, repeat=5))

    within = cost("m0")
    for number in range(1, 30):
        cost(f"m{number}")
    before = dropped(recorder)

    assert cost("m29") < 20 * within
    assert dropped(recorder) == before
    rows = values(recorder, "prediction_rows_total", method="predict_proba")
    assert sum(rows.values()) == 30 * 1001 + 1001 * 1


@pytest.mark.usefixtures("enabled")
def test_signals_of_symbols_beyond_the_cap_are_counted_and_dropped_once_each():
    """One update is one update, whatever is announced beside it."""
    found = monitoring._instruments.recorder()
    symbols = [f"S{number}" for number in range(LABELS["symbol"].cap + 50)]
    before = dropped(found)
    signals = sum(values(found, "signals_total", strategy="many").values())
    for _ in range(3):
        monitoring.record_signals("many", {(name, "long"): 1 for name in symbols})
    made = values(found, "signals_total", strategy="many")
    other = made["many", OTHER, "long"]

    assert sum(made.values()) - signals == 3 * len(symbols)
    assert dropped(found) - before == other >= 150


@pytest.mark.usefixtures("enabled")
def test_a_round_without_signals_makes_none_now():
    """Counts of zero are no signals."""
    monitoring.record_signals("quiet", {("S", "long"): 0})
    text = monitoring.render()

    assert 'signal_last_timestamp_seconds{strategy="quiet"}' not in text


def test_an_error_within_an_error_is_one(recorder):
    """A position asks for a probability, which fails; two calls fail by one error."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    model = KellyClassifier(LogisticRegression())
    model.fit(X, X[:, 0] > 0, returns=0.01 * X[:, 0])
    for times in (1, 2):
        with monitoring.scope(model="m"), pytest.raises(ValueError, match="features"):
            model.decision_function(np.zeros((1, 3)))
        errors = values(recorder, "errors_total", component="sizing")
        assert errors["sizing", "ValueError"] == times


class PurgedByHand(PurgedKFold):
    """Says that it purges."""

    def split(self, X, y=None, groups=None, label_times=None):
        """Yield a split that purges nothing."""
        del y, groups, label_times
        yield np.arange(len(X) // 2), np.arange(len(X) // 2, len(X))


@pytest.mark.parametrize("cv", [PurgedByHand(2), KFold(2)])
def test_a_leak_that_stops_a_run_counts_once(recorder, cv):
    """Whether its audit alarmed already or not; the error counts, too."""
    days = pd.date_range("2026-01-05", periods=30, freq="D")
    label_times = pd.Series(days + pd.Timedelta("2D"), index=days)
    with monitoring.scope(model="m"):
        audit = audit_splits(cv, np.zeros((30, 1)), label_times=label_times)
        with pytest.raises(LeakageError):
            audit.raise_for_leaks()
    leaks = values(recorder, "leakage_violations_total", model="m", check="overlap")

    assert sum(leaks.values()) == audit.n_leaking_pairs > 0
    errors = values(recorder, "errors_total", component="model_selection")
    assert errors == {("model_selection", "LeakageError"): 1}


def fail(block):
    """Raise inside a block that reads or writes."""
    with block() as connection:
        connection.execute("SELECT * FROM runs")
        raise ZeroDivisionError


def wait_in_vain(db):
    """Ask for the writer that somebody has."""
    with db.pool.get_connection(readonly=False, timeout=0.05):
        pass


def test_blocks_that_raise_and_waits_in_vain_are_timed(recorder, tmp_path):
    """Slow failures would be missing where one looks for what is slow."""
    with Database(tmp_path / "x.db", create=True) as db:
        db.write_run("first", {})
        before = _blocks(recorder)
        for block in (db._writing, db._reading):
            with pytest.raises(ZeroDivisionError):
                fail(block)
        written = values(recorder, "db_rows_written_total")["x.db",]
        with db._writing(), ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(wait_in_vain, db)
        assert isinstance(waiting.exception(), PoolTimeoutError)
    after = _blocks(recorder)

    assert (after["read"] - before["read"], written) == (1, 1)
    assert after["write"] - before["write"] == 2
    waits = recorder.store.families["db_pool_acquire_duration_seconds"]
    assert waits.children["x.db",].total >= 0.05


def _blocks(recorder):
    found = recorder.store.families["db_query_duration_seconds"].children
    return {
        labels[1]: sum(child.counts)
        for labels, child in found.items()
        if labels[0] == "x.db"
    }


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_counts_from_zero(recorder):
    """What its parent counted is on the parent's page."""
    recorder.record_outcomes("m", [0.5], [True])
    recorder.predict("predict_proba", lambda _: np.array([[0.4, 0.6]]), None)
    recorder.store.set("retrain_in_progress", ("m",), 1.0)
    recorder.store.set("model_training_rows", ("m",), 7.0)
    under_way = (
        "signal_interval_seconds",
        "signal_round_timestamp_seconds",
        "retrain_unfinished_since_timestamp_seconds",
    )
    for short in under_way:
        recorder.store.set(short, ("m",), 60.0)
    recorder.set_reference("m", [0.5, 0.6], None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        counted = [
            labels
            for metric, rows in recorder.store.snapshot()
            if metric.kind != "gauge" or metric.short.endswith("in_progress")
            for labels, value in rows
            if metric.short != "prediction_probability_reference"
            if (sum(value[0]) if metric.kind == "histogram" else value)
        ]
        rows = values(recorder, "model_training_rows")["m",]
        whole = recorder.store.families["prediction_probability_reference"]
        kept = rows == 7 and sum(whole.children["m",].counts) == 2
        due = any(values(recorder, short) for short in under_way)
        recorder.store.set(under_way[0], ("n",), 30.0)
        own = values(recorder, under_way[0]) == {("n",): 30.0}
        os._exit(bool(counted) or not kept or due or not own)

    assert os.waitpid(child, 0)[1] == 0
    assert values(recorder, "calibration_observations_total")["m", "0.5"] in (0, 1)
    assert sum(values(recorder, "calibration_observations_total").values()) == 1
