"""Kelly sizing: from probabilities and trade histories to positions."""

from skatra.sizing._bets import average_active_positions
from skatra.sizing._estimators import KellyClassifier
from skatra.sizing._kelly import kelly_fraction, kelly_growth, kelly_notional
from skatra.sizing._payoffs import PayoffTable
from skatra.sizing._serialize import kelly_from_dict, kelly_to_dict
from skatra.sizing._sizer import PositionSize, PositionSizer
from skatra.sizing._trades import TradeStatistics, calculate_trade_statistics

__all__ = [
    "KellyClassifier",
    "PayoffTable",
    "PositionSize",
    "PositionSizer",
    "TradeStatistics",
    "average_active_positions",
    "calculate_trade_statistics",
    "kelly_fraction",
    "kelly_from_dict",
    "kelly_growth",
    "kelly_notional",
    "kelly_to_dict",
]
