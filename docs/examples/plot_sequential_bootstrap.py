"""
Bagging when labels overlap
===========================

Bagging assumes rows that can be drawn independently. Overlapping labels are not: a
plain bootstrap draws the same few answers again and again. The sequential bootstrap
draws each label by what it would still add.
"""

import matplotlib.pyplot as plt
import numpy as np

from skatra.datasets import load_index_bars
from skatra.labeling import fixed_horizon_labels
from skatra.sample_weight import average_uniqueness, sequential_bootstrap

bars = load_index_bars().loc["SP500"].iloc[:1000]

# %%
# Mean uniqueness of the rows drawn, for labels of growing length: 1 means that no two
# of them share a bar.

lengths = [2, 5, 10, 20, 40]
found = {"plain bootstrap": [], "sequential bootstrap": []}
for length in lengths:
    label_times = fixed_horizon_labels(bars, horizon=length)["t1"]
    n = len(label_times)
    plain = np.random.default_rng(7).integers(n, size=n // length)
    drawn = sequential_bootstrap(label_times, n // length, random_state=7)
    for name, rows in zip(found, (plain, drawn), strict=True):
        found[name].append(average_uniqueness(label_times.iloc[rows]).mean())

# %%

figure, ax = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
for (name, values), color in zip(found.items(), ["#D55E00", "#0072B2"], strict=True):
    ax.plot(lengths, values, "o-", color=color, label=name)
ax.set(xlabel="label length [bars]", ylabel="mean uniqueness of the draw", ylim=(0, 1))
ax.legend(frameon=False)
plt.show()

# %%
# The sequential bootstrap wastes fewer draws on rows that share their answer;
# ``SequentialBootstrapBagging`` is the ensemble that draws this way.
