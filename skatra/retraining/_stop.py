"""Signals as a polite question: finish what is in hand, then leave."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a flag, the second into an interrupt.

    Yields
    ------
    callable
        Returns True once a signal came: pass it as ``should_stop`` to
        :func:`retrain`, which finishes the tasks in hand and raises
        ``RunStoppedError``. A second signal raises ``KeyboardInterrupt`` at once;
        finished tasks are kept then, too.

    Examples
    --------
    >>> import signal
    >>> from skatra.retraining import stop_on_signals
    >>> with stop_on_signals() as should_stop:
    ...     before = should_stop()
    ...     signal.raise_signal(signal.SIGTERM)
    ...     before, should_stop()
    (False, True)
    """
    asked = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    previous = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield asked.is_set
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
