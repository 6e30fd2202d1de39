"""What signals count is what they wrote."""

from collections import Counter

import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families

from skatra import monitoring
from skatra.datasets import Database
from skatra.exceptions import StaleDataError
from skatra.retraining import make_signals, promote_model
from skatra.retraining._registry import read_card


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
    flat = (stored["position"] == 0).sum()
    assert made["signals_suppressed_total", "no_edge"] == flat
    assert made["signals_suppressed_total", "duplicate"] == 1
    assert made["signal_generation_duration_seconds_count", None] == 31
    n_features = len(small_run.rows.data.columns)
    assert made["feature_bin_total", None] == 31 * n_features
    assert made["calibration_observations_total", None] == len(settled) > 0
    assert made["calibration_positives_total", None] == won.sum()
    assert made["calibration_squared_error_total", None] == pytest.approx(
        ((settled["value"] - won) ** 2).sum()
    )


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


def test_refusals_are_counted(served):
    """Old bars are held back and the error has its name."""
    path, models = served
    before = counts()
    with pytest.raises(StaleDataError):
        make_signals(path, models, now=pd.Timestamp("2006-03-20"))

    made = counts() - before
    assert made["signals_suppressed_total", "stale_data"] == 1
    assert 'error_type="StaleDataError"' in monitoring.render()
