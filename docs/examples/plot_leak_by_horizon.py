"""
How much a shuffled KFold lies
==============================

The longer a label looks ahead, the more of its answer lies in its neighbours. Here the
same two models are scored on labels of four horizons, on 20 years of S&P 500 bars: by a
shuffled ``KFold``, which trains on those neighbours, and by ``PurgedKFold``, which does
not.
"""

import matplotlib.pyplot as plt
from lightgbm import LGBMClassifier
from sklearn import config_context
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatra.datasets import load_index_bars
from skatra.features import price_features
from skatra.labeling import fixed_horizon_labels
from skatra.model_selection import PurgedKFold

bars = load_index_bars().loc[["SP500"]]
features = price_features(bars)

models = {
    "LightGBM": LGBMClassifier(n_estimators=50, n_jobs=1, verbose=-1, random_state=7),
    "logistic regression": make_pipeline(StandardScaler(), LogisticRegression()),
}
horizons = [1, 5, 20, 60]

# %%
# Score each model under both splitters. ``label_times`` say when each label is known;
# with metadata routing they travel to the splitter.

scores = {}
for horizon in horizons:
    labels = fixed_horizon_labels(bars, horizon=horizon)
    labels = labels[labels["label"] != 0]
    rows = features.index.intersection(labels.index)
    X, y, label_times = features.loc[rows], labels["label"][rows], labels["t1"][rows]
    for name, model in models.items():
        shuffled = cross_val_score(
            model, X, y, cv=KFold(5, shuffle=True, random_state=7), scoring="roc_auc"
        )
        with config_context(enable_metadata_routing=True):
            purged = cross_val_score(
                model,
                X,
                y,
                cv=PurgedKFold(5, embargo="5D"),
                scoring="roc_auc",
                params={"label_times": label_times},
            )
        scores[name, horizon] = shuffled.mean(), purged.mean()

# %%
# The gap between the lines is the lie.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
for ax, name in zip(axes, models, strict=True):
    shuffled, purged = zip(*(scores[name, h] for h in horizons), strict=True)
    ax.plot(horizons, shuffled, "o-", color="#D55E00", label="KFold, shuffled")
    ax.plot(horizons, purged, "o-", color="#0072B2", label="PurgedKFold")
    ax.axhline(0.5, color="0.6", linewidth=1)
    ax.set(title=name, xlabel="label horizon [bars]", xscale="log")
    ax.set_xticks(horizons, horizons)
axes[0].set_ylabel("out-of-fold AUC")
axes[0].legend(frameon=False)
plt.show()

# %%
# A flexible model under shuffled folds "predicts" the 60-day direction of the S&P 500
# better the further it lies ahead, which is how a leak looks; purged, it predicts
# nothing. Below 0.5 is no edge upside down: twenty years hold some eighty labels of 60
# days that do not overlap, and an AUC from so few has a standard error of 0.06.
