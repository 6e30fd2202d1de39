"""Every metric, once: exporter, dashboard, rules and documentation come from here."""

from dataclasses import dataclass
from itertools import product
from typing import Literal

PREFIX = "skatra_"
OTHER = "other"
N_BINS = 10

Kind = Literal["counter", "gauge", "histogram"]
Source = Literal["instrument", "pool", "database"]

BINS = tuple(f"{low / N_BINS:.1f}" for low in range(N_BINS))
PROBABILITY_BUCKETS = tuple(round(0.05 * step, 2) for step in range(1, 21))
KELLY_BUCKETS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
LATENCY_BUCKETS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
)  # fmt: skip
QUERY_BUCKETS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
STAGE_BUCKETS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Label:
    """A label: at most how many values it may have, and those known beforehand.

    Attributes
    ----------
    cap : int
        Further values are counted under "other".
    known : tuple of str
        Values that exist at zero before the first event.
    """

    cap: int
    known: tuple[str, ...] = ()


LABELS = {
    "version": Label(50),
    "python": Label(1),
    "lightgbm": Label(1),
    "strategy": Label(20),
    "symbol": Label(100),
    "side": Label(3, ("long", "short")),
    "reason": Label(20),
    "model": Label(10),
    "algorithm": Label(10),
    "method": Label(2, ("predict_proba", "decision_function")),
    "error_type": Label(30),
    "component": Label(10),
    "bin": Label(N_BINS, BINS),
    "feature": Label(20),
    "outcome": Label(3, ("success", "failure", "refused")),
    "stage": Label(20),
    "metric": Label(100),
    "fold": Label(30),
    "check": Label(4, ("overlap", "embargo", "lookahead", "in_sample_prediction")),
    "splitter": Label(20),
    "role": Label(3, ("train", "test", "dropped")),
    "database": Label(10),
    "table": Label(50),
    "operation": Label(2, ("read", "write")),
    "run": Label(10),
    "kind": Label(3, ("execute", "executemany", "script")),
    "state": Label(5),
}

KNOWN_ERRORS = {
    "datasets": (
        "DatabaseError", "DatabaseCorruptError", "DatabaseNotFoundError",
        "DiskFullError", "PoolTimeoutError", "QueryTimeoutError",
        "IntegrityError", "OperationalError",
    ),
    "sizing": ("ValueError", "NotFittedError"),
    "model_selection": ("LeakageError",),
    "signals": (
        "ValueError", "EmptyDataError", "StaleDataError", "StaleModelError",
        "ModelError", "ModelNotFoundError", "ModelCorruptError",
        "DatabaseError", "DatabaseCorruptError", "DatabaseNotFoundError",
        "DiskFullError", "PoolTimeoutError", "QueryTimeoutError",
    ),
    "retraining": ("ValueError", "EmptyDataError"),
    "exporter": (
        "DatabaseError", "OperationalError", "FileNotFoundError", "PermissionError",
    ),
}  # fmt: skip

KNOWN_REASONS = {
    "signals_suppressed_total": ("no_edge", "stale_data", "duplicate"),
    "kelly_capped_total": ("max_position", "max_exposure"),
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes
    ----------
    short : str
        Name without the prefix ``skatra_``, with ``_total`` on counters.
    kind : {"counter", "gauge", "histogram"}
    help : str
    labels : tuple of str
    buckets : tuple of float
        Upper bounds of a histogram, without infinity.
    source : {"instrument", "pool", "database"}
        Kept by instruments, read from connection pools, or read from the file.
    """

    short: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    source: Source = "instrument"

    @property
    def name(self) -> str:
        """The full name."""
        return PREFIX + self.short

    @property
    def unit(self) -> str:
        """Seconds, bytes, ratio, or nothing for plain counts."""
        stem = self.short.removesuffix("_total")
        found = (unit for unit in ("seconds", "bytes", "ratio") if stem.endswith(unit))
        return next(found, "")

    @property
    def is_open(self) -> bool:
        """Whether a label may take values that nobody knows beforehand."""
        return self.source == "instrument" and any(
            not LABELS[label].known for label in self.labels
        )

    @property
    def samples(self) -> tuple[str, ...]:
        """Names under which its samples are exported."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}_{end}" for end in ("bucket", "sum", "count"))

    def known(self, given: dict[str, tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Return label sets that exist at zero, once values of labels are given.

        Parameters
        ----------
        given : dict
            Label name -> values known in this process, such as its models.

        Returns
        -------
        list of tuple of str
            Values of the labels, in their order; empty if some are not given.
        """
        if self.short == "errors_total":
            return [(part, name) for part, errors in KNOWN_ERRORS.items()
                    for name in errors]  # fmt: skip
        if self.short == "exporter_dropped_label_values_total":
            return [(metric.name,) for metric in _METRICS if metric.is_open]
        choices = []
        for label in self.labels:
            values = given.get(label) or LABELS[label].known
            if label == "reason":
                values = KNOWN_REASONS.get(self.short, ())
            if label == "error_type":
                values = KNOWN_ERRORS["sizing"]
            choices.append(values)
        return list(product(*choices))


def _counter(short: str, text: str, *labels: str) -> Metric:
    return Metric(short, "counter", text, labels)


def _gauge(short: str, text: str, *labels: str) -> Metric:
    return Metric(short, "gauge", text, labels)


def _histogram(
    short: str, text: str, buckets: tuple[float, ...], *labels: str
) -> Metric:
    return Metric(short, "histogram", text, labels, buckets)


def _pool(short: str, text: str, *labels: str) -> Metric:
    return Metric(short, "gauge", text, ("database", *labels), source="pool")


def _database(short: str, text: str, *labels: str) -> Metric:
    return Metric(short, "gauge", text, ("database", *labels), source="database")


_METRICS = (
    _gauge("build_info", "Versions, in labels; always 1.", "version", "python",
           "lightgbm"),
    _counter("signals_total", "Signals that were made.", "strategy", "symbol", "side"),
    _counter("signals_suppressed_total", "Signals that were held back.", "strategy",
             "reason"),
    _histogram("signal_generation_duration_seconds",
               "Time to make the signals of one moment.", LATENCY_BUCKETS, "strategy"),
    _gauge("signal_last_timestamp_seconds", "When the last signal was made.",
           "strategy"),
    _gauge("signal_round_timestamp_seconds",
           "When a round of signals last got through; at first, when rounds began.",
           "strategy"),
    _gauge("signal_interval_seconds", "Time from one round of signals to the next.",
           "strategy"),
    _histogram("prediction_duration_seconds", "Time of one call of a model.",
               LATENCY_BUCKETS, "model", "method"),
    _counter("prediction_rows_total",
             "Rows predicted; a position asks for a probability, too.", "model",
             "method"),
    _counter("prediction_failures_total",
             "Calls of a model that raised; a position asks for a probability, too.",
             "model", "error_type"),
    _gauge("predictions_in_progress", "Calls of a model under way.", "model"),
    _histogram("prediction_probability", "Probability of the positive class.",
               PROBABILITY_BUCKETS, "model"),
    _histogram("prediction_probability_reference",
               "Out-of-fold probabilities of training; constant.",
               PROBABILITY_BUCKETS, "model"),
    _counter("prediction_probability_bin_total",
             "Probabilities by bin; the label is the bin's lower edge.", "model",
             "bin"),
    _gauge("prediction_probability_reference_bin_ratio",
           "Share of out-of-fold probabilities in a bin; constant.", "model", "bin"),
    _counter("feature_bin_total",
             "Feature values by training decile (lower edge in shares of rows).",
             "model", "feature", "bin"),
    _gauge("feature_reference_bin_ratio",
           "Share of training values in a bin; constant.", "model", "feature", "bin"),
    _counter("calibration_squared_error_total",
             "Sum of (probability - outcome)^2 over settled predictions.", "model"),
    _counter("calibration_observations_total", "Settled predictions.", "model", "bin"),
    _counter("calibration_positives_total", "Settled predictions that won.", "model",
             "bin"),
    _counter("calibration_predicted_probability_total",
             "Sum of the probabilities of settled predictions.", "model", "bin"),
    _histogram("kelly_fraction_ratio",
               "Absolute position as share of capital; side has the sign.",
               KELLY_BUCKETS, "strategy", "side"),
    _counter("kelly_capped_total", "Positions cut by a limit on the allowed side.",
             "strategy", "reason"),
    _gauge("kelly_exposure_ratio", "Sum of absolute open positions over capital.",
           "strategy"),
    _gauge("model_info", "The served model, in labels; always 1.", "model", "version",
           "algorithm"),
    _gauge("model_trained_timestamp_seconds", "When the served model was trained.",
           "model"),
    _gauge("model_training_data_end_timestamp_seconds",
           "End of the last label that the served model was trained on.", "model"),
    _gauge("model_stale_timestamp_seconds",
           "From when signals refuse the served model as too old.", "model"),
    _gauge("model_training_rows", "Rows that the served model was trained on.",
           "model"),
    _counter("retrain_runs_total", "Retraining runs by how they ended.", "model",
             "outcome"),
    _histogram("retrain_duration_seconds", "Time of a retraining run.", STAGE_BUCKETS,
               "model"),
    _histogram("retrain_stage_duration_seconds", "Time of a stage of retraining.",
               STAGE_BUCKETS, "model", "stage"),
    _gauge("retrain_last_end_timestamp_seconds",
           "When a retraining run last ended in each way; 0 is never.", "model",
           "outcome"),
    _gauge("retrain_unfinished_since_timestamp_seconds",
           "When the first of the runs began that have not ended; 0 is none, also once "
           "a later run has ended.", "model"),
    _gauge("retrain_in_progress", "Retraining runs under way.", "model"),
    _gauge("cv_fold_score", "Out-of-fold score of the last validation.", "model",
           "metric", "fold"),
    _gauge("cv_fold_train_rows", "Training rows of a fold, last validation.", "model",
           "fold"),
    _gauge("cv_fold_purged_rows", "Purged rows of a fold, last validation.", "model",
           "fold"),
    _gauge("cv_fold_embargoed_rows", "Embargoed rows of a fold, last validation.",
           "model", "fold"),
    _counter("cv_splits_total", "Splits made by purged splitters.", "splitter"),
    _counter("cv_split_rows_total", "Rows of those splits by what became of them.",
             "splitter", "role"),
    _counter("audits_total", "Audits of splitters.", "splitter"),
    _counter("audit_leaking_pairs_total",
             "Leaking pairs that audits counted, also of splitters audited as "
             "warning examples.", "splitter"),
    _counter("leakage_violations_total",
             "Leaks where none may be: in skatra's own splitters and guarded runs "
             "(overlap), and what record_leakage is told.", "model", "check"),
    _gauge("leakage_last_timestamp_seconds",
           "When such a leak was last found; 0 is never.", "model", "check"),
    _database("db_size_bytes", "Size of the database file."),
    _database("db_wal_size_bytes", "Size of the write-ahead log."),
    _database("db_freelist_bytes", "Unused pages inside the file."),
    _database("db_filesystem_free_bytes", "Free space of the file's disk."),
    _database("db_last_write_timestamp_seconds", "When the file was last written."),
    _database("db_collect_success", "1 if the last reading of the file succeeded."),
    _database("db_collect_duration_seconds", "Time of the last reading of the file."),
    _database("db_table_rows", "Rows of a table, counted at most once a minute.",
              "table"),
    _database("db_latest_event_timestamp_seconds", "Newest time in a table.", "table"),
    _database("db_predictions",
              "Stored predictions by what became of them: open, settled with no stake "
              "(no_stake), won, or lost, a return of exactly 0 included.", "run",
              "state"),
    _histogram("db_query_duration_seconds",
               "Time of a read or write block, also one that raised.", QUERY_BUCKETS,
               "database", "operation"),
    _counter("db_statements_total", "SQL statements.", "database", "kind"),
    _counter("db_rows_written_total", "Table rows that committed writes changed.",
             "database"),
    _histogram("db_pool_acquire_duration_seconds",
               "Wait for a connection, also one in vain.", QUERY_BUCKETS, "database"),
    _counter("db_pool_timeouts_total", "Waits for a connection that ran out of time.",
             "database"),
    _pool("db_pool_connections", "Connections of the pool.", "state"),
    _pool("db_pool_connections_max", "Connections that the pool may open."),
    _pool("db_pool_waiters", "Threads that wait for a connection."),
    _counter("errors_total", "Errors by part and type.", "component", "error_type"),
    _counter("exporter_dropped_label_values_total",
             "Updates counted under 'other', and features left out, because a label "
             "had too many values.",
             "metric"),
)  # fmt: skip

CATALOGUE: dict[str, Metric] = {metric.short: metric for metric in _METRICS}
"""Short name -> metric, in the order of the documentation."""
