"""Drift and calibration by a real Prometheus equal Python's to 1e-9."""

import importlib.util
import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skatra import monitoring
from skatra.monitoring._catalogue import N_BINS
from skatra.monitoring._recorder import bins_of

pytest.importorskip("yaml", reason="needs the grafana group")
pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="needs Debian's prometheus package"
)

MODEL = "equality"
BUCKETS = 2 * N_BINS
BY = '{model="equality"}'


def _check():
    place = Path(__file__).parents[2] / ".ci" / "check_dashboard.py"
    spec = importlib.util.spec_from_file_location("check_dashboard", place)
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Prefer using dashboardv2")
        spec.loader.exec_module(module)
    return module


def counts(values, n):
    """Return how many values lie in each of n equal bins, upper edge included."""
    edges = np.round(np.arange(1, n) / n, 2)
    return np.bincount(np.searchsorted(edges, values), minlength=n)


def test_promql_equals_python():
    """PSI, KS, Brier score, win rates and feature drift over a window."""
    check = _check()
    rng = np.random.default_rng(3)
    reference, live = rng.beta(4, 4, 500), rng.beta(5, 3, 400)
    won = rng.random(400) < live
    train = pd.DataFrame({"x": rng.normal(size=500)})
    seen = pd.DataFrame({"x": rng.normal(0.7, 1.2, size=400)})
    with monitoring.serve_metrics(port=0) as exporter:
        monitoring.set_reference(MODEL, reference, train)
        with check.Prometheus(f"127.0.0.1:{exporter.port}") as prometheus:
            prometheus.wait_for("count_over_time(up[1m]) > 2")
            recorder = monitoring._instruments.recorder()
            with monitoring.scope(model=MODEL):
                recorder.predict(
                    "predict_proba", lambda _: np.column_stack([1 - live, live]), None
                )
            monitoring.record_features(MODEL, seen)
            monitoring.record_outcomes(MODEL, live, won)
            last = "skatra_calibration_observations_total"
            prometheus.wait_for(f"sum({last}{BY}) == 400")
            prometheus.wait_for(f"skatra:feature:psi1h{BY} > 0")
            time.sleep(2)
            ask = prometheus.value
            said = [
                ask(f"skatra:prediction_probability:psi5m{BY}"),
                ask(f"skatra:prediction_probability:ks5m{BY}"),
                ask(f"skatra:feature:psi1h{BY}"),
                *(
                    ask(
                        f"sum(increase(skatra_calibration_{short}_total{BY}[5m])) / "
                        f"sum(increase(skatra_calibration_observations_total{BY}[5m]))"
                    )
                    for short in (
                        "squared_error",
                        "positives",
                        "predicted_probability",
                    )
                ),
            ]
    monitoring.disable()
    cuts = np.quantile(train["x"], np.arange(1, N_BINS) / N_BINS)
    base, now = (
        np.bincount(np.searchsorted(cuts, f["x"], side="right"), minlength=N_BINS)
        for f in (train, seen)
    )
    binned = [np.bincount(bins_of(v), minlength=N_BINS) for v in (live, reference)]

    assert said == pytest.approx(
        [
            monitoring.population_stability_index(*binned),
            monitoring.kolmogorov_smirnov(
                counts(live, BUCKETS), counts(reference, BUCKETS)
            ),
            monitoring.population_stability_index(now, base),
            np.mean((live - won) ** 2),
            won.mean(),
            live.mean(),
        ],
        rel=1e-9,
    )
