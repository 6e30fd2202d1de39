"""Champion and challenger as two books on rows that neither has learned from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone

from skatra.model_selection import PurgedWalkForward, audit_splits
from skatra.retraining._config import RetrainConfig
from skatra.retraining._dataset import Rows
from skatra.retraining._evaluation import Backtest, backtest_positions
from skatra.retraining._evidence import Evidence, find_evidence
from skatra.retraining._registry import Champion
from skatra.retraining._session import Observer, Outcome, Session, Task
from skatra.retraining._steps import (
    Holdout,
    fit_inner,
    inner_classifier,
    kelly_classifier,
    model_params,
    predict_fold,
    purged_kfold,
    routing,
    stopping,
)
from skatra.typing import FloatArray, Split

WALK_FORWARD_FITS = 4
MOST_TRIALS = 16
"""Candidates that the gate compares, spread evenly over their ranks."""
_WAY_OUT = "Promote by hand, or retrain with its settings."
_SIDES = {"both": (-1.0, 1.0), "long": (0.0, 1.0), "short": (-1.0, 0.0)}


@dataclass(frozen=True, slots=True)
class Contest:
    """A challenger, and perhaps a champion, on the same rows.

    Attributes
    ----------
    challenger, champion : Backtest or None
        Their books; the champion's is None when there is none, both are when rows
        are too few to be worth a fit.
    evidence : Evidence
        Which rows those are, and whether they are enough.
    probability : Series, index (symbol, t0)
        What the challenger said, calibrated.
    stake : float
        Mean absolute position of the challenger.
    positive : ndarray of shape (n,), bool
        What came.
    base_rate : float
        Share of positive labels before these rows.
    leaking_pairs : int
        Pairs of a fitted and a judged row whose labels overlap.
    problem : str or None
        Why the champion could not be compared.
    """

    challenger: Backtest | None
    champion: Backtest | None
    evidence: Evidence
    probability: "pd.Series[float]"
    stake: float
    positive: NDArray[np.bool_]
    base_rate: float
    leaking_pairs: int
    problem: str | None = None


def alone(
    development: Rows,
    held_out: Rows,
    judged: Holdout,
    leaking_pairs: int,
    evidence: Evidence,
) -> Contest:
    """Return the held-out rows as a contest without a champion."""
    return Contest(
        judged.backtest,
        None,
        evidence,
        judged.probability,
        judged.scores["mean_absolute_position"],
        held_out.target.to_numpy() > 0,
        float((development.target > 0).mean()),
        leaking_pairs,
    )


def contest(
    rows: Rows,
    held_out: Rows,
    bars: pd.DataFrame,
    params: dict[str, Any],
    config: RetrainConfig,
    champion: Champion,
    session: Session,
    feature_spec: str | None = None,
) -> Contest:
    """Follow both books over the unseen rows, the challenger fitted walking forward.

    Where those rows hold too few blocks nothing is fitted.
    """
    evidence = find_evidence(rows, held_out, bars, config, champion)
    unseen = evidence.unseen
    judged = rows.take(unseen)
    empty = Contest(
        None,
        None,
        evidence,
        pd.Series(dtype=np.float64),
        0.0,
        np.zeros(0, dtype=bool),
        float((rows.target[~unseen] > 0).mean()) if not unseen.all() else 0.5,
        0,
    )
    if other := incomparable(champion, config, rows, feature_spec):
        return replace(empty, problem=other)
    if not evidence.enough:
        return empty
    try:
        theirs = champion.model.decision_function(
            judged.data[list(champion.model.feature_names_in_)]
        )
    except (KeyError, ValueError) as error:
        return replace(empty, problem=f"{error} {_WAY_OUT}")
    splits = _walk_forward(rows, unseen)
    with routing():
        model = kelly_classifier(
            config, purged_kfold(config), params, session.make_model
        )
    told = model_params(config, params)
    work = partial(predict_fold, model)
    outcomes = session.run(rows, [Task("gate", told, s, work) for s in splits])
    tested = np.concatenate([test for _, test in splits])
    order = np.argsort(tested)
    probability, mine = (
        np.concatenate([arrays[name] for _, arrays in outcomes])[order]
        for name in ("p", "f")
    )
    # Rows at the border that no block tests are left out for both.
    kept = np.isin(np.flatnonzero(unseen), tested)
    judged = judged.take(kept)
    books = [
        backtest_positions(
            pd.Series(positions, index=judged.data.index) * judged.side,
            judged.label_times,
            bars,
            cost=config.cost,
        )
        for positions in (mine, np.asarray(theirs)[kept])
    ]
    with routing():
        audit = audit_splits(splits, rows.data, label_times=rows.label_times)
    return Contest(
        books[0],
        books[1],
        evidence,
        pd.Series(probability, index=judged.data.index),
        float(np.mean(np.abs(mine))),
        judged.target.to_numpy() > 0,
        empty.base_rate,
        int(audit.n_leaking_pairs),
    )


def meet(
    rows: Rows,
    held_out: Rows,
    bars: pd.DataFrame,
    config: RetrainConfig,
    champion: Champion | None,
    feature_spec: str | None,
    observe: Observer | None = None,
) -> Evidence:
    """Return what a challenger will be judged on, all that is known before the search.

    Who observes is told of a champion that cannot be compared.
    """
    problem = incomparable(champion, config, rows, feature_spec)
    if problem is not None and observe is not None:
        observe({"event": "incomparable", "problem": problem})
    found = find_evidence(rows, held_out, bars, config, champion)
    return replace(found, problem=problem)


def incomparable(
    champion: Champion | None,
    config: RetrainConfig,
    rows: Rows,
    feature_spec: str | None = None,
) -> str | None:
    """Say why a champion cannot be compared with what a run trains, and what to do.

    None is the answer where it can, and for cash. No model is needed to tell.
    """
    if champion is None:
        return None
    other = _other_bets(champion, config) or _other_features(champion, config, rows)
    if other:
        return f"{other} {_WAY_OUT}"
    before = champion.card.get("data", {}).get("feature_spec_sha256", feature_spec)
    if config.feature_set == "base" or feature_spec is None or before == feature_spec:
        return None
    return (
        f"feature_set {config.feature_set!r} had another spec when it learned from it. "
        "Where that only says when the set was made, store the set with the same spec "
        "every time, the champion's, or promote this run's model by hand (skatra "
        "models promote) and keep its spec; else only the latter."
    )


def _other_bets(champion: Champion, config: RetrainConfig) -> str | None:
    """Say in which settings of their labels the champion and the run differ."""
    theirs = champion.card.get("config", {})
    names = ["label_set"]
    if config.label_set == "triple_barrier":
        names += ["max_holding", "barrier_width"]
    differ = [
        f"{name} is {theirs[name]!r} there and {getattr(config, name)!r} here"
        for name in names
        if name in theirs and theirs[name] != getattr(config, name)
    ]
    return f"it bets on other labels ({', '.join(differ)})." if differ else None


def _other_features(
    champion: Champion, config: RetrainConfig, rows: Rows
) -> str | None:
    """Say which features the champion learned that these rows do not have.

    The built-in ones are told by their names, whatever is said of their formulas.
    """
    theirs = champion.card.get("config", {}).get("feature_set", config.feature_set)
    if theirs != config.feature_set:
        return (
            f"it learned other features (feature_set is {theirs!r} there and "
            f"{config.feature_set!r} here)."
        )
    here = {str(name) for name in rows.data.columns}
    names = [str(name) for name in champion.model.feature_names_in_]
    if missing := [name for name in names if name not in here]:
        return f"it learned features that are not there any more: {missing}."
    return None


def _walk_forward(rows: Rows, unseen: NDArray[np.bool_]) -> list[Split]:
    """Cut the unseen rows into blocks, each with all the past to train on."""
    size = -(-int(unseen.sum()) // WALK_FORWARD_FITS)
    cv = PurgedWalkForward(WALK_FORWARD_FITS, test_size=size)
    with routing():
        splits = list(cv.split(rows.data, label_times=rows.label_times))
    return [(train, test[unseen[test]]) for train, test in splits]


def trial_growth(
    rows: Rows,
    bars: pd.DataFrame,
    candidates: Sequence[dict[str, Any]],
    config: RetrainConfig,
    session: Session,
) -> FloatArray:
    """Return each candidate's growth bar by bar, predicted out of fold.

    Positions are the probability's distance from the base rate, uncalibrated: what
    the choice among candidates was made on, as books that can be compared.

    Returns
    -------
    ndarray of shape (n_bars, n_candidates)
    """
    with routing():
        splits = list(
            purged_kfold(config).split(rows.data, label_times=rows.label_times)
        )
    told = {"seed": config.seed, "raw": True, **stopping(config)}
    outcomes = session.run(
        rows,
        [
            Task(
                "gate",
                {"lightgbm": dict(params), **told},
                split,
                partial(
                    _raw_fold, inner_classifier(config, params, session.make_model)
                ),
            )
            for params in candidates
            for split in splits
        ],
    )
    low, high = _SIDES[config.side]
    columns = []
    for k in range(len(candidates)):
        positions = np.zeros(len(rows))
        mine = outcomes[k * len(splits) : (k + 1) * len(splits)]
        for (_, test), (_, arrays) in zip(splits, mine, strict=True):
            positions[test] = np.clip(arrays["f"], low, high)
        staked = pd.Series(positions, index=rows.data.index) * rows.side
        book = backtest_positions(staked, rows.label_times, bars, cost=config.cost)
        columns.append(book.log_growth.to_numpy())
    return np.column_stack(columns)


def _raw_fold(model: Any, train: Rows, test: Rows) -> Outcome:
    """Return how far each probability of the test rows is from the base rate."""
    with routing():
        fitted = fit_inner(clone(model), train)
    said = fitted.predict_proba(test.data)[:, 1]
    base = np.average(train.target > 0, weights=train.sample_weight)
    return {}, {"f": said - base}
