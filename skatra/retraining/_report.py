"""The report: one HTML file that needs no network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from skatra.exceptions import EmptyDataError
from skatra.retraining._checks import CHECKS
from skatra.retraining._evaluation import backtest_positions
from skatra.retraining._figures import (
    equity_figure,
    importance_figure,
    leak_figure,
    paths_figure,
    position_figure,
    promise_figure,
    reliability_figure,
    require_report_libraries,
    splits_figure,
)
from skatra.retraining._files import write_file
from skatra.retraining._references import fold_states
from skatra.retraining._result import RetrainResult
from skatra.retraining._steps import NAIVE, PURGED, TUNED_MODEL
from skatra.utils import format_number

FOOTER = (
    "Positions are fractions of capital at quarter Kelly unless configured otherwise; "
    "returns are measured against their training mean, so that the market's drift is "
    "not counted as the model's edge. Past growth does not promise future growth."
)


def write_report(
    results: RetrainResult | Sequence[RetrainResult],
    path: Path | str,
    *,
    title: str = "Retraining report",
    introduction: str = "",
) -> Path:
    """Write a self-contained HTML report of one or more runs.

    Parameters
    ----------
    results : RetrainResult or sequence of RetrainResult
        One chapter each.
    path : path-like
        File to write; it appears whole or not at all.
    title : str, default="Retraining report"
        Heading of the page.
    introduction : str, default=""
        A paragraph under the title.

    Returns
    -------
    Path
        The absolute path of the file.

    Raises
    ------
    MissingDependencyError
        If matplotlib or jinja2 is not installed (``skatra[plot]``).
    EmptyDataError
        If ``results`` is empty.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skatra.datasets import Database, make_edge_bars
    >>> from skatra.retraining import RetrainConfig, retrain, write_report
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name)
    >>> with Database(path / "market.db", create=True) as db:
    ...     _ = db.write_bars(make_edge_bars(1500, edge=0.4))
    >>> config = RetrainConfig(
    ...     database=path / "market.db", models=path / "models", max_holding=5,
    ...     n_splits=2, n_estimators=10, param_grid={"num_leaves": [4]}, n_paths=0)
    >>> write_report(retrain(config), path / "report.html").name
    'report.html'
    >>> folder.cleanup()
    """
    require_report_libraries()
    from jinja2 import Environment, PackageLoader, StrictUndefined

    if isinstance(results, RetrainResult):
        results = [results]
    if len(results) == 0:
        msg = "results must hold at least one run, got none."
        raise EmptyDataError(msg)
    environment = Environment(
        loader=PackageLoader("skatra.retraining"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = format_number
    html = environment.get_template("report.html.j2").render(
        title=title,
        introduction=introduction,
        chapters=[_chapter(result, i) for i, result in enumerate(results)],
        footer=FOOTER,
    )
    target = Path(path).absolute()
    write_file(target, html.encode())
    return target


def _chapter(result: RetrainResult, number: int) -> dict[str, Any]:
    key = f"run{number}"
    naive, purged = result.out_of_fold(NAIVE), result.out_of_fold(PURGED)
    found = result.to_dict()
    return {
        "key": key,
        "result": result,
        "naive": naive,
        "purged": purged,
        "tuned": result.out_of_fold(PURGED, TUNED_MODEL),
        "figures": _figures(result, key),
        "found": found,
        "candidates": _candidates(result.search.table),
        "trials": _trials(found["trials"]),
        "comparison": _comparison(found["comparison"]),
        "checks": _checks(found["waived"]),
        "seconds": [(name, f"{value:.2f}") for name, value in result.seconds.items()],
        "book": _book(result),
        "lineage": _flat(
            {
                "run": result.run_id,
                "rows": f"{result.data['rows']:,} from {result.data['first_t0'][:10]} "
                f"to {result.data['last_t0'][:10]}",
                "held out": f"{result.data['held_out_rows']:,} rows from "
                f"{result.data['held_out_from'][:10]}; "
                f"{result.data['purged_at_holdout']} rows purged or embargoed before",
                "rows left out": _left_out(result),
                "trained until": found["trained_until"],
                "mean uniqueness": f"{result.data['mean_uniqueness']:.3f}",
                **result.lineage,
                "settings": ", ".join(
                    f"{name}={value!r}"
                    for name, value in result.config.to_dict().items()
                ),
            }
        ),
    }


def _left_out(result: RetrainResult) -> str:
    """Say what was not learned from, by cause."""
    data = result.data
    parts = [
        f"{data['labels_without_features']:,} labels without features",
        f"{data['open_labels']:,} open labels",
        f"{data['rows_without_direction']:,} rows without direction",
    ]
    if data["symbols_without_rows"]:
        parts.append(f"no rows of {', '.join(data['symbols_without_rows'])}")
    return "; ".join(parts)


def _flat(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return label and text pairs."""
    return [
        (
            name,
            ", ".join(f"{k} {v}" for k, v in value.items())
            if isinstance(value, Mapping)
            else str(value),
        )
        for name, value in values.items()
    ]


def _book(result: RetrainResult) -> list[tuple[str, str]]:
    scores = result.holdout.scores
    return [
        ("AUC", f"{scores['auc']:.3f}"),
        ("log loss; Brier score", f"{scores['log_loss']:.4f}; {scores['brier']:.4f}"),
        ("share of positive labels", f"{scores['base_rate']:.3f}"),
        ("log growth per bet", format_number(scores["growth_per_bet"], "+.5f")),
        ("log growth a year", format_number(scores["log_growth_per_year"], "+.2%")),
        ("volatility a year", f"{scores['volatility_per_year']:.2%}"),
        ("maximum drawdown", f"{scores['max_drawdown']:.2%}"),
        ("mean exposure", f"{scores['mean_exposure']:.1%} of capital"),
        ("turnover a year", f"{scores['turnover_per_year']:.1f} times capital"),
    ]


def _figures(result: RetrainResult, key: str) -> list[dict[str, str]]:
    rows, scores = result.rows, result.holdout.scores
    t0 = pd.DatetimeIndex(rows.data.index.get_level_values(1))
    books = {}
    for name in (NAIVE, PURGED):
        if result.out_of_fold(name).problem is not None:
            continue
        position = pd.Series(result.out_of_fold(name).position, index=rows.data.index)
        books[name] = backtest_positions(
            position * rows.side, rows.label_times, result.bars, cost=result.config.cost
        )
    promised = books.get(NAIVE, books[PURGED]).summary()["log_growth_per_year"]
    figures = [
        {
            "title": "How much the splitter lies",
            "svg": leak_figure(result.splitters[:3], key),
            "caption": "LightGBM with its default settings on the same data; only the "
            "splitter differs. Whiskers: one standard error over folds.",
        },
        {
            "title": "What each splitter would have promised",
            "svg": promise_figure(
                {name: book.equity for name, book in books.items()}, key
            ),
            "caption": f"Out-of-fold Kelly positions followed bar by bar. Shuffled "
            f"KFold promises {format_number(promised, '+.0%')} log growth a year.",
        },
        {
            "title": "Where the folds lie",
            "svg": splits_figure(fold_states(rows, result.config), t0, key),
            "caption": "Rows along time, below the end of one test block from close "
            "by. Training rows whose label overlaps a test label are purged; the "
            "embargo drops those that start just after the last one ends.",
        },
        {
            "title": "Held-out equity and drawdown",
            "svg": equity_figure(result.holdout.backtest, key),
            "caption": "The tuned model on rows that nothing before it has seen, "
            "after cost.",
        },
        {
            "title": "Calibration",
            "svg": reliability_figure(
                result.holdout.reliability, scores["base_rate"], key
            ),
            "caption": "Held-out rows in ten equal groups. On the dashed line, a "
            "probability means what it says.",
        },
        {
            "title": "Kelly fractions",
            "svg": position_figure(result.holdout.positions, key),
            "caption": "Signed positions of the held-out bets.",
        },
    ]
    figures.append(
        {
            "title": "What the model leans on",
            "svg": importance_figure(result.importance.table, key),
            "caption": f"Shuffling one feature in purged folds of "
            f"{result.importance.rows:,} {result.importance.measured_on}; means over "
            "folds with 95 % intervals by Student's t, too narrow where folds share "
            "training rows. An interval across 0 is no evidence.",
        }
    )
    if not result.paths.equity.empty:
        figures.insert(
            4,
            {
                "title": "Combinatorial purged paths",
                "svg": paths_figure(result.paths.equity, key),
                "caption": "Each path sizes every development row once out of "
                "sample, after cost. One good path is not an edge.",
            },
        )
    return figures


def _candidates(table: pd.DataFrame) -> list[list[str]]:
    """Return what the search made of every candidate; parameters as they were given."""
    forms = {"log_loss": ".4f", "std": ".4f", "trees": ".1f"}
    return [
        [
            format_number(value, forms[name]) if name in forms else str(value)
            for name, value in row.items()
        ]
        for row in table.to_dict(orient="records")
    ]


def _number(value: float | None, spec: str) -> str:
    """Format a figure, or say that there is none."""
    return "not defined" if value is None else format_number(value, spec)


def _trials(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the number of trials makes of the record."""
    return [
        ("trials ever made on these symbols", f"{found['on_these_symbols']:,}"),
        ("trials ever made on these data", f"{found['on_these_data']:,}"),
        ("held-out Sharpe ratio a year", _number(found["sharpe_per_year"], ".3f")),
        ("probabilistic Sharpe ratio", _number(found["probabilistic_sharpe"], ".4f")),
        (
            "deflated, trials independent (strict)",
            _number(found["deflated_sharpe_strict"], ".4f"),
        ),
        (
            "deflated by the gate",
            _number(found["deflated_sharpe_of_the_gate"], ".4f"),
        ),
        (
            "probability of backtest overfitting (PBO)",
            _number(found["probability_of_backtest_overfitting"], ".3f"),
        ),
        (
            "least backtest for so many trials",
            f"{found['minimum_backtest_years']:.1f} years",
        ),
        ("history learned from", f"{found['development_years']:.1f} years"),
    ]


def _comparison(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the gate's paired comparison."""
    interval = found["interval"]
    return [
        ("outcome", found["outcome"]),
        ("served model", found["champion"] or "none: cash is what must be beaten"),
        ("judged since", f"{found['since'][:10]}, {found['blocks']} blocks"),
        (
            "challenger, log growth a year",
            _number(found["challenger_log_growth_per_year"], "+.2%"),
        ),
        (
            "served, log growth a year",
            _number(found["champion_log_growth_per_year"], "+.2%"),
        ),
        ("paired difference a year", _number(found["difference_per_year"], "+.2%")),
        (
            "its two-sided bootstrap interval",
            "not defined"
            if interval is None
            else " to ".join(format_number(bound, "+.2%") for bound in interval),
        ),
        ("reason", found["reason"]),
    ]


def _checks(waived: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return every data check and what it found; a run goes on only when waived."""
    said: dict[str, list[str]] = {name: [] for name in CHECKS}
    for problem in waived:
        said[problem["check"]].append(
            f"waived: {problem['table']}: {problem['detail']}"
        )
    return [(name, "; ".join(texts) or "passed") for name, texts in said.items()]
