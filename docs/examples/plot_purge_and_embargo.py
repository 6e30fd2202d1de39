"""
Purging and embargo in pictures
===============================

``PurgedSplitDisplay`` draws what a splitter does with every row: train, test, purged
(its label overlaps a test label) and embargoed (it starts too soon after a test block).
"""

import matplotlib.pyplot as plt
import pandas as pd

from skatra.model_selection import (
    CombinatorialPurgedKFold,
    PurgedKFold,
    PurgedSplitDisplay,
    PurgedWalkForward,
    audit_splits,
)

days = pd.bdate_range("2023-01-02", periods=250)
X = pd.DataFrame({"x": range(230)}, index=days[:230])
label_times = pd.Series(days[20:], index=days[:230])  # each label looks 20 bars ahead

# %%
# Five purged folds. A test block in the middle is purged on both sides; the embargo
# follows the last label of the block.

cv = PurgedKFold(5, embargo="10D")
PurgedSplitDisplay.from_splitter(cv, X, label_times=label_times)
plt.show()

# %%
# The picture as numbers: nothing leaks, and only rows that had to go are gone.

audit_splits(cv, X, label_times=label_times)

# %%
# Walk-forward: training never lies after the test block, so it is purged on one side.

cv = PurgedWalkForward(5)
PurgedSplitDisplay.from_splitter(cv, X, label_times=label_times)
plt.show()

# %%
# Combinations of two test blocks out of six: each block is purged for itself, and rows
# between two blocks stay in training.

cv = CombinatorialPurgedKFold(6, 2, embargo="10D")
PurgedSplitDisplay.from_splitter(cv, X, label_times=label_times)
plt.show()

# %%
# Purging costs little: about one label's length on each side of a test block, and the
# embargo after it.
