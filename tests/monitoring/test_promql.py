"""Drift and calibration by a real Prometheus equal Python's to 1e-9."""

import contextlib
import functools
import http.server
import importlib.util
import re
import shutil
import subprocess
import sys
import threading
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
MEANS = ("squared_error", "positives", "predicted_probability")
REFERENCE = [round(0.05 + 0.09 * k, 2) for k in range(10)] * 5
WORKER = """
import sys
import numpy as np
from skatra import monitoring
with monitoring.serve_metrics(port=0) as server:
    monitoring.set_reference("equality", {reference})
    print(server.port, flush=True)
    for line in sys.stdin:
        rng = np.random.default_rng(int(line))
        p = rng.beta(5, 3, 200)
        with monitoring.scope(model="equality"):
            monitoring._instruments.recorder().predict(
                "predict_proba", lambda _: np.column_stack([1 - p, p]), None)
        monitoring.record_outcomes("equality", p, rng.random(200) < p)
"""


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
    """Recorded PSI and KS, and Brier score and win rates over any window."""
    check = _check()
    rng = np.random.default_rng(3)
    reference, live = rng.beta(4, 4, 500), rng.beta(5, 3, 400)
    won = rng.random(400) < live
    train = pd.DataFrame({"x": rng.normal(size=500)})
    seen = pd.DataFrame({"x": rng.normal(0.7, 1.2, size=400)})
    with monitoring.serve_metrics(port=0) as exporter:
        monitoring.set_reference(MODEL, reference, train)
        with check.Prometheus(
            f"127.0.0.1:{exporter.port}", rules=check.RULES
        ) as prometheus:
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
                        f"sum(increase(skatra_calibration_{short}_total{BY}[{span}])) /"
                        f"sum(increase({last}{BY}[{span}]))"
                    )
                    for span in ("1m", "5m", "1d")
                    for short in MEANS
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
            *3 * [np.mean((live - won) ** 2), won.mean(), live.mean()],
        ],
        rel=1e-9,
    )


def drawn(*seeds):
    """Return the probabilities and outcomes that workers draw of these seeds."""
    p, won = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        p.append(rng.beta(5, 3, 200))
        won.append(rng.random(200) < p[-1])
    return np.concatenate(p), np.concatenate(won)


def python_says(*seeds):
    """Return PSI, KS, Brier score, win rate and mean probability of these seeds."""
    p, won = drawn(*seeds)
    binned = [np.bincount(bins_of(v), minlength=N_BINS) for v in (p, REFERENCE)]
    return [
        monitoring.population_stability_index(*binned),
        monitoring.kolmogorov_smirnov(counts(p, BUCKETS), counts(REFERENCE, BUCKETS)),
        np.mean((p - won) ** 2),
        won.mean(),
        p.mean(),
    ]


def promql_says(check, prometheus, since):
    """Return the same by PromQL: recorded rules, with increases since a moment."""
    now = time.time()
    ago = int(now - since) + 1

    def spoken(query):
        return re.sub(r"increase\((\w+)\[\w+\]\)", rf"(\1 - \1 offset {ago}s)", query)

    def settled(short):
        return f"sum(increase(skatra_calibration_{short}_total[5m]))"

    queries = [
        check.RECORDS["skatra:prediction_probability:psi5m"],
        check.RECORDS["skatra:prediction_probability:ks5m"],
        *(f"{settled(short)} / {settled('observations')}" for short in MEANS),
    ]
    return [prometheus.value(spoken(query), time=now) for query in queries]


def test_promql_equals_python_over_several_processes():
    """Two processes count on their own; sums over both equal Python's on all rows.

    `increase` extrapolates each process to the edges of the window by its own scrape
    times, a few per mille; differences with an offset are exact.
    """
    check = _check()
    code = WORKER.format(reference=REFERENCE)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    try:
        targets = [f"127.0.0.1:{int(w.stdout.readline())}" for w in workers]
        last = "sum(skatra_calibration_observations_total)"
        with check.Prometheus(*targets) as prometheus:
            prometheus.wait_for("count(skatra_build_info) == 2")
            time.sleep(2)
            start = time.time()
            for seeds in ((1, 2), (3, 4)):
                middle = time.time()
                for worker, seed in zip(workers, seeds, strict=True):
                    worker.stdin.write(f"{seed}\n")
                    worker.stdin.flush()
                prometheus.wait_for(f"{last} == {200 * seeds[-1]}")
                time.sleep(2)
            said = [promql_says(check, prometheus, t) for t in (start, middle)]
    finally:
        for worker in workers:
            worker.communicate()

    assert said[0] == pytest.approx(python_says(1, 2, 3, 4), rel=1e-9)
    assert said[1] == pytest.approx(python_says(3, 4), rel=1e-9)


@contextlib.contextmanager
def served(folder):
    """Serve a folder's files as node_exporter serves its textfiles."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Say nothing."""

    answer = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), answer) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_port
        server.shutdown()


def test_a_first_night_that_fails_and_one_that_never_comes_are_alarms(tmp_path):
    """Settings that cannot be read alarm at once, an old last run after eight days.

    The counter of failures was born at one, of which `increase` knows nothing.
    """
    check = _check()
    file = tmp_path / "metrics"
    firing = 'ALERTS{alertname="SkatraRetrain%s",model="champion"}'
    command = [sys.executable, "-m", "skatra", "retrain", "--config", "absent.toml"]
    command += ["--metrics-file", "skatra.prom"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    shutil.copy(tmp_path / "skatra.prom", file)
    with (
        served(tmp_path) as port,
        check.Prometheus(f"127.0.0.1:{port}", rules=check.RULES) as prometheus,
    ):
        prometheus.wait_for(firing % "Failing")
        counted = prometheus.value(
            'skatra_retrain_runs_total{model="champion",outcome="failure"}'
        )
        overdue = prometheus.ask("query", query=firing % "Overdue")["result"]
        ended = r'(?m)^(skatra_retrain_last_end_\w+{.*"failure"}) .*$'
        text = re.sub(ended, rf"\g<1> {time.time() - 9 * 86400}", file.read_text())
        file.write_text(text)
        prometheus.wait_for(firing % "Overdue")

    assert done.returncode != 0
    assert counted == 1
    assert overdue == []
