"""Bars, features or labels as plain rows: all of one state, or no file."""

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from skatra.exceptions import DiskFullError


def write_csv(
    db: Any,
    target: Path,
    features: str | None,
    labels: str | None,
    symbols: list[str] | None,
    span: dict[str, str | None],
    report: Callable[[int, int], None],
) -> int:
    """Write a feature set, a label set or bars, and return the number of rows."""
    if target.exists():
        raise FileExistsError(f"{target} exists already")
    rows = 0
    with db.pool.get_connection() as connection, _complete(target) as partial:
        # All reads of this block see one state of the file.
        connection.execute("BEGIN").close()
        wanted = _chosen(symbols, db.symbols())
        if not wanted:
            raise ValueError(f"{db.path} has no symbols yet; nothing to write.")
        # A symbol whose labels have no weights gets the column all the same.
        (weighted,) = connection.execute(
            "SELECT EXISTS (SELECT 1 FROM labels JOIN label_sets USING (set_id) "
            "WHERE name = ? AND weight IS NOT NULL)",
            (labels,),
        ).fetchone()
        for done, symbol in enumerate(wanted):
            if features is not None:
                frame = db.features(features, symbols=symbol, **span)
            elif labels is not None:
                frame = db.labels(labels, symbols=symbol, **span)
                if weighted and "weight" not in frame:
                    frame["weight"] = float("nan")
            else:
                frame = db.bars(symbols=symbol, **span)
            frame.to_csv(partial, mode="a" if done else "w", header=done == 0)
            rows += len(frame)
            report(done + 1, len(wanted))
    return rows


def _chosen(given: list[str] | None, known: list[str]) -> list[str]:
    """Return the symbols that were meant, sorted; a comma may be part of one."""
    if given is None:
        return known
    chosen: set[str] = set()
    for text in given:
        parts = [text] if text in known else text.split(",")
        chosen |= {part if part in known else part.strip() for part in parts}
    return sorted(chosen)


@contextmanager
def _complete(target: Path) -> Iterator[Path]:
    """Give a file of another name, which gets its own when the block ends well."""
    own = f".partial-{os.getpid()}-{secrets.token_hex(4)}.{target.name}"
    partial = target.with_name(own)
    try:
        yield partial
        partial.replace(target)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFullError(
                f"disk full while writing {target} ({error.strerror}); nothing of it "
                "was kept. Free space and run again."
            ) from error
        raise
