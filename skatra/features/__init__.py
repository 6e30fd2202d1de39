"""Features of bars that never look ahead."""

from skatra.features._fractional import FractionalDifference, fractional_weights
from skatra.features._price import LOOK_BACK, PRICE_FEATURES, price_features

__all__ = [
    "LOOK_BACK",
    "PRICE_FEATURES",
    "FractionalDifference",
    "fractional_weights",
    "price_features",
]
