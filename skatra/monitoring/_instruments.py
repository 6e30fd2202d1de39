"""What other parts call: each does nothing until monitoring is enabled."""

import contextlib
import platform
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import skatra
from skatra.monitoring._catalogue import LABELS
from skatra.monitoring._recorder import UNSCOPED, Recorder
from skatra.monitoring._store import Store
from skatra.utils import observation

_enabling = threading.Lock()
_recorder: Recorder | None = None


def enable(
    *,
    models: Sequence[str] = (),
    strategies: Sequence[str] = (),
    symbols: Sequence[str] = (),
    databases: Sequence[str] = (),
    stages: Sequence[str] = (),
) -> None:
    """Start counting in this process; further calls only announce more names.

    Parameters
    ----------
    models, strategies, symbols, databases, stages : sequence of str, default=()
        Names known beforehand. Their counters exist at zero from now on, so that
        the first event is an increase for Prometheus.

    Examples
    --------
    >>> from skatra import monitoring
    >>> monitoring.enable(models=["champion"], strategies=["kelly"])
    >>> monitoring.is_enabled()
    True
    >>> monitoring.disable()
    """
    global _recorder  # noqa: PLW0603 - one per process, like the observer
    with _enabling:
        if _recorder is None:
            _recorder = Recorder(Store())
            _recorder.store.announce()
            labels = (skatra.__version__, platform.python_version(), _lightgbm())
            _recorder.store.set("build_info", labels, 1.0)
            _recorder.model(UNSCOPED)
            _recorder.sides(UNSCOPED)
        observation.set_observer(_recorder)
    given = {
        "model": tuple(models),
        "strategy": tuple(strategies),
        "symbol": tuple(symbols),
        "database": tuple(databases),
        "stage": tuple(stages),
    }
    known = {name: values for name, values in given.items() if values}
    if known:
        _recorder.store.announce(**known)


def _lightgbm() -> str:
    try:
        return version("lightgbm")
    except PackageNotFoundError:  # pragma: no cover - a core dependency
        return "none"


def disable() -> None:
    """Stop counting; numbers so far stay and go on after the next ``enable``.

    Examples
    --------
    >>> from skatra import monitoring
    >>> monitoring.enable()
    >>> monitoring.disable()
    >>> monitoring.is_enabled()
    False
    """
    observation.set_observer(None)


def is_enabled() -> bool:
    """Return whether this process counts.

    Returns
    -------
    bool
        True between ``enable`` and ``disable``.

    Examples
    --------
    >>> from skatra import monitoring
    >>> monitoring.is_enabled()
    False
    """
    return _recorder is not None and observation.observer is _recorder


def recorder() -> Recorder:
    """Return who keeps the numbers, enabling monitoring if needed."""
    if _recorder is None:
        enable()
    assert _recorder is not None  # noqa: S101
    return _recorder


def record_signals(
    strategy: str,
    signals: Mapping[tuple[str, str], int],
    *,
    exposure: float | None = None,
    suppressed: Mapping[str, int] | None = None,
) -> None:
    """Count signals of one moment.

    Parameters
    ----------
    strategy : str
        The strategy's name.
    signals : mapping
        (symbol, side) -> count, where side is "long" or "short".
    exposure : float, default=None
        Sum of absolute open positions, as share of capital.
    suppressed : mapping, default=None
        Reason -> count of signals held back; "no_edge", "stale_data" and
        "duplicate" are known beforehand.

    Examples
    --------
    >>> from skatra import monitoring
    >>> monitoring.record_signals("kelly", {("SP500", "long"): 1}, exposure=0.1)
    """
    if observation.observer is None or _recorder is None:
        return
    store = _recorder.store
    known = store.families["signals_total"].children
    for (symbol, side), count in signals.items():
        if (strategy, symbol, side) not in known:
            _recorder.announce_symbol(strategy, symbol)
        store.add("signals_total", (strategy, symbol, side), count)
    if any(signals.values()):
        store.set("signal_last_timestamp_seconds", (strategy,), time.time())
    for reason, count in (suppressed or {}).items():
        store.add("signals_suppressed_total", (strategy, reason), count)
    if exposure is not None:
        store.set("kelly_exposure_ratio", (strategy,), exposure)


@contextlib.contextmanager
def time_signals(strategy: str) -> Iterator[None]:
    """Measure how long the signals of one moment take; count what they raise.

    Parameters
    ----------
    strategy : str
        The strategy's name.

    Yields
    ------
    None
        The clock stops when the block ends.

    Examples
    --------
    >>> from skatra import monitoring
    >>> with monitoring.time_signals("kelly"):
    ...     pass
    """
    if observation.observer is None or _recorder is None:
        yield
        return
    start = time.perf_counter()
    try:
        yield
    except Exception as error:
        _recorder.failed("signals", error)
        raise
    store = _recorder.store
    seconds = time.perf_counter() - start
    store.observe("signal_generation_duration_seconds", (strategy,), seconds)
    store.set("signal_round_timestamp_seconds", (strategy,), time.time())


def expect_rounds(strategy: str, every: float) -> None:
    """Say that rounds of signals come from now on, and how often.

    An alert fires when none has got through for three times as long. Call it before
    anything of a round, a wait for a scrape included. A known last round stands.

    Parameters
    ----------
    strategy : str
        The strategy's name, as in :func:`time_signals`.
    every : float
        Seconds from one round to the next.

    Examples
    --------
    >>> from skatra import monitoring
    >>> monitoring.expect_rounds("kelly", 3600)
    """
    if observation.observer is None or _recorder is None:
        return
    store = _recorder.store
    with store.lock:
        store.set("signal_interval_seconds", (strategy,), every)
        last = store.families["signal_round_timestamp_seconds"].child(strategy)
        last.value = last.value or time.time()


def set_reference(model: str, probabilities: Any, features: Any = None) -> None:
    """Keep what training looked like, for drift to be measured against.

    Parameters
    ----------
    model : str
        The model's name.
    probabilities : array-like of float of shape (n,)
        Out-of-fold probabilities of the positive class; what is not finite is left out,
        and without any the model has no reference.
    features : DataFrame of shape (n_rows, n_features) or mapping, default=None
        Training features; their deciles become bins. A mapping holds a histogram per
        name, such as a model card keeps: at most 9 inner "edges", each the largest
        value of its bin, and "counts", one more than edges. The first 20 are kept;
        later ones, and those that hold no finite number, are left out.

    Examples
    --------
    >>> from skatra import monitoring
    >>> monitoring.set_reference("champion", [0.4, 0.5, 0.6])
    """
    if observation.observer is not None and _recorder is not None:
        _recorder.set_reference(model, probabilities, features)


def record_features(model: str, features: Any) -> None:
    """Count the features of predictions by the deciles of training.

    Parameters
    ----------
    model : str
        One with a reference of features; without it nothing is counted.
    features : DataFrame of shape (n_rows, n_features)
        Columns in any order; those without a reference are passed over.

    Examples
    --------
    >>> import pandas as pd
    >>> from skatra import monitoring
    >>> monitoring.record_features("champion", pd.DataFrame({"momentum": [0.1]}))
    """
    if observation.observer is not None and _recorder is not None:
        _recorder.record_features(model, features)


def record_probabilities(model: str, probabilities: Any) -> None:
    """Count what a model said inside a ``scope(probabilities=False)``.

    Parameters
    ----------
    model : str
        The model's name.
    probabilities : array-like of float of shape (n,)
        Those that are new, of the positive class.

    Examples
    --------
    >>> from skatra import monitoring
    >>> monitoring.record_probabilities("champion", [0.6, 0.3])
    """
    if observation.observer is not None and _recorder is not None:
        _recorder.record_probabilities(model, probabilities)


def record_positions(
    strategy: str, positions: Any, *, cut: Mapping[str, int] | None = None
) -> None:
    """Count what was staked, inside a ``scope(probabilities=False)``.

    Parameters
    ----------
    strategy : str
        The strategy's name.
    positions : array-like of float of shape (n,)
        Those that are new, signed shares of capital, after every limit.
    cut : mapping, default=None
        Reason -> count of these that a limit cut, each under one; "max_position" and
        "max_exposure" are known beforehand.

    Examples
    --------
    >>> from skatra import monitoring
    >>> monitoring.record_positions("kelly", [0.1, 0.0], cut={"max_position": 1})
    """
    if observation.observer is not None and _recorder is not None:
        _recorder.record_positions(strategy, positions, cut or {})


def record_outcomes(model: str, probabilities: Any, outcomes: Any) -> None:
    """Count settled predictions, for the Brier score and the win rates.

    Parameters
    ----------
    model : str
        The model's name.
    probabilities : array-like of float of shape (n,)
        What the model had said.
    outcomes : array-like of bool of shape (n,)
        Whether the positive class came true. Pairs in which either is not finite are
        left out.

    Raises
    ------
    ValueError
        If there are not as many outcomes as probabilities.

    Examples
    --------
    >>> from skatra import monitoring
    >>> monitoring.record_outcomes("champion", [0.6, 0.3], [True, False])
    """
    if observation.observer is not None and _recorder is not None:
        if len(probabilities) != len(outcomes):
            raise ValueError(
                "probabilities and outcomes must be of one length, got "
                f"{len(probabilities)} and {len(outcomes)}."
            )
        _recorder.record_outcomes(model, probabilities, outcomes)


def begin_retraining(model: str) -> None:
    """Say that a retraining run begins, before the file that it may leave behind.

    A run that is killed cannot say how it ended; an alert knows since when none has.
    :func:`observe_retraining` says it, too, and takes it back when it ends.

    Parameters
    ----------
    model : str
        The name for ``observe_retraining``; that of ``retrain`` is "champion".

    Examples
    --------
    >>> from skatra import monitoring
    >>> monitoring.begin_retraining("champion")
    """
    if observation.observer is None or _recorder is None:
        return
    store = _recorder.store
    with store.lock:
        family = store.families["retrain_unfinished_since_timestamp_seconds"]
        since = family.child(model)
        since.value = since.value or time.time()


@contextlib.contextmanager
def observe_retraining(
    model: str, last_success: float | None = None
) -> Iterator[dict[str, str]]:
    """Measure a retraining run; it ends as success, refused or failure.

    Parameters
    ----------
    model : str
        The model's name.
    last_success : float, default=None
        Unix seconds of a success before this run, such as when the served model was
        promoted; a later one that is known already stands.

    Yields
    ------
    dict
        Set ``run["outcome"] = "refused"`` when the gate refuses; an exception is a
        failure.

    Examples
    --------
    >>> from skatra import monitoring
    >>> with monitoring.observe_retraining("champion") as run:
    ...     run["outcome"] = "refused"
    """
    run = {"outcome": "success"}
    if observation.observer is None or _recorder is None:
        yield run
        return
    watcher = _recorder
    watcher.model(model)
    store = watcher.store
    begin_retraining(model)
    store.add("retrain_in_progress", (model,))
    for outcome in LABELS["outcome"].known:
        ended = last_success if outcome == "success" and last_success else 0.0
        store.raise_to("retrain_last_end_timestamp_seconds", (model, outcome), ended)
    start = time.perf_counter()
    try:
        yield run
    except BaseException as error:
        run["outcome"] = "failure"
        watcher.failed("retraining", error)
        raise
    finally:
        store.add("retrain_in_progress", (model,), -1.0)
        store.add("retrain_runs_total", (model, run["outcome"]))
        seconds = time.perf_counter() - start
        store.observe("retrain_duration_seconds", (model,), seconds)
        now = time.time()
        store.set("retrain_last_end_timestamp_seconds", (model, run["outcome"]), now)
        store.set("retrain_unfinished_since_timestamp_seconds", (model,), 0.0)


@contextlib.contextmanager
def observe_stage(model: str, stage: str) -> Iterator[None]:
    """Measure one stage of a retraining run.

    Parameters
    ----------
    model, stage : str
        The model's name, and the stage's, one of ``skatra.retraining.STAGES``.

    Yields
    ------
    None
        The stage is over when the block ends.

    Examples
    --------
    >>> from skatra import monitoring
    >>> with monitoring.observe_stage("champion", "search"):
    ...     pass
    """
    if observation.observer is None or _recorder is None:
        yield
        return
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - start
        _recorder.store.observe(
            "retrain_stage_duration_seconds", (model, stage), seconds
        )


def record_model(
    model: str,
    *,
    version: str,
    algorithm: str,
    trained: float,
    data_end: float | None = None,
    stale_from: float | None = None,
    n_rows: int | None = None,
) -> None:
    """Say which model is served.

    Parameters
    ----------
    model : str
        The model's name.
    version, algorithm : str
        Such as a run id and "LGBMClassifier".
    trained : float
        When it was trained, in Unix seconds.
    data_end : float, default=None
        The end of the last label it knows, in Unix seconds.
    stale_from : float, default=None
        From when it is too old to act on, in Unix seconds.
    n_rows : int, default=None
        Rows it was trained on.

    Examples
    --------
    >>> from skatra import monitoring
    >>> monitoring.record_model(
    ...     "champion", version="1", algorithm="LGBMClassifier", trained=1.7e9)
    """
    if observation.observer is None or _recorder is None:
        return
    _recorder.model(model)
    store = _recorder.store
    _recorder.forget(model, "model_info")
    store.set("model_info", (model, version, algorithm), 1.0)
    store.set("model_trained_timestamp_seconds", (model,), trained)
    if data_end is not None:
        store.set("model_training_data_end_timestamp_seconds", (model,), data_end)
    if stale_from is not None:
        store.set("model_stale_timestamp_seconds", (model,), stale_from)
    if n_rows is not None:
        store.set("model_training_rows", (model,), n_rows)


def record_fold(
    model: str,
    fold: int,
    scores: Mapping[str, float],
    *,
    n_train: int | None = None,
    n_purged: int | None = None,
    n_embargoed: int | None = None,
) -> None:
    """Keep what a fold of the last validation scored and left out.

    Parameters
    ----------
    model : str
        The model's name.
    fold : int
        Number of the fold; 0 begins a validation, and forgets the folds of the last.
    scores : mapping
        Metric -> score, such as {"auc": 0.53}.
    n_train, n_purged, n_embargoed : int, default=None
        Rows, as ``audit_splits`` counts them.

    Examples
    --------
    >>> from skatra import monitoring
    >>> monitoring.record_fold("champion", 0, {"auc": 0.53}, n_train=800, n_purged=20)
    """
    if observation.observer is None or _recorder is None:
        return
    store = _recorder.store
    if fold == 0:
        _recorder.forget(model, "cv_fold_")
    for name, score in scores.items():
        store.set("cv_fold_score", (model, name, str(fold)), score)
    for short, count in (
        ("cv_fold_train_rows", n_train),
        ("cv_fold_purged_rows", n_purged),
        ("cv_fold_embargoed_rows", n_embargoed),
    ):
        if count is not None:
            store.set(short, (model, str(fold)), count)


def record_leakage(model: str, check: str, count: int = 1) -> None:
    """Count leaks found where none may be; a critical alert fires on any.

    Parameters
    ----------
    model : str
        The model's name.
    check : {"overlap", "embargo", "lookahead", "in_sample_prediction"}
    count : int, default=1
        How many; 0 counts nothing.

    Examples
    --------
    >>> from skatra import monitoring
    >>> monitoring.record_leakage("champion", "lookahead", 0)
    """
    if observation.observer is not None and _recorder is not None:
        _recorder.leaked(model, check, count)


def record_error(component: str, error: BaseException) -> None:
    """Count an error by part and type.

    Parameters
    ----------
    component : str
        Such as "signals" or "retraining".
    error : BaseException
        Only its type is kept, never its message.

    Examples
    --------
    >>> from skatra import monitoring
    >>> monitoring.record_error("signals", ValueError("no bars"))
    """
    if observation.observer is not None and _recorder is not None:
        _recorder.failed(component, error)
