"""What unit a query has, by the units of its metrics and what it does with them."""

import re
from dataclasses import dataclass, replace

from dashboard_form import CATALOGUE, panels_of

SAID = {
    "up": "share",
    "scrape_duration_seconds": "s",
    "process_cpu_seconds_total": "s",
    "process_resident_memory_bytes": "bytes",
    "skatra_db_collect_success": "truth",
    "skatra_cv_fold_score": "score",
    "skatra_calibration_squared_error_total": "score",
    "skatra_prediction_probability_bucket": "share",
    "skatra_prediction_probability_reference_bucket": "share",
}
"""Units that a name does not tell; others end in theirs, or are counts."""
ENDS = {
    "_timestamp_seconds": "moment",
    "_seconds": "s",
    "_bytes": "bytes",
    "_ratio": "share",
    "win_ratio90d": "share",
}
RECORDED = re.compile(r":(psi|ks|brier)\w+$")
TOKEN = re.compile(
    r'\s*(?:(\d[\d.e+]*)|([a-zA-Z_:][\w:]*)|("(?:[^"\\]|\\.)*")|(>=|<=|==|!=|.))'
)
LOOSEST = (
    ("or",), ("and", "unless"), ("==", "!=", "<", ">", "<=", ">="), ("+", "-"),
    ("*", "/"),
)  # fmt: skip
AGGREGATIONS = {"sum", "avg", "min", "max", "count", "topk"}
RATES = {"rate", "irate", "deriv"}


@dataclass(frozen=True)
class Quantity:
    """What a number is: of which unit, per which time, times what, in buckets of what."""

    unit: str
    per: str = ""
    times: float = 1.0
    number: float | None = None
    edges: str = ""


COUNT, SHARE, SCORE = Quantity("count"), Quantity("share"), Quantity("score")


def shown_as(quantity):
    """Return the units of Grafana that show such a number as what it is."""
    unit, per, times = quantity.unit, quantity.per, quantity.times
    return {
        ("s", "", 1.0): {"s"},
        ("s", "", 1000.0): {"ms"},
        ("bytes", "", 1.0): {"bytes"},
        ("bytes", "s", 1.0): {"Bps"},
        ("bytes", "day", 1.0): {"bytes"},
        ("count", "", 1.0): {"short"},
        ("count", "s", 1.0): {"cps", "rowsps"},
        ("count", "min", 1.0): {"cpm"},
        ("share", "", 1.0): {"percentunit"},
        ("share", "", 100.0): {"percent"},
        ("score", "", 1.0): {"none"},
        ("truth", "", 1.0): {"bool_yes_no"},
    }.get((unit, per, times), set())


def unit_of(name):
    """Return the unit of a sample by its name."""
    if name in SAID:
        return SAID[name]
    if RECORDED.search(name):
        return "score"
    stem = re.sub(r"_(total|sum|bucket)$", "", name)
    if stem.endswith("_count"):
        return "count"
    return next((unit for end, unit in ENDS.items() if stem.endswith(end)), "count")


class Reader:
    """Reads a query; `quantity` is what it gives."""

    def __init__(self, query):
        query = re.sub(r"\[[^]]*\]|\{[^}]*\}| offset \w+| @ end\(\)", "", query)
        query = re.sub(
            r"\b(on|by|without|ignoring|group_left|group_right) \([^)]*\)", "", query
        )
        self._tokens = [match.groups() for match in TOKEN.finditer(query)]
        self._place = 0
        self.quantity = self._binary(0)
        if self._place < len(self._tokens):
            raise ValueError(f"cannot read on at {self._peek()!r}")

    def _peek(self):
        if self._place >= len(self._tokens):
            return ""
        return next(part for part in self._tokens[self._place] if part is not None)

    def _take(self):
        found = self._peek()
        self._place += 1
        return found

    def _binary(self, level):
        if level == len(LOOSEST):
            return self._single()
        left = self._binary(level + 1)
        while self._peek() in LOOSEST[level]:
            sign = self._take()
            truth = self._peek() == "bool" and bool(self._take())
            right = self._binary(level + 1)
            left = COUNT if truth else _combined(sign, left, right)
        return left

    def _single(self):
        word = self._take()
        if re.match(r"\d", word):
            return Quantity("number", number=float(word))
        if word == "-":
            return self._single()
        if word == "(":
            found = self._binary(0)
            self._take()
            return found
        if self._peek() != "(":
            if not re.match(r"[a-zA-Z_:]", word):
                raise ValueError(f"cannot read {word!r}")
            if word.endswith("_bucket"):
                return replace(COUNT, edges=unit_of(word))
            return Quantity(unit_of(word))
        return _called(word, self._arguments())

    def _arguments(self):
        self._take()
        found = []
        while self._peek() not in {")", ""}:
            if self._peek().startswith('"'):
                self._take()
            else:
                found.append(self._binary(0))
            if self._peek() == ",":
                self._take()
        self._take()
        return found


def _called(name, arguments):
    """Return what a function gives of what it is given."""
    if name == "time":
        return Quantity("moment")
    if not arguments:
        raise ValueError(f"{name} is given nothing")
    first, last = arguments[0], arguments[-1]
    if name in RATES:
        return SHARE if first.unit == "s" else replace(first, per="s")
    given = {
        "count": COUNT,
        "topk": last,
        "histogram_quantile": Quantity(last.edges),
        "vector": replace(first, unit="number"),
    }
    return given.get(name, replace(first, number=None))


def _combined(sign, left, right):
    """Return what two numbers give."""
    if sign in {"+", "-", "or"}:
        return _sum(sign, left, right)
    if sign not in {"*", "/"}:
        return left
    if "number" in (left.unit, right.unit):
        return _scaled(sign, left, right)
    return _product(left, right) if sign == "*" else _quotient(left, right)


def _sum(sign, left, right):
    if left.unit == "number":
        return right
    if sign == "-" and left.unit == right.unit == "moment":
        return Quantity("s")
    if right.unit not in {"number", left.unit}:
        raise ValueError(f"{left.unit} {sign} {right.unit}")
    return left


def _scaled(sign, left, right):
    quantity, number = (left, right) if right.unit == "number" else (right, left)
    factor = number.number or 1.0
    if sign == "*" and quantity.per == "s" and factor in {60.0, 86400.0}:
        return replace(quantity, per="min" if factor == 60.0 else "day")
    times = quantity.times * (factor if sign == "*" else 1.0 / factor)
    return replace(quantity, times=times)


def _product(left, right):
    if left.unit == right.unit == "share":
        return SCORE  # such as the variance of a base rate
    return left if right.unit in {"share", "count"} else right


def _quotient(left, right):
    if left.unit == right.unit and left.per == right.per:
        return SHARE
    if right.unit != "count":
        raise ValueError(f"{left.unit} / {right.unit}")
    if left == SHARE and right.per == "s":
        return Quantity("s")  # seconds a second of so many a second
    return Quantity(left.unit)


def unit_problems(document):
    """Yield units, quantiles and thresholds that do not fit their queries."""
    for panel in panels_of(document):
        defaults = panel.get("fieldConfig", {}).get("defaults", {})
        steps = (defaults.get("thresholds") or {}).get("steps") or []
        limits = [step["value"] for step in steps if step.get("value") is not None]
        title, unit = panel.get("title"), defaults.get("unit")
        for target in panel.get("targets", []):
            query, legend = target["expr"], target.get("legendFormat", "")
            yield from (
                f"{title}: {problem}"
                for problem in (
                    *_unit(query, unit, panel["type"]),
                    *_quantile(query, legend, panel.get("description") or ""),
                )
            )
            names = re.findall(r"skatra_(\w+)_bucket", query)
            tops = [max(CATALOGUE[n].buckets) for n in names if n in CATALOGUE]
            if tops and "quantile" in query and limits and max(limits) > min(tops):
                yield f"{title}: a threshold is beyond the largest bucket"
        for limit in limits:
            low, high = RANGES.get(unit, (0, float("inf")))
            if not low <= limit <= high:
                yield f"{title}: a threshold of {limit:g} is beyond its unit {unit}"


RANGES = {
    "percentunit": (0, 2),  # two of a processor's cores
    "none": (0, 1),
    "s": (0, 1e8),
    "bytes": (1 << 20, 1 << 50),
    "bool_yes_no": (0, 1),
}
"""Where thresholds lie."""


def _unit(query, unit, kind):
    """Yield a unit that is not the query's."""
    if kind == "heatmap":  # its axis is that of the buckets, not of what they count
        (name,) = re.findall(r"\w+_bucket", query)
        expected = shown_as(Quantity(unit_of(name)))
    else:
        try:
            expected = shown_as(Reader(query).quantity)
        except (ValueError, IndexError) as error:
            yield f"no unit can be told ({error}): {query}"
            return
    if unit not in expected:
        yield f"unit must be {' or '.join(sorted(expected)) or 'another'}, is {unit}: {query}"


def _quantile(query, legend, text):
    """Yield a percentile that is not the one that is promised."""
    said = re.match(r"p(\d+)\b", legend) or re.search(r"(\d+)th percentile", text)
    asked = re.findall(r"histogram_quantile\(([\d.]+)", query)
    if asked and said is None:
        yield f"nothing says which percentile it is: {query}"
    elif said and [float(number) for number in asked] != [int(said[1]) / 100]:
        yield f"{said[0]} is not what the query asks for: {query}"
