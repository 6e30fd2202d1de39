"""Published models are whole, checked, and equal bit for bit to what was fitted."""

import json

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier

from skatra.exceptions import SkatraError
from skatra.model_selection import PurgedKFold
from skatra.retraining import load_model, promote_model, read_card
from skatra.retraining._registry import nonfinite_features, write_model
from skatra.sizing import KellyClassifier


def publish_model(model, card, models, *, promote):
    """Write a model, and serve it if asked."""
    run_id, folder = write_model(model, card, models)
    if promote:
        promote_model(models, run_id)
    return run_id, folder


def _data(n=400):
    """Return features, label, returns and label times."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=["a", "b", "c"])
    returns = 0.02 * X["a"].to_numpy() + rng.normal(scale=0.03, size=n)
    times = np.arange(n)
    return X, np.where(returns > 0, 1, -1), returns, np.column_stack([times, times + 3])


@pytest.fixture(params=[None, "sigmoid", "isotonic"])
def fitted(request):
    """Return a fitted model per calibration, and rows it has not seen."""
    X, y, returns, label_times = _data()
    model = KellyClassifier(
        LGBMClassifier(n_estimators=20, verbose=-1, n_jobs=1),
        calibration=request.param,
        cv=PurgedKFold(4),
        max_position=3.0,
    ).fit(X, y, returns=returns, label_times=label_times)
    rows = np.random.default_rng(1).normal(size=(200, 3)) * 2
    return model, pd.DataFrame(rows, columns=X.columns)


def test_loaded_model_is_equal_bit_for_bit(fitted, tmp_path):
    """Probabilities, labels and positions do not lose a bit on disk."""
    model, rows = fitted
    _, folder = publish_model(model, {}, tmp_path, promote=True)
    loaded = load_model(folder)

    for method in ("predict_proba", "predict", "decision_function"):
        np.testing.assert_array_equal(
            getattr(loaded, method)(rows), getattr(model, method)(rows)
        )
    assert loaded.get_params(deep=False).keys() == model.get_params(deep=False).keys()


def test_only_text_and_json_are_written(fitted, tmp_path):
    """A model is LightGBM text and a JSON card, never a pickle."""
    _, folder = publish_model(fitted[0], {"note": "x"}, tmp_path, promote=False)

    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "model.txt"]
    assert (folder / "model.txt").read_text().startswith("tree\n")
    assert json.loads((folder / "card.json").read_text())["note"] == "x"


def test_permuted_or_missing_columns_are_refused(fitted, tmp_path):
    """Columns in another order, or missing, never give a position."""
    model, rows = fitted
    _, folder = publish_model(model, {}, tmp_path, promote=False)
    loaded = load_model(folder)
    with pytest.raises(ValueError, match="feature names"):
        loaded.decision_function(rows[["c", "b", "a"]])
    with pytest.raises(ValueError, match="feature names"):
        loaded.decision_function(rows[["a", "b"]])


def test_pointer_moves_only_on_promotion(fitted, tmp_path):
    """A refused model is kept, and the served one stays."""
    model = fitted[0]
    first, _ = publish_model(model, {"version": 1}, tmp_path, promote=True)
    second, folder = publish_model(model, {"version": 2}, tmp_path, promote=False)

    assert first != second
    assert read_card(tmp_path)["version"] == 1
    assert read_card(folder)["version"] == 2


@pytest.mark.parametrize("name", ["model.txt", "card.json"])
def test_a_changed_file_is_refused(fitted, tmp_path, name):
    """One changed byte in the model or in the promoted card is found."""
    _, folder = publish_model(fitted[0], {}, tmp_path, promote=True)
    content = bytearray((folder / name).read_bytes())
    content[-2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(SkatraError, match="checksum"):
        load_model(tmp_path)


def test_rows_unlike_training_are_refused(fitted, tmp_path):
    """NaN and infinities are refused unless the training rows held some there."""
    model, rows = fitted
    card = {"nonfinite_features": nonfinite_features(rows.assign(b=np.nan))}
    _, folder = publish_model(model, card, tmp_path, promote=False)
    loaded = load_model(folder)
    loaded.decision_function(rows.assign(b=np.nan))
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="'a'"):
            loaded.decision_function(rows.assign(a=bad, b=bad))


@pytest.mark.parametrize("name", ["CURRENT", "card.json"])
@pytest.mark.parametrize("content", ["{", "{}", "[]"])
def test_broken_files_are_named(fitted, tmp_path, name, content):
    """A file that is no JSON, or lacks what it must hold, is named."""
    _, folder = publish_model(fitted[0], {}, tmp_path, promote=True)
    path = tmp_path / name if name == "CURRENT" else folder / name
    path.write_text(content)
    with pytest.raises(SkatraError, match=name):
        load_model(tmp_path if name == "CURRENT" else folder)


def test_a_lost_model_file_is_named(fitted, tmp_path):
    """A folder that lost its model says which file is missing."""
    _, folder = publish_model(fitted[0], {}, tmp_path, promote=False)
    (folder / "model.txt").unlink()
    with pytest.raises(SkatraError, match=r"model\.txt"):
        load_model(folder)


def test_no_model_is_said_so(tmp_path):
    """A folder without a model is named, with the way out."""
    with pytest.raises(SkatraError, match="no model at"):
        load_model(tmp_path)
    with pytest.raises(SkatraError, match="no model at"):
        read_card(tmp_path / "absent")
