"""Labels with label times."""

from skatra.labeling._cusum import cusum_events
from skatra.labeling._fixed_horizon import fixed_horizon_labels, meta_labels
from skatra.labeling._trend import trend_scanning_labels
from skatra.labeling._triple_barrier import triple_barrier_labels
from skatra.labeling._volatility import average_true_range, daily_volatility

__all__ = [
    "average_true_range",
    "cusum_events",
    "daily_volatility",
    "fixed_horizon_labels",
    "meta_labels",
    "trend_scanning_labels",
    "triple_barrier_labels",
]
