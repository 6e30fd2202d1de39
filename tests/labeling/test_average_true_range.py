"""average_true_range against its formula."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.datasets import make_edge_bars
from skatra.labeling import average_true_range, triple_barrier_labels
from tests.laws import assert_no_look_ahead, assert_panel_equals_symbols
from tests.strategies import coarse_bars


@given(bars=coarse_bars(), span=st.sampled_from([1, 3, 10]))
def test_equals_the_formula(bars, span):
    """Weighted mean of the bars' reaches over their closes."""
    found = average_true_range(bars, span=span)
    for symbol, own in bars.groupby(level="symbol"):
        before = own["close"].shift()
        top = np.fmax(own["high"], before)
        share = ((top - np.fmin(own["low"], before)) / own["close"])[1:]
        decay = 1 - 2 / (span + 1)
        for at in range(len(share)):
            weights = decay ** np.arange(at, -1, -1.0)
            expected = weights @ share[: at + 1] / weights.sum()
            assert found.loc[symbol].iloc[at + 1] == pytest.approx(expected)
        assert np.isnan(found.loc[symbol].iloc[0])


@given(bars=coarse_bars(), day=st.integers(0, 60), seed=st.integers(0, 9))
def test_no_look_ahead(bars, day, seed):
    """Known at the bar's close; symbols do not touch each other."""
    cut = pd.Timestamp("2024-01-01", tz="UTC") + pd.Timedelta(day, unit="D")

    assert_no_look_ahead(average_true_range, bars, cut, seed)
    assert_panel_equals_symbols(average_true_range, bars)


def test_is_a_target():
    """Barriers take it as it is; spans are checked."""
    bars = make_edge_bars(80)

    assert len(triple_barrier_labels(bars, target=average_true_range(bars))) > 50
    with pytest.raises(ValueError, match="span must be a finite number of at least 1"):
        average_true_range(bars, span=0)
