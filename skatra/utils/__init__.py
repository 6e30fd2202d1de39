"""Validation and interval helpers shared by every subpackage."""

from skatra.utils._label_times import (
    LabelIntervals,
    as_label_intervals,
    common_unit,
    event_times,
    times_to_numbers,
)
from skatra.utils._sklearn import safe_indexing

__all__ = [
    "LabelIntervals",
    "as_label_intervals",
    "common_unit",
    "event_times",
    "safe_indexing",
    "times_to_numbers",
]
