"""Laws of a whole run."""

import dataclasses
import json
import sqlite3

import numpy as np
import pandas as pd
import pytest

from skatra.datasets import Database, load_index_bars, make_edge_bars
from skatra.exceptions import DatabaseError, DataCheckError, EmptyDataError
from skatra.retraining import STAGES, RetrainConfig, load_model, read_card, retrain
from skatra.retraining._dataset import label_set_name, store_built_in_sets
from skatra.retraining._session import Session
from skatra.retraining._steps import NAIVE, PURGED, search, split_holdout


def _figures(result):
    figures = result.to_dict()
    assert set(figures.pop("seconds")) == set(STAGES)
    return figures


def test_same_figures_again_and_in_two_processes(small_run, small_config):
    """A run repeats itself bit for bit, whatever n_jobs, and keeps one model."""
    again = retrain(dataclasses.replace(small_config, n_jobs=2))

    assert _figures(again) == _figures(small_run)
    assert again.run_id == small_run.run_id
    folders = [p.name for p in small_config.models.iterdir() if p.is_dir()]
    assert folders == [small_run.run_id]


def test_planted_edge_is_found_and_promoted(small_run):
    """Purged folds still see the planted edge, Kelly stakes on it, the gate agrees."""
    assert small_run.has_edge
    assert small_run.verdict.promoted
    assert small_run.holdout.scores["log_growth_per_year"] > 0
    assert small_run.out_of_fold(PURGED).leaking_pairs == 0
    assert small_run.out_of_fold(NAIVE).leaking_pairs > 0


def test_figures_are_json(small_run):
    """Every figure survives strict JSON."""
    figures = small_run.to_dict()

    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_current_points_to_the_promoted_model(small_run, small_config):
    """The served model gives the positions of the published card's model."""
    served, named = load_model(small_config.models), load_model(small_run.model_path)
    rows = small_run.rows.data.iloc[-50:]

    np.testing.assert_array_equal(
        served.decision_function(rows), named.decision_function(rows)
    )
    card = read_card(small_config.models)
    assert card["promoted"]
    assert card["lineage"]["data_sha256"] == small_run.lineage["data_sha256"]
    assert card["best_params"] == small_run.search.best_params


def test_run_is_recorded_in_the_database(small_run, small_config):
    """The runs table holds the model's identity."""
    with Database(small_config.database) as db:
        runs = db.runs()
        problems = db.check()

    assert small_run.run_id in set(runs.reset_index()["run_id"])
    assert problems == []


def test_held_out_rows_decide_nothing(small_run, small_config):
    """Turning every held-out label and feature around changes no tuning result."""
    rows = small_run.rows
    development, held_out = split_holdout(rows, small_config)
    late = rows.data.index.isin(held_out.data.index)
    turned = dataclasses.replace(
        rows,
        data=rows.data.mul(np.where(late, -1.0, 1.0), axis=0),
        target=rows.target.where(~late, -rows.target),
        returns=rows.returns.where(~late, -rows.returns),
    )
    again, _ = split_holdout(turned, small_config)

    pd.testing.assert_frame_equal(again.data, development.data)
    assert (
        search(again, small_config, Session()).best_params
        == small_run.search.best_params
    )


def test_no_development_label_reaches_into_the_held_out_rows(small_run, small_config):
    """Every development label ends before the first held-out row starts."""
    development, held_out = split_holdout(small_run.rows, small_config)
    first = held_out.data.index.get_level_values("t0").min()

    assert development.label_times.max() < first


def test_real_bars_hold_no_edge(tmp_path):
    """On index bars the gate refuses, Kelly stakes nothing and CURRENT is not made."""
    with Database(tmp_path / "market.db", create=True) as db:
        db.write_bars(load_index_bars())
    config = RetrainConfig(
        database=tmp_path / "market.db",
        models=tmp_path / "models",
        n_estimators=30,
        param_grid={"num_leaves": [7]},
    )
    result = retrain(config)

    assert not result.verdict.promoted
    assert not result.has_edge
    assert result.holdout.scores["mean_absolute_position"] < 0.01
    assert not (config.models / "CURRENT").exists()
    assert read_card(result.model_path)["reason"] == result.verdict.reason


def test_own_sets_are_used_as_they_are(small_run, small_config, tmp_path):
    """A stored feature set and label set of other names replace the built-in ones."""
    with Database(tmp_path / "market.db", create=True) as db:
        db.write_bars(make_edge_bars(1600, edge=0.5, seed=1))
        db.write_features(small_run.rows.data.rename_axis(["symbol", "time"]), "mine")
        with Database(small_config.database) as source:
            db.write_labels(source.labels(label_set_name(small_config)), "own")
    config = dataclasses.replace(
        small_config,
        database=tmp_path / "market.db",
        models=tmp_path / "models",
        feature_set="mine",
        label_set="own",
        max_holding=20,
    )
    result = retrain(config)

    assert result.lineage["data_sha256"] == small_run.lineage["data_sha256"]
    assert result.holdout.scores == small_run.holdout.scores


@pytest.mark.usefixtures("small_run")
def test_short_sides_mirror_long_ones(small_config, tmp_path):
    """A label set of shorts earns what the same bets earn when told as longs.

    With side -1 a positive position is short: the book must follow the price down.
    """
    with Database(small_config.database) as source:
        labels = source.labels(label_set_name(small_config))
        bars = source.bars()
    growth = {}
    for side in (1, -1):
        with Database(tmp_path / f"{side}.db", create=True) as db:
            db.write_bars(bars)
            own = labels.assign(side=side, ret=side * labels["ret"])
            own["label"] = np.sign(own["ret"]).astype(int)
            db.write_labels(own, "own")
        config = dataclasses.replace(
            small_config,
            database=tmp_path / f"{side}.db",
            models=tmp_path / "models",
            label_set="own",
            max_holding=20,
        )
        growth[side] = retrain(config).holdout.scores

    assert growth[1] == pytest.approx(growth[-1], rel=0.35)
    assert growth[-1]["log_growth_per_year"] > 0


@pytest.mark.usefixtures("small_run")
def test_a_user_s_own_base_set_is_not_replaced(small_config, tmp_path):
    """A set that somebody wrote under a built-in name stops the run, untouched."""
    path = tmp_path / "market.db"
    with Database(path, create=True) as db, Database(small_config.database) as source:
        db.write_bars(source.bars())
        db.write_features(source.features("base")[["return_1"]], "base")
    config = dataclasses.replace(small_config, database=path)
    with pytest.raises(DatabaseError, match="not made by skatra"):
        retrain(config)
    with Database(path) as db:
        assert db.features("base").columns.tolist() == ["return_1"]
        assert db.label_sets() == {}


@pytest.mark.usefixtures("small_run")
def test_other_barriers_are_another_set(small_config, market):
    """Runs with other barriers do not touch each other's labels."""
    with Database(market) as db:
        before = db.labels(label_set_name(small_config))
        other = dataclasses.replace(small_config, max_holding=5)
        store_built_in_sets(db, other)

        assert label_set_name(other) != label_set_name(small_config)
        pd.testing.assert_frame_equal(db.labels(label_set_name(small_config)), before)


def test_symbols_that_yield_no_rows_are_refused_by_name(small_config, tmp_path):
    """A symbol asked for and too short to label stops the run; unasked, it is told."""
    path = tmp_path / "market.db"
    with Database(path, create=True) as db:
        db.write_bars(make_edge_bars(1600, edge=0.5, seed=1))
        db.write_bars(make_edge_bars(100, edge=0.5, seed=1, symbols=("SHORT",)))
    config = dataclasses.replace(
        small_config, database=path, models=tmp_path / "models"
    )
    with pytest.raises(EmptyDataError, match="SHORT"):
        retrain(dataclasses.replace(config, symbols=("EDGE", "SHORT")))

    assert retrain(config).data["symbols_without_rows"] == ["SHORT"]


def test_flat_bars_are_left_out(small_config, tmp_path):
    """A series that starts without moving is labelled from where it moves."""
    bars = make_edge_bars(1600, edge=0.5, seed=1)
    bars.iloc[:5, :4] = bars.iloc[5, :4].to_numpy()
    with Database(tmp_path / "market.db", create=True) as db:
        db.write_bars(bars)
        store_built_in_sets(db, small_config)

        assert len(db.labels(label_set_name(small_config))) > 1500


def test_little_evidence_is_refused(small_config, tmp_path):
    """A held-out book shorter than the gate's blocks is never promoted."""
    config = dataclasses.replace(
        small_config, models=tmp_path / "models", max_holding=40, holdout=0.1
    )
    result = retrain(config)

    assert not result.verdict.promoted
    assert "not enough evidence" in result.verdict.reason


def test_labels_that_end_before_they_start_stop_the_run(small_config, tmp_path):
    """Rows that another program spoilt are refused by name, and nothing is written."""
    path = tmp_path / "market.db"
    with Database(path, create=True) as db, Database(small_config.database) as source:
        db.write_bars(source.bars())
        db.write_labels(source.labels(label_set_name(small_config)), "own")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute(
        "UPDATE labels SET t1 = t0 - 1 WHERE t0 = (SELECT max(t0) FROM labels)"
    )
    connection.commit()
    connection.close()
    config = dataclasses.replace(
        small_config,
        database=path,
        models=tmp_path / "models",
        label_set="own",
        max_holding=20,
    )
    with pytest.raises(DataCheckError, match="t1-before-t0"):
        retrain(config)

    assert not (tmp_path / "models").exists()


def test_empty_database_is_refused(small_config, tmp_path):
    """Without bars there is nothing to learn, and the error says how to get some."""
    with Database(tmp_path / "market.db", create=True):
        pass
    config = dataclasses.replace(small_config, database=tmp_path / "market.db")
    with pytest.raises(EmptyDataError, match="skatra ingest"):
        retrain(config)


def test_unknown_model_parameters_are_refused(small_config):
    """LightGBM would ignore a misspelt parameter; the search does not."""
    config = dataclasses.replace(small_config, param_grid={"num_leafs": [7]})
    with pytest.raises(ValueError, match="num_leafs"):
        retrain(config)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_splits", 1),
        ("n_splits", 2.5),
        ("holdout", 1.0),
        ("holdout", float("nan")),
        ("max_holding", 0),
        ("barrier_width", -1.0),
        ("kelly_multiplier", 0.0),
        ("cost", -0.1),
        ("gate", 0.4),
        ("gate", "strict"),
        ("side", "up"),
        ("n_jobs", 0),
        ("kelly_multiplier", 1.5),
        ("kelly_multiplier", "much"),
        ("seed", -1),
        ("seed", 1.5),
        ("symbols", "SPX"),
        ("symbols", ()),
        ("param_grid", {}),
        ("param_grid", {"num_leaves": 7}),
        ("holdout", "half"),
        ("cost", None),
        ("embargo", "soon"),
        ("database", 5),
        ("models", None),
        ("learning_rate", True),
        ("feature_set", 5),
        ("label_set", None),
        ("symbols", 5),
        ("symbols", (5,)),
        ("waive", 5),
        ("waive", "gaps"),
        ("scheduler_address", 5),
        ("early_stopping_rounds", -1),
        ("early_stopping_rounds", 2.5),
        ("early_stopping_fraction", 0.0),
        ("early_stopping_fraction", 0.3),
        ("embargo", -1),
        ("embargo", 1.5),
        ("embargo", "-1D"),
        ("embargo", "5"),
        ("embargo", " 5.0 "),
        ("embargo", "1e3"),
        ("embargo", "NaT"),
        ("max_gap", "10"),
        ("max_gap", "NaT"),
        ("max_gap", True),
    ],
)
def test_bad_settings_are_refused_by_name(name, value):
    """A value out of range names the parameter and shows the value."""
    with pytest.raises(ValueError, match=name) as error:
        RetrainConfig(**{"database": "d", "models": "m", name: value})

    assert repr(value) in str(error.value) or name == "n_jobs"
