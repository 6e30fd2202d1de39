"""Cross-validation that leaks no label from the test rows into training."""

from skatra.model_selection._audit import SplitAudit, audit_splits
from skatra.model_selection._combinatorial import (
    CombinatoriallySymmetricKFold,
    CombinatorialPurgedKFold,
)
from skatra.model_selection._display import PurgedSplitDisplay
from skatra.model_selection._group import PurgedGroupKFold
from skatra.model_selection._leak_diagnostic import (
    LeakDiagnostic,
    leak_diagnostic,
)
from skatra.model_selection._paths import BacktestPaths, cross_val_paths
from skatra.model_selection._split import PurgedKFold, purged_train_test_split
from skatra.model_selection._usual import audit_usual_splitters
from skatra.model_selection._walk_forward import PurgedWalkForward

__all__ = [
    "BacktestPaths",
    "CombinatorialPurgedKFold",
    "CombinatoriallySymmetricKFold",
    "LeakDiagnostic",
    "PurgedGroupKFold",
    "PurgedKFold",
    "PurgedSplitDisplay",
    "PurgedWalkForward",
    "SplitAudit",
    "audit_splits",
    "audit_usual_splitters",
    "cross_val_paths",
    "leak_diagnostic",
    "purged_train_test_split",
]
