"""Laws of the dashboard and of the check that holds them."""

import copy
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import yaml

from skatra.monitoring import CATALOGUE

pytest.importorskip("yaml", reason="needs the grafana group")

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "grafana"


def _load():
    place = ROOT / ".ci" / "check_dashboard.py"
    spec = importlib.util.spec_from_file_location("check_dashboard", place)
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Prefer using dashboardv2")
        spec.loader.exec_module(module)
    return module


check = _load()


@pytest.fixture(scope="module")
def document():
    """Return the committed dashboard."""
    text = (GRAFANA / "dashboards" / "atra-dashboard.json").read_text(encoding="utf-8")
    return json.loads(text)


def test_products_are_what_the_sources_give():
    """Dashboard, rules, rule tests and the README's tables are built, not edited."""
    command = [sys.executable, str(GRAFANA / "build_dashboard.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_the_committed_dashboard_has_no_fault(document):
    """Everything that can be checked without Prometheus holds."""
    assert check.static_problems(document) == []


def panel(document, title):
    """Return a panel by its title."""
    return next(p for p in document["panels"] if p.get("title") == title)


def edit(title, old, new, number=0):
    """Return a fault that changes the text of a query."""

    def fault(document):
        target = panel(document, title)["targets"][number]
        assert old in target["expr"]
        target["expr"] = target["expr"].replace(old, new)

    return fault


def put(title, *path, value):
    """Return a fault that changes a value of a panel."""

    def fault(document):
        place = panel(document, title)
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return fault


def variable(name, key, value):
    """Return a fault that changes a variable."""

    def fault(document):
        entry = next(v for v in document["templating"]["list"] if v["name"] == name)
        entry[key] = value

    return fault


def without_variable(document):
    """Drop a variable that queries use."""
    entries = document["templating"]["list"]
    document["templating"]["list"] = [v for v in entries if v["name"] != "model"]


def dead_variable(document):
    """Add a variable that nothing uses."""
    entries = document["templating"]["list"]
    entries.append({**entries[-1], "name": "region"})


def without_panel(document):
    """Drop the only panel of a family."""
    document["panels"].remove(panel(document, "Free disk"))


def top(key, value):
    """Return a fault of the dashboard itself."""
    return lambda document: document.update({key: value})


FAULTS = {
    "misspelt metric": edit("Sizes", "db_size_bytes", "db_sise_bytes"),
    "metric of another project": edit("Sizes", "skatra_db_size_bytes", "bot_size_bytes"),
    "missing suffix": edit("Signals by side", "signals_total", "signals"),
    "bracket": edit("Signals by side", "[$__rate_interval]))", "[$__rate_interval])"),
    "rate of a gauge": edit(
        "Rows by table", "(skatra_db_table_rows{", "(rate(skatra_db_table_rows{"
    ),
    "counter without rate": edit("Signals by side", "(rate(", "(("),
    "deriv of a counter": edit("Signals by side", "rate(", "deriv("),
    "label that does not exist": edit("Signals by side", "strategy=~", "strat=~"),
    "aggregated legend": put("Signals by side", "targets", 0, "legendFormat", value="{{symbol}}"),
    "no job matcher": edit("Sizes", 'job=~"$job", ', ""),
    "no instance matcher": edit("Sizes", ', instance=~"$instance"', ""),
    "fixed window": edit("Signals by side", "$__rate_interval", "7m"),
    "unknown variable": edit("Sizes", "$instance", "$host"),
    "fixed data source": put("Sizes", "datasource", "uid", value="abc"),
    "fixed source of a query": put("Sizes", "targets", 0, "datasource", "uid", value="abc"),
    "fixed source of a variable": variable("job", "datasource", {"type": "prometheus", "uid": "x"}),
    "unit of nothing": put("Sizes", "fieldConfig", "defaults", "unit", value="bytez"),
    "wrong unit": put("Sizes", "fieldConfig", "defaults", "unit", value="s"),
    "zeros without a scale": put("Failed calls", "fieldConfig", "defaults", "custom", value={}),
    "seconds shown as counts": put("Firing alerts", "fieldConfig", "defaults", "unit", value="s"),
    "no description": put("Sizes", "description", value=""),
    "default thresholds": put(
        "Sizes", "fieldConfig", "defaults", "thresholds", "steps",
        value=[{"value": None, "color": "green"}, {"value": 80, "color": "red"}],
    ),
    "thresholds out of order": put(
        "Sizes", "fieldConfig", "defaults", "thresholds", "steps",
        value=[{"value": None, "color": "green"}, {"value": 5, "color": "red"},
               {"value": 2, "color": "red"}],
    ),
    "no runbook": put("Sizes", "links", value=[]),
    "runbook of nothing": put("Sizes", "links", 0, "url", value="README.md#nothing"),
    "overlap": put("Growth a day", "gridPos", "x", value=4),
    "off the grid": put("Wait for a connection", "gridPos", "w", value=12),
    "repeated id": put("Sizes", "id", value=1),
    "unknown key": put("Sizes", "colour", value="red"),
    "unknown option": put("Sizes", "options", "legend", "displayMode", value="tabel"),
    "wrong type": put("Sizes", "gridPos", "h", value="eight"),
    "variable not used": edit("Sizes", "$job", ".+"),
    "dead variable": dead_variable,
    "missing variable": without_variable,
    "variable of nothing": variable(
        "job", "query", {"query": "label_values(nobody_info, job)", "refId": "x"}
    ),
    "variable that does not refresh": variable("model", "refresh", 1),
    "variable without all": variable("model", "allValue", None),
    "missing panel": without_panel,
    "no query": put("Sizes", "targets", value=[]),
    "old schema": top("schemaVersion", 36),
    "editable": top("editable", True),
    "long uid": top("uid", "x" * 41),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_every_seeded_fault_is_caught(document, name):
    """The check finds each fault that was put in, one at a time."""
    broken = copy.deepcopy(document)
    FAULTS[name](broken)

    problems = check.static_problems(broken)

    assert len(problems) > 0


def test_every_row_has_a_picture(document):
    """Docs show a picture of each row, small enough for a page."""
    page = (ROOT / "docs" / "monitoring.rst").read_text(encoding="utf-8")
    for row in (p for p in document["panels"] if p["type"] == "row"):
        name = f"dashboard-{row['title'].lower().replace(' ', '-')}.png"
        assert f"image:: images/{name}" in page
        assert 0 < (ROOT / "docs" / "images" / name).stat().st_size < 300_000


def test_rules_use_what_is_exported():
    """Every metric in a rule is in the catalogue, made by a rule, or Prometheus'."""
    groups = yaml.safe_load((GRAFANA / "prometheus" / "skatra.rules.yml").read_text())
    for group in groups["groups"]:
        for rule in group["rules"]:
            for name in re.findall(
                r"\b(?:skatra|up|process|scrape)[\w:]*", rule["expr"]
            ):
                if name == "skatra":
                    continue
                assert name in check.KINDS or f"{name}_total" in check.KINDS, name


def test_every_alert_is_complete():
    """Each has a severity, texts, a runbook in the README and two unit tests."""
    groups = yaml.safe_load((GRAFANA / "prometheus" / "skatra.rules.yml").read_text())
    tests = (GRAFANA / "prometheus" / "skatra.rules.test.yml").read_text()
    readme = (GRAFANA / "README.md").read_text()
    alerts = [r for g in groups["groups"] for r in g["rules"] if "alert" in r]
    for rule in alerts:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert f"### {rule['alert']}\n" in readme
        assert f"#{rule['alert'].lower()}" in rule["annotations"]["runbook_url"]
        assert "{{" not in rule["annotations"]["summary"]
        assert f"{rule['alert']} fires" in tests
        assert f"{rule['alert']} stays quiet" in tests


def test_the_readme_lists_every_metric():
    """The table has one row for each metric, and no other."""
    readme = (GRAFANA / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(skatra_\w+)` \|", readme, flags=re.MULTILINE)

    assert rows == [metric.name for metric in CATALOGUE.values()]


def test_provisioning_fits_together():
    """Files parse; the interval is Prometheus'; nothing listens beyond loopback."""
    source = yaml.safe_load(
        (GRAFANA / "provisioning/datasources/prometheus.yaml").read_text()
    )["datasources"][0]
    scrape = yaml.safe_load((GRAFANA / "prometheus/prometheus.yml").read_text())
    compose = yaml.safe_load((GRAFANA / "docker-compose.yml").read_text())["services"]

    assert source["uid"] == "skatra-prometheus"
    assert source["jsonData"]["timeInterval"] == scrape["global"]["scrape_interval"]
    assert scrape["rule_files"] == ["skatra.rules.yml"]
    assert (
        yaml.safe_load((GRAFANA / "provisioning/dashboards/skatra.yaml").read_text())[
            "providers"
        ][0]["allowUiUpdates"]
        is False
    )
    for service in compose.values():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
        assert "ports" not in service
    assert "127.0.0.1" in str(compose["prometheus"]["command"])
    assert compose["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert ":?" in compose["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"]


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs Debian's prometheus package"
)
def test_promtool_accepts_the_rules():
    """Lint and every alert's unit tests pass."""
    check.promtool()
