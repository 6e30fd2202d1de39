"""What a run would do, and how long it would take: nothing is written."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import comb, prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import effective_n_jobs

from skatra.datasets import Database
from skatra.exceptions import TrainingError
from skatra.model_selection import CombinatorialPurgedKFold, audit_splits
from skatra.retraining._config import RetrainConfig
from skatra.retraining._contest import (
    MOST_TRIALS,
    WALK_FORWARD_FITS,
    meet,
)
from skatra.retraining._dataset import (
    Rows,
    Sources,
    bars_behind,
    feature_spec_digest,
    label_set_name,
    load_rows,
    previous_rows,
    read_sources,
)
from skatra.retraining._decision import (
    opponent,
    served_champion,
)
from skatra.retraining._evidence import Evidence, as_text
from skatra.retraining._lineage import inputs_digest, lineage_of
from skatra.retraining._steps import (
    boosting,
    check_folds,
    check_grid_names,
    lightgbm_classifier,
    purged_kfold,
    split_holdout,
)
from skatra.utils import HTMLRepr

_SPLITTERS, _MODELS = 3, 2
_UNSIZED = ("search", "candidates", "importance")
_OF_THE_GATE = ("candidates", "walk-forward")


def _n_candidates(config: RetrainConfig) -> int:
    return prod(len(values) for values in config.param_grid.values())


def _n_path_splits(config: RetrainConfig) -> int:
    if config.n_paths == 0:
        return 0
    cv = CombinatorialPurgedKFold.from_n_paths(config.n_paths)
    return comb(cv.n_folds, cv.n_test_folds)


def _tasks(config: RetrainConfig, evidence: Evidence) -> dict[str, int]:
    """Return how many tasks of every kind there are; the gate has two."""
    against_cash = evidence.champion_id is None
    n_judged = min(_n_candidates(config), MOST_TRIALS)
    judged = evidence.enough and evidence.problem is None
    compared = n_judged > 1 and (against_cash or judged)
    return {
        "search": _n_candidates(config) * config.n_splits,
        "compare": _SPLITTERS * _MODELS * config.n_splits,
        "paths": _n_path_splits(config),
        "holdout": 1,
        "candidates": n_judged * config.n_splits if compared else 0,
        "walk-forward": 0 if against_cash or not judged else WALK_FORWARD_FITS,
        "importance": config.n_splits,
        "publish": 1,
    }


def count_tasks(config: RetrainConfig, evidence: Evidence) -> int:
    """Return how many tasks a run has, the publication being one."""
    return sum(_tasks(config, evidence).values())


def count_fits(config: RetrainConfig, evidence: Evidence) -> dict[str, int]:
    """Return how many times every stage fits LightGBM."""
    fits: dict[str, int] = {}
    for kind, count in _tasks(config, evidence).items():
        n = count * (1 if kind in _UNSIZED else config.n_splits + 1)
        if config.early_stopping_rounds:  # once to stop, once on all rows
            n = 2 * n - (n // _MODELS if kind == "compare" else 0)
        stage = "gate" if kind in _OF_THE_GATE else kind
        fits[stage] = fits.get(stage, 0) + n
    return fits


@dataclass(frozen=True, slots=True)
class Plan(HTMLRepr):
    """What a run would do; made by :func:`plan_retrain`.

    Attributes
    ----------
    folds : DataFrame
        One row per fold of the search, and one for the held-out rows: first and last
        t0 tested, rows tested, trained on, purged and embargoed.
    fits : dict
        Fits of LightGBM per stage.
    seconds : float
        Expected wall time.
    seconds_from : str
        What the expectation rests on.
    memory_bytes : int
        Expected peak memory of the process.
    rows : int
    evidence : dict
        What the gate will judge on: "champion" (None for cash), "since" (first t0),
        "blocks", "needed" and "enough_from", about when there will be enough blocks, or
        "never"; None where there are. "problem" is why the champion cannot be compared
        at all and what to do; None where it can.
    """

    folds: pd.DataFrame
    fits: Mapping[str, int]
    seconds: float
    seconds_from: str
    memory_bytes: int
    rows: int
    evidence: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON.

        Returns
        -------
        dict
            Plain dicts, lists, numbers and strings; NaN and infinities are None.
        """
        return {
            "rows": self.rows,
            "folds": self.folds.to_dict(orient="records"),
            "fits": dict(self.fits),
            "seconds": self.seconds,
            "seconds_from": self.seconds_from,
            "memory_bytes": self.memory_bytes,
            "evidence": dict(self.evidence),
        }


def plan_retrain(config: RetrainConfig) -> Plan:
    """Return what :func:`retrain` would do; nothing is written.

    Parameters
    ----------
    config : RetrainConfig
        The settings of the run.

    Returns
    -------
    Plan
        Time is expected from past fits of as many trees on the same symbols in the
        database, else from one fit made now; memory from this process after that.

    Raises
    ------
    DataCheckError
        If the data failed checks that were not waived.
    ModelCorruptError
        If the served model, or the pointer to it, is damaged.
    TrainingError
        If the one fit fails.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skatra.datasets import Database, make_edge_bars
    >>> from skatra.retraining import RetrainConfig, plan_retrain
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name)
    >>> with Database(path / "market.db", create=True) as db:
    ...     _ = db.write_bars(make_edge_bars(1500, edge=0.4))
    >>> config = RetrainConfig(
    ...     database=path / "market.db", models=path / "models", max_holding=5,
    ...     n_splits=2, n_estimators=10, param_grid={"num_leaves": [4]}, n_paths=0)
    >>> plan = plan_retrain(config)
    >>> len(plan.folds), plan.seconds > 0
    (3, True)
    >>> folder.cleanup()
    """
    check_grid_names(config)
    models = Path(config.models)
    served = served_champion(models)
    with Database(config.database, readonly=True) as db:
        sources = read_sources(db, config, previous_rows(db, config))
        sources.report.raise_for_problems()
        rows = _rows(db, sources, config)
        development, held_out = split_holdout(rows, config)
        bars = bars_behind(sources, rows)
        inputs = inputs_digest(lineage_of(rows, bars, config), config)
        champion = opponent(served, models, inputs)
        built_in = config.feature_set == "base"
        spec = None if built_in else feature_spec_digest(db, config)
        evidence = meet(rows, held_out, bars, config, champion, spec)
        past = _past_seconds(db, rows, config, evidence)
    check_folds(development, config)
    folds = _folds(development, config)
    trained = int(folds["train"].mean())
    border = {
        "fold": "held out",
        **_dates(held_out),
        "test": len(held_out),
        "train": len(development),
        **_border(rows, development, held_out),
    }
    fits = count_fits(config, evidence)
    expected = (
        _probed_seconds(development, trained, config, sum(fits.values()))
        if past is None
        else past
    )
    workers = min(effective_n_jobs(config.n_jobs), count_tasks(config, evidence))
    return Plan(
        folds=pd.concat([folds, pd.DataFrame([border])], ignore_index=True),
        fits=fits,
        seconds=round(expected / workers, 2),
        seconds_from="one fit of each kind measured now"
        if past is None
        else "earlier tasks in the ledger of this database",
        memory_bytes=_memory(trained, rows.data.shape[1], workers),
        rows=len(rows),
        evidence={
            "champion": evidence.champion_id,
            "since": evidence.since.isoformat(),
            "blocks": evidence.blocks,
            "needed": evidence.needed,
            "enough_from": None if evidence.enough else as_text(evidence.enough_from),
            "problem": evidence.problem,
        },
    )


def _rows(db: Database, sources: Sources, config: RetrainConfig) -> Rows:
    """Return the run's rows by way of a database in memory."""
    if config.feature_set != "base" and config.label_set != "triple_barrier":
        return load_rows(db, config)[0]
    with Database(":memory:") as scratch:
        if sources.features is not None:
            scratch.write_features(sources.features, config.feature_set)
        if sources.labels is not None:
            scratch.write_labels(sources.labels, label_set_name(config))
        return load_rows(scratch, config)[0]


def _folds(rows: Rows, config: RetrainConfig) -> pd.DataFrame:
    """Return the folds of the search."""
    cv = purged_kfold(config)
    audit = audit_splits(cv, rows.data, label_times=rows.label_times).to_frame()
    splits = cv.split(rows.data, label_times=rows.label_times)
    dates = pd.DataFrame([_dates(rows.take(test)) for _, test in splits])
    counts = audit[["test", "train", "purged", "embargoed"]]
    found = pd.concat([dates, counts], axis=1)
    found.insert(0, "fold", [str(number) for number in range(len(found))])
    return found


def _dates(rows: Rows) -> dict[str, str]:
    t0 = rows.data.index.get_level_values(1)
    return {"from": t0.min().isoformat(), "to": t0.max().isoformat()}


def _border(rows: Rows, development: Rows, held_out: Rows) -> dict[str, int]:
    """Return how many rows before the held-out ones were purged, how many embargoed."""
    left_out = np.ones(len(rows), dtype=bool)
    left_out[development.positions] = left_out[held_out.positions] = False
    t0 = held_out.data.index.get_level_values(1).min()
    purged = int((rows.label_times[left_out] >= t0).sum())
    return {"purged": purged, "embargoed": int(left_out.sum()) - purged}


def _past_seconds(
    db: Database, rows: Rows, config: RetrainConfig, evidence: Evidence
) -> float | None:
    """Return the seconds of all tasks, from earlier ones of every kind; else None."""
    symbols = sorted(rows.groups.unique().tolist())
    trials = db.trials()
    spent: dict[str, list[float]] = {}
    for params, record in zip(trials["params"], trials["record"], strict=True):
        if record.get("symbols") != symbols or not record.get("seconds"):
            continue
        alike = params.get("n_estimators", config.n_estimators) == config.n_estimators
        if alike and record.get("rows"):
            share = record["seconds"] / sum(record["rows"])
            kind = record["stage"]
            if kind == "gate":
                kind = "candidates" if params.get("raw") else "walk-forward"
            spent.setdefault(kind, []).append(share)
    for stage, like in (
        ("publish", "holdout"),
        ("walk-forward", "holdout"),
        ("candidates", "search"),
        ("importance", "search"),
    ):
        if like in spent:
            spent.setdefault(stage, spent[like])
    tasks = {stage: n for stage, n in _tasks(config, evidence).items() if n}
    if not tasks.keys() <= spent.keys():
        return None
    return len(rows) * sum(
        n * float(np.mean(spent[stage])) for stage, n in tasks.items()
    )


def _probed_seconds(
    rows: Rows, trained: int, config: RetrainConfig, n_fits: int
) -> float:
    """Return the seconds of all fits, from one of each kind made now."""
    grid = {name: values[0] for name, values in config.param_grid.items()}
    chosen = rows.take(np.arange(min(trained, len(rows))))
    tuned = _probe(chosen, {**boosting(config), **grid}, config)
    plain = _probe(chosen, {}, config)
    defaults = _SPLITTERS * config.n_splits * (config.n_splits + 1)
    return defaults * plain + (n_fits - defaults) * tuned


def _probe(rows: Rows, params: Mapping[str, Any], config: RetrainConfig) -> float:
    """Return the seconds of one fit."""
    model = lightgbm_classifier(config, params)
    start = time.perf_counter()
    try:
        model.fit(rows.data, rows.target, sample_weight=rows.sample_weight)
        model.predict_proba(rows.data)
    except Exception as error:
        msg = f"training failed: {type(error).__name__}: {error}."
        raise TrainingError(msg) from error
    return time.perf_counter() - start


def _memory(trained: int, n_features: int, workers: int) -> int:
    """Return the peak of this process and the copies of further workers."""
    copies = (workers - 1) * trained * n_features * 9
    if sys.platform == "win32":
        return copies
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit + copies
