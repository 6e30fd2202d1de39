"""Position sizes of single trades: fixed fractional, or Kelly from a history."""

import math
import warnings
from dataclasses import dataclass
from typing import Any

from skatra.sizing._kelly import kelly_fraction
from skatra.sizing._trades import TradeStatistics, calculate_trade_statistics
from skatra.utils import HTMLRepr

__all__ = ["PositionSize", "PositionSizer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionSize(HTMLRepr):
    """A position size and how it came about.

    Attributes
    ----------
    size : float
        Units to hold (shares, contracts), not negative.
    side : int
        +1 long, -1 short (the stop lies above the entry).
    notional : float
        size x entry price, in the currency of the capital.
    risk_fraction : float
        Share of the capital lost if the stop is hit (without a stop: if the price
        goes to 0).
    full_kelly : float or None
        Full Kelly as a risk fraction, before ``kelly_multiplier`` and caps; None
        for fixed-fractional sizing or where the history does not define it.
    capped_by : {"max_risk", "max_position", "max_exposure"} or None
        The cap that bound; the last one where several did.
    reason : str or None
        Why the size is 0; None otherwise.
    """

    size: float
    side: int
    notional: float
    risk_fraction: float
    full_kelly: float | None = None
    capped_by: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionSizer(HTMLRepr):
    """Size single trades by the capital they put at risk.

    By default a fixed share of the capital is at risk in every trade. With
    ``use_kelly=True`` the share is fractional Kelly from a win rate and payoffs. To
    size the predictions of a classifier, use :class:`KellyClassifier` instead.

    Parameters
    ----------
    risk_per_trade : float in (0, 1), default=0.01
        Share of the capital at risk in a fixed-fractional trade.
    kelly_multiplier : float in [0, 1], default=0.25
        Share of full Kelly staked.
    max_position : float > 0, default=1.0
        Largest notional as a multiple of the capital; 1 is no leverage.
    max_risk : float in (0, 1], default=1.0
        Largest share of the capital at risk.
    max_exposure : float > 0, default=None
        Largest notional of all open positions and the new one together, as a multiple
        of the capital (the total leverage); None does not limit it.
    tick_size : float > 0, default=None
        Prices are multiples of it: the entry is rounded to the nearest, the stop away
        from the entry, so that the risk is never understated. None does not round.
    lot_size : float > 0, default=None
        Sizes are rounded down to multiples of it; None does not round.
    min_trades : int >= 0, default=2
        Fewest decided trades that Kelly is trusted to. An estimated win rate costs
        growth: at 30 trades only a small multiplier survives.

    Raises
    ------
    ValueError
        If a parameter is outside its range.

    Examples
    --------
    >>> from skatra.sizing import PositionSizer
    >>> sizer = PositionSizer(risk_per_trade=0.01)
    >>> plain = sizer.calculate_position_size(10_000, 50.0, stop_loss_price=48.0)
    >>> plain.size, plain.notional, plain.risk_fraction
    (50.0, 2500.0, 0.01)
    >>> kelly = sizer.calculate_position_size(
    ...     10_000, 50.0, stop_loss_price=48.0, use_kelly=True,
    ...     win_rate=0.55, avg_win_loss_ratio=1.0,
    ... )
    >>> round(kelly.full_kelly, 6), round(kelly.risk_fraction, 6), round(kelly.size, 6)
    (0.1, 0.025, 125.0)
    """

    risk_per_trade: float = 0.01
    kelly_multiplier: float = 0.25
    max_position: float = 1.0
    max_risk: float = 1.0
    max_exposure: float | None = None
    tick_size: float | None = None
    lot_size: float | None = None
    min_trades: int = 2

    def __post_init__(self) -> None:
        """Refuse parameters outside their ranges."""
        _check(self.risk_per_trade, "risk_per_trade", "(0, 1)")
        _check(self.kelly_multiplier, "kelly_multiplier", "[0, 1]")
        _check(self.max_position, "max_position", "(0, inf)")
        _check(self.max_risk, "max_risk", "(0, 1]")
        for name in ("max_exposure", "tick_size", "lot_size"):
            if getattr(self, name) is not None:
                _check(getattr(self, name), name, "(0, inf)")
        _check(self.min_trades, "min_trades", "[0, inf)")

    def calculate_position_size(
        self,
        capital: float,
        entry_price: float,
        stop_loss_price: float | None = None,
        *,
        use_kelly: bool = False,
        win_rate: float | None = None,
        avg_win_loss_ratio: float | None = None,
        trades: Any = None,
        kelly_multiplier: float | None = None,
        open_notional: float = 0.0,
    ) -> PositionSize:
        """Return the size of a trade: fixed fractional unless ``use_kelly``.

        Parameters
        ----------
        capital : float > 0
            Current capital.
        entry_price : float > 0
            Price per unit.
        stop_loss_price : float >= 0, default=None
            Price at which the trade is given up; above the entry for a short.
            Without it the whole price is at risk.
        use_kelly : bool, default=False
            Whether to call :meth:`calculate_kelly_position_size`.
        win_rate, avg_win_loss_ratio, trades, kelly_multiplier : default=None
            Handed to :meth:`calculate_kelly_position_size`.
        open_notional : float >= 0, default=0.0
            Absolute notional of the positions held already, for ``max_exposure``.

        Returns
        -------
        PositionSize
            The size, what it risks, and why it is what it is.

        Raises
        ------
        ValueError
            If a price or the capital is out of range, the stop equals the entry, or
            Kelly inputs are given without ``use_kelly``.
        """
        kelly_inputs = {
            "win_rate": win_rate,
            "avg_win_loss_ratio": avg_win_loss_ratio,
            "trades": trades,
            "kelly_multiplier": kelly_multiplier,
        }
        if use_kelly:
            return self.calculate_kelly_position_size(
                capital,
                entry_price,
                stop_loss_price,
                open_notional=open_notional,
                **kelly_inputs,
            )
        unused = [name for name, value in kelly_inputs.items() if value is not None]
        if unused:
            msg = f"{', '.join(unused)} need use_kelly=True, got use_kelly=False."
            raise ValueError(msg)
        entry_price, stop_loss_price = self._prices(
            capital, entry_price, stop_loss_price, open_notional
        )
        return self._sized(
            self.risk_per_trade, capital, entry_price, stop_loss_price, open_notional
        )

    def calculate_kelly_position_size(
        self,
        capital: float,
        entry_price: float,
        stop_loss_price: float | None = None,
        *,
        win_rate: float | None = None,
        avg_win_loss_ratio: float | None = None,
        trades: Any = None,
        kelly_multiplier: float | None = None,
        open_notional: float = 0.0,
    ) -> PositionSize:
        """Return the fractional-Kelly size of a trade.

        The risk fraction is kelly_multiplier x (p b - q) / b with p the win rate and
        b the ratio of average win to average loss. From ``trades`` it is
        kelly_multiplier x the fraction that grows fastest over the trades themselves:
        the same where all wins are equal and all losses are, and less otherwise, since
        averages do not contain the worst trade.

        Parameters
        ----------
        capital : float > 0
            Current capital.
        entry_price : float > 0
            Price per unit.
        stop_loss_price : float >= 0, default=None
            Price at which the trade is given up; above the entry for a short. Without
            it the whole price is at risk.
        win_rate : float in [0, 1], default=None
            Probability of winning.
        avg_win_loss_ratio : float > 0, default=None
            Average win / average loss.
        trades : TradeStatistics or array-like of shape (n_trades,), default=None
            History to size from instead; a loss at the stop stands for its average
            loss. No stake would have been ruined by its worst trade.
        kelly_multiplier : float in [0, 1], default=None
            Overrides the sizer's.
        open_notional : float >= 0, default=0.0
            Absolute notional of the positions held already, for ``max_exposure``.

        Returns
        -------
        PositionSize
            Of size 0 where there is no edge, and, with a UserWarning, where the
            history has no trades, no losers, no winners or fewer than
            ``min_trades``.

        Raises
        ------
        ValueError
            If an input is out of range, or both or neither of trades and
            (win_rate, avg_win_loss_ratio) are given.

        Warns
        -----
        UserWarning
            If the history does not define a Kelly fraction.
        """
        entry_price, stop_loss_price = self._prices(
            capital, entry_price, stop_loss_price, open_notional
        )
        multiplier = self.kelly_multiplier
        if kelly_multiplier is not None:
            _check(kelly_multiplier, "kelly_multiplier", "[0, 1]")
            multiplier = kelly_multiplier
        given = win_rate is not None, avg_win_loss_ratio is not None
        if given != ((trades is None), (trades is None)):
            msg = (
                "Kelly sizing needs either trades, or win_rate and "
                f"avg_win_loss_ratio; got win_rate={win_rate!r}, avg_win_loss_ratio="
                f"{avg_win_loss_ratio!r} and {'no' if trades is None else 'a'} trade "
                "history."
            )
            raise ValueError(msg)
        side = _side(entry_price, stop_loss_price)
        if trades is not None:
            stats = (
                trades
                if isinstance(trades, TradeStatistics)
                else calculate_trade_statistics(trades)
            )
            doubt = self._doubt(stats)
            if doubt is not None:
                warnings.warn(f"Position size is 0: {doubt}.", stacklevel=2)
                return _nothing(side, doubt, None)
            win_rate, avg_win_loss_ratio = stats.win_rate, stats.avg_win_loss_ratio
            full = float(stats.full_kelly or 0.0)
        else:
            _check(win_rate, "win_rate", "[0, 1]")
            _check(avg_win_loss_ratio, "avg_win_loss_ratio", "(0, inf)")
            full = float(kelly_fraction(win_rate, avg_win_loss_ratio))
        if full == 0.0:
            doubt = (
                f"no edge at win rate {win_rate:.4g} and average win/loss "
                f"{avg_win_loss_ratio:.4g}"
            )
            return _nothing(side, doubt, full)
        if multiplier == 0.0:
            return _nothing(side, "kelly_multiplier is 0", full)
        return self._sized(
            multiplier * full,
            capital,
            entry_price,
            stop_loss_price,
            open_notional,
            full_kelly=full,
        )

    def _prices(
        self,
        capital: float,
        entry_price: float,
        stop_loss_price: float | None,
        open_notional: float,
    ) -> tuple[float, float | None]:
        """Check the prices and put them on ticks, the stop away from the entry."""
        _check_prices(capital, entry_price, stop_loss_price)
        _check(open_notional, "open_notional", "[0, inf)")
        if self.tick_size is None:
            return entry_price, stop_loss_price
        ticks = round(entry_price / self.tick_size)
        if ticks == 0:
            msg = (
                f"entry_price must be at least half a tick of {self.tick_size:g}, got "
                f"{entry_price!r}."
            )
            raise ValueError(msg)
        entry = ticks * self.tick_size
        if stop_loss_price is None:
            return entry, None
        # A stop within rounding of a tick is on it.
        stop = stop_loss_price / self.tick_size
        if stop_loss_price < entry_price:
            stop_ticks = min(math.floor(stop + 1e-9), ticks - 1)
        else:
            stop_ticks = max(math.ceil(stop - 1e-9), ticks + 1)
        return entry, max(stop_ticks, 0) * self.tick_size

    def _doubt(self, stats: TradeStatistics) -> str | None:
        """Return why a history defines no Kelly fraction, if it does not."""
        decided = stats.n_wins + stats.n_losses
        if decided == 0:
            return "the trade history holds no win and no loss"
        if stats.n_losses == 0:
            return f"the trade history holds no losing trade among {decided}"
        if stats.n_wins == 0:
            return f"the trade history holds no winning trade among {decided}"
        if decided < self.min_trades:
            return (
                f"the trade history holds {decided} decided trades, fewer than "
                f"min_trades={self.min_trades}"
            )
        return None

    def _sized(
        self,
        risk: float,
        capital: float,
        entry_price: float,
        stop_loss_price: float | None,
        open_notional: float,
        *,
        full_kelly: float | None = None,
    ) -> PositionSize:
        """Turn a risk fraction into units, under the caps and the lot size."""
        loss_per_unit = _loss_per_unit(entry_price, stop_loss_price)
        capped_by = None
        if risk > self.max_risk:
            risk, capped_by = self.max_risk, "max_risk"
        size = capital * risk / loss_per_unit
        if size * entry_price > self.max_position * capital:
            size, capped_by = self.max_position * capital / entry_price, "max_position"
        side = _side(entry_price, stop_loss_price)
        if self.max_exposure is not None:
            room = max(self.max_exposure * capital - open_notional, 0.0)
            if size * entry_price > room:
                size, capped_by = room / entry_price, "max_exposure"
            if size == 0.0:
                reason = (
                    f"open positions of {open_notional:g} leave no room under "
                    f"max_exposure={self.max_exposure:g} x {capital:g}"
                )
                return _nothing(side, reason, full_kelly, capped_by)
        if self.lot_size is not None:
            # A size within rounding of a whole lot is that lot.
            lots = math.floor(size / self.lot_size * (1 + 1e-12))
            if lots == 0:
                reason = f"{size:.6g} units are less than one lot of {self.lot_size:g}"
                return _nothing(side, reason, full_kelly, capped_by)
            size = float(lots * self.lot_size)
        return PositionSize(
            size=size,
            side=side,
            notional=size * entry_price,
            risk_fraction=size * loss_per_unit / capital,
            full_kelly=full_kelly,
            capped_by=capped_by,
        )


def _nothing(
    side: int, reason: str, full_kelly: float | None, capped_by: str | None = None
) -> PositionSize:
    """Return a size of 0 with its reason."""
    return PositionSize(
        size=0.0,
        side=side,
        notional=0.0,
        risk_fraction=0.0,
        full_kelly=full_kelly,
        capped_by=capped_by,
        reason=reason,
    )


def _loss_per_unit(entry_price: float, stop_loss_price: float | None) -> float:
    stop = 0.0 if stop_loss_price is None else stop_loss_price
    return abs(entry_price - stop)


def _side(entry_price: float, stop_loss_price: float | None) -> int:
    return -1 if stop_loss_price is not None and stop_loss_price > entry_price else 1


def _check_prices(
    capital: float, entry_price: float, stop_loss_price: float | None
) -> None:
    _check(capital, "capital", "(0, inf)")
    _check(entry_price, "entry_price", "(0, inf)")
    if stop_loss_price is None:
        return
    _check(stop_loss_price, "stop_loss_price", "[0, inf)")
    if stop_loss_price == entry_price:
        msg = (
            f"stop_loss_price must differ from entry_price, got {stop_loss_price!r} "
            "for both. Leave it out to put the whole price at risk."
        )
        raise ValueError(msg)


def _check(value: Any, name: str, interval: str) -> None:
    """Refuse what is no finite number in an interval written like "(0, 1]"."""
    low, high = (float(edge) for edge in interval[1:-1].split(","))
    try:
        good = math.isfinite(value) and low <= value <= high
        good = good and not (interval[0] == "(" and value == low)
        good = good and not (interval[-1] == ")" and value == high)
    except TypeError:
        good = False
    if not good:
        msg = f"{name} must be a number in {interval}, got {value!r}."
        raise ValueError(msg)
