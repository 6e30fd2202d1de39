"""From numbers to Prometheus' text format, through prometheus_client."""

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from skatra.monitoring import _catalogue
from skatra.monitoring._database import DEADLINE, DatabaseReader
from skatra.monitoring._instruments import recorder
from skatra.utils import observation

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Rows = Iterable[tuple[tuple[str, ...], Any]]


def family(metric: _catalogue.Metric, rows: Rows) -> Metric:
    """Return one metric in prometheus_client's form."""
    names = list(metric.labels)
    if metric.kind == "histogram":
        bounds = [repr(float(bound)) for bound in metric.buckets] + ["+Inf"]
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=names)
        for labels, (counts, total) in rows:
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            histogram.add_metric(list(labels), buckets, total)
        return histogram
    make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    plain = make(metric.name, metric.help, labels=names)
    for labels, value in rows:
        plain.add_metric(list(labels), value)
    return plain


def pool_rows() -> dict[str, list[tuple[tuple[str, ...], float]]]:
    """Return the state of every pool, summed by file name; names may be "other"."""
    summed: dict[str, dict[tuple[str, ...], float]] = {
        "db_pool_connections": {},
        "db_pool_connections_max": {},
        "db_pool_waiters": {},
    }
    pools = [pool for pool in list(observation.pools) if not pool.closed]
    names = sorted({pool.path.name for pool in pools})
    kept = names[: _catalogue.LABELS["database"].cap]
    for pool in pools:
        name, stats = pool.path.name, pool.stats()
        name = name if name in kept else _catalogue.OTHER
        used = stats["readers_in_use"] + stats["writer_in_use"]
        is_open = stats["readers_open"] + stats["writer_open"]
        for short, labels, value in (
            ("db_pool_connections", (name, "in_use"), used),
            ("db_pool_connections", (name, "idle"), max(0, is_open - used)),
            ("db_pool_connections_max", (name,), stats["max_readers"] + 1),
            (
                "db_pool_waiters",
                (name,),
                stats["waiting_readers"] + stats["waiting_writers"],
            ),
        ):
            rows = summed[short]
            rows[labels] = rows.get(labels, 0.0) + value
    return {short: list(rows.items()) for short, rows in summed.items()}


class Collector:
    """Everything this process knows, as prometheus_client asks for it.

    Parameters
    ----------
    readers : sequence of DatabaseReader
        Databases to look at.
    """

    def __init__(self, readers: Iterable[DatabaseReader] = ()) -> None:
        self._readers = tuple(readers)

    def collect(self) -> Iterator[Metric]:
        """Yield every family; a database never makes this fail."""
        for metric, rows in recorder().store.snapshot():
            yield family(metric, rows)
        by_short = pool_rows()
        for reader in self._readers:
            reader.start()
        until = time.monotonic() + DEADLINE
        for reader in self._readers:
            for short, more in reader.finish(until).items():
                by_short.setdefault(short, []).extend(more)
        for short, rows in by_short.items():
            yield family(_catalogue.CATALOGUE[short], rows)


class Page:
    """The metrics page.

    Parameters
    ----------
    readers : sequence of DatabaseReader
    process : bool, default=True
        Whether to add what prometheus_client knows of the process.
    """

    def __init__(
        self, readers: Iterable[DatabaseReader] = (), *, process: bool = True
    ) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(Collector(readers))
        if process:
            ProcessCollector(registry=self._registry)
            PlatformCollector(registry=self._registry)
            GCCollector(registry=self._registry)

    def render(self) -> bytes:
        """Return the text of this moment."""
        return bytes(generate_latest(self._registry))


def render() -> str:
    """Return this process' metrics in Prometheus' text format.

    Returns
    -------
    str
        The page in Prometheus' text format.

    Examples
    --------
    >>> from skatra import monitoring
    >>> monitoring.enable(models=["champion"])
    >>> "skatra_build_info" in monitoring.render()
    True
    >>> monitoring.disable()
    """
    return Page().render().decode()


def write_textfile(path: str | os.PathLike[str]) -> Path:
    """Write the metrics of a batch run for node_exporter's textfile collector.

    The file appears whole or not at all, readable by everyone, without process
    metrics (the process will be gone). node_exporter adds
    ``node_textfile_mtime_seconds``, which shows when it was written.

    Parameters
    ----------
    path : path-like
        A name that ends in ``.prom`` in the directory given to node_exporter as
        ``--collector.textfile.directory``.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If the name does not end in ``.prom``: node_exporter would not read it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skatra import monitoring
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = monitoring.write_textfile(Path(folder, "skatra.prom"))
    ...     path.name
    'skatra.prom'
    """
    target = Path(path)
    if target.suffix != ".prom":
        raise ValueError(
            f"path must end in .prom, which is all that node_exporter reads, got "
            f"{os.fspath(path)!r}."
        )
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(Page(process=False).render())
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target
