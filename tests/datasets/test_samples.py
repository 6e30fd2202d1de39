"""The bundled quotes and the artificial series with an edge."""

import re
from importlib import resources

import numpy as np
import pandas as pd
import pytest

from skatra.datasets import _samples
from skatra.datasets._samples import load_index_bars, make_edge_bars
from skatra.exceptions import BarsError
from skatra.utils import BAR_COLUMNS, check_bars

DATA = resources.files("skatra.datasets").joinpath("data")


def test_index_bars_format():
    """Two symbols of 5,031 sessions, sorted, UTC, trustworthy."""
    bars = load_index_bars()

    check_bars(bars)
    assert list(BAR_COLUMNS) == list(bars.columns)
    assert (bars.dtypes == np.float64).all()
    assert list(bars.index.names) == ["symbol", "time"]
    assert bars.index.is_monotonic_increasing
    assert bars.groupby(level=0).size().to_dict() == {"NASDAQ": 5031, "SP500": 5031}
    assert str(bars.index.levels[1].tz) == "UTC"
    assert pd.Timestamp("1999-01-04", tz="UTC") == bars.index.levels[1][0]
    assert pd.Timestamp("2018-12-31", tz="UTC") == bars.index.levels[1][-1]


@pytest.mark.parametrize(
    ("symbol", "day", "printed"),
    [
        (
            "SP500",
            "1999-01-04",
            [1229.22998, 1248.810059, 1219.099976, 1228.099976, 877000000],
        ),
        (
            "NASDAQ",
            "2018-12-31",
            [6649.52002, 6659.959961, 6570.060059, 6635.279785, 2098560000],
        ),
    ],
)
def test_quotes_are_exact_to_the_printed_digit(symbol, day, printed):
    """Rows copied from the source's text."""
    bars = load_index_bars()

    assert printed == bars.loc[(symbol, pd.Timestamp(day, tz="UTC"))].tolist()


@pytest.mark.parametrize(
    ("symbol", "sharpe", "skew", "kurtosis"),
    [
        ("SP500", 0.01178401, -0.204611, 11.169196),
        ("NASDAQ", 0.01373034, -0.015352, 8.426675),
    ],
)
def test_moments_of_log_returns(symbol, sharpe, skew, kurtosis):
    """Moments computed from the source by other means."""
    steps = np.diff(np.log(load_index_bars().loc[symbol, "close"]))
    z = (steps - steps.mean()) / steps.std()

    assert len(steps) == 5030
    assert steps.mean() / steps.std(ddof=1) == pytest.approx(sharpe, abs=5e-9)
    assert (z**3).mean() == pytest.approx(skew, abs=5e-7)
    assert (z**4).mean() == pytest.approx(kurtosis, abs=5e-7)


def test_damaged_file_is_refused(monkeypatch):
    """A file that does not have the released checksum is not read."""
    monkeypatch.setattr(_samples, "_SHA256", "0" * 64)

    with pytest.raises(BarsError, match=r"damaged.*Install skatra again"):
        load_index_bars()


def test_readme_records_the_checksum():
    """Source, licence, purpose and checksum stand beside the file."""
    text = DATA.joinpath("README.md").read_text(encoding="utf-8")

    assert _samples._SHA256 in text
    assert "for testing and example purposes only" in text
    assert "Copyright (c) 2017 Kevin Sheppard" in text


def test_edge_bars_are_trustworthy_and_seeded():
    """Valid bars; equal for equal seeds; a symbol does not depend on later ones."""
    bars = make_edge_bars(400, symbols=("B", "A"), seed=3)

    check_bars(bars)
    pd.testing.assert_frame_equal(bars, make_edge_bars(400, symbols=("B", "A"), seed=3))
    pd.testing.assert_frame_equal(
        bars.loc[["B"]], make_edge_bars(400, symbols=["B"], seed=3)
    )
    assert not bars.equals(make_edge_bars(400, symbols=("B", "A"), seed=4))
    assert bars.index.levels[1].strftime("%u").max() == "5"


@pytest.mark.parametrize("edge", [-0.5, 0.0, 0.2])
def test_volume_foretells_the_next_return(edge):
    """The correlation of log volume with the next log return is edge x 2 / sqrt(5)."""
    bars = make_edge_bars(100_000, edge=edge, seed=1)
    step = np.diff(np.log(bars["close"]))
    volume = np.log(bars["volume"].to_numpy())
    found = np.corrcoef(volume[:-1], step)[0, 1]
    signal = np.corrcoef(volume[:-10], volume[10:])[0, 1]

    assert found == pytest.approx(edge * 2 / np.sqrt(5), abs=0.015)
    assert signal == pytest.approx(0.5 * 0.8, abs=0.03)
    assert step.std() == pytest.approx(0.01, rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_bars": 0}, "n_bars must be an integer of at least 1, got 0"),
        ({"edge": 1.5}, "edge must be a correlation in [-1, 1], got 1.5"),
        ({"symbols": ()}, "symbols must be distinct names, at least one"),
        ({"symbols": ("A", "A")}, "symbols must be distinct names"),
    ],
)
def test_misuse_is_named(arguments, message):
    """Each message names the parameter and the value."""
    with pytest.raises(ValueError, match=re.escape(message)):
        make_edge_bars(**arguments)
