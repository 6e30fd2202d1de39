"""The report is one whole page that needs nothing else."""

import dataclasses
import json
import re
from collections import defaultdict
from html.parser import HTMLParser

import numpy as np
import pytest

from skatra.exceptions import EmptyDataError
from skatra.retraining import CHECKS, Check, DataProblem, DataReport, write_report
from skatra.utils import format_number

VOID = {"meta", "br", "hr", "img", "link", "input"}


class _Page(HTMLParser):
    """Collects ids, links and unbalanced tags."""

    def __init__(self):
        super().__init__()
        self.ids, self.links, self.open, self.unbalanced = [], [], [], []
        self.tags, self.said = set(), defaultdict(list)

    def handle_data(self, data):
        if self.open:
            self.said[self.open[-1]].append(data)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in {"href", "xlink:href", "src"}:
                self.links.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)


@pytest.fixture(scope="module")
def page(small_run, tmp_path_factory):
    """Return the parsed report of two chapters, and its text."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    written = write_report([small_run, small_run], path, title="A <b>title</b>")
    text = written.read_text(encoding="utf-8")
    parsed = _Page()
    parsed.feed(text)
    return parsed, text


def test_page_is_well_formed(page):
    """Tags balance, ids are unique, and every inner link has its target."""
    parsed, _ = page

    assert parsed.unbalanced == []
    assert parsed.open == []
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert {link[1:] for link in parsed.links} <= set(parsed.ids)


def test_page_needs_no_network(page):
    """Nothing is loaded from anywhere, and no colour escaped the theme."""
    parsed, text = page

    assert all(link.startswith("#") for link in parsed.links)
    assert "@import" not in text
    assert "url(http" not in text
    assert not re.search(r"#0102[0-9a-f]{2}", text)


def test_page_shows_the_figures(page, small_run):
    """The conclusion, the gate and the lineage stand on the page."""
    _, text = page

    assert text.count("<svg") == 16
    assert "A &lt;b&gt;title&lt;/b&gt;" in text
    assert small_run.run_id in text
    assert small_run.lineage["data_sha256"] in text
    for check in small_run.verdict.checks:
        assert check.name in text


@pytest.mark.parametrize(
    "section",
    ["comparison", "paths", "trials", "importance", "folds", "checks", "seconds"],
)
def test_every_section_is_there(page, section):
    """Each chapter shows what its run knows."""
    assert {f"run{i}-{section}-card" for i in range(2)} <= set(page[0].ids)


def test_page_holds_the_figures_of_the_json(page, small_run):
    """The embedded figures are those of the result, and the tables show them."""
    text, found = page[1], small_run.to_dict()
    embedded = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text)
    shown = re.sub(r"<script.*?</script>", "", text)

    assert [json.loads(each) for each in embedded] == [found, found]
    for path in found["paths"]:
        growth = format_number(path["log_growth_per_year"], "+.2%")
        assert f"<td>{growth}</td>" in shown
    for row in found["importance"]["features"]:
        for name in ("mean", "low", "high"):
            assert f"<td>{format_number(row[name], '+.5f')}</td>" in shown
    low, high = found["comparison"]["interval"]
    assert f"<dd>{low:+.2%} to {high:+.2%}</dd>" in shown
    pbo = found["trials"]["probability_of_backtest_overfitting"]
    assert f"<dd>{pbo:.3f}</dd>" in shown
    assert found["trained_until"] in shown


HOSTILE = "<em>&amp;\"'$\\frac{</script><img src=x onerror=alert(1)>"


def _written(run, folder):
    """Return the parsed report of a run, and its text."""
    text = write_report(run, folder / "page.html").read_text(encoding="utf-8")
    parsed = _Page()
    parsed.feed(text)
    return parsed, text


def test_names_are_text_wherever_they_stand(small_run, tmp_path):
    """Symbols, features, reasons and settings with markup in them stay plain text."""
    run = small_run
    table = run.importance.table.assign(
        feature=[HOSTILE, *run.importance.table.feature[1:]]
    )
    problem = DataProblem(
        "gaps", "bars", f"1 of 9 rows, first {HOSTILE}", np.arange(1), True
    )
    verdict = dataclasses.replace(
        run.verdict,
        promoted=False,
        outcome="refused",
        champion_id=HOSTILE,
        checks=(Check(HOSTILE, 1.0, 0.0, False, HOSTILE),),
    )
    hostile = dataclasses.replace(
        run,
        title=HOSTILE,
        data={**run.data, "symbols": [HOSTILE], "symbols_without_rows": [HOSTILE]},
        config=dataclasses.replace(run.config, symbols=(HOSTILE,), feature_set=HOSTILE),
        importance=dataclasses.replace(run.importance, table=table),
        checks=DataReport((problem,)),
        verdict=verdict,
        decision=dataclasses.replace(run.decision, verdict=verdict),
    )
    parsed, text = _written([hostile, hostile], tmp_path)
    (embedded, _) = re.findall(
        r'<script type="application/json"[^>]*>(.*?)</script>', text
    )

    assert (parsed.unbalanced, parsed.open) == ([], [])
    assert not {"em", "img"} & parsed.tags
    assert all(link.startswith("#") for link in parsed.links)
    assert json.loads(embedded) == hostile.to_dict()
    for place in ("h2", "dd", "td", "a", "text"):
        assert any(HOSTILE in said for said in parsed.said[place]), place


def test_waived_problems_are_told(small_run, tmp_path):
    """A check that was waived says how many rows it let pass; the others passed."""
    problem = DataProblem("gaps", "bars", "2 of 9 rows, first A", np.arange(2), True)
    run = dataclasses.replace(small_run, checks=DataReport((problem,)))
    _, text = _written(run, tmp_path)

    assert "<dt>gaps</dt><dd>waived: bars: 2 of 9 rows, first A</dd>" in text
    assert text.count("<dd>passed</dd>") == len(CHECKS) - 1
    assert run.to_dict()["waived"] == [
        {
            "check": "gaps",
            "table": "bars",
            "count": 2,
            "detail": "2 of 9 rows, first A",
            "waived": True,
        }
    ]


def test_nothing_is_a_negative_zero_or_no_number(small_run, tmp_path):
    """Figures that round to 0 have no sign, and what is no number is said so."""
    tiny = {name: -1e-12 for name in small_run.holdout.scores if "growth" in name}
    paths = small_run.paths.table.assign(log_growth_per_year=-1e-12)
    table = small_run.importance.table.assign(low=np.nan, high=np.nan)
    lost = dataclasses.replace(
        small_run.splitters[1], problem="too few rows", auc=np.nan, auc_error=np.nan
    )
    first, _, *rest = small_run.splitters
    run = dataclasses.replace(
        small_run,
        holdout=dataclasses.replace(
            small_run.holdout, scores={**small_run.holdout.scores, **tiny}
        ),
        paths=dataclasses.replace(small_run.paths, table=paths),
        importance=dataclasses.replace(small_run.importance, table=table),
        splitters=(first, lost, *rest),
    )
    parsed, _ = _written(run, tmp_path)
    said = [
        text for name, texts in parsed.said.items() if name != "text" for text in texts
    ]

    assert not [t for t in said if re.search(r"[-+]0(\.0+)?(%|\b)(?!\.)", t)]
    assert not [t for t in said if re.search(r"\bnan\b|\bNone%", t)]
    assert "not possible" in parsed.said["td"]
    assert "not defined" in parsed.said["td"]


def test_candidates_that_stop_early_show_their_trees(small_run, tmp_path):
    """Losses have four digits, trees one, and parameters stand as they were given."""
    table = small_run.search.table.assign(
        log_loss=0.69314, std=0.00125, trees=[7.5] * 2, reg_lambda=0.1
    )
    columns = ["num_leaves", "reg_lambda", "log_loss", "std", "trees"]
    search = dataclasses.replace(small_run.search, table=table[columns])
    parsed, _ = _written(dataclasses.replace(small_run, search=search), tmp_path)
    said = parsed.said["td"]

    for text in ("5", "0.1", "0.6931", "0.0013", "7.5"):
        assert said.count(text) >= 2, text
    assert not {"7.5000", "5.0000", "0.69314"} & set(said)


def test_same_run_same_page(small_run, tmp_path):
    """The page depends on the run alone."""
    first = write_report(small_run, tmp_path / "a.html").read_bytes()
    second = write_report(small_run, tmp_path / "b.html").read_bytes()

    assert first == second


def test_a_report_of_nothing_is_refused(tmp_path):
    """Without runs there is no page."""
    with pytest.raises(EmptyDataError, match="results"):
        write_report([], tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []
