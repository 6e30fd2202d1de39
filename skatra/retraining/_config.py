"""What a retraining run does, as one frozen object."""

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from skatra.retraining._bounds import GateBounds
from skatra.retraining._checks import check_waivers
from skatra.typing import Span

DEFAULT_GRID: Mapping[str, Sequence[Any]] = {
    "num_leaves": (7, 15),
    "min_child_samples": (50, 200),
    "reg_lambda": (0.0, 10.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainConfig:
    """Settings of :func:`retrain`.

    Parameters
    ----------
    database : path-like
        The SQLite database that holds the bars.
    models : path-like
        Folder in which models are published.
    symbols : sequence of str, optional
        Symbols to learn from; all by default.
    feature_set : str, default="base"
        "base" is computed from the bars; any other name must be stored.
    label_set : str, default="triple_barrier"
        "triple_barrier" is computed from the bars; any other name must be stored.
    max_holding : int, default=20
        Bars after which the time barrier closes a position.
    barrier_width : float, default=1.0
        Profit and stop barriers, in standard deviations of the return over
        ``max_holding`` bars.
    n_splits : int, default=5
        Folds of every purged cross-validation.
    embargo : span, default="5D"
        Span after each test block in which no training row may start.
    holdout : float, default=0.25
        Last share of the rows, in time, that only the gate sees.
    param_grid : mapping of str to sequence, optional
        LightGBM parameters to search; by default eight candidates.
    n_estimators : int, default=100
        Trees of every model; the most of them with early stopping.
    learning_rate : float, default=0.05
        Shrinkage of every model.
    early_stopping_rounds : int, default=0
        Trees without improvement of the log loss after which a model stops, on the
        last rows of its own training rows, purged and with ``embargo`` as the gap:
        :class:`PurgedEarlyStoppingClassifier` in every stage. 0 is no early stopping.
        Every fit then takes two, and candidates no longer share binned rows.
    early_stopping_fraction : float, default=0.15
        Share of the training rows, in time, that says when to stop.
    kelly_multiplier : float, default=0.25
        Share of full Kelly staked.
    side : {"both", "long", "short"}, default="both"
        Sides on which positions may be opened.
    max_position : float, default=1.0
        Largest absolute position, as a fraction of capital.
    cost : float, default=0.0002
        Cost of turning over one unit of capital once (0.0002 is 2 basis points).
    gate : GateBounds or mapping, default=GateBounds()
        What the gate asks of the model; a mapping such as ``{"max_drawdown": 0.3}``
        leaves the other bounds at their defaults.
    n_paths : int, default=4
        Backtest paths of the tuned model on the development rows, at least; 0 for
        none.
    waive : sequence of str, default=()
        Data checks that are told and let pass; see :func:`check_data`.
    max_gap : time span, optional
        Longest time without a bar of a symbol; by default ten days, or ten times the
        symbol's median step.
    seed : int, default=7
        Seed of LightGBM, the shuffled folds and the bootstrap.
    n_jobs : int, default=1
        Threads or processes used, one fit each; -1 for every core. The figures do
        not depend on it.
    backend : {"threads", "processes", "dask"}, default="threads"
        Where every stage that fits models runs; the figures do not depend on it.
    scheduler_address : str, optional
        Dask scheduler, such as ``"tcp://host:8786"``; without one "dask" takes the
        ``distributed.Client`` that is current.

    Raises
    ------
    ValueError
        If a value is out of range; the message names the parameter.

    Examples
    --------
    >>> from skatra.retraining import RetrainConfig
    >>> config = RetrainConfig(database="market.db", models="models", n_splits=3)
    >>> config.n_splits, config.embargo
    (3, '5D')
    """

    database: Path | str
    models: Path | str
    symbols: Sequence[str] | None = None
    feature_set: str = "base"
    label_set: str = "triple_barrier"
    max_holding: int = 20
    barrier_width: float = 1.0
    n_splits: int = 5
    embargo: Span = "5D"
    holdout: float = 0.25
    param_grid: Mapping[str, Sequence[Any]] = field(
        default_factory=lambda: dict(DEFAULT_GRID)
    )
    n_estimators: int = 100
    learning_rate: float = 0.05
    early_stopping_rounds: int = 0
    early_stopping_fraction: float = 0.15
    kelly_multiplier: float = 0.25
    side: Literal["both", "long", "short"] = "both"
    max_position: float = 1.0
    cost: float = 0.0002
    gate: GateBounds = field(default_factory=GateBounds)
    n_paths: int = 4
    waive: Sequence[str] = ()
    max_gap: Any = None
    seed: int = 7
    n_jobs: int = 1
    backend: Literal["threads", "processes", "dask"] = "threads"
    scheduler_address: str | None = None

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        _check_kinds(self)
        _at_least("max_holding", self.max_holding, 1)
        _at_least("n_splits", self.n_splits, 2)
        _at_least("n_estimators", self.n_estimators, 1)
        _between("barrier_width", self.barrier_width, 0.0, float("inf"))
        _between("holdout", self.holdout, 0.0, 1.0)
        _at_least("early_stopping_rounds", self.early_stopping_rounds, 0)
        _between("early_stopping_fraction", self.early_stopping_fraction, 0.0, 1.0)
        if self.early_stopping_rounds == 0 and self.early_stopping_fraction != 0.15:
            msg = (
                "early_stopping_fraction says nothing while early_stopping_rounds is "
                f"0, got {self.early_stopping_fraction!r}. Set both, or neither."
            )
            raise ValueError(msg)
        _between("learning_rate", self.learning_rate, 0.0, float("inf"))
        multiplier = self.kelly_multiplier
        _within("kelly_multiplier", multiplier, lambda v: 0.0 < v <= 1.0, "in (0, 1]")
        _check_embargo(self.embargo)
        _between("max_position", self.max_position, 0.0, float("inf"))
        object.__setattr__(self, "gate", GateBounds.of(self.gate))
        _within("cost", self.cost, lambda v: 0.0 <= v < 1.0, "in [0, 1)")
        if self.side not in ("both", "long", "short"):
            msg = f"side must be 'both', 'long' or 'short', got {self.side!r}."
            raise ValueError(msg)
        _at_least("seed", self.seed, 0)
        _at_least("n_jobs", self.n_jobs, -(2**31))
        if self.n_jobs == 0:
            msg = "n_jobs must not be 0; use -1 for every core."
            raise ValueError(msg)
        _check_names("symbols", self.symbols)
        _check_grid(self.param_grid)
        _at_least("n_paths", self.n_paths, 0)
        check_waivers(self.waive)
        _check_gap(self.max_gap)
        if self.backend not in ("threads", "processes", "dask"):
            msg = (
                "backend must be 'threads', 'processes' or 'dask', got "
                f"{self.backend!r}."
            )
            raise ValueError(msg)
        address = self.scheduler_address
        valid = isinstance(address, str) and "://" in address
        if address is not None and not (valid and self.backend == "dask"):
            msg = (
                "scheduler_address must be an address such as 'tcp://host:8786' and "
                f"needs backend='dask', got {address!r} with {self.backend!r}."
            )
            raise ValueError(msg)
        built_in = self.label_set == "triple_barrier"
        if not built_in and (self.max_holding, self.barrier_width) != (20, 1.0):
            msg = (
                "max_holding and barrier_width make the label set 'triple_barrier' and "
                f"change nothing in {self.label_set!r}; leave them out."
            )
            raise ValueError(msg)

    @property
    def search_backend(self) -> str:
        """What :class:`PurgedLGBMSearchCV` takes as backend."""
        return self.scheduler_address or self.backend

    def to_dict(self) -> dict[str, Any]:
        """Return the settings that decide the result, ready for JSON.

        Paths, ``n_jobs`` and where models are fitted are left out: they do not change
        any figure.

        Returns
        -------
        dict
            Plain dicts, lists, numbers and strings; NaN and infinities are None.
        """
        skipped = {"database", "models", "n_jobs", "backend", "scheduler_address"}
        values = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in skipped
        }
        values["param_grid"] = {k: list(v) for k, v in self.param_grid.items()}
        values["symbols"] = None if self.symbols is None else list(self.symbols)
        values["gate"] = self.gate.to_dict()
        values["embargo"] = str(self.embargo)
        values["waive"] = sorted(self.waive)
        values["max_gap"] = None if self.max_gap is None else str(self.max_gap)
        return values


def _check_kinds(config: RetrainConfig) -> None:
    """Refuse paths, names and lists that are something else, as TOML can say."""
    for names, kind, wanted in (
        (("database", "models"), str | PathLike, "a path"),
        (("feature_set", "label_set"), str, "the name of a set"),
        (("waive",), list | tuple | set | frozenset, "a list of checks"),
    ):
        for name in names:
            value = getattr(config, name)
            if not isinstance(value, kind):
                msg = f"{name} must be {wanted}, got {value!r}."
                raise ValueError(msg)  # noqa: TRY004 - as of all settings


def as_span(value: Any) -> pd.Timedelta | None:
    """Return a time span with a unit; None for what is none, as is a bare number."""
    text = str(value).strip().lstrip("+-")
    with contextlib.suppress(ValueError):
        float(text)
        return None  # pandas would take nanoseconds
    with contextlib.suppress(ValueError, TypeError):
        return pd.Timedelta(value)
    return None


def _check_embargo(embargo: Any) -> None:
    if isinstance(embargo, int | float) and not isinstance(embargo, bool):
        valid = embargo >= 0 if isinstance(embargo, int) else 0.0 <= embargo < 1.0
    else:
        span = as_span(embargo)
        valid = span is not None and span >= pd.Timedelta(0)
    if not valid:
        msg = (
            "embargo must be a time span with a unit such as '5D', a count of distinct "
            f"t0 such as 5, or a share of them in [0, 1), got {embargo!r}."
        )
        raise ValueError(msg)


def _check_gap(max_gap: Any) -> None:
    if max_gap is None:
        return
    span = as_span(max_gap)
    if span is None or not span > pd.Timedelta(0):
        msg = f"max_gap must be a time span such as '10D' or None, got {max_gap!r}."
        raise ValueError(msg)


def _check_names(name: str, values: Any) -> None:
    if values is None:
        return
    if (
        isinstance(values, str)
        or not isinstance(values, Collection)
        or not all(isinstance(value, str) and value for value in values)
    ):
        msg = f"{name} must be a sequence of names such as ('SPX',), got {values!r}."
        raise ValueError(msg)
    if len(values) == 0:
        msg = f"{name} must name at least one symbol, got {values!r}; None means all."
        raise ValueError(msg)


def _check_grid(grid: Any) -> None:
    good = isinstance(grid, Mapping) and all(
        isinstance(values, list | tuple) and values for values in grid.values()
    )
    if not good or not grid:
        msg = (
            "param_grid must map LightGBM parameters to lists of values, as "
            f"{{'num_leaves': [7, 15]}}, got {grid!r}."
        )
        raise ValueError(msg)


def _at_least(name: str, value: Any, least: int) -> None:
    integral = isinstance(value, Integral) and not isinstance(value, bool)
    if not integral or value < least:
        msg = f"{name} must be an integer of at least {least}, got {value!r}."
        raise ValueError(msg)


def _between(name: str, value: Any, low: float, high: float) -> None:
    _within(
        name, value, lambda v: low < v < high, f"strictly between {low:g} and {high:g}"
    )


def _within(
    name: str, value: Any, good: Callable[[float], bool], requirement: str
) -> None:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not good(float(value)):
        msg = f"{name} must be a number {requirement}, got {value!r}."
        raise ValueError(msg)
