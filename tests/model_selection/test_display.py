"""What the picture of splits holds, on real figures."""

import subprocess
import sys
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.model_selection import KFold, TimeSeriesSplit

from skatra.exceptions import LabelTimesError
from skatra.model_selection import PurgedKFold, PurgedSplitDisplay, audit_splits
from tests import strategies

mpl = pytest.importorskip("matplotlib", reason="needs skatra[plot]")
mpl.use("agg")
plt = pytest.importorskip("matplotlib.pyplot", reason="needs skatra[plot]")

DAYS = pd.date_range("2026-01-05", periods=90, freq="D")
LABEL_TIMES = pd.Series(DAYS + pd.Timedelta("4D"), index=DAYS)
X = np.zeros((90, 1))
STATES = ["train", "test", "purged", "embargoed", "unused"]


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def combinations_of(n_folds, n_test_folds, n_rows=90):
    """Return the splits of every choice of test folds, without purging."""
    folds = np.array_split(np.arange(n_rows), n_folds)
    return [
        (
            np.concatenate([folds[f] for f in range(n_folds) if f not in chosen]),
            np.concatenate([folds[f] for f in chosen]),
        )
        for chosen in combinations(range(n_folds), n_test_folds)
    ]


@given(st.data())
def test_shares_are_those_of_the_audit(data):
    """Weighted by rows, the picture holds the audit's counts."""
    series = data.draw(strategies.label_times(min_rows=12, max_rows=30))
    assume(series.index.nunique() >= 3)
    cv = PurgedKFold(3, embargo=data.draw(strategies.spans_for(series)))
    X = np.zeros(len(series))
    try:
        frame = audit_splits(cv, X, label_times=series).to_frame()
    except ValueError as error:
        assert "left without training rows" in str(error)  # noqa: PT017
        return
    figure = mpl.figure.Figure()
    display = PurgedSplitDisplay.from_splitter(
        cv, X, label_times=series, ax=figure.subplots()
    )

    rows = series.index.value_counts().sort_index().to_numpy()
    counts = (display.shares * rows[None, :, None]).sum(axis=1)
    np.testing.assert_allclose(counts, frame[STATES])


@pytest.mark.parametrize(("n_folds", "n_test_folds"), [(6, 2), (5, 3), (10, 2), (4, 2)])
def test_every_path_predicts_every_fold_once(n_folds, n_test_folds):
    """C(N - 1, k - 1) paths, each made of N folds, each from a split that tests it."""
    splits = combinations_of(n_folds, n_test_folds)
    display = PurgedSplitDisplay.from_splitter(
        splits, X, label_times=LABEL_TIMES, kind="paths"
    )

    n_paths = len(splits) * n_test_folds // n_folds
    assert display.paths.shape == (n_folds, len(splits))
    for fold, of_split in enumerate(display.paths):
        assert sorted(of_split[of_split >= 0]) == list(range(n_paths))
        start, stop = display.folds[fold]
        rows = np.flatnonzero((start <= DAYS) & (stop > DAYS))
        for split, (_, test) in enumerate(splits):
            assert (of_split[split] >= 0) == bool(np.isin(rows, test).all())
    assert len(display.ax_.texts) == n_folds * n_paths


@pytest.mark.parametrize("cv", [PurgedKFold(5), KFold(5), TimeSeriesSplit(5)], ids=repr)
def test_a_single_path_is_no_path_map(cv):
    """Folds tested once carry no numbers, and cannot be drawn as paths."""
    display = PurgedSplitDisplay.from_splitter(cv, X, label_times=LABEL_TIMES)

    assert display.paths is None
    assert len(display.ax_.texts) == 0
    with pytest.raises(ValueError, match="test every row equally often"):
        display.plot(kind="paths")
    with pytest.raises(ValueError, match="kind must be"):
        display.plot(kind="lanes")


def test_lanes_fit_their_number():
    """Five and 45 splits each get a figure, labels that do not collide, a legend."""
    for splits in (combinations_of(5, 1), combinations_of(10, 2)):
        display = PurgedSplitDisplay.from_splitter(splits, X, label_times=LABEL_TIMES)
        display.figure_.canvas.draw()
        labels = [text.get_window_extent() for text in display.ax_.get_yticklabels()]
        labels = sorted(labels, key=lambda box: box.y0)
        assert all(a.y1 <= b.y0 for a, b in pairwise(labels))
        legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        assert legend[:2] == ["train", "test"]


def test_colours_follow_the_style():
    """What is dropped is light on a dark page and dark on a light one."""
    seen = {}
    for style in ("default", "dark_background"):
        with plt.style.context(style):
            display = PurgedSplitDisplay.from_splitter(
                PurgedKFold(4), X, label_times=LABEL_TIMES
            )
        handles = display.ax_.get_legend().get_patches()
        seen[style] = {h.get_label(): sum(h.get_facecolor()[:3]) / 3 for h in handles}

    assert seen["default"]["purged"] < 0.5 < seen["dark_background"]["purged"]
    assert seen["default"]["train"] == seen["dark_background"]["train"]


def test_many_rows_are_drawn_by_bins():
    """A picture has about as many columns as a screen, however many rows there are."""
    times = np.arange(100_000)
    display = PurgedSplitDisplay.from_splitter(
        PurgedKFold(5), times, label_times=np.column_stack([times, times + 50])
    )

    assert display.shares.shape == (5, 1000, 5)
    np.testing.assert_allclose(display.shares.sum(axis=2), 1.0)


def test_label_times_are_needed():
    """A horizon or a Series in the splitter will do; nothing will not."""
    frame = pd.DataFrame(X, index=DAYS)
    for cv in (PurgedKFold(4, purge_gap="3D"), PurgedKFold(4, label_times=LABEL_TIMES)):
        assert PurgedSplitDisplay.from_splitter(cv, frame).shares[:, :, 2].any()
    with pytest.raises(LabelTimesError, match="PurgedSplitDisplay does not know"):
        PurgedSplitDisplay.from_splitter(KFold(4), frame)


def test_without_matplotlib_the_extra_is_named():
    """The package imports without matplotlib; drawing says what to install."""
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from skatra.model_selection import PurgedKFold, PurgedSplitDisplay\n"
        "from skatra.exceptions import MissingDependencyError\n"
        "try: PurgedSplitDisplay.from_splitter(PurgedKFold(purge_gap=1), [0] * 20)\n"
        "except MissingDependencyError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert "skatra[plot]" in done.stdout
