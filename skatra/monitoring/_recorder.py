"""What listens to skatra's parts and turns their reports into numbers."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from time import perf_counter, time
from typing import Any, TypeVar

import numpy as np

from skatra.monitoring._catalogue import BINS, N_BINS, OTHER, PROBABILITY_BUCKETS
from skatra.monitoring._store import BUFFER, VECTOR_FROM, Store
from skatra.utils.observation import Observer

_Result = TypeVar("_Result")
UNSCOPED = "unscoped"
NOTES = 64
"""Predictions that wait to be counted together."""
REMEMBERED = 10_000
"""Names to which numbers belong, those under "other" among them."""

_EDGES = np.array(PROBABILITY_BUCKETS[1:-1:2])

_scope: ContextVar[tuple[str, str, bool]] = ContextVar(
    "skatra_scope", default=(UNSCOPED, UNSCOPED, True)
)


@contextlib.contextmanager
def scope(
    *,
    model: str | None = None,
    strategy: str | None = None,
    probabilities: bool = True,
) -> Iterator[None]:
    """Name the model and the strategy at work inside a block.

    Predictions and positions outside of any such block count under "unscoped": those
    of cross-validation must not mix with those of the served model. A thread begins
    outside of the blocks of who started it, as every context variable has it: open one
    inside, or hand it ``contextvars.copy_context().run``.

    Parameters
    ----------
    model, strategy : str, default=None
        Label values; None keeps those of the surrounding block.
    probabilities : bool, default=True
        False counts calls of the model, their times, rows and failures, but not what
        it said, neither probabilities nor positions: for rows that are predicted again
        and again. Count what is new with `record_probabilities` and
        `record_positions`.

    Yields
    ------
    None
        What is predicted in the block counts for them.

    Examples
    --------
    >>> from skatra import monitoring
    >>> with monitoring.scope(model="champion", strategy="kelly"):
    ...     pass  # model.decision_function(X)
    """
    outer_model, outer_strategy, outer = _scope.get()
    token = _scope.set(
        (model or outer_model, strategy or outer_strategy, probabilities and outer)
    )
    try:
        yield
    finally:
        _scope.reset(token)


def bins_of(probabilities: Any) -> Any:
    """Return the bin number of each probability: tenths, upper edge included."""
    return np.searchsorted(_EDGES, np.asarray(probabilities, dtype=np.float64))


def _finite(values: Any) -> Any:
    """Return the finite numbers of a column; of one that holds no numbers, none."""
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return np.empty(0)
    return found[np.isfinite(found)]


def _reference_of(column: Any) -> tuple[Any, Any]:
    """Return bin edges and counts of training values, or of a histogram of them."""
    counts = np.zeros(N_BINS)
    if isinstance(column, Mapping):
        # A histogram's bins hold their upper edges, ours their lower ones.
        cuts = np.nextafter(np.asarray(column["edges"], dtype=np.float64), np.inf)
        counts[: len(column["counts"])] = column["counts"]
        return cuts, counts
    values = _finite(column)
    if not len(values):
        return values, counts
    cuts = np.quantile(values, np.arange(1, N_BINS) / N_BINS)
    places = np.searchsorted(cuts, values, side="right")
    return cuts, np.bincount(places, minlength=N_BINS)


class ModelNumbers:
    """The children that one prediction touches, looked up once per model."""

    __slots__ = ("active", "calls", "in_progress", "probability", "rows")

    def __init__(self, store: Store, model: str) -> None:
        self.active: list[None] = []  # one for each call under way
        family = store.families
        self.rows = {}
        self.calls = {}
        for method in ("predict_proba", "decision_function"):
            self.rows[method] = family["prediction_rows_total"].child(model, method)
            self.calls[method] = family["prediction_duration_seconds"].child(
                model, method
            )
        self.probability = family["prediction_probability"].child(model)
        self.in_progress = family["predictions_in_progress"].child(model)


class Recorder(Observer):
    """Keeps the numbers of this process.

    Parameters
    ----------
    store : Store
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._models: dict[str, ModelNumbers] = {}
        self._distinct: list[ModelNumbers] = []
        self._sides: dict[str, tuple[Any, Any]] = {}
        self._taken: dict[str, Any] = {}
        self._statements: dict[tuple[str, str], Any] = {}
        self._announced: set[tuple[str, ...]] = set()
        self._edges: dict[str, dict[str, Any]] = {}
        self._features: dict[str, list[str]] = {}
        self._noted: deque[tuple[Any, ...]] = deque()
        store.before_reading = self._count_notes
        store.after_fork = self._end_calls

    # --- predictions ---------------------------------------------------------------

    def model(self, name: str) -> ModelNumbers:
        """Return a model's numbers; models beyond the cap share "other"."""
        found = self._models.get(name)
        if found is None:
            self.store.announce(model=(name,))
            with self.store.lock:
                family = self.store.families["prediction_probability"]
                key = name if family.has_room(name) else OTHER
                if key not in self._models:
                    self._models[key] = ModelNumbers(self.store, key)
                    self._distinct.append(self._models[key])
                found = self._models[key]
                if key != name:
                    family.drop(1)
                    _remember(self._models, name, found)
        return found

    def forget(self, model: str, family: str) -> None:
        """Drop a model's gauges, of all families whose name begins so."""
        with self.store.lock:
            for short, found in self.store.families.items():
                if short.startswith(family):
                    found.forget(model)

    def predict(
        self, method: str, function: Callable[[Any], _Result], X: Any
    ) -> _Result:
        """Call the function; keep its time, rows, values and failures.

        What it gave is only noted here, without a lock, and counted when somebody
        reads or much has gathered.
        """
        name, strategy, is_said = _scope.get()
        numbers = self._models.get(name) or self.model(name)
        active = numbers.active
        active.append(None)
        start = perf_counter()
        try:
            result: Any = function(X)
        except BaseException as error:
            active.pop()
            self.store.add("prediction_failures_total", (name, type(error).__name__))
            if not _was_counted(error):
                self.failed("sizing", error)
            raise
        seconds = perf_counter() - start
        active.pop()
        if method == "predict_proba":
            sides = None
            values = result.item(1) if len(result) == 1 else result[:, 1].copy()
        else:
            sides = self._sides.get(strategy) or self.sides(strategy)
            values = result.copy()
        noted = self._noted
        noted.append((numbers, method, sides, seconds, values, is_said))
        if len(noted) > NOTES or len(result) > BUFFER:
            with self.store.lock:
                self._count_notes()
        return result  # type: ignore[no-any-return]

    def _count_notes(self) -> None:
        """Count the predictions noted; under the store's lock."""
        noted = self._noted
        while noted:
            numbers, method, sides, seconds, values, is_said = noted.popleft()
            numbers.calls[method].add(seconds)
            is_one = isinstance(values, float)
            numbers.rows[method].value += 1 if is_one else len(values)
            if not is_said:
                continue
            if sides is not None:
                count_positions(sides, values)
            elif is_one:
                numbers.probability.add(values)
            else:
                numbers.probability.add_all(values)
        for numbers in list(self._distinct):
            numbers.in_progress.value = float(len(numbers.active))

    def _end_calls(self) -> None:
        """Leave calls, ended or under way, to the parent, whose threads make them."""
        self._noted.clear()
        for numbers in self._distinct:
            numbers.active = []

    def sides(self, strategy: str) -> tuple[Any, Any]:
        """Return the distributions of long and short stakes of a strategy."""
        self.store.announce(strategy=(strategy,))
        with self.store.lock:
            family = self.store.families["kelly_fraction_ratio"]
            found = family.child(strategy, "long"), family.child(strategy, "short")
            _remember(self._sides, strategy, found)
        return found

    def announce_symbol(self, strategy: str, symbol: str) -> None:
        """Create what counts a symbol's signals, at zero, once."""
        key = strategy, symbol
        if key not in self._announced and len(self._announced) < REMEMBERED:
            self.store.announce(strategy=(strategy,), symbol=(symbol,))
            self._announced.add(key)

    def positions_capped(self, wanted: Any, limit: float) -> None:
        """Count positions cut at ``max_position``."""
        count = (
            int(abs(wanted.item(0)) > limit)
            if len(wanted) == 1
            else int(np.count_nonzero(np.abs(wanted) > limit))
        )
        if not count:
            return
        _, strategy, is_said = _scope.get()
        if is_said:
            self.store.add("kelly_capped_total", (strategy, "max_position"), count)

    def record_positions(
        self, strategy: str, positions: Any, cut: Mapping[str, int]
    ) -> None:
        """Count what was staked, and what a limit cut."""
        values = np.asarray(positions, dtype=np.float64)
        sides = self._sides.get(strategy) or self.sides(strategy)
        with self.store.lock:
            count_positions(sides, values)
        for reason, count in cut.items():
            self.store.add("kelly_capped_total", (strategy, reason), count)

    # --- drift and calibration -----------------------------------------------------

    def set_reference(self, model: str, probabilities: Any, features: Any) -> None:
        """Keep what training looked like: distributions to compare with."""
        values = _finite(probabilities)
        self.model(model)
        with self.store.lock:
            self.forget(model, "prediction_probability_reference")
            if len(values):
                family = self.store.families
                reference = family["prediction_probability_reference"].child(model)
                reference.clear()
                reference.add_all(values)
                shares = np.bincount(bins_of(values), minlength=N_BINS) / len(values)
                ratios = family["prediction_probability_reference_bin_ratio"]
                for low, share in zip(BINS, shares.tolist(), strict=True):
                    ratios.child(model, low).value = share
        if features is not None:
            found = {str(name): _reference_of(features[name]) for name in features}
            with self.store.lock:
                self._set_features(
                    model, {name: of for name, of in found.items() if of[1].any()}
                )

    def _set_features(self, model: str, found: Mapping[str, tuple[Any, Any]]) -> None:
        """Keep edges and shares of as many features as have room, in their order."""
        is_new = self._features.get(model) != list(found)
        if is_new:
            self.forget(model, "feature_")
            self._features[model] = list(found)
        ratios = self.store.families["feature_reference_bin_ratio"]
        counts = self.store.families["feature_bin_total"]
        edges = {}
        for name, (cuts, counts_of) in found.items():
            if not counts.has_room(model, name, BINS[0]):
                counts.drop(int(is_new))
                continue
            edges[name] = cuts
            shares = counts_of / counts_of.sum()
            for low, share in zip(BINS, shares.tolist(), strict=True):
                ratios.child(model, name, low).value = share
                counts.prepare(model, name, low)
        self._edges[model] = edges

    def record_probabilities(self, model: str, probabilities: Any) -> None:
        """Count what a model said."""
        values = np.asarray(probabilities, dtype=np.float64)
        numbers = self.model(model)
        with self.store.lock:
            numbers.probability.add_all(values)

    def record_features(self, model: str, features: Any) -> None:
        """Count feature values by the deciles of training."""
        for name, cuts in self._edges.get(model, {}).items():
            if name not in features:
                continue
            column = _finite(features[name])
            counts = np.bincount(
                np.searchsorted(cuts, column, side="right"), minlength=N_BINS
            ).tolist()
            with self.store.lock:
                family = self.store.families["feature_bin_total"]
                for low, count in zip(BINS, counts, strict=True):
                    family.child(model, name, low).value += count

    def record_outcomes(self, model: str, probabilities: Any, outcomes: Any) -> None:
        """Count settled predictions for Brier score, reliability and win rates."""
        values = np.asarray(probabilities, dtype=np.float64)
        won = np.asarray(outcomes, dtype=np.float64)
        known = np.isfinite(values) & np.isfinite(won)
        values, won = values[known], won[known]
        self.model(model)
        places = bins_of(values)
        seen = np.bincount(places, minlength=N_BINS).tolist()
        positives = np.bincount(places, weights=won, minlength=N_BINS).tolist()
        expected = np.bincount(places, weights=values, minlength=N_BINS).tolist()
        with self.store.lock:
            family = self.store.families
            squared = float(((values - won) ** 2).sum())
            family["calibration_squared_error_total"].child(model).value += squared
            for short, amounts in (
                ("calibration_observations_total", seen),
                ("calibration_positives_total", positives),
                ("calibration_predicted_probability_total", expected),
            ):
                for low, amount in zip(BINS, amounts, strict=True):
                    family[short].child(model, low).value += amount

    # --- connections and databases -------------------------------------------------

    def connection_taken(self, database: str, seconds: float) -> None:
        """Count a wait."""
        waits = self._taken.get(database)
        if waits is None:
            waits = self._announce_database(database)
        with self.store.lock:
            waits.add(seconds)

    def _announce_database(self, database: str) -> Any:
        self.store.announce(database=(database,))
        with self.store.lock:
            family = self.store.families["db_pool_acquire_duration_seconds"]
            waits = family.child(database)
            _remember(self._taken, database, waits)
        return waits

    def connection_timed_out(self, database: str, seconds: float) -> None:
        """Count a timeout, and the wait before it."""
        self.connection_taken(database, seconds)
        self.store.add("db_pool_timeouts_total", (database,))

    def statement_run(self, database: str, kind: str) -> None:
        """Count a statement."""
        number = self._statements.get((database, kind))
        with self.store.lock:
            if number is None:
                family = self.store.families["db_statements_total"]
                number = family.child(database, kind)
                _remember(self._statements, (database, kind), number)
            number.value += 1

    def database_used(
        self, database: str, operation: str, seconds: float, rows: int
    ) -> None:
        """Count a block and what it changed."""
        if database not in self._taken:
            self._announce_database(database)
        self.store.observe("db_query_duration_seconds", (database, operation), seconds)
        if rows:
            self.store.add("db_rows_written_total", (database,), rows)

    # --- cross-validation ----------------------------------------------------------

    def fold_made(self, splitter: str, train: int, test: int, dropped: int) -> None:
        """Count a split."""
        with self.store.lock:
            family = self.store.families
            family["cv_splits_total"].child(splitter).value += 1
            rows = family["cv_split_rows_total"]
            for role, count in (("train", train), ("test", test), ("dropped", dropped)):
                rows.child(splitter, role).value += count

    def splits_audited(self, audit: Any) -> None:
        """Keep what an audit counted, fold by fold when a model is in scope."""
        splitter = audit.splitter.partition("(")[0]
        pairs = audit.n_leaking_pairs
        self.store.add("audits_total", (splitter,))
        self.store.add("audit_leaking_pairs_total", (splitter,), pairs)
        if pairs and _is_purged(audit):
            self.leaked(_scope.get()[0], "overlap", pairs)

    def leak_refused(self, audit: Any) -> None:
        """Count a leak that stopped a guarded run, unless its audit counted it."""
        if not _is_purged(audit):
            self.leaked(_scope.get()[0], "overlap", audit.n_leaking_pairs)

    def leaked(self, model: str, check: str, count: int) -> None:
        """Count leaks where none may be."""
        self.model(model)
        self.store.add("leakage_violations_total", (model, check), count)
        if count:
            self.store.set("leakage_last_timestamp_seconds", (model, check), time())

    # --- errors --------------------------------------------------------------------

    def failed(self, component: str, error: BaseException) -> None:
        """Count an error by its type."""
        self.store.add("errors_total", (component, type(error).__name__))


def _is_purged(audit: Any) -> bool:
    """Tell whether the splitter is one of skatra's, which may leak nothing."""
    return bool(audit.splitter.startswith(("Purged", "CombinatorialPurged")))


def _was_counted(error: BaseException) -> bool:
    """Tell whether a prediction inside of this one has counted the error."""
    place = error.__traceback__ and error.__traceback__.tb_next
    while place is not None:
        if place.tb_frame.f_code is Recorder.predict.__code__:
            return True
        place = place.tb_next
    return False


def _remember(names: dict[Any, Any], name: Any, numbers: Any) -> None:
    """Keep the numbers of a name, unless there are too many names."""
    if len(names) < REMEMBERED:
        names[name] = numbers


def count_positions(sides: tuple[Any, Any], positions: Any) -> None:
    """Count stakes by size; zero counts as long, since it is no short."""
    long, short = sides
    if len(positions) < VECTOR_FROM:
        for value in positions.tolist():
            if value < 0:
                short.add(-value)
            else:
                long.add(value)
        return
    negative = positions < 0
    short.add_all(-positions[negative])
    long.add_all(positions[~negative])
