"""Count what any scikit-learn splitter leaks."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from inspect import signature
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import check_cv
from sklearn.utils import check_consistent_length

from skatra.exceptions import LabelTimesError, LeakageError
from skatra.model_selection._label_times import count_rows, resolve_label_intervals
from skatra.model_selection._states import SplitReader, State, checked_splits
from skatra.typing import Closed, LabelTimesLike
from skatra.utils import observation

_COLUMNS = (
    "train",
    "test",
    "purged",
    "embargoed",
    "unused",
    "leaking_rows",
    "leaking_pairs",
)


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
    counts : ndarray of shape (n_splits, 7), int64
        Per split the columns of `to_frame` that are counts.
    """

    splitter: str
    n_rows: int
    closed: str
    counts: NDArray[np.int64]

    @property
    def n_splits(self) -> int:
        """Number of splits."""
        return len(self.counts)

    @property
    def totals(self) -> "pd.Series[int]":
        """Sums over all splits of each count in `to_frame`, int64."""
        return pd.Series(self.counts.sum(axis=0), index=list(_COLUMNS), name="total")

    @property
    def n_leaking_pairs(self) -> int:
        """Number of overlapping (training row, test row) pairs over all splits."""
        return int(self.totals["leaking_pairs"])

    @property
    def n_leaking_rows(self) -> int:
        """Number of training rows that overlap a test row, over all splits."""
        return int(self.totals["leaking_rows"])

    @property
    def share_used(self) -> float:
        """Share of rows that were trained on or tested, in [0, 1]: mean of splits."""
        return float(self._shares().mean()) if self.n_splits else 0.0

    @property
    def summary(self) -> str:
        """One line: what leaks, in how many splits, and how many rows are used."""
        pairs, rows = self.n_leaking_pairs, self.n_leaking_rows
        return (
            f"{pairs} leaking {'pair' if pairs == 1 else 'pairs'} "
            f"({rows} training {'row' if rows == 1 else 'rows'}) in {self.n_splits} "
            f"{'split' if self.n_splits == 1 else 'splits'} of {self.n_rows} rows by "
            f"{self.splitter}, {_percent(self.share_used)} of rows used"
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per split.

        Returns
        -------
        frame : DataFrame of shape (n_splits, 8)
            Columns, int64 unless said otherwise:

            - train, test: rows in each set;
            - purged: rows in neither whose label overlaps a test label, by the
              splitter's own `purge_gap` and `closed` where it has them;
            - embargoed: further rows that start within the splitter's `embargo`
              after a run of test rows; 0 where it has none;
            - unused: rows in neither for any other reason;
            - leaking_rows, leaking_pairs: training rows that overlap a test row,
              and pairs of overlapping training and test rows;
            - share_used: share of rows trained on or tested, float64 in [0, 1].
        """
        index = pd.RangeIndex(self.n_splits, name="split")
        frame = pd.DataFrame(self.counts, index=index, columns=list(_COLUMNS))
        return frame.assign(share_used=self._shares())

    def to_dict(self) -> dict[str, Any]:
        """Return the totals as plain numbers, e.g. for JSON.

        Returns
        -------
        figures : dict
            splitter, n_splits, n_rows, closed, the totals of the counts in
            `to_frame` and share_used.
        """
        return {
            "splitter": self.splitter,
            "n_splits": self.n_splits,
            "n_rows": self.n_rows,
            "closed": self.closed,
            **dict(zip(_COLUMNS, self.counts.sum(axis=0).tolist(), strict=True)),
            "share_used": self.share_used,
        }

    def raise_for_leaks(self) -> None:
        """Do nothing if nothing leaks.

        Raises
        ------
        LeakageError
            If a training label overlaps a test label in any split.
        """
        if self.n_leaking_pairs:
            worst = int(self.counts[:, -1].argmax())
            error = LeakageError(
                f"{self.summary}; the worst is split {worst} with "
                f"{self.counts[worst, -1]} pairs. Use "
                "skatra.model_selection.PurgedKFold, which drops these rows."
            )
            if observation.observer is not None:
                observation.observer.leak_refused(self)
                observation.observer.failed("model_selection", error)
            raise error

    def _shares(self) -> NDArray[np.float64]:
        left_out = self.counts[:, State.PURGED : State.UNUSED + 1].sum(axis=1)
        shares: NDArray[np.float64] = 1.0 - left_out / self.n_rows
        return shares

    def _table(self) -> pd.DataFrame:
        frame = self.to_frame()
        frame.index = pd.Index([str(split) for split in frame.index])
        frame.loc["total"] = [*self.totals, self.share_used]
        frame[list(_COLUMNS)] = frame[list(_COLUMNS)].astype(np.int64)
        frame["share_used"] = [_percent(share) for share in frame["share_used"]]
        return frame

    def __repr__(self) -> str:
        """Return the summary and a table of all splits."""
        return f"{self.summary}\n{self._table().to_string()}"

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.summary)}</p>{self._table().to_html(border=0)}"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def audit_splits(
    cv: Any,
    X: Any,
    y: Any = None,
    groups: Any = None,
    *,
    label_times: "LabelTimesLike | None" = None,
    closed: Closed = "both",
) -> SplitAudit:
    """Count the leaks of any scikit-learn splitter.

    A training row leaks if its label interval overlaps that of a test row: both
    then depend on the same prices [1]_. Rows that were dropped are told apart:
    purged, embargoed or left out for another reason. Counting takes O(n log n)
    once and O(n) per split.

    Parameters
    ----------
    cv : splitter, iterable of (train, test) or int
        Anything that scikit-learn takes as `cv`. Splitters whose `split` accepts
        `label_times` are given them.

    X : array-like of shape (n, ...)
        The rows to split.

    y, groups : array-like of shape (n,), default=None
        Passed to the splitter.

    label_times : Series or array-like of shape (n_samples, 2), default=None
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
    ValueError
        If `cv` gives anything but positions of the rows of X.

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
    >>> audit_splits(KFold(3), X, label_times=label_times).summary
    '12 leaking pairs (8 training rows) in 3 splits of 9 rows by KFold(n_splits=3,
    random_state=None, shuffle=False), 100.0% of rows used'
    >>> cv = PurgedKFold(3, embargo="1D")
    >>> audit = audit_splits(cv, X, label_times=label_times)
    >>> audit.n_leaking_pairs
    0
    >>> audit.to_frame()[["train", "test", "purged", "embargoed", "unused"]]
           train  test  purged  embargoed  unused
    split
    0          3     3       2          1       0
    1          1     3       4          1       0
    2          4     3       2          0       0
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
    reader = SplitReader(intervals, closed, splitter)
    counts = [
        _count(reader, train, test)
        for train, test in checked_splits(
            splitter.split(X, y, groups, **options), count_rows(X)
        )
    ]
    audit = SplitAudit(
        splitter=type(cv).__name__ if isinstance(cv, Iterable) else repr(splitter),
        n_rows=count_rows(X),
        closed=closed,
        counts=np.array(counts, dtype=np.int64).reshape(-1, len(_COLUMNS)),
    )
    if observation.observer is not None:
        observation.observer.splits_audited(audit)
    return audit


def _count(reader: SplitReader, train: Any, test: Any) -> list[int]:
    """Return the counts of one split, in the order of the columns."""
    states, overlaps, n_train = reader.read(train, test)
    rows = np.bincount(states, minlength=len(State)).tolist()
    rows[State.TRAIN] = n_train
    return [*rows, int(np.count_nonzero(overlaps)), int(overlaps.sum())]
