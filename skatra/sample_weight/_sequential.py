"""Draw labels so that those drawn overlap little."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from skatra.sample_weight._places import place_labels
from skatra.typing import FloatArray, IntArray, LabelTimesLike
from skatra.utils import as_count

_SHORT = 50  # points of a life
_Proposals: TypeAlias = Iterable[tuple[int, int, int, float]]


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
        If n_draws is no whole number or negative, or there are no labels to draw from.

    See Also
    --------
    SequentialBootstrapBagging : An ensemble that draws so.

    Notes
    -----
    M. López de Prado, Advances in Financial Machine Learning (2018), section 4.5.
    There a table of labels x bars is averaged for every label at every draw; here
    memory is linear in the labels, and a draw costs one label's life: uniqueness can
    only fall, so a label is proposed by an older, larger value and accepted with the
    share that is left of it. The probabilities are exact.

    Examples
    --------
    >>> from skatra.sample_weight import sequential_bootstrap
    >>> labels = [(0, 2), (2, 3), (4, 5)]
    >>> sequential_bootstrap(labels, 4, random_state=0).tolist()
    [1, 0, 2, 2]
    """
    places = place_labels(label_times, groups, times)
    first, stop, size = places.lives()
    n_draws = len(first) if n_draws is None else as_count(n_draws, "n_draws", 0)
    if n_draws and not len(first):
        msg = f"label_times must hold at least one label to make {n_draws} draws."
        raise ValueError(msg)
    if not n_draws:
        return np.empty(0, dtype=np.intp)
    return _draw(first, stop, size, n_draws, np.random.default_rng(random_state))


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
        Label intervals: a Series (index t0, values t1) or two columns.
    drawn : sequence of int, default=()
        Row positions drawn so far, repeats included.
    groups : array-like of shape (n,) or None, default=None
        The symbol of each label; labels of different symbols do not overlap. None: the
        other level of a MultiIndex (symbol, t0), else all labels are one symbol.
    times : Index or None, default=None
        The points at which overlap is measured, as in :func:`average_uniqueness`; None:
        the distinct t0 and t1 of the symbol's labels.

    Returns
    -------
    ndarray of shape (n,), float64
        Proportional to the mean of 1 / (1 + c) over the label's life, where c
        counts the drawn labels alive at a point.

    Raises
    ------
    LabelTimesError
        As :func:`average_uniqueness`.
    ValueError
        If ``drawn`` holds anything but row positions.

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
    rows = np.asarray(drawn)
    if rows.ndim != 1 or (
        len(rows)
        and not (
            np.issubdtype(rows.dtype, np.integer)
            and rows.min() >= 0
            and rows.max() < len(first)
        )
    ):
        msg = (
            f"drawn must hold row positions from 0 to {len(first) - 1}, got {drawn!r}."
        )
        raise ValueError(msg)
    rows = rows.astype(np.intp)
    alive = np.cumsum(
        np.bincount(first[rows], minlength=size + 1)
        - np.bincount(stop[rows], minlength=size + 1)
    )[:size]
    total = np.concatenate([[0.0], np.cumsum(1.0 / (1.0 + alive))])
    uniqueness = (total[stop] - total[first]) / (stop - first)
    return np.asarray(uniqueness / uniqueness.sum())


def _draw(
    first: IntArray, stop: IntArray, size: int, n_draws: int, rng: np.random.Generator
) -> IntArray:
    """Draw labels that live from point ``first`` to before ``stop``.

    Uniqueness only falls while labels are drawn. So labels are proposed as they were
    at the start of a batch, and accepted with what is left of their uniqueness.
    """
    length = stop - first
    accept = _accept_short if length.mean() < _SHORT else _accept_long
    alive: FloatArray = np.zeros(size + 1)
    rows: list[int] = []
    while len(rows) < n_draws:
        share: FloatArray = np.reciprocal(1.0 + alive[:size])
        total = np.concatenate([[0.0], np.cumsum(share)])
        before = total[stop] - total[first]
        running = np.cumsum(before / length)
        # Batches grow with what was drawn: few passes, and most proposals accepted.
        aims, chances = rng.random((2, 2 + len(rows) // 2))
        picks = running.searchsorted(aims * running[-1], "right")
        picks = np.minimum(picks, len(first) - 1)
        begin, end = first[picks], stop[picks]
        proposals = zip(
            picks.tolist(),
            begin.tolist(),
            end.tolist(),
            (chances * before[picks]).tolist(),
            strict=True,
        )
        taken = accept(proposals, share)
        rows += taken
        alive += np.cumsum(
            np.bincount(first[taken], minlength=size + 1)
            - np.bincount(stop[taken], minlength=size + 1)
        )
    return np.array(rows[:n_draws], dtype=np.intp)


def _accept_short(proposals: _Proposals, share: FloatArray) -> list[int]:
    """Accept proposals; numbers of Python's own are faster for short lives."""
    taken, shares = [], share.tolist()
    for label, begin, end, threshold in proposals:
        life = shares[begin:end]
        if threshold < sum(life):
            shares[begin:end] = [x / (1.0 + x) for x in life]
            taken.append(label)
    return taken


def _accept_long(proposals: _Proposals, share: FloatArray) -> list[int]:
    """Accept proposals; array by array for long lives."""
    taken = []
    for label, begin, end, threshold in proposals:
        life = share[begin:end]
        if threshold < np.add.reduce(life):
            np.divide(life, life + 1.0, out=life)
            taken.append(label)
    return taken
