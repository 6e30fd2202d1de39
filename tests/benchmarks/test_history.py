"""Laws of the benchmarks' figures and of their history."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RUN = {"date": "d", "commit": "c", "version": "v", "python": "p", "machine": "m"}


@pytest.fixture
def modules(monkeypatch):
    """Return the modules as the benchmarks import them: from their own folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import figures
    import history
    import report

    return figures, history, report


def lines(values, *, better="lower", ratio=True):
    """Return the history of one figure."""
    return [
        RUN
        | {
            "benchmark": "splits",
            "figure": "f",
            "value": value,
            "better": better,
            "ratio": ratio,
        }
        for value in values
    ]


@pytest.mark.parametrize(
    ("values", "better", "flagged"),
    [
        ([1.0], "lower", False),
        ([1.0, 1.5], "lower", False),
        ([1.0, 1.51], "lower", True),
        ([1.0, 0.1], "lower", False),
        ([100, 67], "higher", False),
        ([100, 66], "higher", True),
        ([100, 1000], "higher", False),
        ([9.0, 1.0, 1.1, 1.6], "lower", False),
        ([9.0, 1.0, 1.0, 1.6], "lower", True),
        ([1.0, 9.0, 1.0], "lower", False),
        ([0.0, 0.0], "lower", False),
    ],
)
def test_a_ratio_half_as_bad_again_as_the_median_is_flagged(
    modules, values, better, flagged
):
    """The last run is compared with the median of all before it, either way round."""
    _, history, _ = modules
    found = history.slowdowns(lines(values, better=better))

    assert bool(found) is flagged
    if flagged:
        assert found[0].value == values[-1]
        assert found[0].n_earlier == len(values) - 1


def test_absolute_times_are_never_flagged(modules):
    """Milliseconds of another machine are no slowdown."""
    _, history, _ = modules

    assert not history.slowdowns(lines([1.0, 100.0], ratio=False))


def test_figures_do_not_mix(modules):
    """Each figure of each benchmark is compared with itself only."""
    _, history, _ = modules
    others = [line | {"figure": "g"} for line in lines([100.0, 100.0])]

    assert not history.slowdowns(lines([1.0]) + others + lines([1.0]))


def test_a_run_is_recorded_once_and_survives_the_file(modules, tmp_path):
    """Recording twice adds nothing; another value adds one line a figure."""
    figures, history, _ = modules
    one = figures.Figure("splits", "f", 0.1, "lower", 1.0, "x", ratio=True)
    two = figures.Figure("splits", "g", 3.0, "higher", None, "x", ratio=True)
    path = tmp_path / "history.jsonl"
    for _ in range(2):
        history.append(history.new_lines(history.read(path), [one, two], RUN), path)

    assert [line["value"] for line in history.read(path)] == [0.1, 3.0]

    slower = figures.Figure("splits", "f", 0.2, "lower", 1.0, "x", ratio=True)
    added = history.new_lines(history.read(path), [slower, two], RUN)
    history.append(added, path)

    assert len(added) == 2
    assert [str(s) for s in history.slowdowns(history.read(path))] == [
        "splits: f is 0.2, and was 0.1 (median of 1 earlier runs)"
    ]


def test_a_target_is_met_at_its_bound(modules):
    """At most and at least include their bound; no target is neither met nor missed."""
    figures, _, report = modules

    def verdict(value, better, target):
        figure = figures.Figure("b", "n", value, better, target, "x", ratio=True)
        return report.verdict(figure)

    assert verdict(1.5, "lower", 1.5) == "met"
    assert verdict(1.51, "lower", 1.5) == "MISSED"
    assert verdict(50, "higher", 50) == "met"
    assert verdict(49, "higher", 50) == "MISSED"
    assert verdict(49, "higher", None) == ""


def test_every_benchmark_has_promises_and_every_promise_a_figure(modules):
    """No benchmark is left out, and nothing promised has vanished from its results.

    What a peer that was absent leaves open is said by name.
    """
    figures, _, report = modules
    files = {p.stem.removeprefix("bench_") for p in BENCHMARKS.glob("bench_*.py")}

    assert set(figures.PROMISES) == files
    for name in files:
        document = figures.load(name)
        found, unmeasured = figures.figures(name, document)

        assert found
        assert len({figure.name for figure in found}) == len(found)
        if not report.absent_peers(document):
            assert not unmeasured, name
        for task, runs in report.races(name, document):
            assert any(times == 1.0 for _, times in runs), task


def test_a_missing_peer_leaves_its_promise_open(modules):
    """A report without a peer says which promise it does not answer."""
    figures, _, report = modules
    document = figures.load("sizing")
    document["rows"] = [r for r in document["rows"] if r["contender"] != "keeks"]
    document["machine"]["peers"]["keeks"] = "absent"
    _, unmeasured = figures.figures("sizing", document)

    assert unmeasured == ["1e6 fractions, faster than keeks"]
    assert "Peers absent from the last run: keeks." in report.section(
        "sizing", document
    )


def test_names_are_escaped_in_the_page(modules):
    """A contender's name is text, never markup."""
    _, _, report = modules
    drawn = report.bars(("<b>", [("skatra", 1.0), ("<i>&", 8.0)]))

    assert "<b>" not in drawn
    assert "&lt;i&gt;&amp;" in drawn


def test_the_command_flags_a_planted_slowdown(tmp_path):
    """``bench-report`` leaves with 1 and names the figure that got worse."""
    shutil.copytree(
        BENCHMARKS, tmp_path / "b", ignore=shutil.ignore_patterns("__pycache__")
    )
    path = tmp_path / "b" / "results" / "history.jsonl"
    planted = lines([1.0, 1.0, 4.0])
    path.write_text("".join(json.dumps(line) + "\n" for line in planted))
    command = [sys.executable, str(tmp_path / "b" / "report.py")]
    bad = subprocess.run(command, capture_output=True, text=True, check=False)

    assert bad.returncode == 1, bad.stderr
    assert "splits: f is 4, and was 1 (median of 2 earlier runs)" in bad.stdout

    path.write_text("".join(json.dumps(line) + "\n" for line in planted[:2]))
    good = subprocess.run(command, capture_output=True, text=True, check=False)

    assert good.returncode == 0, good.stderr
    assert "slower than the median of earlier runs: none" in good.stdout
