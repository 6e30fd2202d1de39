"""The models folder: what is in it, what is served, and going back."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skatra.datasets import Database
from skatra.exceptions import (
    ModelError,
    ModelNotFoundError,
    PublishError,
    SkatraError,
)
from skatra.retraining._files import write_file
from skatra.retraining._lock import folder_lock
from skatra.retraining._registry import (
    CARD_FILE,
    POINTER_FILE,
    digest,
    is_model,
    load_model,
    read_card,
    read_pointer,
)

_KEPT = 1000
_COLUMNS = ("champion", "outcome", "reason", "trained_until", "data_sha256", "problem")


def _folder_of(models: Path, run_id: str) -> Path:
    """Return the folder of the one model whose identity starts like this."""
    found = [path for path in _folders(models) if path.name == run_id]
    found = found or [
        p for p in _folders(models) if run_id and p.name.startswith(run_id)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(path.name for path in found)
        raise ModelError(f"run_id {run_id!r} may mean {names}. Give more of it.")
    there = [path.name for path in _folders(models)]
    raise ModelNotFoundError(
        f"there is no model {run_id!r} in {models}; it holds {there or 'none'}."
    )


def _folders(models: Path) -> list[Path]:
    """Return the folders of models, the first written first."""
    if not models.is_dir():
        return []

    def written(folder: Path) -> tuple[int, str]:
        card = folder / CARD_FILE
        return (card if card.is_file() else folder).stat().st_mtime_ns, folder.name

    return sorted(filter(is_model, models.iterdir()), key=written)


def list_models(models: Path | str) -> pd.DataFrame:
    """Return every model of a folder, promoted or refused, the oldest first.

    Parameters
    ----------
    models : path-like
        The models folder; one that does not exist holds no models.

    Returns
    -------
    DataFrame of shape (n_models, 6)
        Index run_id; columns champion (bool: served now; none if the pointer is
        damaged, which :func:`verify_models` tells), outcome, reason,
        trained_until (UTC, NaT if unknown), data_sha256 and problem (what is wrong
        with its files; empty when they are sound).

    Examples
    --------
    >>> from skatra.retraining import list_models
    >>> list_models("absent").empty
    True
    """
    folder = Path(models)
    served = _served(folder)
    rows = []
    for path in _folders(folder):
        problem, card = "", {}
        try:
            load_model(path)
            card = read_card(path)
        except ModelError as error:
            problem = str(error)
        lineage = card.get("lineage", {})
        rows.append(
            (
                path.name == served,
                card.get("outcome", "promoted" if card.get("promoted") else "refused")
                if card
                else "",
                card.get("reason", ""),
                card.get("trained_until"),
                lineage.get("data_sha256", ""),
                problem,
            )
        )
    columns: list[Any] = list(zip(*rows, strict=True)) if rows else [()] * len(_COLUMNS)
    frame: dict[str, Any] = {
        name: pd.array(list(column), dtype="str")
        for name, column in zip(_COLUMNS, columns, strict=True)
        if name not in ("champion", "trained_until")
    }
    frame["champion"] = np.array(columns[0], dtype=bool)
    frame["trained_until"] = pd.to_datetime(list(columns[3]), utc=True)
    names = [path.name for path in _folders(folder)] if rows else []
    index = pd.Index(names, dtype="str", name="run_id")
    return pd.DataFrame(frame, index=index)[list(_COLUMNS)]


def _served(models: Path) -> str | None:
    """Return the champion's identity, None if there is none or it cannot be told."""
    with contextlib.suppress(ModelError):
        return str(read_pointer(models)["run_id"])
    return None


def show_model(models: Path | str, run_id: str | None = None) -> dict[str, Any]:
    """Return the card of a model: settings, verdict, scores, lineage, references.

    Parameters
    ----------
    models : path-like
        The models folder.
    run_id : str, default=None
        The model, or the start of its name; None means the champion.

    Returns
    -------
    dict
        The card as it was published.

    Raises
    ------
    ModelNotFoundError
        If there is no such model, or none is promoted.
    ModelCorruptError
        If its files do not match their checksums.

    Examples
    --------
    >>> from skatra.retraining import show_model
    >>> show_model("absent", "abc")
    Traceback (most recent call last):
        ...
    skatra.exceptions.ModelNotFoundError: there is no model 'abc' in absent; ...
    """
    folder = Path(models)
    name = read_pointer(folder)["run_id"] if run_id is None else run_id
    path = _folder_of(folder, name)
    return {"run_id": path.name, "champion": path.name == _served(folder)} | read_card(
        path
    )


def verify_models(
    models: Path | str, database: Path | str | None = None
) -> dict[str, str]:
    """Check every model's files against their checksums, and the pointer.

    Parameters
    ----------
    models : path-like
        The models folder.
    database : path-like, default=None
        Compare the champion with the run that this database recorded, too.

    Returns
    -------
    dict of str to str
        What (a run id, or the pointer) -> what is wrong with it; empty when all is
        sound.

    Raises
    ------
    ModelNotFoundError
        If there is no such folder.

    Examples
    --------
    >>> from skatra.retraining import verify_models
    >>> verify_models("absent")
    Traceback (most recent call last):
        ...
    skatra.exceptions.ModelNotFoundError: there is no folder of models at absent. ...
    """
    folder, problems = Path(models), {}
    if not folder.is_dir():
        raise ModelNotFoundError(
            f"there is no folder of models at {folder}. Check the path."
        )
    for path in _folders(folder):
        try:
            load_model(path)
        except (ModelError, ValueError) as error:
            problems[path.name] = str(error)
    served = None
    try:
        if (folder / POINTER_FILE).exists():
            served = read_pointer(folder)["run_id"]
            load_model(folder)
    except (ModelError, ValueError) as error:
        problems[POINTER_FILE] = str(error)
        return problems
    if database is not None and served is not None:
        with Database(database, readonly=True) as db:
            runs = db.runs()
        card = read_card(folder)
        if served not in runs.index:
            problems[served] = f"the database {database} has no run of this name."
        else:
            recorded: Any = runs.loc[served, "card"]
            differ = sorted(
                name
                for name, value in recorded.items()
                if name in card and value != card[name]
            )
            if differ:
                problems[served] = f"its card and the database differ in {differ}."
    return problems


def promote_model(models: Path | str, run_id: str) -> str:
    """Serve a model of the folder, in one atomic step.

    Readers see the old champion or the new, never something between; the change is
    on the disk when the call returns.

    Parameters
    ----------
    models : path-like
        The models folder.
    run_id : str
        The model, or the start of its name; also one that the gate refused.

    Returns
    -------
    str
        The champion's run id.

    Raises
    ------
    ModelNotFoundError
        If there is no such model.
    ModelCorruptError
        If its files do not match their checksums; the champion stands. A pointer that
        is damaged is replaced, and its history with it.
    PublishError
        If the pointer cannot be written; the champion stands.

    See Also
    --------
    rollback_model : The way back.

    Examples
    --------
    >>> from skatra.retraining import promote_model
    >>> promote_model("absent", "abc")
    Traceback (most recent call last):
        ...
    skatra.exceptions.ModelNotFoundError: there is no model 'abc' in absent; ...
    """
    folder = Path(models)
    path = _folder_of(folder, run_id)
    load_model(path)
    with _changing(folder):
        serve_model(folder, path)
    return path.name


def serve_model(models: Path, path: Path, *, judged: bool = False) -> None:
    """Point to a model, while the caller holds the lock of the folder.

    A note of a withdrawn model goes with the step. Where the model is served already,
    it goes by hand, and stays after a gate, which met its opponent of the first time.
    """
    before: list[str] = []
    # Promoting is the way out of a damaged pointer, whose history is lost.
    with contextlib.suppress(ModelError):
        current = read_pointer(models)
        before = current.get("before", [])
        if current["run_id"] != path.name:
            before = [*before, current["run_id"]]
        elif _points_to(current, path) and (judged or "withdrawn" not in current):
            return
    _point_to(models, path, before[-_KEPT:])


def rollback_model(models: Path | str) -> str:
    """Serve the champion before this one again, in one atomic step.

    The pointer notes the model that is withdrawn: until another one is promoted,
    challengers are judged on rows after its training only, so that no twin of it, a
    night older, takes its place.

    Parameters
    ----------
    models : path-like
        The models folder.

    Returns
    -------
    str
        The champion's run id.

    Raises
    ------
    ModelNotFoundError
        If there was no other champion, or its files are gone.
    ModelCorruptError
        If its files do not match their checksums; the champion stands.
    PublishError
        If the pointer cannot be written; the champion stands.

    Examples
    --------
    >>> from skatra.retraining import rollback_model
    >>> rollback_model("absent")
    Traceback (most recent call last):
        ...
    skatra.exceptions.ModelNotFoundError: no model is promoted in absent: ...
    """
    folder = Path(models)
    read_pointer(folder)
    with _changing(folder):
        current = read_pointer(folder)
        before = list(current.get("before", []))
        if not before:
            raise ModelNotFoundError(
                f"no model was promoted in {folder} before the one that is served. "
                "Promote another by name with skatra models promote."
            )
        path = _folder_of(folder, before[-1])
        load_model(path)
        _point_to(folder, path, before[:-1], _withdrawn(folder, current))
    return path.name


@contextlib.contextmanager
def _changing(models: Path) -> Iterator[None]:
    """Hold the folder's lock; say what it means that the pointer cannot be written."""
    try:
        with folder_lock(models):
            yield
    except OSError as error:
        if isinstance(error, SkatraError):
            raise
        raise PublishError(
            f"{models / POINTER_FILE} cannot be written: {error.strerror}. The model "
            "served before stands. Make the folder writable, or free space, and run "
            "the same command again."
        ) from error


def _withdrawn(models: Path, current: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the withdrawn model that has learned the latest rows, if that is known."""
    notes = [current["withdrawn"]] if "withdrawn" in current else []
    with contextlib.suppress(ModelError, KeyError):
        until = read_card(models / current["run_id"])["trained_until"]
        notes.append({"run_id": current["run_id"], "trained_until": until})
    return max(notes, key=lambda n: pd.Timestamp(n["trained_until"]), default=None)


def _points_to(pointer: Mapping[str, Any], path: Path) -> bool:
    """Tell whether the pointer's checksum is that of the model's card."""
    return bool(pointer["card_sha256"] == digest((path / CARD_FILE).read_bytes()))


def _point_to(
    models: Path,
    path: Path,
    before: list[str],
    withdrawn: Mapping[str, str] | None = None,
) -> None:
    pointer: dict[str, Any] = {
        "run_id": path.name,
        "card_sha256": digest((path / CARD_FILE).read_bytes()),
        "before": before,
    }
    if withdrawn is not None:
        pointer["withdrawn"] = withdrawn
    write_file(models / POINTER_FILE, json.dumps(pointer).encode())
