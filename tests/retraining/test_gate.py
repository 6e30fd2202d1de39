"""The gate: refuses noise, finds an edge, keeps a champion that is not worse."""

import dataclasses
import math
import os
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from skatra.datasets import Database, make_edge_bars
from skatra.exceptions import StaleModelError
from skatra.metrics import deflated_sharpe_ratio
from skatra.retraining import GateBounds, RetrainConfig
from skatra.retraining._contest import Contest, contest
from skatra.retraining._dataset import load_rows, store_built_in_sets
from skatra.retraining._decision import decide
from skatra.retraining._evaluation import Backtest
from skatra.retraining._evidence import (
    GRACE,
    Evidence,
    as_text,
    enough_after,
    find_evidence,
    stale_from,
    unseen_rows,
)
from skatra.retraining._gate import _Trials, gate
from skatra.retraining._lineage import inputs_digest
from skatra.retraining._registry import Champion
from skatra.retraining._session import Session
from skatra.retraining._signals import _Rules
from skatra.retraining._steps import (
    fit_whole,
    judge_holdout,
    search,
    split_holdout,
)
from tests.retraining.gate_runs import (
    SETTINGS,
    planted_rows,
    run_planted,
    run_shuffled,
    shuffled,
    statement,
)

RUNS = 100 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 4


def test_shuffled_labels_are_refused(tmp_path):
    """Of 100 seeded runs at least 95 are refused (all of a few in a quick run)."""
    refused = [not d.verdict.promoted for d in run_shuffled(RUNS, tmp_path)]

    assert sum(refused) >= 0.95 * RUNS, statement(sum(refused), RUNS)


def test_a_planted_edge_is_promoted(tmp_path):
    """Of 100 seeded runs at least 95 are promoted (all of a few in a quick run)."""
    promoted = [d.verdict.promoted for d in run_planted(RUNS, tmp_path)]

    assert sum(promoted) >= 0.95 * RUNS, statement(sum(promoted), RUNS)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Return config, rows and bars with an edge, and the steps up to the gate."""
    folder = tmp_path_factory.mktemp("planted")
    config = RetrainConfig(database=folder / "x.db", models=folder / "m", **SETTINGS)
    rows, bars = planted_rows(folder, config, 0)
    session = Session()
    development, held_out = split_holdout(rows, config)
    found = search(development, config, session)
    judged = judge_holdout(
        rows, development, held_out, bars, found.best_params, config, session
    )
    return config, rows, bars, development, held_out, found, judged


def champion_of(rows, config, params, until):
    """Fit a champion on the rows whose labels end by a time."""
    known = rows.take(np.asarray(rows.label_times <= until))
    model = fit_whole(known, params, config, Session())
    return Champion("champion", model, {}, known.label_times.max())


def against(planted, champion, **options):
    """Judge the tuned model against a champion."""
    config, rows, bars, development, held_out, found, judged = planted
    return decide(
        rows,
        development,
        held_out,
        judged,
        bars,
        found,
        config,
        Session(),
        leaking_pairs=0,
        champion=champion,
        **options,
    )


def test_a_worthless_champion_is_replaced(planted):
    """A champion that learned noise loses to a challenger with an edge."""
    config, rows, _, development, *_ = planted
    noise = shuffled(rows, 1)
    until = development.label_times.max()
    decision = against(planted, champion_of(noise, config, {}, until))

    assert decision.verdict.outcome == "promoted"
    assert decision.verdict.champion_id == "champion"
    low, high = decision.intervals["log_growth_above_champion_per_year"]
    assert 0 < low < high


def test_an_equal_champion_stays(planted):
    """The same model, fitted on the development rows, is not surely beaten."""
    config, rows, _, development, _, found, _ = planted
    until = development.label_times.max()
    decision = against(planted, champion_of(rows, config, found.best_params, until))

    assert decision.verdict.outcome == "refused"
    assert "growth above the champion champion" in decision.verdict.reason


def test_too_few_new_rows_are_no_evidence(planted):
    """A champion of yesterday is not judged on what it has seen; nothing is fitted."""
    config, rows, _, _, _, found, _ = planted
    until = rows.label_times.sort_values().iloc[-60]
    champion = champion_of(rows, config, found.best_params, until)

    def refuse(*_):
        raise AssertionError("a model was fitted")

    config, rows, bars, development, held_out, found, judged = planted
    decision = decide(
        rows,
        development,
        held_out,
        judged,
        bars,
        found,
        config,
        Session(make_model=refuse),
        leaking_pairs=0,
        champion=champion,
    )

    assert decision.verdict.outcome == "not enough evidence"
    assert not decision.verdict.promoted
    assert "not enough evidence" in decision.verdict.reason


@pytest.mark.parametrize("max_holding", [5, 20])
@pytest.mark.parametrize("embargo", ["5D", 30, 0.01])
def test_signals_serve_a_champion_until_a_successor_can_be_judged(
    tmp_path, max_holding, embargo
):
    """By default nothing is too old before the date from which the gate can judge.

    The date that is told is the one on which bars, as they come, are enough.
    """
    bars = make_edge_bars(4000, edge=0.3)
    config = RetrainConfig(
        database=tmp_path / "m.db",
        models=tmp_path,
        max_holding=max_holding,
        embargo=embargo,
    )

    def at(n_bars):
        with Database(":memory:") as db:
            db.write_bars(bars.iloc[:n_bars])
            store_built_in_sets(db, config)
            rows, _ = load_rows(db, config)
        return rows, split_holdout(rows, config)[1], bars.iloc[:n_bars], config

    first = at(3000)
    until = first[0].label_times.max()
    told = enough_after(first[0], *first[2:], until)
    champion = Champion("old", None, {"judgeable_from": told.isoformat()}, until)
    needed = 30 * max_holding
    enough = [
        find_evidence(*at(n), champion).enough
        for n in (3000 + needed - 20, 3000 + needed + 60)
    ]
    judgeable = bars.index[3000 + needed + 60][1]
    rules = _Rules(judgeable, pd.Timedelta("4D"), None, False)

    assert enough == [False, True]
    assert find_evidence(*first, champion).enough_from == told
    assert abs(told - bars.index[3000 + needed][1]) < pd.Timedelta("60D")
    rules.refuse_old(champion)
    late = dataclasses.replace(rules, now=told + GRACE + pd.Timedelta("1D"))
    with pytest.raises(StaleModelError, match=rf"from about {told:%Y-%m-%d} on") as e:
        late.refuse_old(champion)
    assert "days that it is served for by default" in str(e.value)


@pytest.mark.parametrize("embargo", ["5D", 3, 0.01, 0])
def test_nobody_is_judged_on_rows_it_has_seen(planted, embargo):
    """Judged rows start after both trainings and the embargo; fits see the past."""
    config, rows, bars, _development, held_out, found, _ = planted
    config = dataclasses.replace(config, embargo=embargo, gate={"min_blocks": 2})
    until = held_out.label_times.sort_values().iloc[100]
    champion = champion_of(rows, config, found.best_params, until)
    seen = []

    def watch(some_config, params):
        from skatra.retraining._steps import lightgbm_classifier

        model = lightgbm_classifier(some_config, params)
        seen.append(model)
        return model

    judged = unseen_rows(rows, champion, held_out, embargo)
    result = contest(
        rows,
        held_out,
        bars,
        found.best_params,
        config,
        champion,
        Session(make_model=watch),
    )
    t0 = pd.DatetimeIndex(rows.data.index.get_level_values(1))
    later = t0[t0 > champion.trained_until].unique().sort_values()
    first = {
        "5D": t0[t0 > champion.trained_until + pd.Timedelta("5D")].min(),
        3: later[3],
        0.01: later[int(np.ceil(0.01 * t0.nunique()))],
        0: later[0],
    }[embargo]

    assert seen
    assert t0[judged].min() == first
    assert result.evidence.since >= first
    assert result.leaking_pairs == 0
    assert result.challenger.log_growth.index.equals(result.champion.log_growth.index)
    assert len(result.probability) >= judged.sum() - 4


def test_a_champion_of_other_features_is_no_comparison(planted):
    """The verdict names what is missing; nothing is promoted."""
    config, rows, _, development, _, found, _ = planted
    other = dataclasses.replace(rows, data=rows.data.add_prefix("other_"))
    champion = champion_of(
        other, config, found.best_params, development.label_times.max()
    )
    decision = against(planted, champion)

    assert decision.verdict.outcome == "refused"
    assert "cannot be compared" in decision.verdict.reason


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_holding", 20),
        ("barrier_width", 2.0),
        ("label_set", "mine"),
        ("feature_set", "mine"),
    ],
)
def test_a_champion_of_other_sets_is_no_comparison(planted, name, value):
    """Settings that define its labels and features are named; nothing is fitted.

    Columns of one name in two sets may hold other values.
    """
    config, rows, _, development, _, found, _ = planted
    champion = champion_of(
        rows, config, found.best_params, development.label_times.max()
    )
    card = {"config": config.to_dict() | {name: value}}
    decision = against(planted, dataclasses.replace(champion, card=card))

    assert decision.verdict.outcome == "refused"
    assert f"{name} is {value!r} there and" in decision.verdict.reason
    assert "retrain with its settings" in decision.verdict.reason
    assert decision.contest.challenger is None


def test_a_champion_of_features_defined_otherwise_is_no_comparison(planted):
    """One name with another spec is another set; a card that tells none is believed.

    What is said of the built-in features may be put otherwise.
    """
    config, rows, _, development, _, found, _ = planted
    mine = (dataclasses.replace(config, feature_set="mine"), *planted[1:])
    champion = champion_of(
        rows, config, found.best_params, development.label_times.max()
    )
    said = [
        against(
            case,
            dataclasses.replace(champion, card={"data": data}),
            feature_spec="new",
        ).contest.problem
        for case, data in (
            (mine, {"feature_spec_sha256": "old"}),
            (mine, {"feature_spec_sha256": "new"}),
            (mine, {}),
            (planted, {"feature_spec_sha256": "old"}),
        )
    ]

    assert "feature_set 'mine' had another spec" in said[0]
    assert "skatra models promote" in said[0]
    assert said[1:] == [None, None, None]


def test_what_is_beyond_the_calendar_is_never(planted):
    """Thin data and large demands overflow nothing: gate, card and ages say never."""
    config, rows, bars, development, held_out, _, _ = planted
    config = dataclasses.replace(config, gate={"min_blocks": 10**6})
    until = development.label_times.max()
    found = find_evidence(rows, held_out, bars, config)
    told = as_text(enough_after(rows, bars, config, until))
    verdict = gate(facing(STEADY, evidence=found), bounds=config.gate)

    assert as_text(found.enough_from) == told == "never"
    assert "not enough evidence, and never will be." in verdict.reason
    assert stale_from({"judgeable_from": told}, until) == found.enough_from
    old = Champion("old", None, {"judgeable_from": told}, until)
    now = until + pd.Timedelta("9000D")
    _Rules(now, pd.Timedelta("5D"), None, False).refuse_old(old)
    with pytest.raises(StaleModelError, match="never be enough"):
        _Rules(now, pd.Timedelta("5D"), pd.Timedelta("9D"), False).refuse_old(old)


def test_a_small_hold_out_makes_no_champion_ageless(planted):
    """How long it is served depends on bars after its training, not on the hold-out."""
    config, rows, bars, *_ = planted
    small = dataclasses.replace(config, holdout=0.03)
    until = rows.label_times.max()
    _, held_out = split_holdout(rows, small)
    champion = Champion("old", None, {}, until)
    served = enough_after(rows, bars, small, until)

    assert served == enough_after(rows, bars, config, until)
    assert served < find_evidence(rows, held_out, bars, small, champion).enough_from


def book(growth, longest=1):
    """Return a book that grows like this."""
    days = pd.date_range("2020-01-01", periods=len(growth), tz="UTC")
    series = pd.Series(np.asarray(growth, dtype=float), index=days)
    return Backtest(series, series * 0 + 0.5, series * 0, longest, 252.0)


def facing(growth, said=0.6, blocks=500, **changes):
    """Return a contest against cash in which all is well but for the changes."""
    n = len(growth)
    served = "old" if "champion" in changes else None
    index = pd.MultiIndex.from_product(
        [["A"], pd.date_range("2020-01-01", periods=n, tz="UTC")]
    )
    whole = Contest(
        book(growth),
        None,
        Evidence(np.ones(n, bool), index[0][1], blocks, 30, index[-1][1], served),
        pd.Series(said, index=index),
        0.5,
        np.arange(n) % 5 < 3,
        0.5,
        0,
    )
    return dataclasses.replace(whole, **changes)


STEADY = 0.001 + 0.001 * np.sin(np.arange(500.0))
FALL = np.r_[np.full(200, 0.01), np.full(20, -0.05), np.full(280, 0.02)]


@pytest.mark.parametrize(
    ("case", "name"),
    [
        (facing(STEADY), None),
        (facing(STEADY, leaking_pairs=1), "leaking pairs"),
        (facing(STEADY, blocks=29), "independent blocks"),
        (facing(-STEADY), "growth, lower bound"),
        (facing(FALL), "drawdown"),
        (facing(STEADY, said=0.01), "calibration"),
        (facing(STEADY, stake=0.0005), "mean stake"),
        (facing(STEADY, champion=book(STEADY + 1e-4)), "growth, lower bound"),
        (facing(STEADY, champion=book(STEADY)), "growth, lower bound"),
        (facing(STEADY, champion=book(-STEADY), stake=0.0), None),
    ],
)
def test_each_bound_refuses_alone(case, name):
    """What is out of bounds is named; nothing else has to be wrong."""
    verdict = gate(case, bounds=GateBounds())
    failed = [check.name for check in verdict.checks if not check.passed]

    assert verdict.promoted == (name is None)
    assert failed[:1] == ([] if name is None else [name])


def test_many_trials_deflate_a_record():
    """What convinces as one trial is luck as the best of ten thousand."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(1000, 20)) * 0.01
    record = 0.0009 + 0.01 * rng.standard_normal(1000)
    once = gate(facing(record), bounds=GateBounds(), n_trials=1)
    often = gate(facing(record), bounds=GateBounds(), trials=noise, n_trials=10_000)
    value = {
        verdict: next(c for c in verdict.checks if c.name == "deflated Sharpe ratio")
        for verdict in (once, often)
    }

    assert value[once].passed
    assert not value[often].passed
    assert "After 10000 trials" in value[often].sentence


@pytest.mark.parametrize(("common", "low", "high"), [(1, 1, 1.01), (0, 60, 64.01)])
def test_books_that_stand_for_more_candidates_keep_their_likeness(common, low, high):
    """Sixteen equal books of 64 candidates are one trial, independent ones are 64."""
    rng = np.random.default_rng(0)
    books = common * rng.normal(size=(2000, 1)) + (1 - common) * rng.normal(
        size=(2000, 16)
    )
    made = _Trials(0.01 * books, 64, 64)

    assert made.n == 64
    assert low <= made.independent <= high


@pytest.mark.parametrize("n_candidates", [1, 2, 20])
def test_every_further_trial_deflates(n_candidates):
    """The ratio falls with the trials made, however few candidates this grid has.

    Candidates that are alike count as one, every other trial as one more: worthless
    ones, whose ratios have the standard error of one record.
    """
    rng = np.random.default_rng(0)
    record = 0.0009 + 0.01 * rng.standard_normal(1000)
    shared = rng.normal(size=1000) * 0.01
    trials = shared[:, None] + 1e-5 * rng.normal(size=(1000, n_candidates))
    counts = (20, 40, 80, 1000)
    values = [
        next(
            check.value
            for check in gate(
                facing(record), bounds=GateBounds(), trials=trials, n_trials=n_trials
            ).checks
            if check.name == "deflated Sharpe ratio"
        )
        for n_trials in counts
    ]
    error = 1 / np.sqrt(1000)
    strict, alike = (
        [deflated_sharpe_ratio(np.expm1(record), n - less, error) for n in counts]
        for less in (0, n_candidates - 1)
    )

    assert all(later < earlier for earlier, later in pairwise(values))
    np.testing.assert_array_less(values, np.array(alike) + 1e-12)
    np.testing.assert_array_less(np.array(strict) - 1e-12, values)


@pytest.mark.parametrize(
    ("case", "bound", "value"),
    [
        (facing(STEADY, leaking_pairs=1), "max_leaking_pairs", 1),
        (facing(STEADY, blocks=29), "min_blocks", 29),
        (facing(STEADY, champion=book(STEADY + 1e-6)), "min_growth", -0.01),
        (facing(FALL), "max_drawdown", 0.7),
        (facing(STEADY, said=0.01), "max_excess_loss", 9.0),
        (facing(STEADY, stake=0.0005), "min_stake", 0.0005),
    ],
)
def test_a_wider_bound_lets_pass_what_it_bounds(case, bound, value):
    """A check that fails by default passes under its own bound, which it shows."""
    wide = {bound: value} | ({"min_deflated_sharpe": 0.0} if case.champion else {})
    tight = gate(case, bounds=GateBounds())
    (name, *_) = [check.name for check in tight.checks if not check.passed]
    verdict = gate(case, bounds=GateBounds(**wide))
    (check,) = [check for check in verdict.checks if check.name == name]

    assert (check.passed, check.bound) == (True, value)
    assert verdict.promoted


def test_strict_bounds_refuse_what_passes_by_default():
    """Growth, PBO and the deflated Sharpe ratio are refused beyond their bounds."""
    rng = np.random.default_rng(0)
    trials = rng.normal(size=(500, 20))
    case = facing(0.003 + 0.01 * rng.standard_normal(500))
    usual = gate(case, bounds=GateBounds())
    growth = next(c for c in usual.checks if c.name == "growth, lower bound")
    bounds = GateBounds(
        min_growth=growth.value, max_overfitting=0.0, min_deflated_sharpe=1.0
    )
    failed = {
        c.name: c.bound
        for c in gate(case, bounds=bounds, trials=trials).checks
        if not c.passed
    }

    assert usual.promoted
    assert failed == {
        "growth, lower bound": growth.value,
        "overfitting": 0.0,
        "deflated Sharpe ratio": 1.0,
    }


def test_bounds_are_among_the_inputs_of_a_run():
    """A run under other bounds is another run: it may come to another verdict."""
    strict, usual, same = (
        RetrainConfig(database="d", models="m", gate=gate)
        for gate in ({"max_drawdown": 0.1}, {}, GateBounds())
    )

    assert inputs_digest({}, usual) == inputs_digest({}, same)
    assert inputs_digest({}, usual) != inputs_digest({}, strict)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("confidence", 0.5),
        ("confidence", "high"),
        ("max_drawdown", 1.5),
        ("max_overfitting", math.nan),
        ("min_growth", math.inf),
        ("min_blocks", 1),
        ("min_blocks", 30.5),
        ("min_stake", -1),
        ("max_leaking_pairs", -1),
        ("min_deflated_sharpe", True),
    ],
)
def test_bounds_that_bound_nothing_are_refused(name, value):
    """The parameter is named, with what it got."""
    with pytest.raises(ValueError, match=f"{name} must"):
        GateBounds(**{name: value})


def test_a_bound_that_does_not_exist_is_named():
    """A misspelt bound never leaves the gate as it was without a word."""
    with pytest.raises(ValueError, match=r"max_drawdwn.*max_drawdown"):
        RetrainConfig(database="d", models="m", gate={"max_drawdwn": 0.1})
