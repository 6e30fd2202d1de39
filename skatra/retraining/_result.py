"""What a run found, as one object that the terminal, JSON and report all read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.special import stdtrit

from skatra.retraining._backtests import Paths
from skatra.retraining._checks import DataReport
from skatra.retraining._config import RetrainConfig
from skatra.retraining._dataset import Rows
from skatra.retraining._decision import Decision
from skatra.retraining._gate import Verdict
from skatra.retraining._importance import Importance
from skatra.retraining._references import fold_rows
from skatra.retraining._steps import (
    DEFAULT_MODEL,
    NAIVE,
    PURGED,
    TUNED_MODEL,
    Holdout,
    OutOfFold,
    SearchResult,
)
from skatra.utils import HTMLRepr, format_number, json_ready


@dataclass(frozen=True, slots=True)
class RetrainResult(HTMLRepr):
    """Everything a run of :func:`retrain` found.

    Attributes
    ----------
    title : str
        What was learned from, for people.
    config : RetrainConfig
    rows : Rows
        The rows that the run learned from.
    data : dict
        Counts and dates of the rows.
    splitters : tuple of OutOfFold
        Default and tuned model under shuffled KFold, TimeSeriesSplit, PurgedKFold.
    search : SearchResult
    holdout : Holdout
    verdict : Verdict
    bars : DataFrame
        The bars behind the rows.
    lineage : dict
        Data hash, code and package versions, seed.
    run_id : str
        Identity of the model: the same data, settings and code give the same id.
    model_path : Path
        Folder of the published model.
    paths : Paths
        Combinatorial purged backtest paths of the tuned model.
    trials : dict
        Models ever tried on these data and symbols, and what that makes of the
        held-out Sharpe ratio.
    checks : DataReport
        Problems of the data that were waived.
    decision : Decision
        What the verdict rests on: both books and their intervals.
    importance : Importance
        Loss added by shuffling each feature in purged folds.
    seconds : dict
        Wall time per stage; the only figures that change between runs.
    """

    title: str
    config: RetrainConfig
    rows: Rows
    data: Mapping[str, Any]
    splitters: tuple[OutOfFold, ...]
    search: SearchResult
    holdout: Holdout
    verdict: Verdict
    bars: pd.DataFrame
    lineage: Mapping[str, Any]
    run_id: str
    model_path: Path
    paths: Paths
    trials: Mapping[str, Any]
    checks: DataReport
    decision: Decision
    importance: Importance
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return what came of the run, in a line; the figures fill pages."""
        return (
            f"RetrainResult(title={self.title!r}, run_id={self.run_id!r}, "
            f"outcome={self.verdict.outcome!r}, model_path={str(self.model_path)!r})"
        )

    def _html_rows(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "outcome": self.verdict.outcome,
            "reason": self.verdict.reason,
            "run_id": self.run_id,
            "model_path": str(self.model_path),
        }

    def out_of_fold(self, splitter: str, model: str = DEFAULT_MODEL) -> OutOfFold:
        """Return the figures of one model under one splitter.

        Parameters
        ----------
        splitter : str
            Its name in the report, such as "PurgedKFold".
        model : str, default="LightGBM defaults"
            Its name in the report.

        Returns
        -------
        OutOfFold
            The figures, with what every row was predicted.
        """
        return next(
            result
            for result in self.splitters
            if result.splitter == splitter and result.model == model
        )

    @property
    def has_edge(self) -> bool:
        """Whether the tuned model's purged AUC is above 0.5, at 95 % by Student's t.

        The t has one degree of freedom less than folds. The parameters were chosen on
        three quarters of these rows, so this is mildly optimistic; the gate looks at
        the held-out rows alone.
        """
        tuned = self.out_of_fold(PURGED, TUNED_MODEL)
        reach = stdtrit(self.config.n_splits - 1, 0.975)
        return bool(tuned.auc - reach * tuned.auc_error > 0.5)

    @property
    def conclusion(self) -> str:
        """One honest paragraph."""
        naive, purged = self.out_of_fold(NAIVE), self.out_of_fold(PURGED)
        tuned = self.out_of_fold(PURGED, TUNED_MODEL)
        scores = self.holdout.scores
        lie = (
            f"Shuffled KFold is not possible: {naive.problem}"
            if naive.problem is not None
            else "With its default settings LightGBM reports an AUC of "
            f"{naive.auc:.3f} under shuffled KFold, where {naive.leaking_pairs:,} "
            "pairs of training and test labels overlap."
        )
        unsure = "no sure edge" if tuned.auc > 0.5 else "no edge"
        edge = "an edge" if self.has_edge else unsure
        verdict = (
            "The gate promotes the model."
            if self.verdict.promoted
            else f"The gate refuses the model. {self.verdict.reason}"
        )
        return (
            f"{lie} With those training rows purged it scores "
            f"{purged.auc:.3f}. Tuned under purged folds it scores {tuned.auc:.3f}: "
            f"{edge}. On held-out rows Kelly stakes "
            f"{scores['mean_absolute_position']:.1%} of capital on average and earns "
            f"{format_number(scores['log_growth_per_year'], '+.1%')} log growth a year "
            "after cost. "
            f"{verdict}"
        )

    def _judged(self, name: str) -> float | None:
        """Return the value of a gate's check; None where it was not reached."""
        values = [check.value for check in self.verdict.checks if check.name == name]
        return values[0] if values else None

    def to_dict(self) -> dict[str, Any]:
        """Return every figure, ready for JSON; only ``seconds`` vary between runs.

        Returns
        -------
        dict
            Plain dicts, lists, numbers and strings; NaN and infinities are None.
        """
        return {
            "title": self.title,
            "run_id": self.run_id,
            "promoted": self.verdict.promoted,
            "outcome": self.verdict.outcome,
            "judged_against": self.verdict.champion_id,
            "conclusion": self.conclusion,
            "data": dict(self.data),
            "splitters": [result.to_dict() for result in self.splitters],
            "search": {
                "best_params": self.search.best_params,
                "candidates": self.search.table.to_dict(orient="records"),
            },
            "holdout": dict(self.holdout.scores),
            "gate": [
                {
                    "name": check.name,
                    "value": check.value,
                    "bound": check.bound,
                    "passed": check.passed,
                    "sentence": check.sentence,
                }
                for check in self.verdict.checks
            ],
            "paths": json_ready(self.paths.table.to_dict(orient="records")),
            "trials": {
                **self.trials,
                "probability_of_backtest_overfitting": self._judged("overfitting"),
                "deflated_sharpe_of_the_gate": self._judged("deflated Sharpe ratio"),
            },
            "comparison": self.decision.comparison(),
            "importance": self.importance.to_dict(),
            "reliability": self.holdout.reliability.to_dict(orient="records"),
            "folds": fold_rows(self.rows, self.config),
            "trained_until": self.rows.label_times.max().isoformat(),
            "waived": self.checks.to_frame().to_dict(orient="records"),
            "config": self.config.to_dict(),
            "lineage": dict(self.lineage),
            "seconds": dict(self.seconds),
        }
