"""A track record in four numbers, and the error of its Sharpe ratio."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from skatra.utils import HTMLRepr, as_finite_column, as_number

__all__ = ["Convention", "TrackRecord", "as_record", "per_period", "sharpe_ratio"]

Convention = Literal["2012", "2025"]


@dataclass(frozen=True, slots=True)
class TrackRecord(HTMLRepr):
    """What the Sharpe statistics need to know of a sequence of returns.

    Parameters
    ----------
    sharpe_ratio : float
        Mean return over its standard deviation, per period: never annual.
    n_observations : int
        Number of returns, at least 2.
    skewness : float, default=0.0
        Third standardised moment; 0 for normal returns.
    kurtosis : float, default=3.0
        Fourth standardised moment, not in excess of 3; 3 for normal returns.

    Raises
    ------
    ValueError
        If a number is not finite, there are fewer than 2 observations, or no
        distribution has this skewness and kurtosis (kurtosis >= 1 + skewness^2).

    See Also
    --------
    probabilistic_sharpe_ratio : Takes a record, or the returns themselves.

    Examples
    --------
    >>> from skatra.metrics import TrackRecord
    >>> TrackRecord.from_returns([0.01, 0.02, -0.01, 0.02]).sharpe_ratio
    0.7071067811865475
    """

    sharpe_ratio: float
    n_observations: int
    skewness: float = 0.0
    kurtosis: float = 3.0

    def __post_init__(self) -> None:
        """Refuse numbers that no returns have."""
        numbers = [
            as_number(getattr(self, name), name)
            for name in ("sharpe_ratio", "n_observations", "skewness", "kurtosis")
        ]
        if not all(np.isfinite(numbers)):
            msg = f"a track record must hold finite numbers, got {self!r}."
            raise ValueError(msg)
        if self.n_observations < 2:
            msg = f"n_observations must be at least 2, got {self.n_observations!r}."
            raise ValueError(msg)
        if self.kurtosis < (1 + self.skewness**2) * (1 - 1e-9):
            msg = (
                "kurtosis must be at least 1 + skewness^2 = "
                f"{1 + self.skewness**2:g}, got {self.kurtosis:g}. Give it as it is "
                "(3 for normal returns), not in excess of 3."
            )
            raise ValueError(msg)

    @classmethod
    def from_returns(cls, returns: Any) -> "TrackRecord":
        """Measure returns.

        Parameters
        ----------
        returns : array-like of shape (n,)
            Returns per period above the risk-free rate.

        Returns
        -------
        TrackRecord
            Standard deviation with n - 1 in the denominator, skewness and kurtosis
            with n.

        Raises
        ------
        ValueError
            If there are fewer than 2 returns, one is not finite, or all are equal.
        """
        column = as_finite_column(returns, "returns")
        if len(column) < 2:
            msg = f"returns must hold at least 2 values, got {len(column)}."
            raise ValueError(msg)
        mean = column.mean()
        moved = column - mean
        deviation = float(np.sqrt(np.mean(moved**2)))
        if deviation <= 1e-14 * np.abs(column).max():
            msg = f"returns must vary, got {len(column)} equal to {column[0]:g}."
            raise ValueError(msg)
        scores = moved / deviation
        squares = scores * scores
        unbiased = deviation * np.sqrt(len(column) / (len(column) - 1))
        return cls(
            float(mean / unbiased),
            len(column),
            float(np.mean(squares * scores)),
            float(np.mean(squares * squares)),
        )

    def standard_error(self, at: float | None = None, *, ddof: int = 0) -> float:
        """Return the standard error of the Sharpe ratio under non-normal returns.

        Parameters
        ----------
        at : float, default=None
            True Sharpe ratio per period at which the error is evaluated. None: the
            observed one.
        ddof : int, default=0
            Taken off the number of observations: 1 in the 2012 convention.

        Returns
        -------
        float
            sqrt((1 - skewness s + (kurtosis - 1) / 4 s^2) / (n - ddof)) per period.

        Raises
        ------
        ValueError
            If ``at`` is no number, or ddof leaves no observations.

        Notes
        -----
        E. Mertens, "Comments on variance of the IID estimator in Lo (2002)" (2002);
        with skewness 0 and kurtosis 3 it is A. Lo (2002). Returns are taken to be
        independent and of one distribution. Positive autocorrelation makes the true
        error larger: a smoothed record looks safer than it is.

        Examples
        --------
        >>> from skatra.metrics import TrackRecord
        >>> record = TrackRecord(0.036 / 0.079, 24, skewness=-2.448, kurtosis=10.164)
        >>> round(record.standard_error(), 4)
        0.3286
        """
        point = self.sharpe_ratio if at is None else as_number(at, "at")
        if not 0 <= as_number(ddof, "ddof") < self.n_observations:
            msg = (
                f"ddof must be at least 0 and below n_observations = "
                f"{self.n_observations}, got {ddof!r}."
            )
            raise ValueError(msg)
        spread = 1 - self.skewness * point + (self.kurtosis - 1) / 4 * point**2
        return float(np.sqrt(max(spread, 0.0) / (self.n_observations - ddof)))


def sharpe_ratio(returns: Any, *, periods_per_year: float | None = None) -> float:
    """Return the mean of returns over their standard deviation.

    Parameters
    ----------
    returns : array-like of shape (n,)
        Returns per period above the risk-free rate.
    periods_per_year : float, default=None
        None: the ratio per period. Else the annual one, times
        sqrt(periods_per_year), which takes returns to be independent.

    Returns
    -------
    float
        The standard deviation has n - 1 in the denominator.

    Raises
    ------
    ValueError
        If there are fewer than 2 returns, one is not finite, all are equal, or
        periods_per_year is not positive.

    See Also
    --------
    TrackRecord : The ratio with its standard error.

    Examples
    --------
    >>> from skatra.metrics import sharpe_ratio
    >>> round(sharpe_ratio([0.01, 0.02, -0.01, 0.02]), 4)
    0.7071
    >>> round(sharpe_ratio([0.01, 0.02, -0.01, 0.02], periods_per_year=12), 4)
    2.4495
    """
    ratio = TrackRecord.from_returns(returns).sharpe_ratio
    return ratio / per_period(1.0, periods_per_year)


def as_record(record: Any) -> TrackRecord:
    """Return a record as it is, anything else measured as returns."""
    if isinstance(record, TrackRecord):
        return record
    return TrackRecord.from_returns(record)


def per_period(sharpe: float, periods_per_year: float | None) -> float:
    """Turn an annual Sharpe ratio into one per period."""
    if periods_per_year is None:
        return sharpe
    if not 0 < as_number(periods_per_year, "periods_per_year") < np.inf:
        msg = (
            "periods_per_year must be a positive number such as 252, got "
            f"{periods_per_year!r}. None means Sharpe ratios per period."
        )
        raise ValueError(msg)
    return float(sharpe / np.sqrt(periods_per_year))
