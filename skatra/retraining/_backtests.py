"""Backtest paths of the tuned model, and what so many trials make of its record."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from skatra.metrics import (
    deflated_sharpe_ratio,
    minimum_backtest_length,
    probabilistic_sharpe_ratio,
    sharpe_ratio,
)
from skatra.model_selection import CombinatorialPurgedKFold
from skatra.retraining._config import RetrainConfig
from skatra.retraining._dataset import Rows
from skatra.retraining._evaluation import Backtest, backtest_positions
from skatra.retraining._session import Session, Task
from skatra.retraining._steps import (
    kelly_classifier,
    model_params,
    predict_fold,
    purged_kfold,
    routing,
)
from skatra.typing import FloatArray


@dataclass(frozen=True, slots=True)
class Paths:
    """The tuned model's positions along combinatorial purged backtest paths.

    Attributes
    ----------
    positions : ndarray of shape (n_paths, n_development_rows)
        Out-of-sample positions; each path covers every row once.
    table : DataFrame
        One row per path: log growth a year, annual Sharpe ratio and maximum
        drawdown of its book, after cost.
    equity : DataFrame of shape (n_bars, n_paths)
        Capital along each path, starting from 1.
    """

    positions: FloatArray
    table: pd.DataFrame
    equity: pd.DataFrame


def path_splitter(config: RetrainConfig) -> CombinatorialPurgedKFold:
    """Return the splitter with the fewest folds that gives enough paths."""
    return CombinatorialPurgedKFold.from_n_paths(config.n_paths, embargo=config.embargo)


def backtest_paths(
    rows: Rows,
    bars: pd.DataFrame,
    params: Mapping[str, Any],
    config: RetrainConfig,
    session: Session,
) -> Paths:
    """Size the development rows along every path; follow each path's book.

    Positions equal those of ``cross_val_paths``; each split is a task of its own.
    """
    if config.n_paths == 0:
        return Paths(np.empty((0, len(rows))), pd.DataFrame(), pd.DataFrame())
    cv = path_splitter(config)
    splits = list(cv.split(rows.data, label_times=rows.label_times))
    with routing():
        model = kelly_classifier(
            config, purged_kfold(config), params, session.make_model
        )
    told = model_params(config, params)
    work = partial(predict_fold, model)
    outcomes = session.run(rows, [Task("paths", told, s, work) for s in splits])
    paths = np.empty((cv.n_paths, len(rows)))
    seen = np.zeros(len(rows), dtype=np.intp)
    for (_, test), (_, arrays) in zip(splits, outcomes, strict=True):
        paths[seen[test], test] = arrays["f"]
        seen[test] += 1
    index = rows.data.index
    books = [
        backtest_positions(
            pd.Series(path, index=index) * rows.side,
            rows.label_times,
            bars,
            cost=config.cost,
        )
        for path in paths
    ]
    table = pd.DataFrame(
        [
            {
                "log_growth_per_year": book.summary()["log_growth_per_year"],
                "sharpe_per_year": annual_sharpe(book),
                "max_drawdown": book.summary()["max_drawdown"],
            }
            for book in books
        ]
    )
    equity = pd.DataFrame({path: book.equity for path, book in enumerate(books)})
    return Paths(paths, table.rename_axis("path"), equity)


def annual_sharpe(book: Backtest) -> float | None:
    """Return a book's Sharpe ratio; None where it never moved."""
    growth = np.asarray(book.log_growth, dtype=np.float64)
    if not _moved(growth):
        return None
    return sharpe_ratio(growth, periods_per_year=book.bars_per_year)


def _moved(growth: FloatArray) -> bool:
    """Tell a record from stakes of rounding errors."""
    return len(growth) > 2 and float(np.ptp(growth)) > 1e-12


def deflate(
    book: Backtest, development_bars: int, trials: Mapping[str, int]
) -> dict[str, Any]:
    """Judge a held-out record by the number of models ever tried on these symbols.

    The trials are taken as independent and worthless, whose Sharpe ratios have the
    standard error of one record, 1 / sqrt(n): the strictest reading.
    """
    n_trials = max(1, trials["on_these_symbols"])
    growth = np.asarray(book.log_growth, dtype=np.float64)
    moved = _moved(growth)
    error = 1.0 / np.sqrt(max(len(growth), 1))
    year = book.bars_per_year
    return {
        **trials,
        "sharpe_per_year": annual_sharpe(book),
        "probabilistic_sharpe": probabilistic_sharpe_ratio(growth) if moved else None,
        "deflated_sharpe_strict": deflated_sharpe_ratio(growth, n_trials, error)
        if moved
        else None,
        "minimum_backtest_years": minimum_backtest_length(
            n_trials, 1.0, periods_per_year=year
        )
        / year,
        "development_years": development_bars / year,
    }
