"""Kelly sizing: from probabilities and trade histories to positions."""

from skatra.sizing._kelly import kelly_fraction, kelly_growth, kelly_notional
from skatra.sizing._payoffs import PayoffTable

__all__ = [
    "PayoffTable",
    "kelly_fraction",
    "kelly_growth",
    "kelly_notional",
]
