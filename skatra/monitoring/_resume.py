"""Going on from the numbers that an earlier process left in a textfile."""

import math
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from skatra.monitoring._catalogue import CATALOGUE, Metric
from skatra.monitoring._instruments import is_enabled, recorder
from skatra.monitoring._store import Store

_OF_A_PROCESS = {
    "build_info", "predictions_in_progress", "retrain_in_progress",
    "model_stale_timestamp_seconds",  # said by signals alone; older files have it
}  # fmt: skip
_SHORT = {metric.name: short for short, metric in CATALOGUE.items()}


def resume_textfile(path: str | os.PathLike[str]) -> None:
    """Go on counting from what an earlier run wrote with :func:`write_textfile`.

    A batch run lives for minutes. Where each file held one run alone, every counter in
    it would stand still from night to night, and ``increase()`` would see nothing.

    Counters and histograms of the file are added to this process's, but those that are
    negative or not finite. Its gauges, such
    as the served model and when runs last ended, stand until this process says
    otherwise; those of a process (versions, work in progress) are left out. Call it
    once, after :func:`enable` and before the work. Without a file, and while
    monitoring is off, nothing happens.

    Parameters
    ----------
    path : path-like
        File that ``write_textfile`` wrote, or that is not there yet.

    Raises
    ------
    ValueError
        If the file is not in Prometheus' text format.

    Examples
    --------
    >>> from skatra import monitoring
    >>> monitoring.resume_textfile("absent.prom")
    """
    file = Path(path)
    if not is_enabled() or not file.exists():
        return
    try:
        families = list(text_string_to_metric_families(file.read_text("utf-8")))
        samples = [sample for family in families for sample in family.samples]
    except ValueError as error:
        raise ValueError(
            f"{file} is not in Prometheus' text format ({error}), so that counting "
            "cannot go on from it. Remove it, or name another file."
        ) from error
    store = recorder().store
    with store.lock:
        _add(store, samples)


def _add(store: Store, samples: list[Any]) -> None:
    """Add samples to a store under its lock; unknown ones are left out."""
    buckets: dict[tuple[str, tuple[str, ...]], dict[str, float]] = defaultdict(dict)
    for sample in samples:
        short, part = _place(sample.name)
        metric = CATALOGUE.get(short)
        if metric is None or short not in store.families:
            continue
        labels = {k: v for k, v in sample.labels.items() if k != "le"}
        if set(labels) != set(metric.labels):
            continue
        key = tuple(labels[name] for name in metric.labels)
        if metric.kind == "histogram":
            buckets[short, key][sample.labels.get("le", part)] = sample.value
        elif metric.kind == "counter" and 0 <= sample.value < math.inf:
            store.families[short].child(*key).value += sample.value
        elif metric.kind == "counter":
            continue  # would stay in the sum for ever
        elif short not in _OF_A_PROCESS and not store.families[short].child(*key).value:
            store.families[short].child(*key).value = sample.value
    for (short, key), found in buckets.items():
        _add_histogram(store, CATALOGUE[short], short, key, found)


def _place(name: str) -> tuple[str, str]:
    """Return a sample's metric and which part of it the sample is."""
    for part in ("_bucket", "_sum", "_count"):
        if name.endswith(part) and name.removesuffix(part) in _SHORT:
            return _SHORT[name.removesuffix(part)], part
    return _SHORT.get(name, _SHORT.get(name.removesuffix("_total"), "")), ""


def _add_histogram(
    store: Store,
    metric: Metric,
    short: str,
    key: tuple[str, ...],
    found: dict[str, float],
) -> None:
    """Add a histogram with the same buckets; one of an older version starts anew.

    So does one whose counts are none.
    """
    bounds = [repr(float(bound)) for bound in metric.buckets] + ["+Inf"]
    if set(found) == {*bounds, "_sum", "_count"}:
        counts = np.diff([found[bound] for bound in bounds], prepend=0.0)
        numbers = np.array([*counts, found["_sum"]])
        if not (np.isfinite(numbers) & (numbers >= 0)).all():
            return
        child = store.families[short].child(*key)
        child.add_counts([int(count) for count in counts], found["_sum"])
