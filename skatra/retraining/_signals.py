"""What to hold now: the champion on the newest bars, and what became of before."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skatra import monitoring
from skatra.datasets import Database
from skatra.exceptions import (
    DatabaseCorruptError,
    DatabaseNotFoundError,
    EmptyDataError,
    ModelError,
    SchemaVersionError,
    SkatraError,
    StaleDataError,
    StaleModelError,
)
from skatra.features import LOOK_BACK, price_features
from skatra.retraining._config import as_span
from skatra.retraining._evidence import as_text, judgeable_from, later, stale_from
from skatra.retraining._limits import SignalLimits, cut_by, limited
from skatra.retraining._monitored import (
    MODEL,
    STRATEGY,
    announce_champion,
    record_round,
    record_served,
)
from skatra.retraining._registry import (
    Champion,
    is_model,
    read_champion,
    read_pointer,
)
from skatra.retraining._settle import Bet, settle_open
from skatra.typing import Span
from skatra.utils import HTMLRepr

_WRONG = (
    ValueError,
    ModelError,
    DatabaseNotFoundError,
    DatabaseCorruptError,
    SchemaVersionError,
)
"""What speaks of wrong arguments where it comes in the first round."""


@dataclass(frozen=True, slots=True)
class SignalsReport(HTMLRepr):
    """What :func:`make_signals` did.

    Attributes
    ----------
    run_id : str
        The champion.
    signals : DataFrame, index (symbol, t0)
        Columns probability, price, wanted and position, one row per symbol: as made
        in this round, or as it was written when its newest bar was new.
    settled : int
        Earlier predictions whose labels have closed since.
    unsettled : int
        Earlier predictions still open.
    left_out : dict of str to str
        Symbol -> why it was not scored.
    exposure : float
        Sum of absolute positions, open bets included.
    notes : tuple of str
        Bets settled at a symbol's last close or without the bar that they were made
        on, and those that nothing can settle.
    """

    run_id: str
    signals: pd.DataFrame
    settled: int
    unsettled: int
    left_out: dict[str, str]
    exposure: float
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON.

        Returns
        -------
        dict
            Plain dicts, lists, numbers and strings; NaN and infinities are None.
        """
        rows = [
            {
                "symbol": symbol,
                "t0": t0.isoformat(),
                **{name: float(value) for name, value in row.items()},
            }
            for (symbol, t0), row in zip(
                self.signals.index, self.signals.to_dict("records"), strict=True
            )
        ]
        return {
            "run_id": self.run_id,
            "signals": rows,
            "settled": self.settled,
            "unsettled": self.unsettled,
            "left_out": self.left_out,
            "exposure": self.exposure,
            "notes": list(self.notes),
        }


def make_signals(
    database: Path | str,
    models: Path | str,
    *,
    symbols: Sequence[str] | None = None,
    limits: SignalLimits | None = None,
    max_data_age: Span = "5D",
    max_model_age: "Span | None" = None,
    allow_stale: bool = False,
    now: Any = None,
) -> SignalsReport:
    """Score the newest bar of every symbol, size it, write it; settle what closed.

    Earlier predictions whose labels have closed are settled by the labels that their
    model learned (same barriers, same horizon); where a symbol has no bars any more,
    at its last close once that horizon is over, and a bet whose own bar is gone from
    the price that it was made at. The champion then scores the newest bar of every
    symbol, Kelly sizes it, limits cut it, and signals, predictions and settlements are
    written in one transaction.

    A bar is bet on once by the models of a folder, and the bet stands as it was
    written: a symbol whose newest bar has the champion's signal keeps that one,
    whatever the limits are now, and one that another model of the folder has bet on is
    left out, so that a new champion starts with the first bar that none of them has
    signalled. Doing it again on the same bars changes nothing. Models of other folders
    bet for themselves; their open bets count against the limits.

    Parameters
    ----------
    database : path-like
        The SQLite database with the bars.
    models : path-like
        The models folder.
    symbols : sequence of str, default=None
        Symbols to score; by default those that the champion learned from, so that
        others in the database need naming.
    limits : SignalLimits, default=None
        None means ``SignalLimits()``.
    max_data_age : timedelta-like, default="5D"
        Oldest newest bar to act on, measured from ``now``: five days bridge a long
        weekend of bars stamped by date. Symbols whose own newest bar is older are left
        out.
    max_model_age : timedelta-like, default=None
        Longest time since the last label that the champion learned. None means 90
        days more than the gate needs in bars after that to judge a successor, a date
        that the champion's card tells.
    allow_stale : bool, default=False
        Act on bars and models of any age.
    now : datetime-like, default=None
        The time to measure ages from; None is the clock's.

    Returns
    -------
    SignalsReport
        What was written, settled and left out.

    Raises
    ------
    ValueError
        If an age is no positive time span with a unit.
    DatabaseNotFoundError
        If there is no database.
    StaleDataError
        If no symbol has a bar young enough.
    StaleModelError
        If the champion learned too long ago.
    ModelNotFoundError, ModelCorruptError
        If no model is promoted, or its files do not match their checksums.
    EmptyDataError
        If no symbol has enough bars for the features.

    Examples
    --------
    >>> from skatra.retraining import make_signals
    >>> make_signals("absent.db", "models")
    Traceback (most recent call last):
        ...
    skatra.exceptions.DatabaseNotFoundError: there is no database at ...absent.db. ...
    """
    with (
        monitoring.scope(model=MODEL, strategy=STRATEGY),
        monitoring.time_signals(STRATEGY),
    ):
        rules = _rules(max_data_age, max_model_age, now, allow_stale=allow_stale)
        limits = SignalLimits() if limits is None else limits
        with Database(database) as db:
            champion = read_champion(models)
            until = rules.stale_from(champion)
            record_served(Path(models), champion.run_id, champion.card, until)
            rules.refuse_old(champion)
            return _signal(db, champion, Path(models), symbols, limits, rules)


def _rules(
    max_data_age: Span = "5D",
    max_model_age: "Span | None" = None,
    now: Any = None,
    *,
    allow_stale: bool = False,
    **_: Any,
) -> "_Rules":
    """Return the rules that the options of :func:`make_signals` make."""
    return _Rules(
        _utc(pd.Timestamp.now(tz="UTC") if now is None else now),
        _age("max_data_age", max_data_age),
        None if max_model_age is None else _age("max_model_age", max_model_age),
        allow_stale,
    )


@dataclass(frozen=True, slots=True)
class _Rules:
    """How old is too old."""

    now: pd.Timestamp
    max_data_age: pd.Timedelta
    max_model_age: pd.Timedelta | None
    allow_stale: bool

    def stale_from(self, champion: Champion) -> pd.Timestamp:
        """Return the time from which the champion is refused."""
        if self.max_model_age is None:
            return stale_from(champion.card, champion.trained_until)
        return later(champion.trained_until, 1, self.max_model_age)

    def refuse_old(self, champion: Champion) -> None:
        """Raise if the champion learned too long ago."""
        until = champion.trained_until
        age, judgeable = self.now - until, judgeable_from(champion.card, until)
        end = self.stale_from(champion)
        if self.now > end and not self.allow_stale:
            most = (
                f"the {(end - until).days} days that it is served for by default"
                if self.max_model_age is None
                else f"max_model_age={self.max_model_age}"
            )
            when = as_text(judgeable)[:10]
            enough = (
                "will never be enough to judge a successor: serve"
                if when == "never"
                else f"are enough to judge a successor from about {when} on: retrain; "
                "or serve"
            )
            raise StaleModelError(
                f"the champion {champion.run_id} learned its last label {age.days} "
                f"days ago, more than {most}. Bars {enough} a newer model unjudged "
                "with skatra models promote; or let this one pass with "
                "allow_stale=True (--allow-stale)."
            )

    def old(self, newest: "pd.Series[float]") -> dict[str, str]:
        """Return the symbols whose newest bar is too old, and why.

        Raises
        ------
        StaleDataError
            If that are all.
        """
        if self.allow_stale:
            return {}
        limit = self.now - self.max_data_age
        found = {
            symbol: f"its newest bar is of {t0.isoformat()}"
            for symbol, t0 in newest.index
            if t0 < limit
        }
        monitoring.record_signals(STRATEGY, {}, suppressed={"stale_data": len(found)})
        if len(found) < len(newest):
            return found
        last = newest.index.get_level_values(1).max()
        raise StaleDataError(
            f"the newest bar is of {last}, {self.now - last} before {self.now} and "
            f"more than max_data_age={self.max_data_age}. Load newer bars with skatra "
            "ingest, or let it pass with allow_stale=True (--allow-stale)."
        )


def watch_signals(
    database: Path | str,
    models: Path | str,
    *,
    every: float,
    should_stop: Callable[[], bool] = lambda: False,
    on_error: Callable[[Exception], None] | None = None,
    before: Callable[[], None] | None = None,
    **options: Any,
) -> Iterator[SignalsReport]:
    """Make signals again and again; a newly promoted champion takes over by itself.

    Parameters
    ----------
    database, models : path-like
        As in :func:`make_signals`.
    every : float
        Seconds from one start to the next, positive.
    should_stop : callable, default=never
        Asked between two rounds, and ten times a second while waiting.
    on_error : callable, default=None
        Told of stale data, a stale model, an error of the database or data that
        cannot be used, after which the next round comes as usual; None raises it. In
        the first round what no waiting mends is raised all the same: no champion, no
        database, no bars of the symbols, an option out of range.
    before : callable, default=None
        Called once before the first round, when monitoring knows the champion: a place
        to wait for a first scrape. Without a champion, a database or any of the
        symbols there is no waiting, nor with an option out of range.
    **options
        Of :func:`make_signals`.

    Yields
    ------
    SignalsReport
        One per round.

    Examples
    --------
    >>> from skatra.retraining import watch_signals
    >>> rounds = watch_signals("absent.db", "absent", every=60)
    >>> next(rounds)
    Traceback (most recent call last):
        ...
    skatra.exceptions.DatabaseNotFoundError: there is no database at ...absent.db. ...
    """
    if not every > 0:
        raise ValueError(f"every must be a positive number of seconds, got {every!r}.")
    at_once: tuple[type[Exception], ...] = _WRONG
    _rules(**options)
    monitoring.expect_rounds(STRATEGY, every)
    if (
        before is not None
        and _is_there(database, options.get("symbols"))
        and announce_champion(Path(models))
    ):
        before()
    while not should_stop():
        start = time.monotonic()
        try:
            report = make_signals(database, models, **options)
        except (SkatraError, ValueError, RuntimeError, OSError) as error:
            if on_error is None or isinstance(error, at_once):
                raise
            on_error(error)
        else:
            yield report
        at_once = ()
        while time.monotonic() - start < every and not should_stop():
            time.sleep(min(0.1, every))


def _signal(
    db: Database,
    champion: Champion,
    models: Path,
    symbols: Sequence[str] | None,
    limits: SignalLimits,
    rules: _Rules,
) -> SignalsReport:
    """Score, settle, limit and write, the writes in one transaction."""
    if symbols is None:
        symbols = champion.card.get("data", {}).get("symbols")
    wanted_symbols = db.symbols() if symbols is None else sorted(set(symbols))
    X, price, left_out = _newest(db, champion, wanted_symbols, rules)
    with monitoring.scope(probabilities=False):
        probability = champion.model.predict_proba(X)[:, 1]
        wanted = pd.Series(champion.model.decision_function(X), index=X.index)
    uniqueness = champion.card.get("data", {}).get("mean_uniqueness", 1.0)
    with db.transaction(durable=True):
        succession = _succession(models, champion)
        settled = settle_open(db, models, champion, rules.now, rules.max_data_age)
        open_positions = _open_positions(db, settled.given_up)
        signalled = _signalled(db, X.index, succession)
        is_new = ~X.index.isin(signalled.index)
        sized = wanted[is_new].droplevel(1), open_positions, limits
        among = {"n_symbols": len(X), "concurrency": 1.0 / uniqueness}
        position = limited(*sized, **among)
        new = pd.DataFrame(
            {
                "probability": probability[is_new],
                "price": price[is_new],
                "wanted": wanted[is_new],
                "position": position.to_numpy(),
            },
            index=X.index[is_new].set_names(["symbol", "t0"]),
        )
        if len(new):
            db.write_signals(new, champion.run_id)
    held = math.fsum([*open_positions.abs(), *position.abs()])
    n_before, cut = int((~is_new).sum()), cut_by(*sized, **among)
    record_round(X[is_new], new, n_before, settled.closed, held, cut)
    own = signalled[signalled["model"] == champion.run_id]
    kept = own.loc[~own["is_settled"], new.columns]
    left_out |= _barred(signalled[~signalled.index.isin(kept.index)], champion.run_id)
    return SignalsReport(
        champion.run_id,
        pd.concat([part for part in (kept, new) if len(part)] or [new]).sort_index(),
        len(settled.closed),
        settled.left,
        left_out,
        held,
        settled.notes,
    )


def _newest(
    db: Database, champion: Champion, symbols: Sequence[str], rules: _Rules
) -> tuple[pd.DataFrame, "pd.Series[float]", dict[str, str]]:
    """Return features and close of each symbol's newest bar, and who is left out."""
    bars = db.bars(symbols, end=rules.now, last=LOOK_BACK)
    if len(bars) == 0:
        raise EmptyDataError(
            f"{db.path} has no bars of {list(symbols)} up to {rules.now}. Load some "
            "with skatra ingest."
        )
    newest = bars["close"].groupby(level=0).tail(1)
    seen = newest.index.get_level_values(0)
    left_out = dict.fromkeys(sorted(set(symbols) - set(seen)), "it has no bars")
    left_out |= rules.old(newest)
    fresh = [name for name in seen if name not in left_out]
    features = _features(db, champion, bars, fresh, rules.now)
    X = features[features.index.isin(newest.index)]
    for name in sorted(set(fresh) - set(X.index.get_level_values(0))):
        left_out[name] = "it has no features at its newest bar"
    X = _finite(X, champion, left_out)
    if len(X) == 0:
        some = dict(list(left_out.items())[:3])
        raise EmptyDataError(f"no symbol can be scored: {some}. Load more bars.")
    return X, newest.loc[X.index], left_out


def _finite(
    X: pd.DataFrame, champion: Champion, left_out: dict[str, str]
) -> pd.DataFrame:
    """Return the rows that are finite where the training rows were; name the others."""
    names = [str(name) for name in X.columns]
    tolerated = set(champion.card.get("nonfinite_features", names))
    strict = [name for name in names if name not in tolerated]
    finite = np.isfinite(X[strict].to_numpy(dtype=np.float64))
    for (symbol, _), row in zip(X.index, finite, strict=True):
        if not row.all():
            strange = [n for n, good in zip(strict, row, strict=True) if not good]
            left_out[symbol] = (
                f"its newest {', '.join(strange)} is not finite, as in training"
            )
    kept: pd.DataFrame = X[finite.all(axis=1)]
    return kept


def _features(
    db: Database,
    champion: Champion,
    bars: pd.DataFrame,
    symbols: Sequence[str],
    now: pd.Timestamp,
) -> pd.DataFrame:
    """Return the champion's features, computed or stored, in its order of columns."""
    config = champion.card["config"]
    rows = bars[bars.index.get_level_values(0).isin(symbols)]
    if config["label_set"] != "triple_barrier":
        sides = set(db.labels(config["label_set"])["side"].tolist())
        if sides - {1}:
            raise ModelError(
                f"the champion {champion.run_id} learned to bet on the sides in the "
                f"label set {config['label_set']!r}, which new bars do not have. Score "
                "your events with load_champion."
            )
    if config["feature_set"] == "base":
        features = price_features(rows)
    else:
        times = rows.index.get_level_values(1)
        features = db.features(
            config["feature_set"], symbols=symbols, start=times.min(), end=now
        )
    names = [str(name) for name in champion.model.feature_names_in_]
    if missing := [name for name in names if name not in features.columns]:
        raise ModelError(
            f"the champion {champion.run_id} learned features that the feature set "
            f"{config['feature_set']!r} lacks: {missing}. Retrain it."
        )
    return features[names]


def _succession(models: Path, champion: Champion) -> set[str]:
    """Return the models of a folder, and those that it has served and that are gone."""
    pointer = read_pointer(models)
    served = {champion.run_id, pointer["run_id"], *pointer.get("before", ())}
    if champion.withdrawn is not None:
        served.add(champion.withdrawn[0])
    return served | {path.name for path in models.iterdir() if is_model(path)}


def _signalled(db: Database, scored: pd.Index, models: set[str]) -> pd.DataFrame:
    """Return what these models have signalled on these bars, and what is settled."""
    times = pd.DatetimeIndex(scored.get_level_values(1)).as_unit("ns")
    found = db.read_sql(
        "SELECT symbol, s.t0, s.model, s.probability, s.price, s.wanted, s.position, "
        "e.t0 IS NOT NULL AS is_settled FROM signals s JOIN symbols USING (sid) "
        "LEFT JOIN settlements e ON e.model = s.model AND e.sid = s.sid "
        "AND e.t0 = s.t0 WHERE s.t0 BETWEEN ? AND ?",
        (int(times.asi8.min()), int(times.asi8.max())),
    )
    found["t0"] = pd.to_datetime(found["t0"].astype("int64"), unit="ns", utc=True)
    found["is_settled"] = found["is_settled"].astype(bool)
    found = found.set_index(["symbol", "t0"])
    return found[found.index.isin(scored) & found["model"].isin(models)]


def _barred(signalled: pd.DataFrame, run_id: str) -> dict[str, str]:
    """Return the symbols whose newest bar had its signal, and why that is no more."""
    reasons: dict[str, str] = {}
    for (symbol, _), model, position in zip(
        signalled.index, signalled["model"], signalled["position"], strict=True
    ):
        if model == run_id:
            reasons[symbol] = (
                "what was signalled on its newest bar is settled; the next bar is new"
            )
        else:
            done = "bet on" if position else "signalled"
            reasons.setdefault(
                symbol,
                f"another model has {done} its newest bar; the champion starts with "
                "the next",
            )
    return reasons


def _open_positions(db: Database, given_up: frozenset[Bet]) -> "pd.Series[float]":
    """Return positions of open bets of any model.

    Those do not count that are past their horizon and that nothing can settle.
    """
    frame = db.read_sql(
        "SELECT symbol, s.t0, s.model, s.position FROM signals s JOIN symbols "
        "USING (sid) LEFT JOIN settlements e ON e.model = s.model AND e.sid = s.sid "
        "AND e.t0 = s.t0 WHERE e.t0 IS NULL AND s.position <> 0"
    )
    bets = zip(frame["model"], frame["symbol"], frame["t0"], strict=True)
    kept = np.array([bet not in given_up for bet in bets], dtype=bool)
    return pd.Series(
        np.asarray(frame["position"], dtype=np.float64)[kept],
        index=pd.Index(frame["symbol"].to_numpy()[kept], dtype="str"),
    )


def _is_there(database: Path | str, symbols: Sequence[str] | None) -> bool:
    """Tell whether there is what to score; the first round says what is wrong."""
    try:
        with Database(database, readonly=True) as db:
            return symbols is None or not set(symbols).isdisjoint(db.symbols())
    except (SkatraError, OSError):
        return False


def _age(name: str, age: Any) -> pd.Timedelta:
    """Return a positive time span; a bare number would be nanoseconds."""
    span = as_span(age)
    if span is not None and span > pd.Timedelta(0):
        return span
    msg = f"{name} must be a positive time span such as '5D', got {age!r}."
    raise ValueError(msg)


def _utc(time: Any) -> pd.Timestamp:
    stamp = pd.Timestamp(time)
    return stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")
