"""From a search and held-out rows to a verdict, against whatever is served."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier

from skatra.exceptions import ModelNotFoundError
from skatra.retraining._config import RetrainConfig
from skatra.retraining._contest import (
    MOST_TRIALS,
    Contest,
    alone,
    contest,
    trial_growth,
)
from skatra.retraining._dataset import Rows
from skatra.retraining._evidence import find_evidence
from skatra.retraining._gate import Verdict, gate
from skatra.retraining._references import intervals
from skatra.retraining._registry import (
    POINTER_FILE,
    Champion,
    read_card,
    read_champion,
)
from skatra.retraining._session import Session
from skatra.retraining._steps import Holdout, SearchResult


@dataclass(frozen=True, slots=True)
class Decision:
    """The gate's verdict and what it rests on.

    Attributes
    ----------
    verdict : Verdict
    contest : Contest
    intervals : dict of str to [float, float]
        Two-sided intervals of the judged figures.
    """

    verdict: Verdict
    contest: Contest
    intervals: dict[str, list[float]]

    def to_card(self) -> dict[str, Any]:
        """Return what a model's card keeps of it."""
        return {
            "promoted": self.verdict.promoted,
            "outcome": self.verdict.outcome,
            "reason": self.verdict.reason,
            **self.contest.evidence.met,
            "judged_since": self.contest.evidence.since.isoformat(),
            "intervals": self.intervals,
        }

    def comparison(self) -> dict[str, Any]:
        """Return the paired comparison; against cash when nothing is served."""
        mine, theirs = (
            None if book is None else book.summary()["log_growth_per_year"]
            for book in (self.contest.challenger, self.contest.champion)
        )
        cash = self.verdict.champion_id is None
        served = 0.0 if cash else theirs
        paired = "log_growth_per_year" if cash else "log_growth_above_champion_per_year"
        return {
            "outcome": self.verdict.outcome,
            "reason": self.verdict.reason,
            "champion": self.verdict.champion_id,
            "since": self.contest.evidence.since.isoformat(),
            "blocks": int(self.contest.evidence.blocks),
            "problem": self.contest.problem,
            "challenger_log_growth_per_year": mine,
            "champion_log_growth_per_year": served,
            "difference_per_year": None
            if mine is None or served is None
            else mine - served,
            "interval": self.intervals.get(paired),
        }


def decide(
    rows: Rows,
    development: Rows,
    held_out: Rows,
    judged: Holdout,
    bars: pd.DataFrame,
    found: SearchResult,
    config: RetrainConfig,
    session: Session,
    *,
    leaking_pairs: int,
    champion: Champion | None = None,
    n_trials: int = 1,
    feature_spec: str | None = None,
) -> Decision:
    """Judge the tuned model on rows that neither it nor the champion has seen.

    Without a champion those are the held-out rows, and cash is what it must beat.
    """
    bounds = config.gate
    if champion is None:
        evidence = find_evidence(rows, held_out, bars, config)
        facing = alone(development, held_out, judged, leaking_pairs, evidence)
    else:
        facing = contest(
            rows,
            held_out,
            bars,
            found.best_params,
            config,
            champion,
            session,
            feature_spec,
        )
    trials, candidates = None, _candidates(found)
    if facing.challenger is not None:
        n_trials = max(n_trials, len(candidates))
        if len(candidates) > 1:
            chosen = np.unique(
                np.linspace(0, len(candidates) - 1, MOST_TRIALS, dtype=int)
            )
            some = [candidates[k] for k in chosen]
            trials = trial_growth(development, bars, some, config, session)
    verdict = gate(
        facing,
        bounds=bounds,
        trials=trials,
        n_trials=n_trials,
        n_candidates=len(candidates),
        seed=config.seed,
    )
    return Decision(verdict, facing, intervals(facing, bounds.confidence, config.seed))


def _candidates(found: SearchResult) -> list[dict[str, Any]]:
    """Return the parameters of every candidate, the best first."""
    known = set(LGBMClassifier().get_params())
    names = [name for name in found.table.columns if name in known]
    shared = {k: v for k, v in found.best_params.items() if k not in names}
    return [
        {**shared, **dict(zip(names, values, strict=True))}
        for values in zip(*(found.table[name].tolist() for name in names), strict=True)
    ]


def served_champion(models: Path) -> Champion | None:
    """Return the served model, None if none is promoted.

    Raises
    ------
    ModelCorruptError
        If it, or the pointer to it, is damaged.
    """
    return read_champion(models) if (models / POINTER_FILE).exists() else None


def opponent(
    served: Champion | None, models: Path, inputs: str, repeated: str | None = None
) -> Champion | None:
    """Return the model to be judged against, None for cash.

    A run that is repeated, by name or since it has the inputs of the served model,
    meets the champion that it met the first time, not itself: so it comes to the same
    verdict. Where that one was tidied away it meets the one that is served.
    """
    if repeated is not None:
        card = read_card(models / repeated)
    elif served is not None and served.card.get("inputs_sha256") == inputs:
        card = served.card
    else:
        return served
    before = card.get("judged_against")
    if before is None:
        return None
    try:
        return read_champion(models, before, card.get("withdrawn"))
    except ModelNotFoundError:
        return served
