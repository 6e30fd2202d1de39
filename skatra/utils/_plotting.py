"""The one place that says what a missing matplotlib means."""

from skatra.exceptions import MissingDependencyError

__all__ = ["require_matplotlib"]


def require_matplotlib() -> None:
    """Raise now, before any work, if plots cannot be drawn.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed (``skatra[plot]``).

    Examples
    --------
    >>> from skatra.utils import require_matplotlib
    >>> require_matplotlib()
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        msg = (
            f"plots need matplotlib ({error.name} is missing). Install it with: "
            "pip install 'skatra[plot]'."
        )
        raise MissingDependencyError(msg) from error
    del mpl
