"""Purged splits along time, and the backtest paths that combinations make."""

from collections.abc import Sequence
from inspect import signature
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import check_cv

from skatra.model_selection._label_times import resolve_label_intervals
from skatra.model_selection._states import SplitReader, State, checked_splits
from skatra.typing import IntArray, LabelTimesLike, TimeArray
from skatra.utils import require_matplotlib

_MAX_BINS = 1000
_NAMES = {
    State.TRAIN: "train",
    State.TEST: "test",
    State.PURGED: "purged",
    State.EMBARGOED: "embargoed",
    State.UNUSED: "unused",
}
# Blue and vermilion of Okabe and Ito, told apart by every kind of colour vision;
# what is dropped is a shade of the theme's own ink.
_COLOURS = {State.TRAIN: "#56B4E9", State.TEST: "#D55E00"}
_SHADES = {State.PURGED: 0.72, State.EMBARGOED: 0.36, State.UNUSED: 0.12}
_FROM_BOTTOM = (
    State.TEST,
    State.TRAIN,
    State.PURGED,
    State.EMBARGOED,
    State.UNUSED,
)


class PurgedSplitDisplay:
    """Train, test, purged and embargoed rows of each split along time.

    Make it with :meth:`from_splitter`. Each split is one lane; where rows that
    start together fare differently, the lane's height is shared among them.

    Colours are told apart by every kind of colour vision, and follow the style in
    use: draw inside ``plt.style.context("dark_background")`` for dark pages.

    Parameters
    ----------
    edges : ndarray of shape (n_bins + 1,), datetime64 or number
        Borders of the bins of time, each between two distinct t0.
    shares : ndarray of shape (n_splits, n_bins, 5), float64
        Share of a bin's rows that each split trains on, tests, purges, embargoes
        and leaves unused, in this order.
    paths : ndarray of shape (n_folds, n_splits), int, default=None
        The backtest path that a split's prediction of a fold belongs to, counted
        from 0; -1 where the split does not test the fold. None unless every row is
        tested equally often, more than once.
    folds : ndarray of shape (n_folds, 2), default=None
        First t0 of each fold, and of the next one; the type of `edges`.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        The figure of `ax_`.

    See Also
    --------
    audit_splits : The same as numbers, and the leaks.

    References
    ----------
    .. [1] M. López de Prado, *Advances in Financial Machine Learning*, Wiley
       2018, figures 7.2, 7.3 and 12.1.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skatra.model_selection import PurgedKFold, PurgedSplitDisplay
    >>> days = pd.date_range("2026-01-05", periods=60, freq="D")
    >>> label_times = pd.Series(days + pd.Timedelta("3D"), index=days)
    >>> cv = PurgedKFold(n_splits=4, embargo="2D")
    >>> display = PurgedSplitDisplay.from_splitter(
    ...     cv, np.zeros((60, 1)), label_times=label_times
    ... )
    >>> display.ax_.get_xlabel()
    't0'
    """

    def __init__(
        self,
        edges: NDArray[Any],
        shares: NDArray[np.float64],
        *,
        paths: IntArray | None = None,
        folds: NDArray[Any] | None = None,
    ) -> None:
        self.edges = edges
        self.shares = shares
        self.paths = paths
        self.folds = folds

    @classmethod
    def from_splitter(
        cls,
        cv: Any,
        X: Any,
        y: Any = None,
        groups: Any = None,
        *,
        label_times: "LabelTimesLike | None" = None,
        kind: str = "splits",
        ax: Any = None,
    ) -> Self:
        """Split the rows and draw the splits.

        Parameters
        ----------
        cv : splitter, iterable of (train, test) or int
            Anything that scikit-learn takes as `cv`. Splitters whose `split`
            accepts `label_times` are given them.

        X : array-like of shape (n, ...)
            The rows to split.

        y, groups : array-like of shape (n,), default=None
            Passed to the splitter.

        label_times : Series or array-like of shape (n_samples, 2), default=None
            One label per row, in row order: a Series (index t0, values t1) or two
            columns (t0, t1). None takes the Series or the positive `purge_gap`
            that `cv` was constructed with.

        kind : {"splits", "paths"}, default="splits"
            One lane per split, or per backtest path.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : PurgedSplitDisplay

        Raises
        ------
        LabelTimesError
            If label times are missing or do not fit the rows.
        ValueError
            If `cv` gives anything but positions of the rows of X.
        MissingDependencyError
            If matplotlib is not installed.
        """
        require_matplotlib()
        splitter = check_cv(cv, y)
        own = getattr(cv, "label_times", None)
        gap = getattr(cv, "purge_gap", 0)
        intervals = resolve_label_intervals(
            X, label_times, own=own, purge_gap=gap, who=cls.__name__
        )
        takes = "label_times" in signature(splitter.split).parameters
        given = takes and label_times is not None
        options = {"label_times": label_times} if given else {}
        reader = SplitReader(intervals, getattr(cv, "closed", "both"), splitter)
        times = _Times(intervals.t0, intervals.unit)
        shares, tests = [], []
        splits = splitter.split(X, y, groups, **options)
        for train, test in checked_splits(splits, len(intervals)):
            states, _, _ = reader.read(train, test)
            shares.append(times.shares(states))
            tests.append(test)
        paths, folds = times.paths(tests)
        display = cls(times.edges, np.array(shares), paths=paths, folds=folds)
        return display.plot(kind=kind, ax=ax)

    def plot(self, *, kind: str = "splits", ax: Any = None) -> Self:
        """Draw the splits or the paths.

        Parameters
        ----------
        kind : {"splits", "paths"}, default="splits"
            "splits": one lane per split; a number in a test block is the backtest
            path it belongs to, if there are several paths. "paths": one lane per
            path; a number is the split that tests the fold.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure as high as the lanes need.

        Returns
        -------
        display : PurgedSplitDisplay
            Itself, with `ax_` and `figure_`.
        """
        require_matplotlib()
        if kind not in ("splits", "paths"):
            raise ValueError(f"kind must be 'splits' or 'paths', got {kind!r}.")
        n_lanes = len(self.shares)
        if kind == "paths":
            if self.paths is None:
                raise ValueError(
                    "kind='paths' needs splits that test every row equally often, more "
                    "than once, as combinations of folds do. Use kind='splits'."
                )
            n_lanes = int(self.paths.max()) + 1
        self.ax_ = _new_axes(n_lanes) if ax is None else ax
        self.figure_ = self.ax_.figure
        if kind == "splits":
            self._draw_splits()
            lanes = "split" if self.paths is None else "split (numbers: its paths)"
        else:
            self._draw_paths()
            lanes = "path (numbers: its splits)"
        _dress(self.ax_, n_lanes, lanes, is_time=self._is_time())
        return self

    def _is_time(self) -> bool:
        return bool(self.edges.dtype.kind == "M")

    def _draw_splits(self) -> None:
        from matplotlib.patches import Patch

        colours = _colours()
        x = _numbers(self.ax_, self.edges)
        for split, shares in enumerate(self.shares):
            bottom = np.full(shares.shape[0], float(split) + 0.41)
            for state in _FROM_BOTTOM:
                top = bottom - 0.82 * shares[:, state]
                if shares[:, state].any():
                    self.ax_.fill_between(
                        x,
                        _steps(bottom),
                        _steps(top),
                        step="post",
                        color=colours[state],
                        linewidth=0,
                    )
                bottom = top
        present = np.asarray(self.shares.any(axis=(0, 1)))
        self.ax_.legend(
            handles=[
                Patch(color=colours[state], label=name)
                for state, name in _NAMES.items()
                if present[state]
            ],
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=5,
            frameon=False,
            borderaxespad=0.2,
            handlelength=1.2,
            columnspacing=1.4,
        )
        if self.paths is not None:
            for fold, split in np.argwhere(self.paths >= 0):
                self._write(fold, split, self.paths[fold, split])

    def _draw_paths(self) -> None:
        assert self.paths is not None  # noqa: S101 - plot has asked
        assert self.folds is not None  # noqa: S101
        for fold, split in np.argwhere(self.paths >= 0):
            path = int(self.paths[fold, split])
            start, stop = _numbers(self.ax_, self.folds[fold])
            self.ax_.broken_barh(
                [(start, stop - start)],
                (path - 0.41, 0.82),
                facecolor=_COLOURS[State.TEST],
                edgecolor=self.ax_.get_facecolor(),
                linewidth=1.0,
            )
            self._write(fold, path, split)

    def _write(self, fold: int, lane: int, number: int) -> None:
        """Write a number into the middle of a fold's block."""
        assert self.folds is not None  # noqa: S101 - paths come with folds
        self.ax_.text(
            _numbers(self.ax_, self.folds[fold]).mean(),
            lane,
            str(number),
            color="white",
            ha="center",
            va="center_baseline",
            fontsize=8,
            clip_on=True,
        )


class _Times:
    """Rows by distinct t0, and distinct t0 by bins that a picture can show."""

    def __init__(self, t0: TimeArray, unit: str | None) -> None:
        ordered = np.sort(t0)
        firsts = np.flatnonzero(ordered[1:] > ordered[:-1]) + 1
        distinct = ordered[np.concatenate(([0], firsts))]
        # The last t0 is drawn as wide as the typical one.
        step = np.median(np.diff(distinct)) if len(distinct) > 1 else 1
        end = distinct[-1:] + np.asarray(step).astype(distinct.dtype)
        self._borders = np.concatenate([distinct, end])
        self._unit = unit
        self._rank = np.searchsorted(distinct, t0)
        self._rows = np.bincount(self._rank)
        self._width = -(-len(distinct) // _MAX_BINS)
        self._bin_rows = np.bincount(self._rank // self._width)

    @property
    def edges(self) -> NDArray[Any]:
        """The bins' borders."""
        starts = np.arange(0, len(self._rows), self._width)
        return self.at(np.append(starts, len(self._rows)))

    def at(self, ranks: IntArray) -> NDArray[Any]:
        """Return the distinct t0 of some ranks, as datetimes if they are."""
        times = self._borders[ranks]
        return times if self._unit is None else times.view(f"M8[{self._unit}]")

    def shares(self, states: NDArray[np.int8]) -> NDArray[np.float64]:
        """Return the share of each bin's rows in each state."""
        shape = (len(self._bin_rows), len(State))
        cells = self._rank // self._width * shape[1] + states
        counts = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
        shares: NDArray[np.float64] = counts / self._bin_rows[:, None]
        return shares

    def paths(
        self, tests: Sequence[IntArray]
    ) -> tuple[IntArray | None, NDArray[Any] | None]:
        """Return the path numbers of (fold, split) and the folds, if there are any.

        Folds are what test sets have in common: runs of t0 that the same splits
        test. The p-th split that tests a fold predicts it on path p.
        """
        times_tested = np.zeros(len(self._rows), dtype=np.int64)
        begins = np.zeros(len(self._rows), dtype=np.bool_)
        begins[0] = True
        for test in tests:
            tested = self._tested(test)
            times_tested += tested
            begins[1:] |= tested[1:] != tested[:-1]
        starts = np.flatnonzero(begins)
        if (times_tested != times_tested[0]).any() or times_tested[0] < 2:
            return None, None
        inside = np.array([self._tested(test)[starts] for test in tests]).T
        paths = np.where(inside, np.cumsum(inside, axis=1) - 1, -1)
        stops = np.append(starts[1:], len(self._rows))
        return paths, np.column_stack([self.at(starts), self.at(stops)])

    def _tested(self, test: IntArray) -> NDArray[np.bool_]:
        """Tell which distinct t0 have most of their rows tested."""
        rows = np.bincount(self._rank[test], minlength=len(self._rows))
        most: NDArray[np.bool_] = rows * 2 > self._rows
        return most


def _new_axes(n_lanes: int) -> Any:
    import matplotlib.pyplot as plt

    height = min(1.1 + max(0.2, 0.34 - 0.004 * n_lanes) * n_lanes, 40.0)
    return plt.subplots(figsize=(8.0, height), layout="constrained")[1]


def _colours() -> dict[State, Any]:
    """Return each state's colour, dropped ones between the theme's paper and ink."""
    from matplotlib import rcParams
    from matplotlib.colors import to_rgb

    ink = np.array(to_rgb(rcParams["text.color"]))
    paper = np.array(to_rgb(rcParams["axes.facecolor"]))
    shades = {
        state: tuple(share * ink + (1 - share) * paper)
        for state, share in _SHADES.items()
    }
    return {**_COLOURS, **shades}


def _numbers(ax: Any, edges: NDArray[Any]) -> NDArray[np.float64]:
    """Return the edges as matplotlib's numbers."""
    if edges.dtype.kind == "M":
        from matplotlib import dates

        ax.xaxis_date()
        edges = dates.date2num(edges)  # type: ignore[no-untyped-call]
    return np.asarray(edges, dtype=np.float64)


def _steps(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Repeat the last value, which step plots draw up to the last edge."""
    return np.append(values, values[-1])


def _dress(ax: Any, n_lanes: int, what: str, *, is_time: bool) -> None:
    """Label the lanes and take away what carries nothing."""
    from matplotlib.ticker import MaxNLocator

    ax.set_ylim(n_lanes - 0.4, -0.6)
    ax.margins(x=0)
    ax.autoscale(axis="x", tight=True)
    if n_lanes <= 15:
        ax.set_yticks(range(n_lanes))
    else:
        ax.yaxis.set_major_locator(MaxNLocator(nbins=15, integer=True))
    if is_time:
        from matplotlib import dates

        locator = dates.AutoDateLocator()  # type: ignore[no-untyped-call]
        form = dates.ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(form)
    ax.set_ylabel(what)
    ax.set_xlabel("t0")
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
