"""Laws for anybody's splitter, in the manner of scikit-learn's estimator checks.

:func:`check_splitter` runs them all and :func:`parametrize_with_splitter_checks`
makes one pytest case of each. They need neither pytest nor Hypothesis. For
property tests of your own, :mod:`skatra.utils.strategies` draws label times.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from unittest import SkipTest

from skatra.exceptions import MissingDependencyError
from skatra.utils._splitter_data import SplitterCase
from skatra.utils._splitter_laws import LAWS
from skatra.utils._splitter_routing import ROUTING_LAWS

__all__ = [
    "CheckResult",
    "check_splitter",
    "parametrize_with_splitter_checks",
    "splitter_check_names",
]

ExpectedFailures: TypeAlias = "Mapping[str, str] | None"
_ALL = {law.__name__: law for law in (*LAWS, *ROUTING_LAWS)}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How a splitter did in one check.

    Attributes
    ----------
    check : str
        Name of the check.
    status : {"passed", "failed", "xfail", "skipped"}
        "xfail": failed, and was expected to.
    message : str
        What is wrong, or why it was skipped or expected to fail; empty if passed.
    """

    check: str
    status: str
    message: str = ""


def splitter_check_names() -> dict[str, str]:
    """Return the name of every check with the law it holds splitters to.

    Returns
    -------
    laws : dict of str to str
        One sentence for each check.

    Examples
    --------
    >>> from skatra.utils.splitter_checks import splitter_check_names
    >>> splitter_check_names()["check_no_leaking_pair"]
    'No training label overlaps a test label.'
    """
    return {name: str(law.__doc__).split("\n")[0] for name, law in _ALL.items()}


def check_splitter(
    splitter: Any,
    *,
    expected_failed_checks: ExpectedFailures = None,
    closed: str | None = None,
    times: str = "label_times",
    on_fail: str | None = "raise",
) -> list[CheckResult]:
    """Hold a cross-validation splitter to every law.

    The laws: index arrays of intp, sorted, in range, disjoint; deterministic; no
    training label overlaps a test label [1]_, on labels that overlap, nest, touch,
    have no length, leave gaps, share a t0, come as an unsorted panel, in any unit
    and time zone; rows in any order give the same splits; bad label times are
    refused; clone, pickle and repr work; and what GridSearchCV, alone and nested,
    really trains on leaks nothing. A splitter may refuse awkward rows with a
    ValueError or TypeError. It may not leak on them.

    Parameters
    ----------
    splitter : object with `split` and `get_n_splits`
        For about 240 daily rows. If `split` has a parameter `times`, label times
        are passed to it; groups are passed if metadata routing asks for them.

    expected_failed_checks : dict of str to str, default=None
        Names of checks that fail, each with the reason.

    closed : {"both", "left"}, default=None
        Whether labels that touch overlap. None takes the splitter's own `closed`,
        else "both".

    times : str, default="label_times"
        Parameter of `split` that takes label times as a Series (index t0, values
        t1).

    on_fail : {"raise"} or None, default="raise"
        None returns failures instead of raising.

    Returns
    -------
    results : list of CheckResult
        One per check.

    Raises
    ------
    AssertionError
        If a check fails that was not expected to; the message tells all that do.

    See Also
    --------
    parametrize_with_splitter_checks : One pytest case per check.

    References
    ----------
    .. [1] M. López de Prado, *Advances in Financial Machine Learning*, Wiley
       2018, section 7.4.1.

    Examples
    --------
    >>> from sklearn.model_selection import KFold
    >>> from skatra.utils.splitter_checks import check_splitter
    >>> results = check_splitter(KFold(4), on_fail=None)
    >>> [result.check for result in results if result.status == "failed"]
    ['check_no_leaking_pair', 'check_row_order_does_not_matter',
    'check_grid_search_sees_no_leak', 'check_nested_search_sees_no_leak']
    >>> print(results[8].message)
    split 0 of overlapping labels leaks: 12 pairs of training and test labels overlap
    (closed='both'), the first are row 60 [...] and row 54 [...]. Drop training rows
    with t0_i <= t1_j and t1_i >= t0_j.
    """
    case = _case(splitter, closed, times)
    if on_fail not in ("raise", None):
        raise ValueError(f"on_fail must be 'raise' or None, got {on_fail!r}.")
    expected = _known(expected_failed_checks)
    results = [_result(name, case, expected) for name in _ALL]
    failed = [result for result in results if result.status == "failed"]
    if failed and on_fail == "raise":
        lines = "\n".join(f"- {result.check}: {result.message}" for result in failed)
        raise AssertionError(
            f"{splitter!r} fails {len(failed)} of {len(results)} checks:\n{lines}"
        )
    return results


def parametrize_with_splitter_checks(
    splitters: Sequence[Any],
    *,
    expected_failed_checks: Callable[[Any], ExpectedFailures] | None = None,
    closed: str | None = None,
    times: str = "label_times",
) -> Any:
    """Make one pytest case of each splitter and check.

    Parameters
    ----------
    splitters : sequence of splitters
        As for :func:`check_splitter`.

    expected_failed_checks : callable, default=None
        Takes a splitter and returns a dict of check names and reasons, or None.
        Those cases are marked xfail.

    closed : {"both", "left"}, default=None
        Whether labels that touch overlap. None takes the splitter's own `closed`, else
        "both".

    times : str, default="label_times"
        Parameter of `split` that takes label times as a Series (index t0, values t1).

    Returns
    -------
    decorator : pytest.MarkDecorator
        Passes `splitter` and `check` to the test, which calls ``check(splitter)``.

    Raises
    ------
    MissingDependencyError
        If pytest is not installed.

    See Also
    --------
    check_splitter : Run all checks at once, without pytest.

    Examples
    --------
    >>> from skatra.model_selection import PurgedKFold
    >>> from skatra.utils.splitter_checks import parametrize_with_splitter_checks
    >>> @parametrize_with_splitter_checks([PurgedKFold(5, embargo="2D")])
    ... def test_my_splitters(splitter, check):
    ...     check(splitter)
    """
    try:
        import pytest
    except ImportError as error:
        msg = (
            "parametrize_with_splitter_checks needs pytest. Install skatra[test], or "
            "call check_splitter."
        )
        raise MissingDependencyError(msg) from error
    cases = []
    for splitter in splitters:
        ask = expected_failed_checks
        expected = _known(ask(splitter) if ask is not None else None)
        for name in _ALL:
            reason = expected.get(name)
            marks = [] if reason is None else [pytest.mark.xfail(reason=reason)]
            check = _Check(name, closed, times)
            label = f"{splitter!r}-{name}"
            cases.append(pytest.param(splitter, check, id=label, marks=marks))
    return pytest.mark.parametrize(("splitter", "check"), cases)


@dataclass(frozen=True, slots=True)
class _Check:
    """One check as a function of a splitter."""

    name: str
    closed: str | None
    times: str

    def __call__(self, splitter: Any) -> None:
        _ALL[self.name](_case(splitter, self.closed, self.times))


def _case(splitter: Any, closed: str | None, times: str) -> SplitterCase:
    methods = ("split", "get_n_splits")
    if isinstance(splitter, type) or not all(hasattr(splitter, m) for m in methods):
        raise TypeError(
            "splitter must be an instance with split and get_n_splits, got "
            f"{splitter!r}. Construct it first, e.g. KFold(5)."
        )
    closed = getattr(splitter, "closed", "both") if closed is None else closed
    if closed not in ("both", "left"):
        raise ValueError(f"closed must be 'both' or 'left', got {closed!r}.")
    return SplitterCase(splitter, closed, times)


def _known(expected: ExpectedFailures) -> Mapping[str, str]:
    unknown = sorted(set(expected or {}) - set(_ALL))
    if unknown:
        raise ValueError(
            f"expected_failed_checks names {unknown}, which are no checks. See "
            "splitter_check_names()."
        )
    return expected or {}


def _result(name: str, case: SplitterCase, expected: Mapping[str, str]) -> CheckResult:
    try:
        _ALL[name](case)
    except SkipTest as reason:
        return CheckResult(name, "skipped", str(reason))
    except Exception as error:  # noqa: BLE001 - any error is a failure to report
        if name in expected:
            return CheckResult(name, "xfail", expected[name])
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        return CheckResult(name, "failed", f"{kind}{error}")
    return CheckResult(name, "passed")
