"""The ``skatra`` command."""

import os

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave with its exit code.

    Examples
    --------
    >>> import sys
    >>> from unittest.mock import patch
    >>> from skatra.cli import main
    >>> with patch.object(sys, "argv", ["skatra", "--version"]):
    ...     try:
    ...         main()
    ...     except SystemExit as stop:
    ...         print("left with", stop.code)
    skatra ...
    left with 0
    """
    # Two OpenMP threads on a busy core spin for ten times the work; the policy must
    # be set before LightGBM's library is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from skatra.cli._app import run

    raise SystemExit(run())
