"""Between frames and the plain arrays that go into tables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skatra.utils import HTMLRepr

_PER_UNIT = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_INT64 = np.iinfo(np.int64)
_SHOWN = 3

Int64Array = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class WriteReport(HTMLRepr):
    """What a write changed.

    Attributes
    ----------
    inserted, updated, unchanged : int
        Numbers of rows that were new, that replaced other values, and that were
        there already as given.
    """

    inserted: int
    updated: int
    unchanged: int

    def __add__(self, other: "WriteReport") -> "WriteReport":
        return WriteReport(
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
        )

    def __len__(self) -> int:
        """Return the number of rows given."""
        return self.inserted + self.updated + self.unchanged


@dataclass(frozen=True, slots=True)
class Keys:
    """Rows of a frame sorted by (symbol, time).

    Attributes
    ----------
    symbols : list of str
        Sorted.
    offsets : ndarray of shape (n_symbols + 1,)
        Rows of symbol k, after ``order``, are ``offsets[k]:offsets[k + 1]``.
    times : ndarray of shape (n,), int64
        Nanoseconds UTC, after ``order``.
    order : ndarray of shape (n,)
        Row positions of the frame.
    in_order : bool
        Whether ``order`` is 0, 1, 2, ...
    """

    symbols: list[str]
    offsets: NDArray[np.intp]
    times: Int64Array
    order: NDArray[np.intp]
    in_order: bool

    def blocks(self) -> Iterator[tuple[str, slice]]:
        """Yield each symbol with its rows."""
        for k, symbol in enumerate(self.symbols):
            yield symbol, slice(int(self.offsets[k]), int(self.offsets[k + 1]))


def show(keys: pd.Index, rows: NDArray[Any]) -> str:
    """Say how many rows, and name the first ones."""
    first = ", ".join(
        " ".join(map(str, key)) if isinstance(key, tuple) else str(key)
        for key in keys[rows[:_SHOWN]]
    )
    return (
        f"{len(rows)} of {len(keys)} rows, first {first}"
        f"{', ...' if len(rows) > _SHOWN else ''}"
    )


def to_ns(times: Any, name: str, error: type[Exception] = ValueError) -> Int64Array:
    """Return datetimes of any unit and zone as nanoseconds UTC; naive means UTC.

    Raises
    ------
    error
        If they are no datetimes, some are missing, or lie outside 1677 to 2262.
    """
    index = times if isinstance(times, pd.Index) else pd.Index(times)
    if len(index) == 0 and not isinstance(index, pd.DatetimeIndex):
        return np.empty(0, dtype=np.int64)
    if not isinstance(index, pd.DatetimeIndex):
        raise error(
            f"{name} must hold datetimes, got dtype {index.dtype}. Convert with "
            "pandas.to_datetime(..., utc=True)."
        )
    missing = np.flatnonzero(np.asarray(index.isna()))
    if len(missing):
        raise error(
            f"{name} must not be missing (NaT); {len(missing)} of {len(index)} rows "
            f"are, the first at positions {missing[:_SHOWN].tolist()}. Drop them."
        )
    factor = _PER_UNIT[index.unit]
    numbers: Int64Array = index.asi8
    limit = _INT64.max // factor
    if len(numbers) and (numbers.max() > limit or numbers.min() < -limit):
        raise error(
            f"{name} must lie between 1677-09-21 and 2262-04-11, the range of "
            f"nanoseconds; got {index.min()} to {index.max()}."
        )
    return numbers * factor


def from_ns(times: Int64Array) -> pd.DatetimeIndex:
    """Return nanoseconds UTC as time zone aware datetimes."""
    return pd.DatetimeIndex(times.view("datetime64[ns]")).tz_localize("UTC")


def bounds_ns(start: Any, end: Any) -> tuple[int, int]:
    """Return a closed range of nanoseconds UTC; None is open-ended.

    Raises
    ------
    ValueError
        If a bound is no point in time, or ``start`` is after ``end``.
    """
    low = _INT64.min + 1 if start is None else _point_ns(start, "start")
    high = _INT64.max if end is None else _point_ns(end, "end")
    if low > high:
        raise ValueError(f"start must not be after end, got {start} and {end}.")
    return low, high


def _point_ns(value: Any, name: str) -> int:
    try:
        # A number would be taken as nanoseconds since 1970, whatever was meant.
        number = isinstance(value, Number | np.bool_)
        point: Any = None if number else pd.Timestamp(value)
    except (TypeError, ValueError):
        point = None
    if point is None:
        raise ValueError(
            f"{name} must be a point in time, such as '2018-01-31' or a Timestamp, "
            f"got {value!r}."
        )
    if point is pd.NaT:
        raise ValueError(f"{name} must be a point in time, got NaT.")
    if point.tz is not None:
        point = point.tz_convert("UTC").tz_localize(None)
    exact = int(point.asm8.view("i8")) * _PER_UNIT[point.unit]
    return max(_INT64.min + 1, min(_INT64.max, exact))


def check_symbols(symbols: Sequence[Any], name: str) -> list[str]:
    """Return symbols as plain text.

    Raises
    ------
    ValueError
        If one is no text, empty, or cannot be written as UTF-8.
    """
    for symbol in symbols:
        if not isinstance(symbol, str) or not symbol:
            raise ValueError(
                f"{name}: a symbol must be non-empty text, got {symbol!r}. Convert "
                "with .astype(str)."
            )
        try:
            symbol.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"{name}: the symbol {symbol!r} is no valid Unicode text."
            ) from None
    return [str(symbol) for symbol in symbols]


def keys_of(
    index: pd.Index,
    name: str,
    *,
    symbol: str | None = None,
    error: type[Exception] = ValueError,
) -> Keys:
    """Read the keys of a frame: a (symbol, time) index, or times of one symbol.

    Raises
    ------
    error
        If the index is of another kind, a key is missing or occurs twice.
    """
    if isinstance(index, pd.MultiIndex):
        if symbol is not None:
            raise ValueError(
                f"symbol={symbol!r} was given, but the index of {name} already names "
                "symbols. Leave symbol out."
            )
        if index.nlevels != 2:
            raise error(
                f"{name} must have the index levels (symbol, time), got "
                f"{list(index.names)}."
            )
        codes, uniques = _symbol_codes(index)
        times: Any = index.get_level_values(1)
    else:
        if symbol is None:
            raise error(
                f"{name} must be indexed by (symbol, time), got {type(index).__name__}"
                ". Add the symbol: pandas.concat({'SP500': frame}, "
                "names=['symbol'])"
                + (", or pass symbol='SP500'." if name == "bars" else ".")
            )
        codes, uniques = np.zeros(len(index), dtype=np.intp), pd.Index([symbol])
        times = index
    missing = np.flatnonzero(codes < 0)
    if len(missing):
        raise error(f"{name} has a missing symbol in {show(index, missing)}.")
    return _sort_keys(
        index, check_symbols(list(uniques), name), codes, times, name, error
    )


def _symbol_codes(index: pd.MultiIndex) -> tuple[NDArray[Any], pd.Index]:
    """Return the symbol of each row as a code, and the symbols that occur."""
    codes, level = np.asarray(index.codes[0]), index.levels[0]
    counts = np.bincount(codes[codes >= 0], minlength=len(level))
    if not level.is_unique:
        factorized: tuple[NDArray[Any], pd.Index] = pd.factorize(
            index.get_level_values(0)
        )
        return factorized
    if counts.all():
        return codes, level
    new = np.cumsum(counts > 0) - 1
    return np.where(codes >= 0, new[codes], -1), level[counts > 0]


def _sort_keys(
    index: pd.Index,
    symbols: list[str],
    codes: NDArray[Any],
    times: Any,
    name: str,
    error: type[Exception],
) -> Keys:
    ranks = sorted(range(len(symbols)), key=symbols.__getitem__)
    rank_of = np.empty(len(symbols), dtype=np.intp)
    rank_of[ranks] = np.arange(len(symbols))
    codes = rank_of[codes] if len(codes) else codes.astype(np.intp)
    ns = to_ns(times, f"the times of {name}", error)
    in_order = _rising(codes, ns)
    order = np.arange(len(ns)) if in_order else np.lexsort((ns, codes))
    if not in_order:
        codes, ns = codes[order], ns[order]
    same = np.flatnonzero((codes[1:] == codes[:-1]) & (ns[1:] == ns[:-1])) + 1
    if len(same):
        raise error(
            f"{name} has a repeated (symbol, time) in {show(index, order[same])}. Keep "
            "one row of each: frame[~frame.index.duplicated()]."
        )
    offsets = np.searchsorted(codes, np.arange(len(symbols) + 1)).astype(np.intp)
    return Keys([symbols[k] for k in ranks], offsets, ns, order, in_order)


def _rising(codes: NDArray[Any], times: Int64Array) -> bool:
    """Tell whether rows are sorted by (code, time) and none occurs twice."""
    later = times[1:] > times[:-1]
    return bool(((codes[1:] > codes[:-1]) | ((codes[1:] == codes[:-1]) & later)).all())


def small_range(n: int) -> NDArray[np.signedinteger[Any]]:
    """Return 0, ..., n - 1 in the smallest dtype, which is what pandas keeps."""
    return np.arange(n, dtype=np.min_scalar_type(-n))


def time_codes(parts: Sequence[Int64Array]) -> tuple[Int64Array, NDArray[np.intp]]:
    """Return the distinct times of sorted arrays, and where each time is in them."""
    if not parts:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.intp)
    first = parts[0]
    if all(np.array_equal(part, first) for part in parts[1:]):
        return first, np.tile(np.arange(len(first)), len(parts))
    times = np.concatenate(parts)
    uniques = np.unique(times)
    return uniques, np.searchsorted(uniques, times)


def key_index(
    symbols: Sequence[str],
    counts: Sequence[int],
    times: Int64Array | Sequence[Int64Array],
    time_name: str = "time",
) -> pd.MultiIndex:
    """Build the (symbol, time) index of rows sorted by symbol.

    ``times`` are sorted within each symbol, given in one array or one for each.
    """
    if isinstance(times, np.ndarray):
        times = np.split(times, np.cumsum(counts)[:-1]) if len(counts) else []
    uniques, codes = time_codes(times)
    owners = np.repeat(np.arange(len(symbols)), np.asarray(counts, dtype=np.intp))
    return multi_index(symbols, uniques, owners, codes, time_name)


def multi_index(
    symbols: Sequence[str],
    times: Int64Array,
    symbol_codes: NDArray[Any],
    codes: NDArray[Any],
    time_name: str,
) -> pd.MultiIndex:
    """Build a (symbol, time) index from levels and codes that are known to fit."""
    levels: Any = [pd.Index(list(symbols), dtype="str"), from_ns(np.asarray(times))]
    code_arrays: Any = [symbol_codes, codes]
    return pd.MultiIndex(
        levels=levels,
        codes=code_arrays,
        names=["symbol", time_name],
        verify_integrity=False,
    )
