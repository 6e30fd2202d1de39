"""What positions earn, and whether it is luck."""

from skatra.metrics._drawdown import (
    DrawdownStatistics,
    drawdown,
    drawdown_statistics,
    drawdowns,
    max_drawdown,
)
from skatra.metrics._growth import (
    GrowthScorer,
    growth_scorer,
    log_growth,
)
from skatra.metrics._overfitting import (
    BacktestOverfitting,
    probability_of_backtest_overfitting,
)
from skatra.metrics._path import PositionPath, position_path
from skatra.metrics._path_metrics import PathMetrics, path_metrics
from skatra.metrics._record import TrackRecord, sharpe_ratio
from skatra.metrics._report import OverfittingReport, overfitting_report
from skatra.metrics._sharpe import (
    deflated_sharpe_ratio,
    minimum_backtest_length,
    minimum_track_record_length,
    probabilistic_sharpe_ratio,
)
from skatra.metrics._trials import (
    effective_number_of_trials,
    expected_maximum_sharpe,
)

__all__ = [
    "BacktestOverfitting",
    "DrawdownStatistics",
    "GrowthScorer",
    "OverfittingReport",
    "PathMetrics",
    "PositionPath",
    "TrackRecord",
    "deflated_sharpe_ratio",
    "drawdown",
    "drawdown_statistics",
    "drawdowns",
    "effective_number_of_trials",
    "expected_maximum_sharpe",
    "growth_scorer",
    "log_growth",
    "max_drawdown",
    "minimum_backtest_length",
    "minimum_track_record_length",
    "overfitting_report",
    "path_metrics",
    "position_path",
    "probabilistic_sharpe_ratio",
    "probability_of_backtest_overfitting",
    "sharpe_ratio",
]
