"""Strict JSON."""

import math
from collections.abc import Mapping
from typing import Any


def json_ready(value: Any) -> Any:
    """Return a document with numbers that JSON lacks (NaN, infinities) as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    return value
