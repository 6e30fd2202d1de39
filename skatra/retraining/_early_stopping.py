"""Early stopping on the last rows in time, purged from the rows before."""

from abc import ABCMeta, abstractmethod
from inspect import signature
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier, LGBMRegressor, early_stopping
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    RegressorMixin,
    clone,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_is_fitted,
    check_X_y,
    column_or_1d,
    validate_data,
)

from skatra.exceptions import EmptyDataError
from skatra.model_selection import purged_train_test_split
from skatra.retraining._search import is_positive_int
from skatra.typing import Closed, IntArray, LabelTimesLike, Span
from skatra.utils import as_finite_column, check_same_rows, safe_indexing


class _PurgedEarlyStopping(MetaEstimatorMixin, BaseEstimator, metaclass=ABCMeta):
    """What classifier and regressor share."""

    __metadata_request__fit: ClassVar[dict[str, Any]] = {
        "label_times": True,
        "sample_weight": True,
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        validation_fraction: float = 0.15,
        n_iter_no_change: int = 20,
        tol: float = 0.0,
        purge_gap: Span = 0,
        closed: Closed = "both",
    ) -> None:
        self.estimator = estimator
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.purge_gap = purge_gap
        self.closed = closed

    @abstractmethod
    def _default(self) -> Any:
        """Return the estimator that None stands for."""

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        label_times: "LabelTimesLike | None" = None,
    ) -> Self:
        """Find the number of trees on the last rows, then fit on all of them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in any order.
        y : array-like of shape (n_samples,)
            The target.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the fits and of the validation rows.
        label_times : Series or array-like of shape (n_samples, 2), default=None
            One label per row: a Series (index t0, values t1) or two columns. Requested
            from metadata routing by default. None needs a positive `purge_gap`.

        Returns
        -------
        self : object
            Itself.

        Raises
        ------
        LabelTimesError
            If there are no label times and no positive `purge_gap`, or if they do not
            fit the rows.
        ValueError
            If a part would be empty, or a parameter is out of range.
        """
        self._check_params()
        X, y = self._check_rows(X, y)
        check_same_rows(X=X, y=y, sample_weight=sample_weight, label_times=label_times)
        if sample_weight is not None:
            sample_weight = as_finite_column(
                sample_weight, "sample_weight", negative=False
            )
            if not np.any(sample_weight > 0):
                msg = "sample_weight must be above 0 in some row, got only zeros."
                raise ValueError(msg)
        train, stop = self._held_out(X, label_times, len(y))
        model = self._inner()
        stop, codes = self._encoded(y, train, stop, model)
        model.fit(
            safe_indexing(X, train),
            codes[train],
            sample_weight=_take(sample_weight, train),
            **_validation(model, safe_indexing(X, stop), codes[stop]),
            eval_sample_weight=[_take(sample_weight, stop)],
            callbacks=[
                early_stopping(
                    self.n_iter_no_change,
                    first_metric_only=True,
                    min_delta=self.tol,
                    verbose=False,
                )
            ],
        )
        self.n_iter_ = int(model.best_iteration_ or model.n_estimators)
        (scores,) = model.best_score_.values()
        self.validation_score_ = float(next(iter(scores.values())))
        self.n_train_, self.n_validation_ = len(train), len(stop)
        self.estimator_ = self._inner().set_params(n_estimators=self.n_iter_)
        self.estimator_.fit(X, y, sample_weight=sample_weight)
        return self

    def _held_out(
        self, X: Any, label_times: Any, n_rows: int
    ) -> tuple[IntArray, IntArray]:
        """Return the training and the validation rows."""
        positions: Any = np.arange(n_rows)
        if isinstance(X, pd.DataFrame):  # its index may hold the times
            positions = pd.Series(positions, index=X.index)
        train, stop = purged_train_test_split(
            positions,
            label_times=label_times,
            test_size=self.validation_fraction,
            purge_gap=self.purge_gap,
            closed=self.closed,
        )
        return np.asarray(train), np.asarray(stop)

    @abstractmethod
    def _encoded(
        self, y: Any, train: IntArray, stop: IntArray, model: Any
    ) -> tuple[IntArray, Any]:
        """Return the validation rows that can be scored, and the target as numbers."""

    def _inner(self) -> Any:
        """Return an unfitted LightGBM."""
        if self.estimator is None:
            return self._default()
        return clone(self.estimator)

    def _check_params(self) -> None:
        kinds = (LGBMClassifier, LGBMRegressor)
        if self.estimator is not None and not isinstance(self.estimator, kinds):
            msg = (
                "estimator must be an LGBMClassifier or LGBMRegressor, whose trees can "
                f"be counted, or None, got {type(self.estimator).__name__}."
            )
            raise TypeError(msg)
        count = self.n_iter_no_change
        if not is_positive_int(count):
            msg = f"n_iter_no_change must be an int of at least 1, got {count!r}."
            raise ValueError(msg)
        if isinstance(self.tol, bool) or not self.tol >= 0:
            msg = f"tol must be a number of at least 0, got {self.tol!r}."
            raise ValueError(msg)

    def _check_rows(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Learn the features' names and number; leave frames as they are."""
        if y is None:
            msg = (
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
            raise ValueError(msg)
        if isinstance(X, pd.DataFrame):
            validate_data(self, X, skip_check_array=True)
            return X, y
        X, y = validate_data(self, X, y, ensure_all_finite=False, ensure_min_samples=2)
        return X, y

    def predict(self, X: Any) -> Any:
        """Predict with the trees found.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows and features.

        Returns
        -------
        ndarray of shape (n_samples,)
            A prediction for each row.
        """
        X = self._check_features(X)
        return self.estimator_.predict(X)

    def _check_features(self, X: Any) -> Any:
        check_is_fitted(self)
        if isinstance(X, pd.DataFrame):
            validate_data(self, X, reset=False, skip_check_array=True)
            return X
        return validate_data(self, X, ensure_all_finite=False, reset=False)

    def __sklearn_tags__(self) -> Any:
        """Return LightGBM's input tags."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class PurgedEarlyStoppingClassifier(ClassifierMixin, _PurgedEarlyStopping):
    """LightGBM with as many trees as the last, purged share of its rows likes best.

    A validation set that shares prices with the training rows never says stop: labels
    that overlap have leaked. Here

    1. the last share of the training rows by t0 is held out, and rows whose label
       interval [t0, t1] overlaps one of theirs are dropped [1]_;
    2. trees are added until the validation metric has not improved for a while;
    3. all rows are fitted again with the number of trees found.

    Within a search or a cross-validation this happens inside each training fold:
    test rows are never seen.

    Parameters
    ----------
    estimator : LGBMClassifier, default=None
        What to fit; its ``n_estimators`` is the most trees, its ``metric`` what is
        watched (the log loss by default). None is
        ``LGBMClassifier(n_estimators=1000, n_jobs=1, verbose=-1)``.
    validation_fraction : float or int, default=0.15
        Share of the rows, or their number, held out at the end of time.
    n_iter_no_change : int, default=20
        Trees without improvement after which to stop.
    tol : float, default=0.0
        Improvements up to this count as none.
    purge_gap : str, timedelta, int or float, default=0
        Extra distance between training and validation labels, as in
        :class:`~skatra.model_selection.PurgedKFold`: what an embargo is for a
        validation set that no row follows. Without label times, their horizon.
    closed : {"both", "left"}, default="both"
        Whether labels that touch overlap.

    Attributes
    ----------
    estimator_ : LGBMClassifier
        The fitted model.
    n_iter_ : int
        Trees found.
    validation_score_ : float
        The metric on the validation rows after `n_iter_` trees.
    n_train_, n_validation_ : int
        Rows trained on and rows watched while stopping.
    classes_ : ndarray of shape (n_classes,)
        The classes.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if X had string column names.

    See Also
    --------
    skatra.model_selection.purged_train_test_split : Makes the validation rows.
    PurgedLGBMSearchCV : Scores several numbers of trees by purged cross-validation.

    Notes
    -----
    Validation rows of a class that the training rows before them lack cannot be scored
    and are left out of the metric.

    References
    ----------
    .. [1] M. López de Prado, *Advances in Financial Machine Learning*, Wiley 2018,
       section 7.4.1.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from lightgbm import LGBMClassifier
    >>> from skatra.retraining import PurgedEarlyStoppingClassifier
    >>> rng = np.random.default_rng(0)
    >>> days = pd.date_range("2020-01-01", periods=600, freq="D")
    >>> X = rng.normal(size=(600, 3))
    >>> y = X[:, 0] + rng.normal(size=600) > 0
    >>> label_times = pd.Series(days + pd.Timedelta("5D"), index=days)
    >>> model = PurgedEarlyStoppingClassifier(
    ...     LGBMClassifier(n_estimators=500, num_leaves=4, n_jobs=1, verbose=-1)
    ... ).fit(X, y, label_times=label_times)
    >>> model.n_iter_ < 100, model.n_train_, model.n_validation_
    (True, 505, 90)
    """

    def _default(self) -> Any:
        return LGBMClassifier(n_estimators=1000, n_jobs=1, verbose=-1)

    def _check_rows(self, X: Any, y: Any) -> tuple[Any, Any]:
        X, y = super()._check_rows(X, y)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            msg = (
                "Classifier can't train when only one class is present: "
                f"{self.classes_.tolist()}."
            )
            raise ValueError(msg)
        return X, y

    def _encoded(
        self, y: Any, train: IntArray, stop: IntArray, model: Any
    ) -> tuple[IntArray, Any]:
        # LightGBM encodes the classes of eval_set, but not those of eval_y.
        y = np.asarray(y)
        classes = np.unique(y[train])
        known = np.isin(y[stop], classes)
        if not known.any():
            msg = (
                f"The {len(stop)} validation rows hold no class of the {len(train)} "
                "training rows before them: nothing says when to stop. Raise "
                "validation_fraction, or use more rows."
            )
            raise EmptyDataError(msg)
        if isinstance(model.class_weight, dict):
            weights = {
                code: model.class_weight[name]
                for code, name in enumerate(classes.tolist())
                if name in model.class_weight
            }
            model.set_params(class_weight=weights)
        return stop[known], np.searchsorted(classes, y)

    def predict_proba(self, X: Any) -> Any:
        """Predict the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows and features.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            One column for each of ``classes_``.
        """
        X = self._check_features(X)
        return self.estimator_.predict_proba(X)


class PurgedEarlyStoppingRegressor(RegressorMixin, _PurgedEarlyStopping):
    """The regressor of :class:`PurgedEarlyStoppingClassifier`.

    Parameters
    ----------
    estimator : LGBMRegressor, default=None
        None is ``LGBMRegressor(n_estimators=1000, n_jobs=1, verbose=-1)``.
    validation_fraction : float or int, default=0.15
        Share of the rows, or their number, held out at the end of time.
    n_iter_no_change : int, default=20
        Trees without improvement after which to stop.
    tol : float, default=0.0
        Improvements up to this count as none.
    purge_gap : str, timedelta, int or float, default=0
        Extra distance between training and validation labels, as in
        :class:`~skatra.model_selection.PurgedKFold`: what an embargo is for a
        validation set that no row follows. Without label times, their horizon.
    closed : {"both", "left"}, default="both"
        Whether labels that touch overlap.

    Attributes
    ----------
    estimator_ : LGBMRegressor
        The fitted model.
    n_iter_, validation_score_, n_train_, n_validation_
        As in :class:`PurgedEarlyStoppingClassifier`.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if X had string column names.

    See Also
    --------
    PurgedEarlyStoppingClassifier : Says what happens, and why.

    References
    ----------
    M. López de Prado, *Advances in Financial Machine Learning*, Wiley 2018, section
    7.4.1.

    Examples
    --------
    >>> import numpy as np
    >>> from skatra.retraining import PurgedEarlyStoppingRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 2))
    >>> y = X[:, 0] + rng.normal(size=400)
    >>> model = PurgedEarlyStoppingRegressor(purge_gap=5).fit(X, y)
    >>> model.n_iter_ < 100
    True
    """

    def _default(self) -> Any:
        return LGBMRegressor(n_estimators=1000, n_jobs=1, verbose=-1)

    def _check_rows(self, X: Any, y: Any) -> tuple[Any, Any]:
        X, y = super()._check_rows(X, y)
        return X, check_X_y(np.zeros((len(y), 1)), y, y_numeric=True)[1]

    def _encoded(
        self,
        y: Any,
        train: IntArray,  # noqa: ARG002
        stop: IntArray,
        model: Any,  # noqa: ARG002
    ) -> tuple[IntArray, Any]:
        return stop, np.asarray(y)


def _validation(model: Any, X: Any, y: Any) -> dict[str, Any]:
    """Return validation rows as the installed LightGBM wants to have them."""
    if "eval_X" in signature(model.fit).parameters:
        return {"eval_X": X, "eval_y": y}
    return {"eval_set": [(X, y)]}


def _take(weight: Any, rows: IntArray) -> Any:
    """Return the weights of some rows, if there are any."""
    return None if weight is None else safe_indexing(weight, rows)
