"""A disk that is really full, at every way to write to a database.

Run by ``test_files`` in a small file system of its own, with a path in it.
"""

import contextlib
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skatra.datasets import Database
from skatra.exceptions import DiskFullError

FEW, MANY = range(20), range(20, 12_000)


def index_of(days, name):
    """Return the keys of one symbol."""
    times = pd.Timestamp("1900-01-01", tz="UTC") + pd.to_timedelta(list(days), unit="D")
    return pd.MultiIndex.from_product([["A"], times], names=["symbol", name])


def ways(days):
    """Return every way to write these days, by name."""
    at, t0 = index_of(days, "time"), index_of(days, "t0")
    times = t0.get_level_values(1)
    noise = np.random.default_rng(len(at)).random(len(at))
    bars = dict.fromkeys(["open", "high", "low", "close", "volume"], 1.0)
    features = pd.DataFrame({"x": noise, "y": -noise}, index=at)
    label = {"t1": times, "ret": noise, "label": 1, "side": 1, "touched": "time"}
    trade = dict.fromkeys(["quantity", "entry_price", "exit_price", "pnl", "ret"], 1.0)
    said = {"value": noise, "position": noise}
    signal = {"probability": noise, "price": 1.0, "wanted": 0.5, "position": 0.5}
    trial = {"data_hash": "d", "fold_hash": "f", "code_version": "1", "params": {}}
    text = "x" * 100 * len(at)
    trades = {"symbol": "A", "opened_at": times, "closed_at": times, "side": 1}
    return {
        "bars": lambda db: db.write_bars(pd.DataFrame(bars, index=at)),
        "features": lambda db: db.write_features(features, "f"),
        "packed": lambda db: db.write_features(features, "p", compression="zlib"),
        "replaced": lambda db: db.write_features(features, "r", replace=True),
        "labels": lambda db: db.write_labels(pd.DataFrame(label, index=t0), "l"),
        "trades": lambda db: db.write_trades(pd.DataFrame(trades | trade)),
        "predictions": lambda db: db.write_predictions(
            pd.DataFrame(said, index=t0), "m"
        ),
        "signals": lambda db: db.write_signals(pd.DataFrame(signal, index=t0), "s"),
        "trial": lambda db: db.write_trial(f"{len(at)}", trial | {"text": text}),
        "run": lambda db: db.write_run(f"{len(at)}", {"text": text}),
        "settlements": lambda db: db.settle_predictions(
            pd.DataFrame({"t1": times, "ret": 0.5}, index=t0), "m"
        ),
    }


def fill(ballast):
    """Take all space there is."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def refused(write):
    """Write, and be told that the disk is full, in a way that users catch already."""
    with pytest.raises(DiskFullError, match=r"(?i)disk full") as caught:
        write()
    assert isinstance(caught.value, OSError)


def full_disk(path):
    """Each write is refused by name, nothing is lost, and it works with room again."""
    ballast = path.with_name("ballast")
    few, many = ways(FEW), ways(MANY)
    with Database(path, create=True) as db:
        for write in few.values():
            write(db)
        db.write_predictions(
            pd.DataFrame({"value": 0.5, "position": 0.5}, index=index_of(MANY, "t0")),
            "m",
        )
        for name, write in many.items():
            before = db.info()["rows"], db.features("r"), db.labels("l")
            fill(ballast)
            for _ in range(2):
                refused(lambda write=write: write(db))
            refused(lambda: db.backup(path.with_name("copy.db")))
            names = {file.name for file in path.parent.iterdir()}
            assert not [x for x in names if x.startswith("copy.db")], names
            assert db.info()["rows"] == before[0], name
            pd.testing.assert_frame_equal(db.features("r"), before[1])
            pd.testing.assert_frame_equal(db.labels("l"), before[2])
            assert db.check() == [], name
            ballast.unlink()
        fill(ballast)
        refused(db.vacuum)
        ballast.unlink()
        few["bars"](db)
        for write in (many["bars"], many["features"], many["trades"]):
            write(db)
        assert db.check() == []
        assert len(db.bars()) == len(FEW) + len(MANY)
    with Database(path) as db:
        assert db.check() == []
        assert len(db.features("f")) == len(FEW) + len(MANY)


if __name__ == "__main__":
    os.umask(0o077)
    full_disk(Path(sys.argv[1]))
