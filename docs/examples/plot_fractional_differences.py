"""
Stationary, with some memory left
=================================

Returns have no memory of the price level; prices have nothing else. A fractional
difference of order d between 0 and 1 lies in between. ``FractionalDifference`` is a
transformer that looks only back.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skatra.datasets import load_index_bars
from skatra.features import FractionalDifference

close = np.log(load_index_bars().loc["SP500"][["close"]])

# %%
# The memory that is left: correlation with the log price; and the persistence that is
# gone: correlation of the series with itself one bar before.

orders = [0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0]
memory, persistence = [], []
for d in orders:
    series = pd.Series(
        np.asarray(FractionalDifference(d, width=250).fit_transform(close))[:, 0],
        index=close.index,
    ).dropna()
    memory.append(series.corr(close["close"]))
    persistence.append(series.autocorr(1))

# %%

figure, ax = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
ax.plot(orders, memory, "o-", color="#0072B2", label="correlation with the log price")
ax.plot(orders, persistence, "o-", color="#D55E00", label="autocorrelation at lag 1")
ax.axhline(0, color="0.4", linewidth=1)
ax.set(xlabel="order of the difference d", ylabel="correlation")
ax.legend(frameon=False)
plt.show()

# %%
# Both fall together, most of the way between d = 0.4 and 0.8: no order keeps
# the memory and loses the persistence. d chooses between them, and a purged search can
# tune it like any hyperparameter.
