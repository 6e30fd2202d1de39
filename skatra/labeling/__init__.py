"""Labels with label times."""

from skatra.labeling._triple_barrier import triple_barrier_labels
from skatra.labeling._volatility import daily_volatility

__all__ = ["daily_volatility", "triple_barrier_labels"]
