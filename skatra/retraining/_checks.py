"""What is wrong with data before a model learns from it: everything at once."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skatra.exceptions import BarsError, DataCheckError
from skatra.typing import IntArray
from skatra.utils import (
    BAR_COLUMNS,
    PRICE_COLUMNS,
    HTMLRepr,
    column_values,
    symbol_blocks,
)

CHECKS: Mapping[str, str] = {
    "unsorted": "a bar is earlier than the one before it of its symbol, or has no time",
    "duplicates": "a symbol and time occur more than once",
    "nonfinite-prices": "a price is NaN or infinite",
    "nonpositive-prices": "a price is zero or negative",
    "inconsistent-ohlc": "high < low, or open or close lies outside of them",
    "bad-volume": "volume is NaN, infinite or negative",
    "gaps": "no bar for longer than max_gap",
    "mixed-time-zones": "times are in more than one time zone",
    "t1-before-t0": "a label ends before it starts, or has no end",
    "t1-past-last-bar": "a label ends after the last bar of its symbol, if it has any",
    "constant-features": "a feature has one value only",
    "missing-features": "a feature is NaN in every row",
    "label-in-features": "a feature equals the label or the return (correlation > .99)",
    "fewer-rows": "there are fewer rows than in the last run",
}

UNUSABLE = ("duplicates", "nonfinite-prices", "nonpositive-prices", "inconsistent-ohlc")
"""Checks whose bars nothing can be computed from: left out when they are waived."""

_SHOWN = 3
_LEAK = 0.99
_LEAST_ROWS = 30
_TINY = float(np.finfo(np.float64).tiny)
_LEAST_GAP = pd.Timedelta("10D")


@dataclass(frozen=True, slots=True)
class DataProblem:
    """One check that failed on one table.

    Attributes
    ----------
    check : str
        A key of ``CHECKS``.
    table : {"bars", "features", "labels", "rows"}
    detail : str
        How many rows, and the first ones.
    positions : ndarray of shape (n,), intp
        The rows in their table, or the columns for checks of features.
    waived : bool
        Whether it was to be let pass.
    """

    check: str
    table: str
    detail: str
    positions: IntArray
    waived: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class DataReport(HTMLRepr):
    """What :func:`check_data` found; its text lists every problem.

    Attributes
    ----------
    problems : tuple of DataProblem
        In the order of ``CHECKS``.
    """

    problems: tuple[DataProblem, ...]

    @property
    def errors(self) -> tuple[DataProblem, ...]:
        """The problems that were not waived."""
        return tuple(problem for problem in self.problems if not problem.waived)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per problem: check, table, count, detail, waived.

        Returns
        -------
        DataFrame of shape (n_problems, 5)
            In the order in which the checks ran.
        """
        columns = ["check", "table", "count", "detail", "waived"]
        found = [
            (p.check, p.table, len(p.positions), p.detail, p.waived)
            for p in self.problems
        ]
        return pd.DataFrame(found, columns=columns)

    def raise_for_problems(self) -> None:
        """Do nothing if every problem was waived.

        Raises
        ------
        DataCheckError
            Else; its message lists every problem, its ``report`` is this object.
        """
        if not self.errors:
            return
        names = sorted({problem.check for problem in self.errors})
        msg = (
            f"the data failed {len(self.errors)} "
            f"check{'s' if len(self.errors) > 1 else ''}:\n"
            + "\n".join(_line(problem) for problem in self.errors)
            + "\nMend the data, or let what you know to be right pass with "
            + " ".join(f"--waive {name}" for name in names)
            + f" (waive={tuple(names)!r})."
        )
        raise DataCheckError(msg, self)

    def sound_bars(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Return bars sorted, without those that no feature can be computed from.

        Parameters
        ----------
        bars : DataFrame of shape (n_bars, 5)
            Bars as they were checked, index (symbol, time).

        Returns
        -------
        DataFrame of shape (n_sound_bars, 5)
            The rest, sorted by (symbol, time).
        """
        bad = [
            problem.positions
            for problem in self.problems
            if problem.table == "bars" and problem.check in UNUSABLE
        ]
        if bad:
            kept = np.ones(len(bars), dtype=bool)
            kept[np.concatenate(bad)] = False
            bars = bars[kept]
        unsorted = any(problem.check == "unsorted" for problem in self.problems)
        return bars.sort_index() if unsorted else bars

    def _html_rows(self) -> dict[str, Any]:
        return {"problems": self.to_frame() if self.problems else "none"}

    def __repr__(self) -> str:
        if not self.problems:
            return "DataReport: no problems"
        return "\n".join(["DataReport:", *map(_line, self.problems)])


def _line(problem: DataProblem) -> str:
    waived = " (waived)" if problem.waived else ""
    return (
        f"  {problem.check}{waived}: {CHECKS[problem.check]}; {problem.table}: "
        f"{problem.detail}"
    )


def check_data(
    bars: pd.DataFrame,
    features: pd.DataFrame | None = None,
    labels: pd.DataFrame | None = None,
    *,
    waive: Collection[str] = (),
    max_gap: Any = None,
    previous_rows: int | None = None,
) -> DataReport:
    """Find everything that is wrong with bars, features and labels.

    Parameters
    ----------
    bars : DataFrame of shape (n_bars, 5)
        Index (symbol, time) or times; columns open, high, low, close, volume.
    features : DataFrame of shape (n_rows, n_features), optional
        Same kind of index.
    labels : DataFrame, optional
        Index (symbol, t0) or t0; columns t1, label and ret.
    waive : collection of str, default=()
        Checks (keys of ``CHECKS``) whose problems are told and let pass.
    max_gap : time span, optional
        Longest time without a bar of a symbol. By default ten days, or ten times
        the symbol's median step if that is longer.
    previous_rows : int, optional
        Rows of the last run; labels with features now are to be as many.

    Returns
    -------
    DataReport
        Every problem, with rows.

    Raises
    ------
    ValueError
        If a waived check does not exist, or a feature is no number.
    BarsError
        If bars lack a column of prices.

    Examples
    --------
    >>> from skatra.datasets import make_edge_bars
    >>> from skatra.retraining import check_data
    >>> bars = make_edge_bars(400)
    >>> check_data(bars)
    DataReport: no problems
    >>> bars.iloc[3, 0] = float("nan")
    >>> bars.iloc[[5, 6], 2] = bars.iloc[[5, 6], 1] + 1.0
    >>> [(p.check, p.positions.tolist()) for p in check_data(bars).problems]
    [('nonfinite-prices', [3]), ('inconsistent-ohlc', [5, 6])]
    """
    check_waivers(waive)
    found = [*_bar_problems(bars, max_gap)]
    if labels is not None:
        found += _label_problems(bars, labels)
    if features is not None:
        found += _feature_problems(features, labels)
    found += _zone_problems({"bars": bars, "features": features, "labels": labels})
    if previous_rows is not None and features is not None and labels is not None:
        found += _count_problems(features, labels, previous_rows)
    order = list(CHECKS)
    found.sort(key=lambda problem: order.index(problem.check))
    return DataReport(
        tuple(
            DataProblem(p.check, p.table, p.detail, p.positions, p.check in waive)
            for p in found
        )
    )


def check_waivers(waive: Any) -> None:
    """Refuse waivers that waive nothing."""
    names = [waive] if isinstance(waive, str) else waive
    if unknown := sorted(set(names) - set(CHECKS)):
        msg = f"waive must name checks, got {unknown}. There are {', '.join(CHECKS)}."
        raise ValueError(msg)


def usable_rows(features: pd.DataFrame, labels: pd.DataFrame) -> int:
    """Return how many closed labels with a direction have features."""
    closed: Any = np.asarray(labels["label"]) != 0
    if "touched" in labels:
        closed &= np.asarray(labels["touched"] != "open")
    return int((labels.index.isin(features.index) & closed).sum())


def _times(values: Any) -> pd.DatetimeIndex:
    """Return times as UTC, whatever mix they come in."""
    index = pd.Index(values)
    if not isinstance(index, pd.DatetimeIndex):
        # One by one, since no conversion of pandas takes naive and aware together.
        stamps = [pd.Timestamp(value) for value in index]
        index = pd.DatetimeIndex(
            [
                s.tz_localize("UTC") if s.tz is None else s.tz_convert("UTC")
                for s in stamps
            ]
        )
    return index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")


def _keys(index: pd.Index) -> tuple[NDArray[Any], pd.DatetimeIndex]:
    """Return the symbols (as codes) and times of an index."""
    if isinstance(index, pd.MultiIndex):
        codes, _ = pd.factorize(index.get_level_values(0))
        return codes, _times(index.get_level_values(1))
    return np.zeros(len(index), dtype=np.intp), _times(index)


def _rows(check: str, table: str, index: pd.Index, bad: Any) -> Iterator[DataProblem]:
    """Yield the problem of the rows that are bad, if any is."""
    positions = np.flatnonzero(bad).astype(np.intp, copy=False)
    if not len(positions):
        return
    shown = ", ".join(
        " ".join(map(str, label)) if isinstance(label, tuple) else str(label)
        for label in index[positions[:_SHOWN]]
    )
    more = ", ..." if len(positions) > _SHOWN else ""
    detail = f"{len(positions):,} of {len(index):,} rows, first {shown}{more}"
    yield DataProblem(check, table, detail, positions)


def _bar_problems(bars: pd.DataFrame, max_gap: Any) -> Iterator[DataProblem]:
    """Yield what is wrong with order, prices and spacing."""
    index = bars.index
    symbols, times = _keys(index)
    clock = times.as_unit("ns").asi8
    blocks = symbol_blocks(index)
    order = np.arange(len(index)) if blocks.order is None else blocks.order
    known = np.asarray(times.notna())
    first = order[blocks.offsets[:-1][blocks.offsets[:-1] < len(order)]]
    earlier = np.zeros(len(index), dtype=bool)
    earlier[order[1:]] = (np.diff(clock[order]) < 0) & known[order[:-1]]
    earlier[first] = False
    yield from _rows("unsorted", "bars", index, earlier | ~known)
    yield from _rows("duplicates", "bars", index, _repeated(index))
    if missing := [name for name in PRICE_COLUMNS if name not in bars]:
        msg = (
            f"bars must have the columns {', '.join(PRICE_COLUMNS)}, got "
            f"{', '.join(map(str, bars.columns))}; {', '.join(missing)} cannot be "
            "checked. Name them so, or load them."
        )
        raise BarsError(msg)
    values = {c: column_values(bars, c) for c in BAR_COLUMNS if c in bars}
    prices = np.column_stack([values[c] for c in PRICE_COLUMNS])
    finite = np.isfinite(prices).all(axis=1)
    yield from _rows("nonfinite-prices", "bars", index, ~finite)
    yield from _rows("nonpositive-prices", "bars", index, (prices <= 0).any(axis=1))
    low, high = values["low"], values["high"]
    outside = high < low
    for name in ("open", "close"):
        outside |= (values[name] < low) | (values[name] > high)
    yield from _rows("inconsistent-ohlc", "bars", index, finite & outside)
    if "volume" in values:
        volume = values["volume"]
        bad = ~np.isfinite(volume) | (volume < 0)
        yield from _rows("bad-volume", "bars", index, bad)
    step = _steps(symbols, clock, known)
    yield from _rows(
        "gaps", "bars", index, step > _longest_step(symbols, step, max_gap)
    )


def _repeated(index: pd.Index) -> NDArray[np.bool_]:
    """Tell which rows come again later with the same symbol and time."""
    symbols, times = _keys(index)
    keys = pd.DataFrame({"s": symbols, "t": times.as_unit("ns").asi8})
    return np.asarray(keys.duplicated(keep="last"))


def _steps(
    symbols: NDArray[Any], clock: NDArray[np.int64], known: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the time since the bar before of each bar's symbol, in whatever order."""
    order = np.lexsort((clock, symbols))
    order = order[known[order]]
    step = np.zeros(len(clock), dtype=np.int64)
    same = symbols[order[1:]] == symbols[order[:-1]]
    step[order[1:]] = np.where(same, np.diff(clock[order]), 0)
    return step


def _longest_step(
    symbols: NDArray[Any], step: NDArray[np.int64], max_gap: Any
) -> NDArray[np.int64]:
    """Return the longest step that is no gap, for every row."""
    if max_gap is not None:
        return np.full(len(step), pd.Timedelta(max_gap).as_unit("ns").value)
    rising = step > 0
    steps = pd.Series(step[rising])
    typical = steps.groupby(symbols[rising]).median() * 10.0
    least = float(_LEAST_GAP.as_unit("ns").value)
    longest = np.full(int(symbols.max(initial=0)) + 1, least)
    longest[typical.index.to_numpy()] = np.maximum(typical.to_numpy(), least)
    found: NDArray[np.int64] = longest[symbols].astype(np.int64)
    return found


def _label_problems(bars: pd.DataFrame, labels: pd.DataFrame) -> Iterator[DataProblem]:
    """Yield labels whose end is no end, or not in the bars."""
    index = labels.index
    yield from _rows("duplicates", "labels", index, _repeated(index))
    _, start = _keys(index)
    end = _times(labels["t1"])
    backward = np.asarray(end.isna() | (end < start))
    yield from _rows("t1-before-t0", "labels", index, backward)
    _, times = _keys(bars.index)
    if isinstance(bars.index, pd.MultiIndex) and isinstance(index, pd.MultiIndex):
        last = pd.Series(times).groupby(bars.index.get_level_values(0)).max()
        limit = pd.DatetimeIndex(last.reindex(index.get_level_values(0)))
    else:
        limit = pd.DatetimeIndex([times.max()] * len(index))
    late = np.asarray(end > limit) | (
        np.asarray(limit.isna()) & np.asarray(end.notna())
    )
    yield from _rows("t1-past-last-bar", "labels", index, late)


def _feature_problems(
    features: pd.DataFrame, labels: pd.DataFrame | None
) -> Iterator[DataProblem]:
    """Yield features that teach nothing, or too much."""
    repeated = _repeated(features.index)
    yield from _rows("duplicates", "features", features.index, repeated)
    kinds = dict(features.dtypes.items())
    is_number = pd.api.types.is_numeric_dtype
    if strange := [name for name, kind in kinds.items() if not is_number(kind)]:
        msg = (
            f"features must be numbers, got {kinds[strange[0]]} in {strange}. Encode "
            "them, or leave them out."
        )
        raise ValueError(msg)
    values = features.to_numpy(dtype=np.float64, na_value=np.nan)
    if not len(values):
        return
    missing = np.isnan(values).all(axis=0)
    low = np.fmin.reduce(values, axis=0, initial=np.inf)
    high = np.fmax.reduce(values, axis=0, initial=-np.inf)
    constant = ~missing & (low == high)
    yield from _columns("constant-features", features.columns, constant)
    yield from _columns("missing-features", features.columns, missing)
    if labels is None or not len(labels):
        return
    rows = np.flatnonzero(~repeated)
    places = features.index[rows].get_indexer(labels.index)
    joined = places >= 0
    if "touched" in labels:
        joined &= np.asarray(labels["touched"] != "open")
    known = values[rows[places[joined]]]
    symbols, _ = _keys(labels.index[joined])
    leaking = np.zeros(len(features.columns), dtype=bool)
    for name in ("label", "ret"):
        if name in labels:
            outcome = labels[name].to_numpy(dtype=np.float64)[joined]
            leaking |= np.abs(_correlations(known, outcome)) > _LEAK
            for mine in _of_each(symbols):
                leaking |= np.abs(_correlations(known[mine], outcome[mine])) > _LEAK
    yield from _columns("label-in-features", features.columns, leaking)


def _of_each(symbols: NDArray[Any]) -> Iterator[IntArray]:
    """Yield the rows of every symbol with enough of them to tell luck from a leak."""
    order = np.argsort(symbols, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(symbols[order])) + 1):
        if _LEAST_ROWS <= len(rows) < len(order):
            yield rows


def _correlations(values: NDArray[Any], outcome: NDArray[Any]) -> NDArray[Any]:
    """Return each column's correlation with an outcome where both are finite."""
    good = np.isfinite(values) & np.isfinite(outcome)[:, None]
    n = np.maximum(good.sum(axis=0), 1)
    x = np.where(good, values, 0.0)
    y = np.where(good, outcome[:, None], 0.0)
    x, y = (v / np.maximum(np.abs(v).max(axis=0, initial=0.0), _TINY) for v in (x, y))
    x = np.where(good, x - x.sum(axis=0) / n, 0.0)
    y = np.where(good, y - y.sum(axis=0) / n, 0.0)
    size = np.sqrt((x * x).sum(axis=0) * (y * y).sum(axis=0))
    found: NDArray[Any] = np.divide(
        (x * y).sum(axis=0), size, out=np.zeros(len(n)), where=(size > 0) & (n > 2)
    )
    return found


def _columns(check: str, names: pd.Index, bad: Any) -> Iterator[DataProblem]:
    """Yield the problem of the features that are bad, if any is."""
    positions = np.flatnonzero(bad).astype(np.intp, copy=False)
    if len(positions):
        shown = ", ".join(map(str, names[positions[:10]]))
        more = ", ..." if len(positions) > 10 else ""
        detail = f"{len(positions)} of {len(names)} columns: {shown}{more}"
        yield DataProblem(check, "features", detail, positions)


def _zone_problems(
    tables: Mapping[str, pd.DataFrame | None],
) -> Iterator[DataProblem]:
    """Yield the zones where there is more than one."""
    zones: dict[str, list[str]] = {}
    for name, table in tables.items():
        if table is None:
            continue
        index = table.index
        level = index.levels[1] if isinstance(index, pd.MultiIndex) else index
        columns: Sequence[Any] = [table["t1"]] if "t1" in table else []
        for times in (level, *columns):
            for zone in _zones(times):
                zones.setdefault(zone, []).append(name)
    if len(zones) > 1:
        parts = [f"{zone} in {', '.join(dict.fromkeys(zones[zone]))}" for zone in zones]
        detail = "; ".join(parts)
        yield DataProblem("mixed-time-zones", "rows", detail, np.arange(len(zones)))


def _zones(times: Any) -> list[str]:
    """Return the time zones in an index or a column."""
    if isinstance(times.dtype, pd.DatetimeTZDtype):
        return [str(times.dtype.tz)]
    if times.dtype != object:
        return ["no zone"]
    zones = {getattr(value, "tzinfo", None) for value in times}
    return sorted("no zone" if zone is None else str(zone) for zone in zones)


def _count_problems(
    features: pd.DataFrame, labels: pd.DataFrame, previous: int
) -> Iterator[DataProblem]:
    """Yield the shrinkage since the last run."""
    now = usable_rows(features, labels)
    if now < previous:
        detail = f"{now:,} now, {previous:,} in the last run"
        yield DataProblem("fewer-rows", "rows", detail, np.arange(now, previous))
