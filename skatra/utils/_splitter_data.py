"""Labels that splitters get wrong, and the splits that a splitter makes of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from inspect import signature
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skatra.typing import IntArray
from skatra.utils._label_times import as_label_intervals

_N_ROWS = 240


@dataclass(frozen=True)
class LabelledRows:
    """Rows to split: column "row" of `X` numbers them.

    Attributes
    ----------
    name : str
    X : DataFrame of shape (n, 2)
    y, groups : ndarray of shape (n,)
    label_times : Series, indexed like `X`
    required : bool
        Whether a splitter must take these rows; else it may refuse them.
    """

    name: str
    X: pd.DataFrame
    y: NDArray[np.int64]
    groups: NDArray[np.int64]
    label_times: "pd.Series[Any]"
    required: bool = False

    @classmethod
    def of(cls, name: str, label_times: "pd.Series[Any]") -> "LabelledRows":
        n_rows = len(label_times)
        rows = np.arange(n_rows)
        X = pd.DataFrame(
            {"row": rows.astype(float), "noise": np.sin(rows)}, index=label_times.index
        )
        groups = rows % 7
        return cls(name, X, rows // 2 % 2, groups, label_times)

    def take(self, rows: IntArray) -> "LabelledRows":
        """Return some rows, in the order given."""
        return LabelledRows(
            self.name,
            self.X.iloc[rows],
            self.y[rows],
            self.groups[rows],
            self.label_times.iloc[rows],
        )

    @cached_property
    def intervals(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Label starts and ends as numbers."""
        intervals = as_label_intervals(self.label_times)
        return intervals.t0, intervals.t1

    def overlaps(self, train: IntArray, test: IntArray, closed: str) -> NDArray[Any]:
        """Tell which training row overlaps which test row: all pairs, one by one."""
        t0, t1 = self.intervals
        a0, a1 = t0[train][:, None], t1[train][:, None]
        b0, b1 = t0[test], t1[test]
        starts, ends = a0 <= b1, a1 >= b0
        if closed == "left":
            # A zero-length label is its point; others do not hold their end.
            starts &= (a0 < b1) | (b0 == b1)
            ends &= (a1 > b0) | (a0 == a1)
        both: NDArray[Any] = starts & ends
        return both


def plain_rows(n_rows: int = _N_ROWS) -> LabelledRows:
    """Return sorted daily rows whose labels overlap: these may not be refused."""
    t0 = pd.date_range("2024-01-01", periods=n_rows, freq="D", name="t0")
    label_times = _series(t0, np.arange(n_rows) * 5 % 8)
    return replace(LabelledRows.of("overlapping labels", label_times), required=True)


def awkward_rows() -> Iterator[LabelledRows]:
    """Yield rows that a splitter may refuse, but not leak on."""
    rng = np.random.default_rng(0)
    t0 = pd.date_range("2024-01-01", periods=_N_ROWS, freq="D", name="t0")
    nested = np.where(np.arange(_N_ROWS) % 23 == 11, 30, 1)
    yield LabelledRows.of("nested labels", _series(t0, nested))
    yield LabelledRows.of("labels that touch", _series(t0, np.ones(_N_ROWS)))
    yield LabelledRows.of("labels of length zero", _series(t0, nested * (nested > 1)))
    gaps = np.cumsum(rng.choice([1, 1, 1, 2, 14], _N_ROWS))
    irregular = t0[0] + pd.to_timedelta(gaps, unit="D").rename("t0")
    lengths = rng.integers(0, 9, _N_ROWS)
    yield LabelledRows.of("irregular gaps", _series(irregular, lengths))
    yield LabelledRows.of("duplicated t0", _series(t0[:80].repeat(3), lengths))
    panel = pd.MultiIndex.from_product([list("DBCA"), t0[:60]], names=["symbol", "t0"])
    ends = panel.get_level_values("t0") + pd.to_timedelta(lengths, unit="D")
    yield LabelledRows.of(
        "a panel stacked by symbol", pd.Series(ends, index=panel, name="t1")
    )
    yield replace(plain_rows().take(rng.permutation(_N_ROWS)), name="unsorted rows")
    zone = t0.tz_localize("America/New_York")
    yield LabelledRows.of("a time zone with daylight saving", _series(zone, lengths))
    numbers = pd.Index(np.arange(_N_ROWS) * 2, name="t0")
    yield LabelledRows.of(
        "integer times", pd.Series(numbers + lengths * 2, index=numbers, name="t1")
    )


def _series(t0: pd.DatetimeIndex, days: Any) -> "pd.Series[Any]":
    ends = t0 + pd.to_timedelta(np.asarray(days, dtype=np.int64), unit="D")
    return pd.Series(ends, index=t0, name="t1")


@dataclass(frozen=True)
class SplitterCase:
    """A splitter, and how to call it.

    Attributes
    ----------
    splitter : object
    closed : {"both", "left"}
    times : str
        Parameter of `split` that takes label times, if it has one.
    """

    splitter: Any
    closed: str
    times: str

    @property
    def takes_times(self) -> bool:
        """Whether `split` takes label times."""
        return self.times in signature(self.splitter.split).parameters

    @property
    def takes_groups(self) -> bool:
        """Whether the splitter asks scikit-learn's metadata routing for groups."""
        ask = getattr(self.splitter, "get_metadata_routing", None)
        return ask is not None and ask().split.requests.get("groups") is True

    def metadata(self, rows: LabelledRows) -> dict[str, Any]:
        """Return what a search has to be given for this splitter."""
        given: dict[str, Any] = {}
        if self.takes_times:
            given[self.times] = rows.label_times
        if self.takes_groups:
            given["groups"] = rows.groups
        return given

    def split(self, rows: LabelledRows, X: Any = None) -> list[tuple[Any, Any]]:
        """Return all splits; X stands in for the frame of the rows."""
        X = rows.X if X is None else X
        return [
            (train, test)
            for train, test in self.splitter.split(X, rows.y, **self.metadata(rows))
        ]

    def of(self, splitter: Any) -> "SplitterCase":
        """Return the same calls of another splitter."""
        return replace(self, splitter=splitter)
