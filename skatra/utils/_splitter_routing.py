"""What estimators see when scikit-learn's searches use a splitter."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Self

import numpy as np
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.model_selection import GridSearchCV, cross_validate

from skatra.utils._splitter_data import LabelledRows, SplitterCase, plain_rows

_MAX_NESTED = 8


class _RowRecorder(ClassifierMixin, BaseEstimator):
    """Records the rows of each fit next to those it is scored on."""

    seen: ClassVar[list[tuple[Any, Any]]] = []

    def __init__(self, depth: int = 1) -> None:
        self.depth = depth

    def fit(self, X: Any, y: Any) -> Self:
        """Remember the training rows."""
        self.classes_ = np.unique(y)
        self.rows_ = _row_numbers(X)
        return self

    def predict(self, X: Any) -> Any:
        """Record the rows to predict."""
        _RowRecorder.seen.append((self.rows_, _row_numbers(X)))
        return np.zeros(len(X), dtype=np.int64)


def check_grid_search_sees_no_leak(case: SplitterCase) -> None:
    """GridSearchCV with metadata routing trains on the splitter's own splits."""
    data = plain_rows()
    expected = case.split(data)
    for X in (data.X, data.X.to_numpy()):
        if X is not data.X and not case.takes_times:
            continue
        with _recording() as seen:
            _search(case.splitter).fit(X, data.y, **case.metadata(data))
        _require_no_leak(case, data, seen, "GridSearchCV")
        got = {(tuple(train), tuple(test)) for train, test in seen}
        wanted = {(tuple(train), tuple(test)) for train, test in expected}
        if got != wanted:
            raise AssertionError(
                f"GridSearchCV on {type(X).__name__} trained and tested on other rows "
                "than split() yields."
            )


def check_nested_search_sees_no_leak(case: SplitterCase) -> None:
    """Neither outer nor inner folds of a search inside cross_validate leak."""
    data = plain_rows()
    splits = case.split(data)
    with _recording() as seen:
        if len(splits) <= _MAX_NESTED:
            cross_validate(
                _search(case.splitter),
                data.X,
                data.y,
                cv=case.splitter,
                params=case.metadata(data),
                error_score="raise",
            )
        else:
            for train, _ in splits[:2]:
                inside = data.take(np.asarray(train))
                search = _search(case.splitter)
                search.fit(inside.X, inside.y, **case.metadata(inside))
    _require_no_leak(case, data, seen, "a search inside cross_validate")


ROUTING_LAWS: tuple[Callable[[SplitterCase], None], ...] = (
    check_grid_search_sees_no_leak,
    check_nested_search_sees_no_leak,
)


def _search(splitter: Any) -> GridSearchCV:
    return GridSearchCV(
        _RowRecorder(), {"depth": [1]}, cv=splitter, refit=True, error_score="raise"
    )


def _row_numbers(X: Any) -> Any:
    return np.asarray(X)[:, 0].astype(np.intp)


@contextlib.contextmanager
def _recording() -> Iterator[list[tuple[Any, Any]]]:
    """Turn routing on and collect what recorders see; say what routing lacks."""
    _RowRecorder.seen.clear()
    try:
        with sklearn.config_context(enable_metadata_routing=True):
            yield _RowRecorder.seen
    except UnsetMetadataPassedError as error:
        raise AssertionError(
            "scikit-learn's metadata routing does not know that split wants label "
            "times: write __metadata_request__split = {'label_times': True} in the "
            f"class body. ({str(error).splitlines()[0]})"
        ) from error
    except TypeError as error:
        raise AssertionError(
            "a search could not pass label times on; split and get_n_splits must both "
            f"take (X, y=None, groups=None, label_times=None): {error}"
        ) from error


def _require_no_leak(
    case: SplitterCase, data: LabelledRows, seen: list[tuple[Any, Any]], where: str
) -> None:
    if not seen:
        raise AssertionError(f"{where} scored nothing.")
    for train, test in seen:
        pairs = np.argwhere(data.overlaps(train, test, case.closed))
        if len(pairs):
            i, j = train[pairs[0, 0]], test[pairs[0, 1]]
            raise AssertionError(
                f"{where} trained on {len(pairs)} pairs of overlapping labels in one "
                f"fold, e.g. row {i} with test row {j}."
            )
