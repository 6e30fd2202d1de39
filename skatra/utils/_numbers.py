"""Single numbers: those a user passes, checked by name, and those a user reads."""

import operator
from numbers import Real
from typing import Any

__all__ = ["as_count", "as_number", "format_number"]


def as_count(value: Any, name: str, least: int = 1) -> int:
    """Return a whole number of at least ``least``.

    Parameters
    ----------
    value : int
        What the user gave.
    name : str
        What they know it by, for the error message.
    least : int, default=1
        The smallest value allowed.

    Returns
    -------
    int
        The number.

    Raises
    ------
    ValueError
        If it is not a whole number (2.0 is none), or below ``least``.

    Examples
    --------
    >>> from skatra.utils import as_count
    >>> as_count(2.5, "max_holding")
    Traceback (most recent call last):
    ...
    ValueError: max_holding must be a whole number of at least 1, got 2.5.
    """
    try:
        count = operator.index(value)
    except TypeError:
        count = least - 1
    if count < least or isinstance(value, bool):
        msg = f"{name} must be a whole number of at least {least}, got {value!r}."
        raise ValueError(msg)
    return count


def as_number(value: Any, name: str) -> float:
    """Return a real number; its range is the caller's affair.

    Parameters
    ----------
    value : float
        What the user gave.
    name : str
        What they know it by, for the error message.

    Returns
    -------
    float
        May be NaN or infinite.

    Raises
    ------
    ValueError
        If it is not a number.

    Examples
    --------
    >>> from skatra.utils import as_number
    >>> as_number("1", "d")
    Traceback (most recent call last):
    ...
    ValueError: d must be a number, got '1'.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        msg = f"{name} must be a number, got {value!r}."
        raise ValueError(msg)  # noqa: TRY004 - one kind of error for every bad value
    return float(value)


def format_number(value: float, spec: str) -> str:
    """Return a number as text, a zero without a sign.

    Parameters
    ----------
    value : float
        What is to be read.
    spec : str
        As :func:`format` takes it.

    Returns
    -------
    str
        ``format(value, spec)``, but for the sign where only zeros would follow it.

    Examples
    --------
    >>> from skatra.utils import format_number
    >>> format_number(-1e-9, "+.2%"), format_number(-0.012, "+.1%")
    ('0.00%', '-1.2%')
    """
    text = format(value, spec)
    return text if any(digit in text for digit in "123456789n") else text.lstrip("+-")
