"""Shared type aliases."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = [
    "Closed",
    "FloatArray",
    "IntArray",
    "LabelTimesLike",
    "PurgeScope",
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
Span: TypeAlias = (
    "int | float | str | timedelta | np.timedelta64 | pd.offsets.BaseOffset"
)
"""A time span ("5D", a timedelta), a count of distinct t0, or a share of them."""

Closed: TypeAlias = Literal["both", "left"]
"""Whether a label interval holds its end."""

PurgeScope: TypeAlias = Literal["all", "groups"]
"""Whose labels purge a row: everybody's, or those of its own group."""
