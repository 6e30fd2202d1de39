"""
The same search on a Dask cluster
=================================

Every search and path computation runs through joblib, so a real cluster runs it
unchanged: start workers anywhere, name the scheduler, and the result is the same.
"""

import logging

import matplotlib.pyplot as plt
import numpy as np
from distributed import Client, LocalCluster
from joblib import parallel_config
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatra.datasets import make_edge_bars
from skatra.features import price_features
from skatra.labeling import daily_volatility, triple_barrier_labels
from skatra.model_selection import CombinatorialPurgedKFold, cross_val_paths

bars = make_edge_bars(1200, edge=0.4)
width = daily_volatility(bars["close"]) * np.sqrt(5)
labels = triple_barrier_labels(bars, target=width, max_holding=5)
features = price_features(bars)
rows = features.index.intersection(labels.index)
X, y = features.loc[rows], labels["label"][rows]

cv = CombinatorialPurgedKFold(6, 2, label_times=labels["t1"][rows], embargo="5D")
model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
here = cross_val_paths(model, X, y, cv=cv, method="decision_function")

# %%
# Two worker processes on this machine; elsewhere ``Client("tcp://scheduler:8786")``.

if __name__ == "__main__":
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster),
        parallel_config("dask"),
    ):
        there = cross_val_paths(
            model, X, y, cv=cv, method="decision_function", n_jobs=2
        )
    print("largest difference:", np.abs(here.paths - there.paths).max())

    # %%

    figure, ax = plt.subplots(figsize=(4.2, 4), layout="constrained")
    ax.scatter(here.paths, there.paths, s=2, color="#0072B2")
    ax.set(xlabel="decisions, this process", ylabel="decisions, cluster")
    plt.show()

# %%
# Bit for bit the same paths: where the fits run changes nothing but the time.
