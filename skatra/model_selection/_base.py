"""What all purged splitters share."""

import warnings
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from copy import copy, deepcopy
from inspect import signature
from typing import Any, Self, TypeAlias

import numpy as np
import pandas as pd
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_consistent_length

from skatra.model_selection._label_times import resolve_label_intervals
from skatra.model_selection._pieces import Piece, RowTaker, count_kept
from skatra.model_selection._purge import Purger, Timeline
from skatra.model_selection._spans import check_span, resolve_span
from skatra.typing import IntArray, LabelTimesLike, Span, Split
from skatra.utils import HTMLRepr, LabelIntervals, observation

_CLOSED = ("both", "left")
_SCOPES = ("all", "groups")

Block: TypeAlias = tuple[int, int]
Plan: TypeAlias = Iterator[tuple[Sequence[Piece], Sequence[Piece]]]
"""Training and test rows of each split, as pieces of the timeline."""


class PurgedSplitter(HTMLRepr, BaseCrossValidator):
    """Base of the splitters that purge and embargo by label times.

    A subclass says in `_plan` which rows of the timeline are tested and trained on
    in each split, and stores its constructor's arguments under their names.
    """

    # Requested by default: users need no set_split_request.
    __metadata_request__split = {"label_times": True}  # noqa: RUF012

    label_times: "pd.Series[Any] | None"
    purge_gap: Span
    embargo: Span = 0
    closed: str

    @abstractmethod
    def _plan(self, purger: Purger, codes: IntArray | None) -> Plan:
        """Yield training and test pieces; `codes` numbers the groups of the rows."""

    @abstractmethod
    def _count_splits(self) -> int:
        """Return the number of splits, which needs no data."""

    @abstractmethod
    def _check_parameters(self) -> None:
        """Refuse parameters that mean nothing, when constructed and when splitting."""

    def _check_shared_parameters(self) -> None:
        """Refuse what no splitter takes."""
        check_own_label_times(self.label_times)
        check_options(self.purge_gap, self.embargo, self.closed)
        check_scope(getattr(self, "purge_scope", "all"))

    def _uses_groups(self) -> bool:
        return False

    def _no_training_rows(self, number: int, n_tested: int) -> str:
        """Say which split is left without training rows, and what to change."""
        return (
            f"Split {number} of {self!r} is left without training rows: its "
            f"{n_tested} test rows purge or embargo all the others. Shorten "
            "purge_gap, embargo or the labels, or use more rows."
        )

    def get_n_splits(
        self,
        X: Any = None,  # noqa: ARG002
        y: Any = None,  # noqa: ARG002
        groups: Any = None,  # noqa: ARG002
        label_times: "LabelTimesLike | None" = None,  # noqa: ARG002
    ) -> int:
        """Return the number of splits.

        Parameters
        ----------
        X, y, groups, label_times : object, default=None
            Ignored.

        Returns
        -------
        n_splits : int
            The same for any data.
        """
        return self._count_splits()

    def split(
        self,
        X: Any,
        y: Any = None,
        groups: Any = None,
        label_times: "LabelTimesLike | None" = None,
    ) -> Iterator[Split]:
        """Generate the row positions of training and test rows.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            The rows to split: frame, array, sparse matrix or list.

        y : array-like of shape (n,), default=None
            Ignored, apart from its length.

        groups : array-like of shape (n,), default=None
            The group of each row, where the splitter splits or purges by groups.
            Others ignore it with a warning.

        label_times : Series or array-like of shape (n_samples, 2), default=None
            One label per row, in the row order of X: a Series (index t0, values
            t1) or two columns (t0, t1). Datetimes, integers or floats.

        Yields
        ------
        train, test : ndarray of intp
            Sorted and disjoint row positions, possibly read-only views.

        Raises
        ------
        LabelTimesError
            If there are no label times and no positive `purge_gap`, or if they do
            not fit the rows of X.
        ValueError
            If there are too few distinct t0 or groups, or a split is left without
            training rows.
        """
        self._check_parameters()
        check_consistent_length(X, y, groups)
        if groups is not None and not self._uses_groups():
            warnings.warn(
                f"The groups parameter is ignored by {type(self).__name__}",
                UserWarning,
                stacklevel=2,
            )
        intervals = resolve_label_intervals(
            X,
            label_times,
            own=self.label_times,
            purge_gap=self.purge_gap,
            who=type(self).__name__,
        )
        codes = self._group_codes(groups) if self._uses_groups() else None
        purger = make_purger(intervals, self.purge_gap, self.embargo, self.closed)
        line = purger.timeline
        if codes is not None and line.order is not None:
            codes = codes[line.order]
        taker = RowTaker(line.n_rows, line.order)
        for number, (trained, tested) in enumerate(self._plan(purger, codes)):
            if not count_kept(trained):
                raise ValueError(self._no_training_rows(number, count_kept(tested)))
            if observation.observer is not None:
                n_train, n_test = count_kept(trained), count_kept(tested)
                observation.observer.fold_made(
                    type(self).__name__, n_train, n_test, line.n_rows - n_train - n_test
                )
            yield taker.take(trained), taker.take(tested)

    def get_metadata_routing(self) -> Any:
        """Return what is requested: label_times, and groups where they are used.

        Returns
        -------
        routing : MetadataRequest
            For scikit-learn's routers.
        """
        requests = super().get_metadata_routing()
        if self._uses_groups() and "groups" not in requests.split.requests:
            requests.split.add_request(param="groups", alias=True)
        return requests

    def _group_codes(self, groups: Any) -> IntArray:
        """Return the groups as numbers in sorted order."""
        if groups is None:
            raise ValueError(
                f"{type(self).__name__} needs the groups parameter, got None. Pass "
                "split(X, groups=...), e.g. the symbol of each row; with metadata "
                "routing on, searches pass on groups=... of their fit."
            )
        groups = np.asarray(groups)
        if groups.ndim != 1:
            raise ValueError(
                f"groups must be one-dimensional, one for each row, got shape "
                f"{groups.shape}."
            )
        codes: IntArray = pd.factorize(groups, sort=True)[0]
        missing = np.flatnonzero(codes < 0)
        if len(missing):
            raise ValueError(
                f"groups must not hold missing values; {len(missing)} of {len(codes)} "
                f"rows do, the first at positions {missing[:5].tolist()}."
            )
        return codes.astype(np.intp, copy=False)

    def __sklearn_clone__(self) -> Self:
        """Return an equal splitter; the label times, never changed, are shared."""
        twin = copy(self)
        for name, value in vars(self).items():
            if not isinstance(value, pd.Series):
                setattr(twin, name, deepcopy(value))
        return twin

    def _html_rows(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in signature(type(self)).parameters}

    def _html_summary(self) -> str:
        return ""

    def __repr__(self) -> str:
        """Return one line, however long the label times are."""
        shown = self._html_rows()
        parts = [
            f"{name}=<Series of {len(value)} rows>"
            if isinstance(value, pd.Series)
            else f"{name}={value!r}"
            for name, value in shown.items()
        ]
        return f"{type(self).__name__}({', '.join(parts)})"


class ScopedPurge:
    """Training rows of test blocks, purged by all rows or group by group."""

    def __init__(self, purger: Purger, codes: IntArray | None) -> None:
        self._purger = purger
        self._groups: list[tuple[IntArray, Purger]] = []
        if codes is not None:
            order = np.argsort(codes, kind="stable")
            borders = np.flatnonzero(np.diff(codes[order])) + 1
            self._groups = [
                (
                    entries,
                    Purger(
                        purger.timeline.subset(entries),
                        purger.purge_gap,
                        purger.embargo,
                        purger.closed,
                    ),
                )
                for entries in np.split(order, borders)
            ]

    def training(self, blocks: Sequence[Block]) -> list[Piece]:
        """Return all rows that are not tested, purged or embargoed."""
        if not self._groups:
            return self._purger.training(blocks)
        keep = np.zeros(self._purger.timeline.n_rows, dtype=np.bool_)
        for entries, purger in self._groups:
            own = [tuple(entries.searchsorted(block).tolist()) for block in blocks]
            for start, stop, kept in purger.training(own):
                rows = entries[start:stop]
                keep[rows if kept is None else rows[kept]] = True
        return [(0, len(keep), keep)]


def make_purger(
    intervals: LabelIntervals, purge_gap: Span, embargo: Span, closed: str
) -> Purger:
    """Put label intervals in time order and bring spans to their unit."""
    line = Timeline.from_intervals(intervals)
    scale: dict[str, Any] = {"unit": intervals.unit, "n_distinct": line.n_distinct}
    return Purger(
        line,
        resolve_span(purge_gap, "purge_gap", **scale),
        resolve_span(embargo, "embargo", **scale),
        closed,
        intervals.unit,
    )


def check_count(
    value: Any, name: str, *, least: int, problem: str | None = None
) -> None:
    """Refuse what is not an int of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(
            f"{name} must be an int of at least {least}, got {value!r} of type "
            f"{type(value).__name__}."
        )
    if value < least:
        raise ValueError(
            problem or f"{name} must be an int of at least {least}, got {value}."
        )


def check_folds(value: Any, name: str) -> None:
    """Refuse fewer than two folds, in scikit-learn's words."""
    problem = (
        "k-fold cross-validation requires at least one train/test split by "
        f"setting {name}=2 or more, got {name}={value}."
    )
    check_count(value, name, least=2, problem=problem)


def check_options(purge_gap: Span, embargo: Span, closed: str) -> None:
    """Refuse spans that mean nothing and intervals that are neither."""
    check_span(purge_gap, "purge_gap")
    check_span(embargo, "embargo")
    if closed not in _CLOSED:
        raise ValueError(f"closed must be 'both' or 'left', got {closed!r}.")


def check_scope(purge_scope: Any) -> None:
    """Refuse scopes other than all rows and groups."""
    if purge_scope not in _SCOPES:
        raise ValueError(f"purge_scope must be 'all' or 'groups', got {purge_scope!r}.")


def check_own_label_times(label_times: Any) -> None:
    """Refuse constructor label times that cannot be aligned by label."""
    if label_times is not None and not isinstance(label_times, pd.Series):
        raise TypeError(
            "label_times in the constructor must be a pandas Series, which is "
            f"aligned to X.index by label, got {type(label_times).__name__}. "
            "Pass arrays to split(X, label_times=...)."
        )


def fold_edges(line: Timeline, n_folds: int, name: str) -> list[int]:
    """Cut the timeline into folds, or say why it cannot be."""
    if n_folds > line.n_distinct:
        raise ValueError(
            f"Cannot have number of splits {name}={n_folds} greater than "
            f"the number of distinct t0: {line.n_distinct} (of {line.n_rows} rows)."
        )
    return line.fold_edges(int(n_folds))
