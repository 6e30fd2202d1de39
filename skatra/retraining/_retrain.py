"""One run from bars to a judged, published model."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import pandas as pd

from skatra import monitoring
from skatra.datasets import Database
from skatra.exceptions import (
    DatabaseError,
    PublishError,
    SkatraError,
    TrainingError,
)
from skatra.model_selection import audit_splits
from skatra.retraining._backtests import backtest_paths, deflate
from skatra.retraining._config import RetrainConfig
from skatra.retraining._contest import meet
from skatra.retraining._dataset import (
    Rows,
    bars_behind,
    label_set_name,
    load_rows,
    previous_rows,
    read_sources,
    store_built_in_sets,
)
from skatra.retraining._decision import (
    decide,
    opponent,
    served_champion,
)
from skatra.retraining._evidence import (
    as_text,
    enough_after,
)
from skatra.retraining._files import make_folder, put_back_on_failure
from skatra.retraining._importance import measure_importance
from skatra.retraining._ledger import DatabaseLedger, digest_of
from skatra.retraining._lineage import inputs_digest, lineage_of, variant_of
from skatra.retraining._lock import RunLock, folder_lock
from skatra.retraining._models import serve_model
from skatra.retraining._monitored import MODEL, record_champion, record_served
from skatra.retraining._plan import count_tasks
from skatra.retraining._references import fold_spans, reference_histograms
from skatra.retraining._registry import (
    POINTER_FILE,
    Champion,
    load_model,
    nonfinite_features,
    read_pointer,
    write_model,
)
from skatra.retraining._repeats import count_trials, record_served_run
from skatra.retraining._result import RetrainResult
from skatra.retraining._session import Event, Observer, Session
from skatra.retraining._steps import (
    check_grid_names,
    compare_splitters,
    fit_whole,
    judge_holdout,
    purged_kfold,
    search,
    split_holdout,
)
from skatra.retraining._tasks import make_backend
from skatra.utils import json_ready

Progress = Callable[[str], None]

STAGES: Mapping[str, str] = {
    "check": "Checking bars, features and labels",
    "prepare": "Storing features and triple-barrier labels",
    "load": "Loading the dataset from SQLite",
    "search": "Tuning LightGBM under purged cross-validation",
    "compare": "Asking shuffled KFold, TimeSeriesSplit and PurgedKFold",
    "paths": "Following the tuned model along purged backtest paths",
    "holdout": "Sizing the held-out rows by Kelly",
    "gate": "Judging the model against the one that is served",
    "importance": "Shuffling each feature in purged folds",
    "publish": "Refitting on every row and writing the model",
}

_PROBED_ROWS = 200


@dataclass(frozen=True, slots=True)
class UpToDate:
    """Nothing to do: these data, settings and code were trained before.

    Attributes
    ----------
    run_id : str
    model_path : Path
        Folder of the model.
    promoted : bool
        What the gate said.
    champion_id : str or None
        The model that is served now, if any.
    """

    run_id: str
    model_path: Path
    promoted: bool
    champion_id: str | None


@overload
def retrain(
    config: RetrainConfig,
    *,
    title: str | None = ...,
    progress: Progress | None = ...,
    observe: Observer | None = ...,
    should_stop: Callable[[], bool] | None = ...,
    force: Literal[True] = ...,
    repeat: UpToDate | None = ...,
) -> RetrainResult: ...


@overload
def retrain(
    config: RetrainConfig,
    *,
    title: str | None = ...,
    progress: Progress | None = ...,
    observe: Observer | None = ...,
    should_stop: Callable[[], bool] | None = ...,
    force: bool,
    repeat: UpToDate | None = ...,
) -> RetrainResult | UpToDate: ...


def retrain(
    config: RetrainConfig,
    *,
    title: str | None = None,
    progress: Progress | None = None,
    observe: Observer | None = None,
    should_stop: Callable[[], bool] | None = None,
    force: bool = True,
    repeat: UpToDate | None = None,
) -> RetrainResult | UpToDate:
    """Tune, validate, size, judge and publish a LightGBM model.

    The bars in the database are checked and become features and triple-barrier
    labels; LightGBM is tuned by log loss under
    :class:`~skatra.model_selection.PurgedKFold`; the tuned model is calibrated out
    of fold and sized by Kelly on the last share of the rows, which nothing before
    has seen; a gate promotes it only when its held-out growth is surely positive.
    The model is written either way, and the pointer ``CURRENT`` moves only on
    promotion.

    Every task (a fit and its score on one fold) is committed to the database as it
    ends: a run that was killed or stopped goes on where it was, and every model
    ever tried on these symbols is counted.

    Parameters
    ----------
    config : RetrainConfig
        What to do.
    title : str, optional
        What is learned from, for people; the symbols by default.
    progress : callable, optional
        Called with the name of each stage (a key of ``STAGES``) as it starts.
    observe : callable, optional
        Called with a dict for every event: "stage", "data", "incomparable" (with the
        problem that keeps the gate from promoting, before the search), "task" (with
        done, total and whether it was done before), "verdict" and "published". An error
        of it or of ``progress`` is warned of once, and stops nothing.
    should_stop : callable, optional
        Asked between two tasks; True ends the run with ``RunStoppedError``. See
        :func:`stop_on_signals`.
    force : bool, default=True
        False does nothing, and returns ``UpToDate``, when the same data, settings
        and code were trained before and the model is in place.
    repeat : UpToDate, optional
        The finished run whose figures are wanted again, as for its report. It is
        judged against whom it met then, and what is served stays.

    Returns
    -------
    RetrainResult or UpToDate
        Every figure of the run; or that nothing changed since it was trained.

    Raises
    ------
    DatabaseNotFoundError
        If there is no database at ``config.database``.
    DataCheckError
        If the data failed checks that were not waived; all are listed.
    EmptyDataError
        If a table or set that the run needs has no rows.
    RunLockedError
        If another run works on this database.
    RunStoppedError
        If ``should_stop`` said so.
    ModelCorruptError
        If the served model, or the pointer to it, is damaged; nothing is fitted.
    TrainingError
        If a model could not be trained, or the disk or the database failed on the way.
    PublishError
        If the model could not be written or verified; the served one stands.

    Examples
    --------
    >>> from skatra.retraining import RetrainConfig, retrain
    >>> retrain(RetrainConfig(database="absent.db", models="models"))
    Traceback (most recent call last):
        ...
    skatra.exceptions.DatabaseNotFoundError: ...
    """
    failed: list[Exception] = []

    def tell(event: Event) -> None:
        try:
            if progress is not None and event["event"] == "stage":
                progress(event["stage"])
            if observe is not None:
                observe(event)
        except Exception as error:  # noqa: BLE001 - whatever it is
            if not failed:
                failed.append(error)
                msg = f"who watches the run failed, and it goes on: {error!r}"
                warnings.warn(msg, RuntimeWarning, stacklevel=2)

    promoted = record_champion(Path(config.models))
    with monitoring.observe_retraining(MODEL, promoted) as outcome:
        check_grid_names(config)
        session = Session(
            backend=make_backend(config.search_backend, config.n_jobs),
            should_stop=should_stop or (lambda: False),
            observe=tell,
        )
        with Database(config.database) as db, RunLock(db.path):
            done = run(db, config, session, title=title, force=force, repeat=repeat)
        if not (done.promoted if isinstance(done, UpToDate) else done.verdict.promoted):
            outcome["outcome"] = "refused"
        return done


def run(
    db: Database,
    config: RetrainConfig,
    session: Session,
    *,
    title: str | None = None,
    force: bool = True,
    repeat: UpToDate | None = None,
) -> RetrainResult | UpToDate:
    """Run every stage."""
    models = _writable(Path(config.models))
    served = served_champion(models)
    with session.stage("check"):
        sources = read_sources(db, config, previous_rows(db, config))
        sources.report.raise_for_problems()
    with session.stage("prepare"), _resumable():
        store_built_in_sets(db, config, sources)
    with session.stage("load"), _resumable():
        rows, left_out = load_rows(db, config)
        bars = bars_behind(sources, rows)
        lineage = lineage_of(rows, bars, config)
        inputs = inputs_digest(lineage, config)
        record_served_run(db, served, inputs)
        development, held_out = split_holdout(rows, config)
        data = _describe(rows, left_out, development, held_out)
        session.observe({"event": "data", **data, "sha256": lineage["data_sha256"]})
    session.ledger = ledger = DatabaseLedger(
        db,
        lineage["data_sha256"],
        digest_of(lineage["code_sha256"], lineage["packages"]),
        {
            "symbols": data["symbols"],
            "feature_set": config.feature_set,
            "label_set": label_set_name(config),
            "variant": variant_of(rows, config),
        },
    )
    if not force and (done := _up_to_date(db, config, lineage, served)) is not None:
        return done
    champion = opponent(
        served, models, inputs, None if repeat is None else repeat.run_id
    )
    evidence = meet(
        rows,
        held_out,
        bars,
        config,
        champion,
        data["feature_spec_sha256"],
        session.observe,
    )
    session.total = count_tasks(config, evidence)
    with _training(), session.working_on(rows):
        with session.stage("search"):
            found = search(development, config, session)
        with session.stage("compare"):
            splitters = compare_splitters(rows, found.best_params, config, session)
        with session.stage("paths"):
            paths = backtest_paths(
                development, bars, found.best_params, config, session
            )
        with session.stage("holdout"):
            judged = judge_holdout(
                rows,
                development,
                held_out,
                bars,
                found.best_params,
                config,
                session,
            )
        with session.stage("gate"):
            trials = count_trials(db, ledger, served, inputs, evidence)
            decision = decide(
                rows,
                development,
                held_out,
                judged,
                bars,
                found,
                config,
                session,
                leaking_pairs=_leaking_pairs(development, held_out, config),
                champion=champion,
                n_trials=trials["on_these_symbols"],
                feature_spec=data["feature_spec_sha256"],
            )
            verdict = decision.verdict
        with session.stage("importance"):
            importance = measure_importance(
                development, held_out, found.best_params, config, session
            )
        session.observe(
            {
                "event": "verdict",
                "promoted": verdict.promoted,
                "outcome": verdict.outcome,
                "reason": verdict.reason,
            }
        )
        with session.stage("publish"):
            model = fit_whole(rows, found.best_params, config, session)
            until = rows.label_times.max()
            card: dict[str, Any] = {
                "config": config.to_dict(),
                "best_params": found.best_params,
                "trees": model.estimator_.booster_.num_trees(),
                "data": data,
                "holdout": judged.scores,
                **decision.to_card(),
                "trials": trials,
                "inputs_sha256": inputs,
                "trained_until": until.isoformat(),
                "judgeable_from": as_text(enough_after(rows, bars, config, until)),
                "folds": fold_spans(development, config),
                "references": reference_histograms(
                    rows.data, np.asarray(judged.probability)
                ),
                "lineage": lineage,
                "nonfinite_features": nonfinite_features(rows.data),
            }
            serve = verdict.promoted and repeat is None
            run_id, path = _publish(
                db,
                model,
                card,
                {**card, "seconds": session.stages},
                rows,
                config,
                served,
                serve=serve,
            )
            if serve:
                record_served(models, run_id, card)
            with suppress(DatabaseError):  # it only gives space back
                ledger.forget_arrays()
            session.tell("publish", 0.0)
    session.observe({"event": "published", "run_id": run_id, "path": str(path)})
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
        paths=paths,
        trials=deflate(
            judged.backtest,
            int(development.data.index.get_level_values(1).nunique()),
            trials,
        ),
        checks=sources.report,
        decision=decision,
        importance=importance,
        seconds=session.stages,
    )


@contextmanager
def _resumable() -> Iterator[None]:
    """Turn what the disk or the database refuses into one error that says so."""
    try:
        yield
    except (DatabaseError, OSError) as error:
        if isinstance(error, SkatraError) and not isinstance(error, DatabaseError):
            raise
        msg = (
            f"the run cannot go on: {str(error).rstrip('.')}. Every finished task is "
            "kept: mend this, and the same command goes on where it was."
        )
        raise TrainingError(msg) from error


@contextmanager
def _training() -> Iterator[None]:
    """Turn whatever stops a fit into one error that says so."""
    try:
        with _resumable():
            yield
    except TrainingError:
        raise
    except SkatraError as error:
        if isinstance(error, ValueError):
            raise TrainingError(str(error)) from error
        raise
    except Exception as error:
        msg = (
            f"training failed: {type(error).__name__}: {str(error).rstrip('.')}. Mend "
            "the parameter in param_grid, the feature or the setting that it names."
        )
        raise TrainingError(msg) from error


def _writable(models: Path) -> Path:
    """Refuse a models folder that cannot be written, before anything is fitted."""
    place = models.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        return models
    why = "cannot be written" if place.is_dir() else "is no folder"
    raise PublishError(
        f"models cannot be published in {models}: {place} {why}. The model served "
        "before stands. Pass another folder (models, --models), or mend this one."
    )


def _publish(
    db: Database,
    model: Any,
    card: dict[str, Any],
    record: dict[str, Any],
    rows: Rows,
    config: RetrainConfig,
    served: Champion | None,
    *,
    serve: bool,
) -> tuple[str, Path]:
    """Write the model, read it back, compare, point to it and record the run.

    The pointer moves before the record: a run that is killed between them is repeated,
    one that is recorded is not. If the record cannot be written the pointer goes back.
    """
    models = Path(config.models)
    try:
        make_folder(models.absolute())
        with folder_lock(models):
            if serve:
                _check_served(models, served)
            run_id, path = write_model(model, card, models)
            _verify(model, path, rows)
            with put_back_on_failure(models / POINTER_FILE):
                if serve:
                    serve_model(models, path, judged=True)
                db.write_run(run_id, json_ready(record))
    except PublishError:
        raise
    except (OSError, SkatraError) as error:
        msg = (
            f"the model could not be published: {str(error).rstrip('.')}. The model "
            "served before stands; every finished task is kept, so run the same "
            "command again."
        )
        raise PublishError(msg) from error
    return run_id, path


def _check_served(models: Path, served: Champion | None) -> None:
    """Refuse to replace a model that took over during the run, and was never met."""
    pointed = (models / POINTER_FILE).exists()
    now = read_pointer(models)["run_id"] if pointed else None
    before = None if served is None else served.run_id
    if now != before:
        raise PublishError(
            f"the served model changed during the run, from {before or 'none'} to "
            f"{now or 'none'}, which stands: the new model was never judged against "
            "it. Every finished task is kept: the same command judges again."
        )


def _verify(model: Any, path: Path, rows: Rows) -> None:
    """Refuse a model that decides otherwise when it is read back."""
    probe = rows.data.iloc[-_PROBED_ROWS:]
    read = load_model(path).decision_function(probe)
    if not np.array_equal(read, model.decision_function(probe)):
        raise PublishError(
            f"the model read back from {path} decides otherwise than the one that was "
            "written; it was not promoted."
        )


def _up_to_date(
    db: Database,
    config: RetrainConfig,
    lineage: Mapping[str, Any],
    served: Champion | None,
) -> UpToDate | None:
    """Return the finished run of the same data, settings and code, if in place.

    Where a champion was taken away since, there is another one to beat: cash.
    """
    models = Path(config.models)
    settings = json_ready(config.to_dict())
    for run_id, card in reversed(list(db.runs()["card"].items())):
        if card.get("config") != settings or card.get("lineage") != lineage:
            continue
        path = models / str(run_id)
        try:
            load_model(path)
        except SkatraError:
            return None
        if served is None and (card["promoted"] or card["judged_against"] is not None):
            return None
        champion_id = None if served is None else served.run_id
        return UpToDate(str(run_id), path, bool(card["promoted"]), champion_id)
    return None


def _leaking_pairs(development: Rows, held_out: Rows, config: RetrainConfig) -> int:
    """Count leaks over every split that the decision rests on."""
    with monitoring.scope(model=MODEL):  # counts what leaks in the folds
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
    monitoring.record_leakage(MODEL, "overlap", int(judged.n_leaking_pairs))
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
