"""Tables over backtest paths: each row is what its path alone gives."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from skatra.metrics import (
    TrackRecord,
    max_drawdown,
    path_metrics,
    position_path,
    probabilistic_sharpe_ratio,
    sharpe_ratio,
)
from skatra.model_selection import CombinatorialPurgedKFold, cross_val_paths


@pytest.fixture
def market():
    """Return features, returns and label times that overlap."""
    days = pd.date_range("2024-01-01", periods=150, name="t0")
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=150)}, days)
    returns = pd.Series(0.02 * X["a"] + rng.normal(scale=0.02, size=150), days)
    return X, returns, pd.Series(days + pd.Timedelta("3D"), index=days)


def test_paths_of_a_combinatorial_split(market):
    """Positions of cross_val_paths go in as they come out; rows are position_path's."""
    X, returns, label_times = market
    paths = cross_val_paths(
        LogisticRegression(),
        X,
        (returns > 0).astype(int),
        cv=CombinatorialPurgedKFold(4, 2),
        method="decision_function",
        params={"label_times": label_times},
    ).to_frame()
    found = path_metrics(paths, returns, label_times, cost=0.001, benchmark=0.02)

    assert found.table.index.equals(paths.columns)
    for path in paths:
        alone = position_path(paths[path], returns, label_times, cost=0.001)
        steps = alone.wealth.to_numpy().copy()
        steps[0] = 1.0
        row = found.table.loc[path]
        ends = pd.date_range(X.index[0], label_times.iloc[-1], freq="12D", tz="UTC")
        sampled = pd.Series(steps, alone.wealth.index)[ends].to_numpy()
        earned = sampled[1:] / sampled[:-1] - 1
        record = TrackRecord.from_returns(earned)

        assert row["growth"] == pytest.approx(alone.growth)
        assert row["max_drawdown"] == pytest.approx(alone.max_drawdown)
        assert row["sharpe_ratio"] == pytest.approx(sharpe_ratio(earned))
        assert row["probabilistic_sharpe_ratio"] == pytest.approx(
            probabilistic_sharpe_ratio(record, 0.02)
        )
        assert row["n_periods"] == len(ends) - 1 == 12
    assert "3 paths" in str(found)


def test_smoothed_returns_show_no_larger_ratio():
    """Overlapping labels of one always-long path have the ratio of its bars."""
    rng = np.random.default_rng(2)
    close = np.exp(np.append(0, rng.normal(0.001, 0.01, 20_000).cumsum()))
    t0 = np.arange(20_001 - 3)
    returns = close[3:] / close[:-3] - 1
    found = path_metrics(
        np.ones((len(t0), 1)), returns, np.column_stack([t0, t0 + 3])
    ).table.iloc[0]
    bars = sharpe_ratio(np.diff(close) / close[:-1]) * np.sqrt(12)

    assert found["n_periods"] == 20_000 // 12
    assert found["sharpe_ratio"] == pytest.approx(bars, rel=0.1)


def test_rows_as_periods():
    """Without label times wealth compounds row by row."""
    rng = np.random.default_rng(1)
    positions, returns = rng.uniform(-1, 1, (40, 3)), rng.normal(0, 0.1, 40)
    found = path_metrics(positions, returns, cost=0.01)
    for path in range(3):
        held = positions[:, path]
        earned = held * returns - 0.01 * np.abs(held)
        wealth = np.append(1.0, np.cumprod(1 + earned))

        np.testing.assert_allclose(found.wealth[path], wealth)
        assert found.table.loc[path, "growth"] == pytest.approx(np.log(wealth[-1]))
        assert found.table.loc[path, "sharpe_ratio"] == pytest.approx(
            sharpe_ratio(earned)
        )
        assert found.table.loc[path, "max_drawdown"] == pytest.approx(
            max_drawdown(wealth)
        )


def test_idle_and_ruined_paths_have_no_ratio():
    """A path that never moves grows by 0; a ruined one by -inf; neither has a ratio."""
    positions = np.array([[0.0, 1.0, 0.1]] * 3)
    table = path_metrics(positions, [-1.0, 0.1, 0.2]).table

    assert table["growth"].tolist()[:2] == [0.0, -np.inf]
    assert table["max_drawdown"].tolist()[:2] == [0.0, 1.0]
    assert table["sharpe_ratio"].isna().tolist() == [True, True, False]
    assert "undefined" in str(path_metrics(positions[:, :2], [-1.0, 0.1, 0.2]))


def test_plot(market):
    """One line per path, and a histogram."""
    X, returns, label_times = market
    left, right = path_metrics(np.tile(X, 4), returns, label_times).plot()

    assert len(left.lines) == 5
    assert right.patches


def test_there_may_be_more_paths_than_rows():
    """Each path is measured as it is alone, however many there are."""
    rng = np.random.default_rng(0)
    positions, returns = rng.uniform(-1, 1, (20, 90)), rng.normal(0, 0.01, 20)
    together = path_metrics(positions, returns).table
    alone = path_metrics(positions[:, [70]], returns).table

    assert len(together) == 90
    np.testing.assert_array_equal(together.iloc[70], alone.iloc[0])


def test_misuse_is_named(market):
    """Transposed tables, other rows, probabilities and bad costs."""
    X, returns, label_times = market
    two = pd.concat({0: X, 1: X}, axis=1)
    for arguments, options, message in [
        ((X.to_numpy().T, returns), {}, r"they are transposed. Pass positions\.T"),
        ((np.ones((2, 150)), returns), {}, "rows"),
        ((X[::-1], returns), {}, "the same index"),
        ((two, returns), {}, "one column per path"),
        ((X, returns), {"cost": -1}, "cost must be"),
        ((X, returns), {"groups": X["a"]}, "groups need label_times"),
        ((X * np.nan, returns), {}, "positions must be finite"),
        ((X, returns, label_times), {"aggregate": "max"}, "aggregate must be"),
        ((X, returns), {"convention": "1999"}, "convention must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            path_metrics(*arguments, **options)
