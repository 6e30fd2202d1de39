"""Cross-validation that leaks no label from the test rows into training."""

from skatra.model_selection._audit import SplitAudit, audit_splits
from skatra.model_selection._display import PurgedSplitDisplay
from skatra.model_selection._split import PurgedKFold, purged_train_test_split
from skatra.model_selection._usual import audit_usual_splitters

__all__ = [
    "PurgedKFold",
    "PurgedSplitDisplay",
    "SplitAudit",
    "audit_splits",
    "audit_usual_splitters",
    "purged_train_test_split",
]
