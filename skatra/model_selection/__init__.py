"""Cross-validation that leaks no label from the test rows into training."""

from skatra.model_selection._audit import SplitAudit, audit_splits
from skatra.model_selection._combinatorial import (
    CombinatoriallySymmetricKFold,
    CombinatorialPurgedKFold,
)
from skatra.model_selection._group import PurgedGroupKFold
from skatra.model_selection._paths import BacktestPaths, cross_val_paths
from skatra.model_selection._split import PurgedKFold, purged_train_test_split
from skatra.model_selection._walk_forward import PurgedWalkForward

__all__ = [
    "BacktestPaths",
    "CombinatorialPurgedKFold",
    "CombinatoriallySymmetricKFold",
    "PurgedGroupKFold",
    "PurgedKFold",
    "PurgedWalkForward",
    "SplitAudit",
    "audit_splits",
    "cross_val_paths",
    "purged_train_test_split",
]
