"""What the tuned model leans on, measured where its labels cannot leak."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from skatra.inspection import FeatureImportance, mean_decrease_importance
from skatra.retraining._config import RetrainConfig
from skatra.retraining._dataset import Rows
from skatra.retraining._early_stopping import PurgedEarlyStoppingClassifier
from skatra.retraining._session import Outcome, Session, Task
from skatra.retraining._steps import (
    inner_classifier,
    purged_kfold,
    routing,
    stopping,
    weighted_log_loss,
)
from skatra.utils import json_ready

N_REPEATS = 2
MOST_CELLS = 2_000_000
"""Rows times features above which only held-out rows are looked at."""


@dataclass(frozen=True, slots=True)
class Importance:
    """Loss added by shuffling each feature, over purged folds.

    Attributes
    ----------
    table : DataFrame
        Columns feature, mean, standard_error, low, high (95 % by Student's t over
        folds), the most important first; in units of log loss.
    measured_on : {"development rows", "held-out rows"}
        Held-out rows, the last of them, when the development rows are too many.
    rows : int
    """

    table: pd.DataFrame
    measured_on: str
    rows: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures, ready for JSON."""
        found: dict[str, Any] = json_ready(
            {
                "measured_on": self.measured_on,
                "rows": self.rows,
                "repeats": N_REPEATS,
                "features": self.table.to_dict(orient="records"),
            }
        )
        return found


def measure_importance(
    development: Rows,
    held_out: Rows,
    params: Mapping[str, Any],
    config: RetrainConfig,
    session: Session,
) -> Importance:
    """Shuffle each feature in purged folds; the cost is bounded whatever the rows."""
    columns = development.data.shape[1]
    rows, measured_on = development, "development rows"
    if len(development) * columns > MOST_CELLS:
        count = min(len(held_out), max(1, MOST_CELLS // columns))
        rows = held_out.take(range(len(held_out) - count, len(held_out)))
        measured_on = "held-out rows"
    with routing():
        splits = list(
            purged_kfold(config).split(rows.data, label_times=rows.label_times)
        )
    told = {"lightgbm": dict(params), "seed": config.seed, **stopping(config)}
    model = inner_classifier(config, params, session.make_model)
    work = partial(_shuffle_fold, model, config.seed)
    outcomes = session.run(rows, [Task("importance", told, s, work) for s in splits])
    found = FeatureImportance(
        pd.DataFrame(
            [arrays["added_loss"] for _, arrays in outcomes], columns=rows.data.columns
        )
    )
    table = found.to_frame().join(found.interval())
    return Importance(
        table.rename_axis("feature").reset_index(), measured_on, len(rows)
    )


def _shuffle_fold(model: Any, seed: int, train: Rows, test: Rows) -> Outcome:
    """Return the loss that shuffling each feature adds in one fold."""
    both = [train, test]
    params = {"sample_weight": pd.concat([rows.sample_weight for rows in both])}
    if isinstance(model, PurgedEarlyStoppingClassifier):
        params["label_times"] = pd.concat([rows.label_times for rows in both])
    places = np.arange(len(train) + len(test))
    with routing():
        found = mean_decrease_importance(
            model,
            pd.concat([rows.data for rows in both]),
            pd.concat([rows.target for rows in both]),
            cv=[(places[: len(train)], places[len(train) :])],
            scoring=weighted_log_loss(),
            params=params,
            n_repeats=N_REPEATS,
            random_state=seed,
        )
    return {}, {"added_loss": found.per_fold.to_numpy()[0]}
