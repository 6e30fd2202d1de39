"""Count what any scikit-learn splitter leaks."""

from dataclasses import dataclass
from html import escape
from inspect import signature
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import check_cv
from sklearn.utils import check_consistent_length

from skatra.exceptions import LabelTimesError, LeakageError
from skatra.model_selection._label_times import count_rows, resolve_label_intervals
from skatra.typing import IntArray, LabelTimesLike, TimeArray
from skatra.utils import LabelIntervals

_COLUMNS = ("train", "test", "unused", "leaking_rows", "leaking_pairs")


@dataclass(frozen=True, slots=True, repr=False)
class SplitAudit:
    """What a splitter trains on, tests, leaves out and leaks.

    Made by :func:`audit_splits`. Its text and its notebook display show all
    splits and their totals.

    Attributes
    ----------
    splitter : str
        The splitter's repr.
    n_rows : int
        Number of rows that were split.
    closed : {"both", "left"}
        Whether labels that only touch counted as overlapping.
    counts : ndarray of shape (n_splits, 5), int64
        Per split: rows in training, in the test set, in neither, training rows
        that overlap a test row, and pairs of overlapping training and test rows.
    """

    splitter: str
    n_rows: int
    closed: str
    counts: np.ndarray[tuple[int, int], np.dtype[np.int64]]

    @property
    def n_splits(self) -> int:
        """Number of splits."""
        return len(self.counts)

    @property
    def n_leaking_pairs(self) -> int:
        """Number of overlapping (training row, test row) pairs over all splits."""
        return int(self.counts[:, 4].sum())

    @property
    def n_leaking_rows(self) -> int:
        """Number of training rows that overlap a test row, over all splits."""
        return int(self.counts[:, 3].sum())

    def to_frame(self) -> pd.DataFrame:
        """Return one row per split.

        Returns
        -------
        frame : DataFrame of shape (n_splits, 5), int64
            Columns train, test, unused, leaking_rows, leaking_pairs.
        """
        index = pd.RangeIndex(self.n_splits, name="split")
        return pd.DataFrame(self.counts, index=index, columns=list(_COLUMNS))

    def raise_for_leaks(self) -> None:
        """Do nothing if nothing leaks.

        Raises
        ------
        LeakageError
            If a training label overlaps a test label in any split.
        """
        if self.n_leaking_pairs:
            worst = int(self.counts[:, 4].argmax())
            raise LeakageError(
                f"{self._verdict()}; the worst is split {worst} with "
                f"{self.counts[worst, 4]} pairs. Use "
                "skatra.model_selection.PurgedKFold, which drops these rows."
            )

    def _verdict(self) -> str:
        pairs, rows = self.n_leaking_pairs, self.n_leaking_rows
        return (
            f"{pairs} leaking {'pair' if pairs == 1 else 'pairs'} "
            f"({rows} training {'row' if rows == 1 else 'rows'}) in {self.n_splits} "
            f"{'split' if self.n_splits == 1 else 'splits'} of {self.n_rows} rows by "
            f"{self.splitter}"
        )

    def _table(self) -> pd.DataFrame:
        frame = self.to_frame()
        frame.index = pd.Index([str(split) for split in frame.index])
        frame.loc["total"] = self.counts.sum(axis=0)
        return frame

    def __repr__(self) -> str:
        """Return the verdict and a table of all splits."""
        return f"{self._verdict()}\n{self._table().to_string()}"

    def _repr_html_(self) -> str:
        return f"<p>{escape(self._verdict())}</p>{self._table().to_html()}"


def audit_splits(
    cv: Any,
    X: Any,
    y: Any = None,
    groups: Any = None,
    *,
    label_times: "LabelTimesLike | None" = None,
    closed: str = "both",
) -> SplitAudit:
    """Count the leaks of any scikit-learn splitter.

    A training row leaks if its label interval overlaps that of a test row: both
    then depend on the same prices [1]_. Counting takes O(n log n) once and O(n)
    per split.

    Parameters
    ----------
    cv : splitter, iterable of (train, test) or int
        Anything that scikit-learn takes as `cv`. Splitters whose `split` accepts
        `label_times` are given them.

    X : array-like of shape (n, ...)
        The rows to split.

    y, groups : array-like of shape (n,), default=None
        Passed to the splitter.

    label_times : Series, DataFrame or array-like, default=None
        One label per row, in row order: a Series (index t0, values t1) or two
        columns (t0, t1). None takes the Series that `cv` was constructed with.

    closed : {"both", "left"}, default="both"
        "both": labels that touch overlap. "left": they do not.

    Returns
    -------
    audit : SplitAudit
        Prints as a table; see `to_frame`, `raise_for_leaks`.

    Raises
    ------
    LabelTimesError
        If label times are missing or do not fit the rows.

    See Also
    --------
    PurgedKFold : The splitter with 0 leaking pairs.

    References
    ----------
    .. [1] M. López de Prado, *Advances in Financial Machine Learning*, Wiley
       2018, section 7.4.1.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.model_selection import KFold
    >>> from skatra.model_selection import PurgedKFold, audit_splits
    >>> days = pd.date_range("2026-01-05", periods=9, freq="D")
    >>> label_times = pd.Series(days + pd.Timedelta("2D"), index=days)
    >>> X = np.zeros((9, 1))
    >>> audit_splits(KFold(3), X, label_times=label_times)
    12 leaking pairs (8 training rows) in 3 splits of 9 rows by KFold(n_splits=3,
    random_state=None, shuffle=False)
           train  test  unused  leaking_rows  leaking_pairs
    0          6     3       0             2              3
    1          6     3       0             4              6
    2          6     3       0             2              3
    total     18     9       0             8             12
    >>> audit_splits(PurgedKFold(3), X, label_times=label_times).n_leaking_pairs
    0
    """
    if closed not in ("both", "left"):
        raise ValueError(f"closed must be 'both' or 'left', got {closed!r}.")
    check_consistent_length(X, y, groups)
    own = getattr(cv, "label_times", None)
    if label_times is None and not isinstance(own, pd.Series):
        raise LabelTimesError(
            "audit_splits needs label_times to know which labels overlap: pass a "
            "Series (index t0, values t1), a two-column frame or an (n, 2) array."
        )
    intervals = resolve_label_intervals(
        X, label_times, own=own, purge_gap=0, who="audit_splits"
    )
    splitter = check_cv(cv, y)
    options = {}
    if (
        label_times is not None
        and "label_times" in signature(splitter.split).parameters
    ):
        options["label_times"] = label_times
    counter = _OverlapCounter(intervals, closed)
    counts = [
        counter.count(train, test)
        for train, test in splitter.split(X, y, groups, **options)
    ]
    return SplitAudit(
        splitter=repr(cv) if hasattr(cv, "split") else type(cv).__name__,
        n_rows=count_rows(X),
        closed=closed,
        counts=np.array(counts, dtype=np.int64).reshape(-1, len(_COLUMNS)),
    )


class _OverlapCounter:
    """Counts overlaps of any two sets of rows in O(n), after sorting once.

    With closed intervals, the labels that overlap label i are those that start no
    later than t1_i, less those that end before t0_i.
    """

    def __init__(self, intervals: LabelIntervals, closed: str) -> None:
        t0, t1 = intervals.t0, intervals.t1
        if closed == "left":
            t1 = _last_inside(t0, t1)
        self._by_start, starts = _sorted(t0)
        self._by_end, ends = _sorted(t1)
        self._started = np.searchsorted(starts, t1, side="right")
        self._ended = np.searchsorted(ends, t0, side="left")

    def count(self, train: Any, test: Any) -> tuple[int, int, int, int, int]:
        """Return rows in train, test and neither, leaking rows and pairs."""
        n_rows = len(self._started)
        trained, tested = _as_mask(train, n_rows), _as_mask(test, n_rows)
        overlaps = (
            _running_count(tested, self._by_start)[self._started]
            - _running_count(tested, self._by_end)[self._ended]
        )
        overlaps *= trained
        return (
            int(np.count_nonzero(trained)),
            int(np.count_nonzero(tested)),
            n_rows - int(np.count_nonzero(trained | tested)),
            int(np.count_nonzero(overlaps)),
            int(overlaps.sum()),
        )


def _last_inside(t0: TimeArray, t1: TimeArray) -> TimeArray:
    """Return the last representable time inside each [t0, t1)."""
    before = t1 - 1 if t1.dtype.kind == "i" else np.nextafter(t1, -np.inf)
    return np.where(t1 > t0, before, t1)


def _sorted(times: TimeArray) -> tuple[IntArray | None, TimeArray]:
    if (times[1:] >= times[:-1]).all():
        return None, times
    order = np.argsort(times)
    return order, times[order]


def _as_mask(rows: Any, n_rows: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    mask = np.zeros(n_rows, dtype=np.bool_)
    mask[rows] = True
    return mask


def _running_count(
    mask: np.ndarray[Any, np.dtype[np.bool_]], order: IntArray | None
) -> np.ndarray[Any, np.dtype[np.int64]]:
    counts = np.zeros(len(mask) + 1, dtype=np.int64)
    np.cumsum(mask if order is None else mask[order], out=counts[1:])
    return counts
