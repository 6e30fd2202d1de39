"""Scores against the number of folds."""

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import KFold, LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsRegressor

from skatra.exceptions import LabelTimesError
from skatra.model_selection import PurgedKFold, leak_diagnostic

T0 = np.arange(300)
NOISE = np.random.default_rng(0).standard_normal(330)
Y = np.array([NOISE[t : t + 30].mean() for t in T0])
LABEL_TIMES = np.column_stack([T0, T0 + 29])
X = T0[:, None].astype(float)


def test_leaks_rise_with_the_folds_and_purging_ends_it():
    """A model that only knows the time profits from neighbours, unless purged."""
    splitters = {"leaky": KFold(), "purged": PurgedKFold()}
    found = leak_diagnostic(
        KNeighborsRegressor(1),
        X,
        Y,
        label_times=LABEL_TIMES,
        n_splits=(3, 30, 100),
        splitters=splitters,
        scoring="neg_mean_absolute_error",
    )

    assert found.mean["leaky"].is_monotonic_increasing
    assert found.mean.loc[100, "leaky"] > found.mean.loc[100, "purged"] / 3
    assert found.rise["leaky"] > found.rise["purged"]
    assert found.summary.startswith("score from 3 to 100 folds: +")
    assert found.summary in repr(found)
    assert found.summary in found._repr_html_()
    assert [cv.n_splits for cv in splitters.values()] == [5, 5]


def test_scores_are_those_of_cross_val_score():
    """Means and standard errors are those of scikit-learn's own scores."""
    found = leak_diagnostic(
        KNeighborsRegressor(2), X, Y, label_times=LABEL_TIMES, n_splits=(3, 6)
    )
    cv = KFold(6, shuffle=True, random_state=0)
    scores = cross_val_score(KNeighborsRegressor(2), X, Y, cv=cv)
    splits = list(PurgedKFold(3).split(X, label_times=LABEL_TIMES))
    purged = cross_val_score(KNeighborsRegressor(2), X, Y, cv=splits)

    assert found.mean.loc[6, "KFold(shuffle=True)"] == pytest.approx(scores.mean())
    assert found.standard_error.loc[6, "KFold(shuffle=True)"] == pytest.approx(
        scores.std(ddof=1) / 6**0.5
    )
    assert found.mean.loc[3, "PurgedKFold"] == pytest.approx(purged.mean())


def test_senseless_input_is_refused():
    """Each message names the parameter."""
    options = {"label_times": LABEL_TIMES}
    for bad in ((5,), (1, 3), (5, 3)):
        with pytest.raises(ValueError, match="n_splits must hold"):
            leak_diagnostic(DummyRegressor(), X, Y, n_splits=bad, **options)
    with pytest.raises(ValueError, match="attribute n_splits"):
        leak_diagnostic(
            DummyRegressor(), X, Y, splitters={"one": LeaveOneOut()}, **options
        )
    with pytest.raises(LabelTimesError, match="299 label times for 300 rows"):
        leak_diagnostic(DummyRegressor(), X, Y, label_times=LABEL_TIMES[1:])


def test_plot_shows_one_line_per_splitter():
    """The axes name what they show."""
    pytest.importorskip("matplotlib", reason="needs skatra[plot]").use("agg")
    found = leak_diagnostic(
        KNeighborsRegressor(2), X, Y, label_times=LABEL_TIMES, n_splits=(2, 4)
    )
    ax = found.plot()

    assert found.plot(ax) is ax
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names[:2] == list(found.mean.columns)
    assert ax.get_xlabel() == "number of folds"
    ax.figure.clear()
