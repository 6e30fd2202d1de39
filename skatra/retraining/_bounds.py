"""What the gate asks of a challenger, as one frozen object."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from skatra.utils import as_count, as_number

# With fewer blocks the bootstrap's lower bound is too high: at 3 blocks 12 % of books
# without an edge pass where it promises 5 %, at 30 it is 6 %.
MIN_BLOCKS = 30
_SHARES = ("max_overfitting", "min_deflated_sharpe", "max_drawdown", "min_stake")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateBounds:
    """What the gate asks of a challenger.

    Parameters
    ----------
    confidence : float, default=0.95
        One-sided confidence of every bootstrap bound, strictly between 0.5 and 1.
    min_growth : float, default=0.0
        What the lower bound of growth must exceed: log growth a year, above the
        champion's if there is one. Below 0 a model passes that is surely not worse by
        more than this.
    max_overfitting : float, default=0.5
        Largest probability of backtest overfitting, unless the chosen candidate
        still gains in most halves: among equals the choice is luck, and harmless.
    min_deflated_sharpe : float, default=0.95
        Least deflated Sharpe ratio of what the challenger earns above the champion,
        a probability.
    max_drawdown : float, default=0.5
        Largest drawdown of the challenger's book, as a share of its peak.
    max_excess_loss : float, default=0.0
        What the lower bound of the log loss above that of the base rate may reach,
        in nats a bar: above 0 the probabilities are surely worse than none.
    min_stake : float, default=0.001
        Least mean absolute position, as a fraction of capital, when there is no
        champion to do better than.
    min_blocks : int, default=30
        Least number of blocks, each as long as the longest label; with fewer the
        outcome is "not enough evidence".
    max_leaking_pairs : int, default=0
        Most pairs of a training and a test label that may overlap, over every split
        that the decision rests on.

    Raises
    ------
    ValueError
        If a bound is out of range; the message names it.

    Examples
    --------
    >>> from skatra.retraining import GateBounds
    >>> GateBounds(max_drawdown=0.3).min_blocks
    30
    """

    confidence: float = 0.95
    min_growth: float = 0.0
    max_overfitting: float = 0.5
    min_deflated_sharpe: float = 0.95
    max_drawdown: float = 0.5
    max_excess_loss: float = 0.0
    min_stake: float = 0.001
    min_blocks: int = MIN_BLOCKS
    max_leaking_pairs: int = 0

    def __post_init__(self) -> None:
        """Refuse bounds that nothing or everything passes."""
        confidence = as_number(self.confidence, "confidence")
        if not 0.5 < confidence < 1.0:
            raise ValueError(
                "confidence must lie strictly between 0.5 and 1, got "
                f"{self.confidence!r}."
            )
        for name in _SHARES:
            value = getattr(self, name)
            if not 0.0 <= as_number(value, name) <= 1.0:
                raise ValueError(f"{name} must lie between 0 and 1, got {value!r}.")
        for name in ("min_growth", "max_excess_loss"):
            value = getattr(self, name)
            if not abs(as_number(value, name)) < float("inf"):
                raise ValueError(f"{name} must be finite, got {value!r}.")
        # One block has no spread to learn from.
        as_count(self.min_blocks, "min_blocks", least=2)
        as_count(self.max_leaking_pairs, "max_leaking_pairs", least=0)

    @classmethod
    def of(cls, bounds: Any) -> Self:
        """Return bounds from bounds, or from a mapping of some of them.

        Parameters
        ----------
        bounds : GateBounds or mapping of str to float
            Bounds that are not named keep their defaults.

        Returns
        -------
        GateBounds
            The same object, or a new one.

        Raises
        ------
        ValueError
            If the mapping names a bound that does not exist, or a value is out of
            range.
        """
        if isinstance(bounds, cls):
            return bounds
        names = [field.name for field in fields(cls)]
        if not isinstance(bounds, Mapping):
            msg = (
                "gate must be GateBounds, or map some of its bounds to values, as "
                f"{{'max_drawdown': 0.3}}, got {bounds!r}. There are "
                f"{', '.join(names)}."
            )
            raise ValueError(msg)  # noqa: TRY004 - as of all settings
        if unknown := [name for name in bounds if name not in names]:
            raise ValueError(
                "gate must name bounds that exist, got "
                f"{', '.join(map(str, unknown))}. There are {', '.join(names)}."
            )
        return cls(**bounds)

    def to_dict(self) -> dict[str, Any]:
        """Return the bounds, ready for JSON.

        Returns
        -------
        dict
            Every bound by name.
        """
        return asdict(self)
