"""What positions earn: log growth, its scorer, and drawdown."""

from skatra.metrics._growth import (
    GrowthScorer,
    drawdown,
    growth_scorer,
    log_growth,
    max_drawdown,
)

__all__ = [
    "GrowthScorer",
    "drawdown",
    "growth_scorer",
    "log_growth",
    "max_drawdown",
]
