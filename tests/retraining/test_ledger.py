"""The ledger gives back what it was given, and counts each model once."""

import numpy as np
from hypothesis import given

from skatra.datasets import Database
from skatra.retraining import DatabaseLedger
from tests.strategies import records

ABOUT = {"symbols": ["A"], "feature_set": "mine", "label_set": "own"}


@given(record=records())
def test_a_record_comes_back_bit_for_bit(record):
    """NaN, infinities and signed zeros are figures like others."""
    with Database(":memory:") as db:
        ledger = DatabaseLedger(db, "data", "code", ABOUT)
        ledger.put("task", {"stage": "search", "params": record, "figures": record})
        found = ledger.get("task")

    assert repr(found["figures"]) == repr(record)
    assert repr(found["params"]) == repr(record)


def test_scalars_of_numpy_come_back():
    """What a scorer returns is a float of numpy's, NaN where a fit failed."""
    with Database(":memory:") as db:
        ledger = DatabaseLedger(db, "data", "code", ABOUT)
        ledger.put("task", {"score": np.float64("nan"), "other": np.float64("-inf")})
        found = ledger.get("task")

    assert np.isnan(found["score"])
    assert found["other"] == -np.inf


def search(db, variant=None, symbols=("A",), data="data", leaves=(3, 5), folds=2):
    """Score candidates as a search does, unless that was done; return the counts."""
    about = {**ABOUT, "symbols": list(symbols), "variant": variant}
    ledger = DatabaseLedger(db, data, "code", about)
    for params in ({"num_leaves": n} for n in leaves):
        for fold in range(folds):
            key = f"{params} on {fold}"
            if ledger.get(key) is None:
                record = {"stage": "search", "params": params, "score": -0.7}
                ledger.put(key, record)
    return tuple(ledger.count().values())


def test_equal_parameters_of_two_variants_are_two_trials():
    """Whose scores are shared, too; done again, each counts once."""
    with Database(":memory:") as db:
        counts = [
            search(db, "long"),
            search(db, "short"),
            search(db, "long", leaves=(3, 5, 7)),
            search(db, "short", data="more data"),
            search(db, "both", data="more data"),
            search(db, "long"),
            search(db, "long", symbols=["B"], data="others"),
        ]

    assert counts == [(2, 2), (4, 4), (5, 5), (2, 5), (4, 7), (5, 7), (2, 2)]


def test_rows_of_earlier_versions_still_count():
    """They knew no variants: each is a trial until one of its names is made again."""
    with Database(":memory:") as db:
        counts = [
            search(db),
            search(db, data="more data"),
            search(db, "long", data="new code", leaves=(5, 7)),
            search(db, "short", data="new code", leaves=(5,)),
        ]

    assert counts == [(2, 2), (2, 2), (2, 3), (3, 4)]
