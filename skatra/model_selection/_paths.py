"""Out-of-sample predictions along backtest paths."""

from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.metrics import get_scorer
from sklearn.model_selection import check_cv
from sklearn.utils import get_tags, indexable
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.parallel import Parallel, delayed

from skatra.model_selection._label_times import count_rows
from skatra.typing import IntArray, Split
from skatra.utils import HTMLRepr, check_method_params, safe_indexing

_FILL = {"predict_proba": 0.0, "predict_log_proba": float(np.finfo(np.float32).min)}
_PER_CLASS = (*_FILL, "decision_function")


class BacktestPaths(HTMLRepr):
    """Predictions along backtest paths, each of which covers every row once.

    Made by :func:`cross_val_paths`.

    Attributes
    ----------
    paths : ndarray of shape (n_paths, n_samples) or (n_paths, n_samples, n_outputs)
        Out-of-sample predictions, in row order.
    splits : ndarray of shape (n_paths, n_samples), intp
        Which split of the splitter made each prediction.
    method : str
        The estimator's method that predicted.
    classes : ndarray of shape (n_classes,) or None
        The sorted classes of `y`, which are the columns of probabilities; None for
        regressors.
    """

    def __init__(
        self,
        paths: NDArray[Any],
        splits: IntArray,
        method: str,
        classes: NDArray[Any] | None,
        source: tuple[Any, Any, Any],
    ) -> None:
        self.paths = paths
        self.splits = splits
        self.method = method
        self.classes = classes
        self._estimator, self._X, self._y = source

    @property
    def n_paths(self) -> int:
        """Number of backtest paths."""
        return len(self.paths)

    def scores(
        self, scoring: "str | Any | Sequence[str] | Mapping[str, Any]", **params: Any
    ) -> pd.DataFrame:
        """Score every path.

        Parameters
        ----------
        scoring : str, callable, sequence of str or dict of these
            Scorers as scikit-learn names or makes them, ``scorer(estimator, X, y)``.
            They see all rows, and for estimator the predictions of one path.

        **params : object
            Passed to every scorer, e.g. `sample_weight` or `returns`.

        Returns
        -------
        scores : DataFrame of shape (n_paths, n_scorers)
            Index "path", one column per scorer.

        Raises
        ------
        ValueError
            If a scorer needs another method than the one that predicted.
        """
        scorers = _as_scorers(scoring)
        table = []
        for path in self.paths:
            replay = _Replay(self._estimator, self.method, path, self.classes)
            try:
                table.append(
                    [
                        scorer(replay, self._X, self._y, **params)
                        for scorer in scorers.values()
                    ]
                )
            except AttributeError as error:
                raise ValueError(
                    f"scoring={scoring!r} needs another method than {self.method!r}, "
                    f"which made these paths ({error}). Call "
                    "cross_val_paths(..., method=...) with the one it needs."
                ) from error
        index = pd.RangeIndex(self.n_paths, name="path")
        return pd.DataFrame(table, index=index, columns=list(scorers))

    def to_frame(self) -> pd.DataFrame:
        """Return one row per sample and one column per path.

        Returns
        -------
        frame : DataFrame of shape (n_samples, n_paths [* n_outputs])
            Indexed like X. Columns "path", or ("path", "output") with the classes or
            numbers of the outputs.
        """
        index = getattr(self._X, "index", None)
        if self.paths.ndim == 2:
            columns: pd.Index = pd.RangeIndex(self.n_paths, name="path")
            return pd.DataFrame(self.paths.T, index=index, columns=columns)
        n_outputs = self.paths.shape[2]
        outputs = (
            range(n_outputs)
            if self.classes is None or len(self.classes) != n_outputs
            else self.classes
        )
        columns = pd.MultiIndex.from_product(
            [range(self.n_paths), outputs], names=["path", "output"]
        )
        rows = self.paths.transpose(1, 0, 2).reshape(self.paths.shape[1], -1)
        return pd.DataFrame(rows, index=index, columns=columns)

    def _html_rows(self) -> dict[str, Any]:
        return {
            "n_paths": self.n_paths,
            "n_splits": int(self.splits.max()) + 1,
            "method": self.method,
            "paths": self.paths,
            "classes": self.classes,
        }

    def __repr__(self) -> str:
        """Return one line."""
        return (
            f"BacktestPaths(n_paths={self.n_paths}, n_samples={self.paths.shape[1]}, "
            f"n_splits={int(self.splits.max()) + 1}, method={self.method!r})"
        )


def cross_val_paths(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    cv: Any,
    groups: Any = None,
    method: str = "predict",
    params: "Mapping[str, Any] | None" = None,
    n_jobs: int | None = None,
    progress: bool = False,
) -> BacktestPaths:
    """Predict all rows out of sample, once along each backtest path.

    Each split is fitted once. The first prediction of a row goes to the first path,
    its second to the second, and so on [1]_, so that
    :class:`CombinatorialPurgedKFold` gives C(N-1, k-1) paths, and any K-fold one.

    Parameters
    ----------
    estimator : estimator
        Cloned and fitted on the training rows of each split.

    X : array-like of shape (n_samples, ...)
        The rows to predict.

    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        The target.

    cv : splitter or iterable of (train, test)
        Must test every row equally often. A number of folds is refused: it would
        mean KFold, which purges nothing.

    groups : array-like of shape (n_samples,), default=None
        Passed to the splitter. With metadata routing on, pass it in `params`.

    method : str, default="predict"
        The estimator's method to call: "predict", "predict_proba",
        "predict_log_proba", "decision_function", ...

    params : dict, default=None
        Metadata, sliced by split where they have one entry per row. With metadata
        routing on, each goes where it is requested, as in
        :func:`~sklearn.model_selection.cross_val_predict`. With routing off, those
        that `cv.split` names (`label_times`) go there, all others, and those that
        `estimator.fit` names, to `fit`.

    n_jobs : int, default=None
        Splits fitted at a time, through joblib: ``joblib.parallel_config`` applies.

    progress : bool, default=False
        Show a progress bar on stderr.

    Returns
    -------
    paths : BacktestPaths
        With `paths`, `splits`, `scores` and `to_frame`.

    Raises
    ------
    ValueError
        If some rows are tested more often than others, a split's training rows
        lack a class where outputs cannot be aligned, or cv is a number.

    See Also
    --------
    CombinatorialPurgedKFold : The splitter that this is for.

    Notes
    -----
    A class that a split has not seen in training has probability 0 there.

    References
    ----------
    .. [1] M. López de Prado, *Advances in Financial Machine Learning*, Wiley
       2018, section 12.4.2.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> from skatra.model_selection import CombinatorialPurgedKFold, cross_val_paths
    >>> days = pd.date_range("2026-01-05", periods=12, freq="D")
    >>> label_times = pd.Series(days, index=days)
    >>> X = pd.DataFrame({"x": np.arange(12.0)}, index=days)
    >>> y = (X["x"] - 5) ** 2
    >>> cv = CombinatorialPurgedKFold(4, 2)
    >>> paths = cross_val_paths(
    ...     LinearRegression(), X, y, cv=cv, params={"label_times": label_times}
    ... )
    >>> paths
    BacktestPaths(n_paths=3, n_samples=12, n_splits=6, method='predict')
    >>> paths.splits[:, ::3]
    array([[0, 0, 1, 2],
           [1, 3, 3, 4],
           [2, 4, 5, 5]])
    >>> paths.scores("neg_mean_absolute_error").round(1)
          neg_mean_absolute_error
    path
    0                       -24.8
    1                       -22.5
    2                       -24.8
    """
    if cv is None or isinstance(cv, Integral):
        msg = (
            f"cv must be a splitter or splits, got {cv!r}, which would mean KFold and "
            f"purge nothing. Pass PurgedKFold({cv or 5}) or CombinatorialPurgedKFold."
        )
        raise ValueError(msg)
    X, y, groups = indexable(X, y, groups)
    split_params, fit_params = _route(estimator, cv, groups, dict(params or {}))
    splitter = check_cv(cv, y, classifier=is_classifier(estimator))
    splits = list(splitter.split(X, y, **split_params))
    made_by = _assign_paths(splits, count_rows(X), cv)
    classes = None
    if is_classifier(estimator) and np.ndim(y) == 1:
        classes = np.unique(np.asarray(y))
    tasks = (
        delayed(_fit_and_predict)(
            clone(estimator), X, y, split, fit_params, method, classes, number
        )
        for number, split in enumerate(splits)
    )
    if progress:
        parallel = Parallel(n_jobs=n_jobs, return_as="generator")
        predictions = _show_progress(parallel(tasks), len(splits))
    else:
        predictions = Parallel(n_jobs=n_jobs)(tasks)
    paths = _along_paths(predictions, splits, made_by)
    return BacktestPaths(paths, made_by, method, classes, (estimator, X, y))


def _route(
    estimator: Any, cv: Any, groups: Any, params: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what goes to split and what to fit."""
    if sklearn.get_config()["enable_metadata_routing"]:
        if groups is not None:
            raise ValueError(
                "groups must be passed in params={'groups': groups} when metadata "
                "routing is enabled."
            )
        router = (
            MetadataRouter(owner="cross_val_paths")
            .add(
                splitter=cv,
                method_mapping=MethodMapping().add(caller="fit", callee="split"),
            )
            .add(
                estimator=estimator,
                method_mapping=MethodMapping().add(caller="fit", callee="fit"),
            )
        )
        routed = process_routing(router, "fit", **params)
        return dict(routed.splitter.split), dict(routed.estimator.fit)
    by_split = signature(cv.split).parameters if hasattr(cv, "split") else {}
    by_fit = signature(estimator.fit).parameters
    split_params = {name: params[name] for name in params if name in by_split}
    fit_params = {
        name: params[name]
        for name in params
        if name not in split_params or name in by_fit
    }
    return {"groups": groups, **split_params}, fit_params


def _assign_paths(splits: Sequence[Split], n_rows: int, cv: Any) -> IntArray:
    """Return which split predicts each row on each path."""
    n_times = np.zeros(n_rows, dtype=np.intp)
    for _, test in splits:
        n_times[test] += 1
    least, most = int(n_times.min()), int(n_times.max())
    if least != most or most == 0:
        raise ValueError(
            f"cv must test every row equally often to make paths, but {cv!r} tests "
            f"rows {least} to {most} times. Use CombinatorialPurgedKFold or a K-fold."
        )
    made_by = np.empty((most, n_rows), dtype=np.intp)
    n_times[:] = 0
    for number, (_, test) in enumerate(splits):
        made_by[n_times[test], test] = number
        n_times[test] += 1
    return made_by


def _along_paths(
    predictions: Iterable[NDArray[Any]], splits: Sequence[Split], made_by: IntArray
) -> NDArray[Any]:
    """Arrange the predictions of all splits along the paths."""
    parts = list(predictions)
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) > 1:
        raise ValueError(
            "predictions must have the same columns in every split, got shapes "
            f"{sorted({part.shape for part in parts})}."
        )
    paths = np.empty(made_by.shape + shapes.pop(), dtype=np.result_type(*parts))
    n_times = np.zeros(made_by.shape[1], dtype=np.intp)
    for part, (_, test) in zip(parts, splits, strict=True):
        paths[n_times[test], test] = part
        n_times[test] += 1
    return paths


def _fit_and_predict(
    estimator: Any,
    X: Any,
    y: Any,
    split: Split,
    fit_params: dict[str, Any],
    method: str,
    classes: NDArray[Any] | None,
    number: int,
) -> NDArray[Any]:
    """Fit on the training rows and return the predictions of the test rows."""
    train, test = split
    own_params = check_method_params(X, fit_params, train)
    if y is None:
        estimator.fit(safe_indexing(X, train), **own_params)
    else:
        estimator.fit(safe_indexing(X, train), safe_indexing(y, train), **own_params)
    output = np.asarray(getattr(estimator, method)(safe_indexing(X, test)))
    if output.ndim not in (1, 2) or len(output) != len(test):
        raise ValueError(
            f"method={method!r} must give one row of numbers per sample, but "
            f"{type(estimator).__name__} gave shape {output.shape} for {len(test)} "
            "rows."
        )
    if classes is None or method not in _PER_CLASS:
        return output
    seen = np.asarray(getattr(estimator, "classes_", classes))
    if len(seen) == len(classes):
        return output
    if method not in _FILL:
        raise ValueError(
            f"the training rows of split {number} hold {len(seen)} of {len(classes)} "
            f"classes, so that {method} has other columns there. Use longer folds, or "
            "method='predict_proba'."
        )
    filled = np.full((len(test), len(classes)), _FILL[method], dtype=output.dtype)
    filled[:, np.searchsorted(classes, seen)] = output
    return filled


def _show_progress(
    predictions: Iterable[NDArray[Any]], total: int
) -> list[NDArray[Any]]:
    """Collect predictions under a progress bar on stderr."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return list(track(predictions, "Fitting splits", total=total, console=console))


def _as_scorers(scoring: Any) -> dict[str, Any]:
    """Return scorers by name."""
    if isinstance(scoring, Mapping):
        return {name: get_scorer(scorer) for name, scorer in scoring.items()}
    if isinstance(scoring, str) or callable(scoring):
        name = scoring if isinstance(scoring, str) else _name_of(scoring)
        return {name: get_scorer(scoring)}
    return {name: get_scorer(name) for name in scoring}


def _name_of(scorer: Any) -> str:
    return str(getattr(scorer, "__name__", "score"))


class _Replay(BaseEstimator):
    """Stands for a fitted estimator that predicts one path."""

    def __init__(
        self,
        estimator: Any,
        method: str,
        output: NDArray[Any],
        classes: NDArray[Any] | None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.output = output
        if classes is not None:
            self.classes_ = classes

        def replay(X: Any) -> NDArray[Any]:
            if count_rows(X) != len(output):
                raise ValueError(
                    f"scorers must score all {len(output)} rows of a path at once, "
                    f"got {count_rows(X)}."
                )
            return output

        # Scorers ask for a method, and then for its name.
        replay.__name__ = method
        setattr(self, method, replay)

    def __sklearn_tags__(self) -> Any:
        """Return the tags of the estimator that made the path."""
        return get_tags(self.estimator)

    def __sklearn_is_fitted__(self) -> bool:
        return True
