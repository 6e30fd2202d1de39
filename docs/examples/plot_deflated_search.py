"""
The best of 200 configurations
==============================

Try enough configurations on noise and one of them shines. ``overfitting_report`` reads
a finished search and says what the best of as many without skill would show;
``deflated_sharpe_ratio`` says it of the returns that the bets would have made.
"""

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import uniform
from sklearn import clone, config_context
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import RandomizedSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatra.datasets import load_index_bars
from skatra.features import price_features
from skatra.labeling import fixed_horizon_labels
from skatra.metrics import (
    deflated_sharpe_ratio,
    effective_number_of_trials,
    overfitting_report,
    probabilistic_sharpe_ratio,
    probability_of_backtest_overfitting,
    sharpe_ratio,
)
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
X, y, label_times = features.loc[rows], labels["label"][rows], labels["t1"][rows]
with config_context(enable_metadata_routing=True):
    search.fit(X, y, label_times=label_times)
print(fill(str(overfitting_report(search, reference=0.5)), 80))

# %%
# A score is not money. Let every configuration bet, out of fold, long or short by the
# sign of its decision, and hold each bet for the ten days of its label: on a day it
# holds the mean of its last ten bets.

moves = bars.loc["SP500", "close"].pct_change()


def daily_returns(params):
    """Return what the bets of one configuration earn from day to day."""
    with config_context(enable_metadata_routing=True):
        decision = cross_val_predict(
            clone(search.estimator).set_params(**params),
            X,
            y,
            cv=search.cv,
            method="decision_function",
            params={"label_times": label_times},
        )
    bets = pd.Series(np.sign(decision), index=X.index.get_level_values(1))
    held = bets.reindex(moves.index).rolling(10, min_periods=1).mean().fillna(0.0)
    return (held.shift(1) * moves).iloc[len(moves) - len(X) :]


returns = pd.DataFrame(
    {k: daily_returns(p) for k, p in enumerate(search.cv_results_["params"])}
)
ratios = returns.apply(sharpe_ratio)
best = returns[ratios.idxmax()]
independent = effective_number_of_trials(returns)
print(f"Sharpe ratio of the best, annual: {ratios.max() * np.sqrt(252):.2f}")
print(f"sure of an edge, as if never searched: {probabilistic_sharpe_ratio(best):.0%}")
print(f"200 configurations are as many as {independent:.1f} independent ones")
deflated = deflated_sharpe_ratio(best, independent, 1 / np.sqrt(len(best)))
print(f"sure of an edge, the best of so many (deflated): {deflated:.0%}")
print(fill(str(probability_of_backtest_overfitting(returns)), 80))

# %%

figure, ax = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
ax.hist(search.cv_results_["mean_test_score"], bins=30, color="#56B4E9")
ax.axvline(search.best_score_, color="#D55E00", label="the best")
ax.axvline(0.5, color="0.4", linewidth=1, label="no skill")
ax.set(xlabel="mean AUC over purged folds", ylabel="configurations")
ax.legend(frameon=False)
plt.show()

# %%
# The winner of 200 looks better than a coin, as the winner of 200 coins would. Of its
# returns one would be 96 % sure, had nobody searched; counting the search leaves 42 %,
# and purging alone says nothing of that.
