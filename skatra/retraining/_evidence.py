"""Which rows a gate may judge, how many there are, and when they will be enough."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skatra.retraining._config import RetrainConfig, as_span
from skatra.retraining._dataset import Rows
from skatra.retraining._evaluation import YEAR, bars_per_year, longest_label
from skatra.retraining._registry import Champion

GRACE = pd.Timedelta("90D")
"""How long a champion is served once a successor could have been judged."""


NEVER = pd.Timestamp.max.floor("D").tz_localize("UTC")
"""What lies beyond the calendar of nanoseconds, in 2262."""


def as_text(time: pd.Timestamp) -> str:
    """Return an expected time in ISO 8601, or that it never comes."""
    return "never" if time >= NEVER else time.isoformat()


def judgeable_from(card: Mapping[str, Any], until: pd.Timestamp) -> pd.Timestamp:
    """Return about when bars are enough to judge who follows a model."""
    told = card.get("judgeable_from", until)
    return NEVER if told == "never" else max(pd.Timestamp(told), until)


def stale_from(card: Mapping[str, Any], until: pd.Timestamp) -> pd.Timestamp:
    """Return from when signals refuse a model that knows ``until``, unless told."""
    return later(judgeable_from(card, until), 1, GRACE)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Rows that neither the champion nor the search has seen.

    Attributes
    ----------
    unseen : ndarray of shape (n_rows,), bool
    since : Timestamp
        First t0 judged; where there is none yet, when the champion's training ended.
    blocks, needed : int
        Blocks as long as the longest label that their bars hold, and least number.
    enough_from : Timestamp
        About when a run will find enough, or the last label's end if it does now;
        ``NEVER`` beyond the calendar.
    champion_id : str or None
        None when cash is served.
    withdrawn : (str, Timestamp) or None
        The model that was rolled back in the champion's favour, where it, having
        learned later rows, decides what is unseen.
    problem : str or None
        Why the champion cannot be compared, however many blocks there are.
    """

    unseen: NDArray[np.bool_]
    since: pd.Timestamp
    blocks: int
    needed: int
    enough_from: pd.Timestamp
    champion_id: str | None = None
    withdrawn: tuple[str, pd.Timestamp] | None = None
    problem: str | None = None

    @property
    def enough(self) -> bool:
        """Whether the gate can judge."""
        return self.blocks >= self.needed

    @property
    def met(self) -> dict[str, Any]:
        """Whom a challenger is judged against, as a card says it."""
        note = None
        if self.withdrawn is not None:
            name, until = self.withdrawn
            note = {"run_id": name, "trained_until": until.isoformat()}
        return {"judged_against": self.champion_id, "withdrawn": note}


def find_evidence(
    rows: Rows,
    held_out: Rows,
    bars: pd.DataFrame,
    config: RetrainConfig,
    champion: Champion | None = None,
) -> Evidence:
    """Return what the gate can judge a challenger on.

    Without a champion those are the held-out rows.
    """
    t0 = pd.DatetimeIndex(rows.data.index.get_level_values(1))
    if champion is None:
        unseen = np.asarray(t0 >= _first(held_out))
    else:
        unseen = unseen_rows(rows, champion, held_out, config.embargo)
    judged = rows.take(unseen)
    blocks = 0
    since = rows.label_times.max() if champion is None else champion.seen_until
    if len(judged):
        since, times = _first(judged), _times(bars)
        longest = longest_label(judged.label_times, times)
        blocks = _n_bars(judged, times) // max(1, longest)
    until = withdrawn = None
    if champion is not None:
        until = champion.seen_until
        withdrawn = champion.withdrawn if until > champion.trained_until else None
    return Evidence(
        unseen,
        since,
        blocks,
        config.gate.min_blocks,
        enough_from(rows, held_out, bars, config, until),
        None if champion is None else champion.run_id,
        withdrawn,
    )


def unseen_rows(
    rows: Rows, champion: Champion, held_out: Rows, embargo: Any
) -> NDArray[np.bool_]:
    """Tell which rows neither the champion's fit nor the search has seen.

    They start after the champion's last training t1 plus the embargo, and not before
    the held-out rows do. A model that was withdrawn counts as the champion does.
    """
    t0 = pd.DatetimeIndex(rows.data.index.get_level_values(1))
    end = champion.seen_until
    if isinstance(embargo, int | float):
        distinct = t0.unique().sort_values()
        count = _as_count(embargo, len(distinct))
        later = distinct[distinct > end]
        late = t0 >= later[count] if count < len(later) else t0 < t0.min()
    else:
        late = t0 > end + pd.Timedelta(embargo)
    return np.asarray(late & (t0 >= _first(held_out)))


def enough_from(
    rows: Rows,
    held_out: Rows,
    bars: pd.DataFrame,
    config: RetrainConfig,
    until: pd.Timestamp | None,
) -> pd.Timestamp:
    """Return about when the bars will hold enough blocks to judge a challenger.

    Bars are taken to come as often as they did. Held-out rows grow by their share of
    what comes; rows after a champion's training, which ended at ``until``, by all.
    """
    times = _times(bars)
    lacking = max(0, _needed(rows, times, config) - _n_bars(held_out, times))
    found = later(rows.label_times.max(), lacking / config.holdout, _step(times))
    if until is None:
        return found
    return max(found, enough_after(rows, bars, config, until))


def enough_after(
    rows: Rows, bars: pd.DataFrame, config: RetrainConfig, until: pd.Timestamp
) -> pd.Timestamp:
    """Return about when bars after a training, and its embargo, are enough blocks."""
    times = _times(bars)
    step, embargo = _step(times), config.embargo
    if isinstance(embargo, int | float):
        distinct = rows.data.index.get_level_values(1).nunique()
        start = later(until, _as_count(embargo, distinct) + 1, step)
    else:
        start = later(until, 1, as_span(embargo) or pd.Timedelta(0))
    return later(start, _needed(rows, times, config), step)


def _needed(rows: Rows, times: pd.DatetimeIndex, config: RetrainConfig) -> int:
    """Return how many bars make enough blocks."""
    return config.gate.min_blocks * max(1, longest_label(rows.label_times, times))


def _step(times: pd.DatetimeIndex) -> pd.Timedelta:
    """Return the mean time between two bars."""
    step: pd.Timedelta = YEAR / bars_per_year(times)
    return step


def later(time: pd.Timestamp, count: float, span: pd.Timedelta) -> pd.Timestamp:
    """Return a time some spans later, or never."""
    try:
        later: pd.Timestamp = time.as_unit("ns") + count * span.as_unit("ns")
    except (OverflowError, ValueError):  # of which pandas' errors of bounds are two
        return NEVER
    return min(later, NEVER)


def _as_count(embargo: float, n_distinct: int) -> int:
    """Return the distinct t0 that a count or a share of them stands for."""
    return embargo if isinstance(embargo, int) else int(np.ceil(embargo * n_distinct))


def _first(rows: Rows) -> pd.Timestamp:
    first: pd.Timestamp = rows.data.index.get_level_values(1).min()
    return first


def _times(bars: pd.DataFrame) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(bars.index.get_level_values(1).unique()).sort_values()


def _n_bars(rows: Rows, times: pd.DatetimeIndex) -> int:
    """Return how many bars the book of some rows has."""
    ends = pd.DatetimeIndex([_first(rows), rows.label_times.max()])
    first, last = times.get_indexer(ends, "ffill")
    return int(last - first)
