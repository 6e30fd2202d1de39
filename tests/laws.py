"""Laws that hold for more than one function."""

import numpy as np
import pandas as pd

from skatra.exceptions import EmptyDataError


def assert_same_bits(expected, actual):
    """Equal index, and values equal to the last bit (NaN included)."""
    pd.testing.assert_index_equal(actual.index, expected.index)

    assert expected.to_numpy().tobytes() == actual.to_numpy().tobytes()


def assert_no_look_ahead(compute, bars, cut, seed):
    """Nothing that happens after the time ``cut`` changes what is known by then.

    ``compute`` maps bars to a frame or Series indexed like (some of) them. Bars after
    ``cut`` are first altered (each by factors of its own, OHLC kept consistent), then
    removed; the rows up to ``cut`` must stay the same, to the last bit.
    """

    def known(given):
        try:
            result = compute(given)
        except EmptyDataError:
            return None
        return result[result.index.get_level_values("time") <= cut]

    late = bars.index.get_level_values("time") > cut
    rng = np.random.default_rng(seed)
    altered = bars.copy()
    prices = ["open", "high", "low", "close"]
    n = int(late.sum())
    altered.loc[late, prices] *= rng.lognormal(0, 1, (n, 1))
    altered.loc[late, "volume"] *= rng.lognormal(0, 3, n)
    expected = known(bars)

    for given in (altered, bars[~late]):
        actual = known(given) if len(given) else None
        if expected is None or actual is None:
            assert expected is None or expected.empty
        else:
            assert_same_bits(expected, actual)


def assert_panel_equals_symbols(compute, bars):
    """A panel's rows are those of its symbols one by one, to the last bit."""
    try:
        whole = compute(bars)
    except EmptyDataError:
        return
    for symbol, own in bars.groupby(level="symbol", sort=False):
        expected = whole[whole.index.get_level_values("symbol") == symbol]
        if len(expected):
            assert_same_bits(expected, compute(own))
            alone = compute(own.droplevel("symbol"))
            assert expected.to_numpy().tobytes() == alone.to_numpy().tobytes()
