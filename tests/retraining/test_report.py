"""The report is one whole page that needs nothing else."""

import json
import re
from html.parser import HTMLParser

import pytest

from skatra.exceptions import EmptyDataError
from skatra.retraining import write_report

VOID = {"meta", "br", "hr", "img", "link", "input"}


class _Page(HTMLParser):
    """Collects ids, links and unbalanced tags."""

    def __init__(self):
        super().__init__()
        self.ids, self.links, self.open, self.unbalanced = [], [], [], []

    def handle_starttag(self, tag, attrs):
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
        assert f"<td>{path['log_growth_per_year']:+.2%}</td>" in shown
    for row in found["importance"]["features"]:
        assert f"<td>{row['mean']:+.5f}</td>" in shown
    low, high = found["comparison"]["interval"]
    assert f"<dd>{low:+.2%} to {high:+.2%}</dd>" in shown
    pbo = found["trials"]["probability_of_backtest_overfitting"]
    assert f"<dd>{pbo:.3f}</dd>" in shown
    assert found["trained_until"] in shown


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
