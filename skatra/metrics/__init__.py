"""What positions earn: log growth, its scorer, and drawdown."""

from skatra.metrics._growth import (
    GrowthScorer,
    drawdown,
    growth_scorer,
    log_growth,
    max_drawdown,
)
from skatra.metrics._path import PositionPath, position_path

__all__ = [
    "GrowthScorer",
    "PositionPath",
    "drawdown",
    "growth_scorer",
    "log_growth",
    "max_drawdown",
    "position_path",
]
