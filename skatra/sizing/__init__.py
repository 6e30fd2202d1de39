"""Kelly sizing: from probabilities and trade histories to positions."""

from skatra.sizing._afml import (
    afml_bet_size,
    afml_dynamic_bet_size,
    discretize_positions,
)
from skatra.sizing._bets import (
    average_active_positions,
)
from skatra.sizing._calibration_display import (
    KellyCalibrationDisplay,
)
from skatra.sizing._continuous import (
    drawdown_probability,
    goal_probability,
    kelly_continuous,
    kelly_continuous_growth,
    kelly_multiplier_for_drawdown,
)
from skatra.sizing._empirical import (
    kelly_break_even,
    kelly_from_returns,
    kelly_growth_from_returns,
)
from skatra.sizing._growth_display import (
    KellyGrowthDisplay,
)
from skatra.sizing._kelly import (
    kelly_fraction,
    kelly_growth,
    kelly_notional,
)
from skatra.sizing._kelly_classifier import (
    KellyClassifier,
)
from skatra.sizing._kelly_sizer import (
    KellySizer,
)
from skatra.sizing._outcomes import (
    kelly_exclusive,
    kelly_simultaneous,
)
from skatra.sizing._payoffs import (
    PayoffTable,
)
from skatra.sizing._portfolio import (
    KellyPortfolio,
    kelly_portfolio,
)
from skatra.sizing._risk import (
    kelly_robust,
    risk_constrained_kelly,
)
from skatra.sizing._serialize import (
    kelly_from_dict,
    kelly_to_dict,
)
from skatra.sizing._sizer import (
    PositionSize,
    PositionSizer,
)
from skatra.sizing._trades import (
    TradeStatistics,
    calculate_trade_statistics,
)
from skatra.sizing._uncertainty import (
    kelly_from_counts,
    kelly_shrinkage,
)

__all__ = [
    "KellyCalibrationDisplay",
    "KellyClassifier",
    "KellyGrowthDisplay",
    "KellyPortfolio",
    "KellySizer",
    "PayoffTable",
    "PositionSize",
    "PositionSizer",
    "TradeStatistics",
    "afml_bet_size",
    "afml_dynamic_bet_size",
    "average_active_positions",
    "calculate_trade_statistics",
    "discretize_positions",
    "drawdown_probability",
    "goal_probability",
    "kelly_break_even",
    "kelly_continuous",
    "kelly_continuous_growth",
    "kelly_exclusive",
    "kelly_fraction",
    "kelly_from_counts",
    "kelly_from_dict",
    "kelly_from_returns",
    "kelly_growth",
    "kelly_growth_from_returns",
    "kelly_multiplier_for_drawdown",
    "kelly_notional",
    "kelly_portfolio",
    "kelly_robust",
    "kelly_shrinkage",
    "kelly_simultaneous",
    "kelly_to_dict",
    "risk_constrained_kelly",
]
