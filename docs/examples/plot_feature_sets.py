"""
The feature set as a hyperparameter
===================================

``SQLiteDatasetLoader`` is a transformer whose ``X`` holds only keys: symbol and t0. It
joins the features from the database as they were known at t0. So a search can tune
which features are used, how many past rows of them, and how stale they may be.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn import config_context
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatra.datasets import Database, SQLiteDatasetLoader, load_dataset, make_edge_bars
from skatra.features import price_features
from skatra.labeling import daily_volatility, triple_barrier_labels
from skatra.model_selection import PurgedKFold

# %%
# A database with bars, features and labels.

folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "market.db")
bars = make_edge_bars(1500, edge=0.4)
width = daily_volatility(bars["close"]) * np.sqrt(5)
with Database(path, create=True) as db:
    db.write_features(price_features(bars), "base")
    db.write_labels(
        triple_barrier_labels(bars, target=width, max_holding=5), "five_days"
    )
    ds = load_dataset(db, label_set="five_days")

# %%
# ``X`` is a small frame of keys; the splitter sees it, the loader reads the rest.

# The first rows are left out, since delayed by days they have no features.

keys = ds.data.index.to_frame(index=False).iloc[5:]
label_times, y = ds.label_times.to_numpy()[5:], ds.target.to_numpy()[5:]
prices = [name for name in ds.feature_names if "volume" not in name]
volumes = [name for name in ds.feature_names if "volume" in name]

pipe = make_pipeline(
    SQLiteDatasetLoader(path), StandardScaler(), LogisticRegression(C=0.01)
)
grid = {
    "sqlitedatasetloader__columns": [prices, volumes, None],
    "sqlitedatasetloader__delay": ["0s", "1D", "5D"],
}
with config_context(enable_metadata_routing=True):
    search = GridSearchCV(pipe, grid, cv=PurgedKFold(5), scoring="roc_auc")
    search.fit(keys, y, label_times=np.column_stack([keys["t0"], label_times]))

# %%

names = {str(prices): "prices", str(volumes): "volume", "None": "all"}
figure, ax = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
delays = grid["sqlitedatasetloader__delay"]
for columns, color in zip(names, ["0.5", "#0072B2", "#D55E00"], strict=True):
    scores = [
        score
        for score, params in zip(
            search.cv_results_["mean_test_score"],
            search.cv_results_["params"],
            strict=True,
        )
        if str(params["sqlitedatasetloader__columns"]) == columns
    ]
    ax.plot(delays, scores, "o-", color=color, label=names[columns])
ax.axhline(0.5, color="0.4", linewidth=1)
ax.set(xlabel="how long before t0 a feature must be known", ylabel="AUC")
ax.legend(frameon=False, title="columns")
plt.show()
folder.cleanup()

# %%
# The edge sits in the volume, and it fades as the features grow stale: both found by a
# plain grid search that never loaded a feature matrix of its own.
