"""The one frame that every labelling returns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skatra.labeling._barriers import TOUCHES
from skatra.typing import FloatArray, IntArray
from skatra.utils import SymbolBlocks


def label_frame(
    bars_index: pd.Index,
    blocks: SymbolBlocks,
    rows: IntArray,
    exit_bar: IntArray,
    ret: FloatArray,
    label: NDArray[Any],
    sides: FloatArray,
    touched: NDArray[np.int8],
) -> pd.DataFrame:
    """Return the columns t1, ret, label, side and touched, indexed by the events.

    ``rows`` are the events' rows among the bars, ``exit_bar`` the positions of their
    last bars in block order.
    """
    labelled = bars_index[rows]
    exit_rows = exit_bar if blocks.order is None else blocks.order[exit_bar]
    names = ["symbol", "t0"] if isinstance(labelled, pd.MultiIndex) else ["t0"]
    frame = pd.DataFrame(
        {
            "t1": bar_times(bars_index).take(exit_rows),
            "ret": ret,
            "label": np.nan_to_num(label).astype(np.int8),
            "side": sides.astype(np.int8),
            "touched": pd.Categorical.from_codes(touched, categories=pd.Index(TOUCHES)),
        }
    )
    frame.index = labelled.set_names(names)
    return frame


def in_blocks(rows: IntArray, blocks: SymbolBlocks) -> tuple[IntArray, IntArray]:
    """Return each row's position in block order, and the last one of its symbol."""
    start = rows
    if blocks.order is not None:
        rank = np.empty_like(blocks.order)
        rank[blocks.order] = np.arange(len(rank))
        start = rank[rows]
    last = blocks.offsets[np.searchsorted(blocks.offsets, start, side="right")] - 1
    return start, last


def bar_times(index: pd.Index) -> pd.Index:
    """Return the time level of a bars' index."""
    return index.get_level_values(1) if isinstance(index, pd.MultiIndex) else index


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a word that is none of the choices."""
    if value not in choices:
        msg = f"{name} must be one of {choices}, got {value!r}."
        raise ValueError(msg)
