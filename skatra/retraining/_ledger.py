"""What was ever tried on these data: resume, do nothing twice, count honestly."""

import hashlib
import json
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from skatra.datasets import Database
from skatra.retraining._packing import from_json, to_json
from skatra.typing import Split

SEARCH = "search"


class DatabaseLedger:
    """One row per (data hash, fold hash, parameters, code version) in a database.

    A row is committed as soon as its task is done, so that a run that was killed
    goes on where it was. Rows outlive runs: what they say of parameters tells how
    many models were ever tried on these symbols.

    Parameters
    ----------
    db : Database
        The database that keeps the records.
    data_hash, code_version : str
        Of the rows learned from, and of the package.
    about : mapping
        What every row also says: ``symbols``, ``feature_set``, ``label_set``, and
        perhaps ``variant``, a hash of whatever else makes equal parameters another
        trial.

    Attributes
    ----------
    done, reused : int
        Tasks that this object wrote, and that it found done.

    See Also
    --------
    PurgedLGBMSearchCV : Takes a ledger.

    Examples
    --------
    >>> from skatra.datasets import Database
    >>> from skatra.retraining import DatabaseLedger
    >>> about = {"symbols": ["A"], "feature_set": "base", "label_set": "own"}
    >>> trial = {"stage": "search", "params": {"num_leaves": 7}, "score": -0.69}
    >>> with Database(":memory:") as db:
    ...     ledger = DatabaseLedger(db, "data", "code", about)
    ...     ledger.put("fold 0", trial)
    ...     ledger.get("fold 0")["score"], ledger.get("fold 1"), ledger.count()
    (-0.69, None, {'on_these_data': 1, 'on_these_symbols': 1})
    """

    def __init__(
        self,
        db: Database,
        data_hash: str,
        code_version: str,
        about: Mapping[str, Any],
    ) -> None:
        self._db = db
        self.data_hash = data_hash
        self.code_version = code_version
        self._about = {k: v for k, v in about.items() if k != "variant"}
        self._variant = about.get("variant")
        self._lock = threading.Lock()
        self._bulky: list[str] = []
        self.done = 0
        self.reused = 0

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the record of a finished task, None if there is none.

        Parameters
        ----------
        key : str
            Hash of the task.

        Returns
        -------
        dict or None
            What was put under the key.
        """
        record = self._db.trial(self._scoped(key))
        if record is None:
            return None
        with self._lock:
            self.reused += 1
            if "arrays" in record:
                self._bulky.append(key)
        known = record.get("variants")
        if known is not None and self._variant not in (None, *known):
            record["variants"].append(self._variant)
            self._db.write_trial(self._scoped(key), record)
        found: dict[str, Any] = from_json(record)
        return found

    def put(self, key: str, record: Mapping[str, Any]) -> None:
        """Commit the record of a finished task.

        Parameters
        ----------
        key : str
            Hash of the task.
        record : mapping
            What JSON can say, NaN and infinities; ``params`` and ``fold_hash`` among
            it.
        """
        whole = {
            "fold_hash": "none",
            "params": {},
            **record,
            "data_hash": self.data_hash,
            "code_version": self.code_version,
            **self._about,
        }
        if whole.get("stage") == SEARCH and self._variant is not None:
            whole["variants"] = [self._variant]
        self._db.write_trial(self._scoped(key), to_json(whole))
        with self._lock:
            self.done += 1
            if "arrays" in record:
                self._bulky.append(key)

    def forget_arrays(self) -> None:
        """Drop what only an unfinished run needs; parameters and figures stay."""
        for key in self._bulky:
            record = self._db.trial(self._scoped(key))
            if record is not None and record.pop("arrays", None) is not None:
                self._db.write_trial(self._scoped(key), record)
        self._bulky.clear()

    def count(self) -> dict[str, int]:
        """Return how many models were tried: on these data, and on these symbols.

        Nightly runs add rows to data that were searched before; a model tried last
        night on all but the last bar is a trial on these data, too. The second
        number therefore counts every distinct model (parameters, features, labels
        and variant) that any run, of any code, tried on one of the symbols. Rows of
        versions that knew no variants count where no later row has their names.

        Returns
        -------
        dict
            ``on_these_data`` and ``on_these_symbols``.
        """
        mine = set(self._about["symbols"])
        trials = self._db.trials()
        here: dict[str, set[Any]] = {}
        ever: dict[str, set[Any]] = {}
        for data_hash, params, record in zip(
            trials["data_hash"], trials["params"], trials["record"], strict=True
        ):
            if record.get("stage") != SEARCH or not mine & set(record["symbols"]):
                continue
            sets = (record["feature_set"], record["label_set"], params)
            model = json.dumps(sets, sort_keys=True)
            variants = record.get("variants", ())
            ever.setdefault(model, set()).update(variants)
            if data_hash == self.data_hash:
                here.setdefault(model, set()).update(variants)
        on_data, on_symbols = (
            sum(max(1, len(variants)) for variants in found.values())
            for found in (here, ever)
        )
        return {"on_these_data": on_data, "on_these_symbols": on_symbols}

    def _scoped(self, key: str) -> str:
        return digest_of(self.data_hash, self.code_version, key)


def digest_of(*parts: Any) -> str:
    """Return a SHA-256 of anything JSON can say, NaN and infinities."""
    text = json.dumps(to_json(parts), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def fold_hash(split: Split) -> str:
    """Return a SHA-256 of the rows of a split."""
    digest = hashlib.sha256()
    for rows in split:
        digest.update(np.ascontiguousarray(rows, dtype="<i8").tobytes())
        digest.update(b"|")
    return digest.hexdigest()
