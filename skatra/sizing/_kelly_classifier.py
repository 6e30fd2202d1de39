"""A classifier whose decisions are growth-optimal positions."""

import copy
import warnings
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.metrics import accuracy_score
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import MetadataRouter
from sklearn.utils.validation import check_is_fitted, validate_data

from skatra.sizing._calibration import fit_calibrator
from skatra.sizing._cross_fit import cross_fitted_log_odds, log_odds
from skatra.sizing._inputs import (
    as_table,
    checked_rows,
    column_of_two,
    positive_weight,
    routed_params,
    routing_of,
)
from skatra.sizing._parameters import check_classifier_params
from skatra.sizing._payoffs import PayoffTable
from skatra.sizing._stakes import (
    break_even_probability,
    capped,
    effective_multiplier,
    mean_concurrency,
    shrunk,
)
from skatra.typing import FloatArray
from skatra.utils import as_finite_column, check_same_rows, mean_log_growth, observation

__all__ = ["KellyClassifier"]


class KellyClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Turn a binary classifier's probabilities into growth-optimal positions.

    The inner classifier is fitted on all rows. What it gains when right and loses
    when wrong is learned from the realised ``returns`` of the training rows, class
    by class, and its probabilities may be calibrated out of fold. The position is
    ``kelly_multiplier`` x f*(p), where f* maximises the expected log growth under
    the learned payoffs. Labels and probabilities stay available.

    ``returns`` and ``label_times`` are requested by default: with metadata routing
    enabled, pass them to ``GridSearchCV.fit`` or ``cross_validate(params=)`` and
    they arrive here, cut to each fold.

    Parameters
    ----------
    estimator : classifier
        Any scikit-learn compatible binary classifier with ``predict_proba`` (with
        ``calibration``, ``decision_function`` will do).
    kelly_multiplier : float in [0, 1] or (alpha, beta), default=0.25
        Share of full Kelly staked. A quarter keeps 7/16 of the growth of a known
        edge at a quarter of the volatility, and is robust to an estimated one. A pair
        is a drawdown target: the share at which wealth ever falls to alpha times its
        start with probability beta, by :func:`kelly_multiplier_for_drawdown`.
    calibration : {"sigmoid", "isotonic"}, default=None
        Map the inner log-odds to probabilities with predictions made out of fold
        over ``cv``. "sigmoid" fits a logistic curve whose slope is at least 0: a
        model that ranks backwards out of fold gets the base rate, not an inverted
        position. "isotonic" fits any non-decreasing map. None trusts the inner
        probabilities.
    cv : splitter or iterable of (train, test), default=None
        Folds of the calibration; required with it, ignored without. An integer is
        refused: it would mean StratifiedKFold, which leaks on overlapping labels.
        Rows never tested are left out of the calibration. ``label_times`` given to
        ``fit`` reach its ``split``.
    side : {"both", "long", "short"}, default="both"
        Sides that may be taken.
    benchmark_return : float or "mean", default=0.0
        Subtracted from the returns before payoffs are learned: what a unit of
        capital earns without the model. With "mean", the (weighted) mean of the
        training returns, a probability equal to the base rate stakes exactly 0, so
        that the drift of the market is not mistaken for the model's edge.
    max_position : float > 0, default=1.0
        Largest absolute position, as a fraction of capital.
    n_jobs : int, default=None
        Folds fitted in parallel, as in joblib.
    shrink_uncertain : bool, default=False
        Whether each stake is shrunk for the standard error of its probability, as
        :func:`kelly_shrinkage` does. Needs ``calibration="sigmoid"``, whose fit tells
        the error, counting each unit of ``sample_weight`` as one independent label:
        pass uniqueness weights where labels overlap. It replaces a
        ``kelly_multiplier`` below 1 that stood for estimation error: with both, fit
        warns.
    overlap_budget : bool, default=False
        Whether positions are divided by the mean number of labels that live at once
        in training (``label_times`` are then needed), so that overlapping bets
        together stake what one is sized for. Bets of all symbols count.

    Attributes
    ----------
    estimator_ : classifier
        Fitted on all training rows.
    classes_ : ndarray of shape (2,)
        The second is the positive class, whose probability f* depends on.
    calibrator_ : object or None
        Has ``predict(log_odds)``; None without calibration.
    payoff_table_ : PayoffTable
        f*(p) at full Kelly, before multiplier, side and cap.
    kelly_multiplier_ : float
        The share of full Kelly staked, of a drawdown target too.
    concurrency_ : float
        What positions are divided by: 1 without an overlap budget.
    benchmark_return_ : float
        What was subtracted.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had string column names.

    Warns
    -----
    UserWarning
        In ``fit``, if no returns are given (payoffs are then +-1 and f* = 2p - 1),
        if they hold no gain or no loss (all positions are then 0), or if a multiplier
        below 1 and shrink_uncertain cut stakes twice.

    See Also
    --------
    PositionSizer : Sizes single trades from a history.
    kelly_fraction : The formula for two outcomes.

    References
    ----------
    Kelly (1956), Bell System Technical Journal 35, 917-926. Meyer, Barziy and
    Joubert (2023), "Meta-Labeling: Calibration and Position Sizing", Journal of
    Financial Data Science 5(2), on why probabilities are calibrated first.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skatra.sizing import KellyClassifier
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.normal(size=(500, 1))
    >>> returns = 0.01 * signal[:, 0] + rng.normal(scale=0.02, size=500)
    >>> model = KellyClassifier(LogisticRegression(), max_position=2.0)
    >>> model = model.fit(signal, returns > 0, returns=returns)
    >>> model.decision_function([[-0.1], [0.2], [2.0]]).round(2)
    array([-1.21, -0.2 ,  2.  ])
    """

    __metadata_request__fit: ClassVar[dict[str, Any]] = {
        "returns": True,
        "label_times": True,
        "sample_weight": True,
    }
    __metadata_request__score: ClassVar[dict[str, Any]] = {
        "returns": True,
        "sample_weight": False,
    }

    def __init__(
        self,
        estimator: Any,
        *,
        kelly_multiplier: float | tuple[float, float] = 0.25,
        calibration: str | None = None,
        cv: Any = None,
        side: str = "both",
        benchmark_return: float | str = 0.0,
        max_position: float = 1.0,
        n_jobs: int | None = None,
        shrink_uncertain: bool = False,
        overlap_budget: bool = False,
    ) -> None:
        self.estimator = estimator
        self.kelly_multiplier = kelly_multiplier
        self.calibration = calibration
        self.cv = cv
        self.side = side
        self.benchmark_return = benchmark_return
        self.max_position = max_position
        self.n_jobs = n_jobs
        self.shrink_uncertain = shrink_uncertain
        self.overlap_budget = overlap_budget

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        returns: Any = None,
        label_times: Any = None,
        **fit_params: Any,
    ) -> "KellyClassifier":
        """Fit the classifier, its calibration and the payoffs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Handed to the inner classifier as it is.
        y : array-like of shape (n_samples,)
            Two classes; the greater one is the positive one.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the inner classifier, the calibration and the payoffs. With
            metadata routing the inner classifier must have requested them.
        returns : array-like of float of shape (n_samples,), default=None
            Simple return that a long unit position realised over each label. None
            stands for payoffs of +1 and -1.
        label_times : Series or array-like of shape (n_samples, 2), default=None
            Handed to ``cv.split``; with metadata routing also to an inner
            classifier that requests them.
        **fit_params : dict
            Handed to the inner classifier; values with one entry per row are cut to
            the folds of the calibration.

        Returns
        -------
        KellyClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter is out of range, y is not binary, rows do not match by
            index, values are not finite, calibration lacks a usable ``cv``, or a
            fold holds one class only.
        """
        check_classifier_params(self)
        if self.overlap_budget and label_times is None:
            msg = (
                "overlap_budget=True needs label_times, got None. Pass fit(..., "
                "label_times=); within a pipeline or search enable metadata routing."
            )
            raise ValueError(msg)
        if y is None:
            msg = "KellyClassifier requires y to be passed, but the target y is None."
            raise ValueError(msg)
        X = as_table(X)
        metadata = {
            "returns": returns,
            "label_times": label_times,
            "sample_weight": sample_weight,
        }
        check_same_rows(X=X, y=y, **metadata)
        y = column_of_two(y)
        self.classes_ = np.unique(y)
        validate_data(self, X, skip_check_array=True)
        positive = y == self.classes_[1]
        weight = positive_weight(sample_weight, y)
        payoffs = None if returns is None else as_finite_column(returns, "returns")
        if sample_weight is not None:
            metadata["sample_weight"] = weight
        inner_params, split_params = routed_params(self, {**fit_params, **metadata})
        base = float(np.average(positive, weights=weight))
        self.calibrator_ = None
        if self.calibration is not None:
            rows, odds = cross_fitted_log_odds(
                self.estimator, X, y, positive, self.cv,
                split_params, inner_params, self.n_jobs,
            )  # fmt: skip
            times_tested = np.bincount(rows, minlength=len(y))
            self.calibrator_ = fit_calibrator(
                self.calibration, odds, positive[rows],
                weight[rows] / times_tested[rows], base,
            )  # fmt: skip
        self.estimator_ = clone(self.estimator).fit(X, y, **inner_params)
        if self.calibration is None and not hasattr(self.estimator_, "predict_proba"):
            msg = (
                "estimator must have predict_proba when calibration is None, got "
                f"{type(self.estimator).__name__}. Pass calibration='sigmoid' and a cv."
            )
            raise ValueError(msg)
        self._learn_payoffs(payoffs, positive, weight)
        self.kelly_multiplier_ = effective_multiplier(self.kelly_multiplier)
        self.concurrency_ = 1.0
        if self.overlap_budget:
            self.concurrency_ = mean_concurrency(label_times)
        return self

    def _learn_payoffs(
        self, payoffs: FloatArray | None, positive: Any, weight: FloatArray
    ) -> None:
        """Build the table of f*(p) from returns above the benchmark."""
        if payoffs is None:
            warnings.warn(
                "KellyClassifier was fitted without returns: it takes every win and "
                "loss to be +-1, so that full Kelly is 2p - 1. Pass fit(..., "
                "returns=); within a pipeline or search enable metadata routing.",
                UserWarning,
                stacklevel=3,
            )
            payoffs = np.where(positive, 1.0, -1.0)
        self.benchmark_return_ = float(
            np.average(payoffs, weights=weight)
            if isinstance(self.benchmark_return, str)
            else self.benchmark_return
        )
        self.payoff_table_ = PayoffTable.from_returns(
            payoffs - self.benchmark_return_, positive, weight
        )
        if self.payoff_table_.is_empty:
            warnings.warn(
                "Positions are 0: the training returns hold no gain or no loss above "
                f"benchmark_return={self.benchmark_return_:g}, so nothing bounds a "
                "stake.",
                UserWarning,
                stacklevel=3,
            )

    def predict_proba(self, X: Any) -> FloatArray:
        """Return the (calibrated) probabilities of the two classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows and features.

        Returns
        -------
        ndarray of shape (n_samples, 2)
            Columns in the order of ``classes_``.
        """
        if observation.observer is None:
            return self._probabilities(X)
        return observation.observer.predict("predict_proba", self._probabilities, X)

    def _probabilities(self, X: Any) -> FloatArray:
        """Return the probabilities, unobserved."""
        check_is_fitted(self)
        X = checked_rows(self, X)
        if self.calibrator_ is None:
            probabilities: FloatArray = self.estimator_.predict_proba(X)
            return probabilities
        positive = self.calibrator_.predict(log_odds(self.estimator_, X))
        return np.column_stack([1.0 - positive, positive])

    def predict(self, X: Any) -> Any:
        """Return the more probable class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows and features.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels from ``classes_``.
        """
        best = np.argmax(self.predict_proba(X), axis=1)
        return self.classes_[best]

    def decision_function(self, X: Any) -> FloatArray:
        """Return the position: kelly_multiplier x f*(p), by side and cap.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows and features.

        Returns
        -------
        ndarray of shape (n_samples,)
            Signed fraction of capital; negative is short.
        """
        if observation.observer is None:
            return self._positions(X)
        return observation.observer.predict("decision_function", self._positions, X)

    def _positions(self, X: Any) -> FloatArray:
        """Return the positions, unobserved."""
        check_is_fitted(self)
        if self.shrink_uncertain:
            odds = log_odds(self.estimator_, checked_rows(self, X))
            calibrator: Any = self.calibrator_
            positive = calibrator.predict(odds)
            full = shrunk(
                self.payoff_table_.fraction(positive),
                positive,
                calibrator.standard_error(odds),
                break_even_probability(self.payoff_table_),
            )
        else:
            positive = np.asarray(self.predict_proba(X), dtype=np.float64)[:, 1]
            full = self.payoff_table_.fraction(positive)
        if observation.observer is not None:
            wanted = self.kelly_multiplier_ * full
            if self.side != "both":
                wanted = capped(full, self.kelly_multiplier_, self.side, np.inf)
            observation.observer.positions_capped(wanted, self.max_position)
        return capped(
            full,
            self.kelly_multiplier_,
            self.side,
            self.max_position,
            self.concurrency_,
        )

    def score(
        self, X: Any, y: Any, sample_weight: Any = None, returns: Any = None
    ) -> float:
        """Return the mean log growth of the positions, or the accuracy.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows and features.
        y : array-like of shape (n_samples,)
            True labels, used without returns.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the mean.
        returns : array-like of float of shape (n_samples,), default=None
            Realised returns of a long unit position, benchmark included.

        Returns
        -------
        float
            With returns the mean of log(1 + position x return), in nats per event,
            -inf at ruin; without them the accuracy of the labels.
        """
        check_same_rows(X=X, y=y, returns=returns, sample_weight=sample_weight)
        if returns is None:
            return float(
                accuracy_score(y, self.predict(X), sample_weight=sample_weight)
            )
        weight = None
        if sample_weight is not None:
            weight = as_finite_column(sample_weight, "sample_weight", negative=False)
        return mean_log_growth(
            self.decision_function(X),
            as_finite_column(returns, "returns"),
            sample_weight=weight,
        )

    def get_metadata_routing(self) -> MetadataRouter:
        """Return how metadata given to ``fit`` is routed.

        Returns
        -------
        MetadataRouter
            To this object, the inner classifier's ``fit`` and the ``split`` of cv.
        """
        return routing_of(self)

    def __sklearn_tags__(self) -> Any:
        """Return the inner classifier's input tags; binary targets only."""
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags = copy.deepcopy(inner.input_tags)
        tags.non_deterministic = inner.non_deterministic
        tags.classifier_tags.multi_class = False
        tags.classifier_tags.poor_score = bool(
            inner.classifier_tags and inner.classifier_tags.poor_score
        )
        return tags
