"""What became of predictions, by the labels that their model learned."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skatra.datasets import Database
from skatra.exceptions import EmptyDataError, ModelError
from skatra.labeling import daily_volatility, triple_barrier_labels
from skatra.retraining._registry import Champion, read_card

# After so many bars a bar's weight in the volatility is below 3e-9.
_MEMORY = 1000


Bet = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of the bets that were open.

    Attributes
    ----------
    closed : DataFrame
        Columns probability and ret of those that were settled.
    left : int
        How many remain open, those given up not among them.
    given_up : frozenset of (model, symbol, t0 in nanoseconds)
        Bets past their horizon that nothing can settle.
    notes : tuple of str
        What was done other than by a label, and why.
    """

    closed: pd.DataFrame
    left: int
    given_up: frozenset[Bet]
    notes: tuple[str, ...]


def settle_open(
    db: Database,
    models: Path,
    champion: Champion,
    now: pd.Timestamp,
    max_data_age: pd.Timedelta,
) -> Settled:
    """Settle signals whose labels have closed; say what remains.

    A symbol that has no bars any more, of an age up to ``max_data_age``, never closes
    a label: once the database's bars are past its horizon, its last close settles it.
    Nor does a bet whose own bar is gone, as after a correction of its time: past its
    horizon the price that it was made at and the close there settle it.
    The labels of a model whose folder is gone are those of its run in the database;
    where that has none, nothing settles its bets.
    """
    waiting = db.read_sql(
        "SELECT s.model, symbol, s.t0, s.probability, s.price "
        "FROM signals s JOIN symbols USING (sid) "
        "LEFT JOIN settlements e ON e.model = s.model AND e.sid = s.sid "
        "AND e.t0 = s.t0 WHERE e.t0 IS NULL ORDER BY s.model, symbol, s.t0"
    )
    settled: list[pd.DataFrame] = []
    notes: list[str] = []
    given_up: set[Bet] = set()
    for model, part in waiting.groupby("model", sort=True):
        name, card = str(model), _card(db, models, champion, str(model))
        times = pd.DatetimeIndex(part["t0"].to_numpy().view("datetime64[ns]"))
        index = pd.MultiIndex.from_arrays(
            [part["symbol"], times.tz_localize("UTC")], names=["symbol", "t0"]
        )
        if card is None:
            lost = index[_past(db, index, champion.card["config"], now)]
            given_up |= {(name, symbol, t0.as_unit("ns").value) for symbol, t0 in lost}
            notes.append(
                f"{_bets(len(index))} of the model {name} cannot be settled, since its "
                f"folder and its run are gone; {len(lost)} past the champion's horizon "
                f"count no longer. Restore {models / name} to settle them."
            )
            continue
        closed = _closed_labels(db, card["config"], index, now)[["t1", "ret"]]
        rest = index[~index.isin(closed.index)]
        rest = rest[_past(db, rest, card["config"], now)]
        cut_off = _cut_off(db, rest, now, max_data_age)
        for symbol, some in cut_off.groupby(level=0):
            notes.append(
                f"{_bets(len(some))} on {symbol} settled at its last close, of "
                f"{some['t1'].max():%Y-%m-%d}: it has had no bar since"
            )
        price = pd.Series(part["price"].to_numpy(), index=index)
        astray = _without_bar(
            db, price[rest], card["config"]["max_holding"], now, max_data_age
        )
        for symbol, some in astray.groupby(level=0):
            notes.append(
                f"{_bets(len(some))} on {symbol} settled from the stored price to the "
                f"close of {some['t1'].max():%Y-%m-%d}: the bar of the bet is gone"
            )
        closed = pd.concat(
            [part for part in (closed, cut_off, astray) if len(part)] or [closed]
        )
        if len(closed):
            db.settle_predictions(closed, name)
            said = pd.Series(part["probability"].to_numpy(), index=index)
            settled.append(
                pd.DataFrame(
                    {
                        "probability": said.reindex(closed.index).to_numpy(),
                        "ret": closed["ret"].to_numpy(),
                    }
                )
            )
    done = pd.concat(settled) if settled else pd.DataFrame()
    unsettled = len(waiting) - len(done) - len(given_up)
    return Settled(done, unsettled, frozenset(given_up), tuple(notes))


def _bets(n: int) -> str:
    return f"{n} bet{'' if n == 1 else 's'}"


def _card(
    db: Database, models: Path, champion: Champion, model: str
) -> Mapping[str, Any] | None:
    """Return what is known of a model; None if its folder and its run are gone."""
    if model == champion.run_id:
        return champion.card
    try:
        return read_card(models / model)
    except ModelError:
        runs = db.runs()["card"]
        return dict(runs[model]) if model in runs.index else None


def _past(
    db: Database, index: pd.MultiIndex, config: Mapping[str, Any], now: pd.Timestamp
) -> NDArray[np.bool_]:
    """Tell which bets are older than their horizon in bars of the whole database."""
    if len(index) == 0:
        return np.zeros(0, dtype=bool)
    t0 = pd.DatetimeIndex(index.get_level_values(1)).as_unit("ns").asi8
    seen = db.read_sql(
        "SELECT DISTINCT ts FROM bars WHERE ts > ? AND ts <= ? ORDER BY ts",
        (int(t0.min()), now.as_unit("ns").value),
    )["ts"].to_numpy(np.int64)
    later = len(seen) - np.searchsorted(seen, t0, side="right")
    return np.asarray(later > config["max_holding"])


def _cut_off(
    db: Database, index: pd.MultiIndex, now: pd.Timestamp, max_data_age: pd.Timedelta
) -> pd.DataFrame:
    """Return t1 and ret, at the last close, of bets on symbols without newer bars."""
    nothing = pd.DataFrame(columns=["t1", "ret"])
    if len(index) == 0:
        return nothing
    symbols = sorted(set(index.get_level_values(0)))
    start = index.get_level_values(1).min()
    close = db.bars(symbols, start=start, end=now, columns=("close",))["close"]
    index = index[index.isin(close.index)]
    last = close.groupby(level=0).tail(1).reset_index(level=1)
    last = last.set_axis(["t1", "close"], axis=1)
    ends = last.reindex(index.get_level_values(0))
    found = pd.DataFrame(
        {
            "t1": ends["t1"].to_numpy(),
            "ret": ends["close"].to_numpy() / close.reindex(index).to_numpy() - 1.0,
        },
        index=index,
    )
    if len(found) == 0:
        return nothing
    found["t1"] = pd.to_datetime(found["t1"], utc=True)
    return found[found["t1"] < now - max_data_age]


def _without_bar(
    db: Database,
    price: "pd.Series[float]",
    max_holding: int,
    now: pd.Timestamp,
    max_data_age: pd.Timedelta,
) -> pd.DataFrame:
    """Return t1 and ret, from the stored price, of bets whose own bar is gone.

    They end with the symbol's bar ``max_holding`` after t0, or with its last one once
    that is of no age to be followed by another.
    """
    rows: dict[Any, tuple[pd.Timestamp, float]] = {}
    for symbol in sorted(set(price.index.get_level_values(0))):
        bets: Any = price.xs(symbol)
        start = bets.index.min()
        close = db.bars(symbol, start=start, end=now, columns=("close",))["close"]
        close = close.droplevel(0)
        for t0, paid in bets.items():
            if t0 in close.index:
                continue
            after = close[close.index > t0].iloc[:max_holding]
            t1 = after.index[-1] if len(after) else t0
            if len(after) == max_holding or t1 < now - max_data_age:
                end = after.iloc[-1] if len(after) else paid
                rows[symbol, t0] = t1, float(end / paid - 1.0)
    if not rows:
        return pd.DataFrame(columns=["t1", "ret"])
    keys = pd.MultiIndex.from_tuples(rows, names=["symbol", "t0"])
    return pd.DataFrame(list(rows.values()), columns=["t1", "ret"], index=keys)


def _closed_labels(
    db: Database, config: dict[str, Any], index: pd.MultiIndex, now: pd.Timestamp
) -> pd.DataFrame:
    """Return the labels at some (symbol, t0) that have closed."""
    symbols = sorted(set(index.get_level_values(0)))
    times = index.get_level_values(1)
    nothing = pd.DataFrame(columns=["t1", "ret"])
    if times.min() > now:
        return nothing
    index = index[times <= now]
    if config["label_set"] != "triple_barrier":
        try:
            labels = db.labels(config["label_set"], symbols, times.min(), times.max())
        except EmptyDataError:
            return nothing
        done = labels[(labels["touched"] != "open") & (labels["t1"] <= now)]
        return done[done.index.isin(index)]
    bars = db.bars(symbols, start=times.min(), end=now)
    held = config["max_holding"]
    spans = bars["close"].groupby(level=0).size()
    if not (spans > 1).any():
        return nothing
    back = _MEMORY + int(spans.max())
    closes = db.bars(symbols, end=now, columns=("close",), last=back)
    width = (daily_volatility(closes["close"]) * np.sqrt(held)).reindex(index)
    usable = np.asarray(width > 0) & np.asarray(index.isin(bars.index))
    if not usable.any():
        return nothing
    return triple_barrier_labels(
        bars,
        target=width[usable],
        profit_taking=config["barrier_width"],
        stop_loss=config["barrier_width"],
        max_holding=held,
        events=index[usable],
        open_events="drop",
    )
