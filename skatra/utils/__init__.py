"""Validation and interval helpers shared by every subpackage."""

from skatra.utils._growth import mean_log_growth
from skatra.utils._label_times import (
    LabelIntervals,
    as_label_intervals,
    common_unit,
    event_times,
    times_to_numbers,
)
from skatra.utils._rows import as_finite_column, check_same_rows, take_rows

__all__ = [
    "LabelIntervals",
    "as_finite_column",
    "as_label_intervals",
    "check_same_rows",
    "common_unit",
    "event_times",
    "mean_log_growth",
    "take_rows",
    "times_to_numbers",
]
