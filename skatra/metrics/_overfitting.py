"""The probability of backtest overfitting, by symmetric cross-validation of trials."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from skatra.exceptions import MissingDependencyError
from skatra.metrics._trials import trial_table
from skatra.typing import FloatArray, IntArray
from skatra.utils import HTMLRepr, as_count

__all__ = [
    "BacktestOverfitting",
    "choose_by_halves",
    "probability_of_backtest_overfitting",
]

# Of a chunk: its arrays stay in the cache, and its products are below the size at
# which OpenBLAS starts threads, which on a busy machine wait for each other.
_PRODUCTS = 2**18 - 1
_MOST_BLOCKS = 22
_Choices: TypeAlias = tuple[IntArray, FloatArray, FloatArray, FloatArray]


@dataclass(frozen=True, slots=True)
class BacktestOverfitting(HTMLRepr):
    """What became, out of sample, of the trials that were best in sample.

    Made by :func:`probability_of_backtest_overfitting`. Every array has one entry
    per split of the blocks into two halves.

    Attributes
    ----------
    chosen : ndarray of shape (n_splits,), intp
        Column of the trial that is best in sample, the first of equals.
    in_sample, out_of_sample : ndarray of shape (n_splits,), float64
        Its performance in both halves, per period.
    logits : ndarray of shape (n_splits,), float64
        log(w / (1 - w)), w = rank out of sample / (n_trials + 1), where the best
        trial has rank n_trials and equals share theirs.

    Examples
    --------
    >>> import numpy as np
    >>> from skatra.metrics import probability_of_backtest_overfitting
    >>> noise = np.random.default_rng(7).standard_normal((1000, 100))
    >>> result = probability_of_backtest_overfitting(noise, n_blocks=8)
    >>> len(result.logits), round(result.probability, 6)
    (70, 0.285714)
    """

    chosen: IntArray
    in_sample: FloatArray
    out_of_sample: FloatArray
    logits: FloatArray

    @property
    def probability(self) -> float:
        """Share of splits whose choice is no better than the median out of sample."""
        return float(np.mean(self.logits <= 0))

    @property
    def probability_of_loss(self) -> float:
        """Share of splits whose choice performs below 0 out of sample."""
        return float(np.mean(self.out_of_sample < 0))

    @property
    def degradation(self) -> tuple[float, float]:
        """Slope and intercept of the line of out-of-sample on in-sample performance.

        The slope is NaN where the in-sample performances are all equal.
        """
        moved = self.in_sample - self.in_sample.mean()
        spread = float(moved @ moved)
        slope = float(moved @ self.out_of_sample) / spread if spread > 0 else np.nan
        middle = self.out_of_sample.mean() - slope * self.in_sample.mean()
        return slope, float(middle)

    def __str__(self) -> str:
        """Say it in one sentence."""
        return (
            f"In {self.probability:.0%} of {len(self.logits)} splits the trial chosen "
            "in sample was no better than the median out of sample, in "
            f"{self.probability_of_loss:.0%} it lost."
        )

    def plot(self, axes: Any = None) -> Any:
        """Draw the distribution of logits and the degradation of performance.

        Parameters
        ----------
        axes : pair of matplotlib Axes, default=None
            For the histogram and the scatter plot; None makes a figure.

        Returns
        -------
        pair of matplotlib Axes
            Where it was drawn.

        Raises
        ------
        MissingDependencyError
            If matplotlib is not installed (``skatra[plot]``).
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            msg = "plots need matplotlib. Install it with: pip install 'skatra[plot]'."
            raise MissingDependencyError(msg) from error
        if axes is None:
            axes = Figure(figsize=(9, 3.5), layout="constrained").subplots(1, 2)
        left, right = axes
        left.hist(self.logits, bins=30)
        left.axvline(0, color="black", linewidth=1)
        left.set(
            xlabel="logit of the rank out of sample",
            ylabel="splits",
            title=f"probability of overfitting {self.probability:.2f}",
        )
        right.plot(self.in_sample, self.out_of_sample, ".", markersize=2)
        slope, middle = self.degradation
        if np.isfinite(slope):
            ends = np.array([self.in_sample.min(), self.in_sample.max()])
            right.plot(ends, middle + slope * ends)
        right.axhline(0, color="black", linewidth=1)
        right.set(
            xlabel="performance in sample",
            ylabel="performance out of sample",
            title=f"slope {slope:.2f}, loss {self.probability_of_loss:.2f}",
        )
        return left, right


def probability_of_backtest_overfitting(
    trial_returns: Any,
    *,
    n_blocks: int = 16,
    metric: Literal["sharpe", "mean"] = "sharpe",
) -> BacktestOverfitting:
    """Estimate the probability that choosing the best backtest chooses by luck.

    Time is cut into ``n_blocks`` blocks. For each way to take half of them as
    sample, the trial that is best in sample is ranked among all trials in the other
    half (combinatorially symmetric cross-validation).

    Parameters
    ----------
    trial_returns : array-like of shape (n_observations, n_trials)
        Returns of every trial, one column each, over the same periods, in time
        order. At least 2 trials. More columns than rows are nearly always a
        transposed table and refused, unless it is a frame with a DatetimeIndex.
    n_blocks : int, default=16
        Even, at least 2. The last n_observations % n_blocks rows are left out.
    metric : {"sharpe", "mean"}, default="sharpe"
        "sharpe": mean over standard deviation (n - 1), 0 for a trial that does not
        vary. "mean": of log returns it is the log growth.

    Returns
    -------
    BacktestOverfitting
        ``probability`` is the estimate.

    Raises
    ------
    ValueError
        If values are not finite, there are fewer than 2 trials or 2 rows per block,
        more trials than observations without a DatetimeIndex, or n_blocks is odd.

    See Also
    --------
    overfitting_report : For a scikit-learn search.
    deflated_sharpe_ratio : A test of the best trial.

    Notes
    -----
    A statement about the selection among these trials, not about the market: trials
    that are all equally worthless give 1/2 on average with a standard deviation of
    about 0.2 (400 noise tables of 480 x 20, 8 blocks), so a single value near 1/2
    tells little. It fails where the trials are equally good: nothing separates
    them, the estimate is near 1/2, and nothing is lost by the choice. Trials whose
    own fit saw all rows make the other half no test at all.

    From the block sums of returns and their squares each split costs two products
    of n_blocks x n_trials, whatever the number of observations.

    Bailey, Borwein, López de Prado and Zhu, "The Probability of Backtest
    Overfitting", Journal of Computational Finance 20(4), 2017. A logit of 0 counts
    as overfitting, as there.

    Examples
    --------
    >>> import numpy as np
    >>> from skatra.metrics import probability_of_backtest_overfitting
    >>> rng = np.random.default_rng(0)
    >>> trials = rng.normal(size=(1000, 20))
    >>> trials[:, 3] += 0.2
    >>> probability_of_backtest_overfitting(trials).probability
    0.0
    """
    table = trial_table(trial_returns)
    n_observations, n_trials = table.shape
    index = getattr(trial_returns, "index", None)
    _check_blocks(
        n_observations, n_trials, n_blocks, timed=isinstance(index, pd.DatetimeIndex)
    )
    if metric not in ("sharpe", "mean"):
        msg = f"metric must be 'sharpe' or 'mean', got {metric!r}."
        raise ValueError(msg)
    size = n_observations // n_blocks
    blocks = table[: size * n_blocks].reshape(n_blocks, size, n_trials)
    return choose_by_halves(blocks, metric)


def choose_by_halves(blocks: FloatArray, metric: str) -> BacktestOverfitting:
    """Choose in each half of the blocks, of shape (n_blocks, size, n_trials)."""
    n_blocks, size, n_trials = blocks.shape
    # Around a common centre the squares keep their digits.
    centre = blocks.mean(axis=(0, 1))
    moved = blocks - centre
    sums, squares = moved.sum(axis=1), np.sum(moved**2, axis=1)
    floor = 1e-28 * np.max(np.abs(blocks), axis=(0, 1)) ** 2
    length = size * n_blocks // 2

    def performance(half: FloatArray) -> FloatArray:
        mean = half @ sums / length
        level: FloatArray = mean + centre
        if metric == "mean":
            return level
        variance = (half @ squares / length - mean**2) * (length / (length - 1))
        varies = variance > floor
        deviation = np.sqrt(np.where(varies, variance, 1.0))
        return np.divide(level, deviation, out=np.zeros_like(level), where=varies)

    front: list[_Choices] = []
    back: list[_Choices] = []
    for half in _halves(n_blocks, max(1, _PRODUCTS // (n_blocks * n_trials))):
        inside, outside = performance(half), performance(1.0 - half)
        front.append(_choose(inside, outside))
        back.append(_choose(outside[::-1], inside[::-1]))
    parts = [*front, *reversed(back)]
    return BacktestOverfitting(*map(np.concatenate, zip(*parts, strict=True)))


def _choose(inside: FloatArray, outside: FloatArray) -> _Choices:
    """Choose the best trial inside and rank it outside, split by split."""
    chosen = inside.argmax(axis=1)
    rows = np.arange(len(chosen))
    reached = outside[rows, chosen]
    below = np.count_nonzero(outside < reached[:, None], axis=1)
    level = np.count_nonzero(outside == reached[:, None], axis=1)
    rank = below + (level + 1) / 2
    logit = np.log(rank / (inside.shape[1] + 1 - rank))
    return chosen, inside[rows, chosen], reached, logit


def _halves(n_blocks: int, size: int) -> Iterator[FloatArray]:
    """Yield tables of 0 and 1: which blocks are in sample, ``size`` splits each.

    Only splits with the first block in sample: the others are their mirror images.
    """
    others = combinations(range(1, n_blocks), n_blocks // 2 - 1)
    places = np.array([(0, *rest) for rest in others])
    for begin in range(0, len(places), size):
        some = places[begin : begin + size]
        half = np.zeros((len(some), n_blocks))
        np.put_along_axis(half, some, 1.0, axis=1)
        yield half


def _check_blocks(
    n_observations: int, n_trials: int, n_blocks: int, *, timed: bool
) -> None:
    """Refuse tables and blocks that make no sense."""
    if n_trials < 2:
        msg = (
            f"trial_returns must hold at least 2 trials, one a column, got {n_trials}: "
            "one leaves nothing to choose."
        )
        raise ValueError(msg)
    if n_trials > n_observations and not timed:
        msg = (
            "trial_returns must be of shape (n_observations, n_trials), got "
            f"{(n_observations, n_trials)}: more trials than observations. If it is "
            "the other way round, pass trial_returns.T; if rows are periods, say so "
            "with a frame whose index is a DatetimeIndex."
        )
        raise ValueError(msg)
    if as_count(n_blocks, "n_blocks", 2) % 2:
        msg = f"n_blocks must be an even number of at least 2, got {n_blocks!r}."
        raise ValueError(msg)
    if n_blocks > _MOST_BLOCKS:
        msg = (
            f"n_blocks must be at most {_MOST_BLOCKS}, which give "
            f"{comb(_MOST_BLOCKS, _MOST_BLOCKS // 2)} splits, got {n_blocks}. "
            "16 give 12870."
        )
        raise ValueError(msg)
    if n_observations < 2 * n_blocks:
        msg = (
            f"trial_returns must hold at least 2 rows per block: {2 * n_blocks} for "
            f"n_blocks={n_blocks}, got {n_observations}."
        )
        raise ValueError(msg)
