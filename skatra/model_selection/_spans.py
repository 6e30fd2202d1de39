"""Purge gaps and embargoes: checked once, then exact in the unit of the data."""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np
import pandas as pd

from skatra.exceptions import LabelTimesError

_FORMS = (
    'a time span such as "5D" or a timedelta, an int (count of distinct t0) or a '
    "float in [0, 1) (share of distinct t0)"
)
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


@dataclass(frozen=True, slots=True)
class Reach:
    """A span in the terms of one set of t0.

    A count of distinct t0 if `count` is set. Otherwise a time span: its exact
    length lies between `low` and `high`, which differ only when it is no
    multiple of the unit.
    """

    positive: bool
    count: int | None = None
    low: int = 0
    high: int = 0


def check_span(value: Any, name: str) -> None:
    """Refuse what is neither a time span, nor a count, nor a share."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be {_FORMS}, got the bool {value}.")
    if is_time_span(value):
        if _nanoseconds(value, name) < 0:
            raise ValueError(f"{name} must not be negative, got {value!r}.")
    elif isinstance(value, (int, np.integer)):
        if value < 0:
            raise ValueError(f"{name} must be {_FORMS} and not negative, got {value}.")
    elif isinstance(value, (float, np.floating)):
        if not 0 <= value < 1:
            raise ValueError(
                f"{name} must be {_FORMS}, got the float {value}. Write a count of "
                f"distinct t0 as an int."
            )
    else:
        raise TypeError(f"{name} must be {_FORMS}, got {value!r}.")


def check_size(value: Any, name: str) -> None:
    """Refuse what is neither a number of rows nor a time span, or not positive."""
    problem = (
        f"{name} must be a positive int (number of rows) or a positive time span such "
        f'as "30D", got {value!r}.'
    )
    if is_time_span(value):
        if _nanoseconds(value, name, problem) <= 0:
            raise ValueError(problem)
    elif isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(problem)
    elif value < 1:
        raise ValueError(problem)


def is_positive(value: Any) -> bool:
    """Tell whether a checked span is longer than nothing."""
    return bool(_nanoseconds(value, "span") > 0 if is_time_span(value) else value > 0)


def resolve_span(value: Any, name: str, *, unit: str | None, n_distinct: int) -> Reach:
    """Bring a checked span to the unit and the number of distinct t0 at hand."""
    if is_time_span(value):
        if unit is None:
            raise LabelTimesError(
                f"{name}={value!r} is a time span and needs t0 that are datetimes, "
                f"but t0 holds plain numbers. Pass label_times indexed by datetimes, "
                f"give X a DatetimeIndex, or count distinct t0 with an int {name}."
            )
        length = Fraction(_nanoseconds(value, name), _NANOSECONDS[unit])
        return Reach(length > 0, None, floor(length), ceil(length))
    if isinstance(value, (int, np.integer)):
        return Reach(bool(value > 0), int(value))
    # The shortest decimal is what the user wrote: 0.07 of 100 is 7, not 8.
    return Reach(bool(value > 0), ceil(Fraction(str(float(value))) * n_distinct))


def is_time_span(value: Any) -> bool:
    """Tell elapsed time from counts and shares."""
    # np.timedelta64 registers as an integer, so it is asked for first.
    kinds = (str, pd.Timedelta, np.timedelta64, pd.offsets.Tick, pd.offsets.Day)
    return isinstance(value, kinds) or hasattr(value, "total_seconds")


def _nanoseconds(value: Any, name: str, problem: str | None = None) -> int:
    """Return a timedelta-like as exact nanoseconds."""
    problem = (problem or f"{name} must be {_FORMS}, got {value!r}.").rstrip(".")
    if isinstance(value, str) and not any(letter.isalpha() for letter in value):
        raise ValueError(f"{problem}. A time span in text needs a unit.")
    try:
        span = pd.Timedelta(value)
    except ValueError as error:
        raise ValueError(f"{problem}, which is no time span: {error}.") from error
    if pd.isna(span):
        raise ValueError(f"{problem}.")
    if isinstance(value, np.timedelta64) and span.to_timedelta64() != value:
        raise ValueError(f"{problem}. The finest unit is 'ns'.")
    return int(span.to_timedelta64().astype(np.int64)) * _NANOSECONDS[span.unit]
