"""Write the dashboard, the rules, their tests and the README's tables.

``python grafana/build_dashboard.py`` writes them; ``--check`` only says whether they
are what the catalogue, panels.py and alerts.py give. Needs grafana-foundation-sdk
0.0.21 exactly: without the pin pip installs an old numbering.
"""

import argparse
import json
import sys
import warnings
from functools import partial
from pathlib import Path

import yaml

# The SDK prefers schema v2, which file provisioning of older Grafanas cannot read.
warnings.filterwarnings("ignore", "Prefer using dashboardv2", DeprecationWarning)

from grafana_foundation_sdk.builders import common, dashboard, heatmap, stat, timeseries
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

HOME = Path(__file__).resolve().parent
sys.path.insert(0, str(HOME))
sys.path.insert(1, str(HOME.parent))

from alerts import ALERTS, HOURLY_RECORDS, LONG, RECORDS, SLOW_RECORDS
from panels import MATCHERS, NOT_SHOWN, ROWS

from skatra.monitoring import CATALOGUE, LABELS

UID = "skatra-atra"
TITLE = "skatra"
DASHBOARD = HOME / "dashboards" / "atra-dashboard.json"
RULES = HOME / "prometheus" / "skatra.rules.yml"
RULE_TESTS = HOME / "prometheus" / "skatra.rules.test.yml"
RULE_TESTS_OF_DAYS = HOME / "prometheus" / "skatra.rules.days.test.yml"
README = HOME / "README.md"
SOURCE = common_models.DataSourceRef(type_val="prometheus", uid="${datasource}")
TIMESTAMPED = "# Written by grafana/build_dashboard.py from grafana/alerts.py.\n"


def thresholds(steps):
    """Return threshold steps in the SDK's form."""
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=color) for value, color in steps])
    )


def target(number, query, legend, *, kind):
    """Return one query."""
    made = (
        Dataquery()
        .datasource(SOURCE)
        .expr(query)
        .legend_format(legend)
        .ref_id(chr(ord("A") + number))
    )
    if kind == "stat":
        return made.instant()
    made = made.range()
    return made.format(PromQueryFormat.HEATMAP) if kind == "heatmap" else made


def build_panel(panel, number, x, y, base):
    """Return one panel's builder."""
    if panel.kind == "stat":
        made = (
            stat.Panel()
            .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
            .graph_mode(common_models.BigValueGraphMode.NONE)
            .color_mode(common_models.BigValueColorMode.VALUE)
        )
    elif panel.kind == "heatmap":
        made = (
            heatmap.Panel()
            .calculate(False)
            .color(
                heatmap.HeatmapColorOptions()
                .mode(heatmap_models.HeatmapColorMode.SCHEME)
                .scheme("Blues")
                .steps(32)
            )
            .y_axis(heatmap.YAxisConfig().unit(panel.unit).decimals(0))
        )
    else:
        made = (
            timeseries.Panel()
            .line_width(1)
            .show_points(common_models.VisibilityMode.NEVER)
            .tooltip(
                common.VizTooltipOptions()
                .mode(common_models.TooltipDisplayMode.MULTI)
                .sort(common_models.SortOrder.DESCENDING)
            )
            .legend(
                common.VizLegendOptions()
                .display_mode(common_models.LegendDisplayMode.LIST)
                .placement(common_models.LegendPlacement.BOTTOM)
                .show_legend(True)
                .calcs([])
            )
        )
        if len(panel.steps) > 1:
            made = made.thresholds_style(
                common.GraphThresholdsStyleConfig().mode(
                    common_models.GraphThresholdsStyleMode.DASHED
                )
            )
        for limit, put in zip(
            (*panel.bounds, *panel.axis()),
            (made.min, made.max, made.axis_soft_min, made.axis_soft_max),
            strict=True,
        ):
            if limit is not None:
                put(limit)
        if panel.log:
            made = made.scale_distribution(
                common.ScaleDistributionConfig()
                .type(common_models.ScaleDistribution.LOG)
                .log(10)
            ).axis_grid_show(False)  # one line for each of nine marks a decade
        for name, color in panel.colors.items():
            fixed = {"mode": "fixed", "fixedColor": color}
            made = made.override_by_name(
                name, [models.DynamicConfigValue(id_val="color", value=fixed)]
            )
    made = (
        made.id(number)
        .title(panel.title)
        .description(panel.text)
        .datasource(SOURCE)
        .unit(panel.unit)
        .thresholds(thresholds(panel.steps))
        .grid_pos(models.GridPos(h=panel.height, w=panel.width, x=x, y=y))
        .links(
            [
                dashboard.DashboardLink("Runbook")
                .type(models.DashboardLinkType.LINK)
                .url(f"{base}#{panel.runbook}")
                .target_blank(True)
            ]
        )
    )
    for place, (query, legend) in enumerate(panel.queries()):
        made = made.with_target(target(place, query, legend, kind=panel.kind))
    return made


def variables():
    """Return data source, job, instance, strategy and model."""
    yield (
        dashboard.DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
    )
    for name, metric, matchers in (
        ("job", "skatra_build_info", ""),
        ("instance", "skatra_build_info", '{job=~"$job"}'),
        ("strategy", "skatra_signals_suppressed_total",
         '{job=~"$job", instance=~"$instance"}'),
        ("model", "skatra_prediction_rows_total",
         '{job=~"$job", instance=~"$instance"}'),
    ):  # fmt: skip
        query = f"label_values({metric}{matchers}, {name})"
        yield (
            dashboard.QueryVariable(name)
            .label(name.capitalize())
            .datasource(SOURCE)
            .query({"query": query, "refId": f"{name}-variable"})
            .definition(query)
            .multi(True)
            .include_all(True)
            .all_value(".+")
            .current(models.VariableOption(text="All", value="$__all", selected=True))
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(models.VariableSort.ALPHABETICAL_ASC)
        )


def build_dashboard(base):
    """Return the dashboard as JSON text."""
    made = (
        dashboard.Dashboard(TITLE)
        .uid(UID)
        .description("Signals, predictions, models, database and health of skatra.")
        .tags(["skatra"])
        .editable()
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .annotation(
            dashboard.AnnotationQuery()
            .name("Retrained")
            .datasource(SOURCE)
            .enable(True)
            .icon_color("purple")
            .expr(
                "1000 * max by (model) (skatra_model_trained_timestamp_seconds{"
                f"{MATCHERS['<M>']}}})"
            )
            .use_value_for_time(True)
            .title_format("Retrained {{model}}")
            .text_format("The served model was trained at this moment.")
            .step("60s")
        )
        .link(
            dashboard.DashboardLink("skatra dashboards")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["skatra"])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
    )
    for variable in variables():
        made = made.with_variable(variable)
    number, y = 1, 0
    for title, panels in ROWS.items():
        made = made.with_row(
            dashboard.Row(title)
            .id(number)
            .grid_pos(models.GridPos(h=1, w=24, x=0, y=y))
        )
        number, x, y = number + 1, 0, y + 1
        for panel in panels:
            if x + panel.width > 24:
                x, y = 0, y + panel.height
            made = made.with_panel(build_panel(panel, number, x, y, base))
            number, x = number + 1, x + panel.width
        y += panels[-1].height
    text = JSONEncoder(sort_keys=True, indent=2).encode(made.build())
    document = json.loads(text)
    for variable in document["templating"]["list"]:
        for key in [key for key in variable if key.startswith("auto")]:
            del variable[key]  # the SDK writes an interval variable's keys everywhere
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def annotations(alert, base):
    """Return what an alert says."""
    return {
        "summary": alert.summary,
        "description": alert.text,
        "runbook_url": f"{base}#{alert.anchor}",
        "dashboard_url": f"/d/{UID}",
    }


def build_rules(base):
    """Return the rule file."""
    groups = [
        {"name": "skatra-drift", "rules": recordings(RECORDS)},
        {
            "name": "skatra-days",
            "interval": "4m",  # less than five, after which Prometheus forgets values
            "rules": recordings(SLOW_RECORDS)
            + [rule(alert, base) for alert in ALERTS if alert.is_slow],
        },
        {
            "name": "skatra-features",
            "interval": "1h",
            "rules": recordings(HOURLY_RECORDS),
        },
        {
            "name": "skatra-alerts",
            "rules": [rule(alert, base) for alert in ALERTS if not alert.is_slow],
        },
    ]
    return TIMESTAMPED + yaml.safe_dump({"groups": groups}, sort_keys=False, width=88)


def recordings(records):
    """Return recording rules as their file has them."""
    return [{"record": name, "expr": expr} for name, expr in records.items()]


def rule(alert, base):
    """Return an alert as its file has it."""
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.wait,
        "labels": {"severity": alert.severity},
        "annotations": annotations(alert, base),
    }


def build_rule_tests(base, step):
    """Return promtool's tests of inputs with a value each step.

    promtool evaluates every rule at every step and reads at most 10,000 values of a
    series, so that windows of days need longer steps, in a file of their own.
    """
    tests = []
    for alert in ALERTS:
        for case in alert.cases:
            if case.step != step:
                continue
            labels = {"severity": alert.severity, **dict(case.labels)}
            test = {"eval_time": case.at, "alertname": alert.name, "exp_alerts": []}
            if case.shown is not None:
                notes = annotations(alert, base)
                notes |= {"description": alert.description(case.shown, case.labels)}
                test["exp_alerts"] = [{"exp_labels": labels, "exp_annotations": notes}]
            tests.append(
                {
                    "name": case.what,
                    "interval": step,
                    "input_series": [
                        {"series": name, "values": values}
                        for name, values in case.series.items()
                    ],
                    "alert_rule_test": [test],
                }
            )
    document = {
        "rule_files": ["skatra.rules.yml"],
        "evaluation_interval": step,
        "tests": tests,
    }
    return TIMESTAMPED + yaml.safe_dump(document, sort_keys=False, width=88)


def metric_table():
    """Return the README's table of metrics."""
    lines = ["| metric | type | labels (most values) | meaning |", "|---|---|---|---|"]
    for metric in CATALOGUE.values():
        labels = ", ".join(f"{name} ({LABELS[name].cap})" for name in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    lines += ["", "Recorded by the rules:", ""]
    lines += [f"- `{name}`" for name in RECORDS | SLOW_RECORDS | HOURLY_RECORDS]
    return "\n".join(lines)


def runbooks():
    """Return the README's section of each alert."""
    parts = []
    for alert in ALERTS:
        parts += [
            f"### {alert.name}",
            "",
            f"*{alert.severity}, after {alert.wait}.* {alert.summary} {alert.action}",
            "",
            f"```promql\n{alert.expr}\n```",
            "",
        ]
    return "\n".join(parts).rstrip()


def build_readme(base):
    """Return the README with its generated parts renewed."""
    del base
    text = README.read_text(encoding="utf-8")
    for name, part in (("metrics", metric_table()), ("runbooks", runbooks())):
        begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
        head, rest = text.split(begin)
        text = head + begin + part + end + rest.split(end)[1]
    return text


PRODUCTS = {
    DASHBOARD: build_dashboard,
    RULES: build_rules,
    RULE_TESTS: partial(build_rule_tests, step="1m"),
    RULE_TESTS_OF_DAYS: partial(build_rule_tests, step=LONG),
    README: build_readme,
}


def main():
    """Write or compare every product."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument(
        "--runbook-base",
        default="grafana/README.md",
        help="where your copy of this README is served",
    )
    options = parser.parse_args()
    stale = []
    for path, build in PRODUCTS.items():
        text = build(options.runbook_base)
        if options.check and path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
        elif not options.check:
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.exit(f"not what the sources give: {', '.join(stale)}. Run {__file__}.")
    assert set(NOT_SHOWN) <= {metric.name for metric in CATALOGUE.values()}


if __name__ == "__main__":
    main()
