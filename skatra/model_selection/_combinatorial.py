"""Combinatorial purged and combinatorially symmetric cross-validation."""

from abc import abstractmethod
from collections.abc import Iterator
from itertools import combinations, islice, pairwise
from math import comb, gcd
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from skatra.model_selection._base import (
    Block,
    Plan,
    PurgedSplitter,
    ScopedPurge,
    check_count,
    check_folds,
    fold_edges,
)
from skatra.model_selection._counts import capped_comb, fewest_folds, written_comb
from skatra.model_selection._purge import Purger, Timeline
from skatra.typing import Closed, IntArray, PurgeScope, Span

_MOST_SPLITS = 100_000


class _CombinatorialKFold(PurgedSplitter):
    """Tests combinations of folds of time."""

    n_folds: int
    n_repeats: int = 1
    purge_scope: str

    @abstractmethod
    def _combinations(self) -> Iterator[tuple[int, ...]]:
        """Yield the folds that each split tests, in rising order, for every repeat."""

    def _uses_groups(self) -> bool:
        return self.purge_scope == "groups"

    def _plan(self, purger: Purger, codes: IntArray | None) -> Plan:
        scoped = ScopedPurge(purger, codes)
        combinations_left = self._combinations()
        n_each = self._count_splits() // self.n_repeats
        for repeat in range(self.n_repeats):
            folds = self._folds(purger.timeline, repeat)
            for tested in islice(combinations_left, n_each):
                blocks = sorted(block for fold in tested for block in folds[fold])
                pieces = [(start, stop, None) for start, stop in blocks]
                yield scoped.training(blocks), pieces

    def _folds(self, line: Timeline, repeat: int) -> list[list[Block]]:
        """Return the blocks of each fold: one, but two for the fold that wraps."""
        edges = fold_edges(line, self.n_folds, "n_folds")
        if self.n_repeats > 1 and self.n_folds * self.n_repeats > line.n_distinct:
            raise ValueError(
                f"n_repeats={self.n_repeats} must be at most the number of distinct t0 "
                f"in a fold, so that every repeat has borders of its own: "
                f"{line.n_distinct} distinct t0 make {self.n_folds} folds of "
                f"{line.n_distinct // self.n_folds}."
            )
        if repeat == 0:
            return [[fold] for fold in pairwise(edges)]
        cuts = line.shifted_cuts(self.n_folds, repeat, self.n_repeats)
        ends = [(0, cuts[0]), (cuts[-1], line.n_rows)]
        return [ends, *([fold] for fold in pairwise(cuts))]


class CombinatorialPurgedKFold(_CombinatorialKFold):
    """Test every combination of folds, without leaking labels.

    Time is cut into N folds. Each of the C(N, k) splits tests k of them and trains
    on the rest, after purging and embargoing around each test fold on its own
    [1]_; rows between two test folds stay in training where they overlap neither.
    Every row is tested in C(N-1, k-1) splits, so that the predictions make up that
    many *backtest paths*, each of which covers every row once:
    :func:`cross_val_paths` computes them. With k = 1 this is :class:`PurgedKFold`.

    Parameters
    ----------
    n_folds : int, default=10
        Number of folds N, at least 2.

    n_test_folds : int, default=2
        Number of folds k tested at a time, at least 1 and less than `n_folds`.

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

    purge_scope : {"all", "groups"}, default="all"
        "all": labels overlap across groups (assets). "groups": a row is purged and
        embargoed by test rows of its own group only; needs `groups` in :meth:`split`.

    max_splits : int, default=None
        At least `n_folds`. If there are more combinations, a random sample of as
        many of them as possible that tests all folds equally often: the largest
        multiple of N up to `max_splits`. It makes m k paths out of m N splits.

    random_state : int, RandomState instance or None, default=None
        Decides the sample; pass an int for the same one in every call.

    n_repeats : int, default=1
        How many times to cut time into folds, each time with all borders 1/n_repeats
        of a fold later, and to test their combinations (or `max_splits` of them).
        The fold that this cuts in two tests the first and the last rows, each part
        with its own purge and embargo.

    Attributes
    ----------
    n_paths : int
        Number of backtest paths: C(N-1, k-1), unless sampled, for each repeat.

    See Also
    --------
    cross_val_paths : Predictions and scores along all backtest paths.
    CombinatoriallySymmetricKFold : Test all halves of the folds.

    Notes
    -----
    Splits come in lexicographic order of their test folds, sampled ones too, repeat by
    repeat. More than 100,000 splits are refused.

    Repeats tell how much of a result hangs on where the folds were cut: paths of one
    repeat share their borders, and more folds would leave each of them fewer rows.

    A sample consists of orbits: with the folds on a circle in random order, a
    combination and its N-1 rotations test every fold k times.

    References
    ----------
    .. [1] M. López de Prado, *Advances in Financial Machine Learning*, Wiley
       2018, section 12.4.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skatra.model_selection import CombinatorialPurgedKFold
    >>> days = pd.date_range("2026-01-05", periods=8, freq="D")
    >>> label_times = pd.Series(days + pd.Timedelta("1D"), index=days)
    >>> cv = CombinatorialPurgedKFold(n_folds=4, n_test_folds=2)
    >>> cv.get_n_splits(), cv.n_paths
    (6, 3)
    >>> for train, test in cv.split(np.zeros(8), label_times=label_times):
    ...     print(train, test)
    [5 6 7] [0 1 2 3]
    [7] [0 1 4 5]
    [3 4] [0 1 6 7]
    [0 7] [2 3 4 5]
    [0] [2 3 6 7]
    [0 1 2] [4 5 6 7]
    """

    def __init__(
        self,
        n_folds: int = 10,
        n_test_folds: int = 2,
        *,
        label_times: "pd.Series[Any] | None" = None,
        purge_gap: Span = 0,
        embargo: Span = 0,
        closed: Closed = "both",
        purge_scope: PurgeScope = "all",
        max_splits: int | None = None,
        random_state: "int | np.random.RandomState | None" = None,
        n_repeats: int = 1,
    ) -> None:
        self.n_folds = n_folds
        self.n_test_folds = n_test_folds
        self.label_times = label_times
        self.purge_gap = purge_gap
        self.embargo = embargo
        self.closed = closed
        self.purge_scope = purge_scope
        self.max_splits = max_splits
        self.random_state = random_state
        self.n_repeats = n_repeats
        self._check_parameters()

    def _check_parameters(self) -> None:
        check_folds(self.n_folds, "n_folds")
        check_count(self.n_test_folds, "n_test_folds", least=1)
        if self.n_test_folds >= self.n_folds:
            raise ValueError(
                f"n_test_folds must be less than n_folds={self.n_folds}, so that a "
                f"fold is left to train on, got {self.n_test_folds}."
            )
        if self.max_splits is not None:
            check_count(self.max_splits, "max_splits", least=self.n_folds)
        check_count(self.n_repeats, "n_repeats", least=1)
        _check_random_state(self.random_state)
        self._check_shared_parameters()
        if self._count_splits() > _MOST_SPLITS:
            raise ValueError(self._too_many_splits())

    def _too_many_splits(self) -> str:
        """Say how many splits there would be, and what would make them fewer."""
        n_folds, n_repeats, max_splits = self.n_folds, self.n_repeats, self.max_splits
        repeats = "" if n_repeats == 1 else f", {n_repeats=}"
        sample = "" if max_splits is None else f", {max_splits=}"
        pairs = capped_comb(n_folds, 2)
        ways = []
        if self._count_each() <= _MOST_SPLITS:
            ways = ["lower n_repeats"]
        elif max_splits is not None:
            ways = ["lower max_splits"]
        if max_splits is None:
            fewer = self.n_test_folds > 2 and pairs * n_repeats <= _MOST_SPLITS
            ways.append(
                f"lower n_folds or n_test_folds (n_test_folds=2 gives {pairs:,})"
                if fewer
                else "lower n_folds"
            )
            if n_folds * n_repeats <= _MOST_SPLITS:
                ways.append("set max_splits to sample them")
        elif n_folds * n_repeats > _MOST_SPLITS:
            ways.append("lower n_folds")
        advice = ", or ".join(ways)
        return (
            f"n_folds={n_folds} and n_test_folds={self.n_test_folds} give "
            f"C({n_folds}, {self.n_test_folds}) = "
            f"{written_comb(n_folds, self.n_test_folds)} splits{sample}{repeats}; at "
            f"most {_MOST_SPLITS:,} are allowed. {advice[0].upper()}{advice[1:]}."
        )

    @classmethod
    def from_n_paths(
        cls, n_paths: int, *, n_test_folds: int = 2, **options: Any
    ) -> "CombinatorialPurgedKFold":
        """Return the splitter with the fewest folds that gives enough paths.

        Parameters
        ----------
        n_paths : int
            Number of backtest paths wanted, at least 1. With 2 test folds there
            are exactly as many; with more the next possible number.

        n_test_folds : int, default=2
            Folds tested at a time. More of them need fewer splits for as many
            paths, but leave a smaller share of rows, 1 - k/N, to train on. 1 gives
            one path only.

        **options
            Passed to the constructor.

        Returns
        -------
        splitter : CombinatorialPurgedKFold

        Raises
        ------
        ValueError
            If that takes more than 100,000 splits, or one test fold more than a path.
        TypeError
            If `n_folds` is among the options.

        Examples
        --------
        >>> from skatra.model_selection import CombinatorialPurgedKFold
        >>> cv = CombinatorialPurgedKFold.from_n_paths(9)
        >>> cv.n_folds, cv.n_test_folds, cv.get_n_splits(), cv.n_paths
        (10, 2, 45, 9)
        >>> cv = CombinatorialPurgedKFold.from_n_paths(9, n_test_folds=3)
        >>> cv.n_folds, cv.n_test_folds, cv.get_n_splits(), cv.n_paths
        (6, 3, 20, 10)
        """
        if "n_folds" in options:
            raise TypeError(
                "from_n_paths finds n_folds itself, from n_paths and n_test_folds, got "
                f"n_folds={options['n_folds']!r}. Leave it out, or construct "
                "CombinatorialPurgedKFold(n_folds, n_test_folds)."
            )
        check_count(n_paths, "n_paths", least=1)
        check_count(n_test_folds, "n_test_folds", least=1)
        if n_test_folds == 1 and n_paths > 1:
            raise ValueError(
                f"n_test_folds must be 2 or more for n_paths={n_paths}, got 1: one "
                "test fold at a time makes one path."
            )
        n_folds = 2 if n_test_folds == 1 else fewest_folds(n_paths, n_test_folds)
        sampled = options.get("max_splits") is not None
        if not sampled and capped_comb(n_folds, n_test_folds) > _MOST_SPLITS:
            raise ValueError(
                f"n_paths={n_paths} with n_test_folds={n_test_folds} takes "
                f"n_folds={n_folds} and C({n_folds}, {n_test_folds}) = "
                f"{written_comb(n_folds, n_test_folds)} splits; at most "
                f"{_MOST_SPLITS:,} are allowed. Ask for fewer n_paths (446 are the "
                "most with n_test_folds=2)."
            )
        return cls(n_folds, n_test_folds, **options)

    @property
    def n_paths(self) -> int:
        """Number of backtest paths."""
        return self._count_splits() * self.n_test_folds // self.n_folds

    def _count_splits(self) -> int:
        return self._count_each() * int(self.n_repeats)

    def _count_each(self) -> int:
        """Return the number of splits of one repeat."""
        if self.max_splits is None:
            return capped_comb(self.n_folds, self.n_test_folds)
        plenty = max(self.max_splits**2, 10**30)
        total = capped_comb(self.n_folds, self.n_test_folds, plenty)
        if total <= self.max_splits:
            return total
        wanted = self.max_splits // self.n_folds
        if total == plenty:
            # Fewer than a few times the square root of them do not have N rotations.
            return int(self.n_folds * wanted)
        orbits = _count_full_orbits(self.n_folds, self.n_test_folds)
        return int(self.n_folds * min(wanted, orbits))

    def _combinations(self) -> Iterator[tuple[int, ...]]:
        random = check_random_state(self.random_state)
        for _ in range(self.n_repeats):
            yield from self._sample(random)

    def _sample(self, random: np.random.RandomState) -> Iterator[tuple[int, ...]]:
        n_folds, n_splits = self.n_folds, self._count_each()
        every = combinations(range(n_folds), self.n_test_folds)
        if n_splits == capped_comb(n_folds, self.n_test_folds):
            return every
        circle = random.permutation(n_folds)
        chosen: set[tuple[int, ...]] = set()
        while len(chosen) < n_splits:
            places = random.choice(n_folds, self.n_test_folds, replace=False)
            orbit = {
                tuple(sorted(circle[(places + turn) % n_folds].tolist()))
                for turn in range(n_folds)
            }
            if len(orbit) == n_folds:
                chosen |= orbit
        return iter(sorted(chosen))


class CombinatoriallySymmetricKFold(_CombinatorialKFold):
    """Test every half of the folds, without leaking labels.

    Time is cut into S folds. Each of the C(S, S/2) splits tests one half of them
    and trains on the other, purged and embargoed; each half is tested once, and so
    is its complement. This is combinatorially symmetric cross-validation (CSCV),
    on which the probability of backtest overfitting rests [1]_; purging is added to
    it as in :class:`CombinatorialPurgedKFold`.

    Parameters
    ----------
    n_folds : int, default=10
        Number of folds S, even and at least 2. 10 make 252 splits, 16 make 12,870.

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

    purge_scope : {"all", "groups"}, default="all"
        "all": labels overlap across groups (assets). "groups": a row is purged and
        embargoed by test rows of its own group only; needs `groups` in :meth:`split`.

    See Also
    --------
    CombinatorialPurgedKFold : Test fewer folds than half of them at a time.

    Notes
    -----
    Splits come in lexicographic order of their test folds, so that split i and the
    i-th from the end test complementary halves. More than 100,000 splits are
    refused.

    References
    ----------
    .. [1] D. H. Bailey, J. M. Borwein, M. López de Prado, Q. J. Zhu, "The
       probability of backtest overfitting", *Journal of Computational Finance*
       20(4), 2017, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skatra.model_selection import CombinatoriallySymmetricKFold
    >>> days = pd.date_range("2026-01-05", periods=4, freq="D")
    >>> label_times = pd.Series(days, index=days)
    >>> cv = CombinatoriallySymmetricKFold(n_folds=4)
    >>> for train, test in cv.split(np.zeros(4), label_times=label_times):
    ...     print(train, test)
    [2 3] [0 1]
    [1 3] [0 2]
    [1 2] [0 3]
    [0 3] [1 2]
    [0 2] [1 3]
    [0 1] [2 3]
    """

    def __init__(
        self,
        n_folds: int = 10,
        *,
        label_times: "pd.Series[Any] | None" = None,
        purge_gap: Span = 0,
        embargo: Span = 0,
        closed: Closed = "both",
        purge_scope: PurgeScope = "all",
    ) -> None:
        self.n_folds = n_folds
        self.label_times = label_times
        self.purge_gap = purge_gap
        self.embargo = embargo
        self.closed = closed
        self.purge_scope = purge_scope
        self._check_parameters()

    def _check_parameters(self) -> None:
        n_folds = self.n_folds
        check_folds(n_folds, "n_folds")
        if n_folds % 2:
            raise ValueError(
                f"n_folds must be even to be halved, got {n_folds}. Use "
                f"{n_folds - 1} or {n_folds + 1}."
            )
        if self._count_splits() > _MOST_SPLITS:
            raise ValueError(
                f"n_folds={n_folds} gives C({n_folds}, {n_folds // 2}) = "
                f"{written_comb(n_folds, n_folds // 2)} splits; at most "
                f"{_MOST_SPLITS:,} are allowed. Lower n_folds to 18 (48,620 splits) or "
                "less."
            )
        self._check_shared_parameters()

    @property
    def n_paths(self) -> int:
        """Number of backtest paths, half the number of splits."""
        return self._count_splits() // 2

    def _count_splits(self) -> int:
        return capped_comb(self.n_folds, self.n_folds // 2)

    def _combinations(self) -> Iterator[tuple[int, ...]]:
        return combinations(range(self.n_folds), self.n_folds // 2)


def _check_random_state(random_state: Any) -> None:
    try:
        check_random_state(random_state)
    except ValueError as error:
        raise ValueError(
            "random_state must be None, an int in [0, 2**32) or a numpy RandomState, "
            f"got {random_state!r}."
        ) from error


def _count_full_orbits(n_folds: int, n_test_folds: int) -> int:
    """Return how many sets of combinations have all N rotations distinct."""
    common = gcd(n_folds, n_test_folds)
    aperiodic = sum(
        _mobius(d) * comb(n_folds // d, n_test_folds // d)
        for d in range(1, common + 1)
        if common % d == 0
    )
    return aperiodic // n_folds


def _mobius(number: int) -> int:
    sign, divisor = 1, 2
    while number > 1:
        if number % divisor == 0:
            number //= divisor
            sign = -sign
            if number % divisor == 0:
                return 0
        divisor += 1
    return sign
