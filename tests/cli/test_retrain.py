"""``skatra retrain`` as cron meets it: files, signals, pipes and exit codes."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families

from skatra.datasets import Database, make_edge_bars
from skatra.retraining import STAGES, RunLock, promote_model

WORDS = [sys.executable, "-W", "error", "-m", "skatra", "retrain"]
UNFINISHED = ("retrain_unfinished_since_timestamp_seconds",)
ENVIRONMENT = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}


def run(*arguments, cwd, words=WORDS, more=None, **streams):
    """Run the command and return the finished process."""
    return subprocess.run(
        [*words, *map(str, arguments)],
        cwd=cwd,
        env=ENVIRONMENT | (more or {}),
        text=True,
        check=False,
        timeout=120,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams,
    )


@pytest.fixture
def market(tmp_path_factory):
    """Return a folder with a database and its settings."""
    folder = tmp_path_factory.mktemp("job")
    with Database(folder / "market.db", create=True) as db:
        db.write_bars(make_edge_bars(900, edge=0.5, seed=1))
    (folder / "job.toml").write_text(
        'database = "market.db"\nmodels = "models"\nn_splits = 2\nmax_holding = 5\n'
        "n_estimators = 10\nn_paths = 2\n\n[param_grid]\nnum_leaves = [5]\n"
    )
    return folder


def samples(text):
    """Return (name without prefix, labels but the model's) -> value."""
    return {
        (
            sample.name.removeprefix("skatra_"),
            *(v for k, v in sorted(sample.labels.items()) if k != "model"),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("model", "champion") == "champion"
    }


def test_metrics_say_what_happened(market, tmp_path):
    """The textfile goes on over nights that end in every way there is."""
    job = ["--config", market / "job.toml", "--no-report", "-j", "1"]
    job += ["--models", tmp_path / "models", "--metrics-file", tmp_path / "run.prom"]

    def night(*more, code):
        done = run(*job, *more, cwd=market)
        assert done.returncode == code, done.stderr
        return samples((tmp_path / "run.prom").read_text())

    older = 'skatra_model_stale_timestamp_seconds{model="champion"} 1.0\n'
    (tmp_path / "run.prom").write_text(older)
    promoted = night("--force", code=0)
    again = night(code=0)
    refused = night("--cost", "0.5", code=10)
    failed = night("--symbols", "ABSENT", code=2)
    unread = night("--config", "absent.toml", code=2)
    undrawn = night("--log", tmp_path / "absent" / "log", code=2)
    (tmp_path / "run.prom").unlink()
    lost = night("--symbols", "ABSENT", code=2)
    bad = run(*job[:-1], "metrics.txt", cwd=market)
    (tmp_path / "run.prom").write_text("no metrics\n")
    strange = run(*job, cwd=market)

    outcomes = ("success", "refused", "failure")
    nights = {(1, 0, 0): promoted, (2, 0, 0): again, (2, 1, 0): refused}
    nights |= {(2, 1, 1): failed, (2, 1, 2): unread, (2, 1, 3): undrawn}
    for counts, found in (nights | {(0, 0, 1): lost}).items():
        runs = tuple(found["retrain_runs_total", name] for name in outcomes)
        assert runs == counts
        assert found["retrain_duration_seconds_count",] == sum(counts)
        assert found["retrain_duration_seconds_bucket", "+Inf"] == sum(counts)
        assert found["retrain_in_progress",] == 0
        assert found["model_training_rows",] > 500
        assert found["model_trained_timestamp_seconds",] > 0
        assert found["model_training_data_end_timestamp_seconds",] > 0
        assert ("model_stale_timestamp_seconds",) not in found
    for found, trained in ((promoted, 1), (refused, 2)):
        for stage in STAGES:
            several = 1 + (found is refused) * (stage in ("check", "prepare", "load"))
            times = found["retrain_stage_duration_seconds_count", stage]
            assert times == trained - 1 + several
        assert found["cv_fold_train_rows", "0"] > 0
        assert found["leakage_violations_total", "overlap"] == 0
    success, refusals, failure = (
        [
            found["retrain_last_end_timestamp_seconds", name]
            for found in (promoted, again, refused, failed, unread, undrawn, lost)
        ]
        for name in outcomes
    )
    assert success[0] < success[1] < refusals[2] < failure[3] < failure[4] < failure[5]
    assert success[1:6] == 5 * success[1:2]
    assert success[6] == (tmp_path / "models" / "CURRENT").stat().st_mtime
    assert refusals == [0, 0, *4 * refusals[2:3], 0]
    assert failure[:3] == [0, 0, 0] < failure[6:]
    assert unread["cv_fold_train_rows", "0"] == refused["cv_fold_train_rows", "0"]
    assert (bad.returncode, "must end in .prom" in bad.stderr) == (2, True)
    assert (strange.returncode, "run.prom is not in Prom" in strange.stderr) == (
        2,
        True,
    )


def test_one_run_at_a_time_goes_on_from_a_metrics_file(market, tmp_path):
    """A second would lose what the first counts: it is refused, and says who."""
    file = tmp_path / "run.prom"
    job = ["--config", market / "job.toml", "--metrics-file", file]
    with RunLock(file):
        done = run(*job, cwd=market)

    assert (done.returncode, file.exists()) == (4, False)
    assert "another retrain with run.prom is running (process" in done.stderr
    assert run(*job, "--symbols", "ABSENT", cwd=market).returncode == 2
    found = samples(file.read_text())
    assert found["retrain_runs_total", "failure"] == 1


def test_a_killed_first_night_leaves_zeros(market, tmp_path):
    """Every outcome stands at zero before the work, so that the next is an increase."""
    file = tmp_path / "run.prom"
    job = ["--config", "job.toml", "--no-report", "--metrics-file", str(file)]
    with subprocess.Popen([*WORDS, *job], cwd=market, env=ENVIRONMENT) as process:
        while not file.exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    found = samples(file.read_text())

    for outcome in ("success", "refused", "failure"):
        assert found["retrain_runs_total", outcome] == 0


def test_runs_that_are_killed_tell_since_when_none_has_ended(market, tmp_path):
    """The first of them says when it began, until a later run ends."""
    file = tmp_path / "run.prom"
    job = ["--config", "job.toml", "--no-report", "--metrics-file", str(file)]
    since = []
    for night in range(2):
        before = file.stat().st_mtime_ns if night else 0
        began = time.time()
        with subprocess.Popen([*WORDS, *job], cwd=market, env=ENVIRONMENT) as process:
            while not file.exists() or file.stat().st_mtime_ns == before:
                assert process.poll() is None
                time.sleep(0.01)
            process.kill()
        since.append(samples(file.read_text())[UNFINISHED])
    run(*job, "--symbols", "ABSENT", cwd=market)
    found = samples(file.read_text())

    assert since[0] == since[1]
    assert 0 < began - since[0] < 120
    assert (found[UNFINISHED], found["retrain_runs_total", "failure"]) == (0, 1)


def test_show_config_and_dry_run_write_nothing(market, tmp_path):
    """Settings are told with their origin, the plan with its folds; no more."""
    job = ["--config", market / "job.toml"]
    more = {"SKATRA_RETRAIN_N_PATHS": "3", "SKATRA_RETRAIN_SEED": "5"}
    flags = ["--seed", "3", "--gate", "max_drawdown=0.3"]
    shown = run(*job, *flags, "--show-config", cwd=tmp_path, more=more)
    values = tomllib.loads(shown.stdout)

    assert shown.returncode == 0
    assert (values["seed"], values["n_splits"], values["embargo"]) == (3, 2, "5D")
    assert "seed = 3  # flag seed" in shown.stdout
    assert "n_paths = 3  # SKATRA_RETRAIN_N_PATHS" in shown.stdout
    assert "max_drawdown = 0.3  # flag gate.max-drawdown" in shown.stdout
    assert f"n_splits = 2  # {market / 'job.toml'}:3" in shown.stdout
    assert 'embargo = "5D"  # default' in shown.stdout
    plan = run(*job, "--dry-run", cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr
    for word in (
        "purged",
        "embargoed",
        "held out",
        "fits:",
        "time:",
        "memory:",
        "gate:",
    ):
        assert word in plan.stdout
    figures = json.loads(run(*job, "--dry-run", "--json", cwd=tmp_path).stdout)
    assert len(figures["folds"]) == 3
    assert not (market / "models").exists()
    assert not list(tmp_path.iterdir())


def test_a_night(market):
    """Stopped by SIGTERM it leaves with 6, then goes on; then nothing is left to do."""
    job = ["--config", "job.toml", "--no-report", "-j", "1", "--log", "log.jsonl"]
    process = subprocess.Popen(
        [*WORDS, *job],
        cwd=market,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if "[5/" in line:
            process.send_signal(signal.SIGSTOP)
            second = run(*job, cwd=market)
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
            break
    out, err = process.communicate(timeout=120)

    assert process.returncode == 6, err
    assert out == ""
    assert "Run the same command again" in err
    assert second.returncode == 4, second.stderr
    assert f"process {process.pid} on " in second.stderr
    done = run(*job, "--json", cwd=market)
    assert done.returncode == 0, done.stderr
    again = run(*job, cwd=market)
    assert (again.returncode, "up to date" in again.stdout) == (0, True)
    events = [
        json.loads(line) for line in (market / "log.jsonl").read_text().splitlines()
    ]
    fresh = [e for e in events if e["event"] == "task" and not e["cached"]]
    last = next(e for e in reversed(events) if e["event"] == "task")
    assert len(fresh) == last["total"]
    connection = sqlite3.connect(market / "market.db")
    assert connection.execute("SELECT count(*) FROM trials").fetchone() == (
        len(fresh) - 1,
    )
    connection.close()


def test_a_spec_that_tells_the_time_is_told_before_the_search(market):
    """By the plan and by the run, with what to do; the same spec brings it back."""
    with Database(market / "market.db") as db:
        bars = db.bars()
    features = pd.DataFrame({"up": bars["close"].pct_change()}).dropna()

    def write(spec):
        with Database(market / "market.db") as db:
            db.write_features(features, "mine", spec=spec, replace=True)

    job = ["--config", "job.toml", "--feature-set", "mine", "--no-report"]
    write({"made": "Monday"})
    first = json.loads(run(*job, "--json", cwd=market).stdout)["run_id"]
    promote_model(market / "models", first)
    job += ["--seed", "9"]
    write({"made": "Tuesday"})
    plan = run(*job, "--dry-run", cwd=market)
    night = run(*job, cwd=market)
    write({"made": "Monday"})
    mended = run(*job, "--dry-run", cwd=market)

    assert f"against {first}: it cannot promote. feature_set 'mine'" in plan.stdout
    assert "skatra models promote" in plan.stdout
    assert night.returncode == 10
    said = night.stderr.index("warning: the champion cannot be compared")
    assert said < night.stderr.index("[4/")
    assert "had another spec" not in mended.stdout


def on_processes(folder, name, n_estimators):
    """Start a run on two worker processes, in a group of its own, and return it."""
    (folder / "two.toml").write_text(
        f'database = "market.db"\nmodels = "{name}"\nbackend = "processes"\n'
        f"n_jobs = 2\nn_splits = 2\nmax_holding = 5\nn_estimators = {n_estimators}\n"
        "n_paths = 0\n[param_grid]\nnum_leaves = [5]\n"
    )
    job = ["--config", "two.toml", "--no-report", "--log", f"{name}.jsonl"]
    return job, subprocess.Popen(
        [*WORDS, *job],
        cwd=folder,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def events(path):
    """Return what a run has told so far."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_group_leaves_worker_processes_at_work(market, number):
    """Ctrl-C reaches workers, too: they finish what is in hand, the run leaves with 6.

    The next run does the rest, and no task twice.
    """
    log = market / f"{number.name}.jsonl"
    job, process = on_processes(market, number.name, n_estimators=400 + number)
    while events(log)[-1:] == [] or events(log)[-1].get("done", 0) < 9:
        assert process.poll() is None  # six of LightGBM's defaults are quick
        time.sleep(0.01)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=120)

    assert process.returncode == 6, err
    assert "Run the same command again" in err
    assert "Traceback" not in err
    done = run(*job, cwd=market)
    assert done.returncode in (0, 10), done.stderr
    fresh = [e for e in events(log) if e["event"] == "task" and not e["cached"]]
    assert len(fresh) == fresh[-1]["total"]


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc what is ignored")
@pytest.mark.parametrize(
    ("numbers", "code"),
    [((signal.SIGINT, signal.SIGINT), 130), ((signal.SIGKILL,), -signal.SIGKILL)],
    ids=["interrupted twice", "killed"],
)
def test_worker_processes_end_with_a_run_that_waits_for_none(market, numbers, code):
    """Two interrupts of the group, or a kill of the run alone, leave nobody behind."""
    psutil = pytest.importorskip("psutil", reason="comes with skatra[dask]")
    _, process = on_processes(market, "long", n_estimators=10**6)
    workers = []
    while len(workers) < 2 or any(not ignores_interrupts(w.pid) for w in workers):
        assert process.poll() is None
        workers = [
            child
            for child in psutil.Process(process.pid).children()
            if "LokyProcess" in " ".join(child.cmdline())
        ]
        time.sleep(0.01)
    used = sum(worker.cpu_times().user for worker in workers)
    while sum(worker.cpu_times().user for worker in workers) < used + 1.0:
        time.sleep(0.01)
    for number in numbers:
        send = os.kill if number == signal.SIGKILL else os.killpg
        send(process.pid, number)
        time.sleep(0.3)
    _, err = process.communicate(timeout=60)

    assert process.returncode == code, err
    assert psutil.wait_procs(workers, timeout=10)[1] == []


def ignores_interrupts(pid):
    """Tell whether a process ignores SIGINT, as the kernel sees it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = dict(line.split(":", 1) for line in lines)
    return bool(int(masks["SigIgn"], 16) >> (signal.SIGINT - 1) & 1)


def test_a_report_that_was_not_written_is_written_by_the_next_run(market):
    """The promotion stands, the code is 7, and the same command draws the page.

    Whoever was promoted by hand in between stays.
    """
    job = ["--config", "job.toml", "-j", "1", "--no-open"]
    first = run(*job, "--no-report", "--json", cwd=market)
    name = json.loads(first.stdout)["run_id"]
    page = market / "models" / f"{name}.html"
    page.mkdir()
    failed = run(*job, "--force", cwd=market)
    served = json.loads((market / "models" / "CURRENT").read_text())["run_id"]
    page.rmdir()
    other = run(*job, "--no-report", "--json", "--cost", "0.5", cwd=market)
    other = promote_model(market / "models", json.loads(other.stdout)["run_id"])
    mended = run(*job, cwd=market)
    text = page.read_text()
    again = run(*job, cwd=market)

    assert failed.returncode == 7, failed.stderr
    for words in ("report could not be written", "was promoted", "the same command"):
        assert words in failed.stderr
    assert served == name
    assert mended.returncode == 0, mended.stderr
    assert name in text
    assert (again.returncode, "up to date" in again.stdout) == (0, True)
    assert f"{other} is served" in again.stdout
    stages = [n for n in map(str, range(1, 20)) if f"[{n}/11]" in mended.stderr]
    assert stages == [str(n) for n in range(1, 12)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has /dev/full")
def test_outputs_that_fail_do_not_lie_about_the_run(market):
    """A full log or stderr stops nothing; a full stdout says that the run is done."""
    job = ["--config", "job.toml", "-j", "1", "--no-report", "--force"]
    log = run(*job, "--log", "/dev/full", cwd=market)
    with Path("/dev/full").open("w") as full:
        err = run(*job, cwd=market, stderr=full)
        wrong = run(*job, "--max-gap", "soon", cwd=market, stderr=full)
        outs = [run(*job, *more, cwd=market, stdout=full) for more in ((), ["--json"])]

    assert log.returncode == 0, log.stderr
    assert log.stderr.count("warning: the log (--log) lacks events") == 1
    assert err.returncode == 0
    assert "PROMOTED" in err.stdout
    assert wrong.returncode == 2
    for done in outs:
        assert done.returncode == 7, done.stderr
        assert "results could not be printed" in done.stderr
        assert "The run itself is done" in done.stderr
        assert "was promoted" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_is_no_error(market, tmp_path):
    """``skatra retrain | head -1`` ends without a traceback, with the run's code."""
    code = (
        'set -o pipefail; "$0" "$@" --no-report --force | head -1; '
        "exit ${PIPESTATUS[0]}"
    )
    job = ["--config", market / "job.toml", "--models", tmp_path / "models", "--json"]
    done = run(*job, cwd=tmp_path, words=["bash", "-c", code, *WORDS])

    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert done.stdout == "{\n"
    assert done.returncode == 0, done.stderr


def test_bad_data_leave_with_3_and_all_that_is_wrong(tmp_path):
    """Problems that another program made are all listed; nothing is written."""
    with Database(tmp_path / "market.db", create=True) as db:
        db.write_bars(make_edge_bars(600, seed=1))
    connection = sqlite3.connect(tmp_path / "market.db")
    for number, change in enumerate(("open = -1", "high = low / 2", "volume = -5")):
        connection.execute(
            f"UPDATE bars SET {change} WHERE ts = "
            f"(SELECT ts FROM bars ORDER BY ts LIMIT 1 OFFSET {50 * number})"
        )
    connection.commit()
    connection.close()
    done = run("market.db", cwd=tmp_path)

    assert done.returncode == 3
    assert done.stdout == ""
    for name in ("nonpositive-prices", "inconsistent-ohlc", "bad-volume"):
        assert f"  {name}: " in done.stderr
    assert not (tmp_path / "models").exists()


def test_usage_errors_leave_with_2(market, tmp_path):
    """Unknown waivers, backends, settings and files are told in one line."""
    (tmp_path / "bad.toml").write_text("n_split = 3")
    for arguments, word in (
        ([market / "market.db", "--waive", "gap"], "gaps"),
        ([market / "market.db", "--backend", "spark"], "dask"),
        ([market / "market.db", "--scheduler-address", "tcp://h:1"], "backend"),
        ([market / "market.db", "--max-gap", "soon"], "max_gap"),
        (["--config", "bad.toml"], "n_split (line 1)"),
        (["--config", "absent.toml"], "absent.toml"),
        ([market / "market.db", "--gate", "max_drawdown"], "NAME=VALUE"),
        ([market / "market.db", "--gate", "drawdown=1"], "max_drawdown"),
        ([market / "market.db", "--gate", "min_blocks=1"], "min_blocks"),
        ([], "database must be given"),
    ):
        done = run(*arguments, cwd=tmp_path)

        assert done.returncode == 2, done.stderr
        assert word in done.stderr
        assert "Traceback" not in done.stderr
