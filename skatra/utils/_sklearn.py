"""The only file that imports private scikit-learn names."""

from typing import Any

from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_method_params

__all__ = ["check_method_params", "safe_indexing"]


def safe_indexing(array: Any, rows: Any) -> Any:
    """Select rows of a frame, Series, array, sparse matrix or list."""
    return _safe_indexing(array, rows)


def check_method_params(X: Any, params: dict[str, Any], rows: Any) -> dict[str, Any]:
    """Select rows of those parameters that have one entry per row of X."""
    return dict(_check_method_params(X, params, rows))
