"""What retraining and signals tell monitoring; nothing is worked out when off."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skatra import monitoring
from skatra.exceptions import SkatraError
from skatra.model_selection import PurgedKFold, audit_splits
from skatra.retraining._dataset import Rows
from skatra.retraining._registry import (
    CARD_FILE,
    POINTER_FILE,
    read_card,
    read_champion,
    read_pointer,
)

MODEL = "champion"
STRATEGY = "kelly"


def record_served(
    models: Path,
    run_id: str,
    card: Mapping[str, Any],
    refused_from: pd.Timestamp | None = None,
) -> None:
    """Say which model is served, what it saw in training and when it is refused.

    Only signals know when they refuse it, which their options move: a retrain says
    nothing of it.
    """
    if not monitoring.is_enabled():
        return
    data, until = card["data"], pd.Timestamp(card["trained_until"])
    monitoring.record_model(
        MODEL,
        version=run_id,
        algorithm="LGBMClassifier",
        trained=(models / run_id / CARD_FILE).stat().st_mtime,
        data_end=until.timestamp(),
        stale_from=None if refused_from is None else refused_from.timestamp(),
        n_rows=data["rows"],
    )
    if references := card.get("references"):
        counts = np.asarray(references["probability"]["counts"])
        centres = (np.arange(len(counts)) + 0.5) / len(counts)
        monitoring.set_reference(
            MODEL, np.repeat(centres, counts), references["features"]
        )


def record_champion(models: Path) -> float | None:
    """Say which model is served before a run; return when it was promoted.

    A run that ends without a promotion leaves this as it is. No champion, or a damaged
    one, is not for monitoring to complain about.
    """
    if not monitoring.is_enabled():
        return None
    try:
        run_id, card = read_pointer(models)["run_id"], read_card(models)
        record_served(models, run_id, card)
        return (models / POINTER_FILE).stat().st_mtime
    except (SkatraError, OSError, KeyError):
        return None


def announce_champion(models: Path) -> bool:
    """Say what will be served, its counters at zero; return whether there is any."""
    try:
        champion = read_champion(models)
    except (SkatraError, OSError):
        return False  # the first round says what is wrong
    record_served(models, champion.run_id, champion.card)
    return True


def record_validation(
    cv: PurgedKFold, rows: Rows, figures: Sequence[Mapping[str, float]]
) -> None:
    """Keep what each fold of the tuned model scored, and the rows it left out."""
    if not monitoring.is_enabled():
        return
    audit = audit_splits(cv, rows.data, label_times=rows.label_times)
    folds = audit.to_frame().to_dict("records")
    for fold, (row, scores) in enumerate(zip(folds, figures, strict=True)):
        monitoring.record_fold(
            MODEL,
            fold,
            scores,
            n_train=row["train"],
            n_purged=row["purged"],
            n_embargoed=row["embargoed"],
        )


def record_round(
    X: pd.DataFrame,
    new: pd.DataFrame,
    n_before: int,
    closed: pd.DataFrame,
    exposure: float,
    cut: "pd.Series[str]",
) -> None:
    """Count the signals of bars not signalled before, and the bets settled.

    ``n_before`` symbols had their bet before: a bar counts once, however often it is
    scored, and its stake as the limits left it, of which one may have ``cut`` it. What
    that leaves nothing of had an edge.
    """
    if not monitoring.is_enabled():
        return
    monitoring.record_features(MODEL, X)
    monitoring.record_probabilities(MODEL, new["probability"])
    reasons = Counter(reason for reason in cut if reason)
    monitoring.record_positions(STRATEGY, new["position"], cut=reasons)
    counts: Counter[tuple[str, str]] = Counter()
    for symbol, stake in zip(
        new.index.get_level_values(0), new["position"], strict=True
    ):
        if stake:
            counts[str(symbol), "long" if stake > 0 else "short"] += 1
    monitoring.record_signals(
        STRATEGY,
        counts,
        exposure=exposure,
        suppressed={
            "no_edge": sum(
                not stake and not reason
                for stake, reason in zip(new["position"], cut, strict=True)
            ),
            "duplicate": n_before,
        },
    )
    if len(closed):
        monitoring.record_outcomes(MODEL, closed["probability"], closed["ret"] > 0)
