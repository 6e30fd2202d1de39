"""
Property-test a splitter of your own
====================================

``check_splitter`` runs the laws that skatra's own splitters are held to over random
label times: overlapping, nested, duplicated, panel, unsorted. Here it meets a splitter
as it is often copied: a walk-forward with a gap of rows.
"""

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.model_selection import TimeSeriesSplit

from skatra.model_selection import PurgedSplitDisplay, PurgedWalkForward, audit_splits
from skatra.utils.splitter_checks import check_splitter

# %%
# A gap counted in rows cannot know how long labels are.

copied = TimeSeriesSplit(3, gap=5)
for result in check_splitter(copied, on_fail=None):
    print(f"{result.status:>8}  {result.check}")

# %%
# skatra's walk-forward purges by the labels themselves.

for result in check_splitter(PurgedWalkForward(3), on_fail=None):
    print(f"{result.status:>8}  {result.check}")

# %%
# On labels of uneven length the copied splitter leaks, although its training blocks end
# five rows before the test block.

days = pd.bdate_range("2024-01-01", periods=160)
lives = [3 if i % 40 < 30 else 25 for i in range(120)]
label_times = pd.Series(
    [days[i + lives[i]] for i in range(120)], index=days[:120], name="t1"
)
X = label_times.to_frame()
print(audit_splits(copied, X, label_times=label_times).n_leaking_pairs, "leaking pairs")
PurgedSplitDisplay.from_splitter(copied, X, label_times=label_times)
plt.show()

# %%
# One call in a test suite (``parametrize_with_splitter_checks`` for pytest) finds what
# examples do not: the gap is right until one label is longer than it.
