"""What the pictures of sizing share: colours, axes and the missing matplotlib."""

from typing import Any

from skatra.utils import require_matplotlib

__all__ = ["BLUE", "GREEN", "ORANGE", "VERMILION", "clean", "new_axes", "write_above"]

# Okabe and Ito's colours, told apart by every kind of colour vision.
BLUE, GREEN, ORANGE, VERMILION = "#0072B2", "#009E73", "#E69F00", "#D55E00"


def new_axes(n_rows: int, size: tuple[float, float], ax: Any, name: str) -> Any:
    """Return the given axes, or those of a new figure; n_rows of them, or one.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    require_matplotlib()
    import matplotlib.pyplot as plt

    if ax is None:
        ratios = [3, 2][:n_rows]
        return plt.subplots(
            n_rows,
            figsize=size,
            layout="constrained",
            sharex=True,
            height_ratios=ratios,
        )[1]
    if n_rows == 1:
        if not hasattr(ax, "plot"):
            msg = f"{name} must be one matplotlib Axes, got {ax!r}."
            raise ValueError(msg)
        return ax
    axes = list(ax) if hasattr(ax, "__iter__") else [ax]
    if len(axes) != n_rows or not all(hasattr(one, "plot") for one in axes):
        msg = f"{name} must be {n_rows} matplotlib Axes, upper first, got {ax!r}."
        raise ValueError(msg)
    return axes


def clean(ax: Any) -> None:
    """Take away what carries nothing."""
    ax.grid(visible=False)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def write_above(ax: Any, names: list[tuple[float, str]]) -> None:
    """Write above the axes what stands at each x, in rows that do not collide."""
    left, right = ax.get_xlim()
    ends: list[float] = []
    for x, text in sorted(names):
        # A letter is about 1.1 % of the width; centred names need half of both.
        half = 0.0055 * (len(text) + 2) * (right - left)
        row = next((k for k, end in enumerate(ends) if end < x - half), len(ends))
        ends[row : row + 1] = [x + half]
        ax.annotate(
            text,
            (x, 1.0),
            (0, 4 + 13 * row),
            xycoords=ax.get_xaxis_transform(),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=9,
            annotation_clip=False,
        )
