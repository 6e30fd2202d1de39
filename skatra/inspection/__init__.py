"""Which features matter out of sample, under any splitter and any scorer."""

from skatra.inspection._clusters import feature_clusters
from skatra.inspection._importance import (
    FeatureImportance,
    mean_decrease_importance,
    single_feature_importance,
)

__all__ = [
    "FeatureImportance",
    "feature_clusters",
    "mean_decrease_importance",
    "single_feature_importance",
]
