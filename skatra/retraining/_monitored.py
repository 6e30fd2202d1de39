"""What retraining and signals tell monitoring; nothing is worked out when off."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skatra import monitoring
from skatra.datasets import Database
from skatra.exceptions import SkatraError
from skatra.model_selection import PurgedKFold, audit_splits
from skatra.retraining._dataset import Rows
from skatra.retraining._registry import (
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
        trained=(models / run_id).stat().st_mtime,
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


def stored_signals(db: Database, run_id: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the signals in the database for these bars, NaN where there is none."""
    if not monitoring.is_enabled():
        return frame
    times = frame.index.get_level_values(1)
    before = db.signals(run_id, start=times.min(), end=times.max())
    return before[list(frame.columns)].reindex(frame.index)


def record_round(
    X: pd.DataFrame,
    frame: pd.DataFrame,
    before: pd.DataFrame,
    closed: pd.DataFrame,
    exposure: float,
) -> None:
    """Count the signals written, those held back, and the bets settled.

    Features and probabilities count once a bar, however often it is scored.
    """
    if not monitoring.is_enabled():
        return
    is_new = before["probability"].isna().to_numpy()
    monitoring.record_features(MODEL, X[is_new])
    monitoring.record_probabilities(MODEL, frame["probability"][is_new])
    stored = (before == frame).all(axis=1)
    counts: Counter[tuple[str, str]] = Counter()
    position = frame.loc[~stored, "position"]
    for symbol, stake in zip(position.index.get_level_values(0), position, strict=True):
        if stake:
            counts[str(symbol), "long" if stake > 0 else "short"] += 1
    monitoring.record_signals(
        STRATEGY,
        counts,
        exposure=exposure,
        suppressed={
            "no_edge": int((position == 0).sum()),
            "duplicate": int(stored.sum()),
        },
    )
    if len(closed):
        monitoring.record_outcomes(MODEL, closed["probability"], closed["ret"] > 0)
