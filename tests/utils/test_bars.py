"""check_bars names every problem at once."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.exceptions import BarsError, EmptyDataError
from skatra.utils import check_bars, symbol_blocks
from tests.strategies import coarse_bars


@given(bars=coarse_bars(), integers=st.booleans())
def test_good_bars_pass(bars, integers):
    """Panels, single symbols, alternating symbols, integers and nullable floats."""
    check_bars(bars.astype(np.int64) if integers else bars.astype("Float64"))
    symbol = bars.index[0][0]
    check_bars(bars.xs(symbol, level="symbol"))


@given(bars=coarse_bars())
def test_blocks_gather_each_symbol(bars):
    """Gathering puts a symbol's rows side by side in order; scattering undoes it."""
    blocks = symbol_blocks(bars.index)
    rows = np.arange(len(bars))
    gathered = blocks.gather(rows)
    names = bars.index.get_level_values(0)

    for symbol, begin, end in zip(
        blocks.symbols, blocks.offsets[:-1], blocks.offsets[1:], strict=True
    ):
        assert rows[names == symbol].tolist() == gathered[begin:end].tolist()
    assert rows.tolist() == blocks.scatter(gathered).tolist()


def _good():
    index = pd.MultiIndex.from_product(
        [["A", "B"], pd.date_range("2024-01-01", periods=3)], names=["symbol", "time"]
    )
    return pd.DataFrame(
        {"open": 2.0, "high": 3.0, "low": 1.0, "close": 2.0, "volume": 5.0}, index
    )


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("open", np.nan, "open is NaN or infinite in 1 of 6 rows, first B 2024-01-02"),
        ("volume", np.inf, "volume is NaN or infinite in 1 of 6 rows"),
        ("low", 0.0, "low is not positive in 1 of 6 rows"),
        ("high", 0.5, "high < low in 1 of 6 rows"),
        ("close", 3.5, r"close lies outside \[low, high\] in 1 of 6 rows"),
        ("open", 0.5, r"open lies outside \[low, high\] in 1 of 6 rows"),
        ("volume", -1.0, r"volume is negative.*\(volume=-1\)"),
    ],
)
def test_one_bad_value(column, value, message):
    """The message has the column, the count, the row and the value."""
    bars = _good()
    bars.iloc[4, bars.columns.get_loc(column)] = value

    with pytest.raises(BarsError, match=message):
        check_bars(bars)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.iloc[::-1], "times fall within a symbol in 4 of 6 rows"),
        (lambda b: b.iloc[[0, 0, 1]], "a time repeats within a symbol in 1 of 3"),
        (lambda b: b.iloc[[1, 0, 1]], "times fall.*a time repeats"),
        (lambda b: b.drop(columns=["low", "volume"]), r"\['low', 'volume'\]"),
        (lambda b: b.reset_index(), "index must be a DatetimeIndex or a MultiIndex"),
        (lambda b: b.swaplevel(), "levels \\(symbol, time\\).*set_index"),
        (lambda b: b.astype({"close": str}), "column 'close' must be numeric"),
        (lambda b: pd.concat([b, b[["low"]]], axis=1), "column 'low' occurs 2 times"),
        (
            lambda b: b.loc["A"].set_axis(pd.to_datetime(["2024", None, "2025"])),
            "a missing time in 1 of 3 rows",
        ),
        (lambda b: b["close"], "must be a pandas DataFrame.*got Series"),
    ],
)
def test_bad_shape(change, message):
    """Index, order and columns."""
    with pytest.raises(BarsError, match=message):
        check_bars(change(_good()))


def test_all_problems_at_once():
    """Three things wrong are three things named, under the caller's name."""
    bars = _good().drop(columns="open")
    bars.iloc[0, 0] = 0.5
    bars.iloc[1, 3] = -1

    with pytest.raises(BarsError, match=r"quotes has 3 problems: missing.*; .*; "):
        check_bars(bars, "quotes")


def test_no_rows():
    """An empty table is its own error."""
    with pytest.raises(EmptyDataError, match="bars has no rows"):
        check_bars(_good().iloc[:0])


def test_unneeded_columns_are_not_looked_at():
    """A caller that needs the close alone is not stopped by the rest."""
    check_bars(_good().assign(volume=-1.0), columns=("close",))
