"""Laws of ``skatra serve-metrics`` and of the live demo."""

import threading

import numpy as np
import pytest

from skatra import monitoring
from skatra.cli._app import run
from skatra.cli._live import MODEL, LiveDemo


def test_it_serves_a_database_until_its_time_is_over(tmp_path, capsys):
    """The address is printed; a missing database is no error."""
    missing = str(tmp_path / "none.db")
    options = ["--port", "0", "--seconds", "0.1"]
    code = run(["serve-metrics", "--database", missing, *options])
    monitoring.disable()

    assert code == 0
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")


def test_the_network_is_refused_in_one_line(capsys):
    """A public address without password and TLS is bad input."""
    public = ["--host", "0.0.0.0", "--port", "0"]  # noqa: S104
    code = run(["serve-metrics", "--database", "market.db", *public])

    assert code == 2
    assert "credentials" in capsys.readouterr().err


def test_an_empty_credentials_file_is_refused(tmp_path):
    """No password is not a password."""
    path = tmp_path / "secret"
    path.write_text("\n")

    options = ["--database", "market.db", "--credentials-file", str(path)]
    assert run(["serve-metrics", *options]) == 2


def test_no_database_is_refused(capsys):
    """An exporter of nothing would look healthy for ever."""
    assert run(["serve-metrics", "--port", "0"]) == 2
    assert "--database" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_the_live_demo_moves_every_kind_of_metric(tmp_path):
    """Days pass: predictions, signals, settlements, retraining and rows appear."""
    demo = LiveDemo(tmp_path, retrain_every=10_000)
    for _ in range(30):
        demo.tick()
    text = monitoring.render()
    monitoring.disable()

    assert demo.db.check() == []
    stored = demo.db.predictions(MODEL)
    assert stored["ret"].notna().any()
    for start in (
        'skatra_signals_total{side="long",strategy="kelly"',
        f'skatra_retrain_runs_total{{model="{MODEL}",outcome="failure"}} 0.0',
        f'skatra_prediction_rows_total{{method="decision_function",model="{MODEL}"}}',
        'skatra_db_rows_written_total{database="live.db"}',
    ):
        assert start in text


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_a_refused_run_of_the_demo_changes_nothing_and_an_error_ends_it(tmp_path):
    """The model served before goes on; a trader that cannot go on says so."""
    demo = LiveDemo(tmp_path, retrain_every=10_000)
    served, before = demo.model, monitoring.render()
    now = demo.times[demo.position]
    known = demo.rows[demo.rows["t1"] < now].tail(4500).index.get_level_values(1)
    is_early = demo.rows.index.get_level_values(1) < known[len(known) // 2]
    demo.rows[demo.names] = 0.0
    demo.rows["label"] = np.where(
        is_early, 1, -1
    )  # each fold's majority is the others'
    demo.retrain()
    after = monitoring.render()
    demo.db.close()
    ended = threading.Event()
    demo.run(ended, 10.0)
    monitoring.disable()

    assert demo.model is served
    for name in ("skatra_model_", "skatra_prediction_probability_reference"):
        said = [
            [line for line in page.splitlines() if line.startswith(name)]
            for page in (before, after)
        ]
        assert said[0] == said[1] != []
    assert ended.is_set()
    assert demo.error is not None
