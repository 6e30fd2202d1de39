"""Rows are the same rows, or an error says where they part."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from skatra.utils import as_finite_column, check_same_rows, take_rows

DAYS = pd.date_range("2024-01-01", periods=3, tz="UTC")


def test_equal_rows_pass_whatever_holds_them():
    """Arrays have no index to differ; None is no container; units do not matter."""
    X = pd.DataFrame({"a": [1, 2, 3]}, DAYS.as_unit("s"))

    check_same_rows(X=X, y=[1, 2, 3], returns=None)
    check_same_rows(X=X, y=pd.Series(1.0, DAYS.as_unit("ns")))


@pytest.mark.parametrize(
    "index",
    [DAYS[::-1], DAYS.tz_localize(None), DAYS + pd.Timedelta("1h"), pd.RangeIndex(3)],
)
def test_another_index_is_an_error(index):
    """Reversed, shifted, of another zone or kind: never a number."""
    X = pd.DataFrame({"a": [1, 2, 3]}, DAYS)

    with pytest.raises(ValueError, match=r"X and returns must have the same index"):
        check_same_rows(X=X, y=[1, 2, 3], returns=pd.Series(0.0, index))


def test_indexes_are_compared_where_x_has_none():
    """A numpy X does not excuse y and returns that disagree."""
    with pytest.raises(ValueError, match="y and returns must have the same index"):
        check_same_rows(
            X=np.zeros((3, 1)), y=pd.Series(1, DAYS), returns=pd.Series(1, DAYS[::-1])
        )


def test_another_length_is_an_error():
    """The message lists the containers."""
    with pytest.raises(ValueError, match="X, returns must have one row per sample"):
        check_same_rows(X=[1, 2], returns=[1])


def test_columns_are_finite_numbers():
    """Missing, infinite, negative, text and two dimensions are named."""
    assert as_finite_column([1, 2], "x").dtype == np.float64
    for values, options, message in [
        ([1, np.inf], {}, r"x must be finite; 1 of 2 rows .* positions \[1\]"),
        ([1, -1], {"negative": False}, "x must not be negative; 1 of 2"),
        (["a"], {}, "x must hold numbers"),
        ([[1]], {}, "x must be one-dimensional"),
    ]:
        with pytest.raises(ValueError, match=message):
            as_finite_column(values, "x", **options)


def test_rows_are_taken_from_any_container():
    """Positions and masks select the same rows everywhere."""
    rows, mask = np.array([0, 2]), np.array([True, False, True])
    for chosen in (rows, mask):
        assert take_rows([1, 2, 3], chosen) == [1, 3]
        assert take_rows(np.array([1, 2, 3]), chosen).tolist() == [1, 3]
        assert take_rows(pd.Series([1, 2, 3], DAYS), chosen).tolist() == [1, 3]
        assert take_rows(sparse.eye(3, format="csr"), chosen).shape == (2, 3)
