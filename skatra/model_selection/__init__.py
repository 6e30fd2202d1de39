"""Cross-validation that leaks no label from the test rows into training."""

from skatra.model_selection._audit import SplitAudit, audit_splits
from skatra.model_selection._display import PurgedSplitDisplay
from skatra.model_selection._split import PurgedKFold, purged_train_test_split

__all__ = [
    "PurgedKFold",
    "PurgedSplitDisplay",
    "SplitAudit",
    "audit_splits",
    "purged_train_test_split",
]
