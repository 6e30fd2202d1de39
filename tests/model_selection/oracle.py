"""The definition of a purged split, spelled out over all pairs of rows."""

import math
from bisect import bisect_right
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd

NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def exact_times(series):
    """Return t0 and t1 as Python numbers: nanoseconds, or exact fractions."""
    if isinstance(series.index, pd.DatetimeIndex):
        t1 = pd.DatetimeIndex(series)
        return tuple(
            [int(time) * NANOSECONDS[index.unit] for time in index.asi8]
            for index in (series.index, t1)
        )
    return (
        [Fraction(time) for time in series.index.tolist()],
        [Fraction(time) for time in series.tolist()],
    )


def is_count(span):
    """Tell counts and shares from time spans."""
    return isinstance(span, (int, float))


def as_span(span, n_distinct):
    """Return a count as an int, or a time span as a Fraction of nanoseconds."""
    if isinstance(span, float):
        return math.ceil(Decimal(str(span)) * n_distinct)
    if isinstance(span, int):
        return span
    return Fraction(pd.Timedelta(span).as_unit("ns").value)


class Oracle:
    """All definitions, one row and one pair at a time."""

    def __init__(self, series, purge_gap=0, embargo=0, closed="both", groups=None):
        self.t0, self.t1 = exact_times(series)
        self.distinct = sorted(set(self.t0))
        self.gap = as_span(purge_gap, len(self.distinct))
        self.embargo = as_span(embargo, len(self.distinct))
        self.closed = closed
        # Groups that purge only themselves; None for one scope.
        self.groups = groups

    def after(self, time, span):
        """Return the time a span after a time; counts start at the last t0 up to it."""
        if isinstance(span, Fraction):
            return time + span
        if span == 0:
            return time
        rank = bisect_right(self.distinct, time) - 1 + span
        return self.distinct[rank] if rank < len(self.distinct) else math.inf

    def contains(self, i, time):
        """Does label i contain a time? With closed="left" a label is [t0, t1)."""
        ends = time <= self.t1[i] if self._holds_its_end(i) else time < self.t1[i]
        return self.t0[i] <= time and ends

    def last_rank(self, i):
        """Return which distinct t0 is the last one that label i contains."""
        held = [k for k, time in enumerate(self.distinct) if self.contains(i, time)]
        return held[-1]

    def starts_within_reach(self, i, j):
        """Does row i start no later than the gap after the end of label j?"""
        if not isinstance(self.gap, Fraction) and self.gap:
            return self.distinct.index(self.t0[i]) <= self.last_rank(j) + self.gap
        latest = self.t1[j] + self.gap
        return self.t0[i] <= latest if self._holds_its_end(j) else self.t0[i] < latest

    def _holds_its_end(self, i):
        return self.closed == "both" or self.t0[i] == self.t1[i]

    def purges(self, i, j):
        """Does test row j purge training row i?"""
        if self.groups is not None and self.groups[i] != self.groups[j]:
            return False
        return self.starts_within_reach(i, j) and self.starts_within_reach(j, i)

    def runs(self, test):
        """Maximal runs of test rows in time, as lists of rows."""
        tested = {self.t0[j] for j in test}
        runs, current = [], []
        for start in self.distinct:
            if start in tested:
                current += [j for j in test if self.t0[j] == start]
            elif current:
                runs.append(current)
                current = []
        return [*runs, current] if current else runs

    def embargoes(self, i, run):
        """Does a run of test rows embargo row i?"""
        if self.groups is not None:
            run = [j for j in run if self.groups[j] == self.groups[i]]
        if not run or self.embargo <= 0:
            return False
        last = max(self.t1[j] for j in run)
        return last <= self.t0[i] <= self.after(last, self.embargo)

    def train(self, test):
        """Return the complement of tested, purged and embargoed rows."""
        tested = set(test)
        runs = self.runs(test)
        return [
            i
            for i in range(len(self.t0))
            if i not in tested
            and not any(self.purges(i, j) for j in test)
            and not any(self.embargoes(i, run) for run in runs)
        ]


def leaking_pairs(series, train, test, closed):
    """Return the overlapping pairs (i, j), comparing all of them."""
    oracle = Oracle(series, closed=closed)
    return [(i, j) for i in train for j in test if oracle.purges(i, j)]


def brute_force_train(t0, t1, test):
    """Return the training rows of closed integer intervals, all pairs at once."""
    overlap = (t0[:, None] <= t1[test]) & (t1[:, None] >= t0[test])
    keep = ~overlap.any(axis=1)
    keep[test] = False
    return np.flatnonzero(keep)
