"""
Watching a served model drift
=============================

A served model counts its probabilities by tenth. What a dashboard draws and an alert
compares is made of those counters alone, so that any window and any number of processes
give the same number. Here the market changes halfway, and the counters say so.

.. image:: /images/dashboard-predictions.png
   :alt: The dashboard's row of predictions: rows, times, failures, drift, calibration

That is the same watch in Grafana, over five minutes of ``skatra demo --live``; all rows
are in :doc:`/monitoring`.
"""

# sphinx_gallery_thumbnail_path = 'images/dashboard-predictions.png'  # noqa: ERA001
import matplotlib.pyplot as plt
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from skatra import monitoring
from skatra.datasets import make_edge_bars
from skatra.features import price_features
from skatra.labeling import daily_volatility, triple_barrier_labels
from skatra.model_selection import PurgedKFold
from skatra.sizing import KellyClassifier

bars = make_edge_bars(5200, edge=0.25)
labels = triple_barrier_labels(bars, target=daily_volatility(bars["close"]))
features = price_features(bars).dropna()[["return_1", "return_2", "return_5", "gap"]]
rows = features.index.intersection(labels.index)
X, labels = features.loc[rows], labels.loc[rows]
X, labels = X[labels["label"] != 0], labels[labels["label"] != 0]
y = labels["label"] > 0
train, live = slice(0, 2000), slice(2000, 5000)

# %%
# Training leaves a reference: out-of-fold probabilities under purged folds.

monitoring.enable(models=["champion"], strategies=["kelly"])
cv = PurgedKFold(5, embargo="5D")
folds = list(cv.split(X[train], label_times=labels["t1"][train]))
out_of_fold = cross_val_predict(
    LogisticRegression(), X[train], y[train], cv=folds, method="predict_proba"
)[:, 1]
model = KellyClassifier(LogisticRegression(), calibration=None)
model.fit(X[train], y[train], returns=labels["ret"][train])
monitoring.set_reference("champion", out_of_fold)


def counts(name):
    """Return the champion's bins of one family, as Prometheus would scrape them."""
    families = text_string_to_metric_families(monitoring.render())
    samples = [s for family in families for s in family.samples if s.name == name]
    found = {
        s.labels["bin"]: s.value for s in samples if s.labels["model"] == "champion"
    }
    return np.array([found[key] for key in sorted(found)])


# %%
# Live, 250 rows at a time. From row 1500 on, returns are four times what they would be.
# The index is that of the increase of the counters between two reads.

shocked = X[live].copy()
shocked.iloc[1500:] *= 4

reference = counts("skatra_prediction_probability_reference_bin_ratio")
seen, index = counts("skatra_prediction_probability_bin_total"), []
for start in range(0, len(shocked), 250):
    with monitoring.scope(model="champion", strategy="kelly"):
        model.predict_proba(shocked[start : start + 250])
    now = counts("skatra_prediction_probability_bin_total")
    index.append(monitoring.population_stability_index(now - seen, reference))
    seen = now
monitoring.disable()

# %%
# The alert ``SkatraDriftHigh`` compares with 0.25, over five minutes and 500 rows.

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.step(np.arange(len(index)) * 250, index, where="post", label="PSI of 250 rows")
axes.axhline(0.25, color="tab:red", linestyle="--", label="alert")
axes.axvline(1500, color="tab:gray", linestyle=":", label="the market changes")
axes.set(xlabel="rows served", ylabel="population stability index", yscale="log")
axes.legend()
plt.show()

# %%
# Before the change every window is below the line, after it every one far above.

print(f"before: at most {max(index[:6]):.2f}, after: at least {min(index[6:]):.2f}")
