"""Sample weights for labels that overlap."""

from skatra.sample_weight._uniqueness import average_uniqueness

__all__ = ["average_uniqueness"]
