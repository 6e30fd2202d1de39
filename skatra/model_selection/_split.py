"""Purged K-fold cross-validation and the purged train/test split."""

from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import indexable

from skatra.model_selection._base import (
    Plan,
    PurgedSplitter,
    ScopedPurge,
    check_folds,
    check_options,
    fold_edges,
    make_purger,
)
from skatra.model_selection._label_times import (
    count_rows,
    resolve_label_intervals,
)
from skatra.model_selection._pieces import RowTaker
from skatra.model_selection._purge import Purger
from skatra.typing import Closed, IntArray, LabelTimesLike, PurgeScope, Span
from skatra.utils import safe_indexing


class PurgedKFold(PurgedSplitter):
    """K-fold cross-validation in time without leaking labels.

    Each fold is one block of time and is the test set once. The training set is
    every other row, except those that would leak [1]_:

    - *purging* drops a training row whose label interval [t0, t1] overlaps the
      label interval of any test row, before or after the block;
    - the *embargo* drops training rows that start within a span after the
      block's last label end, where features may still remember the test rows.

    Nothing else is dropped. In contrast to
    :class:`~sklearn.model_selection.TimeSeriesSplit` the model also trains on
    rows after the test block; in contrast to
    :class:`~sklearn.model_selection.KFold` no training label knows a price that
    a test label is made of.

    Rows may come in any order and share a t0 (many assets): folds are cut in
    time order, between distinct t0, at the cut nearest to an even one.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.

    label_times : Series, default=None
        Label end times t1, indexed by unique labels that `X.index` is looked up
        in; the time level of the index is t0. Only for calls that cannot pass
        `label_times` to :meth:`split`, which takes precedence.

    purge_gap : str, timedelta, int or float, default=0
        Extra distance required between training and test intervals, on both
        sides: a time span ("5D"), an int counting distinct t0, or a float in
        [0, 1) as a share of distinct t0, rounded up. Without any label times, a
        positive `purge_gap` is the horizon of labels that start and end at t0.
        Prefer a time span, which is elapsed time ("1D" is 24 hours in any time
        zone): nested folds have fewer rows to count.

    embargo : str, timedelta, int or float, default=0
        Span after each test block's last t1 in which no training row may start,
        both ends included. Same forms as `purge_gap`.

    closed : {"both", "left"}, default="both"
        "both": intervals [t0, t1] that touch overlap. "left": intervals
        [t0, t1) that touch do not; a label with t1 = t0 is its point.

    purge_scope : {"all", "groups"}, default="all"
        "all": labels overlap across groups (assets), which move together. "groups":
        a row is purged and embargoed by test rows of its own group only, as if
        each group were split alone into the same folds; needs `groups` in
        :meth:`split`, which are then requested from metadata routing too.

    See Also
    --------
    CombinatorialPurgedKFold : Several test folds at a time, several backtest paths.
    PurgedGroupKFold : Test groups that training has never seen.
    PurgedWalkForward : Train on the past only.
    purged_train_test_split : One purged split at the end of time.
    audit_splits : Count the leaks of any splitter.

    Notes
    -----
    Label times are requested from scikit-learn's metadata routing by default.
    With routing on, searches slice them along with X, so nested
    cross-validation works on frames and on arrays::

        with sklearn.config_context(enable_metadata_routing=True):
            GridSearchCV(model, grid, cv=PurgedKFold()).fit(
                X, y, label_times=label_times
            )

    Where nothing is routed, `list(cv.split(X, label_times=label_times))` is a
    `cv` that everything in scikit-learn accepts.

    A `purge_gap` that counts g reaches the g-th distinct t0 after the last one that
    a label contains, and likewise back from its t0; with ``closed="left"`` a label
    contains the t0 in [t0, t1) (or its point), so that a longer label never purges
    less. An `embargo` that counts reaches the g-th distinct t0 after the last one
    that is not later than t1.

    Splitting costs one pass over sorted rows, one sort of unsorted ones, and then
    little more than writing the indices. Results may be read-only views of one
    array: copy them before you change them.

    References
    ----------
    .. [1] M. López de Prado, *Advances in Financial Machine Learning*, Wiley
       2018, sections 7.4.1 and 7.4.2.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skatra.model_selection import PurgedKFold
    >>> days = pd.date_range("2026-01-05", periods=9, freq="D")
    >>> label_times = pd.Series(days + pd.Timedelta("1D"), index=days)
    >>> X = np.zeros((9, 1))
    >>> for train, test in PurgedKFold(n_splits=3).split(X, label_times=label_times):
    ...     print(train, test)
    [4 5 6 7 8] [0 1 2]
    [0 1 7 8] [3 4 5]
    [0 1 2 3 4] [6 7 8]

    The embargo starts where the last test label ends:

    >>> cv = PurgedKFold(n_splits=3, embargo="1D")
    >>> for train, test in cv.split(X, label_times=label_times):
    ...     print(train, test)
    [5 6 7 8] [0 1 2]
    [0 1 8] [3 4 5]
    [0 1 2 3 4] [6 7 8]
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        label_times: "pd.Series[Any] | None" = None,
        purge_gap: Span = 0,
        embargo: Span = 0,
        closed: Closed = "both",
        purge_scope: PurgeScope = "all",
    ) -> None:
        self.n_splits = n_splits
        self.label_times = label_times
        self.purge_gap = purge_gap
        self.embargo = embargo
        self.closed = closed
        self.purge_scope = purge_scope
        self._check_parameters()

    def _check_parameters(self) -> None:
        check_folds(self.n_splits, "n_splits")
        self._check_shared_parameters()

    def _count_splits(self) -> int:
        return int(self.n_splits)

    def _uses_groups(self) -> bool:
        return self.purge_scope == "groups"

    def _plan(self, purger: Purger, codes: IntArray | None) -> Plan:
        scoped = ScopedPurge(purger, codes)
        edges = fold_edges(purger.timeline, self.n_splits, "n_splits")
        for start, stop in pairwise(edges):
            yield scoped.training([(start, stop)]), [(start, stop, None)]

    def _no_training_rows(self, number: int, n_tested: int) -> str:
        return (
            f"Fold {number} of n_splits={self.n_splits} is left without training "
            f"rows: its {n_tested} test rows purge or embargo all the others "
            f"with purge_gap={self.purge_gap!r}, embargo={self.embargo!r}, "
            f"closed={self.closed!r}. Shorten these or the labels, or use "
            "more rows."
        )


def purged_train_test_split(
    *arrays: Any,
    label_times: "LabelTimesLike | None" = None,
    test_size: float = 0.25,
    purge_gap: Span = 0,
    embargo: Span = 0,
    closed: Closed = "both",
) -> list[Any]:
    """Split arrays into a training set and the purged last share of time.

    Like :func:`~sklearn.model_selection.train_test_split`, but the test set is
    the last rows in time, cut between distinct t0, and training rows whose labels
    overlap a test label are dropped [1]_.

    Parameters
    ----------
    *arrays : indexables with the same number of rows
        Frames, Series, arrays, sparse matrices or lists. Pass the label times
        among them too to have them sliced.

    label_times : Series or array-like of shape (n_samples, 2), default=None
        One label per row, in row order: a Series (index t0, values t1) or two
        columns (t0, t1). None needs a positive `purge_gap`, the horizon of labels
        that start at the rows' own times (the first array's DatetimeIndex, else
        row numbers).

    test_size : float or int, default=0.25
        Share of rows in (0, 1), rounded up, or number of rows to test. Rows with
        one t0 stay together: the cut between distinct t0 nearest to it is taken.

    purge_gap : str, timedelta, int or float, default=0
        Extra distance required between training and test intervals, on both sides: a
        time span ("5D"), an int counting distinct t0, or a float in [0, 1) as a share
        of distinct t0, rounded up.

    embargo : str, timedelta, int or float, default=0
        As of :class:`PurgedKFold`; no rows follow the test set, so it drops none.

    closed : {"both", "left"}, default="both"
        "both": intervals [t0, t1] that touch overlap. "left": intervals [t0, t1) that
        touch do not.

    Returns
    -------
    splitting : list of length 2 * len(arrays)
        Training part and test part of each array, in row order.

    Raises
    ------
    LabelTimesError
        If there are no label times and no positive `purge_gap`, or if they do not
        fit the rows.
    ValueError
        If a part would be empty.

    See Also
    --------
    PurgedKFold : Test every row once.

    References
    ----------
    .. [1] M. López de Prado, *Advances in Financial Machine Learning*, Wiley
       2018, section 7.4.1.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skatra.model_selection import purged_train_test_split
    >>> days = pd.date_range("2026-01-05", periods=8, freq="D")
    >>> label_times = pd.Series(days + pd.Timedelta("1D"), index=days)
    >>> X = np.arange(8)
    >>> train, test = purged_train_test_split(X, label_times=label_times)
    >>> train, test
    (array([0, 1, 2, 3, 4]), array([6, 7]))
    """
    if not arrays:
        raise ValueError(
            "At least one array is required as input, got none. Pass X, y, ... first."
        )
    check_options(purge_gap, embargo, closed)
    for position, array in enumerate(arrays):
        count_rows(array, f"the array at position {position}")
    arrays = tuple(indexable(*arrays))
    n_rows = count_rows(arrays[0])
    intervals = resolve_label_intervals(
        arrays[0],
        label_times,
        own=None,
        purge_gap=purge_gap,
        who="purged_train_test_split",
        ways=(
            "give label_times=, one label per row in row order (a Series with index t0 "
            "and values t1, or two columns), or a positive purge_gap= as the horizon "
            "of labels that start at t0"
        ),
    )
    n_test = _count_test_rows(test_size, n_rows)
    purger = make_purger(intervals, purge_gap, embargo, closed)
    line = purger.timeline
    if line.n_distinct < 2:
        raise ValueError(
            f"The rows must have at least 2 distinct t0 to be split in time, got "
            f"{line.n_distinct} in {n_rows} rows."
        )
    cut = line.nearest_cut(n_rows - n_test)
    taker = RowTaker(n_rows, line.order)
    train = taker.take(purger.training([(cut, n_rows)]))
    test = taker.take([(cut, n_rows, None)])
    if len(train) == 0:
        raise ValueError(
            f"The training set is empty: the {len(test)} test rows purge all the "
            f"others with test_size={test_size!r}, purge_gap={purge_gap!r}, "
            f"closed={closed!r}. Shorten these or the labels, or use more rows."
        )
    return [
        part
        for array in arrays
        for part in (safe_indexing(array, train), safe_indexing(array, test))
    ]


def _count_test_rows(test_size: Any, n_rows: int) -> int:
    problem = (
        f"test_size must be a float in (0, 1) or an int in [1, {n_rows - 1}] "
        f"({n_rows} rows), got {test_size!r}."
    )
    if isinstance(test_size, bool) or not isinstance(
        test_size, (int, float, np.integer, np.floating)
    ):
        raise TypeError(problem)
    if isinstance(test_size, (int, np.integer)):
        if not 0 < test_size < n_rows:
            raise ValueError(problem)
        return int(test_size)
    if not 0 < test_size < 1:
        raise ValueError(problem)
    return min(ceil(float(test_size) * n_rows), n_rows - 1)
