"""The one place that decides whether bars can be trusted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skatra.exceptions import BarsError, EmptyDataError
from skatra.typing import FloatArray, IntArray

BAR_COLUMNS = ("open", "high", "low", "close", "volume")
PRICE_COLUMNS = BAR_COLUMNS[:4]

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class SymbolBlocks:
    """Rows of bars (or of anything indexed like them) gathered by symbol.

    Attributes
    ----------
    order : ndarray of shape (n,), intp, or None
        Row positions that put each symbol's rows side by side, keeping their
        order; None when they already are.
    offsets : ndarray of shape (n_symbols + 1,), intp
        Block k is ``[offsets[k], offsets[k + 1])`` after ``order``.
    symbols : Index of shape (n_symbols,) or None
        The symbol of each block; None for a plain time index.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skatra.utils import symbol_blocks
    >>> day = pd.Timestamp("2024-01-01")
    >>> rows = pd.MultiIndex.from_tuples([("A", day), ("B", day), ("A", day)])
    >>> blocks = symbol_blocks(rows)
    >>> blocks.gather(np.array([1, 2, 3]))
    array([1, 3, 2])
    """

    order: IntArray | None
    offsets: IntArray
    symbols: pd.Index | None

    def gather(self, values: NDArray[Any]) -> NDArray[Any]:
        """Bring row values into block order (a view when nothing moves).

        Parameters
        ----------
        values : ndarray of shape (n, ...)
            One entry per row.

        Returns
        -------
        ndarray of shape (n, ...)
            The same entries, each symbol's side by side.
        """
        return values if self.order is None else values[self.order]

    def scatter(self, values: NDArray[Any]) -> NDArray[Any]:
        """Bring block-ordered values back into row order.

        Parameters
        ----------
        values : ndarray of shape (n, ...)
            One entry per row.

        Returns
        -------
        ndarray of shape (n, ...)
            The same entries in the rows' own order.
        """
        if self.order is None:
            return values
        result = np.empty_like(values)
        result[self.order] = values
        return result


def symbol_blocks(index: pd.Index) -> SymbolBlocks:
    """Find each symbol's rows in an index.

    Parameters
    ----------
    index : DatetimeIndex or MultiIndex (symbol, time) of shape (n,)
        A plain index is one symbol.

    Returns
    -------
    SymbolBlocks
        Blocks in the order in which the symbols first appear when their rows are
        side by side, else sorted by the index's own symbol level.

    Examples
    --------
    >>> import pandas as pd
    >>> from skatra.utils import symbol_blocks
    >>> days = pd.date_range("2024-01-01", periods=2)
    >>> rows = pd.MultiIndex.from_product([["A", "B"], days], names=["symbol", "time"])
    >>> symbol_blocks(rows).offsets
    array([0, 2, 4])
    """
    n = len(index)
    if not isinstance(index, pd.MultiIndex):
        return SymbolBlocks(None, np.array([0, n], dtype=np.intp), None)
    codes = np.asarray(index.codes[0])
    starts = np.flatnonzero(np.diff(codes, prepend=codes[:1] - 1))
    order = None
    if len(np.unique(codes[starts])) < len(starts):
        order = np.argsort(codes, kind="stable").astype(np.intp, copy=False)
        codes = codes[order]
        starts = np.flatnonzero(np.diff(codes, prepend=codes[:1] - 1))
    offsets = np.append(starts, n).astype(np.intp, copy=False)
    return SymbolBlocks(order, offsets, index.levels[0].take(codes[starts]))


def check_bars(
    bars: pd.DataFrame | Any,
    name: str = "bars",
    *,
    columns: Sequence[str] = BAR_COLUMNS,
) -> None:
    """Refuse bars that cannot be trusted, naming all that is wrong at once.

    Parameters
    ----------
    bars : DataFrame of shape (n_bars, n_columns)
        Index: a DatetimeIndex (one symbol) or a MultiIndex (symbol, time); times
        rise strictly within each symbol. Symbols may alternate.
    name : str, default="bars"
        What the caller's user calls them, for the error message.
    columns : sequence of str, default=("open", "high", "low", "close", "volume")
        The columns the caller needs; others are not looked at.

    Raises
    ------
    EmptyDataError
        If there are no rows.
    BarsError
        If a column is missing, repeated or not numeric, the index is of another
        type, a symbol or time is missing, times fall or repeat within a symbol, a
        value is NaN or infinite, a price is not positive, high < low, open or
        close lies outside [low, high], or volume is negative. The message lists
        every problem with its number of rows and the first ones.

    Examples
    --------
    >>> import pandas as pd
    >>> from skatra.utils import check_bars
    >>> days = pd.to_datetime(["2024-01-02", "2024-01-03"])
    >>> bars = pd.DataFrame({"open": [10.0, 11.0], "high": [11.0, 10.5],
    ...                      "low": [9.5, 10.0], "close": [10.5, 10.2],
    ...                      "volume": [100.0, -1.0]}, index=days)
    >>> check_bars(bars)  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
        ...
    skatra.exceptions.BarsError: bars has 2 problems: ...
    """
    if not isinstance(bars, pd.DataFrame):
        msg = (
            f"{name} must be a pandas DataFrame with columns {', '.join(columns)}, "
            f"got {type(bars).__name__}."
        )
        raise BarsError(msg)
    problems = _index_problems(bars.index, name)
    problems += _column_problems(bars, columns)
    if not problems and not len(bars):
        msg = f"{name} has no rows. Pass at least one bar."
        raise EmptyDataError(msg)
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        msg = f"{name} has {count}: {'; '.join(problems)}."
        raise BarsError(msg)


def _rows(index: pd.Index, bad: IntArray, detail: Callable[[int], str] = str) -> str:
    """Say how many rows are bad and show the first ones."""
    shown = ", ".join(
        " ".join(str(part) for part in label)
        if isinstance(label, tuple)
        else f"{label}"
        for label in index[bad[:_SHOWN]]
    )
    if detail is not str:
        shown += f" ({detail(int(bad[0]))})"
    more = ", ..." if len(bad) > _SHOWN else ""
    return f"{len(bad)} of {len(index)} rows, first {shown}{more}"


def _index_problems(index: pd.Index, name: str) -> list[str]:
    """List what is wrong with symbols and times."""
    if isinstance(index, pd.MultiIndex):
        if index.nlevels != 2 or not isinstance(index.levels[1], pd.DatetimeIndex):
            kinds = [str(level.dtype) for level in index.levels]
            problem = (
                "the index must have the levels (symbol, time) with datetimes as "
                f"time, got levels {list(index.names)} of dtypes {kinds}; use "
                f"{name}.set_index(['symbol', 'time'])"
            )
            return [problem]
        codes = np.asarray(index.codes[1])
        missing = np.flatnonzero((codes < 0) | (np.asarray(index.codes[0]) < 0))
        level = index.levels[1].asi8
        times = level[codes] if len(level) else np.empty(0, dtype=np.int64)
        what = "a missing symbol or time"
    elif isinstance(index, pd.DatetimeIndex):
        times = index.asi8
        missing = np.flatnonzero(np.asarray(index.isna()))
        what = "a missing time"
    else:
        problem = (
            "the index must be a DatetimeIndex or a MultiIndex (symbol, time), got "
            f"{type(index).__name__} of dtype {index.dtype}; convert text with "
            "pandas.to_datetime"
        )
        return [problem]
    if len(missing):
        return [f"{what} in {_rows(index, missing)}"]
    return _order_problems(index, times)


def _order_problems(index: pd.Index, times: NDArray[np.int64]) -> list[str]:
    """List rows whose time falls or repeats within their symbol."""
    if not len(index):
        return []
    blocks = symbol_blocks(index)
    positions = np.arange(len(index)) if blocks.order is None else blocks.order
    step = np.diff(times[positions], prepend=times[:1])
    step[blocks.offsets[:-1]] = 1
    problems = []
    falling = positions[step < 0]
    if len(falling):
        problems.append(
            f"times fall within a symbol in {_rows(index, np.sort(falling))}; sort "
            "with .sort_index()"
        )
        repeated = np.flatnonzero(index.duplicated())
    else:
        repeated = np.sort(positions[step == 0])
    if len(repeated):
        problems.append(
            f"a time repeats within a symbol in {_rows(index, repeated)}; keep one "
            "row of each with ~index.duplicated()"
        )
    return problems


def _column_problems(bars: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """List what is wrong with names, dtypes and values."""
    problems = []
    missing = [column for column in columns if column not in bars.columns]
    if missing:
        problems.append(
            f"missing columns {missing} (there are {list(bars.columns)}); names are "
            "lower case"
        )
    values: dict[str, FloatArray] = {}
    for column in columns:
        if column in missing:
            continue
        series: Any = bars[column]
        if isinstance(series, pd.DataFrame):
            problems.append(f"column '{column}' occurs {series.shape[1]} times")
        elif not pd.api.types.is_numeric_dtype(series.dtype) or series.dtype == bool:
            problems.append(f"column '{column}' must be numeric, got {series.dtype}")
        else:
            values[column] = column_values(bars, column)
    return problems + _value_problems(bars.index, values)


def column_values(bars: pd.DataFrame, column: str) -> FloatArray:
    """Return one column as float64, missing values as NaN.

    Parameters
    ----------
    bars : DataFrame
        Bars, or any frame of numbers.
    column : str
        Name of the column.

    Returns
    -------
    ndarray of shape (n_bars,), float64
        The values in the order of the bars.

    Examples
    --------
    >>> import pandas as pd
    >>> from skatra.utils import column_values
    >>> column_values(pd.DataFrame({"close": [1, None]}), "close")
    array([ 1., nan])
    """
    series: pd.Series[Any] = bars[column]
    if isinstance(series.dtype, np.dtype):
        return series.to_numpy().astype(np.float64, copy=False)
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def _value_problems(index: pd.Index, values: dict[str, FloatArray]) -> list[str]:
    """List values that are not finite, out of range or contradict each other."""
    problems = []

    def report(what: str, bad: NDArray[np.bool_], shown: Sequence[str]) -> None:
        rows = np.flatnonzero(bad)
        if len(rows):
            problems.append(
                f"{what} in "
                + _rows(
                    index,
                    rows,
                    lambda row: ", ".join(f"{c}={values[c][row]:g}" for c in shown),
                )
            )

    for column, array in values.items():
        report(f"{column} is NaN or infinite", ~np.isfinite(array), [column])
        if column == "volume":
            report("volume is negative", array < 0, [column])
        else:
            report(f"{column} is not positive", array <= 0, [column])
    if "high" in values and "low" in values:
        low, high = values["low"], values["high"]
        report("high < low", high < low, ["high", "low"])
        for column in ("open", "close"):
            if column in values:
                outside = (values[column] < low) | (values[column] > high)
                report(
                    f"{column} lies outside [low, high]",
                    outside & (low <= high),
                    [column, "low", "high"],
                )
    return problems
