"""Draw labels so that those drawn overlap little."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from skatra.sample_weight._places import place_labels
from skatra.typing import FloatArray, IntArray, LabelTimesLike


def sequential_bootstrap(
    label_times: LabelTimesLike,
    n_draws: int | None = None,
    groups: Any = None,
    *,
    times: pd.Index | None = None,
    random_state: int | np.random.Generator | None = None,
) -> IntArray:
    """Draw labels with replacement, each less likely the more it overlaps the drawn.

    Before each draw a label's probability is proportional to the uniqueness that it
    would have among the labels drawn so far: see :func:`draw_probabilities`. An
    ordinary bootstrap of overlapping labels draws near copies again and again; this
    one draws samples that are closer to independent.

    Parameters
    ----------
    label_times : Series, DataFrame or array-like of shape (n,)
        A Series with index t0 and values t1, or two columns (t0, t1), in any order.
    n_draws : int or None, default=None
        None: n.
    groups : array-like of shape (n,) or None, default=None
        The symbol of each label; labels of different symbols do not overlap. None:
        the other level of a MultiIndex (symbol, t0), else all labels are one symbol.
    times : Index or None, default=None
        The points at which overlap is measured, as in :func:`average_uniqueness`;
        None: the distinct t0 and t1 of the symbol's labels.
    random_state : int, Generator or None, default=None
        Equal seeds give equal draws.

    Returns
    -------
    ndarray of shape (n_draws,), intp
        Row positions in the order drawn.

    Raises
    ------
    LabelTimesError
        As :func:`average_uniqueness`.
    ValueError
        If n_draws is negative, or there are no labels to draw from.

    See Also
    --------
    SequentialBootstrapBagging : An ensemble that draws so.

    Notes
    -----
    M. López de Prado, Advances in Financial Machine Learning (2018), section 4.5.
    There a table of labels x bars is averaged for every label at every draw; here
    memory is linear in the labels, and a draw costs what it changes: the labels that
    overlap the drawn one, plus the square root of the number of labels.

    Examples
    --------
    >>> from skatra.sample_weight import sequential_bootstrap
    >>> labels = [(0, 2), (2, 3), (4, 5)]
    >>> sequential_bootstrap(labels, 4, random_state=0).tolist()
    [1, 0, 0, 0]
    """
    places = place_labels(label_times, groups, times)
    first, stop, size = places.lives()
    n_draws = len(first) if n_draws is None else n_draws
    if n_draws < 0:
        msg = f"n_draws must not be negative, got {n_draws!r}."
        raise ValueError(msg)
    if n_draws and not len(first):
        msg = f"label_times must hold at least one label to make {n_draws} draws."
        raise ValueError(msg)
    uniform = np.random.default_rng(random_state).random(n_draws)
    order = np.argsort(first, kind="stable")
    if not n_draws:
        return order[:0]
    urn = _Urn(first[order], stop[order], size)
    return order[[urn.draw(u) for u in uniform.tolist()]]


def draw_probabilities(
    label_times: LabelTimesLike,
    drawn: Sequence[int] | IntArray = (),
    groups: Any = None,
    *,
    times: pd.Index | None = None,
) -> FloatArray:
    """Return the probability of each label to be drawn next by the bootstrap.

    Parameters
    ----------
    label_times : Series, DataFrame or array-like of shape (n,)
    drawn : sequence of int, default=()
        Row positions drawn so far, repeats included.
    groups, times
        As in :func:`sequential_bootstrap`.

    Returns
    -------
    ndarray of shape (n,), float64
        Proportional to the mean of 1 / (1 + c) over the label's life, where c
        counts the drawn labels alive at a point.

    Raises
    ------
    LabelTimesError
        As :func:`average_uniqueness`.

    Examples
    --------
    The book's example: the second label was drawn first.

    >>> from fractions import Fraction
    >>> from skatra.sample_weight import draw_probabilities
    >>> import pandas as pd
    >>> labels = [(0, 2), (2, 3), (4, 5)]
    >>> after = draw_probabilities(labels, [1], times=pd.RangeIndex(6))
    >>> [str(Fraction(p).limit_denominator(100)) for p in after]
    ['5/14', '3/14', '3/7']
    """
    first, stop, size = place_labels(label_times, groups, times).lives()
    rows = np.asarray(drawn, dtype=np.intp)
    alive = np.cumsum(
        np.bincount(first[rows], minlength=size + 1)
        - np.bincount(stop[rows], minlength=size + 1)
    )[:size]
    total = np.concatenate([[0.0], np.cumsum(1.0 / (1.0 + alive))])
    uniqueness = (total[stop] - total[first]) / (stop - first)
    return np.asarray(uniqueness / uniqueness.sum())


class _Urn:
    """Labels in order of their start, and how unique each would be if drawn next."""

    def __init__(self, first: IntArray, stop: IntArray, size: int) -> None:
        n = len(first)
        self.n_labels = n
        self.ends = np.stack([first, stop])
        self.length = (stop - first).astype(np.float64)
        self.drawn = np.ones(size)  # the drawn labels alive at a point, and one more
        self.share = np.ones(size)
        self.total = np.zeros(size + 1)
        # A block holds about sqrt(n) labels: a draw picks a block, then a label.
        self.width = max(1, int(np.sqrt(n)))
        self.n_blocks = -(-n // self.width)
        self.uniqueness = np.zeros(self.n_blocks * self.width)
        self.uniqueness[:n] = 1.0
        self.blocks = self.uniqueness.reshape(self.n_blocks, self.width)
        self.sums = self.blocks.sum(axis=1)
        # Labels [low, high) are all that can overlap a label.
        reach = np.maximum.accumulate(stop)
        low = np.searchsorted(reach, first, side="right")
        high = np.searchsorted(first, stop, side="left")
        ends = reach[high - 1]
        self.spans = list(
            zip(*(a.tolist() for a in (first, stop, low, high, first[low], ends)),
                strict=True)
        )  # fmt: skip

    def draw(self, uniform: float) -> int:
        """Draw a label and count it."""
        running = np.add.accumulate(self.sums)
        aim = uniform * running[-1]
        block = min(int(running.searchsorted(aim, "right")), self.n_blocks - 1)
        if block:
            aim -= running[block - 1]
        begin = block * self.width
        inside = np.add.accumulate(self.uniqueness[begin : begin + self.width])
        label = begin + int(inside.searchsorted(aim, "right"))
        label = min(label, begin + self.width - 1, self.n_labels - 1)
        self._count(label)
        return label

    def _count(self, label: int) -> None:
        """Add a drawn label to the points of its life."""
        first, stop, low, high, begin, end = self.spans[label]
        alive = self.drawn[first:stop]
        alive += 1.0
        np.reciprocal(alive, out=self.share[first:stop])
        # Only differences within [begin, end] are taken: the rest may be stale.
        self.total[begin] = 0.0
        np.add.accumulate(self.share[begin:end], out=self.total[begin + 1 : end + 1])
        ends = self.total.take(self.ends[:, low:high])
        lives = np.subtract(ends[1], ends[0], out=ends[0])
        np.divide(lives, self.length[low:high], out=self.uniqueness[low:high])
        some = slice(low // self.width, (high - 1) // self.width + 1)
        np.add.reduce(self.blocks[some], axis=1, out=self.sums[some])
