"""Parameters are refused by name, and numbers of splits before they are counted."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import clone

from skatra.model_selection import (
    CombinatoriallySymmetricKFold,
    CombinatorialPurgedKFold,
    PurgedGroupKFold,
    PurgedKFold,
    PurgedWalkForward,
)
from skatra.model_selection._counts import capped_comb, fewest_folds, written_comb


def test_absurd_counts_are_refused_without_counting_them():
    """No count, however large, is worked out before it is refused by its size."""
    half = 10**12
    with pytest.raises(
        ValueError, match=r"more than 10\^301026 splits; .* Lower n_folds"
    ):
        CombinatorialPurgedKFold(10**6, 5 * 10**5)
    with pytest.raises(ValueError, match=r"more than 10\^30102999\d* splits"):
        CombinatoriallySymmetricKFold(2 * half)
    with pytest.raises(ValueError, match=r"Lower max_splits, or lower n_folds\."):
        CombinatorialPurgedKFold(2 * half, half, max_splits=10 * half)
    for n_test_folds in (2, 3, 50):
        with pytest.raises(ValueError, match=r"n_paths=10{30} .* fewer n_paths"):
            CombinatorialPurgedKFold.from_n_paths(10**30, n_test_folds=n_test_folds)
    assert CombinatorialPurgedKFold(10**5, half // 10**8, max_splits=10**5).n_paths


@given(st.integers(1, 400), st.data())
def test_counts_are_exact_below_the_cap_and_the_cap_above(n, data):
    """Capping never changes a count that is shown in digits."""
    k = data.draw(st.integers(0, n))
    cap = data.draw(st.integers(1, 10**40))

    assert min(comb(n, k), cap) == capped_comb(n, k, cap)
    text = written_comb(n, k)
    if comb(n, k) < 10**30:
        assert text == f"{comb(n, k):,}"
    else:
        size = int(text.removeprefix("more than 10^"))
        assert 10**size < comb(n, k) < 10 ** (size + 2)


@given(st.integers(1, 10**6), st.integers(2, 40))
def test_fewest_folds_are_found_without_trying_all(n_paths, n_test_folds):
    """N folds make enough paths, and N - 1 do not or leave none to train on."""
    n_folds = fewest_folds(n_paths, n_test_folds)

    assert comb(n_folds - 1, n_test_folds - 1) >= n_paths
    assert n_folds == n_test_folds + 1 or comb(n_folds - 2, n_test_folds - 1) < n_paths


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"n_folds": 1000}, "Lower n_folds, or set max_splits to sample them."),
        ({"n_folds": 10**6}, "Lower n_folds."),
        (
            {"n_folds": 40, "n_test_folds": 5},
            r"Lower n_folds or n_test_folds \(n_test_folds=2 gives 780\), or set max_",
        ),
        ({"n_folds": 400, "n_repeats": 9}, "Lower n_repeats, or lower n_folds, or set"),
        ({"n_folds": 40, "n_test_folds": 20, "max_splits": 10**6}, "Lower max_splits."),
    ],
)
def test_the_advice_on_too_many_splits_can_be_followed(options, advice):
    """What is named would make splits fewer; what is so already is not advised."""
    with pytest.raises(ValueError, match=f"allowed\\. {advice}"):
        CombinatorialPurgedKFold(**options)


def test_counts_of_splits_with_thousands_of_digits_are_refused_by_their_size():
    """Python writes no integer of more than 4,300 digits; the refusal still does."""
    with pytest.raises(ValueError, match=r"more than 10\^6018 splits.*max_splits"):
        CombinatorialPurgedKFold(20_000, 10_000)
    with pytest.raises(ValueError, match=r"more than 10\^6018 splits; at most"):
        CombinatoriallySymmetricKFold(20_000)


@pytest.mark.parametrize(
    ("cv", "name", "value", "message"),
    [
        (PurgedKFold(3), "n_splits", 1, "setting n_splits=2 or more, got n_splits=1"),
        (PurgedKFold(3), "embargo", 1.5, "embargo must be"),
        (PurgedWalkForward(3), "n_splits", 1, "setting n_splits=2 or more"),
        (PurgedWalkForward(3), "test_size", 0, "test_size must be a positive int"),
        (PurgedGroupKFold(3), "n_group_folds", 1, "n_group_folds=2 or more"),
        (CombinatorialPurgedKFold(4), "n_test_folds", 4, "less than n_folds=4"),
        (CombinatorialPurgedKFold(4), "random_state", "x", "random_state must be"),
        (CombinatoriallySymmetricKFold(4), "n_folds", 5, "even to be halved"),
    ],
)
def test_attributes_are_held_to_what_the_constructor_asks(cv, name, value, message):
    """A value set later is refused by split in the constructor's words."""
    changed = clone(cv)
    setattr(changed, name, value)
    with pytest.raises(ValueError, match=message):
        list(changed.split(np.zeros(9), label_times=np.zeros((9, 2))))
