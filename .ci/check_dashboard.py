"""Hold the Grafana dashboard to what a real Prometheus scrapes from a real exporter.

``check_dashboard.py`` runs the live demo and Prometheus on loopback for a minute,
resolves every variable, executes every query of every panel and lints the rules.
``--static`` does only what needs no Prometheus; ``--results`` keeps the answers, which
grafana/render draws. Nothing is left running.
"""

import argparse
import contextlib
import json
import math
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GRAFANA = ROOT / "grafana"
sys.path[:0] = [str(GRAFANA), str(ROOT)]

from alerts import ALERTS, RECORDS  # noqa: E402
from build_dashboard import DASHBOARD, RULE_TESTS, RULES  # noqa: E402
from grafana_foundation_sdk.cog.encoder import JSONEncoder  # noqa: E402
from grafana_foundation_sdk.models import dashboard as models  # noqa: E402
from grafana_foundation_sdk.models import units  # noqa: E402
from panels import NOT_SHOWN  # noqa: E402

from skatra.monitoring import CATALOGUE  # noqa: E402

UNITS = {value for name, value in vars(units).items() if not name.startswith("_")}
COUNTED = {"short", "cps", "cpm", "rowsps"}
OUTSIDE = {
    "up": "gauge",
    "ALERTS": "gauge",
    "scrape_duration_seconds": "gauge",
    "scrape_samples_scraped": "gauge",
    "process_cpu_seconds_total": "counter",
    "process_resident_memory_bytes": "gauge",
    "process_open_fds": "gauge",
    "process_max_fds": "gauge",
    "python_gc_collections_total": "counter",
    **dict.fromkeys(RECORDS, "gauge"),
}
KINDS = OUTSIDE | {
    sample: "counter" if metric.kind == "histogram" else metric.kind
    for metric in CATALOGUE.values()
    for sample in metric.samples
}
VARIABLES = ("job", "instance", "strategy", "model")
ALLOWED_LABELS = {
    name: {"job", "instance", *metric.labels, "le"}
    for metric in CATALOGUE.values()
    for name in metric.samples
}
OPTIONS = (
    ("legend", "displayMode", ("list", "table", "hidden")),
    ("legend", "placement", ("bottom", "right")),
    ("tooltip", "mode", ("single", "multi", "none")),
    ("tooltip", "sort", ("asc", "desc", "none")),
)
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')


def panels_of(document):
    """Return every panel that is no row."""
    return [panel for panel in document["panels"] if panel["type"] != "row"]


def queries_of(document):
    """Return (panel, query, legend) of every target."""
    return [
        (panel, target["expr"], target.get("legendFormat", ""))
        for panel in panels_of(document)
        for target in panel.get("targets", [])
    ]


def static_problems(document):
    """Return what is wrong with a dashboard, as far as that needs no Prometheus."""
    problems = [
        *_round_trip(document),
        *_layout(document),
        *_variables(document),
        *(problem for panel in panels_of(document) for problem in _panel(panel)),
    ]
    for panel, query, legend in queries_of(document):
        problems += [f"{panel['title']}: {text}" for text in _query(query, legend)]
    if not problems or document.get("panels"):
        problems += _completeness(document)
    return problems


def _round_trip(document):
    """Yield keys and values that the typed SDK does not keep."""
    try:
        again = models.Dashboard.from_json(json.loads(json.dumps(document)))
        kept = json.loads(JSONEncoder(sort_keys=True).encode(again))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        yield f"the typed SDK cannot read it: {error!r}"
        return
    yield from _lost(document, kept, "")


def _lost(before, after, where):
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in after:
                if value not in (None, [], {}):
                    yield f"{where}/{key} is unknown to the typed SDK"
            else:
                yield from _lost(value, after[key], f"{where}/{key}")
    elif isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            yield f"{where} changes its length in the typed SDK"
        for place, (old, new) in enumerate(zip(before, after, strict=False)):
            yield from _lost(old, new, f"{where}/{place}")
    elif before != after:
        yield f"{where} is {before!r}, the typed SDK reads {after!r}"


def _layout(document):
    """Yield repeated ids and panels that overlap or leave the grid."""
    if document.get("schemaVersion") != 42:
        yield f"schemaVersion must be 42, is {document.get('schemaVersion')}"
    if not 0 < len(document.get("uid", "")) <= 40:
        yield "uid must have 1 to 40 characters"
    if document.get("editable", True):
        yield "the dashboard must not be editable: its source is in the repository"
    ids = [panel["id"] for panel in document["panels"]]
    if len(set(ids)) < len(ids):
        yield "panel ids repeat"
    taken = {}
    for panel in document["panels"]:
        place = panel["gridPos"]
        if not all(isinstance(place[side], int) for side in "xywh"):
            yield f"{panel['title']}: places must be whole numbers"
            continue
        if place["x"] < 0 or place["x"] + place["w"] > 24:
            yield f"{panel['title']}: leaves the grid"
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if (x, y) in taken:
                    yield f"{panel['title']}: overlaps {taken[x, y]}"
                    break
                taken[x, y] = panel["title"]
            else:
                continue
            break


def _variables(document):
    """Yield variables that are missing, dead or on a fixed data source."""
    found = {entry["name"]: entry for entry in document["templating"]["list"]}
    if found.get("datasource", {}).get("type") != "datasource":
        yield "there is no data source variable"
    text = json.dumps([query for _, query, _ in queries_of(document)])
    for name in VARIABLES:
        if name not in found:
            yield f"variable {name} is missing"
            continue
        entry = found[name]
        if entry.get("refresh") != 2:
            yield f"variable {name} does not refresh with the time range"
        if not (entry.get("multi") and entry.get("includeAll")):
            yield f"variable {name} must allow several values and all"
        if entry.get("allValue") != ".+":
            yield f"variable {name}: all must mean .+"
        if (entry.get("datasource") or {}).get("uid") != "${datasource}":
            yield f"variable {name} has a fixed data source"
        metric = re.match(r"label_values\((\w+)", entry["query"]["query"])
        if metric is None or metric[1] not in KINDS:
            yield f"variable {name} asks for a metric that nobody exports"
    for name in found:
        if name != "datasource" and f"${name}" not in text:
            yield f"variable {name} is used by no panel"
    for used in set(re.findall(r"\$(\w+)", text)) - set(found):
        if not used.startswith("__"):
            yield f"${used} is no variable"
    for note in document["annotations"]["list"]:
        if (note.get("datasource") or {}).get("uid") != "${datasource}":
            yield f"annotation {note['name']} has a fixed data source"
        for problem in _query(note.get("expr") or "", ""):
            yield f"annotation {note['name']}: {problem}"


def _panel(panel):
    """Yield what a panel lacks: unit, description, thresholds, runbook, queries."""
    title = panel.get("title") or f"panel {panel['id']}"
    defaults = panel.get("fieldConfig", {}).get("defaults", {})
    if not panel.get("title"):
        yield f"{title}: no title"
    if defaults.get("unit") not in UNITS:
        yield f"{title}: unit {defaults.get('unit')!r} is none of Grafana's"
    if len(panel.get("description") or "") < 6:
        yield f"{title}: no description"
    steps = (defaults.get("thresholds") or {}).get("steps") or []
    if not steps or steps[0].get("value") is not None:
        yield f"{title}: no thresholds"
    limits = [step["value"] for step in steps[1:]]
    if limits != sorted(limits):
        yield f"{title}: thresholds are not in order"
    if limits == [80] or "value" not in (steps or [{"value": 0}])[0]:
        yield f"{title}: thresholds are a default, which means nothing here"
    scaled = defaults.get("max") or (defaults.get("custom") or {}).get("axisSoftMax")
    if panel["type"] == "timeseries" and defaults.get("unit") in COUNTED and not scaled:
        yield f"{title}: zeros would be drawn on a scale of 0 to 100"
    if (panel.get("datasource") or {}).get("uid") != "${datasource}":
        yield f"{title}: fixed data source"
    if not panel.get("targets"):
        yield f"{title}: no query"
    options = panel.get("options") or {}
    for part, key, allowed in OPTIONS:
        value = (options.get(part) or {}).get(key)
        if value is not None and value not in allowed:
            yield f"{title}: {part}.{key} must be one of {allowed}, is {value!r}"
    known = {alert.anchor for alert in ALERTS} | {"alerts"}
    anchors = [link["url"].partition("#")[2] for link in panel.get("links") or []]
    if not anchors or set(anchors) - known:
        yield f"{title}: no link to a runbook section that exists"
    seconds = defaults.get("unit") == "s"
    for target in panel.get("targets", []):
        if (target.get("datasource") or {}).get("uid") != "${datasource}":
            yield f"{title}: a query has a fixed data source"
        timed = "_seconds" in target["expr"]
        sized = "_bytes" in target["expr"]
        if seconds and not timed:
            yield f"{title}: unit is seconds, but no query has seconds"
        if sized != (defaults.get("unit") == "bytes"):
            yield f"{title}: unit and query disagree about bytes"


def _query(query, legend):
    """Yield what is wrong with a query."""
    if query.count("(") != query.count(")") or query.count("{") != query.count("}"):
        yield "brackets do not match"
    for name, inside in SELECTOR.findall(query):
        if name not in KINDS:
            yield f"{name} is exported by nobody"
        labels = set(MATCHER.findall(inside))
        needed = {"job"} if ":" in name else {"job", "instance"}
        if name != "ALERTS" and not needed <= labels:
            yield f"{name} lacks a matcher of {sorted(needed - labels)}"
        for label in labels & set(VARIABLES):
            if f'{label}=~"${label}"' not in inside:
                yield f"{name} is not filtered by ${label}"
        allowed = ALLOWED_LABELS.get(name)
        if allowed is not None and not labels <= allowed:
            yield f"{name} has no label {sorted(labels - allowed)}"
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]', "", query)
    for name in re.findall(r"\bskatra[\w:]*", bare):
        if not re.search(rf"{re.escape(name)}\{{", query):
            yield f"{name} has no matchers"
    for call, name in re.findall(r"\b(rate|irate|increase)\(\s*([\w:]+)", query):
        if KINDS.get(name) == "gauge":
            yield f"{call} of {name}, which is a gauge"
    for name in re.findall(
        r"\b(?:deriv|changes|delta|predict_linear)\(\s*([\w:]+)", query
    ):
        if KINDS.get(name) == "counter":
            yield f"{name} is a counter: use rate or increase"
    for name, kind in KINDS.items():
        if kind == "counter" and name in query:
            for before in re.findall(rf"([\w]*)\(?\s*\b{re.escape(name)}\{{", query):
                if before not in {"rate", "irate", "increase"}:
                    yield f"{name} is a counter outside of rate and increase"
    if re.search(r"rate\([^[]*\[(?!\$__rate_interval|1d|5m|1h)", query):
        yield "rate over a window that fits no scrape interval"
    groups = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", query))))
    names = {name for name, _ in SELECTOR.findall(query)}
    own = set().union(*(ALLOWED_LABELS.get(n, {"job", "instance"}) for n in names))
    for label in re.findall(r"{{\s*(\w+)\s*}}", legend):
        if groups and label not in groups:
            yield f"legend label {label} is aggregated away"
        if not groups and label not in own and not any(":" in n for n in names):
            yield f"legend label {label} does not exist"


def _completeness(document):
    """Yield families that no panel shows and that nobody said why."""
    text = " ".join(query for _, query, _ in queries_of(document))
    for metric in CATALOGUE.values():
        shown = any(re.search(rf"\b{sample}\b", text) for sample in metric.samples)
        if shown == (metric.name in NOT_SHOWN):
            yield f"{metric.name} is {'shown though listed as not' if shown else 'on no panel'}"


class Prometheus:
    """A Prometheus on loopback for as long as a block lasts."""

    def __init__(self, target, *, rules=RULES, job="skatra"):
        self._folder = tempfile.TemporaryDirectory()
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}/api/v1/"
        config = Path(self._folder.name, "prometheus.yml")
        config.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(rules)] if rules else [],
                    "scrape_configs": [
                        {"job_name": job, "static_configs": [{"targets": [target]}]}
                    ],
                }
            )
        )
        self._command = [
            shutil.which("prometheus") or "prometheus",
            f"--config.file={config}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            f"--storage.tsdb.path={self._folder.name}/data",
            "--log.level=error",
        ]

    def __enter__(self):
        self._process = subprocess.Popen(self._command)
        for _ in range(200):
            with contextlib.suppress(OSError, RuntimeError):
                self.ask("query", query="1")
                return self
            time.sleep(0.1)
        self.__exit__()
        raise RuntimeError("Prometheus did not start")

    def __exit__(self, *details):
        self._process.terminate()
        self._process.wait(20)
        self._folder.cleanup()

    def ask(self, path, **parameters):
        """Return the data of an API call; an error as RuntimeError."""
        text = urllib.parse.urlencode(parameters, doseq=True)
        try:
            with urllib.request.urlopen(
                f"{self.base}{path}?{text}", timeout=20
            ) as page:
                return json.load(page)["data"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()[:400]) from None

    def value(self, query):
        """Return the one value of an instant query."""
        (found,) = self.ask("query", query=query)["result"]
        return float(found["value"][1])

    def wait_for(self, query, seconds=60):
        """Wait until an instant query has a result."""
        end = time.monotonic() + seconds
        while not self.ask("query", query=query)["result"]:
            if time.monotonic() > end:
                raise TimeoutError(f"no result after {seconds} s: {query}")
            time.sleep(0.2)


def free_port():
    """Return a port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def resolve(document, server):
    """Return variable -> values, as Grafana would ask for them."""
    found = {}
    for entry in document["templating"]["list"]:
        if entry["type"] != "query":
            continue
        query = replaced(entry["query"]["query"], {})
        selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", query).groups()
        found[entry["name"]] = server.ask(
            f"label/{label}/values", **{"match[]": selector}
        )
    return found


def replaced(query, chosen, window=60):
    """Return a query with Grafana's macros and variables filled in."""
    for name in VARIABLES:
        query = query.replace(f"${name}", chosen.get(name, ".+"))
    query = query.replace("$__rate_interval", "8s")
    return query.replace("$__range", f"{math.ceil(window)}s")


def live_problems(document, server):
    """Return what a real Prometheus says against the dashboard."""
    values = resolve(document, server)
    problems = [f"variable {name} has no value" for name, v in values.items() if not v]
    single = {
        name: re.escape(next(v for v in found if v != "unscoped")).replace("\\", "\\\\")
        for name, found in values.items()
        if found and set(found) - {"unscoped"}
    }
    count = 0
    for chosen in ({}, single):
        for panel, query, legend in queries_of(document):
            count += 1
            text = replaced(query, chosen)
            found = _run(server, text, legend, instant=panel["type"] == "stat")
            problems += [f"{panel['title']}: {problem}: {text}" for problem in found]
    return problems, count


def _run(server, query, legend, *, instant):
    try:
        if instant:
            found = server.ask("query", query=query)["result"]
        else:
            now = time.time()
            found = server.ask(
                "query_range", query=query, start=now - 20, end=now, step=1
            )["result"]
    except RuntimeError as error:
        yield f"refused ({error})"
        return
    if not found:
        yield "no data"
    for series in found:
        points = series.get("values") or [series["value"]]
        if all(math.isnan(float(value)) for _, value in points):
            yield f"only NaN for {series['metric']}"
        for label in re.findall(r"{{\s*(\w+)\s*}}", legend):
            if label not in series["metric"] and "or vector" not in query \
                    and " or sum(" not in query:  # fmt: skip
                yield f"no label {label}"


def capture(document, server, seconds):
    """Return what Grafana would receive for the last seconds, panel by panel."""
    end = math.floor(time.time())
    span = {"start": end - math.floor(seconds), "end": end, "step": 1}
    panels = {}
    for panel, query, legend in queries_of(document):
        text = replaced(query, {}, seconds)
        if panel["type"] == "stat":
            found = server.ask("query", query=text, time=end)["result"]
        else:
            found = server.ask("query_range", query=text, **span)["result"]
        panels.setdefault(panel["id"], []).append({"legend": legend, "result": found})
    (note,) = document["annotations"]["list"]
    text = replaced(note["expr"], {})
    marks = server.ask("query_range", query=text, **span)["result"]
    return span | {"panels": panels, "annotations": marks}


def rule_problems(server):
    """Return rules that failed or fire while all is well."""
    groups = server.ask("rules")["groups"]
    for group in groups:
        for rule in group["rules"]:
            if rule["health"] != "ok":
                yield f"{rule['name']}: {rule.get('lastError', rule['health'])}"
            # Bundled bars end years ago, so DataStale is right to be pending.
            if rule.get("state") == "firing":
                yield f"{rule['name']} fires while all is well"


def promtool():
    """Run promtool on rules and tests; stop at the first complaint."""
    for command in (
        ["check", "rules", "--lint=all", "--lint-fatal", str(RULES)],
        ["test", "rules", str(RULE_TESTS)],
        ["check", "config", str(GRAFANA / "prometheus" / "prometheus.yml")],
    ):
        subprocess.run(["promtool", *command], check=True, stdout=subprocess.DEVNULL)


def lint_page(url):
    """Hold the metrics page to promtool's naming rules and our budget of samples."""
    with urllib.request.urlopen(url, timeout=10) as page:
        text = page.read()
    subprocess.run(["promtool", "check", "metrics"], input=text, check=True)
    return sum(not line.startswith(b"#") for line in text.splitlines())


@contextlib.contextmanager
def live_demo(port, ticks=10.0):
    """Run ``skatra demo --live`` for a block."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "skatra", "demo", "--live", "--port", str(port),
             "--output", folder, "--ticks", str(ticks), "--seconds", "600"],
            cwd=ROOT, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            for _ in range(600):
                with (
                    contextlib.suppress(OSError),
                    socket.create_connection(("127.0.0.1", port), 1),
                ):
                    break
                if process.poll() is not None:
                    raise RuntimeError("the demo ended before it served")
                time.sleep(0.2)
            yield
        finally:
            process.terminate()
            process.wait(30)


def main():
    """Check everything and say how much that was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--static", action="store_true")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument(
        "--ticks", type=float, default=10.0, help="of the demo, a second"
    )
    parser.add_argument("--results", type=Path, help="receives what every query gave")
    options = parser.parse_args()
    document = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    problems = static_problems(document)
    count = samples = 0
    if not options.static:
        promtool()
        port = free_port()
        with live_demo(port, options.ticks), Prometheus(f"127.0.0.1:{port}") as server:
            time.sleep(options.seconds)
            samples = lint_page(f"http://127.0.0.1:{port}/metrics")
            found, count = live_problems(document, server)
            problems += [*found, *rule_problems(server)]
            if options.results:
                given = capture(document, server, options.seconds)
                options.results.parent.mkdir(parents=True, exist_ok=True)
                options.results.write_text(json.dumps(given), encoding="utf-8")
        if samples > 2000:
            problems.append(f"{samples} samples on the page, 2,000 are the budget")
    for problem in problems:
        print(problem)
    if problems:
        sys.exit(f"{len(problems)} problems")
    print(
        f"dashboard: {len(panels_of(document))} panels, {len(queries_of(document))} "
        f"queries, {count} executed, {samples} samples on the page, {len(ALERTS)} alerts"
    )


if __name__ == "__main__":
    main()
