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

    def __init__(self, series, purge_gap=0, embargo=0, closed="both"):
        self.t0, self.t1 = exact_times(series)
        self.distinct = sorted(set(self.t0))
        self.gap = as_span(purge_gap, len(self.distinct))
        self.embargo = as_span(embargo, len(self.distinct))
        self.closed = closed

    def after(self, time, span):
        """Return the time a span after a time."""
        if isinstance(span, Fraction):
            return time + span
        if span == 0:
            return time
        rank = bisect_right(self.distinct, time) - 1 + span
        return self.distinct[rank] if rank < len(self.distinct) else math.inf

    def before(self, start, span):
        """Return the time a span before a t0."""
        if isinstance(span, Fraction):
            return start - span
        rank = self.distinct.index(start) - span
        return self.distinct[rank] if rank >= 0 else -math.inf

    def purges(self, i, j):
        """Does test row j purge training row i?"""
        t0, t1 = self.t0, self.t1
        latest, earliest = self.after(t1[j], self.gap), self.before(t0[j], self.gap)
        both = self.closed == "both"
        starts_inside = t0[i] <= latest if both or t0[j] == t1[j] else t0[i] < latest
        ends_inside = t1[i] >= earliest if both or t0[i] == t1[i] else t1[i] > earliest
        return starts_inside and ends_inside

    def runs(self, test):
        """Maximal runs of test rows in time, as sets of rows."""
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
        last = max(self.t1[j] for j in run)
        return self.embargo > 0 and last <= self.t0[i] <= self.after(last, self.embargo)

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
