"""What is wrong with a dashboard, as far as that shows without Prometheus."""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GRAFANA = ROOT / "grafana"
sys.path[:0] = [str(GRAFANA), str(ROOT)]

from alerts import ALERTS, HOURLY_RECORDS, RECORDS, SLOW_RECORDS  # noqa: E402
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
    "process_start_time_seconds": "gauge",
    "process_max_fds": "gauge",
    "python_gc_collections_total": "counter",
    **dict.fromkeys(RECORDS | SLOW_RECORDS | HOURLY_RECORDS, "gauge"),
}
KINDS = OUTSIDE | {
    sample: "counter" if metric.kind == "histogram" else metric.kind
    for metric in CATALOGUE.values()
    for sample in metric.samples
}
OURS = r"and on \(job, instance\) (last_over_time\()?skatra_build_info\{"
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
        counts = re.match(r"(60 \* )?(sum by \([\w, ]+\) \()?rate\(", target["expr"])
        plain = counts and " / " not in target["expr"] and not timed
        units = {"cpm"} if plain and counts[1] else {"cps", "rowsps"}
        if plain and defaults.get("unit") not in units:
            yield f"{title}: a rate of counts needs the unit {' or '.join(sorted(units))}"
        if defaults.get("unit") in {"cps", "cpm", "rowsps"} and not plain:
            yield f"{title}: unit is per second, but no query has a rate"


def _query(query, legend):
    """Yield what is wrong with a query."""
    yield from _form(query)
    yield from name_problems(query, legend, KINDS, ALLOWED_LABELS)


def _form(query):
    """Yield what is wrong with a query, whatever is exported."""
    if query.count("(") != query.count(")") or query.count("{") != query.count("}"):
        yield "brackets do not match"
    for name, inside in SELECTOR.findall(query):
        labels = set(MATCHER.findall(inside))
        needed = {"job"} if ":" in name else {"job", "instance"}
        if name != "ALERTS" and not needed <= labels:
            yield f"{name} lacks a matcher of {sorted(needed - labels)}"
        for label in labels & set(VARIABLES):
            if f'{label}=~"${label}"' not in inside:
                yield f"{name} is not filtered by ${label}"
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]', "", query)
    for name in re.findall(r"\bskatra[\w:]*", bare):
        if not re.search(rf"{re.escape(name)}\{{", query):
            yield f"{name} has no matchers"
    shared = re.search(r"\b(up|process_|python_|scrape_)\w*\{", query)
    if shared and not re.search(OURS, query):
        yield f"{shared[1]} keeps targets of others, which export no skatra"
    if re.search(r"rate\([^[]*\[(?!\$__rate_interval|1d|5m|1h)", query):
        yield "rate over a window that fits no scrape interval"


def name_problems(query, legend, kinds, labels_of):
    """Yield names and labels that nobody exports, and functions of the wrong kind.

    `kinds` and `labels_of` say what is exported: the catalogue, or what a real
    Prometheus has scraped.
    """
    for name, inside in SELECTOR.findall(query):
        if name not in kinds:
            yield f"{name} is exported by nobody"
        elif name in labels_of:
            missing = set(MATCHER.findall(inside)) - labels_of[name]
            if missing:
                yield f"{name} has no label {sorted(missing)}"
    for call, name in re.findall(r"\b(rate|irate|increase)\(\s*([\w:]+)", query):
        if kinds.get(name) == "gauge":
            yield f"{call} of {name}, which is a gauge"
    for name in re.findall(
        r"\b(?:deriv|changes|delta|predict_linear)\(\s*([\w:]+)", query
    ):
        if kinds.get(name) == "counter":
            yield f"{name} is a counter: use rate or increase"
    for name, kind in kinds.items():
        if kind == "counter" and name in query:
            for before in re.findall(rf"([\w]*)\(?\s*\b{re.escape(name)}\{{", query):
                if before not in {"rate", "irate", "increase"}:
                    yield f"{name} is a counter outside of rate and increase"
    groups = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", query))))
    names = {name for name, _ in SELECTOR.findall(query)}
    own = set().union(*(labels_of.get(n, {"job", "instance"}) for n in names))
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
