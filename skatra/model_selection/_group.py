"""Purged K-fold cross-validation over groups of rows."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from skatra.model_selection._base import (
    Plan,
    PurgedSplitter,
    check_count,
    check_folds,
    fold_edges,
)
from skatra.model_selection._pieces import BoolArray, Piece
from skatra.model_selection._purge import Purger, Timeline
from skatra.typing import Closed, IntArray, Span


class PurgedGroupKFold(PurgedSplitter):
    """Test held-out groups on held-out time, without leaking labels.

    As in :class:`~sklearn.model_selection.GroupKFold`, groups (assets, sessions,
    events) are dealt out to folds of about equally many rows, the largest first.
    Time may be cut into folds too, as in :class:`PurgedKFold`; each split then
    tests the rows of one fold of groups in one fold of time. Each row is tested
    once.

    Out of training go the test rows and exactly these rows:

    - rows of a held-out group, at any time;
    - rows of any group whose label overlaps a test row's (purging [1]_);
    - rows of any group that start within the `embargo` after a run of test rows.

    Groups that live side by side, like assets, overlap nearly everywhere: test
    them with `n_time_folds` above 1, or nothing is left to train on. Groups that
    follow one another, like sessions, need one fold of time only.

    Parameters
    ----------
    n_group_folds : int, default=5
        Number of folds of groups, at least 2.

    n_time_folds : int, default=1
        Number of folds of time, at least 1, cut between distinct t0.

    label_times : Series, default=None
        Label end times t1, indexed by unique labels that `X.index` is looked up in; the
        time level of the index is t0. Only for calls that cannot pass `label_times` to
        :meth:`split`, which takes precedence.

    purge_gap : str, timedelta, int or float, default=0
        Extra distance required between training and test intervals, on both sides: a
        time span ("5D"), an int counting distinct t0, or a float in [0, 1) as a share
        of distinct t0, rounded up.

    embargo : str, timedelta, int or float, default=0
        Span after each test block's last t1 in which no training row may start. Same
        forms as `purge_gap`.

    closed : {"both", "left"}, default="both"
        "both": intervals [t0, t1] that touch overlap. "left": intervals [t0, t1) that
        touch do not.

    See Also
    --------
    PurgedKFold : Folds of time alone.

    Notes
    -----
    Both `groups` and `label_times` are requested from scikit-learn's metadata
    routing by default. A run of test rows is a maximal sequence of successive
    distinct t0 that each hold a test row.

    References
    ----------
    .. [1] M. López de Prado, *Advances in Financial Machine Learning*, Wiley
       2018, sections 7.4.1 and 7.4.2.

    Examples
    --------
    Two assets, held out one at a time, over two halves of time:

    >>> import numpy as np
    >>> import pandas as pd
    >>> from skatra.model_selection import PurgedGroupKFold
    >>> days = pd.date_range("2026-01-05", periods=4, freq="D").repeat(2)
    >>> label_times = pd.Series(days + pd.Timedelta("1D"), index=days)
    >>> X, symbols = np.zeros((8, 1)), np.array(["A", "B"] * 4)
    >>> cv = PurgedGroupKFold(n_group_folds=2, n_time_folds=2)
    >>> for train, test in cv.split(X, groups=symbols, label_times=label_times):
    ...     print(symbols[train], train, symbols[test], test)
    ['A'] [6] ['B' 'B'] [1 3]
    ['B'] [7] ['A' 'A'] [0 2]
    ['A'] [0] ['B' 'B'] [5 7]
    ['B'] [1] ['A' 'A'] [4 6]
    """

    __metadata_request__split = {"groups": True}  # noqa: RUF012

    def __init__(
        self,
        n_group_folds: int = 5,
        *,
        n_time_folds: int = 1,
        label_times: "pd.Series[Any] | None" = None,
        purge_gap: Span = 0,
        embargo: Span = 0,
        closed: Closed = "both",
    ) -> None:
        self.n_group_folds = n_group_folds
        self.n_time_folds = n_time_folds
        self.label_times = label_times
        self.purge_gap = purge_gap
        self.embargo = embargo
        self.closed = closed
        self._check_parameters()

    def _check_parameters(self) -> None:
        check_folds(self.n_group_folds, "n_group_folds")
        check_count(self.n_time_folds, "n_time_folds", least=1)
        self._check_shared_parameters()

    def _count_splits(self) -> int:
        return int(self.n_group_folds * self.n_time_folds)

    def _uses_groups(self) -> bool:
        return True

    def _plan(self, purger: Purger, codes: IntArray | None) -> Plan:
        assert codes is not None  # noqa: S101 - required by _uses_groups
        line = purger.timeline
        folds = _deal_out(codes, self.n_group_folds)[codes]
        for start, stop in pairwise(
            fold_edges(line, self.n_time_folds, "n_time_folds")
        ):
            for fold in range(self.n_group_folds):
                held_out = folds == fold
                tested = np.zeros(line.n_rows, dtype=np.bool_)
                tested[start:stop] = held_out[start:stop]
                if not tested.any():
                    raise ValueError(
                        f"Group fold {fold} of n_group_folds={self.n_group_folds} has "
                        f"no rows in one of n_time_folds={self.n_time_folds} folds of "
                        "time. Use fewer of either, or n_time_folds=1."
                    )
                free = purger.training(_runs(line, tested), tested)
                keep = np.zeros(line.n_rows, dtype=np.bool_)
                for first, last, kept in free:
                    keep[first:last] = True if kept is None else kept
                keep &= ~held_out
                whole: list[list[Piece]] = [
                    [(0, line.n_rows, mask)] for mask in (keep, tested)
                ]
                yield whole[0], whole[1]

    def _no_training_rows(self, number: int, n_tested: int) -> str:
        problem = super()._no_training_rows(number, n_tested)
        if self.n_time_folds > 1:
            return problem
        return (
            f"{problem} Groups that live at the same time, like assets, need "
            "n_time_folds of 2 or more."
        )


def _deal_out(codes: IntArray, n_folds: int) -> IntArray:
    """Return the fold of each group: the largest first, to the smallest fold."""
    sizes = np.bincount(codes)
    if n_folds > len(sizes):
        raise ValueError(
            f"Cannot have number of splits n_group_folds={n_folds} greater than the "
            f"number of groups: {len(sizes)}."
        )
    fold_sizes = np.zeros(n_folds, dtype=np.intp)
    folds = np.empty(len(sizes), dtype=np.intp)
    # The order of scikit-learn's GroupKFold.
    for group in np.argsort(sizes, kind="stable")[::-1]:
        folds[group] = fold_sizes.argmin()
        fold_sizes[folds[group]] += sizes[group]
    return folds


def _runs(line: Timeline, tested: BoolArray) -> list[tuple[int, int]]:
    """Return maximal runs of successive distinct t0 that hold a test row."""
    starts = np.arange(line.n_rows) if line.firsts is None else line.firsts
    held = np.logical_or.reduceat(tested, starts).astype(np.int8)
    steps = np.diff(held, prepend=0, append=0)
    ends = np.append(starts, line.n_rows)
    firsts, lasts = ends[steps == 1], ends[steps == -1]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))
