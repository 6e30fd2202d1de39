"""Figures of the report: SVG whose colours follow the page's light or dark theme."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skatra.exceptions import MissingDependencyError
from skatra.retraining._evaluation import Backtest
from skatra.retraining._steps import FORWARD, NAIVE, PURGED, OutOfFold

# Each colour name stands for one hex code that matplotlib writes into the SVG and
# that is then replaced by a CSS variable, so one drawing serves both themes.
_SENTINELS = {
    name: f"#0102{number:02x}"
    for number, name in enumerate(
        (
            "ink",
            "muted",
            "grid",
            "naive",
            "forward",
            "purged",
            "train",
            "gap",
            "accent",
            "embargo",
        )
    )
}
_SPLITTER_COLOUR = {NAIVE: "naive", FORWARD: "forward", PURGED: "purged"}


def require_report_libraries() -> None:
    """Raise now, before any work, if the report's libraries are missing.

    Raises
    ------
    MissingDependencyError
        If matplotlib or jinja2 is not installed (``skatra[plot]``).

    Examples
    --------
    >>> from skatra.retraining import require_report_libraries
    >>> require_report_libraries()
    """
    try:
        import jinja2
        import matplotlib as mpl
    except ImportError as error:
        msg = (
            f"the report needs matplotlib and jinja2 ({error.name} is missing). "
            "Install skatra[plot], or pass --no-report."
        )
        raise MissingDependencyError(msg) from error
    del jinja2, mpl


@contextmanager
def _axes(rows: int = 1, height: float = 2.9, **options: Any) -> Iterator[Any]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: Any = {
        "svg.fonttype": "none",
        "font.size": 10,
        "text.color": _SENTINELS["ink"],
        "axes.labelcolor": _SENTINELS["muted"],
        "axes.edgecolor": _SENTINELS["grid"],
        "xtick.color": _SENTINELS["muted"],
        "ytick.color": _SENTINELS["muted"],
        "grid.color": _SENTINELS["grid"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
    }
    with rc_context(style):
        figure = Figure(figsize=(4.7, height), layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.subplots(rows, 1, **options)
        for ax in np.atleast_1d(axes):
            ax.patch.set_visible(False)
        yield axes


def _svg(axes: Any, name: str, description: str) -> str:
    from matplotlib import rc_context

    buffer = io.StringIO()
    figure = np.atleast_1d(axes)[0].figure
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    for colour, code in _SENTINELS.items():
        svg = svg.replace(code, f"var(--{colour})")
    svg = re.sub(r'width="[\d.]+pt" height="[\d.]+pt" ', "", svg, count=1)
    label = f'role="img" aria-label="{description}" '
    return svg.replace("<svg ", f"<svg {label}", 1)


def _colour(name: str) -> str:
    return _SENTINELS[name]


def leak_figure(results: tuple[OutOfFold, ...], name: str) -> str:
    """Draw how far each splitter's AUC for one and the same model is from a coin's."""
    with _axes() as ax:
        aucs = np.array([result.auc for result in results])
        errors = np.array([result.auc_error for result in results])
        colours = [_colour(_SPLITTER_COLOUR[result.splitter]) for result in results]
        places = np.arange(len(results))[::-1]
        ax.barh(places, aucs - 0.5, left=0.5, color=colours, height=0.5)
        known = np.isfinite(aucs)
        ax.errorbar(
            aucs[known],
            places[known],
            xerr=errors[known],
            fmt="none",
            ecolor=_colour("ink"),
            elinewidth=1,
            capsize=3,
        )
        ends = np.where(known, np.fmax(aucs, 0.5) + np.nan_to_num(errors), 0.5)
        for place, value, end in zip(places, aucs, ends, strict=True):
            text = f"{value:.3f}" if np.isfinite(value) else "not possible here"
            ax.text(end + 0.01, place, text, va="center")
        ax.axvline(0.5, color=_colour("ink"), linewidth=1, linestyle="--")
        ax.set_yticks(places, [result.splitter for result in results])
        ax.tick_params(axis="y", length=0)
        low = np.nanmin(aucs - errors, initial=0.46)
        ax.set_xlim(low - 0.01, np.nanmax(aucs, initial=0.85) + 0.08)
        ax.set_xlabel("out-of-fold ROC AUC (0.5: no information)")
        ax.grid(visible=False, axis="y")
        return _svg(ax, f"{name}-leak", "ROC AUC by splitter")


def promise_figure(equities: Mapping[str, "pd.Series[float]"], name: str) -> str:
    """Draw the equity that each splitter's out-of-fold positions promise."""
    with _axes() as ax:
        for splitter, equity in equities.items():
            ax.plot(
                equity.index,
                equity.to_numpy(),
                color=_colour(_SPLITTER_COLOUR[splitter]),
                label=f"{splitter}: x{equity.iloc[-1]:,.2f}",
            )
        ax.set_yscale("log")
        _plain_log_ticks(ax)
        _sparse_dates(ax)
        ax.set_ylabel("capital (log scale)")
        ax.legend(loc="upper left", fontsize=9)
        return _svg(ax, f"{name}-promise", "Equity promised by each splitter")


def _sparse_dates(ax: Any, most: int = 7) -> None:
    """Leave room between the dates of the time axis."""
    from matplotlib import dates

    untyped: Any = dates
    locator = untyped.AutoDateLocator(minticks=min(3, most), maxticks=most)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(untyped.AutoDateFormatter(locator))


def _plain_log_ticks(ax: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    low, high = ax.get_ylim()
    subs = (1.0,) if high / low > 100 else (1.0, 2.0, 5.0)
    if high / low < 4:
        ax.set_yscale("linear")
        return
    ax.yaxis.set_major_locator(LogLocator(base=10, subs=subs))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def equity_figure(book: Backtest, name: str) -> str:
    """Draw held-out equity over its drawdown."""
    with _axes(2, 3.3, sharex=True, height_ratios=(2, 1)) as (top, bottom):
        equity, drawdown = book.equity, book.drawdown
        top.plot(equity.index, equity.to_numpy(), color=_colour("purged"))
        top.axhline(1.0, color=_colour("ink"), linewidth=0.8, linestyle="--")
        top.set_ylabel("capital")
        top.ticklabel_format(axis="y", useOffset=False)
        bottom.fill_between(
            drawdown.index,
            -100 * np.abs(drawdown.to_numpy()),
            0.0,
            color=_colour("naive"),
            alpha=0.6,
            linewidth=0,
        )
        bottom.set_ylim(-1.05 * max(1.0, 100 * float(drawdown.max())), 0.0)
        _sparse_dates(bottom)
        bottom.set_ylabel("drawdown, %")
        return _svg((top, bottom), f"{name}-equity", "Held-out equity and drawdown")


def splits_figure(
    states: Sequence[NDArray[np.int8]], t0: pd.DatetimeIndex, name: str
) -> str:
    """Draw which rows each purged fold trains on, tests and drops, along time.

    Dropped spans are thin beside years of rows, so the end of one test block is drawn
    again from close by.
    """
    from matplotlib.patches import Patch

    times = np.asarray(t0.tz_localize(None).as_unit("ns").asi8, dtype=np.int64)
    grid = np.unique(times)
    with _axes(2, 3.2, height_ratios=(len(states), 1)) as (top, close):
        for fold, state in enumerate(states):
            _fold_bars(top, fold, state, times, grid)
        top.set_yticks(
            range(len(states)), [f"fold {i + 1}" for i in range(len(states))]
        )
        top.invert_yaxis()
        fold, start, stop = _border(states, times, grid)
        shown = grid[start:stop]
        _fold_bars(close, 0, states[fold], times, shown)
        close.set_yticks([0], [f"fold {fold + 1},\nclose by"])
        for ax in (top, close):
            ax.tick_params(axis="y", length=0)
            ax.grid(visible=False)
            ax.xaxis_date()
            ax.autoscale()
        _sparse_dates(top)
        _sparse_dates(close, most=4)
        names = {
            "train": "train",
            "test": "accent",
            "purged": "gap",
            "embargoed": "embargo",
        }
        top.legend(
            handles=[Patch(color=_colour(c), label=n) for n, c in names.items()],
            loc="upper center",
            bbox_to_anchor=(0.5, 1.24),
            ncols=4,
            columnspacing=1.0,
            handlelength=1.2,
            fontsize=9,
        )
        return _svg((top, close), f"{name}-splits", "Purged folds along time")


def _border(
    states: Sequence[NDArray[np.int8]], times: Any, grid: Any
) -> tuple[int, int, int]:
    """Return a fold, and the places in time around the end of its test block."""
    middle = len(states) // 2
    fold = middle if 0 < middle < len(states) - 1 else 0
    last = int(np.searchsorted(grid, times[states[fold] == 1].max()))
    dropped = np.searchsorted(grid, np.unique(times[states[fold] >= 2]))
    after = int(dropped.max(initial=last))
    reach = max(6, after - last)
    return fold, max(0, last - reach), min(len(grid), max(after, last) + reach + 1)


def _fold_bars(ax: Any, place: int, state: Any, times: Any, grid: Any) -> None:
    """Draw one fold over the times of a grid."""
    for value, colour in enumerate(("train", "accent", "gap", "embargo")):
        mine = np.intersect1d(times[state == value], grid)
        _bars(ax, place, mine, grid, _colour(colour))


def _bars(ax: Any, fold: int, mine: Any, grid: Any, colour: str) -> None:
    """Draw the runs of consecutive times as one bar each."""
    if len(mine) == 0:
        return
    places = np.searchsorted(grid, mine)
    starts = np.flatnonzero(np.diff(places, prepend=-2) != 1)
    stops = np.append(starts[1:], len(places)) - 1
    edges = np.append(grid, grid[-1])
    days = 86_400 * 10**9
    spans = [
        (grid[places[a]] / days, (edges[places[b] + 1] - grid[places[a]]) / days)
        for a, b in zip(starts, stops, strict=True)
    ]
    ax.broken_barh(spans, (fold - 0.36, 0.72), color=colour, linewidth=0)


def reliability_figure(reliability: pd.DataFrame, base_rate: float, name: str) -> str:
    """Draw predicted against realised frequency on the held-out rows."""
    with _axes() as ax:
        predicted, observed = reliability["predicted"], reliability["observed"]
        low = min(predicted.min(), observed.min(), base_rate) - 0.05
        high = max(predicted.max(), observed.max(), base_rate) + 0.05
        ax.plot([low, high], [low, high], color=_colour("muted"), linestyle="--")
        ax.plot(predicted, observed, "o-", color=_colour("purged"), markersize=5)
        ax.axhline(base_rate, color=_colour("naive"), linewidth=1)
        ax.text(low, base_rate, " base rate", color=_colour("naive"), va="bottom")
        ax.set_xlim(low, high)
        ax.set_ylim(low, high)
        ax.set_xlabel("predicted probability")
        ax.set_ylabel("realised frequency")
        return _svg(ax, f"{name}-reliability", "Reliability on held-out rows")


def position_figure(positions: "pd.Series[float]", name: str) -> str:
    """Draw the distribution of Kelly positions on the held-out rows."""
    with _axes() as ax:
        values = positions.to_numpy()
        reach = max(0.05, float(np.abs(values).max()) * 1.05)
        ax.hist(values, bins=np.linspace(-reach, reach, 42), color=_colour("purged"))
        ax.axvline(0.0, color=_colour("ink"), linewidth=0.8, linestyle="--")
        ax.set_xlabel("position, fraction of capital (short < 0 < long)")
        ax.set_ylabel("bets")
        return _svg(ax, f"{name}-positions", "Kelly positions on held-out rows")


def paths_figure(equity: pd.DataFrame, name: str) -> str:
    """Draw the equity along every combinatorial path, and their median."""
    with _axes() as ax:
        for path in equity:
            ax.plot(
                equity.index,
                equity[path].to_numpy(),
                color=_colour("purged"),
                alpha=0.55,
                linewidth=1.1,
                label="one path" if path == equity.columns[0] else None,
            )
        ax.plot(
            equity.index,
            equity.median(axis=1).to_numpy(),
            color=_colour("ink"),
            label="median",
        )
        ax.axhline(1.0, color=_colour("muted"), linewidth=0.8, linestyle="--")
        if np.ptp(equity.to_numpy()) < 1e-6:
            ax.set_ylim(0.95, 1.05)
        ax.ticklabel_format(axis="y", useOffset=False)
        _sparse_dates(ax)
        ax.set_ylabel("capital")
        ax.legend(loc="upper left", fontsize=9)
        return _svg(ax, f"{name}-paths", "Equity along combinatorial purged paths")


def importance_figure(table: pd.DataFrame, name: str, most: int = 20) -> str:
    """Draw the most important features with their intervals."""
    shown = table.head(most)
    with _axes(height=max(1.6, 0.7 + 0.24 * len(shown))) as ax:
        places = np.arange(len(shown))
        mean = shown["mean"].to_numpy()
        reach = (shown["high"] - shown["mean"]).fillna(0.0).to_numpy()
        ax.errorbar(
            mean, places, xerr=reach, fmt="o", color=_colour("purged"), markersize=4
        )
        ax.axvline(0.0, color=_colour("ink"), linewidth=0.8, linestyle="--")
        names = [str(feature) for feature in shown["feature"]]
        ax.set_yticks(places, names, parse_math=False)
        ax.invert_yaxis()
        ax.tick_params(axis="y", length=0)
        ax.locator_params(axis="x", nbins=5)
        ax.set_xlabel("log loss added by shuffling")
        return _svg(ax, f"{name}-importance", "Importance with 95 % intervals")
