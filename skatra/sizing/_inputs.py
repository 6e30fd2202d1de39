"""Rows, targets, weights and metadata as the classifier's wrapper takes them."""

from typing import Any

import numpy as np
import sklearn
from scipy import sparse
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import has_fit_parameter, validate_data

from skatra.sizing._cross_fit import accepts
from skatra.typing import FloatArray
from skatra.utils import as_finite_column

__all__ = [
    "as_table",
    "checked_rows",
    "column_of_two",
    "positive_weight",
    "routed_params",
    "routing_of",
]


def as_table(X: Any) -> Any:
    """Return frames and arrays as they are, all else as an array or CSR matrix."""
    if sparse.issparse(X):
        # LightGBM predicts on no other sparse container.
        return sparse.csr_matrix(X)
    return X if hasattr(X, "shape") else np.asarray(X)


def checked_rows(model: Any, X: Any) -> Any:
    """Return X as the inner classifier takes it, with the features of fit."""
    X = as_table(X)
    if len(X.shape) != 2:
        msg = (
            f"Expected X of shape (n_samples, n_features), got shape {X.shape}. "
            "Reshape your data with X.reshape(1, -1) if it is a single sample."
        )
        raise ValueError(msg)
    validate_data(model, X, reset=False, skip_check_array=True)
    return X


def column_of_two(y: Any) -> Any:
    """Return y as a column of two classes."""
    y = column_or_1d(y, warn=True)
    if y.dtype.kind == "f":
        assert_all_finite(y, input_name="y")
    check_classification_targets(y)
    target_type = type_of_target(y, input_name="y")
    if target_type != "binary":
        msg = (
            "Only binary classification is supported. The type of the target is "
            f"{target_type}. Drop the rows of a third class (a label of 0 is a "
            "return of 0), or merge it into another."
        )
        raise ValueError(msg)
    classes = np.unique(y)
    if len(classes) < 2:
        msg = (
            "Classifier can't train when only one class is present: "
            f"{classes.tolist()}."
        )
        raise ValueError(msg)
    return y


def positive_weight(sample_weight: Any, y: Any) -> FloatArray:
    """Return a weight per row, both classes with some; 1 where none are given."""
    if sample_weight is None:
        return np.ones(len(y))
    weight = as_finite_column(sample_weight, "sample_weight", negative=False)
    if not np.any(weight > 0):
        msg = "sample_weight must be above 0 in some row, got only zeros."
        raise ValueError(msg)
    if len(np.unique(y[weight > 0])) < 2:
        msg = (
            "Classifier can't train when only one class is present "
            "(with positive sample_weight)."
        )
        raise ValueError(msg)
    return weight


def routing_of(model: Any) -> MetadataRouter:
    """Return the routes to the model itself, its inner fit and its cv.split."""
    router = (
        MetadataRouter(owner=model)
        .add_self_request(model)
        .add(
            estimator=model.estimator,
            method_mapping=MethodMapping().add(caller="fit", callee="fit"),
        )
    )
    if hasattr(model.cv, "split"):
        router.add(
            splitter=model.cv,
            method_mapping=MethodMapping().add(caller="fit", callee="split"),
        )
    return router


def routed_params(
    model: Any, params: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what goes to the inner fit and what goes to cv.split."""
    if sklearn.get_config()["enable_metadata_routing"]:
        routed = process_routing(model, "fit", **params)
        split = routed.splitter.split if hasattr(model.cv, "split") else {}
        return dict(routed.estimator.fit), dict(split)
    label_times = params.pop("label_times")
    params.pop("returns")
    if params["sample_weight"] is None:
        params.pop("sample_weight")
    elif not has_fit_parameter(model.estimator, "sample_weight") and not accepts(
        model.estimator.fit, "sample_weight"
    ):
        msg = (
            "sample_weight needs an estimator whose fit takes it, got "
            f"{type(model.estimator).__name__}."
        )
        raise TypeError(msg)
    split_params = {}
    if (
        label_times is not None
        and hasattr(model.cv, "split")
        and accepts(model.cv.split, "label_times")
    ):
        split_params["label_times"] = label_times
    return params, split_params
