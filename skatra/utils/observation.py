"""The one place where skatra's parts report what they do, if anybody listens.

Every report in the package reads ``if observation.observer is not None: ...``, which
costs less than a tenth of a microsecond. ``skatra.monitoring.enable`` installs a
listener.
"""

import weakref
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["Observer", "set_observer"]

_Result = TypeVar("_Result")

pools: "weakref.WeakSet[Any]" = weakref.WeakSet()
"""Every connection pool of this process, for their state at a scrape."""


class Observer:
    """What may be reported; each method here does nothing.

    Subclass it and hand an instance to :func:`set_observer` to listen to skatra
    without Prometheus. Methods may be called from any thread and must not raise.

    Examples
    --------
    >>> from skatra.utils.observation import Observer, set_observer
    >>> class Printer(Observer):
    ...     def failed(self, component, error):
    ...         print(component, type(error).__name__)
    >>> before = set_observer(Printer())
    >>> _ = set_observer(before)
    """

    def predict(
        self, method: str, function: Callable[[Any], _Result], X: Any
    ) -> _Result:
        """Make a prediction by calling the function; report how it went.

        Parameters
        ----------
        method : {"predict_proba", "decision_function"}
        function : callable
            Takes X, returns probabilities of shape (n, 2) or positions.
        X : array-like of shape (n, n_features)
            Rows and features.

        Returns
        -------
        ndarray of shape (n,) or (n, 2)
            What the function returned.
        """
        del method
        return function(X)

    def positions_capped(self, wanted: Any, limit: float) -> None:
        """Report positions before they are cut at ``max_position``.

        Parameters
        ----------
        wanted : array-like of float
            Positions before the cut, on the sides that are allowed.
        limit : float
            Largest absolute position.
        """

    def connection_taken(self, database: str, seconds: float) -> None:
        """Report how long a pool's user waited for a connection.

        Parameters
        ----------
        database : str
            Name of the file.
        seconds : float
            The wait.
        """

    def connection_timed_out(self, database: str, seconds: float) -> None:
        """Report that no connection came free in time.

        Parameters
        ----------
        database : str
            Name of the file.
        seconds : float
            The wait.
        """

    def statement_run(self, database: str, kind: str) -> None:
        """Report one SQL statement: kind is execute, executemany or script.

        Parameters
        ----------
        database : str
            Name of the file.
        kind : {"execute", "executemany", "script"}
            How it was run.
        """

    def database_used(
        self, database: str, operation: str, seconds: float, rows: int
    ) -> None:
        """Report a read or write block of a Database and the rows it changed.

        Parameters
        ----------
        database : str
            Name of the file.
        operation : {"read", "write"}
            What the block was for.
        seconds : float
            How long it took.
        rows : int
            Rows that it changed.
        """

    def fold_made(self, splitter: str, train: int, test: int, dropped: int) -> None:
        """Report one split of a purged splitter, in rows.

        Parameters
        ----------
        splitter : str
            Name of the splitter's class.
        train, test, dropped : int
            Rows trained on, tested, and purged or embargoed.
        """

    def splits_audited(self, audit: Any) -> None:
        """Report an audit of a splitter, a SplitAudit.

        Parameters
        ----------
        audit : SplitAudit
            What was counted.
        """

    def leak_refused(self, audit: Any) -> None:
        """Report that ``raise_for_leaks`` found leaking pairs and raises.

        Parameters
        ----------
        audit : SplitAudit
            What was counted, and reported as `splits_audited` before.
        """

    def failed(self, component: str, error: BaseException) -> None:
        """Report an error that reaches the user, and the part it comes from.

        Parameters
        ----------
        component : str
            The part of the package.
        error : Exception
            What was raised.
        """


observer: Observer | None = None


def set_observer(new: Observer | None) -> Observer | None:
    """Install who listens to skatra in this process.

    Parameters
    ----------
    new : Observer or None
        None listens to nothing, which is the default.

    Returns
    -------
    Observer or None
        Who listened before.

    Examples
    --------
    >>> from skatra.utils.observation import Observer, set_observer
    >>> set_observer(Observer()) is None
    True
    >>> type(set_observer(None)).__name__
    'Observer'
    """
    global observer
    before, observer = observer, new
    return before
