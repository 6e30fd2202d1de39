"""Validation and interval helpers shared by every subpackage."""

from skatra.utils._bars import (
    BAR_COLUMNS,
    PRICE_COLUMNS,
    SymbolBlocks,
    check_bars,
    column_values,
    symbol_blocks,
)
from skatra.utils._growth import (
    mean_log_growth,
)
from skatra.utils._html import HTMLRepr
from skatra.utils._json import json_ready
from skatra.utils._label_times import (
    LabelIntervals,
    as_label_intervals,
    common_unit,
    event_times,
    holds_times,
    times_to_numbers,
)
from skatra.utils._numbers import as_count, as_number, format_number
from skatra.utils._plotting import require_matplotlib
from skatra.utils._rows import (
    as_finite_column,
    check_same_rows,
    take_rows,
)
from skatra.utils._sklearn import (
    check_method_params,
    safe_indexing,
)

__all__ = [
    "BAR_COLUMNS",
    "PRICE_COLUMNS",
    "HTMLRepr",
    "LabelIntervals",
    "SymbolBlocks",
    "as_count",
    "as_finite_column",
    "as_label_intervals",
    "as_number",
    "check_bars",
    "check_method_params",
    "check_same_rows",
    "column_values",
    "common_unit",
    "event_times",
    "format_number",
    "holds_times",
    "json_ready",
    "mean_log_growth",
    "require_matplotlib",
    "safe_indexing",
    "symbol_blocks",
    "take_rows",
    "times_to_numbers",
]
