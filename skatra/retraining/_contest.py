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
from skatra.retraining._session import Outcome, Session, Task
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
    other = _other_bets(champion, config) or _other_features(
        champion, config, feature_spec
    )
    if other:
        return replace(empty, problem=other)
    if not evidence.enough:
        return empty
    try:
        theirs = champion.model.decision_function(
            judged.data[list(champion.model.feature_names_in_)]
        )
    except (KeyError, ValueError) as error:
        return replace(empty, problem=str(error))
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
    champion: Champion, config: RetrainConfig, feature_spec: str | None
) -> str | None:
    """Say that equal names of columns stand for other features, as far as is told."""
    theirs = champion.card.get("config", {}).get("feature_set", config.feature_set)
    if theirs != config.feature_set:
        return (
            f"it learned other features (feature_set is {theirs!r} there and "
            f"{config.feature_set!r} here)."
        )
    before = champion.card.get("data", {}).get("feature_spec_sha256", feature_spec)
    if feature_spec is not None and before != feature_spec:
        return f"feature_set {theirs!r} had another spec when it learned from it."
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
