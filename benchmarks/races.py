"""Every contender's time as a multiple of skatra's, by task, out of the reports."""

from collections.abc import Callable, Iterator

from figures import Report

Run = tuple[str, str, float]
"""Task, contender, time as a multiple of skatra's."""
Race = tuple[str, list[tuple[str, float]]]


def _splits(report: Report) -> Iterator[Run]:
    tasks = {"kfold": "10 purged folds of 1e6 rows", "cpcv": "CPCV(10, 2) of 1e6 rows"}
    left_out = ("limit", "floor", "one argsort of t0", "skatra audit_splits")
    for cell in report["cells"]:
        place = (cell["n_rows"], cell["order"], cell["memory"])
        if place != (10**6, "sorted", "warm") or cell["splitter"] not in tasks:
            continue
        if "times_ours" in cell and cell["contender"] not in left_out:
            note = cell.get("note", "").replace("(own interpreter)", "").strip()
            name = f"{cell['contender']} ({note})" if note else cell["contender"]
            yield tasks[cell["splitter"]], name, cell["times_ours"]


def _sizing(report: Report) -> Iterator[Run]:
    for row in report["rows"]:
        if row.get("ratio_to_limit") is None and row["contender"] != "limit":
            yield row["task"], row["contender"], row["ratio_to_ours"]


def _labels(report: Report) -> Iterator[Run]:
    for cell in report["cells"]:
        if cell["contender"] not in ("limit", "skatra (high, low)"):
            yield cell["task"], cell["contender"], cell["cpu_times_skatra"]


def _database(report: Report) -> Iterator[Run]:
    ours = report["pools"][0]["microseconds"]
    for pool in report["pools"]:
        task = "take and give back a connection"
        yield task, pool["pool"], pool["microseconds"] / ours
    seconds = report["loading"]["seconds"]
    readers = ("load_dataset", "pandas.read_sql", "Database.read_sql")
    for name in (*readers, "ADBC (own process)", "connectorx (own process)"):
        if name in seconds:
            task = f"{report['rows']:,} rows into a frame"
            yield task, name, seconds[name]["wall"] / seconds["load_dataset"]["wall"]


def _monitoring(report: Report) -> Iterator[Run]:
    values = {row["task"]: row["value"] for row in report["rows"]}
    for rows in (1, 100, 1000):
        ours = values[f"{rows} rows, skatra"]
        for name in ("skatra", "prometheus_client", "OpenTelemetry"):
            value = values[f"{rows} rows, {name}"]
            if value is not None:
                task = f"counting a prediction of {rows:,} row{'s' * (rows > 1)}"
                yield task, name, value / ours


def _retrain(report: Report) -> Iterator[Run]:
    cpu = report["grid"]["cpu_seconds"]
    for name, seconds in cpu.items():
        task = "a search of 64 candidates on 1e5 rows"
        yield task, name, seconds / cpu["PurgedLGBMSearchCV"]


READERS: dict[str, Callable[[Report], Iterator[Run]]] = {
    "splits": _splits,
    "sizing": _sizing,
    "labels": _labels,
    "database": _database,
    "monitoring": _monitoring,
    "retrain": _retrain,
}


def races(benchmark: str, report: Report) -> list[Race]:
    """Return the tasks in which anybody runs beside skatra."""
    found: dict[str, list[tuple[str, float]]] = {}
    if benchmark in READERS:
        for task, contender, times in READERS[benchmark](report):
            found.setdefault(task, []).append((contender, times))
    return [(task, runs) for task, runs in found.items() if len(runs) > 1]
