"""Growth against the fraction staked, and the wealth it leads to."""

import warnings
from typing import Any, Self

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skatra.sizing._empirical import (
    _one_series,
    kelly_break_even,
    kelly_from_returns,
    kelly_growth_from_returns,
)
from skatra.sizing._figures import (
    BLUE,
    GREEN,
    ORANGE,
    VERMILION,
    clean,
    new_axes,
    write_above,
)
from skatra.sizing._kelly import _checked
from skatra.typing import FloatArray
from skatra.utils import as_finite_column, check_same_rows

__all__ = ["KellyGrowthDisplay"]

_N_POINTS = 400
_BAND = (0.05, 0.5, 0.95)
_FRACTION = "fraction of capital invested"
_MULTIPLE = "multiple of the model's positions"


class KellyGrowthDisplay:
    """Log growth against the fraction staked, or the wealth that follows from it.

    Make it with :meth:`from_returns` or :meth:`from_estimator`. Full Kelly is the top
    of the curve; beyond break-even a winning bet loses; at ruin one of the returns
    seen takes everything. As wealth, the chosen fraction and full Kelly are compared
    over resampled histories, with their drawdowns below.

    Parameters
    ----------
    returns : ndarray of shape (n,), float64
        Simple returns of a unit position.
    weights : ndarray of shape (n,), float64
        Their probabilities, with sum 1.
    chosen : float
        The fraction staked.
    cost : float, default=0.0
        Paid per unit staked.
    allow_short : bool, default=False
        Whether full Kelly of a losing history is negative, rather than 0.
    fraction_name : str, default="fraction of capital invested"
        What a fraction is a multiple of: the label of the axis.

    Attributes
    ----------
    full, break_even, ruin : float
        Full Kelly of the returns, the fraction where growth is back to 0, and the one
        that a loss seen would ruin; of the side that `full` is on. 0 and 0 without an
        edge; ruin is infinite where nothing is lost.
    fractions, growth : ndarray of shape (400,), float64
        The curve: growth in nats per period, -inf at ruin.
    wealth, drawdowns : dict of ndarray of shape (n_periods + 1, 3), or None
        Quantiles 0.05, 0.5 and 0.95 over the histories, under "chosen" and "full", if
        they were drawn. The start is 1.
    ax_ : matplotlib Axes, or two of them
        Where it was drawn.
    figure_ : matplotlib Figure
        The figure of `ax_`.

    See Also
    --------
    kelly_from_returns : Full Kelly alone.
    KellyCalibrationDisplay : Whether the probabilities deserve their stakes.

    References
    ----------
    .. [1] E. O. Thorp, "The Kelly Criterion in Blackjack, Sports Betting and the
       Stock Market", 2006, figure 1.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from skatra.sizing import KellyGrowthDisplay
    >>> display = KellyGrowthDisplay.from_returns(
    ...     [1.0, -1.0], [0.53, 0.47], kelly_multiplier=0.5
    ... )
    >>> round(display.full, 6), round(display.chosen, 6), round(display.break_even, 6)
    (0.06, 0.03, 0.119712)
    >>> display.ax_.get_ylabel()
    'log growth per period'
    """

    def __init__(
        self,
        returns: FloatArray,
        weights: FloatArray,
        chosen: float,
        *,
        cost: float = 0.0,
        allow_short: bool = False,
        fraction_name: str = _FRACTION,
    ) -> None:
        self.returns = returns
        self.weights = weights
        self.chosen = chosen
        self.cost = cost
        self.fraction_name = fraction_name
        both: Any = {"cost": cost, "allow_short": allow_short}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            self.full = float(kelly_from_returns(returns, weights, **both))
            self.break_even = kelly_break_even(returns, weights, **both)
        side = np.sign(self.full) or np.sign(chosen) or 1.0
        worst = -float((side * returns - cost).min())
        self.ruin = float(side / worst) if worst > 0 else float(side * np.inf)
        self.fractions = self._grid(float(side))
        self.growth = np.asarray(
            kelly_growth_from_returns(self.fractions, returns, weights, cost=cost)
        )
        self.wealth: dict[str, FloatArray] | None = None
        self.drawdowns: dict[str, FloatArray] | None = None

    @classmethod
    def from_returns(
        cls,
        returns: Any,
        weights: Any = None,
        *,
        fraction: float | None = None,
        kelly_multiplier: float = 0.25,
        cost: float = 0.0,
        allow_short: bool = False,
        kind: str = "growth",
        n_periods: int = 250,
        n_paths: int = 2000,
        random_state: Any = 0,
        ax: Any = None,
    ) -> Self:
        """Draw a history of returns of a unit position.

        Parameters
        ----------
        returns : array-like of shape (n,)
            Simple returns per unit invested.
        weights : array-like of shape (n,), default=None
            Non-negative weights or probabilities.
        fraction : float, default=None
            The fraction staked; negative is short. None takes ``kelly_multiplier``
            times full Kelly.
        kelly_multiplier : float in [0, 1], default=0.25
            Ignored where a fraction is given.
        cost : float >= 0, default=0.0
            Paid per unit invested.
        allow_short : bool, default=False
            Whether full Kelly of a losing history is negative, rather than 0.
        kind : {"growth", "wealth"}, default="growth"
            What to draw, see :meth:`plot`.
        n_periods : int > 0, default=250
            Length of a history.
        n_paths : int > 0, default=2000
            Histories, drawn with replacement: periods are taken to be independent, so
            that runs of losses in clusters are not in the bands.
        random_state : int, RandomState instance or None, default=0
            Of the histories.
        ax : matplotlib Axes, or two of them for "wealth", default=None
            Where to draw; None makes a figure.

        Returns
        -------
        KellyGrowthDisplay

        Raises
        ------
        ValueError
            If values are not finite, rows do not match or parameters are out of
            range.
        MissingDependencyError
            If matplotlib is not installed.
        """
        column, share = _one_series(returns, weights)
        cost = float(_checked(cost, "cost"))
        multiplier = float(_checked(kelly_multiplier, "kelly_multiplier", upper=1.0))
        if fraction is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                full = kelly_from_returns(
                    column, share, cost=cost, allow_short=allow_short
                )
            chosen = multiplier * float(full)
        else:
            chosen = float(_checked(fraction, "fraction", lower=-np.inf))
        display = cls(column, share, chosen, cost=cost, allow_short=allow_short)
        return display.plot(
            kind=kind,
            n_periods=n_periods,
            n_paths=n_paths,
            random_state=random_state,
            ax=ax,
        )

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        returns: Any,
        *,
        cost: float = 0.0,
        kind: str = "growth",
        n_periods: int = 250,
        n_paths: int = 2000,
        random_state: Any = 0,
        ax: Any = None,
    ) -> Self:
        """Draw what the positions of a fitted model grew by, were they scaled.

        The chosen fraction is 1: the positions as they are. Full Kelly tells how much
        more or less of them the rows given would have borne. Give rows that the model
        was not fitted on.

        Parameters
        ----------
        estimator : estimator
            Fitted; its ``decision_function`` gives positions, as that of
            :class:`KellyClassifier` or a pipeline that ends in one does.
        X : array-like of shape (n, n_features)
            Rows to size.
        returns : array-like of shape (n,)
            Simple return of a long unit position in each row.
        cost : float >= 0, default=0.0
            Paid per unit of capital staked.
        kind : {"growth", "wealth"}, default="growth"
            "growth": the curve, with full Kelly, the chosen fraction, break-even and
            ruin marked. "wealth": median and the band from 5 % to 95 % of wealth, and
            below of its drawdown from the highest value so far.
        n_periods : int > 0, default=250
            Length of a history.
        n_paths : int > 0, default=2000
            Histories, drawn with replacement: periods are taken to be independent, so
            that runs of losses in clusters are not in the bands.
        random_state : int, RandomState instance or None, default=0
            Of the histories.
        ax : matplotlib Axes, or two of them for "wealth", default=None
            Where to draw; None makes a figure.

        Returns
        -------
        KellyGrowthDisplay
            Its returns are position x return - cost x abs(position).

        Raises
        ------
        ValueError
            If the estimator has no ``decision_function``, or rows do not match.
        MissingDependencyError
            If matplotlib is not installed.
        """
        if not hasattr(estimator, "decision_function"):
            msg = (
                "estimator must give positions by decision_function, which "
                f"{type(estimator).__name__} lacks. Wrap the classifier in "
                "KellyClassifier."
            )
            raise ValueError(msg)
        check_is_fitted(estimator)
        check_same_rows(X=X, returns=returns)
        realised = as_finite_column(returns, "returns")
        positions = np.asarray(estimator.decision_function(X), dtype=np.float64)
        rate = float(_checked(cost, "cost"))
        earned, share = _one_series(
            positions * realised - rate * np.abs(positions), None
        )
        return cls(earned, share, 1.0, fraction_name=_MULTIPLE).plot(
            kind=kind,
            n_periods=n_periods,
            n_paths=n_paths,
            random_state=random_state,
            ax=ax,
        )

    def plot(
        self,
        *,
        kind: str = "growth",
        n_periods: int = 250,
        n_paths: int = 2000,
        random_state: Any = 0,
        ax: Any = None,
    ) -> Self:
        """Draw the growth curve, or wealth and drawdown over resampled histories.

        Parameters
        ----------
        kind : {"growth", "wealth"}, default="growth"
            "growth": the curve, with full Kelly, the chosen fraction, break-even and
            ruin marked. "wealth": median and the band from 5 % to 95 % of wealth, and
            below of its drawdown from the highest value so far.
        n_periods : int > 0, default=250
            Length of a history.
        n_paths : int > 0, default=2000
            Histories, drawn with replacement: periods are taken to be independent, so
            that runs of losses in clusters are not in the bands.
        random_state : int, RandomState instance or None, default=0
            Of the histories.
        ax : matplotlib Axes, or two of them for "wealth", default=None
            Where to draw; None makes a figure.

        Returns
        -------
        KellyGrowthDisplay
            Itself, with the axes it drew on.

        Raises
        ------
        ValueError
            If kind is neither, a number is not positive, or the number of axes does
            not fit.
        MissingDependencyError
            If matplotlib is not installed.
        """
        if kind not in ("growth", "wealth"):
            msg = f"kind must be 'growth' or 'wealth', got {kind!r}."
            raise ValueError(msg)
        if kind == "growth":
            self.ax_ = new_axes(1, (6.8, 4.2), ax, "ax")
            self.figure_ = self.ax_.figure
            self._draw_growth(self.ax_)
            return self
        counts: dict[str, Any] = {"n_periods": n_periods, "n_paths": n_paths}
        for name, number in counts.items():
            if not isinstance(number, int | np.integer) or number < 1:
                msg = f"{name} must be an integer of at least 1, got {number!r}."
                raise ValueError(msg)
        upper, lower = self.ax_ = new_axes(2, (6.8, 5.4), ax, "ax")
        self.figure_ = upper.figure
        self._simulate(int(n_periods), int(n_paths), random_state)
        self._draw_wealth(upper, lower)
        return self

    def _grid(self, side: float) -> FloatArray:
        """Return fractions from 0 to past break-even and the chosen one."""
        ends = [0.0, 1.25 * self.break_even, 1.25 * self.chosen]
        if not any(ends):
            ends.append(side if np.isinf(self.ruin) else self.ruin / 4)
        worst, best = (float(sign * np.min(sign * self.returns)) for sign in (1, -1))
        with np.errstate(divide="ignore"):
            limits = np.divide(-1.0, (best + self.cost, worst - self.cost))
        low = max(min(ends), limits[0]) if best + self.cost > 0 else min(ends)
        high = min(max(ends), limits[1]) if worst - self.cost < 0 else max(ends)
        return np.linspace(low, high, _N_POINTS)

    def _draw_growth(self, ax: Any) -> None:
        top = max(float(self.growth.max()), 0.0)
        floor = -top if top > 0 else float(np.min(self.growth, initial=-1e-12))
        chosen = float(
            kelly_growth_from_returns(
                self.chosen, self.returns, self.weights, cost=self.cost
            )
        )
        if np.isfinite(chosen):
            floor = min(floor, 1.2 * chosen)
        ax.plot(self.fractions, np.maximum(self.growth, 2 * floor), color=BLUE, lw=2)
        ax.axhline(0.0, color="0.5", lw=0.8)
        ax.set_ylim(1.15 * floor, 1.12 * top if top > 0 else -0.1 * floor)
        left, right = self.fractions[0], self.fractions[-1]
        slack = 0.02 * (right - left)
        inside = {
            name: left - slack <= place <= right + slack
            for name, place in (("ruin", self.ruin), ("chosen", self.chosen))
        }
        places = [
            ("full Kelly", self.full, GREEN, "-", self.full != 0),
            ("break-even", self.break_even, ORANGE, "--", self.break_even != 0),
            ("ruin", self.ruin, VERMILION, ":", inside["ruin"]),
            ("chosen", self.chosen, BLUE, "-.", inside["chosen"]),
        ]
        shown = [place[:-1] for place in places if place[-1]]
        for name, place, colour, line in shown:
            ax.axvline(place, color=colour, ls=line, lw=1.4, label=name)
        if self.break_even:
            end = right if self.break_even > 0 else left
            ax.axvspan(self.break_even, end, color=ORANGE, alpha=0.12, lw=0)
        if np.isfinite(chosen):
            ax.plot([self.chosen], [chosen], "o", color=BLUE, ms=6, zorder=3)
        hidden = np.isfinite(self.ruin) and not inside["ruin"]
        note = f", ruin at {self.ruin:.3g}" if hidden else ""
        ax.set(xlabel=self.fraction_name + note, ylabel="log growth per period")
        ax.set_xlim(left - slack, right + slack)
        write_above(ax, [(place, f"{name} {place:.3g}") for name, place, _, _ in shown])
        clean(ax)

    def _simulate(self, n_periods: int, n_paths: int, random_state: Any) -> None:
        """Learn the quantiles of wealth and drawdown, the same draws for both."""
        random = check_random_state(random_state)
        rows = random.choice(
            len(self.returns), size=(n_periods, n_paths), p=self.weights
        )
        drawn = self.returns[rows]
        self.wealth, self.drawdowns = {}, {}
        for name, fraction in (("chosen", self.chosen), ("full", self.full)):
            change = np.maximum(fraction * drawn - self.cost * abs(fraction), -1.0)
            with np.errstate(divide="ignore"):
                path = np.cumsum(np.log1p(change), axis=0)
            path = np.vstack([np.zeros(n_paths), path])
            wealth = np.exp(path)
            fall = 1.0 - wealth / np.maximum.accumulate(wealth, axis=0)
            self.wealth[name] = np.quantile(wealth, _BAND, axis=1).T
            self.drawdowns[name] = np.quantile(fall, _BAND, axis=1).T

    def _draw_wealth(self, upper: Any, lower: Any) -> None:
        from matplotlib.ticker import LogLocator, NullFormatter

        looks = {
            "full": (VERMILION, "--", f"full Kelly {self.full:.3g}"),
            "chosen": (BLUE, "-", f"chosen {self.chosen:.3g}"),
        }
        assert self.wealth is not None  # noqa: S101 - they were simulated
        assert self.drawdowns is not None  # noqa: S101
        for name, (colour, line, label) in looks.items():
            for ax, bands in (
                (upper, self.wealth[name]),
                (lower, self.drawdowns[name]),
            ):
                low, middle, high = np.maximum(bands, 1e-6 if ax is upper else 0.0).T
                time = np.arange(len(middle))
                ax.fill_between(time, low, high, color=colour, alpha=0.18, lw=0)
                ax.plot(time, middle, color=colour, ls=line, lw=1.8, label=label)
        upper.set_yscale("log")
        upper.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        upper.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        upper.yaxis.set_minor_formatter(NullFormatter())
        upper.axhline(1.0, color="0.5", lw=0.8)
        upper.legend(frameon=False, loc="upper left", title="median, 5 % to 95 %")
        upper.set_ylabel("wealth (start = 1)")
        lower.set(xlabel="periods", ylabel="drawdown from peak")
        lower.set_ylim(1.0, 0.0)
        lower.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        for ax in (upper, lower):
            ax.margins(x=0)
            clean(ax)
