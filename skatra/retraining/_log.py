"""A run's events as one JSON object a line."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skatra.retraining._session import Observer
from skatra.utils import json_ready


@contextmanager
def json_log(path: Path | str) -> Iterator[Observer]:
    """Append events to a file, one JSON object a line, each written at once.

    Parameters
    ----------
    path : path-like
        Created when missing.

    Yields
    ------
    callable
        Takes one event, a mapping: pass it as ``observe`` to :func:`retrain`. The
        time (UTC) and the process are added. An error that ends the block is logged.

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> from skatra.retraining import json_log
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with json_log(Path(folder, "log.jsonl")) as log:
    ...         log({"event": "stage", "stage": "search"})
    ...     lines = Path(folder, "log.jsonl").read_text().splitlines()
    >>> json.loads(lines[0])["stage"]
    'search'
    """
    try:
        # Unbuffered: a disk that is full says so at the line, and not at the end.
        log = Path(path).open("ab", buffering=0)  # noqa: SIM115 - closed below
    except OSError as error:
        msg = f"the log (--log) cannot be written: {error.strerror}: {path}."
        raise type(error)(msg) from error
    with log as file:

        def write(event: Mapping[str, Any]) -> None:
            stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
            line = {"time": stamp, "pid": os.getpid(), **event}
            file.write((json.dumps(json_ready(line), default=str) + "\n").encode())

        try:
            yield write
        except BaseException as error:
            name, message = type(error).__name__, str(error)
            with suppress(OSError):  # of the log; the error itself says more
                write({"event": "error", "kind": name, "message": message})
            raise
