"""Faults to seed, one at a time: what each is, and what the check must say of it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fault:
    """A change to a dashboard or to rules.

    Attributes
    ----------
    change : callable
        Breaks the document in place.
    says : str
        Part of the problem that names the fault.
    live : bool
        Whether a running Prometheus must say so, too.
    """

    change: Any
    says: str
    live: bool = False


def panel(document, title):
    """Return a panel by its title."""
    return next(p for p in document["panels"] if p.get("title") == title)


def edit(title, old, new, number=0):
    """Return a fault that changes the text of a query."""

    def fault(document):
        target = panel(document, title)["targets"][number]
        assert old in target["expr"], target["expr"]
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


def asked(name, query):
    """Return a fault that makes a variable ask for something else."""
    return variable(name, "query", {"query": query, "refId": "x"})


def annotation(old, new):
    """Return a fault of the annotation's query."""

    def fault(document):
        note = document["annotations"]["list"][0]
        assert old in note["expr"], note["expr"]
        note["expr"] = note["expr"].replace(old, new)

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


def rule(name, old, new):
    """Return a fault that changes the expression of a rule."""

    def fault(groups):
        rules = [rule for group in groups for rule in group["rules"]]
        found = next(r for r in rules if name in (r.get("alert"), r.get("record")))
        assert old in found["expr"], found["expr"]
        found["expr"] = found["expr"].replace(old, new)

    return fault


def steps(*values):
    """Return threshold steps at these values."""
    return [{"value": value, "color": "red"} for value in values]


SIDE = "Signals by side"
UNIT = ("fieldConfig", "defaults", "unit")
STEPS = ("fieldConfig", "defaults", "thresholds", "steps")
WHO = 'instance=~"$instance"'

# What a running Prometheus must speak against, whatever the structure says.
_LIVE = {
    "misspelt metric": (
        edit("Sizes", "db_size_bytes", "db_sise_bytes"),
        "skatra_db_sise_bytes is exported by nobody"),
    "metric of another project": (
        edit("Sizes", "skatra_db_size_bytes", "bot_size_bytes"),
        "bot_size_bytes is exported by nobody"),
    "missing suffix": (
        edit(SIDE, "signals_total", "signals"),
        "skatra_signals is exported by nobody"),
    "bracket": (edit(SIDE, "[$__rate_interval]))", "[$__rate_interval])"), "refused"),
    "misspelt aggregation": (edit(SIDE, "sum by", "sun by"), "refused"),
    "rate without a window": (edit(SIDE, "[$__rate_interval]", ""), "refused"),
    "rate of a gauge": (
        edit("Rows by table", "(skatra_db_table_rows{", "(rate(skatra_db_table_rows{"),
        "rate of skatra_db_table_rows, which is a gauge"),
    "counter without rate": (
        edit(SIDE, "(rate(", "(("), "is a counter outside of rate and increase"),
    "deriv of a counter": (
        edit(SIDE, "rate(", "deriv("), "is a counter: use rate or increase"),
    "label that does not exist": (
        edit(SIDE, "strategy=~", "strat=~"), "has no label ['strat']"),
    "aggregated legend": (
        put(SIDE, "targets", 0, "legendFormat", value="{{symbol}}"), "symbol"),
    "legend that names two series alike": (
        put("Rows predicted", "targets", 0, "legendFormat", value="{{model}}"),
        "two series are called"),
    "matcher that nothing has": (
        edit("Sizes", WHO, f'{WHO}, database="prod.db"'), "no data"),
    "hard-coded instance": (
        edit("Memory", WHO, 'instance="10.0.0.1:9464"'), "no data"),
    "hard-coded job": (edit("Memory", 'job=~"$job"', 'job="skatra"'),
                       "does not follow $job"),
    "variable that a panel ignores": (
        edit("Training rows", ', model=~"$model"', ""), "does not follow $model"),
    "unknown variable": (edit("Sizes", "$instance", "$host"), "no data"),
    "quantile without le": (
        edit("Wait for a connection", "by (le)", "by (database)"), "no data"),
    "quantile in per cent": (
        edit("Wait for a connection", "0.95", "95"), "infinite"),
    "groups that do not match": (
        edit("Capped stakes", "(sum by (strategy) (rate(skatra_kelly_fr",
             "(sum by (side) (rate(skatra_kelly_fr"), "no data"),
    "many to many": (
        edit("File descriptors", "/ process_max_fds{",
             "/ on (job) group_left () skatra_db_table_rows{"), "refused"),
    "share without its divisor": (
        edit("File descriptors", "/ process_max_fds{", "+ process_open_fds{"),
        "too large for its unit"),
    "moment shown as an age": (
        edit("Models may be served for", " - time()", ""), "too large for its unit"),
    "moved into the past": (
        edit("Memory", "}", "} offset 1w"), "no data"),
    "window shorter than a scrape": (
        edit(SIDE, "$__rate_interval", "500ms"), "no data"),
    "filter that lets nothing through": (
        edit("Failed predictions", "> 0", "> 1e18"), "no data"),
    "annotation of nothing": (
        annotation("skatra_model_trained", "skatra_model_trainde"),
        "is exported by nobody"),
    "variable of nothing": (
        asked("job", "label_values(nobody_info, job)"), "variable job has no value"),
    "variable of a misspelt label": (
        asked("model", 'label_values(skatra_model_training_rows{job=~"$job"}, modell)'),
        "variable model has no value"),
}  # fmt: skip

# What shows without Prometheus; these go through the whole check as well.
_FORM = {
    "no job matcher": (edit("Sizes", 'job=~"$job", ', ""), "lacks a matcher of ['job']"),
    "no instance matcher": (
        edit("Sizes", f", {WHO}", ""), "lacks a matcher of ['instance']"),
    "fixed window": (edit(SIDE, "$__rate_interval", "7m"), "fits no scrape interval"),
    "fixed data source": (
        put("Sizes", "datasource", "uid", value="abc"), "Sizes: fixed data source"),
    "fixed source of a query": (
        put("Sizes", "targets", 0, "datasource", "uid", value="abc"),
        "a query has a fixed data source"),
    "fixed source of a variable": (
        variable("job", "datasource", {"type": "prometheus", "uid": "x"}),
        "variable job has a fixed data source"),
    "unit of nothing": (
        put("Sizes", "fieldConfig", "defaults", "unit", value="bytez"),
        "unit 'bytez' is none of Grafana's"),
    "wrong unit": (
        put("Sizes", "fieldConfig", "defaults", "unit", value="s"),
        "unit is seconds, but no query has seconds"),
    "rate shown as a count": (
        put(SIDE, "fieldConfig", "defaults", "unit", value="short"),
        "a rate of counts needs the unit cpm"),
    "count shown as a rate": (
        put("Rows by table", "fieldConfig", "defaults", "unit", value="cps"),
        "unit is per second, but no query has a rate"),
    "seconds shown as thousandths": (
        put("Time of a prediction", *UNIT, value="ms"), "unit must be s, is ms"),
    "seconds shown as minutes": (
        put("Age of signals", *UNIT, value="m"), "unit must be s, is m"),
    "share shown as per cent": (
        put("Failed predictions", *UNIT, value="percent"),
        "unit must be percentunit, is percent"),
    "exposure shown as per cent": (
        put("Exposure", *UNIT, value="percent"), "unit must be percentunit, is percent"),
    "share shown as a count": (
        put("Capped stakes", *UNIT, value="short"),
        "unit must be percentunit, is short"),
    "bytes shown as a count": (
        put("Memory", *UNIT, value="short"), "unit must be bytes, is short"),
    "count shown as a share": (
        put("Training rows", *UNIT, value="percentunit"),
        "unit must be short, is percentunit"),
    "score shown as a share": (
        put("Brier score", *UNIT, value="percentunit"), "unit must be none, is percent"),
    "stakes shown as seconds": (
        put("Kelly stakes", *UNIT, value="s"), "unit must be percentunit, is s"),
    "per second shown as per minute": (
        put("Errors by part", *UNIT, value="cpm"), "unit must be cps or rowsps, is cpm"),
    "percentile that is the median": (
        edit("Time of a prediction", "0.99", "0.5", 2), "p99 is not what the query asks"),
    "percentile of its description": (
        edit("Time of reads and writes", "0.95", "0.9"),
        "95th percentile is not what the query asks"),
    "growth of a second": (
        edit("Growth a day", " * 86400", ""), "unit must be Bps, is bytes"),
    "sum in place of a share": (
        edit("File descriptors", "/ process_max_fds{", "+ process_max_fds{"),
        "unit must be short, is percentunit"),
    "thresholds in per cent": (
        put("Exposure", *STEPS, value=steps(None, 80, 100)),
        "a threshold of 80 is beyond its unit percentunit"),
    "threshold in thousandths": (
        put("Time of a prediction", *STEPS, value=steps(None, 25, 50)),
        "a threshold is beyond the largest bucket"),
    "threshold in gigabytes": (
        put("Free disk", *STEPS, value=steps(None, 1, 20)),
        "a threshold of 1 is beyond its unit bytes"),
    "target of others": (
        edit("Targets up", "and on (job, instance)", "or"), "keeps targets of others"),
    "process of others": (
        edit("Memory", "and on (job, instance) skatra_build_info", "unless up"),
        "keeps targets of others"),
    "zeros without a scale": (
        put("Failed calls", "fieldConfig", "defaults", "custom", value={}),
        "zeros would be drawn on a scale of 0 to 100"),
    "seconds shown as counts": (
        put("Firing alerts", "fieldConfig", "defaults", "unit", value="s"),
        "unit is seconds, but no query has seconds"),
    "no description": (put("Sizes", "description", value=""), "Sizes: no description"),
    "default thresholds": (
        put("Sizes", "fieldConfig", "defaults", "thresholds", "steps",
            value=steps(None, 80)), "thresholds are a default"),
    "thresholds out of order": (
        put("Sizes", "fieldConfig", "defaults", "thresholds", "steps",
            value=steps(None, 5, 2)), "thresholds are not in order"),
    "no runbook": (put("Sizes", "links", value=[]), "no link to a runbook section"),
    "runbook of nothing": (
        put("Sizes", "links", 0, "url", value="README.md#nothing"),
        "no link to a runbook section"),
    "overlap": (put("Growth a day", "gridPos", "x", value=4),
                "Growth a day: overlaps Sizes"),
    "off the grid": (put("Readable", "gridPos", "w", value=12),
                     "Readable: leaves the grid"),
    "repeated id": (put("Sizes", "id", value=1), "panel ids repeat"),
    "unknown key": (put("Sizes", "colour", value="red"),
                    "/colour is unknown to the typed SDK"),
    "unknown option": (
        put("Sizes", "options", "legend", "displayMode", value="tabel"),
        "legend.displayMode must be one of"),
    "wrong type": (put("Sizes", "gridPos", "h", value="eight"),
                   "places must be whole numbers"),
    "variable not used": (edit("Sizes", "$job", ".+"), "is not filtered by $job"),
    "dead variable": (dead_variable, "variable region is used by no panel"),
    "missing variable": (without_variable, "variable model is missing"),
    "variable that does not refresh": (
        variable("model", "refresh", 1),
        "variable model does not refresh with the time range"),
    "variable without all": (
        variable("model", "allValue", None), "variable model: all must mean .+"),
    "missing panel": (
        without_panel, "skatra_db_filesystem_free_bytes is on no panel"),
    "no query": (put("Sizes", "targets", value=[]), "Sizes: no query"),
    "old schema": (top("schemaVersion", 36), "schemaVersion must be 42"),
    "editable": (top("editable", True), "must not be editable"),
    "long uid": (top("uid", "x" * 41), "uid must have 1 to 40 characters"),
}  # fmt: skip

DASHBOARD_FAULTS = {
    name: Fault(change, says, live=True) for name, (change, says) in _LIVE.items()
} | {name: Fault(change, says) for name, (change, says) in _FORM.items()}

PSI = "skatra:prediction_probability:psi5m"
RULE_FAULTS = {
    "alert on a misspelt metric": Fault(
        rule("SkatraModelStale", "stale_timestamp", "stael_timestamp"),
        "skatra_model_stael_timestamp_seconds is exported by nobody"),
    "alert on a label that nothing has": Fault(
        rule("SkatraDataStale", 'table="bars"', 'table="candles"'),
        'skatra_db_latest_event_timestamp_seconds{table="candles"} is exported by '
        "nobody"),
    "alert turned round": Fault(
        rule("SkatraTargetDown", "== 0", "== 1"), "SkatraTargetDown fires while all"),
    "alert without its minimum": Fault(
        rule("SkatraFileDescriptorsHigh", "> 0.8", "> 0"),
        "SkatraFileDescriptorsHigh fires while all"),
    "alert on a rate of a gauge": Fault(
        rule("SkatraErrorsHigh", "rate(skatra_errors_total",
             "rate(skatra_predictions_in_progress"), "which is a gauge"),
    "alert on a counter that never falls": Fault(
        rule("SkatraLabelsCapped", "increase(", "deriv("), "use rate or increase"),
    "alert that cannot be read": Fault(
        rule("SkatraScrapeSlow", "> 1", "> > 1"), "refused"),
    "recording of nothing": Fault(
        rule(PSI, "reference_bin_ratio", "reference_bins_ratio"), f"{PSI}: no data"),
    "recording with groups that do not match": Fault(
        rule(PSI, "group_left ()", ""), "refused"),
}  # fmt: skip
