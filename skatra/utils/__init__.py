"""Validation and interval helpers shared by every subpackage."""

from skatra.utils._bars import (
    BAR_COLUMNS,
    PRICE_COLUMNS,
    SymbolBlocks,
    check_bars,
    column_values,
    symbol_blocks,
)
from skatra.utils._label_times import (
    LabelIntervals,
    as_label_intervals,
    common_unit,
    event_times,
    times_to_numbers,
)

__all__ = [
    "BAR_COLUMNS",
    "PRICE_COLUMNS",
    "LabelIntervals",
    "SymbolBlocks",
    "as_label_intervals",
    "check_bars",
    "column_values",
    "common_unit",
    "event_times",
    "symbol_blocks",
    "times_to_numbers",
]
