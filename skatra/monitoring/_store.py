"""Numbers behind the metrics: small, locked, capped, and zero before the first event.

Nothing here imports prometheus_client, so that a process which only counts pays for
a dictionary and a lock.
"""

import os
import threading
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import numpy as np

from skatra.monitoring._catalogue import BINS, CATALOGUE, LABELS, OTHER, Metric

VECTOR_FROM = 16
"""Values from which numpy is faster than a loop."""
BUFFER = 4096
"""Values that wait to be counted together."""

CONSTANT = frozenset({"prediction_probability_reference"})
"""Histograms that say what training looked like, and count nothing."""
OF_THE_PARENT = frozenset(
    {
        "signal_round_timestamp_seconds",
        "signal_interval_seconds",
        "retrain_unfinished_since_timestamp_seconds",
    }
)
"""Gauges of work that goes on in a parent, of which a forked child knows nothing."""
_ZEROS = ("in_progress", "leakage_last_timestamp_seconds")


class Number:
    """A counter or a gauge of one label set."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def clear(self) -> None:
        """Begin at zero."""
        self.value = 0.0


class Distribution:
    """A histogram of one label set; counts are per bucket, not yet cumulated.

    Arrays wait in a buffer until it is full or somebody reads: beside a prediction, a
    copy costs a tenth of looking up the buckets.
    """

    __slots__ = ("_buffer", "_few", "_filled", "_many", "_total", "bounds")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._buffer: Any = None
        self.clear()

    def add_counts(self, counts: list[int], total: float) -> None:
        """Count what another process counted in the same buckets."""
        self._many += np.asarray(counts, dtype=np.int64)
        self._total += total

    def clear(self) -> None:
        """Forget everything."""
        self._few = [0] * (len(self.bounds) + 1)
        self._many = np.zeros(len(self._few), dtype=np.int64)
        self._total = 0.0
        self._filled = 0

    @property
    def counts(self) -> list[int]:
        """How many values each bucket has seen, infinity's last."""
        self._empty()
        many: list[int] = self._many.tolist()
        return [one + more for one, more in zip(self._few, many, strict=True)]

    @property
    def total(self) -> float:
        """Sum of all values."""
        self._empty()
        return self._total

    def add(self, value: float) -> None:
        """Count one value, unless it is NaN."""
        if value != value:  # noqa: PLR0124
            return
        self._few[bisect_left(self.bounds, value)] += 1
        self._total += value

    def add_all(self, values: Any) -> None:
        """Count an array, later from `VECTOR_FROM` values."""
        n = len(values)
        if n < VECTOR_FROM:
            for value in values.tolist():
                self.add(value)
            return
        end = self._filled + n
        if end > BUFFER:
            self._empty()
            if n > BUFFER:
                self._count(values)
                return
            end = n
        if self._buffer is None:
            self._buffer = np.empty(BUFFER)
        self._buffer[self._filled : end] = values
        self._filled = end

    def _empty(self) -> None:
        if self._filled:
            self._count(self._buffer[: self._filled])
            self._filled = 0

    def _count(self, values: Any) -> None:
        values = values[~np.isnan(values)]
        places = np.searchsorted(self.bounds, values)
        self._many += np.bincount(places, minlength=len(self._few))
        self._total += float(np.add.reduce(values))


class Family:
    """All label sets of one metric, at most as many as its labels allow."""

    def __init__(self, metric: Metric, store: "Store") -> None:
        self.metric = metric
        self.children: dict[tuple[str, ...], Any] = {}
        self._store = store
        self._seen: list[set[str]] = [set() for _ in metric.labels]

    def child(self, *labels: str) -> Any:
        """Return the numbers of a label set; under the store's lock."""
        found = self.children.get(labels)
        return self._admit(labels) if found is None else found

    def prepare(self, *labels: str) -> None:
        """Create the numbers of a label set at zero; no update, so none is dropped."""
        if labels not in self.children:
            self._admit(labels, is_update=False)

    def has_room(self, *labels: str) -> bool:
        """Tell whether the label set is kept under its own name."""
        return all(
            value in seen or len(seen) < LABELS[name].cap
            for name, value, seen in zip(
                self.metric.labels, labels, self._seen, strict=True
            )
        )

    def drop(self, count: int) -> None:
        """Count updates that a label has no room for."""
        dropped = self._store.families["exporter_dropped_label_values_total"]
        dropped.child(self.metric.name).value += count

    def _admit(self, labels: tuple[str, ...], *, is_update: bool = True) -> Any:
        """Make room for a label set, folding values beyond the cap into "other"."""
        if len(labels) != len(self.metric.labels):
            raise ValueError(
                f"{self.metric.name} has the labels {self.metric.labels}, got {labels}."
            )
        folded, admitted = False, []
        for name, value, seen in zip(
            self.metric.labels, labels, self._seen, strict=True
        ):
            if value not in seen and value != OTHER:
                if len(seen) >= LABELS[name].cap:
                    folded, value = True, OTHER  # noqa: PLW2901
                else:
                    seen.add(value)
            admitted.append(value)
        key = tuple(admitted)
        if folded and is_update:
            self.drop(1)
        if key not in self.children:
            self.children[key] = (
                Distribution(self.metric.buckets)
                if self.metric.kind == "histogram"
                else Number()
            )
        return self.children[key]

    def begin_anew(self) -> None:
        """Set counters and histograms to zero; gauges, and what is constant, stay.

        Those stay not that say what this process does: nobody would go on with them.
        """
        short = self.metric.short
        if short in OF_THE_PARENT:
            for first in {key[0] for key in self.children}:
                self.forget(first)
            return
        if short in CONSTANT or (
            self.metric.kind == "gauge" and not short.endswith("in_progress")
        ):
            return
        for child in self.children.values():
            child.clear()

    def forget(self, first: str) -> None:
        """Drop the label sets that begin so; their values leave room for others."""
        for labels in [key for key in list(self.children) if key[0] == first]:
            del self.children[labels]
        for place, seen in enumerate(self._seen):
            seen.clear()
            seen.update({key[place] for key in list(self.children)} - {OTHER})


class Store:
    """Every family that instruments keep, behind one lock."""

    def __init__(self) -> None:
        # A finaliser or a signal's handler may count while its thread holds the lock.
        self.lock = threading.RLock()
        self.before_reading: Callable[[], None] = lambda: None
        self.after_fork: Callable[[], None] = lambda: None
        self.families = {
            short: Family(metric, self)
            for short, metric in CATALOGUE.items()
            if metric.source == "instrument"
        }
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._hold,
                after_in_parent=self._let_go,
                after_in_child=self._begin_anew,
            )

    def _hold(self) -> None:
        self.lock.acquire()

    def _let_go(self) -> None:
        self.lock.release()

    def _begin_anew(self) -> None:
        """Take a lock of this process's own, and count from zero.

        What the parent counted is the parent's to say; no call is under way here.
        """
        self.lock = threading.RLock()
        self.after_fork()
        for family in self.families.values():
            family.begin_anew()

    def announce(self, **given: tuple[str, ...]) -> None:
        """Create, at zero, every counter and histogram of these label values.

        Gauges are left out, whose zero would be a statement, but where it is true.
        """
        with self.lock:
            for family in self.families.values():
                metric = family.metric
                if metric.kind == "gauge" and not metric.short.endswith(_ZEROS):
                    continue
                if metric.short in CONSTANT:
                    continue
                if given and not set(given) & set(metric.labels):
                    continue
                for labels in metric.known(given):
                    family.prepare(*labels)

    def add(self, short: str, labels: tuple[str, ...], amount: float = 1.0) -> None:
        """Increase a counter or gauge."""
        with self.lock:
            self.families[short].child(*labels).value += amount

    def set(self, short: str, labels: tuple[str, ...], value: float) -> None:
        """Set a gauge."""
        with self.lock:
            self.families[short].child(*labels).value = float(value)

    def raise_to(self, short: str, labels: tuple[str, ...], value: float) -> None:
        """Set a gauge unless it is higher."""
        with self.lock:
            child = self.families[short].child(*labels)
            child.value = max(child.value, float(value))

    def observe(self, short: str, labels: tuple[str, ...], value: float) -> None:
        """Count a value in a histogram."""
        with self.lock:
            self.families[short].child(*labels).add(value)

    def _count_bins(self) -> None:
        """Derive the ten bins of probability from the twenty buckets."""
        tenths = self.families["prediction_probability_bin_total"]
        found_of = self.families["prediction_probability"].children
        for (model,), found in list(found_of.items()):
            counts = found.counts
            for number, low in enumerate(BINS):
                last = 2 * number + 2 if low != BINS[-1] else len(counts)
                tenths.child(model, low).value = sum(counts[2 * number : last])

    def snapshot(self) -> list[tuple[Metric, list[tuple[tuple[str, ...], Any]]]]:
        """Return all numbers of one moment: (counts, total) for histograms."""
        with self.lock:
            self.before_reading()
            self._count_bins()
            return [
                (
                    family.metric,
                    [
                        (
                            labels,
                            (tuple(child.counts), child.total)
                            if family.metric.kind == "histogram"
                            else child.value,
                        )
                        for labels, child in list(family.children.items())
                    ],
                )
                for family in self.families.values()
            ]
