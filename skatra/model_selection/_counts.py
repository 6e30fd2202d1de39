"""Numbers of combinations, without writing out those that nobody can run."""

from math import comb, lgamma, log, log10

_DIGITS = 30
_LARGEST_FLOAT_SIZE = 10**12


def capped_comb(n: int, k: int, cap: int = 10**_DIGITS) -> int:
    """Return C(n, k), or `cap` if that is less, in time that n does not lengthen."""
    if _least_log10(n, k) > log10(cap) + 1:
        return cap
    return min(comb(n, k), cap)


def written_comb(n: int, k: int) -> str:
    """Return C(n, k) in digits, or its size if nobody could read them."""
    number = capped_comb(n, k)
    if number < 10**_DIGITS:
        return f"{number:,}"
    return f"more than 10^{int(_least_log10(n, k))}"


def fewest_folds(n_paths: int, n_test_folds: int) -> int:
    """Return the least N > k with C(N-1, k-1) >= n_paths, for k of at least 2."""
    least = n_test_folds + 1
    if n_test_folds == 2:
        return max(least, n_paths + 1)
    most = least
    while not _has_paths(most, n_test_folds, n_paths):
        most *= 2
    while least < most:
        middle = (least + most) // 2
        if _has_paths(middle, n_test_folds, n_paths):
            most = middle
        else:
            least = middle + 1
    return least


def _has_paths(n_folds: int, n_test_folds: int, n_paths: int) -> bool:
    return capped_comb(n_folds - 1, n_test_folds - 1, n_paths) == n_paths


def _least_log10(n: int, k: int) -> float:
    """Return a bound that log10 C(n, k) exceeds, off by little where n is not vast."""
    k = min(k, n - k)
    if k <= 0:
        return 0.0
    if n > _LARGEST_FLOAT_SIZE:
        # (n / k)^k is less than C(n, k), and does not cancel as lgamma would.
        k = min(k, _LARGEST_FLOAT_SIZE)
        return k * (log10(n) - log10(k)) * (1 - 1e-12)
    size = (lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)) / log(10)
    return max(size - 1e-15 * lgamma(n + 1) * 4, 0.0)
