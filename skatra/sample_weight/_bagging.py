"""Bagging of models on labels that overlap."""

import copy
import numbers
import warnings
from typing import Any, ClassVar

import numpy as np
import sklearn
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import (
    assert_all_finite,
    check_array,
    check_random_state,
    get_tags,
)
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from skatra.sample_weight._sequential import sequential_bootstrap
from skatra.typing import FloatArray, IntArray
from skatra.utils import check_same_rows, take_rows


def _can_predict_proba(self: Any) -> bool:
    """Say whether the inner model has probabilities."""
    inner = self.estimators_[0] if hasattr(self, "estimators_") else self._inner()
    return hasattr(inner, "predict_proba")


class SequentialBootstrapBagging(MetaEstimatorMixin, BaseEstimator):
    """Average models fitted on sequential bootstraps of the rows.

    An ordinary bootstrap of overlapping labels gives every model nearly the same
    rows, so that averaging helps little and out-of-bag scores deceive. Here each
    model's rows are drawn by :func:`sequential_bootstrap`. A classifier inside makes
    this a classifier, a regressor a regressor. ``label_times`` are requested by
    default: with metadata routing enabled, pass them to ``GridSearchCV.fit`` or
    ``cross_validate(params=)`` and they arrive here, cut to each fold.

    Parameters
    ----------
    estimator : classifier or regressor, default=None
        Cloned for each draw. None: ``DecisionTreeClassifier()``.
    n_estimators : int, default=10
        Number of models, at least 1.
    max_samples : int or float, default=1.0
        Rows drawn for each: a count, or a share of the rows in (0, 1].
    n_jobs : int, default=None
        Models fitted in parallel, as in joblib.
    random_state : int, RandomState or None, default=None
        Of the draws and of the models.

    Attributes
    ----------
    estimators_ : list of estimators
        The fitted models.
    estimators_samples_ : list of ndarray, intp
        The rows drawn for each, in the order drawn.
    classes_ : ndarray of shape (n_classes,)
        Classes, of a classifier.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had string column names.

    Warns
    -----
    UserWarning
        In ``fit``, if no label_times are given: rows are then taken not to overlap,
        which is the ordinary bootstrap.

    See Also
    --------
    sequential_bootstrap : The draw.

    Notes
    -----
    M. López de Prado, Advances in Financial Machine Learning (2018), section 6.3.3
    and 4.5. It cannot help where every label overlaps every other: there is then
    one effective row, and no way to draw two.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skatra.sample_weight import SequentialBootstrapBagging
    >>> days = pd.date_range("2024-01-01", periods=100)
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> y = X[:, 0] > 0
    >>> label_times = pd.Series(days + pd.Timedelta("5D"), index=days)
    >>> model = SequentialBootstrapBagging(LogisticRegression(), random_state=0)
    >>> model = model.fit(X, y, label_times=label_times)
    >>> model.predict([[1.0, 0.0], [-1.0, 0.0]])
    array([ True, False])
    """

    __metadata_request__fit: ClassVar[dict[str, Any]] = {"label_times": True}
    __metadata_request__score: ClassVar[dict[str, Any]] = {"sample_weight": False}

    def __init__(
        self,
        estimator: Any = None,
        n_estimators: int = 10,
        *,
        max_samples: float = 1.0,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(
        self, X: Any, y: Any, label_times: Any = None, **fit_params: Any
    ) -> "SequentialBootstrapBagging":
        """Draw the rows of each model and fit it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Handed to the models as it is, cut to the rows drawn.
        y : array-like of shape (n_samples,)
            Classes or numbers.
        label_times : Series or array-like of shape (n_samples, 2), default=None
            When each row's label starts and ends.
        **fit_params : dict
            Handed to the models; values with one entry per row are cut to the rows
            drawn. With metadata routing the models must have requested them.

        Returns
        -------
        SequentialBootstrapBagging
            The fitted ensemble.

        Raises
        ------
        ValueError
            If a parameter is out of range or rows do not match by index.
        """
        inner = self._inner()
        if y is None:
            msg = (
                "SequentialBootstrapBagging requires y to be passed, but the target y "
                "is None."
            )
            raise ValueError(msg)
        X = _checked_table(X, get_tags(inner).input_tags)
        check_same_rows(X=X, y=y, label_times=label_times)
        validate_data(self, X, y, skip_check_array=True)
        n_draws = self._n_draws(X.shape[0])
        y = column_or_1d(y, warn=True)
        if y.dtype.kind == "f":
            assert_all_finite(y, input_name="y")
        if is_classifier(inner):
            check_classification_targets(y)
            self.classes_, y = np.unique(y, return_inverse=True)
        if label_times is None:
            warnings.warn(
                "SequentialBootstrapBagging was fitted without label_times: rows are "
                "taken not to overlap, and drawn as by an ordinary bootstrap. Pass "
                "fit(..., label_times=); within a pipeline or search enable metadata "
                "routing.",
                UserWarning,
                stacklevel=2,
            )
            label_times = np.repeat(np.arange(X.shape[0])[:, None], 2, axis=1)
        params = self._inner_params(fit_params)
        random = check_random_state(self.random_state)
        seeds = random.randint(np.iinfo(np.int32).max, size=self.n_estimators)
        fitted = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_one)(inner, X, y, label_times, n_draws, params, int(seed))
            for seed in seeds
        )
        self.estimators_ = [model for model, _ in fitted]
        self.estimators_samples_ = [rows for _, rows in fitted]
        return self

    def predict(self, X: Any) -> Any:
        """Return the mean prediction, or the most probable class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows and features.

        Returns
        -------
        ndarray of shape (n_samples,)
            Of a classifier without probabilities: the class with most votes.
        """
        if not is_classifier(self):
            X = self._checked(X)
            predictions = [model.predict(X) for model in self.estimators_]
            return np.mean(predictions, axis=0)
        votes = self._votes(self._checked(X))
        return self.classes_[votes.argmax(axis=1)]

    @available_if(_can_predict_proba)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> FloatArray:
        """Return the mean of the models' probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``; a class that a model has not drawn
            has probability 0 there.
        """
        return self._votes(self._checked(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy of a classifier, R^2 of a regressor.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows and features.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; None is 1 each.

        Returns
        -------
        float
            At most 1.
        """
        measure = accuracy_score if is_classifier(self) else r2_score
        return float(measure(y, self.predict(X), sample_weight=sample_weight))

    def get_metadata_routing(self) -> MetadataRouter:
        """Return how metadata given to ``fit`` is routed.

        Returns
        -------
        MetadataRouter
            To this object and to the models' ``fit``.
        """
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(
                estimator=self._inner(),
                method_mapping=MethodMapping().add(caller="fit", callee="fit"),
            )
        )

    def __sklearn_tags__(self) -> Any:
        """Return the tags of the inner model, one target only."""
        tags = super().__sklearn_tags__()
        inner = get_tags(self._inner())
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = copy.deepcopy(inner.classifier_tags)
        tags.regressor_tags = copy.deepcopy(inner.regressor_tags)
        tags.input_tags = copy.deepcopy(inner.input_tags)
        tags.target_tags = copy.deepcopy(inner.target_tags)
        tags.target_tags.required = True
        tags.target_tags.multi_output = False
        tags.target_tags.single_output = True
        tags.non_deterministic = inner.non_deterministic
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = False
        return tags

    def _inner(self) -> Any:
        """Return the model to clone."""
        return DecisionTreeClassifier() if self.estimator is None else self.estimator

    def _inner_params(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return what goes to the models' fit."""
        if not sklearn.get_config()["enable_metadata_routing"]:
            return params
        routed = process_routing(self, "fit", **params)
        return dict(routed.estimator.fit)

    def _n_draws(self, n_rows: int) -> int:
        """Return how many rows to draw, refusing parameters out of range."""
        count: Any = self.n_estimators
        if isinstance(count, bool) or not isinstance(count, numbers.Integral):
            self._refuse("n_estimators", "an integer of at least 1")
        if count < 1:
            self._refuse("n_estimators", "an integer of at least 1")
        share: Any = self.max_samples
        if isinstance(share, numbers.Integral):
            if share < 1:
                self._refuse("max_samples", "a count of at least 1")
            return int(share)
        if not isinstance(share, numbers.Real) or not 0 < float(share) <= 1:
            self._refuse("max_samples", "a count of at least 1 or a share in (0, 1]")
        return max(1, round(float(share) * n_rows))

    def _refuse(self, name: str, requirement: str) -> None:
        msg = (
            f"The {name!r} parameter of SequentialBootstrapBagging must be "
            f"{requirement}. Got {getattr(self, name)!r} instead."
        )
        raise ValueError(msg)

    def _checked(self, X: Any) -> Any:
        """Return the rows to predict."""
        check_is_fitted(self)
        X = X if hasattr(X, "shape") else np.asarray(X)
        if len(X.shape) != 2:
            msg = (
                f"Expected X of shape (n_samples, n_features), got shape {X.shape}. "
                "Reshape your data with X.reshape(1, -1) if it is a single sample."
            )
            raise ValueError(msg)
        validate_data(self, X, reset=False, skip_check_array=True)
        return X

    def _votes(self, X: Any) -> FloatArray:
        """Return mean probabilities, or shares of votes, by class."""
        total = np.zeros((X.shape[0], len(self.classes_)))
        for model in self.estimators_:
            if hasattr(model, "predict_proba"):
                total[:, model.classes_] += model.predict_proba(X)
            else:
                total[np.arange(len(total)), model.predict(X)] += 1.0
        return total / len(self.estimators_)


def _checked_table(X: Any, tags: Any) -> Any:
    """Return the rows to fit on; refuse values that no draw need happen to meet."""
    if hasattr(X, "iloc"):
        return X
    X = X if hasattr(X, "shape") else np.asarray(X)
    if tags.string or tags.categorical or len(X.shape) != 2:
        return X
    return check_array(X, accept_sparse="csr", ensure_all_finite=not tags.allow_nan)


def _fit_one(
    inner: Any,
    X: Any,
    y: Any,
    label_times: Any,
    n_draws: int,
    params: dict[str, Any],
    seed: int,
) -> tuple[Any, IntArray]:
    """Draw rows and fit one model on them."""
    rows = sequential_bootstrap(label_times, n_draws, random_state=seed)
    model = clone(inner)
    seeded = {
        name: seed
        for name in model.get_params()
        if name == "random_state" or name.endswith("__random_state")
    }
    model.set_params(**seeded)
    n_rows = X.shape[0]
    cut = {
        name: take_rows(value, rows) if _has_rows(value, n_rows) else value
        for name, value in params.items()
    }
    return model.fit(take_rows(X, rows), y[rows], **cut), rows


def _has_rows(value: Any, n_rows: int) -> bool:
    """Say whether a fit parameter has one entry per row."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return len(shape) > 0 and shape[0] == n_rows
    return isinstance(value, list | tuple) and len(value) == n_rows
