"""Runs that can be left alone: one at a time, resumable, planned, counted."""

import dataclasses
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from functools import partial

import numpy as np
import pandas as pd
import pytest

from skatra.datasets import Database, make_edge_bars
from skatra.exceptions import (
    DataCheckError,
    ModelCorruptError,
    PublishError,
    RunLockedError,
    RunStoppedError,
    TrainingError,
)
from skatra.labeling import triple_barrier_labels
from skatra.model_selection import cross_val_paths
from skatra.retraining import (
    STAGES,
    RetrainConfig,
    RunLock,
    UpToDate,
    json_log,
    list_models,
    load_model,
    plan_retrain,
    promote_model,
    retrain,
    rollback_model,
    show_model,
    verify_models,
)
from skatra.retraining._backtests import path_splitter
from skatra.retraining._steps import (
    kelly_classifier,
    purged_kfold,
    routing,
    split_holdout,
)
from skatra.utils import json_ready


@pytest.fixture
def quick(tmp_path):
    """Return a run of a second or two, on a database of its own."""
    config = RetrainConfig(
        database=tmp_path / "market.db",
        models=tmp_path / "models",
        feature_set="mine",
        max_holding=3,
        n_splits=2,
        n_estimators=5,
        param_grid={"num_leaves": [3, 5], "min_child_samples": [5]},
        n_paths=2,
    )
    grow(config, 600)
    return config


def grow(config, n_bars):
    """Write a database with more bars of the same series, and their features."""
    bars = make_edge_bars(1500, edge=0.6, seed=4).iloc[:n_bars]
    volume = np.log(bars["volume"])
    features = pd.DataFrame({"volume": volume, "change": volume.diff().fillna(0.0)})
    with Database(config.database, create=True) as db:
        db.write_bars(bars)
        db.write_features(features, "mine")


def _figures(result):
    return {**result.to_dict(), "seconds": None}


def test_a_stopped_run_goes_on_where_it_was(quick):
    """Stopped again and again, a run ends with the figures of one left in peace."""
    alone = dataclasses.replace(quick, models=quick.models.parent / "alone")
    tasks = []
    stops = 0

    def observe(event):
        if event["event"] == "task" and not event["cached"]:
            tasks.append(event["stage"])

    for _ in range(20):
        limit = len(tasks) + 4
        try:
            result = retrain(
                quick, observe=observe, should_stop=lambda at=limit: len(tasks) >= at
            )
            break
        except RunStoppedError:
            stops += 1
    with Database(quick.database) as db:
        counted = len(db.trials())

    assert stops > 3
    assert len(tasks) == counted + 1 == 27
    undisturbed = retrain(alone)
    assert _figures(result) == _figures(undisturbed)


def test_a_run_goes_on_past_a_figure_that_is_not_defined(quick):
    """A naive fold that tests one class has no AUC, stopped on the way or not."""
    with Database(quick.database) as db:
        labels = triple_barrier_labels(db.bars(), target=0.02, max_holding=3)
        labels = labels[labels["label"] != 0]
        second = slice(len(labels) // 4 - 2, len(labels) // 2 + 2)
        labels.iloc[second, labels.columns.get_loc("label")] = 1
        db.write_labels(labels, "own")
    config = dataclasses.replace(
        quick, label_set="own", max_holding=20, n_splits=3, holdout=0.1, n_paths=0
    )
    alone = dataclasses.replace(config, models=quick.models.parent / "alone")
    stages = []
    with pytest.raises(RunStoppedError):
        retrain(config, progress=stages.append, should_stop=lambda: "paths" in stages)
    result = retrain(config)

    assert "both classes" in result.splitters[1].problem
    assert json_ready(_figures(result)) == json_ready(_figures(retrain(alone)))


def test_up_to_date_until_something_changes(quick):
    """The same data, settings and code are trained once; a missing model is remade."""
    first = retrain(quick)
    again = retrain(quick, force=False)

    assert again == UpToDate(first.run_id, first.model_path, True, first.run_id)
    other = dataclasses.replace(quick, cost=0.001)
    assert not isinstance(retrain(other, force=False), UpToDate)
    (first.model_path / "model.txt").unlink()
    (first.model_path / "card.json").unlink()
    first.model_path.rmdir()
    with pytest.raises(ModelCorruptError, match="remove CURRENT"):
        retrain(quick, force=False)
    (quick.models / "CURRENT").unlink()
    assert retrain(quick, force=False).run_id == first.run_id


def test_trials_are_counted_over_runs(quick):
    """Models tried in earlier runs, on fewer bars too, deflate the next record."""
    before = retrain(quick).trials
    same = retrain(quick).trials
    wider = dataclasses.replace(
        quick, param_grid={"num_leaves": [3, 4, 6], "min_child_samples": [5, 8]}
    )
    after = retrain(wider).trials
    grow(quick, 610)
    grown = retrain(quick).trials
    relabelled = retrain(dataclasses.replace(quick, barrier_width=1.5)).trials

    assert before == same
    assert (before["on_these_data"], before["on_these_symbols"]) == (2, 2)
    assert (after["on_these_data"], after["on_these_symbols"]) == (7, 7)
    assert (grown["on_these_data"], grown["on_these_symbols"]) == (2, 7)
    assert relabelled["on_these_symbols"] == 9
    assert after["minimum_backtest_years"] > before["minimum_backtest_years"]
    assert after["deflated_sharpe_strict"] < after["probabilistic_sharpe"]


def test_whatever_changes_the_judged_record_is_a_trial(quick):
    """Rewritten features, another side, stake, cost or universe count anew, once."""
    with Database(quick.database) as db:
        features, bars = db.features("mine"), db.bars()
        renamed = {bars.index[0][0]: "B"}
        db.write_bars(bars.rename(index=renamed, level=0))

    def tried(**changes):
        settings = {"symbols": ["EDGE"], "param_grid": {"num_leaves": [3]}, **changes}
        run = retrain(dataclasses.replace(quick, n_paths=0, **settings))
        return run.trials["on_these_symbols"]

    counts = [tried(), tried(side="long"), tried(kelly_multiplier=0.5)]
    counts += [tried(max_position=0.5), tried(cost=0.0), tried(seed=3), tried()]
    with Database(quick.database) as db:
        db.write_features(-features, "mine", replace=True)
    counts += [tried(), tried()]
    with Database(quick.database) as db:
        both = pd.concat([-features, -features.rename(index=renamed, level=0)])
        db.write_features(both, "mine", replace=True)
    counts += [tried(symbols=["EDGE", "B"]), tried()]

    # A run that is repeated counts what it counted.
    assert counts == [1, 2, 3, 4, 5, 6, 1, 7, 7, 8, 7]


@pytest.mark.parametrize("feature_set", ["base", "mine"])
def test_a_night_of_new_bars_is_no_new_trial(quick, feature_set):
    """Data that grow, by their first rows or by their definition, are the same sets."""
    config = dataclasses.replace(quick, feature_set=feature_set, n_paths=0)
    counts = []
    for n_bars in (760, 761, 800):
        grow(config, n_bars)
        counts.append(retrain(config).trials["on_these_symbols"])

    assert counts == [2, 2, 2]


def test_ledger_stays_small(quick):
    """Once a run is published its rows hold figures, not one value per row."""
    retrain(quick)
    with Database(quick.database) as db:
        records = db.trials()["record"]

    assert max(len(json.dumps(record)) for record in records) < 1000
    assert not any("arrays" in record for record in records)


def test_paths_are_those_of_cross_val_paths(quick):
    """Split by split, from the ledger or not, paths are scikit-learn's to the bit."""
    result = retrain(quick)
    rows, _ = split_holdout(result.rows, quick)
    with routing():
        model = kelly_classifier(quick, purged_kfold(quick), result.search.best_params)
        paths = cross_val_paths(
            model,
            rows.data,
            rows.target,
            cv=path_splitter(quick),
            method="decision_function",
            params={
                "label_times": rows.label_times,
                "sample_weight": rows.sample_weight,
                "returns": rows.returns,
            },
        )

    np.testing.assert_array_equal(result.paths.positions, paths.paths)
    assert len(result.paths.table) == paths.n_paths


def test_two_runs_at_once(quick):
    """The second is refused with the first's process, host and age."""
    with RunLock(quick.database), pytest.raises(RunLockedError) as error:
        retrain(quick)

    assert f"process {os.getpid()} on " in str(error.value)
    assert " s)" in str(error.value)
    retrain(quick)


def test_links_to_one_database_have_one_lock(quick, tmp_path):
    """A symbolic link is no way around the lock."""
    (tmp_path / "other").mkdir()
    link = tmp_path / "other" / "link.db"
    link.symlink_to(quick.database)
    with RunLock(quick.database), pytest.raises(RunLockedError), RunLock(link):
        pass


def test_a_dead_owner_holds_nothing(quick):
    """The lock of a killed process is free at once."""
    code = f"""
        import os, signal
        from skatra.retraining import RunLock
        with RunLock({str(quick.database)!r}):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=False, timeout=60
    )

    assert done.returncode == -9
    with RunLock(quick.database):
        pass


def test_fewer_rows_than_last_run(quick):
    """Data that shrank stop the run until that is waived."""
    retrain(quick)
    with Database(quick.database) as db:
        bars = db.bars()
        connection_rows = len(bars)
        with db.transaction() as writer:
            writer.execute("DELETE FROM bars WHERE ts > ?", (_cut(bars),))
    for run in (plan_retrain, retrain):
        with pytest.raises(DataCheckError, match="fewer-rows"):
            run(quick)
    fewer = retrain(dataclasses.replace(quick, waive=("fewer-rows",)))

    assert fewer.data["rows"] < connection_rows - 50
    assert [w["check"] for w in fewer.to_dict()["waived"]] == ["fewer-rows"]


def _cut(bars):
    return int(bars.index[-60][1].as_unit("ns").value)


def test_a_models_folder_that_cannot_be_written(quick):
    """Nothing is fitted, the served model stands, and the error says so."""
    retrain(quick)
    served = (quick.models / "CURRENT").read_bytes()
    tasks = []
    for blocked in (quick.database, quick.database / "models"):
        with pytest.raises(PublishError, match="stands"):
            retrain(
                dataclasses.replace(quick, models=blocked, seed=8),
                observe=tasks.append,
            )

    assert tasks == []
    assert (quick.models / "CURRENT").read_bytes() == served
    load_model(quick.models)


def test_a_fit_that_fails_is_a_training_error(quick):
    """What LightGBM refuses ends the run as one error that names it."""
    with pytest.raises(TrainingError, match="num_leaves"):
        retrain(dataclasses.replace(quick, param_grid={"num_leaves": [-1]}))


def test_plan_is_what_the_run_does(quick):
    """Folds, rows and fits of the plan are those of the run; nothing is written."""
    before = quick.database.read_bytes()
    plan = plan_retrain(quick)
    assert quick.database.read_bytes() == before
    assert not quick.models.exists()
    result = retrain(quick)
    development, held_out = split_holdout(result.rows, quick)
    splits = list(
        purged_kfold(quick).split(development.data, label_times=development.label_times)
    )

    folds = plan.folds
    assert folds["train"].tolist() == [len(t) for t, _ in splits] + [len(development)]
    assert folds["test"].tolist() == [len(t) for _, t in splits] + [len(held_out)]
    assert folds[["train", "test", "purged", "embargoed"]].iloc[-1].sum() == plan.rows
    assert plan.fits == {
        "search": 4,
        "compare": 36,
        "paths": 9,
        "holdout": 3,
        "gate": 4,
        "importance": 2,
        "publish": 3,
    }
    assert plan.seconds > 0
    assert plan.memory_bytes > 0
    assert "measured now" in plan.seconds_from
    assert "ledger" in plan_retrain(quick).seconds_from


def test_a_plan_counts_what_the_gate_fits_against_a_champion(quick):
    """Walk-forward fits are planned where there is evidence; the total is what comes.

    A champion of last night leaves none: nothing is fitted, and a date is named.
    """
    retrain(quick)
    grow(quick, 610)
    early = plan_retrain(quick)
    grow(quick, 900)
    plan = plan_retrain(quick)
    told = []
    result = retrain(quick, observe=told.append)
    tasks = [event for event in told if event["event"] == "task"]

    assert early.fits["gate"] == 0
    assert early.evidence["blocks"] < early.evidence["needed"] == 30
    assert early.evidence["enough_from"] > "2"
    assert plan.fits["gate"] == 4 + 4 * 3
    assert plan.evidence["blocks"] >= 30
    assert plan.evidence["enough_from"] is None
    assert result.verdict.champion_id == plan.evidence["champion"] is not None
    assert {task["total"] for task in tasks} == {len(tasks)}


def test_a_damaged_champion_stops_a_run_before_it_trains(quick):
    """Pointer, card and model are looked at first; the way out is named."""
    served = quick.models / retrain(quick).run_id
    grow(quick, 620)
    stages = []
    for path in (quick.models / "CURRENT", served / "card.json", served / "model.txt"):
        whole = path.read_bytes()
        for damaged in (b"{}", None):
            path.unlink() if damaged is None else path.write_bytes(damaged)
            if not (quick.models / "CURRENT").exists():
                continue
            for run in (plan_retrain, partial(retrain, progress=stages.append)):
                with pytest.raises(ModelCorruptError, match="skatra models promote"):
                    run(quick)
        path.write_bytes(whole)
    assert stages == []
    assert retrain(quick).verdict.champion_id == served.name


def test_without_a_champion_nothing_is_up_to_date_that_met_one(quick):
    """A champion that was taken away leaves cash to beat: the night is run again."""
    retrain(quick)
    grow(quick, 610)
    met = retrain(quick)
    (quick.models / "CURRENT").unlink()
    alone = retrain(quick, force=False)
    strict = dataclasses.replace(quick, gate={"min_stake": 1.0})
    (quick.models / "CURRENT").unlink()
    refused = retrain(strict)

    assert met.verdict.outcome == "not enough evidence"
    assert (alone.verdict.outcome, alone.verdict.champion_id) == ("promoted", None)
    assert refused.verdict.outcome == "refused"
    assert retrain(strict, force=False) == UpToDate(
        refused.run_id, refused.model_path, False, None
    )


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (0.0, 0.5, "fold 0 of n_splits=2 tests"),
        (0.5, 1.0, "fold 0 of n_splits=2 trains"),
        (0.75, 1.0, "fold 0 of n_splits=2, within the .* fold 0, trains"),
    ],
)
def test_folds_of_one_class_are_named_with_their_dates(quick, start, end, said):
    """No parameter is blamed for labels that all say the same."""
    with Database(quick.database) as db:
        labels = triple_barrier_labels(db.bars(), target=0.02, max_holding=3)
        labels = labels[labels["label"] != 0]
        place = np.arange(len(labels)) / (0.75 * len(labels))
        labels.loc[(place > start - 0.02) & (place < end + 0.02), "label"] = 1
        db.write_labels(labels, "own")
    config = dataclasses.replace(quick, label_set="own", max_holding=20)
    for run in (plan_retrain, retrain):
        with pytest.raises(TrainingError, match=rf"{said} on .* are all \+1") as error:
            run(config)
        assert "fewer folds" not in str(error.value)  # than two there are none


def test_other_versions_of_packages_are_other_tasks(quick, tmp_path, monkeypatch):
    """What another LightGBM made is no task of this one, and nothing is up to date."""
    retrain(quick)
    metadata = tmp_path / "site" / "lightgbm-99.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: lightgbm\nVersion: 99.0\n"
    )
    told = []
    with monkeypatch.context() as patch:
        patch.syspath_prepend(metadata.parent)
        result = retrain(quick, observe=told.append, force=False)

    assert result.lineage["packages"]["lightgbm"] == "99.0"
    assert not any(event["cached"] for event in told if event["event"] == "task")
    assert retrain(quick, force=False).run_id != result.run_id


def test_log_is_one_object_a_line(quick, tmp_path):
    """Every event is a JSON line with its time, and an error is one, too."""
    with json_log(tmp_path / "log.jsonl") as log:
        retrain(quick, observe=log)
    with pytest.raises(KeyError), json_log(tmp_path / "log.jsonl"):
        raise KeyError("x")
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]

    kinds = [event["event"] for event in events]
    assert kinds.count("stage") == len(STAGES)
    assert kinds.count("task") == 27
    assert kinds[-2:] == ["published", "error"]
    assert all(event["time"] for event in events)


def test_who_watches_cannot_stop_a_run(quick):
    """Errors of an observer are warned of once, and the model is published."""

    def fail(_):
        raise OSError("No space left on device")

    with pytest.warns(RuntimeWarning, match="No space left") as warned:
        result = retrain(quick, observe=fail, progress=fail)

    assert len(warned) == 1
    assert served(quick) == result.run_id


def test_a_database_that_another_program_keeps_locked(quick):
    """The run ends as one that can go on, and names the database; then it goes on."""
    other = sqlite3.connect(quick.database, isolation_level=None)

    def lock(event):
        if event.get("stage") == "search" and not other.in_transaction:
            other.execute("BEGIN IMMEDIATE")

    with pytest.raises(TrainingError, match="the same command goes on") as error:
        retrain(quick, observe=lock)
    other.execute("ROLLBACK")
    other.close()

    assert "param_grid" not in str(error.value)
    assert "market.db" in str(error.value)
    assert retrain(quick).verdict.promoted


LAX = {
    "min_growth": -5.0,
    "min_deflated_sharpe": 0.0,
    "max_excess_loss": 1.0,
    "max_drawdown": 1.0,
    "max_overfitting": 1.0,
}


@pytest.fixture
def twice(quick):
    """Return settings after two promotions, the second on more bars, and both runs."""
    config = dataclasses.replace(quick, gate=LAX)
    first = retrain(config)
    grow(config, 900)
    second = retrain(config)
    assert second.verdict.champion_id == first.run_id
    assert second.verdict.promoted
    return config, first, second


def served(config):
    """Return the champion's run id."""
    return show_model(config.models)["run_id"]


def test_a_repeated_run_gives_its_figures_and_serves_nothing(twice):
    """Also after a rollback: it meets whom it met, and the pointer does not move."""
    config, first, second = twice
    rollback_model(config.models)
    done = retrain(config, force=False)
    pointer = (config.models / "CURRENT").read_bytes()
    again = retrain(config, repeat=done)

    assert done == UpToDate(second.run_id, second.model_path, True, first.run_id)
    assert again.run_id == second.run_id
    assert again.verdict == second.verdict
    assert (config.models / "CURRENT").read_bytes() == pointer
    assert served(config) == first.run_id


def test_a_withdrawn_model_has_no_twin_the_next_night(twice):
    """After a rollback only rows after the withdrawn model's training count.

    Enough of them let the gate judge; a promotion by hand takes the note away.
    """
    config, first, second = twice
    rollback_model(config.models)
    grow(config, 901)
    plan = plan_retrain(config)
    night = retrain(config)
    kept = served(config)
    grow(config, 1100)
    later = retrain(config)
    rollback_model(config.models)
    promote_model(config.models, first.run_id)

    assert night.verdict.outcome == "not enough evidence"
    assert f"the withdrawn {second.run_id}" in night.verdict.reason
    assert plan.evidence["blocks"] == night.decision.contest.evidence.blocks < 5
    assert kept == first.run_id
    assert later.verdict.champion_id == first.run_id
    assert later.decision.contest.evidence.since > second.rows.label_times.max()
    assert later.verdict.promoted
    assert "withdrawn" not in json.loads((config.models / "CURRENT").read_text())


def forget_run(config, run_id):
    """Leave what a kill between the pointer's move and the record leaves."""
    with Database(config.database) as db, db.transaction() as writer:
        writer.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))


def test_a_repeated_run_counts_the_trials_that_it_counted(quick):
    """What was tried since makes no other run of it, nor what is served since."""
    strict = dataclasses.replace(quick, gate={"min_growth": 1e6})
    first = retrain(strict)
    retrain(dataclasses.replace(quick, param_grid={"num_leaves": [2, 4, 6]}))
    done = retrain(strict, force=False)
    again = retrain(strict, repeat=done)
    met = retrain(strict)

    assert done.run_id == first.run_id
    assert _figures(again) == _figures(first)
    assert met.verdict.champion_id is not None
    assert met.trials["on_these_symbols"] == first.trials["on_these_symbols"] + 3


def test_a_run_that_met_a_withdrawn_model_meets_it_again(twice):
    """Repeated for its page, or killed before it was recorded: the same run."""
    config, _, second = twice
    rollback_model(config.models)
    grow(config, 901)
    night = retrain(config)
    again = retrain(config, repeat=retrain(config, force=False))
    grow(config, 1100)
    later = retrain(config)
    forget_run(config, later.run_id)
    resumed = retrain(config, force=False)

    assert night.decision.contest.evidence.withdrawn[0] == second.run_id
    assert (again.run_id, again.verdict) == (night.run_id, night.verdict)
    assert later.verdict.promoted
    assert (resumed.run_id, resumed.verdict) == (later.run_id, later.verdict)
    assert served(config) == later.run_id


def test_a_served_run_that_was_killed_is_recorded_by_the_next(twice):
    """Also where bars came in between, so that it is never repeated."""
    config, _, second = twice
    forget_run(config, second.run_id)
    told = verify_models(config.models, config.database)
    grow(config, 910)
    retrain(config)

    assert list(told) == [second.run_id]
    assert verify_models(config.models, config.database) == {}


def test_who_takes_over_during_a_run_is_not_replaced_unmet(twice):
    """What was judged against another model is not published; the next run meets it."""
    config, first, _ = twice
    grow(config, 1400)

    def promote(event):
        if event["event"] == "verdict":
            promote_model(config.models, first.run_id)

    folders = set(list_models(config.models).index)
    with pytest.raises(PublishError, match="never judged against it"):
        retrain(config, observe=promote)

    assert served(config) == first.run_id
    assert set(list_models(config.models).index) == folders
    assert retrain(config).verdict.champion_id == first.run_id


def test_an_old_champion_may_be_tidied_away(twice):
    """A run that met it can be repeated: it meets the model that is served."""
    config, first, second = twice
    before = plan_retrain(config)
    shutil.rmtree(first.model_path)
    plan = plan_retrain(config)
    again = retrain(config)

    assert before.evidence["champion"] == first.run_id
    assert plan.evidence["champion"] == second.run_id == again.verdict.champion_id
    assert again.verdict.outcome == "not enough evidence"
    assert served(config) == second.run_id
