"""Rows of several containers: the same ones, in the same order, and finite."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_consistent_length

from skatra.typing import FloatArray

__all__ = ["as_finite_column", "check_same_rows", "take_rows"]


def check_same_rows(**containers: Any) -> None:
    """Refuse containers that do not hold the same rows in the same order.

    Lengths must agree, and every pandas index among the containers must equal the
    first one: rows are matched by position, so a reversed or shifted index would
    otherwise give a number instead of an error.

    Parameters
    ----------
    **containers : array-like of length n, or None
        Containers by the names their user knows them by; None is skipped.

    Raises
    ------
    ValueError
        If lengths differ, or two pandas indexes differ; the message names both
        containers and the first row where they part.

    Examples
    --------
    >>> import pandas as pd
    >>> from skatra.utils import check_same_rows
    >>> close = pd.Series([1.0, 2.0], index=["a", "b"])
    >>> check_same_rows(X=close, returns=[0.1, 0.2])
    >>> check_same_rows(X=close, returns=close[::-1])
    Traceback (most recent call last):
    ...
    ValueError: X and returns must have the same index in the same order; they differ
    first in row 0: 'a' against 'b'. ...
    """
    given = {name: rows for name, rows in containers.items() if rows is not None}
    try:
        check_consistent_length(*given.values())
    except ValueError as error:
        msg = f"{', '.join(given)} must have one row per sample each. {error}."
        raise ValueError(msg) from error
    indexed = {
        name: rows.index
        for name, rows in given.items()
        if isinstance(rows, pd.Series | pd.DataFrame)
    }
    if len(indexed) < 2:
        return
    (first, reference), *others = indexed.items()
    for name, index in others:
        if index is reference or reference.equals(index) or _same(reference, index):
            continue
        row = next(
            (i for i in range(len(index)) if reference[i] != index[i]),
            0,
        )
        msg = (
            f"{first} and {name} must have the same index in the same order; they "
            f"differ first in row {row}: {reference[row]!r} against {index[row]!r}. "
            f"Align them with {name}.loc[{first}.index], or pass {name}.to_numpy() "
            "if the rows do match by position."
        )
        raise ValueError(msg)


def _same(first: pd.Index, second: pd.Index) -> bool:
    """Compare indexes whose datetimes may differ in unit."""
    if first.dtype == second.dtype or not (
        isinstance(first, pd.DatetimeIndex)
        and isinstance(second, pd.DatetimeIndex)
        and (first.tz is None) == (second.tz is None)
    ):
        return False
    return bool(np.all(first == second))


def as_finite_column(values: Any, name: str, *, negative: bool = True) -> FloatArray:
    """Return one column of finite float64 values.

    Parameters
    ----------
    values : array-like of shape (n,)
        Numbers.
    name : str
        What the caller's user calls them, for the error message.
    negative : bool, default=True
        Whether values below 0 are allowed.

    Returns
    -------
    ndarray of shape (n,), float64
        The values, copied if they had to be converted.

    Raises
    ------
    ValueError
        If the values are not one-dimensional numbers, not finite, or negative
        where they must not be; the message shows the first offending rows.

    Examples
    --------
    >>> from skatra.utils import as_finite_column
    >>> as_finite_column([1, 2], "returns")
    array([1., 2.])
    """
    try:
        column: FloatArray = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{name} must hold numbers, got {type(values).__name__}: {error}."
        raise ValueError(msg) from error
    if column.ndim != 1:
        msg = f"{name} must be one-dimensional, got shape {column.shape}."
        raise ValueError(msg)
    bad = np.flatnonzero(~np.isfinite(column))
    if len(bad):
        msg = (
            f"{name} must be finite; {len(bad)} of {len(column)} rows are missing or "
            f"infinite, the first at positions {bad[:5].tolist()}. Drop those rows "
            "from every input."
        )
        raise ValueError(msg)
    if not negative:
        bad = np.flatnonzero(column < 0)
        if len(bad):
            msg = (
                f"{name} must not be negative; {len(bad)} of {len(column)} rows are, "
                f"the first at positions {bad[:5].tolist()}."
            )
            raise ValueError(msg)
    return column


def take_rows(container: Any, rows: Any) -> Any:
    """Return some rows of a frame, Series, array, sparse matrix or list.

    Parameters
    ----------
    container : frame, Series, ndarray, sparse matrix or sequence of length n
        What to take rows of.
    rows : ndarray of int or bool
        Row positions, or a mask.

    Returns
    -------
    object of the container's type (a list for other sequences)
        The rows in the order asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from skatra.utils import take_rows
    >>> take_rows(["a", "b", "c"], np.array([2, 0]))
    ['c', 'a']
    """
    if hasattr(container, "iloc"):
        return container.iloc[rows]
    if hasattr(container, "shape"):
        return container[rows]
    positions = np.arange(len(container))[rows]
    return [container[position] for position in positions]
