"""What the splitters that people reach for leak on given labels."""

from typing import Any

import numpy as np
from sklearn.model_selection import KFold, TimeSeriesSplit

from skatra.model_selection._audit import SplitAudit, audit_splits
from skatra.model_selection._label_times import count_rows
from skatra.model_selection._split import PurgedKFold
from skatra.typing import Closed, LabelTimesLike, Span


def audit_usual_splitters(
    label_times: "LabelTimesLike",
    *,
    n_splits: int = 5,
    purge_gap: Span = 0,
    embargo: Span = 0,
    closed: Closed = "both",
) -> dict[str, SplitAudit]:
    """Count what KFold, TimeSeriesSplit and PurgedKFold leak on the same labels.

    Parameters
    ----------
    label_times : Series or array-like of shape (n_samples, 2)
        One label per row, in the row order that is split: a Series (index t0,
        values t1) or two columns (t0, t1).

    n_splits : int, default=5
        Number of splits of each.

    purge_gap : str, timedelta, int or float, default=0
        Extra distance required between training and test intervals, on both sides: a
        time span ("5D"), an int counting distinct t0, or a float in [0, 1) as a share
        of distinct t0, rounded up.

    embargo : str, timedelta, int or float, default=0
        Span after each test block's last t1 in which no training row may start. Same
        forms as `purge_gap`.

    closed : {"both", "left"}, default="both"
        "both": intervals [t0, t1] that touch overlap. "left": intervals [t0, t1) that
        touch do not. Also what counts as a leak.

    Returns
    -------
    audits : dict of str to SplitAudit
        By the names "KFold", "KFold(shuffle=True)", "TimeSeriesSplit" and
        "PurgedKFold". The shuffle's seed is 0.

    Raises
    ------
    LabelTimesError
        If the label times cannot be used.
    ValueError
        If there are too few rows for the splits.

    See Also
    --------
    audit_splits : One splitter of any kind.

    Examples
    --------
    >>> import numpy as np
    >>> from skatra.model_selection import audit_usual_splitters
    >>> t0 = np.arange(100)
    >>> label_times = np.column_stack([t0, t0 + 5])
    >>> audits = audit_usual_splitters(label_times, embargo=1)
    >>> for name, audit in audits.items():
    ...     print(f"{name:20} {audit.n_leaking_pairs:4}")
    KFold                 120
    KFold(shuffle=True)   786
    TimeSeriesSplit        75
    PurgedKFold             0
    """
    splitters: dict[str, Any] = {
        "KFold": KFold(n_splits),
        "KFold(shuffle=True)": KFold(n_splits, shuffle=True, random_state=0),
        "TimeSeriesSplit": TimeSeriesSplit(n_splits),
        "PurgedKFold": PurgedKFold(
            n_splits, purge_gap=purge_gap, embargo=embargo, closed=closed
        ),
    }
    rows = np.zeros((count_rows(label_times), 0))
    return {
        name: audit_splits(cv, rows, label_times=label_times, closed=closed)
        for name, cv in splitters.items()
    }
