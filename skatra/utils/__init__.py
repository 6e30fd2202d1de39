"""Validation and interval helpers shared by every subpackage."""

from skatra.utils._label_times import (
    LabelIntervals,
    as_label_intervals,
    common_unit,
    event_times,
    times_to_numbers,
)

__all__ = [
    "LabelIntervals",
    "as_label_intervals",
    "common_unit",
    "event_times",
    "times_to_numbers",
]
