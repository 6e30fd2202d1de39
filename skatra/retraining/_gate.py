"""Is the challenger surely better than what is served, by evidence that counts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skatra.metrics import (
    deflated_sharpe_ratio,
    effective_number_of_trials,
    probability_of_backtest_overfitting,
)
from skatra.retraining._bounds import GateBounds
from skatra.retraining._contest import Contest
from skatra.retraining._evaluation import block_bootstrap_bound
from skatra.retraining._evidence import as_text
from skatra.typing import FloatArray
from skatra.utils import HTMLRepr, format_number

Outcome = Literal["promoted", "refused", "not enough evidence"]

_PBO_BLOCKS = 16


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of the gate.

    Attributes
    ----------
    name : str
    value, bound : float
    passed : bool
    sentence : str
        What it means, in words.
    """

    name: str
    value: float
    bound: float
    passed: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Verdict(HTMLRepr):
    """The gate's decision.

    Attributes
    ----------
    promoted : bool
        True when every check passed.
    checks : tuple of Check
    outcome : {"promoted", "refused", "not enough evidence"}
    champion_id : str or None
        The served model that it was judged against; None when there was none.
    """

    promoted: bool
    checks: tuple[Check, ...]
    outcome: Outcome = "refused"
    champion_id: str | None = None

    def _html_rows(self) -> dict[str, Any]:
        return {"outcome": self.outcome, "champion_id": self.champion_id} | {
            check.name: check.sentence for check in self.checks
        }

    @property
    def reason(self) -> str:
        """Why the model was refused, or that it was promoted."""
        failed = [check.sentence for check in self.checks if not check.passed]
        return " ".join(failed) if failed else "Every check passed."


def gate(
    contest: Contest,
    *,
    bounds: GateBounds,
    trials: FloatArray | None = None,
    n_trials: int = 1,
    n_candidates: int | None = None,
    seed: int = 0,
) -> Verdict:
    """Promote a challenger only if it surely grows more than what is served.

    Parameters
    ----------
    contest : Contest
        Both books on rows that neither has learned from; without a champion cash is
        served, which does not grow.
    bounds : GateBounds
    trials : ndarray of shape (n_bars, n_books), optional
        Growth of candidates, for the probability of backtest overfitting and for how
        alike they are.
    n_trials : int, default=1
        Trials ever made on these data; at least the number of candidates counts.
    n_candidates : int, default=None
        Candidates that ``trials`` stand for; None means its columns.
    seed : int, default=0
        Of the bootstrap.
    """
    checks = [_leaks(contest, bounds), _evidence(contest, bounds)]
    if contest.problem is not None:
        text = (
            f"The champion {contest.evidence.champion_id} cannot be compared on these "
            f"rows: {contest.problem}"
        )
        checks.append(Check("comparable", 0.0, 1.0, False, text))
    elif checks[-1].passed:
        made = _Trials(trials, n_trials, n_candidates)
        checks += _judge(contest, bounds, made, seed)
    promoted = all(check.passed for check in checks)
    refused: Outcome = "refused" if checks[1].passed else "not enough evidence"
    return Verdict(
        promoted,
        tuple(checks),
        "promoted" if promoted else refused,
        contest.evidence.champion_id,
    )


def _leaks(contest: Contest, bounds: GateBounds) -> Check:
    n = contest.leaking_pairs
    said = (
        f"{n} training labels overlap test labels."
        if n
        else "No training label overlaps a test label."
    )
    most = bounds.max_leaking_pairs
    return Check("leaking pairs", float(n), float(most), n <= most, said)


def _evidence(contest: Contest, bounds: GateBounds) -> Check:
    found = contest.evidence
    if found.champion_id is None:
        rows = "held-out bars"
    elif found.withdrawn is None:
        rows = "bars after the champion's training"
    else:
        name, until = found.withdrawn
        rows = f"bars after the training of the withdrawn {name} ({until:%Y-%m-%d})"
    enough = found.blocks >= bounds.min_blocks
    blocks = "block" if found.blocks == 1 else "blocks"
    when = as_text(found.enough_from)[:10]
    lacking = f", {bounds.min_blocks} are needed: not enough evidence" + (
        ", and never will be" if when == "never" else f" before about {when}"
    )
    return Check(
        "independent blocks",
        float(found.blocks),
        float(bounds.min_blocks),
        enough,
        f"The {rows} hold {found.blocks} {blocks} as long as the longest label"
        f"{'' if enough else lacking}.",
    )


class _Trials:
    """What was tried, and how many independent trials it is worth.

    Candidates of one grid are much alike; of earlier trials only the number is known,
    and each counts as one. Books of some candidates stand for the rest: were they one,
    so are all, were they independent, so are all.
    """

    def __init__(
        self, books: FloatArray | None, n_trials: int, n_candidates: int | None
    ) -> None:
        self.books = books if books is not None and books.shape[1] > 1 else None
        self.n = n_trials
        self.independent = float(n_trials)
        if self.books is None:
            return
        n_books = self.books.shape[1]
        stood_for = max(n_books, n_candidates or 0)
        self.n = max(n_trials, stood_for)
        moving = self.books[:, np.ptp(self.books, axis=0) > 1e-12]
        alike = effective_number_of_trials(moving) if moving.shape[1] > 1 else 1.0
        further = (stood_for - 1) / (n_books - 1)
        alike = 1.0 + (min(alike, n_books) - 1.0) * further
        self.independent = max(1.0, self.n - stood_for + alike)


def _judge(
    contest: Contest, bounds: GateBounds, trials: _Trials, seed: int
) -> list[Check]:
    """Return the checks that need a book long enough."""
    book = contest.challenger
    if book is None:
        msg = "contest must hold the challenger's book when it has enough blocks."
        raise ValueError(msg)
    growth = np.asarray(book.log_growth, dtype=np.float64)
    gained = growth
    year = book.bars_per_year
    if contest.champion is not None:
        gained = growth - np.asarray(contest.champion.log_growth, dtype=np.float64)
    block = max(1, book.longest)

    def bound_of(values: NDArray[np.float64]) -> float:
        return block_bootstrap_bound(
            values, block=block, confidence=bounds.confidence, seed=seed
        )

    checks = [
        _growth(contest, year * bound_of(gained), bounds),
        _drawdown(float(book.drawdown.max()), bounds),
        _calibration(contest, bound_of, bounds),
    ]
    if contest.champion is None:
        checks.insert(0, _stake(contest.stake, bounds))
    if trials.books is not None:
        checks.append(_overfitting(trials.books, bounds))
    checks.append(_deflated(gained, trials, bounds))
    return checks


def _stake(stake: float, bounds: GateBounds) -> Check:
    staked = stake >= bounds.min_stake
    return Check(
        "mean stake",
        stake,
        bounds.min_stake,
        staked,
        f"Kelly stakes {stake:.1%} of capital on average."
        if staked
        else "Kelly stakes next to nothing: the calibrated probabilities do not "
        "move away from the base rate.",
    )


def _growth(contest: Contest, bound: float, bounds: GateBounds) -> Check:
    fine = bound > bounds.min_growth
    above = "" if fine else f", not above {bounds.min_growth:.4g}"
    what = (
        "held-out log growth"
        if contest.champion is None
        else f"log growth above the champion {contest.evidence.champion_id}"
    )
    return Check(
        "growth, lower bound",
        bound,
        bounds.min_growth,
        fine,
        f"The lower {bounds.confidence:.0%} bound of {what} is "
        f"{format_number(bound, '+.2%')} a year"
        f"{above}.",
    )


def _drawdown(drawdown: float, bounds: GateBounds) -> Check:
    small = drawdown <= bounds.max_drawdown
    return Check(
        "drawdown",
        drawdown,
        bounds.max_drawdown,
        small,
        f"The challenger's book falls by {drawdown:.1%} from its peak"
        + ("." if small else f", more than {bounds.max_drawdown:.1%}."),
    )


def _calibration(
    contest: Contest,
    bound_of: Callable[[NDArray[np.float64]], float],
    bounds: GateBounds,
) -> Check:
    """Refuse probabilities that are surely worse than the base rate."""
    positive = contest.positive

    def loss(said: FloatArray) -> FloatArray:
        right = np.clip(np.where(positive, said, 1.0 - said), 1e-12, 1.0)
        lost: FloatArray = -np.log(right)
        return lost

    base = np.full(len(positive), contest.base_rate)
    worse = pd.Series(
        loss(np.asarray(contest.probability, dtype=np.float64)) - loss(base),
        index=contest.probability.index,
    )
    by_time = np.asarray(worse.groupby(level=1).mean(), dtype=np.float64)
    bound = bound_of(by_time)
    fine = bound <= bounds.max_excess_loss
    return Check(
        "calibration",
        bound,
        bounds.max_excess_loss,
        fine,
        f"The lower {bounds.confidence:.0%} bound of the log loss above that of the "
        f"base rate is {format_number(bound, '+.2g')}"
        + ("." if fine else ": the probabilities are surely worse than none."),
    )


def _overfitting(trials: FloatArray, bounds: GateBounds) -> Check:
    found = probability_of_backtest_overfitting(
        trials, n_blocks=_PBO_BLOCKS, metric="mean"
    )
    loss = found.probability_of_loss
    fine = found.probability <= bounds.max_overfitting or loss <= 0.5
    return Check(
        "overfitting",
        found.probability,
        bounds.max_overfitting,
        fine,
        f"The candidate chosen in one half is below the median of {trials.shape[1]} in "
        f"the other half in {found.probability:.0%} of splits, and loses in "
        f"{loss:.0%}" + ("." if fine else ": the search has learned noise."),
    )


def _deflated(
    gained: NDArray[np.float64], trials: _Trials, bounds: GateBounds
) -> Check:
    """Ask whether the best of so many worthless trials would look like this.

    Worthless trials spread by the standard error of one record.
    """
    returns = np.expm1(gained)
    value = 0.0
    if np.ptp(returns) > 1e-12:
        error = 1.0 / np.sqrt(len(returns))
        value = deflated_sharpe_ratio(returns, trials.independent, error)
    fine = value >= bounds.min_deflated_sharpe
    worth = (
        f", worth {trials.independent:.1f} independent ones,"
        if trials.independent < trials.n
        else ""
    )
    return Check(
        "deflated Sharpe ratio",
        value,
        bounds.min_deflated_sharpe,
        fine,
        f"After {trials.n} {'trial' if trials.n == 1 else 'trials'}{worth} the "
        f"deflated Sharpe ratio is {value:.3f}"
        + ("." if fine else f", below {bounds.min_deflated_sharpe:g}."),
    )
