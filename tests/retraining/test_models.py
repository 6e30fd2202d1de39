"""The models folder: one champion at any moment, a way back, damage named."""

import json
import multiprocessing
import os
import signal
import sys
import time

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier

from skatra.datasets import Database
from skatra.exceptions import ModelCorruptError, ModelError, ModelNotFoundError
from skatra.model_selection import PurgedKFold
from skatra.retraining import (
    list_models,
    load_champion,
    load_model,
    promote_model,
    rollback_model,
    show_model,
    verify_models,
)
from skatra.retraining._references import reference_histograms
from skatra.retraining._registry import read_champion, write_model
from skatra.sizing import KellyClassifier

UNTIL = "2024-01-02T00:00:00+00:00"


@pytest.fixture(scope="module")
def fitted():
    """Return a fitted model and rows that it has not seen."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(300, 2)), columns=["a", "b"])
    returns = 0.02 * X["a"].to_numpy() + rng.normal(scale=0.03, size=300)
    times = np.arange(300)
    model = KellyClassifier(
        LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1),
        calibration="sigmoid",
        cv=PurgedKFold(3),
    ).fit(
        X,
        np.where(returns > 0, 1, -1),
        returns=returns,
        label_times=np.column_stack([times, times + 3]),
    )
    return model, pd.DataFrame(rng.normal(size=(50, 2)), columns=["a", "b"])


@pytest.fixture
def models(fitted, tmp_path):
    """Return a folder with three models, the second refused, none promoted."""
    folder = tmp_path / "models"
    for number, outcome in enumerate(("promoted", "refused", "promoted")):
        card = {
            "number": number,
            "outcome": outcome,
            "promoted": outcome == "promoted",
            "reason": f"reason {number}",
            "trained_until": UNTIL,
            "lineage": {"data_sha256": f"d{number}"},
        }
        write_model(fitted[0], card, folder)
        time.sleep(0.01)
    return folder


def ids(models):
    """Return run ids, the first written first."""
    return list(list_models(models).index)


def test_models_are_listed_with_their_verdicts(models):
    """Refused ones are kept, with the reason; the champion is marked."""
    first, second, third = ids(models)
    promote_model(models, first)
    frame = list_models(models)

    assert frame["champion"].tolist() == [True, False, False]
    assert frame["outcome"].tolist() == ["promoted", "refused", "promoted"]
    assert frame["reason"].tolist() == ["reason 0", "reason 1", "reason 2"]
    assert frame["data_sha256"].tolist() == ["d0", "d1", "d2"]
    assert (frame["trained_until"] == pd.Timestamp(UNTIL)).all()
    assert (frame["problem"] == "").all()
    assert show_model(models)["run_id"] == first
    assert show_model(models, third[:6])["number"] == 2
    assert not show_model(models, second)["champion"]
    assert read_champion(models).trained_until == pd.Timestamp(UNTIL)


def test_back_and_forth(models):
    """Each rollback undoes one promotion; a repeated promotion is none."""
    first, second, third = ids(models)
    served = [promote_model(models, run) for run in (first, second, second, third)]
    back = [rollback_model(models), rollback_model(models)]

    assert served == [first, second, second, third]
    assert back == [second, first]
    with pytest.raises(ModelNotFoundError, match="before the one that is served"):
        rollback_model(models)
    assert show_model(models)["run_id"] == first


def test_the_champion_decides_as_it_was_fitted(fitted, models):
    """Bit for bit; permuted and missing columns are refused by name."""
    model, rows = fitted
    with pytest.raises(ModelNotFoundError, match="no model is promoted"):
        load_champion(models)
    promote_model(models, ids(models)[0])
    champion = load_champion(models)

    np.testing.assert_array_equal(
        champion.decision_function(rows), model.decision_function(rows)
    )
    with pytest.raises(ValueError, match="feature names"):
        champion.decision_function(rows[["b", "a"]])
    with pytest.raises(ValueError, match="- b"):
        champion.decision_function(rows[["a"]])


def test_a_damaged_model_is_named_and_never_promoted(models):
    """The champion stands, the others stay usable."""
    first, second, _ = ids(models)
    promote_model(models, first)
    text = models / second / "model.txt"
    text.write_bytes(text.read_bytes().replace(b"tree", b"tref", 1))
    with pytest.raises(ModelCorruptError, match="checksum"):
        promote_model(models, second)
    problems = verify_models(models)

    assert list(problems) == [second]
    assert "checksum" in list_models(models).loc[second, "problem"]
    assert show_model(models)["run_id"] == first
    card = models / first / "card.json"
    card.write_text(card.read_text().replace("reason 0", "reason 9"))
    assert set(verify_models(models)) == {first, second, "CURRENT"}
    with pytest.raises(ModelCorruptError, match="checksum"):
        load_model(models)


@pytest.mark.parametrize(
    "pointer",
    [
        "",
        "[]",
        "{}",
        '{"run_id": "../../etc", "card_sha256": "x"}',
        '{"run_id": 5, "card_sha256": "x"}',
        '{"run_id": "a", "card_sha256": "x", "before": [1]}',
        '{"run_id": "0123456789ab", "card_sha256": "x"}',
    ],
)
def test_promoting_is_the_way_out_of_a_damaged_pointer(models, pointer):
    """Models can be listed and shown, nothing is served, and a promotion mends it."""
    first, second, _ = list_models(models).index
    promote_model(models, first)
    (models / "CURRENT").write_text(pointer)
    with pytest.raises(ModelError, match="promote"):
        load_champion(models)

    assert not list_models(models)["champion"].any()
    assert not show_model(models, second)["champion"]
    assert set(verify_models(models)) == {"CURRENT"}
    promote_model(models, first)
    assert list_models(models)["champion"].tolist() == [True, False, False]
    assert verify_models(models) == {}


def test_a_model_without_its_card_is_damaged_until_it_is_moved_away(models, fitted):
    """Listed and named, never promoted; who would write it again is told to move it."""
    whole = {run_id: show_model(models, run_id) for run_id in ids(models)}
    lost = ids(models)[1]
    card = {k: v for k, v in whole[lost].items() if k not in ("run_id", "champion")}
    (models / lost / "card.json").unlink()
    (models / "notes").mkdir()

    assert set(ids(models)) == set(whole)
    assert "has lost its card.json" in list_models(models).loc[lost, "problem"]
    assert list(verify_models(models)) == [lost]
    with pytest.raises(ModelCorruptError, match="move the folder away"):
        promote_model(models, lost)
    for name in ("model_file", "model_sha256", "kelly"):
        del card[name]
    with pytest.raises(FileExistsError, match="move it away and run again"):
        write_model(fitted[0], card, models)
    (models / lost).rename(models / "notes" / "old")
    assert write_model(fitted[0], card, models)[0] == lost
    assert verify_models(models) == {}


def test_a_folder_that_is_not_there_is_not_sound(tmp_path):
    """A mistyped path is an error; a file is no folder of models either."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(ModelNotFoundError, match="Check the path"):
            verify_models(path)


def test_the_database_must_agree(models, tmp_path):
    """A champion that the runs table does not know, or knows otherwise, is named."""
    first = ids(models)[0]
    promote_model(models, first)
    path = tmp_path / "x.db"
    with Database(path, create=True) as db:
        db.write_run("other", {})
        assert "no run of this name" in verify_models(models, path)[first]
        card = json.loads((models / first / "card.json").read_text())
        db.write_run(first, {**card, "seconds": {"search": 1.0}})
        assert verify_models(models, path) == {}
        db.write_run(first, {**card, "number": 7})
        assert "differ in ['number']" in verify_models(models, path)[first]


def test_names_may_be_cut_short_while_they_are_clear(models, fitted):
    """An unknown name lists those there are; an ambiguous one asks for more."""
    with pytest.raises(ModelNotFoundError, match="there is no model 'zzz'"):
        promote_model(models, "zzz")
    number = 3
    starts = {run[0] for run in ids(models)}
    while len(starts) == len(ids(models)):
        write_model(fitted[0], {"number": number, "trained_until": UNTIL}, models)
        number += 1
        starts = {run[0] for run in ids(models)}
    twice = max(starts, key=lambda c: sum(run[0] == c for run in ids(models)))
    with pytest.raises(ModelError, match="Give more of it"):
        promote_model(models, twice)


def test_a_card_without_its_training_end_is_no_opponent(models, fitted):
    """A model of an older version can be served, and says what it lacks."""
    run_id, _ = write_model(fitted[0], {}, models)
    promote_model(models, run_id)
    load_champion(models)
    with pytest.raises(ModelError, match="when its training ended"):
        read_champion(models)


def turn(models, runs):
    """Promote one model after the other for ever."""
    while True:
        for run in runs:
            promote_model(models, run)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_at_any_moment_there_is_one_champion(models):
    """A reader always finds a whole champion; nothing half-written is served."""
    runs = ids(models)
    promote_model(models, runs[0])
    context = multiprocessing.get_context("spawn")
    for delay in (0.0, 0.01, 0.03):
        process = context.Process(target=turn, args=(models, runs))
        process.start()
        try:
            pointer = (models / "CURRENT").read_bytes()
            deadline = time.monotonic() + 60
            while (models / "CURRENT").read_bytes() == pointer:
                assert time.monotonic() < deadline
                time.sleep(0.005)
            for _ in range(20):
                load_champion(models)
            time.sleep(delay)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        assert verify_models(models) == {}
        assert list_models(models)["champion"].sum() == 1


def test_references_count_every_row():
    """Histograms hold all finite values, the missing are counted on their own."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": rng.normal(size=1000), "y": np.repeat([0.0, 1.0], 500)})
    data.iloc[:7, 0] = np.nan
    found = reference_histograms(data, rng.uniform(size=300))
    x, y = found["features"]["x"], found["features"]["y"]

    assert sum(x["counts"]) + x["missing"] == 1000
    assert max(x["counts"]) - min(x["counts"]) <= 1
    assert (sum(y["counts"]), y["missing"]) == (1000, 0)
    assert sum(found["probability"]["counts"]) == 300
    assert len(found["probability"]["edges"]) + 1 == 20
