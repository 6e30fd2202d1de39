"""Hold the Grafana dashboard to what a real Prometheus scrapes from a real exporter.

``check_dashboard.py`` runs the live demo and Prometheus on loopback for a minute,
resolves every variable, executes every query of every panel and lints the rules. Then
it seeds faults, one at a time, and sends each through the same check against the same
server: one that passes is a hole in the check. ``--static`` does only what needs no
Prometheus; ``--results`` keeps the answers, which grafana/render draws. Nothing is left
running.
"""

import argparse
import copy
import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import yaml
from dashboard_faults import DASHBOARD_FAULTS, RULE_FAULTS
from dashboard_form import (
    ALERTS,
    GRAFANA,
    RECORDS,  # noqa: F401 - for the tests
    panels_of,
    queries_of,
)
from dashboard_form import static_problems as form_problems
from dashboard_live import (
    Moment,
    Prometheus,
    capture,
    free_port,
    live_demo,
    live_problems,
    rule_problems,
    state_problems,
)
from dashboard_units import unit_problems

DASHBOARD = GRAFANA / "dashboards" / "atra-dashboard.json"
RULES = GRAFANA / "prometheus" / "skatra.rules.yml"
RULE_TESTS = sorted((GRAFANA / "prometheus").glob("*.test.yml"))
SAMPLES = 2000
HEARD = 20
"""Faults that Prometheus itself must speak against, at least."""


def static_problems(document):
    """Return what is wrong with a dashboard, as far as that needs no Prometheus."""
    return [*form_problems(document), *unit_problems(document)]


def promtool():
    """Run promtool on rules and tests; stop at the first complaint."""
    for command in (
        ["check", "rules", "--lint=all", "--lint-fatal", str(RULES)],
        ["test", "rules", *map(str, RULE_TESTS)],
        ["check", "config", str(GRAFANA / "prometheus" / "prometheus.yml")],
    ):
        subprocess.run(["promtool", *command], check=True, stdout=subprocess.DEVNULL)


def lint_page(url):
    """Hold the metrics page to promtool's naming rules; return its samples."""
    with urllib.request.urlopen(url, timeout=10) as page:
        text = page.read()
    subprocess.run(["promtool", "check", "metrics"], input=text, check=True)
    return sum(not line.startswith(b"#") for line in text.splitlines())


def missed_faults(document, groups, moment):
    """Return seeded faults that went through, and how many Prometheus spoke against."""
    missed, heard = [], 0
    for name, fault in DASHBOARD_FAULTS.items():
        broken = copy.deepcopy(document)
        fault.change(broken)
        spoken, _ = live_problems(broken, moment)
        heard += bool(spoken)
        if fault.live and not any(fault.says in problem for problem in spoken):
            missed.append(f"{name}: Prometheus did not say {fault.says!r} in {spoken}")
        everything = [*static_problems(broken), *spoken]
        if not any(fault.says in problem for problem in everything):
            missed.append(f"{name}: nobody said {fault.says!r} in {everything}")
    for name, fault in RULE_FAULTS.items():
        broken = copy.deepcopy(groups)
        fault.change(broken)
        spoken = rule_problems(broken, moment)
        heard += bool(spoken)
        if not any(fault.says in problem for problem in spoken):
            missed.append(f"{name}: Prometheus did not say {fault.says!r} in {spoken}")
    return missed, heard


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
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    problems = static_problems(document)
    count = samples = heard = 0
    if not options.static:
        promtool()
        port = free_port()
        with (
            live_demo(port, options.ticks),
            Prometheus(f"127.0.0.1:{port}", rules=RULES) as server,
        ):
            time.sleep(options.seconds)
            samples = lint_page(f"http://127.0.0.1:{port}/metrics")
            if options.results:
                given = capture(document, server, options.seconds)
                options.results.parent.mkdir(parents=True, exist_ok=True)
                options.results.write_text(json.dumps(given), encoding="utf-8")
            moment = Moment(server)
            found, count = live_problems(document, moment)
            problems += found + rule_problems(groups, moment)
            problems += state_problems(server)
            if not problems:
                problems, heard = missed_faults(document, groups, moment)
                if heard < HEARD:
                    problems.append(f"Prometheus spoke against {heard} faults only")
        if samples > SAMPLES:
            problems.append(f"{samples} samples on the page, {SAMPLES} are the budget")
    for problem in problems:
        print(problem)
    if problems:
        sys.exit(f"{len(problems)} problems")
    print(
        f"dashboard: {len(panels_of(document))} panels, {len(queries_of(document))} "
        f"queries, {count} executed, {samples} samples on the page, {len(ALERTS)} "
        f"alerts; {len(DASHBOARD_FAULTS) + len(RULE_FAULTS)} seeded faults caught, "
        f"{heard} of them by Prometheus"
    )


if __name__ == "__main__":
    main()
