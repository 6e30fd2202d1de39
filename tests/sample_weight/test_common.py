"""SequentialBootstrapBagging obeys every law that scikit-learn has for estimators."""

import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from skatra.sample_weight import SequentialBootstrapBagging


@pytest.mark.filterwarnings("ignore:SequentialBootstrapBagging was fitted without")
@parametrize_with_checks(
    [
        SequentialBootstrapBagging(n_estimators=3),
        SequentialBootstrapBagging(LogisticRegression(), 2),
        SequentialBootstrapBagging(LinearSVC(), 2),
        SequentialBootstrapBagging(Ridge(), 2),
    ]
)
def test_every_estimator_check_of_scikit_learn_passes(estimator, check):
    """No check is expected to fail, for classifiers and regressors inside."""
    check(estimator)
