"""Laws of what objects show in a notebook."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier

import skatra
from skatra import metrics, model_selection, sizing
from skatra.datasets import Database, SQLiteConnectionPool, make_edge_bars
from skatra.features import FractionalDifference
from skatra.retraining import check_data
from skatra.utils import HTMLRepr

NASTY = "<script>alert('x')</script> & \"quoted\""
HELD = {"br", "hr", "img", "input", "meta", "link"}


class Balanced(HTMLParser):
    """Fail on markup that does not close what it opens; collect the text."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text = [], set(), []
        self.feed(html)
        self.close()

        assert not self.open

    def handle_starttag(self, tag, _):
        """Note the tag, and that it must be closed."""
        self.tags.add(tag)
        if tag not in HELD:
            self.open.append(tag)

    def handle_endtag(self, tag):
        """Close what was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Keep the text."""
        self.text.append(data)


def shown(thing):
    """Return the text and the tags that a notebook gets of an object."""
    page = Balanced(thing._repr_html_())
    return " ".join(page.text), page.tags


LABEL_TIMES = pd.Series(
    pd.date_range("2024-01-03", periods=60, freq="D"),
    index=pd.date_range("2024-01-01", periods=60, freq="D"),
)
SPLITTERS = [
    model_selection.PurgedKFold(3, embargo="5D"),
    model_selection.PurgedKFold(3, label_times=LABEL_TIMES),
    model_selection.PurgedGroupKFold(3),
    model_selection.PurgedWalkForward(3, purge_gap="1D"),
    model_selection.CombinatorialPurgedKFold(4, 2),
    model_selection.CombinatoriallySymmetricKFold(4),
]


@pytest.mark.parametrize("cv", SPLITTERS, ids=lambda cv: type(cv).__name__)
def test_splitters_show_every_parameter(cv):
    """A splitter shows its name and each parameter with its value, in small."""
    text, tags = shown(cv)

    assert type(cv).__name__ in text
    for name in re.findall(r"(\w+)=", repr(cv)):
        assert name in text
    assert tags <= {"div", "strong", "table", "tr", "th", "td"}
    assert len(cv._repr_html_()) < 4000


def results():
    """Return one of each public object that computations give back."""
    cv = model_selection.CombinatorialPurgedKFold(4, 2)
    X, y = np.zeros((60, 1)), np.arange(60) % 2
    paths = model_selection.cross_val_paths(
        DummyClassifier(), X, y, cv=cv, params={"label_times": LABEL_TIMES}
    )
    returns = np.random.default_rng(0).normal(0.01, 0.02, 60)
    return [
        paths,
        model_selection.audit_splits(
            model_selection.PurgedKFold(3), X, label_times=LABEL_TIMES
        ),
        metrics.path_metrics(np.ones((60, 3)), returns),
        sizing.PositionSizer(),
        sizing.calculate_trade_statistics(returns),
        sizing.kelly_portfolio(np.column_stack([returns, returns[::-1]])),
        check_data(make_edge_bars(300)),
    ]


@pytest.mark.parametrize("thing", results(), ids=lambda thing: type(thing).__name__)
def test_results_show_themselves(thing):
    """A result shows balanced markup without scripts, and no more than a screen."""
    text, tags = shown(thing)

    assert text.strip()
    assert "script" not in tags
    assert len(thing._repr_html_()) < 20_000


def test_databases_and_pools_show_state_and_escape_their_path(tmp_path):
    """The path is text, whatever it holds; a closed one still shows itself."""
    path = tmp_path / "<b>&market.db"
    with Database(path, create=True) as db:
        text, tags = shown(db)

        assert str(path) in text
        assert "b" not in tags
    assert "True" in shown(db)[0]

    pool = SQLiteConnectionPool(path, max_readers=2)
    with pool.get_connection():
        text, tags = shown(pool)

        assert str(path) in text
        assert "readers_in_use 1" in " ".join(text.split())
        assert "b" not in tags
    pool.close()

    assert "max_readers" in shown(pool)[0]


class Nasty(HTMLRepr):
    """An object all of whose texts look like markup."""

    def __str__(self):
        return NASTY

    def _html_rows(self):
        frame = pd.DataFrame({NASTY: [NASTY] * 40}, index=[NASTY] * 40)
        return {NASTY: NASTY, "frame" + NASTY: frame, "long": "<" * 1000}


def test_everything_is_escaped_and_bounded():
    """Names, values, summaries and the cells of frames never become markup."""
    text, tags = shown(Nasty())

    assert tags <= {"div", "strong", "p", "table", "thead", "tbody", "tr", "th", "td"}
    assert text.count("alert('x')") >= 4
    assert "40 rows" in text
    assert "<" * 200 not in text


def test_a_frozen_dataclass_with_slots_takes_the_mixin():
    """The mixin adds no dictionary to an object that has none."""
    assert HTMLRepr.__slots__ == ()
    assert not hasattr(metrics.drawdown_statistics(np.array([1.0, 0.9])), "__dict__")


@pytest.mark.parametrize(
    "estimator",
    [
        sizing.KellyClassifier(DummyClassifier()),
        sizing.KellySizer(),
        FractionalDifference(),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_estimators_show_what_scikit_learn_shows(estimator):
    """Estimators have scikit-learn's own diagram."""
    assert type(estimator).__name__ in estimator._repr_html_()


def test_completion_offers_every_subpackage():
    """``skatra.`` and the tab key list the subpackages, and each loads when named."""
    code = (
        "import pkgutil, skatra; "
        "there = {m.name for m in pkgutil.iter_modules(skatra.__path__)}; "
        "public = {n for n in there if not n.startswith('_')} - {'cli'}; "
        "assert public <= set(dir(skatra)), public - set(dir(skatra)); "
        "assert all(getattr(skatra, name).__name__ == f'skatra.{name}' "
        "for name in public)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

    with pytest.raises(AttributeError, match="no attribute 'model_select'"):
        getattr(skatra, "model_select")  # noqa: B009


def test_completion_offers_every_public_name():
    """``dir`` of each subpackage, which the tab key asks, holds all of ``__all__``."""
    code = (
        "import importlib, pkgutil, skatra; "
        "[print(m.name, set(getattr(f, '__all__', [])) - set(dir(f))) for m in "
        "pkgutil.walk_packages(skatra.__path__, 'skatra.') "
        "if not any(p.startswith('_') for p in m.name.split('.')) "
        "for f in [importlib.import_module(m.name)] "
        "if set(getattr(f, '__all__', [])) - set(dir(f))]"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout == ""
