"""Models on disk: LightGBM text and a JSON card, published in one atomic step."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin

from skatra.exceptions import ModelCorruptError, ModelError, ModelNotFoundError
from skatra.retraining._files import write_folder
from skatra.sizing import KellyClassifier, kelly_from_dict, kelly_to_dict
from skatra.typing import FloatArray
from skatra.utils import HTMLRepr, json_ready

MODEL_FILE = "model.txt"
CARD_FILE = "card.json"
POINTER_FILE = "CURRENT"
RUN_ID_LENGTH = 12
_WAY_OUT = "Restore the folder, or serve another with skatra models promote."
_MANY_ROWS = 50_000
"""Rows from which on it pays to predict by OpenMP's default of threads."""
_FORKED = Event()
if hasattr(os, "register_at_fork"):
    # A child has none of its parent's OpenMP threads, and waits for them for ever.
    os.register_at_fork(after_in_child=_FORKED.set)
_RUN_ID = re.compile(f"[0-9a-f]{{{RUN_ID_LENGTH}}}")


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
        threads = 1 if _FORKED.is_set() or len(values) < _MANY_ROWS else 0
        positive = np.asarray(self.booster.predict(values, num_threads=threads))
        return np.column_stack([1.0 - positive, positive])

    def predict(self, X: Any) -> Any:
        """Return the more probable class of each row, shape (n,)."""
        return self.classes_[np.argmax(self.predict_proba(X), axis=1)]


def digest(content: bytes) -> str:
    """Return the SHA-256 of some bytes."""
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
        "model_sha256": digest(text),
        "kelly": kelly_to_dict(model),
    }
    document = json.dumps(
        json_ready(card), indent=1, sort_keys=True, allow_nan=False
    ).encode()
    run_id = digest(document)[:RUN_ID_LENGTH]
    folder = models / run_id
    write_folder(folder, {MODEL_FILE: text, CARD_FILE: document})
    return run_id, folder


def is_model(folder: Path) -> bool:
    """Tell whether a folder is a model's, by its card or, without one, its name."""
    if not folder.is_dir() or folder.name.startswith("."):
        return False
    return (folder / CARD_FILE).is_file() or bool(_RUN_ID.fullmatch(folder.name))


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
    ModelNotFoundError
        If there is no model.
    ModelCorruptError
        If its files do not match their checksums.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skatra.datasets import Database, make_edge_bars
    >>> from skatra.retraining import RetrainConfig, read_card, retrain
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name)
    >>> with Database(path / "market.db", create=True) as db:
    ...     _ = db.write_bars(make_edge_bars(1500, edge=0.4))
    >>> config = RetrainConfig(
    ...     database=path / "market.db", models=path / "models", max_holding=5,
    ...     n_splits=2, n_estimators=10, param_grid={"num_leaves": [4]}, n_paths=0)
    >>> result = retrain(config)
    >>> read_card(result.model_path)["promoted"] == result.verdict.promoted
    True
    >>> folder.cleanup()
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
    ModelNotFoundError
        If there is no model.
    ModelCorruptError
        If its files do not match their checksums.

    Examples
    --------
    >>> from skatra.retraining import load_model
    >>> load_model("absent")
    Traceback (most recent call last):
        ...
    skatra.exceptions.ModelNotFoundError: no model at absent: ...
    """
    return _load(*_read(Path(path)))


def _load(folder: Path, card: dict[str, Any]) -> KellyClassifier:
    """Build a fitted model from its verified files."""
    try:
        name, expected, state = card["model_file"], card["model_sha256"], card["kelly"]
        tolerated = set(card.get("nonfinite_features", state["features"]))
    except (KeyError, TypeError) as error:
        msg = f"{folder / CARD_FILE} is no card of a skatra model: it lacks {error}."
        raise ModelCorruptError(msg) from error
    try:
        text = (folder / name).read_bytes()
    except OSError as error:
        msg = f"the model in {folder} cannot be read: {error}. {_WAY_OUT}"
        raise ModelCorruptError(msg) from error
    if digest(text) != expected:
        msg = f"{folder / name} does not match the checksum in its card. {_WAY_OUT}"
        raise ModelCorruptError(msg)
    if _FORKED.is_set():
        # Reading a model takes no parameters, and as many threads as the last call.
        options = {"num_threads": 1, "verbose": -1, "min_data_in_bin": 1}
        lgb.Dataset(np.arange(8.0)[:, None], params=options).construct()
    booster = lgb.Booster(model_str=text.decode())
    names = state["features"]
    finite = [name for name in names if name not in tolerated]
    inner = BoosterClassifier(booster, state["classes"], names, finite)
    return kelly_from_dict(state, inner)


@dataclass(frozen=True, slots=True)
class Champion(HTMLRepr):
    """The served model.

    Attributes
    ----------
    run_id : str
    model : KellyClassifier
        Fitted.
    card : dict
        Settings, scores, verdict, lineage and what Kelly learned.
    trained_until : Timestamp
        Latest t1 of the rows that it was fitted on, UTC.
    withdrawn : (str, Timestamp) or None
        A model that was rolled back in its favour, and until when that one learned.
    """

    run_id: str
    model: KellyClassifier
    card: dict[str, Any]
    trained_until: pd.Timestamp
    withdrawn: tuple[str, pd.Timestamp] | None = None

    @property
    def seen_until(self) -> pd.Timestamp:
        """Latest t1 that it or the model withdrawn in its favour has learned."""
        if self.withdrawn is None:
            return self.trained_until
        return max(self.trained_until, self.withdrawn[1])


def load_champion(models: Path | str) -> KellyClassifier:
    """Load the promoted model of a models folder; nothing is unpickled.

    Parameters
    ----------
    models : path-like
        The models folder.

    Returns
    -------
    KellyClassifier
        Fitted; predicts bit for bit what the published model predicts, and refuses
        columns that are missing or in another order.

    Raises
    ------
    ModelNotFoundError
        If no model is promoted.
    ModelCorruptError
        If its files do not match their checksums.

    See Also
    --------
    load_model : Any model of the folder, promoted or refused.

    Examples
    --------
    >>> from skatra.retraining import load_champion
    >>> load_champion("absent")
    Traceback (most recent call last):
        ...
    skatra.exceptions.ModelNotFoundError: no model is promoted in absent: ...
    """
    folder = Path(models)
    read_pointer(folder)
    return load_model(folder)


def read_champion(
    models: Path | str,
    run_id: str | None = None,
    note: Mapping[str, str] | None = None,
) -> Champion:
    """Return the promoted model, or the one named, with what it must say of itself.

    ``note`` is of the model that was withdrawn in favour of the one named; the pointer
    has that of the promoted one.
    """
    folder = Path(models)
    if run_id is None:
        note = read_pointer(folder).get("withdrawn")
        path, card = _read(folder)
    else:
        path, card = _read(folder / run_id)
    run_id = path.name
    if "trained_until" not in card:
        msg = (
            f"the card of the model {run_id} in {folder} does not say when its "
            "training ended, as those of older versions, so that nothing can be judged "
            f"against it. Remove {folder / POINTER_FILE} to start without a champion."
        )
        raise ModelError(msg)
    until = _utc(card["trained_until"])
    withdrawn = None
    if note is not None:
        withdrawn = note["run_id"], _utc(note["trained_until"])
    return Champion(run_id, _load(path, card), card, until, withdrawn)


def _utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text).tz_convert("UTC")


def read_pointer(models: Path) -> dict[str, Any]:
    """Return what the pointer says: the champion and those before it.

    Raises
    ------
    ModelNotFoundError
        If no model is promoted.
    """
    pointer = models / POINTER_FILE
    if not pointer.exists():
        msg = (
            f"no model is promoted in {models}: skatra retrain promotes one that its "
            "gate lets pass (skatra models list says why others were refused), and "
            "skatra models promote serves one unjudged."
        )
        raise ModelNotFoundError(msg)
    try:
        current = _parse(pointer)
        name, history = current["run_id"], current.get("before", [])
        # A name of another form could lead out of the folder.
        named = [name, current["card_sha256"], *history]
        if (note := current.get("withdrawn")) is not None:
            named += [note["run_id"], _utc(note["trained_until"]).isoformat()]
        if all(isinstance(text, str) for text in named) and Path(name).name == name:
            return current
        reason = f"{pointer} names no model of this folder."
    except (KeyError, TypeError, ValueError):
        reason = f"{pointer} names no model."
    except ModelCorruptError as error:
        reason = str(error)
    msg = f"{reason} Promote one with skatra models promote."
    raise ModelCorruptError(msg)


def _read(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return a model's folder and card; follow the pointer of a models folder."""
    folder, expected = path, None
    pointer = path / POINTER_FILE
    if pointer.exists():
        current = read_pointer(path)
        folder, expected = path / current["run_id"], current["card_sha256"]
    card = folder / CARD_FILE
    if not card.exists():
        if expected is None and is_model(folder):
            msg = (
                f"the model in {folder} has lost its {CARD_FILE}. Restore it, or move "
                "the folder away."
            )
            raise ModelCorruptError(msg)
        msg = (
            f"no model at {path}: it holds neither {CARD_FILE} nor {POINTER_FILE}. "
            "Name a model's folder, or promote a model with skatra retrain."
            if expected is None
            else f"{pointer} names the model {folder.name}, whose {CARD_FILE} is gone. "
            "Restore the folder, promote another with skatra models promote, or remove "
            f"{POINTER_FILE} to start without a champion."
        )
        raise (ModelNotFoundError if expected is None else ModelCorruptError)(msg)
    content = card.read_bytes()
    if expected is not None and digest(content) != expected:
        msg = f"{card} does not match the checksum in {pointer}. {_WAY_OUT}"
        raise ModelCorruptError(msg)
    if _RUN_ID.fullmatch(folder.name) and not digest(content).startswith(folder.name):
        msg = f"{card} does not match the checksum in its folder's name. {_WAY_OUT}"
        raise ModelCorruptError(msg)
    return folder, _parse(card)


def _parse(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read as JSON: {error}. Restore it."
        raise ModelCorruptError(msg) from error
    if not isinstance(document, dict):
        msg = f"{path} must hold an object, got {type(document).__name__}. Restore it."
        raise ModelCorruptError(msg)
    return document
