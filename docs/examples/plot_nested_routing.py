"""
Nested cross-validation with metadata routing
=============================================

A search that reports the score of its own winner reports the luckiest of many. Nested
cross-validation scores the search itself: an outer splitter holds rows out, the search
tunes on the rest with an inner splitter. Both must be purged. With metadata routing the
label times are given once and reach both.
"""

import matplotlib.pyplot as plt
import numpy as np
from lightgbm import LGBMClassifier
from sklearn import config_context
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score

from skatra.datasets import make_edge_bars
from skatra.features import price_features
from skatra.labeling import daily_volatility, triple_barrier_labels
from skatra.model_selection import PurgedKFold

bars = make_edge_bars(1500, edge=0.4)
width = daily_volatility(bars["close"]) * np.sqrt(10)
labels = triple_barrier_labels(bars, target=width, max_holding=10)
features = price_features(bars)
rows = features.index.intersection(labels.index)
X, y, label_times = features.loc[rows], labels["label"][rows], labels["t1"][rows]

model = LGBMClassifier(n_estimators=30, n_jobs=1, verbose=-1, random_state=7)
grid = {"num_leaves": [3, 15], "min_child_samples": [5, 80]}

# %%
# Three ways to judge the same search. Only the last one is honest at both levels.


def judge(inner, outer):
    """Return the search's own best score and its nested score."""
    search = GridSearchCV(model, grid, cv=inner, scoring="roc_auc")
    purged = {"label_times": label_times}
    with config_context(enable_metadata_routing=True):
        asks = [isinstance(cv, PurgedKFold) for cv in (inner, outer)]
        own = search.fit(X, y, **(purged if asks[0] else {})).best_score_
        nested = cross_val_score(
            search,
            X,
            y,
            cv=outer,
            scoring="roc_auc",
            params=purged if any(asks) else {},
        ).mean()
    return own, nested


shuffled = KFold(4, shuffle=True, random_state=7)
purged = PurgedKFold(4, embargo="5D")
results = {
    "shuffled inside\nand outside": judge(shuffled, shuffled),
    "shuffled inside,\npurged outside": judge(shuffled, purged),
    "purged inside\nand outside": judge(purged, purged),
}

# %%

figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
place = np.arange(len(results))
own, nested = zip(*results.values(), strict=True)
ax.bar(place - 0.2, own, 0.38, color="#E69F00", label="score the search reports")
ax.bar(place + 0.2, nested, 0.38, color="#0072B2", label="nested score")
ax.axhline(0.5, color="0.4", linewidth=1)
ax.set(ylim=(0.4, 0.9), ylabel="AUC", xticks=place, xticklabels=results)
ax.legend(frameon=False)
plt.show()

# %%
# Nesting alone does not help: with shuffled folds outside, the nested score is as wrong
# as the search's own. Purged at both levels, the two agree.
