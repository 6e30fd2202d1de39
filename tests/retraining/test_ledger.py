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
