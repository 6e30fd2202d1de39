"""What the tuned model leans on, measured where its labels cannot leak."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from joblib import parallel_config

from skatra.inspection import mean_decrease_importance
from skatra.retraining._config import RetrainConfig
from skatra.retraining._dataset import Rows
from skatra.retraining._session import Session
from skatra.retraining._steps import (
    lightgbm_classifier,
    purged_kfold,
    routing,
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
    session.stop_if_asked()
    columns = development.data.shape[1]
    rows, measured_on = development, "development rows"
    if len(development) * columns > MOST_CELLS:
        count = min(len(held_out), max(1, MOST_CELLS // columns))
        rows = held_out.take(range(len(held_out) - count, len(held_out)))
        measured_on = "held-out rows"
    make_model = session.make_model or lightgbm_classifier
    with routing(), parallel_config("threading"):
        found = mean_decrease_importance(
            make_model(config, params),
            rows.data,
            rows.target,
            cv=purged_kfold(config),
            scoring=weighted_log_loss(),
            params={
                "sample_weight": rows.sample_weight,
                "label_times": rows.label_times,
            },
            n_repeats=N_REPEATS,
            random_state=config.seed,
            n_jobs=config.n_jobs,
        )
    table = found.to_frame().join(found.interval())
    return Importance(
        table.rename_axis("feature").reset_index(), measured_on, len(rows)
    )
