"""Payoffs of two classes, and the growth-optimal fraction as a table over p."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import brentq

from skatra.sizing._lookup import Lookup
from skatra.typing import FloatArray
from skatra.utils import HTMLRepr, as_finite_column, check_same_rows

__all__ = ["PayoffTable"]

# Closest that a fraction comes to the ruin of a return seen in training, as a share
# of the distance from 0.
_RUIN_MARGIN = 1e-6
# Error of the table as a share of its width in f; the two steps add up.
_TOLERANCE = 0.5e-8
_FIRST_NODES = 33
_MAX_ROUNDS = 24
# Elements of one temporary block: it stays in the processor's cache.
_BLOCK = 1 << 14


@dataclass(frozen=True, slots=True, eq=False)
class PayoffTable(HTMLRepr):
    """Growth-optimal fraction f*(p) for payoffs that depend on a binary class.

    f*(p) solves p E[R+ / (1 + f R+)] + (1 - p) E[R- / (1 + f R-)] = 0, with R+ and
    R- the returns seen in either class: it maximises the expected log growth when
    the class is "+" with probability p.

    Attributes
    ----------
    probabilities : ndarray of shape (n_nodes,)
        Probability of the positive class, strictly increasing.
    fractions : ndarray of shape (n_nodes,)
        f*(p), monotone: increasing where the positive class pays more. Linear
        interpolation between nodes is within 2e-8 of the exact f* as a share of
        the width of ``fractions``. f = 0 is a node.
    mean_win, mean_loss : float
        Weighted mean return of the positive and of the negative class.
    ruin : tuple of (float, float)
        The fractions at which a return seen would take all wealth, below and above
        0. The table ends short of them.

    Examples
    --------
    >>> import numpy as np
    >>> from skatra.sizing import PayoffTable
    >>> table = PayoffTable.from_returns([0.02, 0.02, -0.01], [1, 1, 0])
    >>> table.fraction(np.array([0.3, 1 / 3, 0.6])).round(6) + 0.0
    array([-5.,  0., 40.])
    """

    probabilities: FloatArray
    fractions: FloatArray
    mean_win: float
    mean_loss: float
    ruin: tuple[float, float]
    _lookup: Lookup = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Prepare the search."""
        lookup = Lookup.of(self.probabilities, self.fractions)
        object.__setattr__(self, "_lookup", lookup)

    def fraction(self, p: Any) -> FloatArray:
        """Return full Kelly f*(p) for probabilities of the positive class.

        Parameters
        ----------
        p : array-like of float in [0, 1]
            Probabilities.

        Returns
        -------
        ndarray of float64
            Signed fraction of capital, of the shape of p.
        """
        return self._lookup(p)

    @classmethod
    def from_returns(
        cls, returns: Any, positive: Any, sample_weight: Any = None
    ) -> "PayoffTable":
        """Build the table from returns and the class of each.

        Parameters
        ----------
        returns : array-like of float of shape (n,)
            Simple returns of a long unit position.
        positive : array-like of bool of shape (n,)
            Whether a row is of the positive class.
        sample_weight : array-like of shape (n,), default=None
            Rows of weight 0 do not exist, for ruin neither.

        Returns
        -------
        PayoffTable
            Zero everywhere if the returns hold no gain or no loss: such a history
            does not bound a stake.

        Raises
        ------
        ValueError
            If one class has no row, values are not finite, weights are negative, or
            rows do not match.

        Notes
        -----
        f -> p is explicit: p = B / (B - A) with A(f) = E[R+ / (1 + f R+)] and
        B(f) = E[R- / (1 + f R-)]. Where A and B differ in sign, p is monotone in f.
        Nodes are halved until cubic interpolation with the exact slopes meets the
        tolerance; the cubic is then laid out as a line.
        """
        check_same_rows(returns=returns, positive=positive, sample_weight=sample_weight)
        returns = as_finite_column(returns, "returns")
        positive = np.asarray(positive, dtype=bool)
        weight = np.ones(len(returns))
        if sample_weight is not None:
            weight = as_finite_column(sample_weight, "sample_weight", negative=False)
        held = weight > 0
        returns, positive, weight = returns[held], positive[held], weight[held]
        if positive.all() or not positive.any():
            only = "positive" if positive.all() and len(positive) else "negative"
            kind = (
                f"{len(positive)} of the {only} class only" if len(positive) else "none"
            )
            msg = (
                f"positive must hold rows of both classes with weight, got {kind}. "
                "Give a longer history."
            )
            raise ValueError(msg)
        gains = _Outcomes.of(returns[positive], weight[positive])
        losses = _Outcomes.of(returns[~positive], weight[~positive])
        means = (gains.mean, losses.mean)
        low, high = float(returns.min()), float(returns.max())
        if low >= 0 or high <= 0:
            zero = np.zeros(2)
            return cls(np.array([0.0, 1.0]), zero, *means, (-np.inf, np.inf))
        ruin = (-1.0 / high, -1.0 / low)
        fractions, probabilities = _table(gains, losses, ruin)
        return cls(probabilities, fractions, *means, ruin)

    @property
    def is_empty(self) -> bool:
        """Whether the returns held no gain or no loss, so that all stakes are 0."""
        return bool(np.isinf(self.ruin[0]))


@dataclass(frozen=True, slots=True)
class _Outcomes:
    """The distinct returns of one class, with weights that sum to one."""

    returns: FloatArray
    share: FloatArray

    @classmethod
    def of(cls, returns: FloatArray, weight: FloatArray) -> "_Outcomes":
        values, inverse = np.unique(returns, return_inverse=True)
        share = np.bincount(inverse, weights=weight, minlength=len(values))
        return cls(values, share / share.sum())

    @property
    def mean(self) -> float:
        return float(self.share @ self.returns)

    def slopes(self, fractions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return E[R / (1 + f R)] and its derivative in f, for every f."""
        value = np.zeros(len(fractions))
        change = np.zeros(len(fractions))
        for start in range(0, len(self.returns), _BLOCK):
            returns = self.returns[start : start + _BLOCK]
            share = self.share[start : start + _BLOCK]
            rows = max(1, _BLOCK // len(returns))
            for top in range(0, len(fractions), rows):
                part = slice(top, top + rows)
                ratio = np.outer(fractions[part], returns)
                ratio += 1.0
                np.divide(returns, ratio, out=ratio)
                # einsum, not BLAS: threads cost more than they save on a block.
                value[part] += np.einsum("ij,j->i", ratio, share)
                np.square(ratio, out=ratio)
                change[part] -= np.einsum("ij,j->i", ratio, share)
        return value, change

    def optimum(self, low: float, high: float) -> float:
        """Return the growth-optimal f of this class alone within [low, high]."""

        def slope(fraction: float) -> float:
            return float(self.slopes(np.array([fraction]))[0][0])

        if slope(low) <= 0:
            return low
        if slope(high) >= 0:
            return high
        return float(brentq(slope, low, high, xtol=1e-14 * (high - low), rtol=1e-14))


def _table(
    gains: _Outcomes, losses: _Outcomes, ruin: tuple[float, float]
) -> tuple[FloatArray, FloatArray]:
    """Return nodes (f, p) of f*(p), p strictly increasing from 0 to 1 or within."""
    low, high = ((1.0 - _RUIN_MARGIN) * edge for edge in ruin)
    first, last = losses.optimum(low, high), gains.optimum(low, high)
    if abs(last - first) <= 1e-12 * (high - low):
        return np.full(2, (first + last) / 2), np.array([0.0, 1.0])
    # Nodes crowd at the ends, where the rarest extreme return takes over.
    angle = np.linspace(0.0, np.pi, _FIRST_NODES)
    nodes = first + (last - first) * (1.0 - np.cos(angle)) / 2.0
    nodes[0], nodes[-1] = first, last
    if min(first, last) < 0 < max(first, last):
        apart = np.abs(nodes) > 1e-6 * abs(last - first)
        apart[[0, -1]] = True
        nodes = np.union1d(nodes[apart], [0.0])
        nodes = nodes if first < last else nodes[::-1]
    curve = _Curve.at(nodes, gains, losses)
    tolerance = _TOLERANCE * abs(last - first)
    unsure = np.arange(len(nodes) - 1)
    for _ in range(_MAX_ROUNDS):
        middles = (curve.f[unsure] + curve.f[unsure + 1]) / 2.0
        middle = _Curve.at(middles, gains, losses)
        rough = curve.misses(unsure, middle, tolerance)
        if not rough.any():
            break
        where = unsure[rough]
        curve = curve.with_points(where + 1, middle, rough)
        unsure = (where + np.arange(len(where)))[:, None] + np.array([0, 1])
        unsure = unsure.ravel()
    return curve.polyline(tolerance)


@dataclass(frozen=True, slots=True)
class _Curve:
    """Points of p -> f*(p) with the exact slope df/dp, by increasing p."""

    f: FloatArray
    p: FloatArray
    slope: FloatArray

    @classmethod
    def at(cls, nodes: FloatArray, gains: _Outcomes, losses: _Outcomes) -> "_Curve":
        a, da = gains.slopes(nodes)
        b, db = losses.slopes(nodes)
        gap = b - a
        # dp/df = (A' B - A B') / (B - A)^2, of one sign while A and B differ in sign.
        return cls(nodes, np.clip(b / gap, 0.0, 1.0), gap**2 / (da * b - a * db))

    def misses(self, interval: Any, middle: "_Curve", tolerance: float) -> Any:
        """Return which intervals the cubic interpolates worse than allowed."""
        width = self.p[interval + 1] - self.p[interval]
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (middle.p - self.p[interval]) / width
            secant = (self.f[interval + 1] - self.f[interval]) / width
            steep = np.maximum(
                self.slope[interval] / secant, self.slope[interval + 1] / secant
            )
        error = np.abs(self._cubic(interval, t) - middle.f)
        # Slopes above three times the secant may bend the cubic back on itself.
        return (width > 1e-15) & ((error > tolerance) | (steep > 3.0))

    def _cubic(self, interval: Any, t: FloatArray) -> FloatArray:
        """Return Hermite's cubic at share t of the given intervals."""
        i = interval
        width = self.p[i + 1] - self.p[i]
        start, end = self.f[i], self.f[i + 1]
        left, right = width * self.slope[i], width * self.slope[i + 1]
        rise = end - start
        cubic: FloatArray = start + t * (
            left + t * (3 * rise - 2 * left - right + t * (left + right - 2 * rise))
        )
        return cubic

    def with_points(self, before: Any, other: "_Curve", chosen: Any) -> "_Curve":
        """Return this curve with the chosen points of another put in."""
        return _Curve(
            np.insert(self.f, before, other.f[chosen]),
            np.insert(self.p, before, other.p[chosen]),
            np.insert(self.slope, before, other.slope[chosen]),
        )

    def polyline(self, tolerance: float) -> tuple[FloatArray, FloatArray]:
        """Return (f, p) whose linear interpolation is within the tolerance."""
        width = np.diff(self.p)
        left, right = width * self.slope[:-1], width * self.slope[1:]
        rise = np.diff(self.f)
        # A cubic is bent most at one of its ends.
        bend = np.maximum(
            np.abs(6 * rise - 4 * left - 2 * right),
            np.abs(2 * left + 4 * right - 6 * rise),
        )
        pieces = np.maximum(np.ceil(np.sqrt(bend / (8 * tolerance))), 1).astype(int)
        interval = np.repeat(np.arange(len(width)), pieces)
        piece = np.arange(len(interval)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        t = piece / pieces[interval]
        f = np.append(self._cubic(interval, t), self.f[-1])
        p = np.append(self.p[interval] + t * width[interval], self.p[-1])
        keep = np.append(True, np.diff(p) > 0)
        f, p = f[keep], p[keep]
        f = np.maximum.accumulate(f) if f[-1] > f[0] else np.minimum.accumulate(f)
        return f, p
