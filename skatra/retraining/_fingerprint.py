"""One SHA-256 for equal content: of data, folds, parameters and code."""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator

import skatra

_PACKAGES = ("numpy", "pandas", "scikit-learn", "lightgbm")
_SOURCES = ("_boosters.py", "_fingerprint.py", "_fold_data.py")


def fingerprint(*contents: Any) -> str:
    """Return one SHA-256 over contents, the same in every process and every run."""
    digest = hashlib.sha256()
    for content in contents:
        _feed(digest, content)
    return digest.hexdigest()


def code_version() -> str:
    """Return the versions and the SHA-256 of the source that a score depends on."""
    folder = Path(__file__).parent
    source = hashlib.sha256()
    for name in _SOURCES:
        source.update((folder / name).read_bytes())
    versions = " ".join(
        f"{name} {version(name)}" for name in ("lightgbm", "scikit-learn", "numpy")
    )
    return f"skatra {skatra.__version__} {versions} {source.hexdigest()[:16]}"


@cache
def code_digest() -> str:
    """Return a SHA-256 over the package's source: the code version, git or not."""
    folder = Path(skatra.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that a result depends on."""
    return {name: version(name) for name in _PACKAGES}


def software() -> dict[str, str]:
    """Return what a task's outcome depends on but its data, in this process."""
    return {
        "skatra": skatra.__version__,
        "the code of skatra": code_digest()[:12],
        **package_versions(),
    }


def _feed(digest: Any, content: Any) -> None:
    """Feed one content, marked by its kind and length so that no two run together."""
    if isinstance(content, np.generic):
        content = content.item()
    for kinds, feed in _FEEDERS:
        if isinstance(content, kinds):
            feed(digest, content)
            return
    if sparse.issparse(content):
        rows = content.tocsr()
        _feed(digest, ["sparse", rows.shape, rows.data, rows.indices, rows.indptr])
    elif hasattr(content, "__qualname__"):
        _mark(digest, "name", f"{content.__module__}.{content.__qualname__}")
    else:
        _mark(digest, "object", joblib.hash(content, hash_name="sha1"))


def _feed_scalar(digest: Any, content: Any) -> None:
    _mark(digest, type(content).__name__, repr(content))


def _feed_list(digest: Any, content: Any) -> None:
    _mark(digest, "list", len(content))
    for item in content:
        _feed(digest, item)


def _feed_mapping(digest: Any, content: Any) -> None:
    _mark(digest, "mapping", len(content))
    for key in sorted(content, key=str):
        _feed(digest, key)
        _feed(digest, content[key])


def _feed_frame(digest: Any, content: Any) -> None:
    _mark(digest, "frame", len(content.columns))
    for name, column in content.items():
        _feed(digest, name)
        _feed_column(digest, column)


def _feed_estimator(digest: Any, content: Any) -> None:
    _feed(digest, type(content))
    _feed(digest, content.get_params(deep=False))


def _mark(digest: Any, kind: str, about: Any) -> None:
    digest.update(f"\0{kind}:{about}\0".encode())


def _feed_column(digest: Any, column: Any) -> None:
    """Feed a pandas column by its values, not by its index."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        values = column.array
        _mark(digest, "categorical", values.ordered)
        _feed_column(digest, values.categories)
        _feed_array(digest, np.asarray(values.codes))
        return
    _mark(digest, "column", column.dtype)
    if getattr(column.dtype, "tz", None) is not None:
        column = column.astype("int64")
    _feed_array(digest, column.to_numpy())


def _feed_array(digest: Any, array: np.ndarray[Any, Any]) -> None:
    _mark(digest, array.dtype.str, array.shape)
    if array.dtype.hasobject:
        for item in array.ravel():
            _feed(digest, item)
        return
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


_FEEDERS: tuple[tuple[Any, Any], ...] = (
    ((type(None), bool, int, float, str, bytes), _feed_scalar),
    ((list, tuple), _feed_list),
    (Mapping, _feed_mapping),
    (pd.DataFrame, _feed_frame),
    ((pd.Series, pd.Index), _feed_column),
    (np.ndarray, _feed_array),
    (BaseEstimator, _feed_estimator),
)
