"""Sample weights for labels that overlap."""

from skatra.sample_weight._attribution import return_attribution, time_decay
from skatra.sample_weight._bagging import SequentialBootstrapBagging
from skatra.sample_weight._sequential import draw_probabilities, sequential_bootstrap
from skatra.sample_weight._uniqueness import average_uniqueness, concurrency

__all__ = [
    "SequentialBootstrapBagging",
    "average_uniqueness",
    "concurrency",
    "draw_probabilities",
    "return_attribution",
    "sequential_bootstrap",
    "time_decay",
]
