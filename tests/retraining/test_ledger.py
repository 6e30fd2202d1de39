"""The ledger gives back what it was given, and counts each model once."""

import dataclasses
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from skatra.datasets import Database, make_edge_bars
from skatra.labeling import triple_barrier_labels
from skatra.retraining import DatabaseLedger, RetrainConfig, retrain
from skatra.retraining._dataset import load_rows
from skatra.retraining._lineage import variant_of
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


def panel(n_bars, names="AB", factor=1.0, start=0):
    """Return bars of some symbols; their features and labels, as a user makes them."""
    bars = pd.concat(
        {
            name: make_edge_bars(900, edge=0.5, seed=k).droplevel(0).iloc[start:n_bars]
            for k, name in enumerate(names)
        },
        names=["symbol"],
    )
    prices = ["open", "high", "low", "close"]
    bars[prices] *= factor
    close = bars["close"]
    change = close.groupby(level=0).pct_change()
    features = pd.DataFrame({"close": close, "up": change, "flat": change.round(2)})
    labels = triple_barrier_labels(
        bars,
        target=pd.Series(0.02, index=bars.index),
        profit_taking=1.0,
        stop_loss=1.0,
        max_holding=40,
    )
    return bars, features.dropna(), labels


def told(bars, features, labels, symbols=None):
    """Return what tells a run on these sets from others."""
    config = RetrainConfig(
        database=":memory:",
        models="models",
        feature_set="mine",
        label_set="own",
        symbols=symbols,
    )
    with Database(":memory:") as db:
        db.write_bars(bars)
        db.write_features(features, "mine")
        db.write_labels(labels, "own")
        return variant_of(load_rows(db, config)[0], config)


def test_a_set_is_told_by_the_order_of_its_first_rows():
    """Neither last bits nor a factor make a trial; other values and starts do."""
    bars, features, labels = panel(700)
    noise = 1 + 1e-13 * np.random.default_rng(0).standard_normal(features.shape)
    same = told(bars, features, labels)

    assert told(bars, features * noise, labels) == same
    assert told(*panel(700, factor=0.987)) == same
    assert told(bars, features.assign(up=-features["up"]), labels) != same
    assert told(bars, features.assign(up=features["up"].shift(1)), labels) != same
    assert told(*panel(700, start=1)) != same


def test_a_symbol_that_joins_late_is_no_other_choice():
    """All symbols are the same choice; naming them is another."""
    bars, features, labels = panel(700)
    new = [part.loc[["C"]].iloc[-300:] for part in panel(700, "ABC")]
    more = [pd.concat(pair) for pair in zip((bars, features, labels), new, strict=True)]

    assert told(*more) == told(bars, features, labels)
    assert told(*more, symbols=["A", "B", "C"]) != told(*more)
    assert told(*more, symbols=["B", "A"]) == told(*more, symbols=["A", "B"])
    assert told(*more, symbols=["A", "B"]) != told(*more, symbols=["A", "C"])


@pytest.mark.parametrize("around", [256, 512])
def test_barriers_that_close_out_of_order_change_nothing(around):
    """Each night is the one before, but once where t0 pass a power of two."""
    nights = [told(*panel(n)) for n in range(around - 8, around + 60, 2)]
    changes = [a != b for a, b in pairwise(nights)]

    assert sum(changes) == 1


def test_a_symbol_that_joins_is_no_new_trial_and_a_chosen_one_is(tmp_path):
    """Without a choice the universe is whatever there is."""
    config = RetrainConfig(
        database=tmp_path / "market.db",
        models=tmp_path / "models",
        max_holding=3,
        n_splits=2,
        n_estimators=5,
        param_grid={"num_leaves": [3, 5], "min_child_samples": [5]},
        n_paths=0,
    )
    with Database(config.database, create=True) as db:
        db.write_bars(make_edge_bars(600, edge=0.6, seed=4))
    counts = [retrain(config).trials["on_these_symbols"]]
    with Database(config.database) as db:
        db.write_bars(make_edge_bars(600, edge=0.6, seed=5).droplevel(0), "NEW")
    for symbols in (None, ("EDGE", "NEW"), ("NEW", "EDGE"), ("NEW",)):
        run = retrain(dataclasses.replace(config, symbols=symbols))
        counts.append(run.trials["on_these_symbols"])

    assert counts == [2, 2, 4, 4, 6]
