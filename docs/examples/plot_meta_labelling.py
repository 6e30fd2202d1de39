"""
Meta-labelling: when to follow a rule
=====================================

A primary rule gives the side; a second model learns when the rule pays, and Kelly turns
its probability into a stake. Here the rule is a moving-average cross on a series with a
planted edge in its volume, of which the rule knows nothing.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn import config_context
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatra.datasets import make_edge_bars
from skatra.features import price_features
from skatra.labeling import daily_volatility, meta_labels, triple_barrier_labels
from skatra.metrics import log_growth
from skatra.model_selection import PurgedKFold
from skatra.sizing import KellyClassifier

bars = make_edge_bars(2500, edge=0.3)
close = bars["close"]
cross = np.sign(close.rolling(10).mean() - close.rolling(50).mean())
side = cross[cross != 0].dropna().astype(int)

# %%
# The barriers follow the rule's side; ``ret`` is the return of following it, and the
# meta-label says whether that paid.

width = daily_volatility(close) * np.sqrt(5)
labels = meta_labels(
    triple_barrier_labels(
        bars, target=width, max_holding=5, events=side.index, side=side
    )
)
# What the volume says must be read in the direction of the rule.
features = price_features(bars)
rows = features.index.intersection(labels.index)
labels = labels.loc[rows]
X = features.loc[rows].mul(labels["side"], axis=0)

# %%
# Out-of-fold positions of the meta-model: long only, since 0 means "do not follow".

model = make_pipeline(
    StandardScaler(),
    KellyClassifier(
        LogisticRegression(C=0.01),
        calibration="sigmoid",
        cv=PurgedKFold(5, embargo="5D"),
        side="long",
    ),
)
with config_context(enable_metadata_routing=True):
    stake = cross_val_predict(
        model,
        X,
        labels["label"],
        cv=PurgedKFold(5, embargo="5D"),
        method="decision_function",
        params={"label_times": labels["t1"], "returns": labels["ret"]},
    )

# %%

size = np.abs(stake).mean()
always = np.full(len(stake), size)
figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
for name, position, color in (
    ("follow the rule always, with the same mean stake", always, "0.5"),
    ("follow it as the meta-model stakes", stake, "#0072B2"),
):
    growth = log_growth(position, labels["ret"]) * 100
    wealth = np.log1p(position * labels["ret"].to_numpy()).cumsum()
    ax.plot(wealth, color=color, label=f"{name}: {growth:+.2f} % a bet")
ax.set(xlabel="bet", ylabel="log growth, one bet after the other")
ax.legend(frameon=False, loc="upper left")
plt.show()

# %%
# At the same mean stake, knowing when to follow the rule more than doubles its growth.
# The meta-model can do so because the volume holds information that the rule lacks;
# without such information it could add nothing. Bets of five days overlap, so no
# account earns the sum: :func:`~skatra.metrics.position_path` follows them bar by bar.
