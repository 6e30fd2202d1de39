"""Capital over time under overlapping bets, against a loop and its laws."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.model_selection import KFold, cross_validate

from skatra.exceptions import LabelTimesError
from skatra.metrics import growth_scorer, max_drawdown, position_path


@st.composite
def bets(draw):
    """Positions, returns, whole-day lives of at least a day, and groups."""
    n = draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    start = rng.integers(0, 12, n)
    lives = np.column_stack([start, start + rng.integers(1, 8, n)])
    return (
        rng.uniform(-1, 1, n),
        rng.uniform(-0.5, 0.5, n),
        lives,
        rng.choice(["A", "B"], n),
    )


def day_by_day(position, returns, lives, groups, cost, aggregate):
    """Return wealth and turnover, whole days one by one, at events compounded."""
    events = sorted(set(lives.ravel().tolist()))
    wealth, before, turnover = 1.0, {}, 0.0
    for now, later in zip(events, [*events[1:], events[-1]], strict=True):
        held, earned = {}, 0.0
        for group in set(groups):
            on = (groups == group) & (lives[:, 0] <= now) & (now < lives[:, 1])
            if on.any():
                parts = position[on] * returns[on] / (lives[on, 1] - lives[on, 0])
                share = on.sum() if aggregate == "mean" else 1
                held[group] = position[on].sum() / share
                earned += parts.sum() / share * (later - now)
        traded = sum(abs(held.get(g, 0.0) - before.get(g, 0.0)) for g in set(groups))
        wealth *= max(1 - cost * traded, 0) * max(1 + earned, 0)
        turnover, before = turnover + traded, held
    return wealth, turnover


@given(bets(), st.sampled_from([0.0, 0.01]), st.sampled_from(["mean", "sum"]))
def test_the_path_is_that_of_a_loop(rows, cost, aggregate):
    """Wealth, turnover, rates and drawdown as told day by day."""
    position, returns, lives, groups = rows

    path = position_path(
        position, returns, lives, groups=groups, cost=cost, aggregate=aggregate
    )

    wealth, turnover = day_by_day(position, returns, lives, groups, cost, aggregate)
    days = lives.max() - lives.min()
    assert path.wealth.iloc[-1] == pytest.approx(wealth, abs=1e-9)
    assert path.turnover_per_time * days == pytest.approx(turnover, abs=1e-9)
    assert path.cost == pytest.approx(cost * turnover, abs=1e-9)
    assert path.max_drawdown == pytest.approx(
        max_drawdown(np.append(1.0, path.wealth)), abs=1e-12
    )
    if wealth > 0:
        assert path.growth_per_time * days == pytest.approx(np.log(wealth), abs=1e-6)
    assert path.exposure.iloc[-1] == 0.0


@given(bets(), st.integers(2, 5))
def test_copies_of_a_bet_are_one_bet(rows, copies):
    """The mean over concurrent bets does not count the same bet twice."""
    position, returns, lives, groups = rows
    one = position_path(position, returns, lives, groups=groups, cost=0.01)

    many = position_path(
        np.repeat(position, copies),
        np.repeat(returns, copies),
        np.repeat(lives, copies, axis=0),
        groups=np.repeat(groups, copies),
        cost=0.01,
    )

    np.testing.assert_allclose(many.wealth, one.wealth, atol=1e-12)


@given(bets(), st.randoms(use_true_random=False))
def test_order_is_irrelevant(rows, random):
    """Permuted bets give the same path."""
    position, returns, lives, _ = rows
    order = list(range(len(position)))
    random.shuffle(order)

    one = position_path(position, returns, lives)
    other = position_path(position[order], returns[order], lives[order])

    np.testing.assert_allclose(one.wealth, other.wealth, atol=1e-12)


def test_bets_in_a_row_compound_as_their_rows():
    """Without overlap, growth is the sum of log(1 + f r)."""
    rng = np.random.default_rng(0)
    position, returns = rng.uniform(-1, 1, 50), rng.uniform(-0.5, 0.5, 50)
    lives = np.column_stack([np.arange(50), np.arange(50) + 1])

    path = position_path(position, returns, lives)

    assert path.growth == pytest.approx(np.log1p(position * returns).sum())
    assert path.growth_per_time == pytest.approx(path.growth / 50)


def test_symbols_of_the_index_are_groups_and_days_are_days():
    """(symbol, t0) positions share the capital; time is counted in the unit."""
    day = pd.to_datetime(["2024-01-02", "2024-01-02"]).tz_localize("UTC")
    index = pd.MultiIndex.from_arrays([["A", "B"], day], names=["symbol", "t0"])
    life = pd.Series(day + pd.Timedelta("2D"), index=index)

    path = position_path([0.5, -0.5], [0.2, 0.1], life, unit="1h")

    assert path.growth == pytest.approx(np.log(1.05))
    assert path.growth_per_time == pytest.approx(np.log(1.05) / 48)
    assert path.exposure.iloc[0] == 1.0
    assert str(path.wealth.index.tz) == "UTC"


def test_ruin_ends_the_path():
    """Wealth of 0 stays 0, growth is -inf, the drawdown 1."""
    path = position_path([2.0, 1.0], [-0.6, 0.5], [[0, 1], [2, 3]])

    assert path.growth == -np.inf
    assert path.wealth.iloc[-1] == 0.0
    assert path.max_drawdown == 1.0


class Half(BaseEstimator):
    """Stakes a half."""

    def fit(self, X, y=None):  # noqa: ARG002
        """Learn nothing."""
        self.fitted_ = True
        return self

    def decision_function(self, X):
        """Return a half for every row."""
        return np.full(len(X), 0.5)


def test_the_scorer_per_time_is_the_path_of_each_fold():
    """label_times routed to the scorer are cut to the test fold."""
    rng = np.random.default_rng(0)
    t0 = pd.date_range("2024-01-01", periods=90, tz="UTC")
    life = pd.Series(t0 + pd.Timedelta("5D"), index=t0)
    returns = pd.Series(rng.uniform(-0.1, 0.1, 90), index=t0)
    X = pd.DataFrame({"x": np.zeros(90)}, index=t0)
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_validate(
            Half(), X, cv=KFold(3), scoring=growth_scorer(0.001, per="time"),
            params={"returns": returns, "label_times": life}, error_score="raise",
        )["test_score"]  # fmt: skip

    expected = [
        position_path(np.full(30, 0.5), returns[k], life[k], cost=0.001).growth_per_time
        for k in (slice(0, 30), slice(30, 60), slice(60, 90))
    ]
    np.testing.assert_allclose(scores, expected)
    with pytest.raises(ValueError, match="needs the label_times of the rows, got none"):
        growth_scorer(per="time")(Half(), X, returns=returns)
    with pytest.raises(ValueError, match="per must be 'event' or 'time'"):
        growth_scorer(per="row")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cost": -1}, "cost must be"),
        ({"aggregate": "max"}, "aggregate must be one of"),
        ({"returns": [0.1]}, "one row per sample"),
        ({"positions": [0.1, np.nan]}, "positions must be finite"),
        ({"groups": [None, "A"]}, "groups must not be missing"),
        ({"label_times": [[0, 1], [2, 2]]}, r"t1 > t0.*\[1\]"),
    ],
)
def test_impossible_inputs_are_named(change, message):
    """The message names the parameter, what it must be and what it is."""
    given_rows = {
        "positions": [0.1, 0.2],
        "returns": [0.1, 0.2],
        "label_times": [[0, 1], [1, 2]],
    }
    with pytest.raises((ValueError, LabelTimesError), match=message):
        position_path(**{**given_rows, **change})


def arrow(labels):
    """Return label times whose t0 level and t1 are held by Arrow."""
    pytest.importorskip("pyarrow", reason="Arrow's dtypes need pyarrow")
    kind = f"timestamp[{labels.index.levels[1].unit}, tz=UTC][pyarrow]"
    level = pd.Index(labels.index.levels[1], dtype=kind)
    return pd.Series(
        pd.array(labels, dtype=kind), index=labels.index.set_levels(level, level=1)
    )


def test_levels_of_arrow_are_times():
    """Symbols are told apart, whoever holds t0."""
    days = pd.date_range("2026-01-05", periods=30, tz="UTC")
    index = pd.MultiIndex.from_product([["A", "B"], days], names=["symbol", "t0"])
    labels = pd.Series(
        index.get_level_values(1) + pd.Timedelta("3D"), index=index, name="t1"
    )
    rng = np.random.default_rng(0)
    position, returns = rng.uniform(-1, 1, 60), rng.normal(0, 0.01, 60)
    expected = position_path(position, returns, labels)
    found = position_path(position, returns, arrow(labels))

    pd.testing.assert_series_equal(found.wealth, expected.wealth)
    pd.testing.assert_series_equal(found.exposure, expected.exposure)
