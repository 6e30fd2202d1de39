"""Strict JSON."""

import math
from collections.abc import Mapping
from typing import Any


def json_ready(value: Any) -> Any:
    """Return a document with numbers that JSON lacks (NaN, infinities) as null.

    Parameters
    ----------
    value : object
        Dicts, lists, tuples, numbers, strings, None.

    Returns
    -------
    object
        The same with str keys and lists; NaN and infinities are None.

    Examples
    --------
    >>> from skatra.utils import json_ready
    >>> json_ready({"growth": float("nan"), "folds": (1, 2)})
    {'growth': None, 'folds': [1, 2]}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    return value
