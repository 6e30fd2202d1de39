"""Recording and alert rules with the series that make each fire and stay quiet."""

import re
import sys
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


JOB = 'job=~"skatra.*"'
L = 'job="skatra",instance="a"'

ENOUGH = 150
"""Rows from which drift is recorded: of fewer, chance alone is called drift."""

_BINS = "increase(skatra_prediction_probability_bin_total[5m])"
_SHARES = "skatra_prediction_probability_reference_bin_ratio"
_FEATURE_BINS = "increase(skatra_feature_bin_total[1h])"
_FEATURE_SHARES = "skatra_feature_reference_bin_ratio"
_ROWS = "increase(skatra_prediction_probability_count[5m])"


def _mixed(reference, rows, by, each):
    """Return references of several processes, each weighted by the rows it counted.

    Processes may serve different models, as around a promotion.
    """
    process = by.replace("job,", "job, instance,")
    return (
        f"sum by ({by}, {each}) ({reference} * on ({process}) group_left () "
        f"sum by ({process}) ({rows}))"
    )


def _psi(bins, shares, by):
    """Return the stability index of counts by bin against shares of training."""
    mixed = _mixed(shares, bins, by, "bin")
    every, whole = (
        f"on ({by}) group_left () (sum by ({by}) ({part}) {least})"
        for part, least in ((bins, f">= {ENOUGH}"), (mixed, "> 0"))
    )
    share = f"clamp_min(sum by ({by}, bin) ({bins}) / {every}, 1e-4)"
    base = f"clamp_min({mixed} / {whole}, 1e-4)"
    return f"sum by ({by}) (({share} - {base}) * ln({share} / {base}))"


def _ks():
    """Return the largest distance of the distributions, live and of training."""
    mixed = _mixed(
        "skatra_prediction_probability_reference_bucket / on (job, instance, model) "
        "group_left () (skatra_prediction_probability_reference_count > 0)",
        _ROWS, "job, model", "le",
    )  # fmt: skip
    return (
        "max by (job, model) (abs(sum by (job, model, le) (increase("
        "skatra_prediction_probability_bucket[5m])) / on (job, model) group_left () "
        f"(sum by (job, model) ({_ROWS}) >= {ENOUGH}) - {mixed} / on (job, model) "
        f"group_left () (max by (job, model) ({mixed}) > 0)))"
    )


RECORDS = {
    "skatra:prediction_probability:psi5m": _psi(_BINS, _SHARES, "job, model"),
    "skatra:prediction_probability:ks5m": _ks(),
    "skatra:feature:psi1h": _psi(_FEATURE_BINS, _FEATURE_SHARES, "job, model, feature"),
}

_SEEN = "skatra:prediction_probability_bin:increase90d"
_FEATURES_SEEN = "skatra:feature_bin:increase90d"


def _settled(short, days):
    return f"sum by (job, model) (increase(skatra_calibration_{short}_total[{days}]))"


# Windows of days read a sample each scrape of all those days, so they are summed once.
SLOW_RECORDS = {
    _SEEN:
        "sum by (job, instance, model, bin) "
        "(increase(skatra_prediction_probability_bin_total[90d]))",
    "skatra:prediction_probability:psi90d": _psi(_SEEN, _SHARES, "job, model"),
} | {
    f"skatra:calibration:{name}{days}": _settled(short, days) + per
    for days in ("1d", "90d")
    for name, short, per in (
        ("observations", "observations", " > 0"),
        ("brier", "squared_error", f" / skatra:calibration:observations{days}"),
        ("win_ratio", "positives", f" / skatra:calibration:observations{days}"),
        ("expected_win_ratio", "predicted_probability",
         f" / skatra:calibration:observations{days}"),
    )
}  # fmt: skip


# Twenty features have twenty times as many series, so these are summed once an hour.
HOURLY_RECORDS = {
    _FEATURES_SEEN:
        "sum by (job, instance, model, feature, bin) "
        "(increase(skatra_feature_bin_total[90d]))",
    "skatra:feature:psi90d":
        _psi(_FEATURES_SEEN, _FEATURE_SHARES, "job, model, feature"),
}  # fmt: skip


def _badly_calibrated(days, n, margin):
    brier, won, count = (
        f"skatra:calibration:{name}{days}"
        for name in ("brier", "win_ratio", "observations")
    )
    return f"({brier} > {won} * (1 - {won}) + {margin} and {count} > {n})"


def _below_expected(days, n):
    said, won, count = (
        f"skatra:calibration:{name}{days}"
        for name in ("expected_win_ratio", "win_ratio", "observations")
    )
    return (
        f"(({said} - {won}) * sqrt({count} / ({said} * (1 - {said}))) > 3 "
        f"and {count} > {n})"
    )


SOON = 9 * 86400
"""So long before signals refuse a model it is an alarm, in seconds."""


# What the alert's value reads like on its test's input.
SHOWN = {
    "SkatraLeakageDetected": "5m 0s",
    "SkatraExposureHigh": "150%",
    "SkatraSignalsFailing": "3h 50m 0s",
    "SkatraRestarting": "30",
    "SkatraSignalStorm": "2.4k",
    "SkatraPredictionErrorsHigh": "10%",
    "SkatraPredictionSlow": "99.44ms",
    "SkatraRetrainOverdue": "8d 20h 13m 20s",
    "SkatraDriftHigh": "500m",
    "SkatraCalibrationWorseThanBaseRate": "400m",
    "SkatraWinRateBelowExpected": "13.69",
    "SkatraDataStale": "7d 0h 10m 0s",
    "SkatraWalNotCheckpointed": "286.1Mi",
    "SkatraErrorsHigh": "500m",
    "SkatraFileDescriptorsHigh": "90%",
    "SkatraScrapeSlow": "2s",
    "SkatraLabelsCapped": "9",
}


LONG = "12h"
"""Step of inputs that last for weeks."""


@dataclass(frozen=True)
class Case:
    """A further input of an alert.

    Attributes
    ----------
    what : str
        Names the case.
    series : dict
    at : str
        When to look.
    shown : str, default=None
        The value in the text if it fires, None if it stays quiet.
    step : str, default=LONG
        Time between two values.
    labels : tuple, default=()
        Of what fires, where they are not those of the alert.
    """

    what: str
    series: dict
    at: str
    shown: str | None = None
    step: str = LONG
    labels: tuple = ()


@dataclass(frozen=True)
class Alert:
    """One alert, with two series: it fires on the first and not on the second.

    They have a value each `step`, those of `also` each one of their own.
    """

    name: str
    severity: str
    expr: str
    wait: str
    summary: str
    text: str
    action: str
    fires: dict
    quiet: dict
    at: str = "10m"
    step: str = "1m"
    labels: tuple = (("instance", "a"), ("job", "skatra"))
    also: tuple = ()

    @property
    def cases(self):
        """Every input as a Case, whose `what` names the alert, too."""
        fires = f"{self.name} fires", self.fires, self.at, SHOWN.get(self.name, "")
        quiet = f"{self.name} stays quiet", self.quiet, self.at, None
        return [
            Case(*fires, self.step, self.labels),
            Case(*quiet, self.step, self.labels),
            *(
                replace(
                    case,
                    what=f"{self.name}: {case.what}",
                    labels=case.labels or self.labels,
                )
                for case in self.also
            ),
        ]

    def description(self, shown, labels):
        """Return what a test's input makes of the text."""
        labels = dict(labels)
        text = re.sub(r"{{ \$labels\.(\w+) }}", lambda m: labels[m[1]], self.text)
        return re.sub(r"{{ \$value[^}]*}}", shown, text)

    @property
    def is_slow(self):
        """Whether it looks at days, which is too dear to do each scrape."""
        return re.search(r"\dd\b", self.expr) is not None

    @property
    def anchor(self):
        """The heading of its runbook."""
        return self.name.lower()


M = (("job", "skatra"), ("model", "m"))
A = (("instance", "a"), ("job", "skatra"))
S = (("job", "skatra"), ("strategy", "k"))
D = (("database", "d"), *A)


def _beside(sick, healthy, at, shown, step=LONG):
    """Return the case of a process that is well beside one of its job that is not."""
    other = {
        name.replace('instance="a"', 'instance="b"'): values
        for name, values in healthy.items()
    }
    return Case("a healthy process beside it", sick | other, at, shown, step)


def _calibration(won, said, squared, n="0+10x60"):
    return {
        f'skatra_calibration_observations_total{{{L},model="m",bin="0.5"}}': n,
        f'skatra_calibration_positives_total{{{L},model="m",bin="0.5"}}': won,
        f'skatra_calibration_predicted_probability_total{{{L},model="m",bin="0.5"}}': said,
        f'skatra_calibration_squared_error_total{{{L},model="m"}}': squared,
    }


def _exposure(values, strategy="k", instance="a"):
    of = f'job="skatra",instance="{instance}",strategy="{strategy}"'
    return {f"skatra_kelly_exposure_ratio{{{of}}}": values}


def _free(values):
    return {f'skatra_db_filesystem_free_bytes{{{L},database="d"}}': values}


def _leaks(last, instance="a"):
    of = f'job="skatra",instance="{instance}",model="m",check="overlap"'
    return {f"skatra_leakage_last_timestamp_seconds{{{of}}}": last}


def _bars(newest):
    name = "skatra_db_latest_event_timestamp_seconds"
    return {f'{name}{{{L},database="d",table="bars"}}': f"{newest}x100"}


def _rounds(every, last):
    """Return when the last round got through, and how often they come."""
    return {
        f'skatra_signal_round_timestamp_seconds{{{L},strategy="k"}}': last,
        f'skatra_signal_interval_seconds{{{L},strategy="k"}}': f"{every}x1200",
    }


def _unasked(failed, made, known="1x400"):
    """Return rounds of signals that raised, and those that did not."""
    return {
        f"skatra_build_info{{{L}}}": known,
        f'skatra_errors_total{{{L},component="signals",error_type="E"}}': failed,
        f'skatra_signal_generation_duration_seconds_count{{{L},strategy="k"}}': made,
    }


def _starts(values):
    return {f"process_start_time_seconds{{{L}}}": values}


def _model(name, value):
    return {f'skatra_{name}{{{L},model="m"}}': value}


def _ended(outcome):
    return (
        "max by (job, instance, model) (skatra_retrain_last_end_timestamp_seconds"
        f'{{outcome=~"{outcome}"}})'
    )


def _runs(**ended):
    return {
        f'skatra_retrain_last_end_timestamp_seconds{{{L},model="m",outcome="{name}"}}':
        f"{moment}x100"
        for name, moment in ended.items()
    }  # fmt: skip


def _unfinished(since):
    return _model("retrain_unfinished_since_timestamp_seconds", since)


def _daily(amounts):
    """Return a counter that jumps once a day, each twelve hours."""
    return " ".join(f"{total}x1" for total in accumulate(amounts))


def _signals(amounts, then="", known="1x100"):
    name = f'skatra_signals_total{{{L},strategy="k",symbol="s",side="long"}}'
    return {name: _daily(amounts) + then, f"skatra_build_info{{{L}}}": known}


def _settles(n, won, said, squared):
    """Return bets that settle once a day, on sixty days."""
    given = (_daily([0] + 60 * [amount]) for amount in (won, said, squared, n))
    return _calibration(*given)


def _probabilities(low, high):
    """Return predictions of sixty days in two bins, which training filled alike."""
    return {
        f'skatra_prediction_probability{end}{{{L},model="m",bin="{place}"}}': values
        for place, amount in (("0.4", low), ("0.5", high))
        for end, values in (
            ("_bin_total", _daily([0] + 60 * [amount])),
            ("_reference_bin_ratio", "0.5x125"),
        )
    }


def _served(instance, low):
    """Return a process that predicts into two bins as often as its training did."""
    of = f'job="skatra",instance="{instance}",model="m"'
    start = "skatra_prediction_probability"
    return {
        f'{start}{end}{{{of},bin="{place}"}}': values
        for place, share in (("0.4", low), ("0.5", 1 - low))
        for end, values in (
            ("_bin_total", f"0+{round(200 * share)}x40"),
            ("_reference_bin_ratio", f"{round(share, 1)}x40"),
        )
    } | {f"{start}_count{{{of}}}": "0+200x40"}


def _duration(seconds):
    """Return how Prometheus writes a duration of days."""
    parts = pd.Timedelta(seconds=seconds).components
    return f"{parts.days}d {parts.hours}h {parts.minutes}m {parts.seconds}s"


WEEKS = 3 * [*5 * [3], 0, 0]
"""Signals of three weeks: three each working day, at once."""
SHOWN["SkatraModelStale"] = _duration(SOON - 1000 - 5400)

ALERTS = (
    Alert("SkatraTargetDown", "critical", f"up{{{JOB}}} == 0", "2m",
          "A skatra exporter does not answer.",
          "{{ $labels.instance }} has not answered for two minutes: nothing else can "
          "alarm for it.",
          "Is the process alive? `curl http://<instance>/healthz` on its machine. If "
          "that answers, look at the address, the password and TLS in Prometheus' "
          "targets page.",
          {f"up{{{L}}}": "0x20"}, {f"up{{{L}}}": "1x20"}),
    Alert("SkatraAbsent", "critical", "absent(skatra_build_info)", "5m",
          "No skatra process is known to Prometheus.",
          "Nothing with skatra's metrics has been scraped for five minutes.",
          "Check the scrape configuration (`promtool check config`) and that "
          "`skatra serve-metrics` or the trading process runs. A textfile of `skatra "
          "retrain` counts as a process, also when it is old: where you have one, "
          "SkatraTargetDown tells of the others.",
          {"nothing": "1x20"}, {f"skatra_build_info{{{L}}}": "1x20"}, labels=()),
    Alert("SkatraLeakageDetected", "critical",
          "time() - max by (job, model, check) (max_over_time("
          "skatra_leakage_last_timestamp_seconds[24h]) > 0) < 86400", "0m",
          "Training data knows test outcomes.",
          "{{ $labels.model }} leaked ({{ $labels.check }}) {{ $value | "
          "humanizeDuration }} ago: its validation figures mean nothing.",
          "Stop promoting. Run `skatra audit` on the label set; look at purge_gap, "
          "embargo and at features that look ahead. Retrain, and compare. It fires for a "
          "day after the last leak, also when the process that found it is gone; "
          "skatra_leakage_violations_total says how many.",
          _leaks("0x5 300x10"), _leaks("0x20"), labels=(("check", "overlap"), *M),
          also=(
              Case("a first night's textfile, born with its leaks", _leaks("_x5 300x10"),
                   at="10m", shown="5m 0s", step="1m"),
              Case("a process that was down for hours", _leaks("0x240 _x1200 86400x20"),
                   at="1450m", shown="10m 0s", step="1m"),
              Case("hours later", _leaks("0x5 300x600"), at="605m", shown="10h 0m 0s",
                   step="1m"),
              Case("the process is gone", _leaks("0x5 300x10"), at="605m",
                   shown="10h 0m 0s", step="1m"),
              Case("another leaked long before",
                   _leaks("300x600") | _leaks("600x600", "b"),
                   at="605m", shown="9h 55m 0s", step="1m"),
              Case("old leaks after a day without Prometheus",
                   _leaks("0 300x2 _x2 300x2"), at="72h"))),
    Alert("SkatraExposureHigh", "critical",
          "sum by (job) (max by (job, strategy) (skatra_kelly_exposure_ratio)) > 1.001",
          "1m",
          "More than all capital is at stake.",
          "The strategies of {{ $labels.job }} hold {{ $value | humanizePercentage }} of "
          "capital.",
          "Kelly positions of overlapping bets add up: use overlap_budget=True, a lower "
          "max_position or the portfolio formula. Strategies add up, too: where each has "
          "a capital of its own, give each a job of its own. Processes of one strategy "
          "and job are taken for replicas on one database, and counted once. So two "
          "with databases of their own on one account can hold more together than it "
          "has without this alarm: give the signals of each database a job of its own "
          "(skatra-a, skatra-b), watch the sum over them by hand, and share --max-exposure "
          "out among them. Reduce by hand meanwhile.",
          _exposure("1.5x20"), _exposure("0.9x20"), labels=S[:1], also=(
              Case("all of capital, as far as sums of fractions go",
                   _exposure("1.0000000000000002x20"), at="10m", step="1m"),
              Case("two strategies with more than all together",
                   _exposure("0.8x20") | _exposure("0.8x20", strategy="l"), at="10m",
                   shown="160%", step="1m"),
              Case("two processes of one strategy",
                   _exposure("0.6x20") | _exposure("0.6x20", instance="b"), at="10m",
                   step="1m"))),
    Alert("SkatraDatabaseUnreadable", "critical", "skatra_db_collect_success == 0", "5m",
          "The database cannot be read.",
          "{{ $labels.database }} has been missing, locked or damaged for five minutes.",
          "`skatra db check <file>`. Missing: look for the disk. Locked: which program "
          "holds it without skatra (fuser)? Damaged: restore a backup.",
          {f'skatra_db_collect_success{{{L},database="d"}}': "0x20"},
          {f'skatra_db_collect_success{{{L},database="d"}}': "1x20"}, labels=D),
    Alert("SkatraPoolExhausted", "critical",
          "sum by (job, instance, database) (increase(skatra_db_pool_timeouts_total[5m]))"
          " > 0 or sum by (job, instance, database) (skatra_db_pool_waiters) > 0", "2m",
          "Database connections run out.",
          "Threads have waited for a connection of {{ $labels.database }} for two "
          "minutes, or waits timed out.",
          "The timeout's message names the holders and their lines. Keep `with` blocks "
          "short, or raise max_readers.",
          {f'skatra_db_pool_timeouts_total{{{L},database="d"}}': "0+1x20"},
          {f'skatra_db_pool_timeouts_total{{{L},database="d"}}': "3x20",
           f'skatra_db_pool_waiters{{{L},database="d"}}': "0x7 1 0 1 0 1 0"}, labels=D,
          also=(Case("readers run out beside an idle writer", {
              f'skatra_db_pool_connections{{{L},database="d",state="in_use"}}': "4x20",
              f'skatra_db_pool_connections_max{{{L},database="d"}}': "5x20",
              f'skatra_db_pool_waiters{{{L},database="d"}}': "0x5 2x15"}, at="10m",
              shown="", step="1m"),)),
    Alert("SkatraNoSignals", "warning",
          "sum by (job, instance, strategy) (increase(skatra_signals_total[5d])) == 0 "
          "and sum by (job, instance, strategy) (skatra_signals_total offset 5d) and on "
          "(job, instance) skatra_build_info", "2h",
          "A strategy makes no signals.",
          "{{ $labels.strategy }} has made no signal for five days (which allow for a "
          "long weekend).",
          "Look at 'Signals held back': no_edge is an answer, stale_data is a "
          "fault; at 'Capped stakes', as a limit may cut every bet to nothing. Then the errors row. A host that no longer exports is asked for "
          "nothing.",
          _signals([], "7x12"), _signals([], "0+1x12"), at="132h", step=LONG, labels=(*A, S[1]), also=(
              Case("the day after a long weekend", _signals(
                  [*WEEKS[:11], 0, 0, 0, 0, 3, 3]), at="360h"),
              Case("a daily batch that ended", _signals(WEEKS[:5] + 10 * [0]),
                   at="240h", shown="0"),
              _beside(_signals(WEEKS[:5] + 10 * [0]), _signals(WEEKS[:15]),
                      at="240h", shown="0"),
              Case("a host that was left for another",
                   {name: f"{values} _x20" for name, values in
                    _signals(WEEKS[:12], known="1x24").items()}, at="372h"))),
    Alert("SkatraSignalsFailing", "warning",
          "time() - max by (job, instance, strategy) "
          "(skatra_signal_round_timestamp_seconds) > clamp_min(3 * max by (job, "
          "instance, strategy) (skatra_signal_interval_seconds), 3600) or label_replace("
          "10800 + 0 * (sum by (job, instance) (increase(skatra_errors_total{component="
          '"signals"}[3h])) > 0 unless sum by (job, instance) (increase('
          "skatra_signal_generation_duration_seconds_count[3h])) > 0 unless on (job, "
          "instance) skatra_signal_interval_seconds and on (job, instance) "
          'skatra_build_info offset 3h), "strategy", "any strategy", "", "")', "10m",
          "No round of signals gets through.",
          "{{ $labels.instance }} has had no round of {{ $labels.strategy }} for "
          "{{ $value | humanizeDuration }}: each raises, or one hangs.",
          "'Errors by type' names what they raise and the service's log has the message. "
          "StaleDataError asks for bars, as at the end of Easter, StaleModelError and "
          "ModelNotFoundError for a model. No error at all: a round hangs, so look at "
          "what it waits for (`py-spy dump`, the database's locks) and restart it. It "
          "fires after three intervals of `--every`, an hour at least. 'Any strategy' is "
          "of a process that never said how often its rounds come: each of three hours "
          "raised, if only one, and it resolves three hours after the last, which is no "
          "recovery; so have it call expect_rounds.",
          _rounds(60, "0+60x60 3600x240"), _rounds(60, "0+60x300"),
          at="290m", labels=(*A, S[1]), also=(
              Case("four-hourly rounds, one of which raised",
                   _rounds(14400, "0x240 14400x480 43200x300"), at="710m", step="1m"),
              Case("four-hourly rounds that all raise",
                   _rounds(14400, "0x240 14400x900"), at="1000m", shown="12h 40m 0s",
                   step="1m"),
              Case("no round ever got through", _rounds(60, "60x300"), at="290m",
                   shown="4h 49m 0s", step="1m"),
              _beside(_rounds(60, "0+60x60 3600x240"), _rounds(60, "0+60x300"),
                      at="290m", shown="3h 50m 0s", step="1m"),
              Case("rounds of an unknown interval that all raise",
                   _unasked("0+1x400", "5x400"), at="290m", shown="3h 0m 0s",
                   step="1m", labels=(*A, ("strategy", "any strategy"))),
              Case("a new process whose first round raised",
                   _unasked("_x100 0x2 1x300", "_x100 0x300", known="_x100 1x300"),
                   at="130m", step="1m"),
              Case("rounds of an unknown interval, one of which raised",
                   _unasked("0x60 1x340", "0+1x400"), at="150m", step="1m"),
              Case("four-hourly rounds of a known interval, one of which raised",
                   _unasked("0x240 1x200", "0x400")
                   | _rounds(14400, "0x240 14400x400"), at="270m", step="1m"))),
    Alert("SkatraRestarting", "warning",
          f"changes(process_start_time_seconds{{{JOB}}}[1h]) > 3 or "
          f"changes(process_start_time_seconds{{{JOB}}}[24h]) > 8", "5m",
          "A skatra process is restarted again and again.",
          "{{ $labels.instance }} was restarted {{ $value }} times, in an hour or a day.",
          "It dies soon after its start, or in every round, and its supervisor starts "
          "it again: each life answers scrapes and looks healthy, and nothing is "
          "traded. `journalctl -u <service>` has the last words of each life, the "
          "kernel's log those of one that was killed (out of memory?). It fires from "
          "the fourth restart in an hour or the ninth in a day on, and ends that long "
          "after the last ones. Workers behind one address look like restarts: scrape "
          "each by an address of its own. Only Linux tells when a process began.",
          _starts("0+60x60"), _starts("0x60"), at="30m", also=(
              Case("a loop of five minutes, most scrapes of which fail",
                   _starts(" ".join(f"{300 * n} _x3 {300 * n}" for n in range(20))),
                   at="55m", shown="11", step="1m"),
              Case("a loop of fifty minutes",
                   _starts(" ".join(f"{3000 * n}x49" for n in range(30))),
                   at="1000m", shown="20", step="1m"),
              Case("a restart every night",
                   _starts(_daily([0] + 20 * [86400])), at="240h"),
              Case("three restarts by hand", _starts("0x60 3600x2 3800x2 4000x90"),
                   at="70m", step="1m"))),
    Alert("SkatraSignalStorm", "warning",
          "sum by (job, strategy) (increase(skatra_signals_total[1d])) > 5 * clamp_min("
          "sum by (job, strategy) (increase(skatra_signals_total[7d] offset 1d)) / 7, "
          "20) and sum by (job, strategy) (skatra_signals_total offset 8d)", "10m",
          "A strategy makes five times its usual signals.",
          "{{ $labels.strategy }} made {{ $value | humanize }} signals in a day, more "
          "than a hundred and five times those of a usual one.",
          "Duplicate bars, a clock that jumped, or a threshold at zero. Pause order "
          "routing until 'Busiest symbols' explains it.",
          {f'skatra_signals_total{{{L},strategy="k",symbol="s",side="long"}}':
           "0x15 0+1200x4"},
          {f'skatra_signals_total{{{L},strategy="k",symbol="s",side="long"}}':
           "0+240x23"}, at="216h", step=LONG, labels=S, also=(
              Case("the Monday of a daily batch", _signals([50 * n for n in WEEKS]),
                   at="348h"),
              Case("the Friday of a daily batch", _signals([50 * n for n in WEEKS]),
                   at="444h"),
              Case("a daily batch after a week without edge",
                   _signals([*WEEKS[:7], *7 * [0], 33]), at="348h"),
              Case("a daily batch sent again every hour",
                   _signals(WEEKS[:14], " 33+360x3"), at="360h", shown="720"))),
    Alert("SkatraPredictionErrorsHigh", "warning",
          "sum by (job, model) (rate(skatra_prediction_failures_total[10m])) / (sum by "
          "(job, model) (rate(skatra_prediction_duration_seconds_count[10m])) + sum by "
          "(job, model) (rate(skatra_prediction_failures_total[10m]))) > 0.05 and sum by "
          "(job, model) (increase(skatra_prediction_duration_seconds_count[10m])) + sum "
          "by (job, model) (increase(skatra_prediction_failures_total[10m])) > 50", "5m",
          "Many predictions fail.",
          "{{ $value | humanizePercentage }} of the calls of {{ $labels.model }} raise.",
          "'Failed calls' names the type. ValueError mostly means that features and "
          "model are of different versions.",
          {f'skatra_prediction_failures_total{{{L},model="m",error_type="E"}}':
           "0+10x40",
           f'skatra_prediction_duration_seconds_count{{{L},model="m"}}': "0+90x40"},
          {f'skatra_prediction_failures_total{{{L},model="m",error_type="E"}}':
           "0+1x40",
           f'skatra_prediction_duration_seconds_count{{{L},model="m"}}': "0+99x40"},
          at="30m", labels=M),
    Alert("SkatraPredictionSlow", "warning",
          "histogram_quantile(0.99, sum by (job, model, le) (rate("
          "skatra_prediction_duration_seconds_bucket[10m]))) > 0.05", "10m",
          "Predictions are slow.",
          "One call in a hundred of {{ $labels.model }} takes over "
          "{{ $value | humanizeDuration }}.",
          "Processor saturated (system row)? More rows per call? More trees than last "
          "version? OpenMP threads fighting: set num_threads=1.",
          {f'skatra_prediction_duration_seconds_bucket{{{L},model="m",le="0.05"}}':
           "0+1x40",
           f'skatra_prediction_duration_seconds_bucket{{{L},model="m",le="0.1"}}':
           "0+10x40",
           f'skatra_prediction_duration_seconds_bucket{{{L},model="m",le="+Inf"}}':
           "0+10x40"},
          {f'skatra_prediction_duration_seconds_bucket{{{L},model="m",le="0.05"}}':
           "0+10x40",
           f'skatra_prediction_duration_seconds_bucket{{{L},model="m",le="+Inf"}}':
           "0+10x40"}, at="30m", labels=M),
    Alert("SkatraModelStale", "warning",
          "max by (job, instance, model) (skatra_model_stale_timestamp_seconds > 0) - "
          "time() < "
          f"{SOON}", "1h",
          "A served model is soon too old to act on.",
          "skatra signals refuses {{ $labels.model }} in {{ $value | humanizeDuration "
          "}}; negative is since when.",
          "'Retraining runs' tells: a gate that refuses every night keeps the champion, "
          "so read why (`skatra models show --run <id>`); no runs at all are a fault. A "
          "model is served for 90 days after the gate could have judged a successor; "
          "--max-model-age moves that, and this alarm with it: only a running `skatra "
          "signals` says when it refuses a model. Bundled demo data are always old.",
          _model("model_stale_timestamp_seconds", f"{SOON - 1000}x100"),
          _model("model_stale_timestamp_seconds", f"{SOON + 10000}x100"),
          at="90m", labels=(*A, M[1]), also=(
              _beside(_model("model_stale_timestamp_seconds", f"{SOON - 1000}x100"),
                      _model("model_stale_timestamp_seconds", f"{9 * SOON}x100"),
                      at="90m", shown=SHOWN["SkatraModelStale"], step="1m"),)),
    Alert("SkatraRetrainFailing", "warning",
          f"{_ended('failure')} > 0 unless {_ended('success|refused')} > "
          f"{_ended('failure')}", "10m",
          "Retraining fails.",
          "The last retraining run of {{ $labels.model }} failed.",
          "Run `skatra retrain --debug` by hand; the errors row names the type.",
          _runs(failure=2000, success=1000, refused=0),
          _runs(failure=2000, success=1000, refused=3000), at="25m",
          labels=(*A, M[1]), also=(
              Case("the first run of all", _runs(failure=2000, success=0, refused=0),
                   at="240h", shown=""),
              Case("no run so far", _runs(failure=0, success=0, refused=0),
                   at="240h"),
              _beside(_runs(failure=2000, success=0, refused=0),
                      _runs(failure=0, success=3000, refused=0), at="240h",
                      shown=""))),
    Alert("SkatraRetrainOverdue", "warning",
          "time() - max by (job, instance, model) "
          f"(skatra_retrain_last_end_timestamp_seconds > 0) > {8 * 86400} or "
          "time() - max by (job, instance, model) "
          "(skatra_retrain_unfinished_since_timestamp_seconds > 0) > "
          f"{8 * 86400}", "1h",
          "No retraining run has ended for eight days.",
          "No run of {{ $labels.model }} has ended for {{ $value | humanizeDuration }}.",
          "A run that never starts, or is killed, cannot count itself; one that is "
          "killed leaves behind when it began. Look at cron or "
          "the timer and at the kernel's log (out of memory?), then run `skatra "
          "retrain` by hand. Eight days allow for weekly runs; set your own.",
          _runs(failure=100000, success=50000, refused=0),
          _runs(failure=50000, success=300000, refused=0), at="240h", step=LONG,
          labels=(*A, M[1]), also=(
              _beside(_runs(failure=100000, success=50000, refused=0),
                      _runs(failure=0, success=300000, refused=0), at="240h",
                      shown=SHOWN["SkatraRetrainOverdue"]),
              Case("every run is killed, and none ever ended",
                   _unfinished("100000x100"), at="240h",
                   shown=SHOWN["SkatraRetrainOverdue"]),
              Case("a first run under way", _unfinished("300000x100"), at="240h"),
              Case("a killed run before one that ended",
                   _unfinished("100000x5 0x50") | _runs(success=300000), at="240h"))),
    Alert("SkatraDriftHigh", "warning",
          "(skatra:prediction_probability:psi5m > 0.25 and on (job, model) sum by (job, "
          "model) (increase(skatra_prediction_probability_count[5m])) > 500) or "
          "skatra:prediction_probability:psi90d > 0.25", "10m",
          "Predictions no longer look like those of training.",
          "Population stability index of {{ $labels.model }} is {{ $value | humanize }} "
          "over more than 500 rows of five minutes, or 150 of 90 days.",
          "'Drift of features' names the ones that moved, in the last hour where that "
          f"had {ENOUGH} rows, and in 90 days. A data fault (units, missing "
          "values) is likelier than a new market. Retrain once it is understood. Rows "
          "that predecessors of the champion predicted in those 90 days count, too. Of "
          "several processes each is compared with the training of the model it serves.",
          {'skatra:prediction_probability:psi5m{job="skatra",model="m"}': "0.5x40",
           f'skatra_prediction_probability_count{{{L},model="m"}}': "0+200x40"},
          {'skatra:prediction_probability:psi5m{job="skatra",model="m"}': "0.5x40",
           f'skatra_prediction_probability_count{{{L},model="m"}}': "0+20x40"},
          at="30m", labels=M, also=(
              Case("three daily symbols that drift", _probabilities(0, 3), at="1440h",
                   shown="4.604"),
              Case("one daily symbol, too few to tell", _probabilities(0, 1),
                   at="1440h"),
              Case("three daily symbols as in training", _probabilities(1.4, 1.6),
                   at="1440h"),
              Case("two processes with a model each, as in their training",
                   _served("a", 0.9) | _served("b", 0.1), at="35m", step="1m"))),
    Alert("SkatraCalibrationWorseThanBaseRate", "warning",
          f"{_badly_calibrated('1d', 200, 0.01)} or {_badly_calibrated('90d', 150, 0.02)}",
          "10m",
          "Probabilities are worse than always saying the base rate.",
          "The Brier score of {{ $labels.model }} is {{ $value | humanize }} over more "
          "than 200 settled predictions of a day, or 150 of 90 days.",
          "Stakes follow probabilities: lower kelly_multiplier now. Recalibrate "
          "(calibration='sigmoid' under a purged cv) or go back a version.",
          _calibration("0+5x60", "0+5x60", "0+4x60"),
          _calibration("0+5x60", "0+5x60", "0+2x60"), at="50m", labels=M, also=(
              Case("three daily bets, badly said", _settles(3, 1.5, 1.5, 1.2),
                   at="1440h", shown="400m"),
              Case("three daily bets, said well", _settles(3, 1.5, 1.5, 0.6),
                   at="1440h"),
              Case("one daily bet, too few to tell", _settles(1, 0.5, 0.5, 0.4),
                   at="1440h"))),
    Alert("SkatraWinRateBelowExpected", "warning",
          f"{_below_expected('1d', 200)} or {_below_expected('90d', 150)}", "10m",
          "Fewer predictions win than the model says.",
          "{{ $labels.model }} wins {{ $value | humanize }} standard errors less often "
          "than its probabilities say, over more than 200 settled predictions of a day, "
          "or 150 of 90 days.",
          "Chance alone does this once in 700 looks, and more often where bets overlap "
          "(the same days decide several). Compare 'Calibration gap by "
          "probability' with the last validation; halve stakes until it is understood.",
          _calibration("0+3x60", "0+6x60", "0+2x60"),
          _calibration("0+6x60", "0+6x60", "0+2x60"), at="50m", labels=M, also=(
              Case("three daily bets, fewer won", _settles(3, 1, 1.5, 0.6),
                   at="1440h", shown="4.472"),
              Case("three daily bets, won as said", _settles(3, 1.5, 1.5, 0.6),
                   at="1440h"),
              Case("one daily bet, too few to tell", _settles(1, 0.2, 0.5, 0.2),
                   at="1440h"))),
    Alert("SkatraDataStale", "warning",
          "time() - max by (job, instance, database) "
          '(skatra_db_latest_event_timestamp_seconds{table="bars"}) > 6 * 86400', "1h",
          "No new bars have arrived.",
          "The newest bar of {{ $labels.database }} is {{ $value | humanizeDuration }} "
          "old (six days allow for Easter, whose Tuesday ends without a bar since "
          "Thursday's).",
          "Is the feed up? Run `skatra ingest` by hand. Bundled demo data are always "
          "old: silence the alert there.",
          _bars(-600000), _bars(-500000), at="90m", labels=D, also=(
              Case("the end of Easter Tuesday, by Thursday's bar", _bars(0), at="132h"),
              Case("a feed that ended", _bars(0), at="168h", shown="7d 0h 0m 0s"),
              _beside(_bars(0), _bars(500000), at="168h", shown="7d 0h 0m 0s"))),
    Alert("SkatraDiskFullSoon", "warning",
          "(predict_linear(skatra_db_filesystem_free_bytes[1d], 4 * 86400) < 0 and "
          f"skatra_db_filesystem_free_bytes < {20 << 30}) or "
          f"skatra_db_filesystem_free_bytes < {1 << 30}", "30m",
          "The database's disk is full, or will be within four days.",
          "The disk of {{ $labels.database }} has less than 1 GiB, or less than 20 and "
          "falling.",
          "`skatra db vacuum`, drop old feature sets, or enlarge the disk. Writes stop "
          "whole when it is full; nothing is lost.",
          _free("9000000000-3000000x400"), _free("9000000000x400"),
          at="395m", labels=D, also=(
              Case("a full disk that stays so", _free("9000000000 0x4"), at="48h",
                   shown=""),
              Case("a disk that always had a megabyte", _free("1000000x400"),
                   at="395m", shown="", step="1m"),
              Case("an hour's backup where there is room", _free(
                  "100000000000x400 100000000000-600000000x60 64000000000x60"),
                   at="500m", step="1m"),
              Case("an hour's backup on a small disk", _free(
                  "15000000000x400 15000000000-20000000x60 13800000000x60"),
                   at="500m", step="1m"))),
    Alert("SkatraWalNotCheckpointed", "warning",
          "skatra_db_wal_size_bytes > 268435456 and skatra_db_wal_size_bytes > 0.25 * "
          "skatra_db_size_bytes", "30m",
          "The write-ahead log keeps growing.",
          "The log of {{ $labels.database }} holds {{ $value | humanize1024 }}B.",
          "A reader never ends: the RuntimeWarning in the log names its line. Ending "
          "that process lets the log shrink.",
          {f'skatra_db_wal_size_bytes{{{L},database="d"}}': "300000000x60",
           f'skatra_db_size_bytes{{{L},database="d"}}': "400000000x60"},
          {f'skatra_db_wal_size_bytes{{{L},database="d"}}': "300000000x60",
           f'skatra_db_size_bytes{{{L},database="d"}}': "9000000000x60"},
          at="50m", labels=D),
    Alert("SkatraErrorsHigh", "warning",
          "sum by (job, component) (rate(skatra_errors_total[10m])) > 0.1", "5m",
          "A part of skatra keeps failing.",
          "{{ $labels.component }} raises {{ $value | humanize }} errors per second.",
          "'Errors by type' names them; the process' log has the messages.",
          {f'skatra_errors_total{{{L},component="datasets",error_type="E"}}': "0+30x40"},
          {f'skatra_errors_total{{{L},component="datasets",error_type="E"}}': "0+1x40"},
          at="30m", labels=(("component", "datasets"), ("job", "skatra"))),
    Alert("SkatraFileDescriptorsHigh", "warning",
          f"process_open_fds{{{JOB}}} / process_max_fds{{{JOB}}} > 0.8", "10m",
          "File descriptors run out.",
          "{{ $labels.instance }} uses {{ $value | humanizePercentage }} of them.",
          "`ls -l /proc/<pid>/fd` shows what they are: sockets, or database files "
          "opened without the pool.",
          {f"process_open_fds{{{L}}}": "900x40", f"process_max_fds{{{L}}}": "1000x40"},
          {f"process_open_fds{{{L}}}": "90x40", f"process_max_fds{{{L}}}": "1000x40"},
          at="30m"),
    Alert("SkatraScrapeSlow", "info", f"scrape_duration_seconds{{{JOB}}} > 1", "10m",
          "Scrapes are slow.",
          "A scrape of {{ $labels.instance }} takes {{ $value | humanizeDuration }}.",
          "More than 10,000 samples, or a process that keeps the interpreter busy.",
          {f"scrape_duration_seconds{{{L}}}": "2x40"},
          {f"scrape_duration_seconds{{{L}}}": "0.02x40"}, at="30m"),
    Alert("SkatraLabelsCapped", "info",
          "sum by (job, metric) (increase(skatra_exporter_dropped_label_values_total"
          "[1h])) > 0", "0m",
          "A label has more values than are kept apart.",
          "{{ $labels.metric }} folded {{ $value | humanize }} updates into 'other'.",
          "Are ids or dates used as names of models, strategies or symbols? Else split "
          "the process: caps are per process.",
          {f'skatra_exporter_dropped_label_values_total{{{L},metric="x"}}': "0x5 9x20"},
          {f'skatra_exporter_dropped_label_values_total{{{L},metric="x"}}': "0x30"},
          at="20m", labels=(("job", "skatra"), ("metric", "x"))),
)  # fmt: skip
