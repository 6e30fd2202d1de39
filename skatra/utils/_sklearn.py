"""The only file that imports private scikit-learn names."""

from typing import Any

from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_method_params

__all__ = ["check_method_params", "safe_indexing"]


def safe_indexing(array: Any, rows: Any) -> Any:
    """Select rows of a frame, Series, array, sparse matrix or list.

    Parameters
    ----------
    array : frame, Series, array, sparse matrix or list of length n
        What to take rows of.
    rows : array-like of int, array-like of bool, or slice
        Positions, or a mask.

    Returns
    -------
    object of the type of array
        The rows in the order asked for.

    Examples
    --------
    >>> from skatra.utils import safe_indexing
    >>> safe_indexing(["a", "b", "c"], [2, 0])
    ['c', 'a']
    """
    return _safe_indexing(array, rows)


def check_method_params(X: Any, params: dict[str, Any], rows: Any) -> dict[str, Any]:
    """Select rows of those parameters that have one entry per row of X.

    Parameters
    ----------
    X : array-like of shape (n_samples, ...)
        What was split.
    params : dict
        Parameters of a method, by name.
    rows : array-like of int
        Row positions.

    Returns
    -------
    dict
        Parameters of length n_samples cut to the rows, the others as they were.

    Examples
    --------
    >>> from skatra.utils import check_method_params
    >>> check_method_params([[1], [2], [3]], {"weight": [5, 6, 7], "cost": 0.1}, [0, 2])
    {'weight': [5, 7], 'cost': 0.1}
    """
    return dict(_check_method_params(X, params, rows))
