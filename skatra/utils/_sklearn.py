"""The only file that imports private scikit-learn names."""

from typing import Any

from sklearn.utils import _safe_indexing

__all__ = ["safe_indexing"]


def safe_indexing(array: Any, rows: Any) -> Any:
    """Select rows of a frame, Series, array, sparse matrix or list."""
    return _safe_indexing(array, rows)
