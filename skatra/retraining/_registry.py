"""Models on disk: LightGBM text and a JSON card, published in one atomic step."""

import hashlib
import json
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
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
    """

    def __init__(self, booster: Any, classes: Any) -> None:
        self.booster = booster
        self.classes = classes

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: a booster is read from disk fitted."""
        return True

    @property
    def classes_(self) -> Any:
        """Class labels, shape (2,)."""
        return np.asarray(self.classes)

    def predict_proba(self, X: Any) -> FloatArray:
        """Return the booster's probabilities, shape (n, 2)."""
        positive = np.asarray(self.booster.predict(np.asarray(X, dtype=np.float64)))
        return np.column_stack([1.0 - positive, positive])

    def predict(self, X: Any) -> Any:
        """Return the more probable class of each row, shape (n,)."""
        return self.classes_[np.argmax(self.predict_proba(X), axis=1)]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def publish_model(
    model: KellyClassifier, card: dict[str, Any], models: Path, *, promote: bool
) -> tuple[str, Path]:
    """Write a fitted model and its card; move the pointer only on promotion.

    Returns the run's identity, which depends on the model and the card alone, and
    the model's folder.
    """
    booster = model.estimator_.booster_
    text = booster.model_to_string().encode()
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
    if promote:
        pointer = {"run_id": run_id, "card_sha256": _digest(document)}
        write_file(models / POINTER_FILE, json.dumps(pointer).encode())
    return run_id, folder


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
    text = (folder / card["model_file"]).read_bytes()
    if _digest(text) != card["model_sha256"]:
        msg = f"{folder / card['model_file']} does not match the checksum in its card."
        raise SkatraError(msg)
    booster = lgb.Booster(model_str=text.decode())
    state = card["kelly"]
    return kelly_from_dict(state, BoosterClassifier(booster, state["classes"]))


def _read(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return a model's folder and card; follow the pointer of a models folder."""
    folder, expected = path, None
    pointer = path / POINTER_FILE
    if pointer.exists():
        current = json.loads(pointer.read_bytes())
        folder, expected = path / current["run_id"], current["card_sha256"]
    try:
        document = (folder / CARD_FILE).read_bytes()
    except OSError as error:
        msg = (
            f"no model at {path}: it holds neither {CARD_FILE} nor {POINTER_FILE}. "
            "Name a model's folder, or promote a model with skatra retrain."
        )
        raise SkatraError(msg) from error
    if expected is not None and _digest(document) != expected:
        msg = f"{folder / CARD_FILE} does not match the checksum in {pointer}."
        raise SkatraError(msg)
    card: dict[str, Any] = json.loads(document)
    return folder, card
