"""Purged walk-forward cross-validation."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from skatra.model_selection._base import (
    Plan,
    PurgedSplitter,
    check_folds,
)
from skatra.model_selection._pieces import Piece, clip, count_kept, nth_last
from skatra.model_selection._purge import Purger, Timeline
from skatra.model_selection._spans import (
    check_size,
    is_positive,
    is_time_span,
    resolve_span,
)
from skatra.typing import Closed, IntArray, Span


class PurgedWalkForward(PurgedSplitter):
    """Train on the past, test on what follows, without leaking labels.

    Successive blocks at the end of time are tested, each by a model that was
    trained on earlier rows only, as in
    :class:`~sklearn.model_selection.TimeSeriesSplit`. Between the two there is no
    fixed number of rows: exactly those training rows are purged whose label
    overlaps a test row's [1]_. Nothing follows a test block, so there is no
    embargo.

    Parameters
    ----------
    n_splits : int, default=5
        Number of test blocks, at least 2.

    test_size : int, str or timedelta, default=None
        Length of each test block: a number of rows, or a time span ("30D") counted
        back from the last t0. None takes ``n_rows // (n_splits + 1)`` rows. Rows
        with one t0 stay together: the nearest cut between distinct t0 is taken.

    max_train_size : int, str or timedelta, default=None
        None trains on all the past (expanding window). An int keeps the latest rows
        left after purging, at most so many and only whole t0 of them. A time span
        keeps rows that start no longer than that before the first test t0.

    label_times : Series, default=None
        Label end times t1, indexed by unique labels that `X.index` is looked up in; the
        time level of the index is t0. Only for calls that cannot pass `label_times` to
        :meth:`split`, which takes precedence.

    purge_gap : str, timedelta, int or float, default=0
        Extra distance required between training and test intervals, on both sides: a
        time span ("5D"), an int counting distinct t0, or a float in [0, 1) as a share
        of distinct t0, rounded up.

    closed : {"both", "left"}, default="both"
        "both": intervals [t0, t1] that touch overlap. "left": intervals [t0, t1) that
        touch do not.

    See Also
    --------
    PurgedKFold : Trains on the future too, and so on more rows.

    Notes
    -----
    Rows before the first test block are never tested, so there are no backtest
    paths. Label times are requested from scikit-learn's metadata routing by
    default.

    References
    ----------
    .. [1] M. López de Prado, *Advances in Financial Machine Learning*, Wiley
       2018, sections 7.4.1 and 12.2.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skatra.model_selection import PurgedWalkForward
    >>> days = pd.date_range("2026-01-05", periods=9, freq="D")
    >>> label_times = pd.Series(days + pd.Timedelta("1D"), index=days)
    >>> X = np.zeros((9, 1))
    >>> cv = PurgedWalkForward(n_splits=3, test_size=2)
    >>> for train, test in cv.split(X, label_times=label_times):
    ...     print(train, test)
    [0 1] [3 4]
    [0 1 2 3] [5 6]
    [0 1 2 3 4 5] [7 8]
    >>> cv = PurgedWalkForward(n_splits=3, test_size="2D", max_train_size="3D")
    >>> for train, test in cv.split(X, label_times=label_times):
    ...     print(train, test)
    [0 1] [3 4]
    [2 3] [5 6]
    [4 5] [7 8]
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        test_size: "Span | None" = None,
        max_train_size: "Span | None" = None,
        label_times: "pd.Series[Any] | None" = None,
        purge_gap: Span = 0,
        closed: Closed = "both",
    ) -> None:
        self.n_splits = n_splits
        self.test_size = test_size
        self.max_train_size = max_train_size
        self.label_times = label_times
        self.purge_gap = purge_gap
        self.closed = closed
        self._check_parameters()

    def _check_parameters(self) -> None:
        check_folds(self.n_splits, "n_splits")
        if self.test_size is not None:
            check_size(self.test_size, "test_size")
        if self.max_train_size is not None:
            check_size(self.max_train_size, "max_train_size")
        self._check_shared_parameters()

    def _count_splits(self) -> int:
        return int(self.n_splits)

    def _plan(self, purger: Purger, codes: IntArray | None) -> Plan:  # noqa: ARG002
        line = purger.timeline
        for start, stop in pairwise(self._edges(line, purger.unit)):
            trained = purger.ending_before(self._first(line, start, purger.unit), start)
            yield self._latest(line, trained), [(start, stop, None)]

    def _edges(self, line: Timeline, unit: str | None) -> list[int]:
        """Return where the test blocks begin, and the end of all rows."""
        n_splits, n_rows = int(self.n_splits), line.n_rows
        back = np.arange(n_splits, 0, -1)
        if is_time_span(self.test_size):
            last = line.t0[-1].item()
            scale: dict[str, Any] = {"unit": unit, "n_distinct": line.n_distinct}
            span = pd.Timedelta(self.test_size)  # type: ignore[arg-type]
            spans = [resolve_span(span * int(k), "test_size", **scale) for k in back]
            edges = [line.first_later(last - span.high) for span in spans]
            if edges[0] == 0 or len({*edges, n_rows}) <= n_splits:
                raise ValueError(
                    f"test_size={self.test_size!r} must leave rows before "
                    f"n_splits={n_splits} test blocks and in each of them, but blocks "
                    f"would start at rows {edges} of {n_rows} in time order. Change "
                    "test_size or n_splits."
                )
            return [*edges, n_rows]
        size: Any = self.test_size
        size = n_rows // (n_splits + 1) if size is None else int(size)
        if size * n_splits >= n_rows or n_splits >= line.n_distinct:
            raise ValueError(
                f"Too many splits: n_splits={n_splits} test blocks of "
                f"test_size={size} rows and a training row need more than the "
                f"{n_rows} rows with {line.n_distinct} distinct t0. Lower n_splits "
                "or test_size."
            )
        return [*line.cuts(n_rows - size * back).tolist(), n_rows]

    def _first(self, line: Timeline, start: int, unit: str | None) -> int:
        """Return the first row that a window of time before a block holds."""
        if not is_time_span(self.max_train_size):
            return 0
        scale: dict[str, Any] = {"unit": unit, "n_distinct": line.n_distinct}
        reach = resolve_span(self.max_train_size, "max_train_size", **scale)
        return line.first_from(line.t0[start].item() - reach.low)

    def _latest(self, line: Timeline, trained: list[Piece]) -> list[Piece]:
        """Return the latest training rows, as many whole t0 as the window holds."""
        size: Any = self.max_train_size
        if size is None or is_time_span(size) or count_kept(trained) <= size:
            return trained
        cut = nth_last(trained, int(size))
        first, following = line.first_of(cut)
        with_ties = clip(trained, first)
        return clip(trained, following) if count_kept(with_ties) > size else with_ties

    def _no_training_rows(self, number: int, n_tested: int) -> str:
        size = self.max_train_size
        gap = (
            f" and purge_gap={self.purge_gap!r}" if is_positive(self.purge_gap) else ""
        )
        window = (
            ""
            if size is None
            else f", or max_train_size={size!r} holds no whole t0 of what is left"
        )
        ways = (
            f"Shorten the labels{' or purge_gap' if gap else ''}"
            f"{'' if size is None else ', raise max_train_size'}, lower test_size or "
            "n_splits, or use more rows."
        )
        return (
            f"Split {number} of {self!r} is left without training rows: its "
            f"{n_tested} test rows purge all the earlier ones by their labels{gap}"
            f"{window}. {ways}"
        )
