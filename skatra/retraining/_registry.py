"""Models on disk: LightGBM text and a JSON card, published in one atomic step."""

import hashlib
import json
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin

from skatra.exceptions import SkatraError
from skatra.retraining._files import write_file, write_folder
from skatra.sizing import KellyClassifier, kelly_from_dict, kelly_to_dict
from skatra.typing import FloatArray
from skatra.utils import json_ready

MODEL_FILE = "model.txt"
CARD_FILE = "card.json"
POINTER_FILE = "CURRENT"


class BoosterClassifier(ClassifierMixin, BaseEstimator):
    """A LightGBM booster read from text, as the inner classifier of a model.

    Parameters
    ----------
    booster : lightgbm.Booster
    classes : array-like of shape (2,)
    features : sequence of str
        Columns in order.
    finite : sequence of str
        Columns that held no NaN or infinity in training and must hold none now.
    """

    def __init__(self, booster: Any, classes: Any, features: Any, finite: Any) -> None:
        self.booster = booster
        self.classes = classes
        self.features = features
        self.finite = finite

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: a booster is read from disk fitted."""
        return True

    @property
    def classes_(self) -> Any:
        """Class labels, shape (2,)."""
        return np.asarray(self.classes)

    def predict_proba(self, X: Any) -> FloatArray:
        """Return the booster's probabilities, shape (n, 2)."""
        values = np.asarray(X, dtype=np.float64)
        strange = np.logical_not(np.isfinite(values).all(axis=0)).tolist()
        bad = [n for n, s in zip(self.features, strange, strict=True) if s]
        if refused := [name for name in bad if name in set(self.finite)]:
            msg = (
                f"X must be finite in {refused}, as the training rows were. Leave out "
                "the rows that are not; a model says nothing about them."
            )
            raise ValueError(msg)
        positive = np.asarray(self.booster.predict(values))
        return np.column_stack([1.0 - positive, positive])

    def predict(self, X: Any) -> Any:
        """Return the more probable class of each row, shape (n,)."""
        return self.classes_[np.argmax(self.predict_proba(X), axis=1)]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def nonfinite_features(X: pd.DataFrame) -> list[str]:
    """Return the columns in which training rows held NaN or infinities."""
    finite = np.isfinite(X.to_numpy(dtype=np.float64)).all(axis=0)
    return [str(name) for name, good in zip(X.columns, finite, strict=True) if not good]


def write_model(
    model: KellyClassifier, card: dict[str, Any], models: Path
) -> tuple[str, Path]:
    """Write a fitted model and its card; nothing serves it yet.

    Returns the run's identity, which depends on the model and the card alone, and
    the model's folder.
    """
    text = model.estimator_.booster_.model_to_string().encode()
    card = {
        **card,
        "model_file": MODEL_FILE,
        "model_sha256": _digest(text),
        "kelly": kelly_to_dict(model),
    }
    document = json.dumps(
        json_ready(card), indent=1, sort_keys=True, allow_nan=False
    ).encode()
    run_id = _digest(document)[:12]
    folder = models / run_id
    write_folder(folder, {MODEL_FILE: text, CARD_FILE: document})
    return run_id, folder


def promote_model(models: Path, run_id: str) -> None:
    """Point to a written model, in one atomic step."""
    document = (models / run_id / CARD_FILE).read_bytes()
    pointer = {"run_id": run_id, "card_sha256": _digest(document)}
    write_file(models / POINTER_FILE, json.dumps(pointer).encode())


def read_card(path: Path | str) -> dict[str, Any]:
    """Return the card of a published model.

    Parameters
    ----------
    path : path-like
        A model's folder, or a models folder, whose promoted model is meant.

    Returns
    -------
    dict
        Settings, scores, verdict, lineage and what Kelly learned.

    Raises
    ------
    SkatraError
        If there is no model, or its files do not match their checksums.
    """
    return _read(Path(path))[1]


def load_model(path: Path | str) -> KellyClassifier:
    """Load a published model; nothing is unpickled.

    Parameters
    ----------
    path : path-like
        A model's folder, or a models folder, whose promoted model is meant.

    Returns
    -------
    KellyClassifier
        Fitted; predicts bit for bit what the published model predicts, and refuses
        columns that are missing or in another order.

    Raises
    ------
    SkatraError
        If there is no model, or its files do not match their checksums.

    Examples
    --------
    >>> from skatra.retraining import load_model
    >>> load_model("absent")
    Traceback (most recent call last):
        ...
    skatra.exceptions.SkatraError: no model at absent: ...
    """
    folder, card = _read(Path(path))
    try:
        text = (folder / card["model_file"]).read_bytes()
        expected, state = card["model_sha256"], card["kelly"]
        tolerated = set(card.get("nonfinite_features", state["features"]))
    except (KeyError, TypeError) as error:
        msg = f"{folder / CARD_FILE} is no card of a skatra model: it lacks {error}."
        raise SkatraError(msg) from error
    except OSError as error:
        msg = f"the model in {folder} cannot be read: {error}. Restore the folder."
        raise SkatraError(msg) from error
    if _digest(text) != expected:
        msg = f"{folder / card['model_file']} does not match the checksum in its card."
        raise SkatraError(msg)
    booster = lgb.Booster(model_str=text.decode())
    names = state["features"]
    finite = [name for name in names if name not in tolerated]
    inner = BoosterClassifier(booster, state["classes"], names, finite)
    return kelly_from_dict(state, inner)


def _read(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return a model's folder and card; follow the pointer of a models folder."""
    folder, expected = path, None
    pointer = path / POINTER_FILE
    if pointer.exists():
        current = _parse(pointer)
        if not {"run_id", "card_sha256"} <= current.keys():
            msg = f"{pointer} names no model. Promote one with skatra retrain."
            raise SkatraError(msg)
        folder, expected = path / current["run_id"], current["card_sha256"]
    card = folder / CARD_FILE
    if not card.exists():
        msg = (
            f"no model at {path}: it holds neither {CARD_FILE} nor {POINTER_FILE}. "
            "Name a model's folder, or promote a model with skatra retrain."
        )
        raise SkatraError(msg)
    if expected is not None and _digest(card.read_bytes()) != expected:
        msg = f"{card} does not match the checksum in {pointer}."
        raise SkatraError(msg)
    return folder, _parse(card)


def _parse(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read as JSON: {error}. Restore it."
        raise SkatraError(msg) from error
    if not isinstance(document, dict):
        msg = f"{path} must hold an object, got {type(document).__name__}. Restore it."
        raise SkatraError(msg)
    return document
