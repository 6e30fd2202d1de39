"""
Not one backtest but many: combinatorial paths
==============================================

A backtest is one draw. Combinatorial purged cross-validation makes C(N - 1, k - 1)
backtest paths from the same rows, each predicting every row once, out of sample.
``cross_val_paths`` fits each split once and returns them all.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatra.datasets import load_index_bars, make_edge_bars
from skatra.features import price_features
from skatra.labeling import daily_volatility, triple_barrier_labels
from skatra.model_selection import CombinatorialPurgedKFold, cross_val_paths

model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))


def equity_of_paths(bars):
    """Log growth of every path, a tenth on the likelier side, summed, (n, paths)."""
    width = daily_volatility(bars["close"]) * np.sqrt(10)
    labels = triple_barrier_labels(bars, target=width, max_holding=10)
    features = price_features(bars)
    rows = features.index.intersection(labels.index)
    X, labels = features.loc[rows], labels.loc[rows]
    paths = cross_val_paths(
        model,
        X,
        labels["label"],
        cv=CombinatorialPurgedKFold(8, 2, label_times=labels["t1"], embargo="5D"),
    ).to_frame()
    gains = 0.1 * paths.to_numpy() * labels["ret"].to_numpy()[:, None]
    return rows.get_level_values(-1), np.log1p(gains).cumsum(axis=0)


# %%
# The S&P 500, on which these features hold no edge, beside a series with a planted one.

cases = {
    "S&P 500": load_index_bars().loc[["SP500"]],
    "planted edge": make_edge_bars(2500, edge=0.25),
}
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
shares = {}
for ax, (name, bars) in zip(axes, cases.items(), strict=True):
    times, wealth = equity_of_paths(bars)
    ax.plot(times, wealth, color="#0072B2", alpha=0.5, linewidth=1)
    ax.axhline(0, color="0.4", linewidth=1)
    shares[name] = np.mean(wealth[-1] > 0)
    ax.set(title=f"{name}: {shares[name]:.0%} of {wealth.shape[1]} paths gain")
    ax.set_ylabel("sum of log growth over bets")
    ax.tick_params(axis="x", rotation=30)
plt.show()

# %%
# Ten days' bets overlap, and no account earns their sum: the lines say how the paths
# differ, :func:`~skatra.metrics.path_metrics` what each would have earned by time.
#
# The fan is the answer that one line hides: without an edge some paths still rise, and
# any one of them could have been "the backtest"; with an edge they rise together.
