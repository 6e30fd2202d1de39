"""The figures that the benchmarks promise, read from what they last wrote.

Each benchmark writes ``results/bench_NAME.json``. Here stands, once, which of its
numbers are promises, which way is better and what the target is; history, terminal
tables and the page of benchmarks are made from it.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
Report = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Promise:
    """A number of a report, which way is better, and its target if it has one.

    A `ratio` compares two contenders of one run, so that it means something on another
    machine and another day; only ratios are watched for slowdowns.
    """

    name: str
    read: Callable[[Report], float | None]
    better: str = "lower"
    target: float | None = None
    unit: str = "x"
    ratio: bool = True


@dataclass(frozen=True, slots=True)
class Figure:
    """What a benchmark measured for one of its promises."""

    benchmark: str
    name: str
    value: float
    better: str
    target: float | None
    unit: str
    ratio: bool

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        if self.better == "lower":
            return self.value <= self.target
        return self.value >= self.target


def _cell(cells: Iterable[Report], **keys: Any) -> Report:
    """Return the one cell with these values."""
    for cell in cells:
        if all(cell.get(key) == value for key, value in keys.items()):
            return cell
    raise KeyError(keys)


def _split(splitter: str, contender: str, key: str, **keys: Any) -> Callable:
    where = {"n_rows": 10**6, "order": "sorted", "memory": "warm"} | keys

    def read(report: Report) -> float | None:
        cell = _cell(report["cells"], splitter=splitter, contender=contender, **where)
        return cell.get(key)

    return read


def _argsorts(splitter: str, ours: str) -> Callable:
    def read(report: Report) -> float:
        plain, mixed, sort = (
            _split(splitter, name, "milliseconds", order=order)(report)
            for name, order in (
                (ours, "sorted"),
                (ours, "unsorted"),
                ("one argsort of t0", "unsorted"),
            )
        )
        return (mixed - plain) / sort

    return read


KFOLD, CPCV = "skatra PurgedKFold", "skatra CPCV(10, 2)"
SPLITS = (
    Promise("PurgedKFold, times numpy's own arrays", _split("kfold", KFOLD, "times_limit"), "lower", 1.5),
    Promise("PurgedKFold in fresh memory, times numpy's own", _split("kfold", KFOLD, "times_limit", memory="fresh"), "lower", 1.5),
    Promise("faster than scikit-learn's KFold, which purges nothing", _split("kfold", "scikit-learn KFold", "times_ours"), "higher", 1),
    Promise("faster than python-fold", _split("kfold", "python-fold", "times_ours"), "higher", 50),
    Promise("faster than purgedcv", _split("kfold", "purgedcv", "times_ours"), "higher", 500),
    Promise("CPCV(10, 2), times one copy per array", _split("cpcv", CPCV, "times_floor"), "lower", 1.3),
    Promise("CPCV(10, 2) in fresh memory, times one copy", _split("cpcv", CPCV, "times_floor", memory="fresh"), "lower", 1.3),
    Promise("CPCV, faster than python-fold", _split("cpcv", "python-fold", "times_ours"), "higher"),
    Promise("PurgedKFold, rows in random order: argsorts more", _argsorts("kfold", KFOLD), "lower", 1),
    Promise("CPCV, rows in random order: argsorts more", _argsorts("cpcv", CPCV), "lower", 1),
    Promise("audit_splits, 1e6 rows", _split("kfold", "skatra audit_splits", "milliseconds"), "lower", 1500, "ms", False),
    Promise("audit_splits, rows in random order", _split("kfold", "skatra audit_splits", "milliseconds", order="unsorted"), "lower", 1500, "ms", False),
    Promise("audit_splits, random order, fresh memory", _split("kfold", "skatra audit_splits", "milliseconds", order="unsorted", memory="fresh"), "lower", 1500, "ms", False),
)  # fmt: skip


def _row(task: str, contender: str, key: str) -> Callable:
    return lambda report: _cell(report["rows"], task=task, contender=contender)[key]


FIT = "fit; limit = inner cross-fitting"
PREDICT = "decision, 1e5 rows; limit = predict_proba"
SIZING = (
    Promise("1e6 fractions, faster than kelzer", _row("1e6 binary fractions", "kelzer, 4 decimals", "ratio_to_ours"), "higher", 50),
    Promise("1e6 fractions, faster than keeks", _row("1e6 binary fractions", "keeks", "ratio_to_ours"), "higher", 50),
    Promise("f* of 1e5 trades, faster than brentq", _row("f* of 1e5 trades", "scipy brentq", "ratio_to_ours"), "higher", 1),
    Promise("f* of 1e5 trades, error", _row("f* of 1e5 trades", "skatra", "error"), "lower", 1e-12, "", False),
    Promise("portfolio of 20 x 5000, faster than Clarabel", _row("portfolio 20 x 5000", "cvxpy Clarabel", "ratio_to_ours"), "higher", 20),
    Promise("portfolio, certified gap", _row("portfolio 20 x 5000", "skatra", "error"), "lower", 1e-10, "", False),
    Promise("KellyClassifier.fit, times inner cross-fitting", _row(FIT, "skatra", "ratio_to_limit"), "lower", 1.15),
    Promise("predict of 1e5 rows, times predict_proba", _row(PREDICT, "predict", "ratio_to_limit"), "lower", 1.05),
    Promise("positions of 1e5 rows, times predict_proba", _row(PREDICT, "skatra", "ratio_to_limit"), "lower", 1.05),
)  # fmt: skip


def _label(task: str, contender: str, key: str = "cpu_times_skatra") -> Callable:
    return lambda report: _cell(report["cells"], task=task, contender=contender)[key]


LABELS = (
    Promise("triple barrier, faster than mlfinpy", _label("triple barrier, 2e3 events on 2e4 bars", "mlfinpy"), "higher", 100),
    Promise("uniqueness, faster than mlfinpy", _label("uniqueness, 5e3 labels", "mlfinpy"), "higher", 1000),
    Promise("sequential bootstrap, faster than mlfinpy", _label("sequential bootstrap, 2000 of 2000", "mlfinpy"), "higher", 1000),
    Promise("trend scanning, faster than mlfinpy", _label("trend scanning, 700 bars", "mlfinpy"), "higher"),
    Promise("PBO, S = 10, faster than RiskLabAI", _label("PBO of 1000 x 100, S = 10", "RiskLabAI"), "higher"),
    Promise("deflated Sharpe ratio, faster than purgedcv", _label("deflated Sharpe ratio, 1e4 returns", "purgedcv"), "higher"),
    Promise("PBO of 1000 x 100, S = 16", _label("PBO of 1000 x 100, S = 16", "skatra", "milliseconds"), "lower", 150, "ms", False),
)  # fmt: skip


def _value(task: str) -> Callable:
    return lambda report: _cell(report["rows"], task=task)["value"]


def _worst(scheme: str) -> Callable:
    """Return the p99 of scrapes beside the kind of bad client that delays them most."""
    return lambda report: max(
        row["value"]
        for row in report["rows"]
        if row["task"].startswith(f"{scheme}, 200 x ") and row["task"].endswith("p99")
    )


def _faster(task: str, peer: str) -> Callable:
    ours, theirs = _value(f"{task}, skatra"), _value(f"{task}, {peer}")
    return lambda report: theirs(report) / ours(report)


MONITORING = (
    Promise("predict_proba of one row, added when on", _value("predict_proba of 1 rows, added when on"), "lower", 6, "us", False),
    Promise("predict_proba of one row, share added", _value("predict_proba of 1 rows, share added"), "lower", 3, "%"),
    Promise("predict_proba of 100 rows, share added", _value("predict_proba of 100 rows, share added"), "lower", 1, "%"),
    Promise("predict_proba of 1,000 rows, share added", _value("predict_proba of 1000 rows, share added"), "lower", 1, "%"),
    Promise("one row, faster than prometheus_client", _faster("1 rows", "prometheus_client"), "higher"),
    Promise("one row, faster than OpenTelemetry", _faster("1 rows", "OpenTelemetry"), "higher"),
    Promise("a report when off", _value("report when off"), "lower", None, "us", False),
    Promise("scrape, median", _value("http, calm, median of a scrape"), "lower", 25, "ms", False),
    Promise("database reader", _value("database reader"), "lower", 1, "ms", False),
    Promise("scrape beside 200 bad clients, p99 of the worst kind", _worst("http"), "lower", 100, "ms", False),
    Promise("the same over TLS", _worst("https"), "lower", 100, "ms", False),
    Promise("memory grown over all sieges", _value("http, memory grown from first siege to last"), "lower", None, "MB", False),
    Promise("memory grown over all sieges, TLS", _value("https, memory grown from first siege to last"), "lower", None, "MB", False),
)  # fmt: skip
RETRAIN = (
    Promise("64 candidates, less processor time than GridSearchCV", lambda r: r["grid"]["times_less_cpu_than_GridSearchCV"], "higher", 3),
    Promise("64 candidates, processor time of a loop by hand", lambda r: r["grid"]["cpu_against_loop_by_hand"], "lower", 1.05),
    Promise("greatest difference from GridSearchCV's scores", lambda r: r["grid"]["largest_score_difference_GridSearchCV"], "lower", 1e-12, "", False),
    Promise("beside a busy process, times alone", lambda r: r["busy"]["search_ratio"], "lower", 2),
    Promise("on a Dask cluster, times threads", lambda r: r["dask"]["dask_against_threads"], "lower"),
)  # fmt: skip
SIGNALS = (
    Promise("a round of 500 symbols", lambda r: r["signals"]["round"]["seconds"], "lower", 1, "s", False),
    Promise("a round, times reading its bars alone", lambda r: r["signals"]["round"]["cpu_seconds"] / r["signals"]["reading_the_bars_alone"]["cpu_seconds"], "lower"),
    Promise("bars a second from CSV", lambda r: r["ingest"]["csv, new"]["bars_per_second"], "higher", 200_000, "bars/s", False),
    Promise("bars a second from Parquet", lambda r: r["ingest"]["parquet, new"]["bars_per_second"], "higher", 200_000, "bars/s", False),
)  # fmt: skip
PROMISES: dict[str, tuple[Promise, ...]] = {
    "splits": SPLITS,
    "sizing": SIZING,
    "labels": LABELS,
    "database": (),
    "monitoring": MONITORING,
    "retrain": RETRAIN,
    "signals": SIGNALS,
}
"""By benchmark; those of the database stand, with their targets, in its report."""
_WITH_TARGET = re.compile(r"(?P<name>.+) \((?P<sign>[<>])=? (?P<target>[\d.]+)\)")


def _database_promises(report: Report) -> list[Promise]:
    found = []
    for name, value in report["ratios"].items():
        match = _WITH_TARGET.fullmatch(name)
        if match is None:
            continue
        plain, _, unit = match["name"].partition(", ")
        absolute = unit in ("us", "ms") or "rows/s" in unit
        found.append(
            Promise(
                plain if unit in ("us", "ms") else match["name"],
                lambda _, value=value: value,
                "higher" if match["sign"] == ">" else "lower",
                float(match["target"]),
                ("rows/s" if "rows/s" in unit else unit) if absolute else "x",
                ratio=not absolute,
            )
        )
    return found


def load(benchmark: str, folder: Path = RESULTS) -> dict[str, Any] | None:
    """Return what a benchmark wrote last, or None if it has not run."""
    path = folder / f"bench_{benchmark}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def figures(benchmark: str, report: Report) -> tuple[list[Figure], list[str]]:
    """Return the figures of a report, and the promises it says nothing about.

    A peer that was absent, or a part that was not run, leaves its promises open.
    """
    promises = list(PROMISES[benchmark])
    if benchmark == "database":
        promises += _database_promises(report)
    found, open_ = [], []
    for promise in promises:
        try:
            value = promise.read(report)
        except (KeyError, TypeError):
            value = None
        if value is None:
            open_.append(promise.name)
            continue
        found.append(
            Figure(
                benchmark,
                promise.name,
                float(value),
                promise.better,
                promise.target,
                promise.unit,
                promise.ratio,
            )
        )
    return found, open_
