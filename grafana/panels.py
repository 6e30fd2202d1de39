"""What stands on the dashboard: rows of panels, each with its queries.

In queries <S> stands for the job and instance matchers, <M> adds the model's, <T> the
strategy's, <J> is the job alone (recorded series have no instance). <O> keeps targets
that export skatra: every target of a Prometheus has `up`, and most have `process_*`.
"""

from dataclasses import dataclass, field

from alerts import ENOUGH, SOON

RATE = "$__rate_interval"
MATCHERS = {
    "<S>": 'job=~"$job", instance=~"$instance"',
    "<M>": 'job=~"$job", instance=~"$instance", model=~"$model"',
    "<T>": 'job=~"$job", instance=~"$instance", strategy=~"$strategy"',
    "<J>": 'job=~"$job", model=~"$model"',
    "<R>": RATE,
    "<O>": 'and on (job, instance) skatra_build_info{job=~"$job", instance=~"$instance"}',
}
GREEN = ((None, "green"),)
COUNTS = {"short", "cps", "cpm", "rowsps", "none"}
NARROW = 6


def levels(orange=None, red=None, *, low_is_bad=False):
    """Return threshold steps: green until orange, then red; or the other way."""
    if low_is_bad:
        return ((None, "red"), (orange, "orange"), (red, "green"))
    steps = [(None, "green")]
    steps += [(orange, "orange")] if orange is not None else []
    steps += [(red, "red")] if red is not None else []
    return tuple(steps)


@dataclass(frozen=True)
class Panel:
    """One panel.

    ``bounds`` are hard limits of the axis, ``soft`` ones give way to data. Without
    them the axis reaches from 0 to the first threshold, so that a panel of zeros has a
    scale that means something. ``log`` is for ages: seconds to years in one picture.
    """

    title: str
    unit: str
    text: str
    targets: tuple[tuple[str, str], ...]
    runbook: str
    steps: tuple = GREEN
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    bounds: tuple = (None, None)
    soft: tuple | None = None
    log: bool = False
    colors: dict = field(default_factory=dict)

    def axis(self):
        """Return the soft limits of the value axis."""
        if self.soft is not None or self.log:
            return self.soft or (None, None)
        limits = [value for value, _ in self.steps[1:]]
        if limits and self.steps[0][1] == "green":
            return 0, limits[0]
        return 0, 1 if self.unit in COUNTS else None

    def queries(self):
        """Return the queries with matchers filled in, and their legends."""
        for query, legend in self.targets:
            for short, matcher in MATCHERS.items():
                query = query.replace(short, matcher)  # noqa: PLW2901
            yield query, legend


def stat(title, unit, text, query, runbook, steps, legend=""):
    """Return a small panel with one number."""
    return Panel(
        title, unit, text, ((query, legend),), runbook, steps, "stat", NARROW, 4
    )


def quantiles(metric, matcher, by=""):
    """Return targets of the median, 95th and 99th percentile."""
    legend = f" {{{{{by}}}}}" if by else ""
    group = f"le, {by}" if by else "le"
    return tuple(
        (
            f"histogram_quantile({q}, sum by ({group}) "
            f"(rate(skatra_{metric}_bucket{{{matcher}}}[<R>])))",
            f"p{round(q * 100)}{legend}",
        )
        for q in (0.5, 0.95, 0.99)
    )


LIVE_BINS = "skatra_calibration_observations_total"

ROWS = {
    "Overview": (
        stat("Targets up", "percentunit",
             "Share of scrape targets that answer, of those whose job is named so or that "
             "exported skatra in the last week.",
             'avg(up{<S>, job=~"skatra.*"} or up{<S>} and on (job, instance) '
             "last_over_time(skatra_build_info{<S>}[7d]))", "skatratargetdown", levels(0.5, 1.0, low_is_bad=True)),
        stat("Firing alerts now", "short",
             "Alerts of skatra that fire now; the row of errors names them.",
             'sum(ALERTS{alertname=~"Skatra.+", alertstate="firing"}) or vector(0)',
             "alerts", levels(None, 1)),
        stat("Highest exposure", "percentunit",
             "Sum of absolute open positions over capital, of all strategies of the job "
             "with most.",
             "max(sum by (job) (max by (job, strategy) (skatra_kelly_exposure_ratio"
             "{<T>})))", "skatraexposurehigh",
             levels(0.8, 1.0)),
        stat("Signals, five days", "short",
             "Signals made in the last five days, which allow for a long weekend.",
             "sum(increase(skatra_signals_total{<T>}[5d]))", "skatranosignals",
             levels(1, 2, low_is_bad=True)),
        stat("Age of the last signal", "s", "Time since any strategy made a signal.",
             "time() - max(skatra_signal_last_timestamp_seconds{<T>})",
             "skatranosignals", levels(4 * 86400, 5 * 86400)),
        stat("Models may be served for", "s",
             "Time until signals refuse the oldest served model, as running ones say.",
             "min(skatra_model_stale_timestamp_seconds{<M>} > 0) - time()",
             "skatramodelstale", levels(0, SOON, low_is_bad=True)),
        stat("Leaks, last day", "short",
             "Models and checks with a leak where none may be; a single one makes every "
             "backtest figure worthless.",
             "sum(time() - max by (model, check) (max_over_time("
             "skatra_leakage_last_timestamp_seconds{<M>}[24h])) < bool 86400)",
             "skatraleakagedetected", levels(None, 1)),
        stat("Failed predictions", "percentunit",
             "Share of model calls that raised, last five minutes.",
             "sum(rate(skatra_prediction_failures_total{<M>}[5m])) / (sum(rate("
             "skatra_prediction_duration_seconds_count{<M>}[5m])) + sum(rate("
             "skatra_prediction_failures_total{<M>}[5m])) > 0)",
             "skatrapredictionerrorshigh", levels(0.01, 0.05)),
    ),
    "Signals": (
        Panel("Signals by side", "cpm", "Signals per minute, long and short.",
              (("60 * sum by (side) (rate(skatra_signals_total{<T>}[<R>]))",
                "{{side}}"),), "skatrasignalstorm", width=NARROW),
        Panel("Busiest symbols", "cpm", "The five symbols with most signals.",
              (("60 * sum by (symbol) (rate(skatra_signals_total{<T>}[<R>])) and on "
                "(symbol) topk(5, sum by (symbol) (increase(skatra_signals_total{<T>}"
                "[$__range] @ end())))", "{{symbol}}"),), "skatrasignalstorm", width=NARROW),
        Panel("Signals held back", "cpm",
              "Why no signal was made: no edge, old data, a duplicate.",
              (("60 * sum by (reason) "
                "(rate(skatra_signals_suppressed_total{<T>}[<R>]))", "{{reason}}"),),
              "skatranosignals", width=NARROW),
        Panel("Age of signals", "s",
              "Since each strategy's last signal, and since its last round that got "
              "through.",
              (("time() - max by (strategy) "
                "(skatra_signal_last_timestamp_seconds{<T>})", "{{strategy}}"),
               ("time() - max by (strategy) "
                "(skatra_signal_round_timestamp_seconds{<T>})",
                "round of {{strategy}}")),
              "skatranosignals", levels(4 * 86400, 5 * 86400), width=NARROW, log=True),
        Panel("Time to make signals", "s", "Of one moment, features to position.",
              quantiles("signal_generation_duration_seconds", "<T>"),
              "skatrapredictionslow", levels(0.25, 1.0), width=NARROW),
        Panel("Kelly stakes", "percentunit",
              "Distribution of absolute positions, as share of capital.",
              (("sum by (le) (increase(skatra_kelly_fraction_ratio_bucket{<T>}[<R>]))",
                "{{le}}"),), "skatraexposurehigh", kind="heatmap", width=NARROW),
        Panel("Exposure", "percentunit",
              "Sum of absolute open positions over capital, by strategy and of all (red "
              "line: all of capital). Processes of one strategy are counted once.",
              (("max by (strategy) (skatra_kelly_exposure_ratio{<T>})",
                "{{strategy}}"),
               ("sum by (job) (max by (job, strategy) (skatra_kelly_exposure_ratio"
                "{<T>}))", "all of {{job}}")), "skatraexposurehigh", levels(0.8, 1.0),
              width=NARROW),
        Panel("Capped stakes", "percentunit",
              "Share of stakes that a limit cut: near 100 % the limits size the bets, "
              "not Kelly.",
              (("sum by (strategy) (rate(skatra_kelly_capped_total{<T>}[<R>])) / "
                "(sum by (strategy) (rate(skatra_kelly_fraction_ratio_count{<T>}[<R>]))"
                " > 0)", "{{strategy}}"),), "skatraexposurehigh", levels(0.5, 0.9),
              width=NARROW),
    ),
    "Predictions": (
        Panel("Rows predicted", "rowsps", "Rows per second by method of the model.",
              (("sum by (model, method) (rate(skatra_prediction_rows_total{<M>}[<R>]))",
                "{{model}} {{method}}"),), "skatranosignals"),
        Panel("Time of a prediction", "s", "Of one call, whatever its rows.",
              quantiles("prediction_duration_seconds", "<M>"), "skatrapredictionslow",
              levels(0.025, 0.05)),
        Panel("Failed calls", "cps", "Model calls that raised, by type of error.",
              (("sum by (error_type) (rate(skatra_prediction_failures_total{<M>}[<R>]))",
                "{{error_type}}"),), "skatrapredictionerrorshigh",
              levels(0.01, 0.1)),
        Panel("Probabilities", "percentunit",
              "Distribution of the probability of the positive class.",
              (("sum by (le) (increase(skatra_prediction_probability_bucket{<M>}[<R>]))",
                "{{le}}"),), "skatradrifthigh", kind="heatmap"),
        Panel("Drift of probabilities", "none",
              "Live against out-of-fold probabilities, five minutes and 90 days, where "
              f"those have {ENOUGH} rows: population stability index (above 0.25 matters) "
              "and Kolmogorov-Smirnov distance.",
              (("skatra:prediction_probability:psi5m{<J>}", "PSI {{model}}"),
               ("skatra:prediction_probability:ks5m{<J>}", "KS {{model}}"),
               ("skatra:prediction_probability:psi90d{<J>}", "PSI 90 d {{model}}")),
              "skatradrifthigh", levels(0.1, 0.25)),
        Panel("Drift of features", "none",
              "The five features whose values of the last hour, and of 90 days, differ "
              "most from the deciles of training: population stability index, where "
              f"there are {ENOUGH} rows.",
              (("skatra:feature:psi1h{<J>} and on (job, model, feature) topk(5, "
                "max_over_time(skatra:feature:psi1h{<J>}[$__range] @ end()))",
                "{{feature}}"),
               ("last_over_time(skatra:feature:psi90d{<J>}[2h]) and on (job, model, "
                "feature) topk(5, last_over_time(skatra:feature:psi90d{<J>}[2h] @ "
                "end()))", "90 d {{feature}}")),
              "skatradrifthigh", levels(0.1, 0.25)),
        Panel("Brier score", "none",
              "Mean squared error of settled probabilities, last hour and 90 days, and "
              "that of always saying the base rate: a useful model is below. A coin has "
              "0.25.",
              (("sum by (model) (increase(skatra_calibration_squared_error_total{<M>}"
                "[1h])) / (sum by (model) (increase("
                f"{LIVE_BINS}{{<M>}}[1h])) > 0)", "{{model}}"),
               ("sum by (model) (increase(skatra_calibration_positives_total{<M>}[1h]))"
                f" / (sum by (model) (increase({LIVE_BINS}{{<M>}}[1h])) > 0) * (1 - "
                "sum by (model) (increase(skatra_calibration_positives_total{<M>}[1h]))"
                f" / (sum by (model) (increase({LIVE_BINS}{{<M>}}[1h])) > 0))",
                "base rate {{model}}"),
               ("skatra:calibration:brier90d{<J>}", "90 d {{model}}"),
               ("skatra:calibration:win_ratio90d{<J>} * (1 - "
                "skatra:calibration:win_ratio90d{<J>})", "base rate 90 d {{model}}")),
              "skatracalibrationworsethanbaserate", levels(None, 0.25), soft=(None, None)),
        Panel("Win rate, said and real", "percentunit",
              "Mean probability of settled predictions and the share that won, last "
              "hour and 90 days.",
              (("sum by (model) (increase(skatra_calibration_predicted_probability_"
                "total{<M>}[1h])) / (sum by (model) (increase("
                f"{LIVE_BINS}{{<M>}}[1h])) > 0)", "said {{model}}"),
               ("sum by (model) (increase(skatra_calibration_positives_total{<M>}[1h]))"
                f" / (sum by (model) (increase({LIVE_BINS}{{<M>}}[1h])) > 0)",
                "real {{model}}"),
               ("skatra:calibration:expected_win_ratio90d{<J>}", "said 90 d {{model}}"),
               ("skatra:calibration:win_ratio90d{<J>}", "real 90 d {{model}}")),
              "skatrawinratebelowexpected", soft=(0.4, 0.6)),
        Panel("Calibration gap by probability", "percentunit",
              "Share that won minus probability said, by tenth of probability (lower "
              "edge), one hour; 0 is perfect. Tenths with fewer than 30 settled "
              "predictions are left out.",
              (("(sum by (bin) (increase(skatra_calibration_positives_total{<M>}[1h])) "
                "- sum by (bin) (increase(skatra_calibration_predicted_probability_"
                f"total{{<M>}}[1h]))) / (sum by (bin) (increase({LIVE_BINS}"
                "{<M>}[1h])) >= 30)", "{{bin}}"),),
              "skatracalibrationworsethanbaserate", soft=(-0.1, 0.1)),
    ),
    "Model and cross-validation": (
        Panel("Retraining runs", "short", "Runs of the last day by how they ended.",
              (("sum by (outcome) (increase(skatra_retrain_runs_total{<M>}[1d]))",
                "{{outcome}}"),), "skatraretrainfailing", width=NARROW,
              colors={"success": "green", "refused": "orange", "failure": "red"}),
        Panel("Time of retraining", "s", "Mean time of a run and of its stages.",
              (("sum by (model) (rate(skatra_retrain_duration_seconds_sum{<M>}[1d])) / "
                "(sum by (model) (rate(skatra_retrain_duration_seconds_count{<M>}[1d]))"
                " > 0)", "all of {{model}}"),
               ("sum by (stage) (rate(skatra_retrain_stage_duration_seconds_sum{<M>}"
                "[1d])) / (sum by (stage) (rate(skatra_retrain_stage_duration_seconds_"
                "count{<M>}[1d])) > 0)", "{{stage}}")),
              "skatraretrainfailing", width=NARROW),
        Panel("Training rows", "short", "Rows that the served model was trained on.",
              (("max by (model) (skatra_model_training_rows{<M>})", "{{model}}"),),
              "skatramodelstale", width=NARROW),
        Panel("Under way", "short", "Calls of models and retraining runs going on now.",
              (("sum by (model) (skatra_predictions_in_progress{<M>})",
                "calls {{model}}"),
               ("sum by (model) (skatra_retrain_in_progress{<M>})",
                "retraining {{model}}")), "skatraretrainfailing", width=NARROW),
        Panel("Model and data ages", "s",
              "Since training, since retraining last succeeded, and since "
              "the last label that the model knows.",
              (("time() - max by (model) (skatra_model_trained_timestamp_seconds{<M>})",
                "trained {{model}}"),
               ("time() - max by (model) "
                "(skatra_retrain_last_end_timestamp_seconds{<M>, "
                'outcome="success"} > 0)',
                "succeeded {{model}}"),
               ("time() - max by (model) "
                "(skatra_model_training_data_end_timestamp_seconds{<M>})",
                "data {{model}}")), "skatramodelstale", log=True),
        Panel("Score by fold", "none", "Out-of-fold scores of the last validation.",
              (("max by (model, metric, fold) (skatra_cv_fold_score{<M>})",
                "{{model}} {{metric}} fold {{fold}}"),), "skatracalibrationworsethanbaserate",
              soft=(None, None)),
        Panel("Rows lost to purge and embargo", "percentunit",
              "By fold, of all rows that might have been trained on.",
              (("sum by (fold) (skatra_cv_fold_purged_rows{<M>}) / sum by (fold) "
                "(skatra_cv_fold_train_rows{<M>} + skatra_cv_fold_purged_rows{<M>} + "
                "skatra_cv_fold_embargoed_rows{<M>})", "purged, fold {{fold}}"),
               ("sum by (fold) (skatra_cv_fold_embargoed_rows{<M>}) / sum by (fold) "
                "(skatra_cv_fold_train_rows{<M>} + skatra_cv_fold_purged_rows{<M>} + "
                "skatra_cv_fold_embargoed_rows{<M>})", "embargoed, fold {{fold}}")),
              "skatraleakagedetected", levels(0.2, 0.4), soft=(0, 0.01)),
        Panel("Leaks by check", "short", "Leaks of the last day; any is an alarm.",
              (("sum by (check) (increase(skatra_leakage_violations_total{<M>}[24h]))",
                "{{check}}"),), "skatraleakagedetected", levels(None, 1)),
        Panel("Splits and audits", "short",
              "Of the last day: splits by purged splitters, audits, and leaking pairs "
              "that audits counted (also of splitters audited as warning examples).",
              (("sum by (splitter) (increase(skatra_cv_splits_total{<S>}[1d]))",
                "splits {{splitter}}"),
               ("sum by (splitter) (increase(skatra_audits_total{<S>}[1d]))",
                "audits {{splitter}}"),
               ("sum by (splitter) (increase(skatra_audit_leaking_pairs_total{<S>}"
                "[1d]))", "pairs {{splitter}}")),
              "skatraleakagedetected"),
        Panel("Rows of splits", "short", "Of the last day, by what became of them.",
              (("sum by (role) (increase(skatra_cv_split_rows_total{<S>}[1d]))",
                "{{role}}"),), "skatraleakagedetected"),
    ),
    "Database": (
        Panel("Sizes", "bytes", "File, write-ahead log and unused pages.",
              (("skatra_db_size_bytes{<S>}", "{{database}} file"),
               ("skatra_db_wal_size_bytes{<S>}", "{{database}} log"),
               ("skatra_db_freelist_bytes{<S>}", "{{database}} unused")),
              "skatrawalnotcheckpointed", width=NARROW),
        Panel("Growth a day", "bytes", "Of the file, from the last hour.",
              (("deriv(skatra_db_size_bytes{<S>}[1h]) * 86400", "{{database}}"),),
              "skatradiskfullsoon", width=NARROW),
        Panel("Free disk", "bytes", "Of the file's disk.",
              (("skatra_db_filesystem_free_bytes{<S>}", "{{database}}"),),
              "skatradiskfullsoon",
              levels(1 << 30, 20 << 30, low_is_bad=True), width=NARROW),
        Panel("Readable", "bool_yes_no",
              "Whether each database can be read: a reading within 90 seconds and a "
              "count of rows, neither of them failed since. One slower than a scrape "
              "waits is the next scrape's, so only a new process may dip for it.",
              (("min by (database) (skatra_db_collect_success{<S>})",
                "{{database}}"),), "skatradatabaseunreadable",
              ((None, "red"), (1, "green")), width=NARROW, bounds=(0, 1)),
        Panel("Rows by table", "short", "Counted at most once a minute.",
              (("sum by (table) (skatra_db_table_rows{<S>})", "{{table}}"),),
              "skatradatastale"),
        Panel("Newest data", "s", "Age of the newest time in each table, and of the last write. Bars older "
              "than six days (red line) are an alarm.",
              (("time() - max by (table) (skatra_db_latest_event_timestamp_seconds"
                "{<S>})", "{{table}}"),
               ("time() - max by (database) (skatra_db_last_write_timestamp_seconds"
                "{<S>})", "{{database}} written")), "skatradatastale",
              levels(None, 518400), log=True),
        Panel("Stored predictions", "short",
              "By the run that made them and what became of them: open, won, lost, or "
              "settled without a stake.",
              (("sum by (run, state) (skatra_db_predictions{<S>})",
                "{{run}} {{state}}"),), "skatrawinratebelowexpected"),
        Panel("Time of reads and writes", "s", "95th percentile, by operation.",
              (("histogram_quantile(0.95, sum by (le, operation) (rate("
                "skatra_db_query_duration_seconds_bucket{<S>}[<R>])))",
                "{{operation}}"),), "skatrapoolexhausted", levels(0.1, 1.0),
              width=NARROW),
        Panel("Statements and rows", "cps", "SQL statements, and rows written.",
              (("sum by (kind) (rate(skatra_db_statements_total{<S>}[<R>]))",
                "{{kind}}"),
               ("sum by (database) (rate(skatra_db_rows_written_total{<S>}[<R>]))",
                "rows {{database}}")), "skatrawalnotcheckpointed", width=NARROW),
        Panel("Pool", "short", "Connections by state, their limit, who waits and who gave up.",
              (("sum by (state) (skatra_db_pool_connections{<S>})", "{{state}}"),
               ("sum(skatra_db_pool_connections_max{<S>})", "limit"),
               ("sum(skatra_db_pool_waiters{<S>})", "waiting"),
               ("sum(increase(skatra_db_pool_timeouts_total{<S>}[<R>]))",
                "timeouts")),
              "skatrapoolexhausted", width=NARROW),
        Panel("Wait for a connection", "s", "95th percentile.",
              (("histogram_quantile(0.95, sum by (le) (rate("
                "skatra_db_pool_acquire_duration_seconds_bucket{<S>}[<R>])))", "p95"),),
              "skatrapoolexhausted", levels(0.1, 1.0), width=NARROW),
    ),
    "Errors": (
        Panel("Errors by part", "cps", "Errors that reached a user, per second.",
              (("sum by (component) (rate(skatra_errors_total{<S>}[<R>]))",
                "{{component}}"),), "skatraerrorshigh", levels(0.01, 0.1)),
        Panel("Errors by type", "cps", "The five most frequent types.",
              (("sum by (error_type) (rate(skatra_errors_total{<S>}[<R>])) and on "
                "(error_type) topk(5, sum by (error_type) (increase("
                "skatra_errors_total{<S>}[$__range] @ end())))", "{{error_type}}"),), "skatraerrorshigh", levels(0.01, 0.1)),
        Panel("Firing alerts", "short", "Alerts of skatra that fire now.",
              (('sum by (alertname) (ALERTS{alertname=~"Skatra.+", '
                'alertstate="firing"}) or label_replace(vector(0), "alertname", '
                '"none", "", "")', "{{alertname}}"),),
              "alerts", levels(None, 1)),
    ),
    "System": (
        Panel("Processor", "percentunit", "Of one core.",
              (("rate(process_cpu_seconds_total{<S>}[<R>]) <O>", "{{instance}}"),),
              "skatrascrapeslow", levels(0.8, 1.5)),
        Panel("Memory", "bytes", "Resident.",
              (("process_resident_memory_bytes{<S>} <O>", "{{instance}}"),),
              "skatrafiledescriptorshigh"),
        Panel("File descriptors", "percentunit", "Open ones, of those allowed.",
              (("process_open_fds{<S>} / process_max_fds{<S>} <O>", "{{instance}}"),),
              "skatrafiledescriptorshigh", levels(0.5, 0.8)),
        Panel("Garbage collections", "cps", "By generation.",
              (("sum by (generation) (rate(python_gc_collections_total{<S>}[<R>]) <O>)",
                "{{generation}}"),), "skatrascrapeslow"),
        Panel("Time of a scrape", "s", "All of it, and the reading of databases.",
              (("scrape_duration_seconds{<S>} <O>", "{{instance}}"),
               ("skatra_db_collect_duration_seconds{<S>}", "{{database}}")),
              "skatrascrapeslow", levels(0.1, 1.0)),
        Panel("Samples and folded labels", "short",
              "Samples of a scrape (the budget is 2,000), and updates of the last hour "
              "that went to 'other'.",
              (("scrape_samples_scraped{<S>} <O>", "{{instance}}"),
               ("sum by (metric) (increase("
                "skatra_exporter_dropped_label_values_total{<S>}[1h])) > 0 or "
                "sum(increase(skatra_exporter_dropped_label_values_total{<S>}[1h]))",
                "folded {{metric}}")), "skatralabelscapped", levels(2000, 5000)),
    ),
}  # fmt: skip

# Exported, but on no panel, with the reason.
NOT_SHOWN = {
    "skatra_retrain_unfinished_since_timestamp_seconds": "in SkatraRetrainOverdue",
    "skatra_signal_interval_seconds": "in SkatraSignalsFailing",
    "skatra_model_info": "says which run is served, to queries of your own",
    "skatra_prediction_probability_reference": "in recording rules",
    "skatra_prediction_probability_bin_total": "in recording rules",
    "skatra_prediction_probability_reference_bin_ratio": "in recording rules",
    "skatra_feature_bin_total": "in recording rules",
    "skatra_feature_reference_bin_ratio": "in recording rules",
}
