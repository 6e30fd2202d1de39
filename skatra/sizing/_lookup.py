"""Linear interpolation in one table, faster than a binary search for each value."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from skatra.typing import FloatArray, IntArray

__all__ = ["Lookup"]

_CELLS_PER_NODE = 4


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """A table x -> y with an even grid that leads to the node left of any value."""

    x: FloatArray
    y: FloatArray
    slope: FloatArray
    first: IntArray
    per_unit: float

    @classmethod
    def of(cls, x: FloatArray, y: FloatArray) -> "Lookup":
        """Prepare a table with x strictly increasing, of at least two nodes."""
        n_cells = _CELLS_PER_NODE * len(x)
        width = float(x[-1] - x[0])
        edges = x[0] + width * np.arange(n_cells + 1) / n_cells
        first = np.searchsorted(x, edges, side="right") - 1
        # One node back: a value's cell is known to rounding only.
        first = np.clip(first - 1, 0, len(x) - 2)
        return cls(x, y, np.diff(y) / np.diff(x), first, n_cells / width)

    def __call__(self, value: Any) -> FloatArray:
        """Return what ``np.interp`` returns, to rounding."""
        given = np.asarray(value, dtype=np.float64)
        # fmax and fmin turn NaN into a bound; it is put back at the end.
        inside = np.fmin(np.fmax(given.ravel(), self.x[0]), self.x[-1])
        cell = ((inside - self.x[0]) * self.per_unit).astype(np.intp)
        node = self.first[cell]
        upper = self.x[1:]
        last = len(self.x) - 2
        for _ in range(2):
            node += upper[node] <= inside
            np.minimum(node, last, out=node)
        # Where nodes crowd, a cell holds many.
        late = np.flatnonzero((upper[node] <= inside) & (node < last))
        if len(late):
            found = np.searchsorted(self.x, inside[late], side="right") - 1
            node[late] = np.minimum(found, last)
        result = self.y[node] + self.slope[node] * (inside - self.x[node])
        np.copyto(result, self.y[-1], where=inside == self.x[-1])
        np.copyto(result, np.nan, where=np.isnan(given.ravel()))
        shaped: FloatArray = result.reshape(given.shape)
        return shaped
