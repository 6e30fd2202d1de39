"""The live demo: bundled data replayed fast, so that every panel moves."""

import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from lightgbm import LGBMClassifier
from sklearn.model_selection import cross_val_predict

from skatra import monitoring
from skatra.datasets import Database, load_index_bars, make_edge_bars
from skatra.features import price_features
from skatra.labeling import daily_volatility, triple_barrier_labels
from skatra.model_selection import PurgedKFold, audit_splits
from skatra.sizing import KellyClassifier

MODEL, STRATEGY = "demo", "kelly"
STAGES = ("features", "audit", "fit", "validate")
_NO_STAKE = 0.002
_WINDOW = 1500
_SERVED = 90 * 86400
"""Seconds for which a model of the demo may be served."""


class LiveDemo:
    """A trading day every tick: predict, size, signal, settle, retrain.

    Parameters
    ----------
    folder : Path
        Receives ``live.db``.
    retrain_every : int, default=250
        Ticks between two retraining runs.
    """

    def __init__(self, folder: Path, *, retrain_every: int = 250) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.retrain_every = folder / "live.db", retrain_every
        bars = pd.concat([load_index_bars(), make_edge_bars(5000, edge=0.25)])
        self.db = Database(self.path, create=True)
        self.db.write_bars(bars)
        self.symbols = self.db.symbols()
        monitoring.enable(
            models=[MODEL],
            strategies=[STRATEGY],
            symbols=self.symbols,
            databases=[self.path.name],
            stages=STAGES,
        )
        self._prepare(bars)
        self.position = _WINDOW
        self.open: list[tuple[Any, Any, float, float, float]] = []
        self.model: Any = None
        self.error: Exception | None = None
        self.retrain()

    def _prepare(self, bars: pd.DataFrame) -> None:
        """Make features and labels of every bar, in time order."""
        with monitoring.observe_stage(MODEL, "features"):
            features = price_features(bars).dropna()
            labels = triple_barrier_labels(bars, target=daily_volatility(bars["close"]))
            labels.index = labels.index.set_names(features.index.names)
            rows = features.join(labels, how="inner").sort_index(level=1)
            self.names = list(features.columns)
        self.rows = rows[rows["label"] != 0]
        self.times = self.rows.index.get_level_values(1).unique()

    def retrain(self) -> None:
        """Fit on the last rows that ended; serve the first, and what is not refused."""
        now = self.times[self.position]
        known = self.rows[self.rows["t1"] < now].tail(3 * _WINDOW)
        data, target = known[self.names], known["label"] > 0
        times = known["t1"].droplevel(0)
        cv = PurgedKFold(n_splits=4, embargo="5D")
        with monitoring.observe_retraining(MODEL) as run:
            with monitoring.observe_stage(MODEL, "audit"):
                audit = audit_splits(cv, data, label_times=times)
                audit.raise_for_leaks()
            booster = LGBMClassifier(n_estimators=30, num_leaves=7, verbose=-1)
            with monitoring.observe_stage(MODEL, "validate"):
                splits = list(cv.split(data, label_times=times))
                out = cross_val_predict(
                    booster, data, target, cv=splits, method="predict_proba"
                )[:, 1]
            with (
                monitoring.observe_stage(MODEL, "fit"),
                sklearn.config_context(enable_metadata_routing=False),
            ):
                model = KellyClassifier(booster, max_position=0.3).fit(
                    data, target, returns=known["ret"]
                )
            hits = (out > 0.5) == target.to_numpy()
            counts = audit.to_frame()
            for fold, (_, test) in enumerate(splits):
                monitoring.record_fold(
                    MODEL,
                    fold,
                    {"accuracy": float(hits[test].mean())},
                    n_train=int(counts["train"].iloc[fold]),
                    n_purged=int(counts["purged"].iloc[fold]),
                    n_embargoed=int(counts["embargoed"].iloc[fold]),
                )
            if hits.mean() < 0.5 and self.model is not None:
                run["outcome"] = "refused"
                return
        self.model = model
        monitoring.set_reference(MODEL, out, data)
        monitoring.record_model(
            MODEL,
            version=f"{now:%Y-%m-%d}",
            algorithm="LGBMClassifier",
            trained=time.time(),
            data_end=known["t1"].max().timestamp(),
            stale_from=time.time() + _SERVED,
            n_rows=len(known),
        )

    def tick(self) -> None:
        """Live through one day."""
        now = self.times[self.position]
        today = self.rows[self.rows.index.get_level_values(1) == now]
        self.db.bars(start=now, end=now)
        with (
            monitoring.scope(model=MODEL, strategy=STRATEGY),
            monitoring.time_signals(STRATEGY),
        ):
            data = today[self.names]
            probability = self.model.predict_proba(data)[:, 1]
            position = self.model.decision_function(data)
        monitoring.record_features(MODEL, data)
        self._signal(today, position)
        frame = pd.DataFrame(
            {"value": probability, "position": position}, index=today.index
        )
        self.db.write_predictions(frame, MODEL)
        self.open += [
            (key, row.t1, float(said), float(stake), float(row.ret))
            for key, row, said, stake in zip(
                today.index, today.itertuples(), probability, position, strict=True
            )
        ]
        self._settle(now)
        self.position += 1
        if self.position % self.retrain_every == 0:
            self.retrain()
        if self.position >= len(self.times):
            self.position = _WINDOW

    def _signal(self, today: pd.DataFrame, position: Any) -> None:
        counts: Counter[tuple[str, str]] = Counter()
        held_back = 0
        for (symbol, _), stake in zip(today.index, position, strict=True):
            if abs(stake) < _NO_STAKE:
                held_back += 1
                continue
            counts[symbol, "long" if stake > 0 else "short"] += 1
        latest = {key[0]: abs(stake) for key, _, _, stake, _ in self.open}
        monitoring.record_signals(
            STRATEGY,
            counts,
            exposure=float(sum(latest.values())),
            suppressed={"no_edge": held_back},
        )

    def _settle(self, now: Any) -> None:
        done = [entry for entry in self.open if entry[1] <= now]
        if not done:
            return
        self.open = [entry for entry in self.open if entry[1] > now]
        said = np.array([entry[2] for entry in done])
        returns = np.array([entry[4] for entry in done])
        monitoring.record_outcomes(MODEL, said, returns > 0)
        index = pd.MultiIndex.from_tuples(
            [entry[0] for entry in done], names=["symbol", "t0"]
        )
        frame = pd.DataFrame(
            {"t1": [entry[1] for entry in done], "ret": returns}, index=index
        )
        self.db.settle_predictions(frame[~frame.index.duplicated()], MODEL)

    def run(self, ended: threading.Event, per_second: float) -> None:
        """Tick until the event is set; set it, and keep the error, if one is raised."""
        step = 1.0 / per_second
        monitoring.expect_rounds(STRATEGY, step)
        following = time.monotonic()
        while not ended.is_set():
            try:
                self.tick()
            except Exception as error:  # noqa: BLE001 - the command raises it
                self.error = error
                ended.set()
            following = max(following + step, time.monotonic() - step)
            ended.wait(max(0.0, following - time.monotonic()))
