"""One run from bars to a judged, published model."""

import hashlib
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lightgbm.basic import LightGBMError

import skatra
from skatra.datasets import Database
from skatra.exceptions import SkatraError
from skatra.model_selection import audit_splits
from skatra.retraining._config import RetrainConfig
from skatra.retraining._dataset import (
    Rows,
    load_bars,
    load_rows,
    rows_digest,
    store_built_in_sets,
)
from skatra.retraining._decision import decide, inputs_digest, opponent
from skatra.retraining._models import promote_model
from skatra.retraining._references import reference_histograms
from skatra.retraining._registry import nonfinite_features, write_model
from skatra.retraining._result import RetrainResult
from skatra.retraining._steps import (
    compare_splitters,
    fit_rows,
    judge_holdout,
    kelly_classifier,
    purged_kfold,
    routing,
    search,
    split_holdout,
)
from skatra.utils import json_ready

Progress = Callable[[str], None]

STAGES: Mapping[str, str] = {
    "prepare": "Computing features and triple-barrier labels",
    "load": "Loading the dataset from SQLite",
    "search": "Tuning LightGBM under purged cross-validation",
    "compare": "Asking shuffled KFold, TimeSeriesSplit and PurgedKFold",
    "holdout": "Sizing the held-out rows by Kelly",
    "publish": "Refitting on every row and writing the model",
}


class _Clock:
    """Wall time per stage."""

    def __init__(self, progress: Progress | None) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announce a stage and time it."""
        if self._progress is not None:
            self._progress(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)


def retrain(
    config: RetrainConfig,
    *,
    title: str | None = None,
    progress: Progress | None = None,
) -> RetrainResult:
    """Tune, validate, size, judge and publish a LightGBM model.

    The bars in the database become features and triple-barrier labels; LightGBM
    is tuned by log loss under :class:`~skatra.model_selection.PurgedKFold`; the
    tuned model is calibrated out of fold and sized by Kelly on the last share of
    the rows, which nothing before has seen; a gate promotes it only when its
    held-out growth is surely positive. The model is written either way, and the
    pointer ``CURRENT`` moves only on promotion.

    Parameters
    ----------
    config : RetrainConfig
        What to do.
    title : str, optional
        What is learned from, for people; the symbols by default.
    progress : callable, optional
        Called with the name of each stage (a key of ``STAGES``) as it starts.

    Returns
    -------
    RetrainResult

    Raises
    ------
    DatabaseNotFoundError
        If there is no database at ``config.database``.
    EmptyDataError
        If a table or set that the run needs has no rows.
    LabelTimesError, BarsError
        If stored labels or bars cannot be trusted.
    DiskFullError, OSError
        If the disk is full; nothing half-written stays.

    Examples
    --------
    >>> from skatra.retraining import RetrainConfig, retrain
    >>> retrain(RetrainConfig(database="absent.db", models="models"))
    Traceback (most recent call last):
        ...
    skatra.exceptions.DatabaseNotFoundError: ...
    """
    try:
        return _run(config, title, _Clock(progress))
    except LightGBMError as error:
        msg = (
            f"LightGBM refused the run: {error}. Mend the parameter in param_grid, or "
            "the feature, that it names."
        )
        raise SkatraError(msg) from error


def _run(config: RetrainConfig, title: str | None, clock: _Clock) -> RetrainResult:
    """Run every stage."""
    with Database(config.database) as db:
        with clock.stage("prepare"):
            store_built_in_sets(db, config)
        with clock.stage("load"):
            rows, left_out = load_rows(db, config)
            bars = load_bars(db, rows)
        development, held_out = split_holdout(rows, config)
        with clock.stage("search"):
            found = search(development, config)
        with clock.stage("compare"):
            splitters = compare_splitters(rows, found.best_params, config)
        with clock.stage("holdout"):
            judged = judge_holdout(
                development, held_out, bars, found.best_params, config
            )
            lineage = _lineage(rows, config)
            inputs = inputs_digest(lineage, config)
            decision = decide(
                rows,
                development,
                held_out,
                judged,
                bars,
                found,
                config,
                leaking_pairs=_leaking_pairs(development, held_out, config),
                champion=opponent(Path(config.models), inputs),
            )
            verdict = decision.verdict
        with clock.stage("publish"):
            with routing():
                model = kelly_classifier(
                    config, purged_kfold(config), found.best_params
                )
                model.set_params(n_jobs=config.n_jobs)
                fit_rows(model, rows)
            card: dict[str, Any] = {
                "config": config.to_dict(),
                "best_params": found.best_params,
                "holdout": judged.scores,
                **decision.to_card(),
                "inputs_sha256": inputs,
                "trained_until": rows.label_times.max().isoformat(),
                "references": reference_histograms(
                    rows.data, np.asarray(judged.probability)
                ),
                "lineage": lineage,
            }
            card["nonfinite_features"] = nonfinite_features(rows.data)
            run_id, path = write_model(model, card, Path(config.models))
            db.write_run(run_id, json_ready(card))
            if verdict.promoted:
                promote_model(Path(config.models), run_id)
    data = _describe(rows, left_out, development, held_out)
    return RetrainResult(
        title=title or ", ".join(data["symbols"]),
        config=config,
        rows=rows,
        data=data,
        splitters=splitters,
        search=found,
        holdout=judged,
        verdict=verdict,
        bars=bars,
        lineage=lineage,
        run_id=run_id,
        model_path=path,
        seconds=clock.seconds,
    )


def _leaking_pairs(development: Rows, held_out: Rows, config: RetrainConfig) -> int:
    """Count leaks over every split that the decision rests on."""
    folds = audit_splits(
        purged_kfold(config), development.data, label_times=development.label_times
    )
    both = pd.concat([development.label_times, held_out.label_times])
    border = (
        np.arange(len(development)),
        np.arange(len(development), len(both)),
    )
    judged = audit_splits(
        [border], pd.concat([development.data, held_out.data]), label_times=both
    )
    return int(folds.n_leaking_pairs + judged.n_leaking_pairs)


def _describe(
    rows: Rows, left_out: dict[str, Any], development: Rows, held_out: Rows
) -> dict[str, Any]:
    """Return counts and dates of the rows."""
    t0 = pd.DatetimeIndex(rows.data.index.get_level_values(1))
    return {
        "symbols": sorted(rows.groups.unique().tolist()),
        "rows": len(rows),
        **left_out,
        "development_rows": len(development),
        "held_out_rows": len(held_out),
        "purged_at_holdout": len(rows) - len(development) - len(held_out),
        "features": list(rows.data.columns),
        "first_t0": t0.min().isoformat(),
        "last_t0": t0.max().isoformat(),
        "held_out_from": held_out.data.index.get_level_values(1).min().isoformat(),
        "base_rate": float((rows.target > 0).mean()),
        "mean_uniqueness": float(rows.sample_weight.mean()),
    }


def _lineage(rows: Rows, config: RetrainConfig) -> dict[str, Any]:
    """Return what the result depends on."""
    names = ("numpy", "pandas", "scikit-learn", "lightgbm")
    return {
        "data_sha256": rows_digest(rows),
        "skatra": skatra.__version__,
        "code_sha256": _code_digest(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in names},
        "seed": config.seed,
    }


def _code_digest() -> str:
    """Return a SHA-256 over the package's source: the code version, git or not."""
    folder = Path(skatra.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
