"""
The best of 200 configurations
==============================

Try enough configurations on noise and one of them shines. ``overfitting_report`` reads
a finished search and says what the best of as many without skill would show.
"""

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import uniform
from sklearn import config_context
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatra.datasets import load_index_bars
from skatra.features import price_features
from skatra.labeling import fixed_horizon_labels
from skatra.metrics import overfitting_report
from skatra.model_selection import PurgedKFold

bars = load_index_bars().loc[["SP500"]]
labels = fixed_horizon_labels(bars, horizon=10)
labels = labels[labels["label"] != 0]
features = price_features(bars)
rows = features.index.intersection(labels.index)

# %%
# A random search over 200 settings of a linear model, scored by AUC on purged folds.

search = RandomizedSearchCV(
    make_pipeline(
        StandardScaler(), SGDClassifier(loss="log_loss", max_iter=5, tol=None)
    ),
    {
        "sgdclassifier__alpha": 10 ** np.linspace(-4, -1, 400),
        "sgdclassifier__l1_ratio": uniform(0, 1),
        "sgdclassifier__penalty": ["elasticnet"],
        "sgdclassifier__random_state": range(1000),
    },
    n_iter=200,
    cv=PurgedKFold(6),
    scoring="roc_auc",
    random_state=7,
)
with config_context(enable_metadata_routing=True):
    search.fit(
        features.loc[rows], labels["label"][rows], label_times=labels["t1"][rows]
    )
print(fill(str(overfitting_report(search, reference=0.5)), 80))

# %%

figure, ax = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
ax.hist(search.cv_results_["mean_test_score"], bins=30, color="#56B4E9")
ax.axvline(search.best_score_, color="#D55E00", label="the best")
ax.axvline(0.5, color="0.4", linewidth=1, label="no skill")
ax.set(xlabel="mean AUC over purged folds", ylabel="configurations")
ax.legend(frameon=False)
plt.show()

# %%
# The winner of 200 looks better than a coin, as the winner of 200 coins would: the
# report says so in one sentence, and purging alone does not.
