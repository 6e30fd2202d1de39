"""Figures and arrays as JSON that gives them back bit for bit."""

import base64
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

_NOT_FINITE = "not finite"


def to_json(value: Any) -> Any:
    """Return a document that says in JSON what floats JSON lacks."""
    if isinstance(value, float) and not math.isfinite(value):
        return {_NOT_FINITE: str(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


def from_json(value: Any) -> Any:
    """Return what :func:`to_json` was given."""
    if isinstance(value, dict):
        if value.keys() == {_NOT_FINITE}:
            return float(value[_NOT_FINITE])
        return {key: from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_json(item) for item in value]
    return value


def pack(arrays: Mapping[str, Any]) -> dict[str, str]:
    """Return float arrays as text, bit for bit."""
    return {
        name: base64.b64encode(
            zlib.compress(np.ascontiguousarray(values, "<f8").tobytes(), 1)
        ).decode()
        for name, values in arrays.items()
    }


def unpack(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return what :func:`pack` packed."""
    return {
        name: np.frombuffer(zlib.decompress(base64.b64decode(text)), "<f8").copy()
        for name, text in texts.items()
    }
