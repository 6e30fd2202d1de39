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
WHO = 'job="skatra",instance="a",model="m"'
NEEDS_PROMTOOL = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs Debian's prometheus package"
)
KINDS = sys.modules["dashboard_form"].KINDS


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


@pytest.mark.parametrize(
    "name", [name for name, fault in check.DASHBOARD_FAULTS.items() if not fault.live]
)
def test_every_seeded_fault_is_caught(document, name):
    """The check names each fault that shows without Prometheus.

    The others need a running one: `make check-grafana` sends all of them, and those of
    the rules, through the whole check.
    """
    fault = check.DASHBOARD_FAULTS[name]
    broken = copy.deepcopy(document)
    fault.change(broken)

    problems = check.static_problems(broken)

    assert any(fault.says in problem for problem in problems), problems


@pytest.mark.parametrize("name", [*check.DASHBOARD_FAULTS, *check.RULE_FAULTS])
def test_every_seeded_fault_changes_what_is_committed(document, name):
    """A fault that no longer applies would prove nothing, and stop the whole check."""
    rules = yaml.safe_load((GRAFANA / "prometheus" / "skatra.rules.yml").read_text())
    fault, whole = next(
        (faults[name], whole)
        for faults, whole in (
            (check.DASHBOARD_FAULTS, document),
            (check.RULE_FAULTS, rules["groups"]),
        )
        if name in faults
    )
    broken = copy.deepcopy(whole)
    fault.change(broken)

    assert broken != whole
    said, is_missing, _ = fault.says.partition(" is exported by nobody")
    assert not is_missing or said in _texts(broken)


def _texts(part):
    """Return every text inside a document, one a line."""
    if isinstance(part, str):
        return part
    inside = part.values() if isinstance(part, dict) else part
    return (
        "\n".join(_texts(one) for one in inside) if hasattr(inside, "__iter__") else ""
    )


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
                assert name in KINDS or f"{name}_total" in KINDS, name


def test_every_alert_is_complete():
    """Each has a severity, texts, a runbook in the README and two unit tests."""
    groups = yaml.safe_load((GRAFANA / "prometheus" / "skatra.rules.yml").read_text())
    tests = "".join(path.read_text() for path in check.RULE_TESTS)
    readme = (GRAFANA / "README.md").read_text()
    alerts = [r for g in groups["groups"] for r in g["rules"] if "alert" in r]
    for rule in alerts:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert f"### {rule['alert']}\n" in readme
        assert f"#{rule['alert'].lower()}" in rule["annotations"]["runbook_url"]
        assert "{{" not in rule["annotations"]["summary"]
        assert f"{rule['alert']} fires" in tests
        assert f"{rule['alert']} stays quiet" in tests


def test_windows_of_days_are_kept_and_not_read_at_every_scrape():
    """Prometheus keeps what rules look back on; each reads it every few minutes."""
    rules = yaml.safe_load((GRAFANA / "prometheus" / "skatra.rules.yml").read_text())
    compose = yaml.safe_load((GRAFANA / "docker-compose.yml").read_text())["services"]
    kept = [
        min(map(int, re.findall(r"retention\.time=(\d+)d", commands)))
        for commands in ((GRAFANA / "README.md").read_text(), str(compose))
    ]
    looked = set()
    for group in rules["groups"]:
        for rule in group["rules"]:
            days = {int(n) for n in re.findall(r"\[(\d+)d\]", rule["expr"])}
            assert not days or group["interval"] in {"4m", "1h"}
            looked |= days

    assert max(looked) < min(kept)


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


def _bins(metric, shares, labels=""):
    """Return counts of two bins and the shares of training in them, promtool's way."""
    return [
        {"series": f'{metric}{end}{{{WHO},bin="{place}"{labels}}}', "values": values}
        for place, counted, share in shares
        for end, values in (
            ("_bin_total", counted),
            ("_reference_bin_ratio", f"{share}x40"),
        )
    ]


@NEEDS_PROMTOOL
@pytest.mark.parametrize(("rows", "recorded"), [(1, 0), (149, 0), (150, 1)])
def test_drift_of_too_few_rows_is_not_recorded(tmp_path, rows, recorded):
    """A row of a daily strategy is no drift: its index would be noise."""
    counts = [("0.4", f"0x10 {rows}x30", 0.5), ("0.5", "0x40", 0.5)]
    names = {
        "skatra:prediction_probability:psi5m": ("skatra_prediction_probability", ""),
        "skatra:prediction_probability:psi90d": ("skatra_prediction_probability", ""),
        "skatra:feature:psi1h": ("skatra_feature", ',feature="f"'),
        "skatra:feature:psi90d": ("skatra_feature", ',feature="f"'),
    }
    series = {one["series"]: one for metric in set(names.values())
              for one in _bins(metric[0], counts, metric[1])}  # fmt: skip
    expected = [
        {
            "expr": f"count({name} > 4) or vector(0)",
            "eval_time": "11m",
            "exp_samples": [{"labels": "{}", "value": recorded}],
        }
        for name in names
    ]
    file = tmp_path / "drift.test.yml"
    test = {"interval": "1m", "input_series": [*series.values()],
            "promql_expr_test": expected}  # fmt: skip
    file.write_text(yaml.safe_dump({"rule_files": [str(check.RULES)], "tests": [test]}))
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr + done.stdout


@NEEDS_PROMTOOL
def test_promtool_accepts_the_rules():
    """Lint and every alert's unit tests pass."""
    check.promtool()
