"""Every row that any fit of a run saw, against every row that it then predicted."""

import dataclasses
import os
import pickle
import threading
from contextlib import ExitStack
from inspect import signature
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.model_selection import GridSearchCV

from skatra.datasets import Database, make_edge_bars
from skatra.retraining import DaskBackend, RetrainConfig, _steps, read_card
from skatra.retraining._fold_data import SearchRows
from skatra.retraining._retrain import run
from skatra.retraining._session import Session
from skatra.retraining._steps import (
    boosting,
    inner_classifier,
    lightgbm_classifier,
    purged_kfold,
    routing,
    search,
    split_holdout,
    weighted_log_loss,
)
from skatra.retraining._tasks import Threads
from skatra.sizing import KellyClassifier

STOPPING = {"early_stopping_rounds": 2, "early_stopping_fraction": 0.2}
NOTES = "SKATRA_TEST_NOTES"
"""Names the folder in which every process keeps its notes, worker processes too."""


class Recorder(LGBMClassifier):
    """LightGBM that keeps account of the rows it is given."""

    def fit(self, X, y, sample_weight=None, eval_X=None, eval_y=None, **kwargs):
        """Fit, and remember on what; write down what says when to stop."""
        self.rows_ = X.index
        if eval_X is not None:
            note("stops", X.index, eval_X.index)
            if "eval_X" in signature(LGBMClassifier.fit).parameters:
                kwargs |= {"eval_X": eval_X, "eval_y": eval_y}
            else:
                kwargs["eval_set"] = [(eval_X, eval_y)]
        return super().fit(X, y, sample_weight=sample_weight, **kwargs)

    def predict_proba(self, X, *args, **kwargs):
        """Predict, and write down what, and what was learned from."""
        if hasattr(self, "rows_") and hasattr(X, "index"):
            note("predicts", self.rows_, X.index)
        return super().predict_proba(X, *args, **kwargs)


class KellyRecorder(KellyClassifier):
    """Kelly that keeps account of the rows whose returns it learns from."""

    def fit(
        self, X, y, sample_weight=None, returns=None, label_times=None, **fit_params
    ):
        """Fit, and remember whose returns came."""
        self.paid_ = returns.index
        assert self.paid_.equals(X.index)
        return super().fit(
            X,
            y,
            sample_weight=sample_weight,
            returns=returns,
            label_times=label_times,
            **fit_params,
        )

    def decision_function(self, X):
        """Size, and write down what, and whose returns said how."""
        note("sizes", self.paid_, X.index)
        return super().decision_function(X)


def note(what, fitted, other):
    """Write down two sets of rows, in a file of this process and thread."""
    folder = Path(os.environ[NOTES])
    name = f"{os.getpid()}-{threading.get_ident()}.pickle"
    with (folder / name).open("ab") as file:
        pickle.dump((what, fitted, other), file)


def take_notes(folder):
    """Return what was written down since the last time, and forget it."""
    notes = []
    for path in sorted(folder.glob("*.pickle")):
        with path.open("rb") as file:
            while file.peek(1):
                notes.append(pickle.load(file))  # noqa: S301 - our own
        path.unlink()
    return notes


def recorder(config, params):
    """Return the run's model as one that keeps account."""
    plain = lightgbm_classifier(config, params)
    with routing():
        return Recorder(**plain.get_params()).set_fit_request(sample_weight=True)


def write_market(path, n_bars):
    """Write two symbols with an edge, and features that tell of it."""
    bars = make_edge_bars(n_bars, edge=0.6, symbols=("A", "B"), seed=4)
    volume = np.log(bars["volume"])
    features = pd.DataFrame(
        {"volume": volume, "change": volume.groupby("symbol").diff().fillna(0.0)}
    )
    with Database(path, create=True) as db:
        db.write_bars(bars)
        db.write_features(features, "mine")


@pytest.fixture(
    scope="module",
    params=[({}, "threads"), (STOPPING, "threads"), (STOPPING, "dask")],
    ids=["threads", "stopping early", "stopping early on dask"],
)
def audited(request, tmp_path_factory):
    """Return a run that met a champion, its settings, that champion, and all notes.

    A note is (stage, "predicts", "sizes" or "stops", rows learned from, other rows).
    """
    options, backend = request.param
    folder = tmp_path_factory.mktemp("audit")
    config = RetrainConfig(
        database=folder / "market.db",
        models=folder / "models",
        feature_set="mine",
        max_holding=3,
        n_splits=3,
        n_estimators=5,
        param_grid={"num_leaves": [3, 5], "min_child_samples": [5]},
        n_paths=3,
        **options,
    )
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv(NOTES, str(folder))
        patch.setattr(_steps, "KellyClassifier", KellyRecorder)
        where = Threads(1)
        if backend == "dask":
            where = DaskBackend(stack.enter_context(two_workers()).scheduler_address)
        seen, stage = [], ["none"]

        def observe(event):
            if event["event"] == "stage":
                seen.extend((stage[0], *found) for found in take_notes(folder))
                stage[0] = event["stage"]

        for n_bars in (600, 900):
            champion = read_card(config.models) if n_bars > 600 else None
            write_market(config.database, n_bars)
            session = Session(backend=where, make_model=recorder, observe=observe)
            seen.clear()
            with Database(config.database) as db:
                result = run(db, config, session)
            seen.extend((stage[0], *found) for found in take_notes(folder))
    return result, config, champion, list(seen)


def two_workers():
    """Return a Dask cluster of two worker processes."""
    distributed = pytest.importorskip("distributed", reason="needs skatra[dask]")
    return distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        host="127.0.0.1",
    )


def leaks(rows, fitted, predicted):
    """Count overlapping pairs of a fitted and a predicted label, by brute force."""
    times = rows.label_times
    start = pd.DatetimeIndex(times.index.get_level_values(1)).as_unit("ns").asi8
    end = pd.DatetimeIndex(times).as_unit("ns").asi8
    left, right = times.index.get_indexer(fitted), times.index.get_indexer(predicted)
    assert min(left.min(), right.min()) >= 0
    before = start[left][:, None] <= end[right][None, :]
    after = end[left][:, None] >= start[right][None, :]
    return int((before & after).sum())


def test_no_stage_predicts_what_its_fit_overlaps(audited):
    """Search, calibration, paths, gate, importance: 0 leaking pairs in all.

    The comparison of splitters is left out: two of its three leak, to be shown.
    """
    result, config, champion, seen = audited
    counts = {}
    for stage, what, fitted, other in seen:
        if what != "predicts" or stage == "compare":
            continue
        if stage == "publish" and len(other.difference(fitted)) == 0:
            continue  # what was written is read back and compared
        counts.setdefault(stage, []).append(leaks(result.rows, fitted, other))

    stages = {"paths", "holdout", "gate", "importance", "publish"}
    if config.early_stopping_rounds:
        stages.add("search")
    assert champion is not None
    assert result.verdict.champion_id is not None
    assert counts.keys() == stages
    assert {stage: sum(found) for stage, found in counts.items()} == dict.fromkeys(
        counts, 0
    )
    assert sum(map(len, counts.values())) > 50


def test_no_stage_stakes_on_rows_whose_returns_it_learned(audited):
    """Payoffs that Kelly sizes by come from rows that overlap none of those sized.

    Every position of paths, held-out rows and the gate is in the audit; what is
    published is read back and compared on rows that it learned from, to be served on
    none of them.
    """
    result, config, champion, seen = audited
    counts, sized = {}, {}
    for stage, what, paid, other in seen:
        if what == "sizes" and stage not in ("compare", "publish"):
            counts.setdefault(stage, []).append(leaks(result.rows, paid, other))
            sized[stage] = sized.get(stage, other[:0]).union(other)

    assert {stage: sum(found) for stage, found in counts.items()} == {
        "paths": 0,
        "holdout": 0,
        "gate": 0,
    }
    development, held_out = split_holdout(result.rows, config)
    assert set(sized["paths"]) == set(development.data.index)
    assert set(sized["holdout"]) == set(held_out.data.index)
    assert set(sized["gate"]) == set(result.decision.contest.probability.index)
    assert champion is not None


def test_what_says_stop_overlaps_no_row_that_trees_learn_from(audited):
    """In every stage stopping rows are purged, after the others, and the gap away.

    The comparison is not left out here: whatever its splitters leak, what stops a
    fit does not overlap what it learns from.
    """
    result, config, _, seen = audited
    found = [entry for entry in seen if entry[1] == "stops"]
    if not config.early_stopping_rounds:
        assert not found
        return

    assert {stage for stage, *_ in found} == {
        "search", "compare", "paths", "holdout", "gate", "importance", "publish",
    }  # fmt: skip
    gap = pd.Timedelta(config.embargo)
    ends = result.rows.label_times
    for _, _, fitted, watched in found:
        assert leaks(result.rows, fitted, watched) == 0
        assert ends.loc[fitted].max() + gap < watched.get_level_values(1).min()


def test_the_purged_part_of_the_comparison_leaks_nothing(audited):
    """Fits on shuffled rows leak, and the audit sees it; so it can see."""
    result, _, _, seen = audited
    found = [
        leaks(result.rows, fitted, other)
        for stage, what, fitted, other in seen
        if (stage, what) == ("compare", "predicts")
    ]

    assert 0 < sum(count > 0 for count in found) < len(found)


def test_held_out_rows_reach_no_fit_before_their_turn(audited):
    """Search, paths and importance see development rows alone; all fits learn there."""
    result, config, _, seen = audited
    development, held_out = split_holdout(result.rows, config)
    for stage, _, fitted, other in seen:
        if stage in ("search", "paths", "importance", "holdout"):
            assert fitted.isin(development.data.index).all()
        if stage in ("search", "paths", "importance"):
            assert other.isin(development.data.index).all()
    judged = [
        other for stage, what, _, other in seen if (stage, what) == ("holdout", "sizes")
    ]
    assert any(len(rows) == len(held_out) for rows in judged)


def test_the_gate_judges_what_the_champion_has_not_seen(audited):
    """Rows judged start after the champion's last training label and the embargo."""
    result, config, champion, _ = audited
    card = read_card(result.model_path)
    since = pd.Timestamp(card["judged_since"])

    assert since > pd.Timestamp(champion["trained_until"]) + pd.Timedelta(
        config.embargo
    )


def test_the_search_scores_what_its_fits_have_not_seen(audited, monkeypatch):
    """What reaches the search's Datasets and scores overlaps in no fold: 0 leaks.

    Its scores are those of scikit-learn on the same rows.
    """
    result, config, _, _ = audited
    rows, _ = split_holdout(result.rows, config)
    parts = {}
    cut = SearchRows.part

    def watched(self, fold, *, test):
        part = cut(self, fold, test=test)
        parts.setdefault(fold, {}).setdefault(test, []).append(part[0].index)
        return part

    monkeypatch.setattr(SearchRows, "part", watched)
    plain = dataclasses.replace(
        config, early_stopping_rounds=0, early_stopping_fraction=0.15
    )
    found = search(rows, plain, Session())
    monkeypatch.undo()
    with routing():
        theirs = GridSearchCV(
            lightgbm_classifier(plain, boosting(plain)),
            {name: list(values) for name, values in config.param_grid.items()},
            cv=purged_kfold(config),
            scoring=weighted_log_loss(),
            refit=False,
            error_score="raise",
        ).fit(
            rows.data,
            rows.target,
            sample_weight=rows.sample_weight,
            label_times=rows.label_times,
        )

    assert sorted(parts) == [0, 1, 2]
    for fold in parts.values():
        for fitted in fold[False]:
            for scored in fold[True]:
                assert leaks(rows, fitted, scored) == 0
    np.testing.assert_allclose(
        np.sort(found.table["log_loss"]),
        np.sort(-theirs.cv_results_["mean_test_score"]),
        rtol=0,
        atol=1e-12,
    )


def test_a_search_that_stops_early_is_scikit_learn_s(audited):
    """Scores and trees equal GridSearchCV over PurgedEarlyStoppingClassifier."""
    result, config, _, _ = audited
    if not config.early_stopping_rounds:
        config = dataclasses.replace(config, **STOPPING)
    rows, _ = split_holdout(result.rows, config)
    found = search(rows, config, Session()).table
    with routing():
        theirs = GridSearchCV(
            inner_classifier(config, boosting(config)),
            {f"estimator__{k}": list(v) for k, v in config.param_grid.items()},
            cv=purged_kfold(config),
            scoring=weighted_log_loss(),
            error_score="raise",
        ).fit(
            rows.data,
            rows.target,
            sample_weight=rows.sample_weight,
            label_times=rows.label_times,
        )

    np.testing.assert_array_equal(
        np.sort(found["log_loss"]), np.sort(-theirs.cv_results_["mean_test_score"])
    )
    best = found.iloc[0][list(config.param_grid)].to_dict()
    assert {f"estimator__{k}": v for k, v in best.items()} == theirs.best_params_
    assert found["trees"].between(1, config.n_estimators).all()
