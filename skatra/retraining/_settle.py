"""What became of predictions, by the labels that their model learned."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skatra.datasets import Database
from skatra.exceptions import EmptyDataError, ModelError
from skatra.labeling import daily_volatility, triple_barrier_labels
from skatra.retraining._registry import Champion, read_card

# After so many bars a bar's weight in the volatility is below 3e-9.
_MEMORY = 1000


def settle_open(
    db: Database, models: Path, champion: Champion, now: pd.Timestamp
) -> tuple[pd.DataFrame, int]:
    """Settle signals whose labels have closed; return them, and how many remain.

    Signals of a model whose folder is gone stay open: nobody knows its labels.
    """
    waiting = db.read_sql(
        "SELECT s.model, symbol, s.t0, s.probability "
        "FROM signals s JOIN symbols USING (sid) "
        "LEFT JOIN settlements e ON e.model = s.model AND e.sid = s.sid "
        "AND e.t0 = s.t0 WHERE e.t0 IS NULL ORDER BY s.model, symbol, s.t0"
    )
    settled = []
    for model, part in waiting.groupby("model", sort=True):
        if model == champion.run_id:
            card = champion.card
        else:
            try:
                card = read_card(models / str(model))
            except ModelError:
                continue
        times = pd.DatetimeIndex(part["t0"].to_numpy().view("datetime64[ns]"))
        index = pd.MultiIndex.from_arrays(
            [part["symbol"], times.tz_localize("UTC")], names=["symbol", "t0"]
        )
        closed = _closed_labels(db, card["config"], index, now)
        if len(closed):
            db.settle_predictions(closed[["t1", "ret"]], str(model))
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
    return done, len(waiting) - len(done)


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
    if int(spans.max()) < 2:
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
