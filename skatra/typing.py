"""Shared type aliases."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = [
    "FloatArray",
    "IntArray",
    "LabelTimesLike",
    "Span",
    "Split",
    "TimeArray",
]

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.intp]
TimeArray: TypeAlias = NDArray[np.int64] | NDArray[np.float64]
"""Times as integers (datetimes in their unit, counts) or as floats."""

Split: TypeAlias = tuple[IntArray, IntArray]
LabelTimesLike: TypeAlias = (
    "pd.Series[Any] | pd.DataFrame | NDArray[Any] | Sequence[Any]"
)
Span: TypeAlias = "int | float | str | pd.Timedelta | np.timedelta64 | Any"
"""A time span ("5D", a timedelta), a count of distinct t0, or a share of them."""
