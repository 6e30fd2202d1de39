"""A real Prometheus on loopback, and what it says against dashboard and rules."""

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
from collections import defaultdict
from pathlib import Path

import yaml
from dashboard_form import (
    OUTSIDE,
    ROOT,
    SELECTOR,
    VARIABLES,
    name_problems,
    queries_of,
)

NOWHERE = "no such value"
LARGEST = {"percentunit": 10.0, "s": 1e9}
"""Larger values mean a missing divisor, or a moment shown as a duration."""
PENDING = {
    "SkatraCalibrationWorseThanBaseRate", "SkatraDataStale", "SkatraDiskFullSoon",
    "SkatraDriftHigh", "SkatraModelStale", "SkatraPredictionSlow", "SkatraScrapeSlow",
    "SkatraWinRateBelowExpected",
}  # fmt: skip
"""May be true for a while where all is well, though none may fire: the demo's bars end
years ago and drift, its young database grows, and the machine may be busy."""
IN_RULE = re.compile(
    r'(?<!["\w:])(up|(?:skatra|process|scrape|python)[_:][\w:]*)\b(?!["(])(\{[^}]*\})?'
)


class Prometheus:
    """A Prometheus on loopback for as long as a block lasts."""

    def __init__(self, *targets, rules=None, job="skatra"):
        self._folder = tempfile.TemporaryDirectory()
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}/api/v1/"
        config = Path(self._folder.name, "prometheus.yml")
        if rules:
            groups = yaml.safe_load(Path(rules).read_text(encoding="utf-8"))["groups"]
            for group in groups:
                group.pop("interval", None)  # minutes are longer than it lives
            rules = Path(self._folder.name, "rules.yml")
            rules.write_text(json.dumps({"groups": groups}), encoding="utf-8")
        scrape = {"job_name": job, "static_configs": [{"targets": list(targets)}]}
        config.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(rules)] if rules else [],
                    "scrape_configs": [scrape],
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
        """Return the data of an API call; an error or a remark as RuntimeError."""
        text = urllib.parse.urlencode(parameters, doseq=True)
        try:
            with urllib.request.urlopen(
                f"{self.base}{path}?{text}", timeout=20
            ) as page:
                answer = json.load(page)
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()[:400]) from None
        # Prometheus 3 says here that a rate is taken of what may be no counter.
        if remarks := answer.get("warnings", []) + answer.get("infos", []):
            raise RuntimeError("; ".join(remarks))
        return answer["data"]

    def value(self, query, **when):
        """Return the one value of an instant query."""
        (found,) = self.ask("query", query=query, **when)["result"]
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


class Moment:
    """What a Prometheus knows at one moment: every question has one answer.

    Attributes
    ----------
    kinds : dict
        Sample name -> counter or gauge, as scraped.
    labels_of : dict
        Sample name -> labels that any of its series has.
    """

    def __init__(self, server):
        self._server = server
        self._answers = {}
        self.now = time.time()
        self.labels_of = defaultdict(set)
        every = {"match[]": '{job=~".+"}', "start": self.now - 60, "end": self.now}
        for series in server.ask("series", **every):
            self.labels_of[series.pop("__name__")] |= set(series)
        said = {}
        for name, (entry, *_) in server.ask("metadata").items():
            ends = (
                ("_bucket", "_sum", "_count") if entry["type"] == "histogram" else ("",)
            )
            kind = "counter" if entry["type"] == "histogram" else entry["type"]
            said |= {name + end: kind for end in ends}
        self.kinds = {name: said.get(name, "gauge") for name in self.labels_of}
        self.kinds["ALERTS"] = OUTSIDE["ALERTS"]

    def run(self, query, *, instant=True):
        """Return the series of a query, or the words with which it was refused."""
        key = query, instant
        if key not in self._answers:
            try:
                if instant:
                    data = self._server.ask("query", query=query, time=self.now)
                else:
                    data = self._server.ask(
                        "query_range", query=query, start=self.now - 20,
                        end=self.now, step=1,
                    )  # fmt: skip
                self._answers[key] = data["result"]
            except RuntimeError as error:
                self._answers[key] = str(error)
        return self._answers[key]

    def once(self, law, *parts):
        """Return what a law yields of these parts, which hold at this moment."""
        key = law, repr(parts)
        if key not in self._answers:
            self._answers[key] = list(law(self, *parts))
        return self._answers[key]

    def values(self, query):
        """Return the values of a variable's query, as Grafana would ask for them."""
        parts = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
        if parts is None:
            return []
        selector, label = parts.groups()
        key = query, "values"
        if key not in self._answers:
            self._answers[key] = self._server.ask(
                f"label/{label}/values", **{"match[]": selector}
            )
        return self._answers[key]


def replaced(query, chosen, window=60):
    """Return a query with Grafana's macros and variables filled in."""
    for name in VARIABLES:
        query = query.replace(f"${name}", chosen.get(name, ".+"))
    query = query.replace("$__rate_interval", "8s")
    return query.replace("$__range", f"{math.ceil(window)}s")


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


def live_problems(document, moment):
    """Return what a real Prometheus says against a dashboard, and queries run."""
    values = {
        entry["name"]: moment.values(replaced(entry["query"]["query"], {}))
        for entry in document["templating"]["list"]
        if entry["type"] == "query"
    }
    problems = [f"variable {name} has no value" for name, v in values.items() if not v]
    single = {
        name: re.escape(next(v for v in found if v != "unscoped")).replace("\\", "\\\\")
        for name, found in values.items()
        if set(found) - {"unscoped"}
    }
    count = 0
    for panel, query, legend in queries_of(document):
        unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit")
        target = query, legend, panel["type"], unit
        for chosen in ({}, single):
            count += 1
            found = moment.once(_executed, *target, chosen)
            problems += [f"{panel['title']}: {problem}" for problem in found]
        for law in (_named, _unfiltered):
            found = moment.once(law, query, legend)
            problems += [f"{panel['title']}: {problem}" for problem in found]
    for note in document["annotations"]["list"]:
        query = note.get("expr") or ""
        found = list(_named(moment, query, ""))
        if isinstance(answer := moment.run(replaced(query, {})), str):
            found.append(f"refused ({answer})")
        problems += [f"annotation {note['name']}: {problem}" for problem in found]
    return problems, count


def _named(moment, query, legend):
    """Yield names and labels that Prometheus has not scraped."""
    yield from name_problems(query, legend, moment.kinds, moment.labels_of)


def _executed(moment, query, legend, kind, unit, chosen):
    """Yield what is wrong with the answer to a query."""
    query = replaced(query, chosen)
    found = moment.run(query, instant=kind == "stat")
    if isinstance(found, str):
        yield f"refused ({found}): {query}"
        return
    if not found:
        yield f"no data: {query}"
    # The unit of a heatmap is that of its buckets, not of what they count.
    largest = None if kind == "heatmap" else LARGEST.get(unit)
    whole = "or vector" in query or " or sum(" in query
    names = set()
    for series in found:
        labels = series["metric"]
        points = series.get("values") or [series["value"]]
        numbers = [float(value) for _, value in points]
        if all(math.isnan(number) for number in numbers):
            yield f"only NaN for {labels}: {query}"
        if any(math.isinf(number) for number in numbers):
            yield f"infinite for {labels}: {query}"
        elif largest and any(abs(number) > largest for number in numbers):
            yield f"{max(numbers):g} is too large for its unit: {query}"
        for label in re.findall(r"{{\s*(\w+)\s*}}", legend):
            if label not in labels and not whole:
                yield f"no label {label}: {query}"
        name = re.sub(r"{{\s*(\w+)\s*}}", lambda m: labels.get(m[1], ""), legend)  # noqa: B023
        if name in names:
            yield f"two series are called {name!r}: {query}"
        names.add(name)


def _unfiltered(moment, query, legend):
    """Yield variables that a query does not follow, though its metric has them."""
    del legend
    if " or " in query or "ALERTS" in query:
        return
    labels = [moment.labels_of[name] for name, _ in SELECTOR.findall(query)
              if name in moment.labels_of]  # fmt: skip
    for name in VARIABLES:
        if any(name in own for own in labels):
            text = replaced(query, {name: NOWHERE})
            if not isinstance(moment.run(text), str) and moment.run(text):
                yield f"does not follow ${name}: {query}"


def rule_problems(groups, moment):
    """Return what a healthy Prometheus says against rules, given as in their file."""
    problems = []
    for rule in (rule for group in groups for rule in group["rules"]):
        query, name = rule["expr"], rule.get("alert") or rule["record"]
        answer = moment.run(query)
        if isinstance(answer, str):
            problems.append(f"{name}: refused ({answer})")
        elif "record" in rule and not answer:
            problems.append(f"{name}: no data")
        elif "alert" in rule and answer and name not in PENDING:
            problems.append(f"{name} fires while all is well")
        for metric, matchers in set(IN_RULE.findall(query)):
            if not moment.run(f"{metric}{matchers}"):
                problems.append(f"{name}: {metric}{matchers} is exported by nobody")
        # A counter may be asked whether it is there, or was.
        there = rf"{IN_RULE.pattern} (?:offset \w+|(?=unless))"
        present = re.sub(there, "vector(1) ", query)
        braced = IN_RULE.sub(lambda m: m[1] + (m[2] or "{}"), present)
        problems += [
            f"{name}: {problem}"
            for problem in name_problems(braced, "", moment.kinds, moment.labels_of)
            if "_reference_" not in problem  # a histogram that stays as it is
        ]
    return problems


def state_problems(server):
    """Yield rules that Prometheus itself failed to evaluate, or that fire."""
    for group in server.ask("rules")["groups"]:
        for rule in group["rules"]:
            if rule["health"] != "ok":
                yield f"{rule['name']}: {rule.get('lastError', rule['health'])}"
            if rule.get("state") == "firing":
                yield f"{rule['name']} fires while all is well"
