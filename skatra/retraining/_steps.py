"""The steps of a run: compare splitters, search, judge on held-out rows."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from joblib import parallel_config
from lightgbm import LGBMClassifier
from sklearn.base import clone
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, get_scorer, log_loss, roc_auc_score
from sklearn.model_selection import KFold, ParameterGrid, TimeSeriesSplit

from skatra.exceptions import EmptyDataError, SearchStoppedError, TrainingError
from skatra.metrics import log_growth
from skatra.model_selection import (
    PurgedKFold,
    audit_splits,
    purged_train_test_split,
)
from skatra.retraining._config import RetrainConfig
from skatra.retraining._dataset import Rows
from skatra.retraining._early_stopping import PurgedEarlyStoppingClassifier
from skatra.retraining._evaluation import Backtest, backtest_positions
from skatra.retraining._ledger import SEARCH
from skatra.retraining._monitored import record_validation
from skatra.retraining._search import PurgedLGBMSearchCV
from skatra.retraining._session import (
    ModelMaker,
    Outcome,
    SearchLedger,
    Session,
    Task,
)
from skatra.sizing import KellyClassifier
from skatra.typing import FloatArray

NAIVE = "KFold(shuffle=True)"
FORWARD = "TimeSeriesSplit"
PURGED = "PurgedKFold"

FIXED = {"class_weight", "n_jobs", "objective", "random_state"}
"""LightGBM parameters that every fit shares: one thread, seeded, binary log loss."""

DEFAULT_MODEL = "LightGBM defaults"
TUNED_MODEL = "tuned"


@contextmanager
def routing() -> Iterator[None]:
    """Switch scikit-learn's metadata routing on for a block."""
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def lightgbm_classifier(config: RetrainConfig, params: Mapping[str, Any]) -> Any:
    """Return LightGBM with one deterministic thread per fit."""
    model = LGBMClassifier(
        n_jobs=1,
        random_state=config.seed,
        deterministic=True,
        force_row_wise=True,
        verbose=-1,
        **params,
    )
    with routing():
        return model.set_fit_request(sample_weight=True)


def inner_classifier(
    config: RetrainConfig,
    params: Mapping[str, Any],
    make_model: ModelMaker | None = None,
    *,
    stops: bool = True,
) -> Any:
    """Return LightGBM, stopped early on purged rows where the settings say so."""
    model = (make_model or lightgbm_classifier)(config, params)
    if config.early_stopping_rounds == 0 or not stops:
        return model
    return PurgedEarlyStoppingClassifier(
        model,
        validation_fraction=config.early_stopping_fraction,
        n_iter_no_change=config.early_stopping_rounds,
        purge_gap=config.embargo,
    )


def fit_inner(model: Any, rows: Rows) -> Any:
    """Fit an unsized model on rows, with everything that it takes."""
    told: dict[str, Any] = {"sample_weight": rows.sample_weight}
    if isinstance(model, PurgedEarlyStoppingClassifier):
        told["label_times"] = rows.label_times
    return model.fit(rows.data, rows.target, **told)


def kelly_classifier(
    config: RetrainConfig,
    cv: Any,
    params: Mapping[str, Any],
    make_model: ModelMaker | None = None,
    *,
    stops: bool = True,
) -> Any:
    """Return the sized model: LightGBM calibrated out of fold under ``cv``."""
    return KellyClassifier(
        inner_classifier(config, params, make_model, stops=stops),
        kelly_multiplier=config.kelly_multiplier,
        calibration="sigmoid",
        cv=cv,
        side=config.side,
        benchmark_return="mean",
        max_position=config.max_position,
    )


def purged_kfold(config: RetrainConfig) -> PurgedKFold:
    """Return the run's purged splitter."""
    return PurgedKFold(config.n_splits, embargo=config.embargo)


def fit_rows(model: Any, rows: Rows) -> Any:
    """Fit a sized model on rows, with everything it can use."""
    return model.fit(
        rows.data,
        rows.target,
        sample_weight=rows.sample_weight,
        returns=rows.returns,
        label_times=rows.label_times,
    )


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Out-of-fold predictions under one splitter.

    Attributes
    ----------
    model : str
        ``DEFAULT_MODEL`` or ``TUNED_MODEL``.
    splitter : str
    probability, position : ndarray of shape (n,)
        Calibrated, sized; NaN where the splitter never tests a row.
    auc : float
        Mean over the folds of LightGBM's own ranking, before calibration.
    log_loss : float
        Mean over the folds of the calibrated probabilities.
    problem : str or None
        Why the splitter could not be used; its figures are then NaN.
    auc_error : float
        Standard error of the mean AUC over the folds.
    growth_per_bet : float
        Mean log growth of the positions, after cost.
    leaking_pairs, leaking_rows : int
        Train-test pairs whose labels overlap, and training rows in such a pair.
    train_rows : int
        Training rows over all folds.
    """

    model: str
    splitter: str
    probability: FloatArray
    position: FloatArray
    auc: float
    auc_error: float
    log_loss: float
    growth_per_bet: float
    leaking_pairs: int
    leaking_rows: int
    train_rows: int
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures without the per-row arrays.

        Returns
        -------
        dict
            Plain dicts, lists, numbers and strings; NaN and infinities are None.
        """
        return {
            "model": self.model,
            "splitter": self.splitter,
            "auc": self.auc,
            "auc_error": self.auc_error,
            "log_loss": self.log_loss,
            "growth_per_bet": self.growth_per_bet,
            "leaking_pairs": self.leaking_pairs,
            "leaking_rows": self.leaking_rows,
            "train_rows": self.train_rows,
            "problem": self.problem,
        }


def predict_fold(model: Any, train: Rows, test: Rows) -> Outcome:
    """Return ranking, calibrated probabilities and positions of the test rows.

    One thread, unless the model's ``n_jobs`` asks for more: tasks run side by side.
    """
    with routing(), parallel_config("threading"):
        fitted = fit_rows(clone(model), train)
    positive = test.target.to_numpy() > 0
    raw = fitted.estimator_.predict_proba(test.data)[:, 1]
    calibrated = fitted.predict_proba(test.data)[:, 1]
    both = 0 < positive.sum() < len(positive)
    figures = {
        "auc": float(roc_auc_score(positive, raw)) if both else float("nan"),
        "log_loss": float(log_loss(positive, calibrated, labels=[False, True])),
    }
    return figures, {"p": calibrated, "f": fitted.decision_function(test.data)}


def model_params(config: RetrainConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything but rows and code that decides a sized model."""
    return {
        "lightgbm": dict(params),
        "seed": config.seed,
        "kelly_multiplier": config.kelly_multiplier,
        "side": config.side,
        "max_position": config.max_position,
        "n_splits": config.n_splits,
        "embargo": str(config.embargo),
        **stopping(config),
    }


def stopping(config: RetrainConfig) -> dict[str, Any]:
    """Return what decides the number of trees; nothing where none is looked for."""
    if config.early_stopping_rounds == 0:
        return {}
    return {
        "early_stopping_rounds": config.early_stopping_rounds,
        "early_stopping_fraction": config.early_stopping_fraction,
        "early_stopping_gap": str(config.embargo),
    }


def out_of_fold(
    label: str,
    splitter: str,
    cv: Any,
    rows: Rows,
    model: Any,
    config: RetrainConfig,
    session: Session,
    params: Mapping[str, Any],
) -> OutOfFold:
    """Fit the model on every training set of ``cv`` and predict every test set."""
    with routing():
        keywords = {"label_times": rows.label_times} if splitter == PURGED else {}
        splits = list(cv.split(rows.data, rows.target, **keywords))
        audit = audit_splits(splits, rows.data, label_times=rows.label_times)
    told = {**model_params(config, params), "calibrated_by": splitter}
    work = partial(predict_fold, model)
    results = session.run(rows, [Task("compare", told, s, work) for s in splits])
    if label == TUNED_MODEL and splitter == PURGED:
        record_validation(cv, rows, [figures for figures, _ in results])
    probability = np.full(len(rows), np.nan)
    position = np.full(len(rows), np.nan)
    for (_, test), (_, arrays) in zip(splits, results, strict=True):
        probability[test], position[test] = arrays["p"], arrays["f"]
    aucs = [figures["auc"] for figures, _ in results]
    if not np.isfinite(aucs).all():
        msg = f"{splitter} must test both classes in every fold, which it does not."
        raise ValueError(msg)
    tested = ~np.isnan(position)
    return OutOfFold(
        model=label,
        splitter=splitter,
        probability=probability,
        position=position,
        auc=float(np.mean(aucs)),
        auc_error=float(np.std(aucs, ddof=1) / np.sqrt(len(aucs))),
        log_loss=float(np.mean([figures["log_loss"] for figures, _ in results])),
        growth_per_bet=float(
            log_growth(
                position[tested], rows.returns.to_numpy()[tested], cost=config.cost
            )
        ),
        leaking_pairs=int(audit.n_leaking_pairs),
        leaking_rows=int(audit.n_leaking_rows),
        train_rows=int(sum(len(train) for train, _ in splits)),
    )


def compare_splitters(
    rows: Rows, tuned: Mapping[str, Any], config: RetrainConfig, session: Session
) -> tuple[OutOfFold, ...]:
    """Score LightGBM's defaults and the tuned model under three splitters.

    The defaults are not stopped early, as nobody is who just calls ``fit``. Each
    splitter also cross-fits the model's calibration, as its user would.
    """
    splitters = {
        NAIVE: KFold(config.n_splits, shuffle=True, random_state=config.seed),
        FORWARD: TimeSeriesSplit(config.n_splits),
        PURGED: purged_kfold(config),
    }
    found = []
    for label, params in ((DEFAULT_MODEL, {}), (TUNED_MODEL, tuned)):
        for splitter, cv in splitters.items():
            model = kelly_classifier(
                config, cv, params, session.make_model, stops=label == TUNED_MODEL
            )
            try:
                found.append(
                    out_of_fold(
                        label, splitter, cv, rows, model, config, session, params
                    )
                )
            except ValueError as error:
                if splitter == PURGED:
                    raise
                found.append(_impossible(label, splitter, len(rows), error))
    return tuple(found)


def _impossible(label: str, splitter: str, n: int, error: ValueError) -> OutOfFold:
    """Return the entry of a splitter whose folds cannot be fitted."""
    nan, rows = float("nan"), np.full(n, np.nan)
    return OutOfFold(
        label, splitter, rows, rows, nan, nan, nan, nan, 0, 0, 0, problem=str(error)
    )


def boosting(config: RetrainConfig) -> dict[str, Any]:
    """Return the parameters that every candidate shares."""
    return {
        "n_estimators": config.n_estimators,
        "learning_rate": config.learning_rate,
    }


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The purged grid search.

    Attributes
    ----------
    best_params : dict
        LightGBM parameters with the lowest out-of-fold log loss.
    table : DataFrame
        One row per candidate: parameters, mean and std of the log loss, and the mean
        number of trees where these were found by early stopping.
    """

    best_params: dict[str, Any]
    table: pd.DataFrame


def check_grid_names(config: RetrainConfig) -> None:
    """Refuse parameters that LightGBM would ignore, or that a search must not set."""
    known = set(LGBMClassifier().get_params()) - FIXED
    if unknown := sorted(set(config.param_grid) - known):
        msg = (
            "param_grid must name parameters of LGBMClassifier that a search may "
            f"change, got {unknown}. It may change {', '.join(sorted(known))}."
        )
        raise ValueError(msg)


def check_folds(rows: Rows, config: RetrainConfig, *, within: str = "") -> None:
    """Refuse folds that hold one class only: nothing can be learned or scored there.

    Calibration cuts the training rows of every fold again, and only learns from them.
    """
    splits = purged_kfold(config).split(rows.data, label_times=rows.label_times)
    for number, (train, test) in enumerate(splits):
        parts = {"trains": train} if within else {"trains": train, "tests": test}
        for part, taken in parts.items():
            classes = rows.target.iloc[taken].unique()
            if len(classes) > 1:
                continue
            t0 = rows.data.index[taken].get_level_values(1)
            fewer = ", take fewer folds (n_splits)" if config.n_splits > 2 else ""
            msg = (
                f"fold {number} of n_splits={config.n_splits}{within} {part} on "
                f"{len(taken):,} rows from {t0.min():%Y-%m-%d} to {t0.max():%Y-%m-%d} "
                f"whose labels are all {classes[0]:+d}. Change the "
                f"labels (barrier_width, max_holding){fewer}, or load more bars."
            )
            raise TrainingError(msg)
        if not within:
            inner = f", within the training rows of fold {number},"
            check_folds(rows.take(train), config, within=inner)


def search(rows: Rows, config: RetrainConfig, session: Session) -> SearchResult:
    """Tune LightGBM by log loss under purged cross-validation."""
    check_grid_names(config)
    check_folds(rows, config)
    if config.early_stopping_rounds:
        return _search_stopping_early(rows, config, session)
    found = PurgedLGBMSearchCV(
        lightgbm_classifier(config, boosting(config)),
        {name: list(values) for name, values in config.param_grid.items()},
        cv=purged_kfold(config),
        scoring=weighted_log_loss(),
        refit=False,
        backend=session.backend,
        ledger=SearchLedger(session, {**boosting(config), "seed": config.seed}),
        should_stop=session.should_stop,
    )
    try:
        with routing():
            found.fit(
                rows.data,
                rows.target,
                sample_weight=rows.sample_weight,
                label_times=rows.label_times,
            )
    except SearchStoppedError:
        session.stop_if_asked()
        raise
    results = found.cv_results_
    table = pd.DataFrame(results["params"]).assign(
        log_loss=-results["mean_test_score"], std=results["std_test_score"]
    )
    best = {**boosting(config), **found.best_params_}
    return SearchResult(best, table.sort_values("log_loss"))


def _search_stopping_early(
    rows: Rows, config: RetrainConfig, session: Session
) -> SearchResult:
    """Score candidates that stop early: each fit bins and counts its own trees."""
    with routing():
        splits = list(
            purged_kfold(config).split(rows.data, label_times=rows.label_times)
        )
    grid = list(ParameterGrid({k: list(v) for k, v in config.param_grid.items()}))
    whole = [{**boosting(config), **candidate} for candidate in grid]
    outcomes = session.run(
        rows,
        [
            Task(
                SEARCH,
                {**params, "seed": config.seed, **stopping(config)},
                split,
                partial(
                    _score_fold, inner_classifier(config, params, session.make_model)
                ),
            )
            for params in whole
            for split in splits
        ],
    )
    shape = (len(grid), len(splits))
    losses, trees = (
        np.reshape([figures[name] for figures, _ in outcomes], shape)
        for name in ("log_loss", "trees")
    )
    table = pd.DataFrame(grid).assign(
        log_loss=losses.mean(axis=1), std=losses.std(axis=1), trees=trees.mean(axis=1)
    )
    best = whole[int(losses.mean(axis=1).argmin())]
    return SearchResult(best, table.sort_values("log_loss"))


def _score_fold(model: Any, train: Rows, test: Rows) -> Outcome:
    """Return the weighted log loss of the test rows, and the trees that made it."""
    with routing():
        fitted = fit_inner(clone(model), train)
        score = weighted_log_loss()(
            fitted, test.data, test.target, sample_weight=test.sample_weight
        )
    return {"log_loss": -float(score), "trees": fitted.n_iter_}, {}


def weighted_log_loss() -> Any:
    """Return scikit-learn's scorer, which is to see the weights."""
    with routing():
        return get_scorer("neg_log_loss").set_score_request(sample_weight=True)


def split_holdout(rows: Rows, config: RetrainConfig) -> tuple[Rows, Rows]:
    """Split off the last share in time; purge and embargo the development rows."""
    positions = np.arange(len(rows))
    train, test = purged_train_test_split(
        positions,
        label_times=rows.label_times,
        test_size=config.holdout,
        embargo=config.embargo,
    )
    return rows.take(train), rows.take(test)


@dataclass(frozen=True, slots=True)
class Holdout:
    """The tuned model on rows that nothing before it has seen.

    Attributes
    ----------
    positions : Series, index (symbol, t0)
        Signed positions, fractions of capital staked on each label's side.
    probability : Series, same index
        Calibrated probability of the positive label.
    backtest : Backtest
        The positions as one book, bar by bar, after cost.
    reliability : DataFrame
        Columns predicted, observed, rows: ten quantile bins of probability.
    scores : dict
        AUC, log loss, Brier score, growth per bet and the book's figures.
    """

    positions: "pd.Series[float]"
    probability: "pd.Series[float]"
    backtest: Backtest
    reliability: pd.DataFrame
    scores: dict[str, float]


def judge_holdout(
    rows: Rows,
    development: Rows,
    held_out: Rows,
    bars: pd.DataFrame,
    params: dict[str, Any],
    config: RetrainConfig,
    session: Session,
) -> Holdout:
    """Fit on the development rows, size the held-out rows and follow the book."""
    if held_out.target.nunique() < 2:
        msg = (
            f"holdout={config.holdout} leaves {len(held_out)} held-out rows of one "
            "sign only, which judges nothing. Hold out more, or load more bars."
        )
        raise EmptyDataError(msg)
    model = kelly_classifier(config, purged_kfold(config), params, session.make_model)
    task = Task(
        "holdout",
        model_params(config, params),
        (development.positions, held_out.positions),
        partial(predict_fold, model.set_params(n_jobs=config.n_jobs)),
    )
    ((figures, arrays),) = session.run(rows, [task])
    index = held_out.data.index
    probability: pd.Series[float] = pd.Series(
        np.asarray(arrays["p"], dtype=np.float64), index=index
    )
    positions: pd.Series[float] = pd.Series(
        np.asarray(arrays["f"], dtype=np.float64), index=index
    )
    exposures = positions * held_out.side
    book = backtest_positions(exposures, held_out.label_times, bars, cost=config.cost)
    positive = held_out.target.to_numpy() > 0
    observed, predicted = calibration_curve(
        positive, probability, n_bins=10, strategy="quantile"
    )
    scores = {
        "auc": figures["auc"],
        "log_loss": float(log_loss(positive, probability, labels=[False, True])),
        "brier": float(brier_score_loss(positive, probability)),
        "base_rate": float(positive.mean()),
        "mean_absolute_position": float(positions.abs().mean()),
        "growth_per_bet": float(
            log_growth(positions, held_out.returns, cost=config.cost)
        ),
        **book.summary(),
    }
    reliability = pd.DataFrame({"predicted": predicted, "observed": observed})
    return Holdout(positions, probability, book, reliability, scores)


def fit_whole(
    rows: Rows, params: Mapping[str, Any], config: RetrainConfig, session: Session
) -> Any:
    """Return the sized model fitted on rows by a worker, its folds in threads."""
    model = kelly_classifier(config, purged_kfold(config), params, session.make_model)
    model.set_params(n_jobs=config.n_jobs)
    split = (np.arange(len(rows)), np.arange(0))
    return session.once(rows, split, partial(_fit, model))


def _fit(model: Any, train: Rows, _: Rows) -> Any:
    """Return a model fitted as it will be served: early stopping has said its word."""
    with routing(), parallel_config("threading"):
        fitted = fit_rows(model, train)
    if isinstance(fitted.estimator_, PurgedEarlyStoppingClassifier):
        fitted.estimator_ = fitted.estimator_.estimator_
    return fitted
