"""How objects show themselves in a notebook: one small table, everything escaped."""

from html import escape
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["HTMLRepr"]

LONGEST = 120
"""Characters of a value that are shown."""
MOST_ROWS = 12
"""Rows of a table that are shown; the middle ones give way."""
_CELL = 'style="text-align:left;padding:2px 10px 2px 0;border:0;white-space:pre-wrap"'


class HTMLRepr:
    """Mixin: a notebook shows what the object holds, as a table of names and values.

    Dataclasses show their fields. Other classes say in ``_html_rows`` what to show.
    Arrays and Series show their shape, frames their first and last rows. Text is
    escaped, colours are those of the notebook.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from skatra.utils import HTMLRepr
    >>> @dataclass(frozen=True)
    ... class Wealth(HTMLRepr):
    ...     owner: str
    ...     capital: float
    >>> "&lt;me&gt;" in Wealth("<me>", 1e6)._repr_html_()
    True
    """

    __slots__ = ()

    def _html_rows(self) -> dict[str, Any]:
        """Return what is shown, by name."""
        fields: dict[str, Any] = getattr(self, "__dataclass_fields__", {})
        return {
            name: getattr(self, name)
            for name, field in fields.items()
            if field.repr and not name.startswith("_")
        }

    def _html_summary(self) -> str:
        """Return the sentence above the table: that of ``str``, where there is one."""
        own = type(self).__str__ is not object.__str__
        return str(self) if own else ""

    def _repr_html_(self) -> str:
        rows, tables = [], []
        for name, value in self._html_rows().items():
            if isinstance(value, pd.DataFrame):
                tables.append(_table(name, value))
            else:
                cells = f"<th {_CELL}>{escape(name)}</th><td {_CELL}>"
                rows.append(f"<tr>{cells}{escape(_shown(value))}</td></tr>")
        summary = self._html_summary()
        return (
            f"<div><strong>{escape(type(self).__name__)}</strong>"
            + (f"<p>{escape(summary)}</p>" if summary else "")
            + (f"<table>{''.join(rows)}</table>" if rows else "")
            + "".join(tables)
            + "</div>"
        )


def _table(name: str, frame: pd.DataFrame) -> str:
    body = frame.to_html(max_rows=MOST_ROWS, border=0, float_format="{:.4g}".format)
    size = f", {len(frame):,} rows" if len(frame) > MOST_ROWS else ""
    return f"<p>{escape(name)}{size}</p>{body}"


def _shown(value: Any) -> str:
    """Return a value as short text."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"array of shape {value.shape}, {value.dtype}"
    if isinstance(value, pd.Series):
        return f"Series of {len(value):,} rows, {value.dtype}"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
