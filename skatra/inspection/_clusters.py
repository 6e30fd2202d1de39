"""Features that say the same."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.special import ndtri
from sklearn.metrics import silhouette_score


def feature_clusters(X: Any, *, n_clusters: int | None = None) -> dict[str, list[Any]]:
    """Group features by how strongly they are correlated, of either sign.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (n_samples, n_features)
        Training rows; no labels are looked at.
    n_clusters : int, default=None
        None: the number with the best silhouette between 2 and n_features - 1, the
        largest of equals; correlations that independent rows show by chance count
        as 0. Where no silhouette is above 0 (2 features, all alike, or none related)
        features correlated beyond 0.5 are joined and the others are alone.

    Returns
    -------
    dict of str to list
        "cluster_0", "cluster_1", ... by the first of their columns; column names, or
        positions for an array. Every column is in exactly one cluster.

    Raises
    ------
    ValueError
        If X has no columns or fewer than 2 rows, or n_clusters is out of range.

    See Also
    --------
    mean_decrease_importance : Takes the clusters.

    Notes
    -----
    Average linkage on 1 - abs(Spearman correlation), from scipy; a column that does
    not vary is far from all others. After M. López de Prado, Machine Learning for
    Asset Managers (2020), chapter 4, with a hierarchy, which is the same at every
    run, in place of k-means. Chance is judged at 5 % over all pairs (Bonferroni);
    features that move slowly pass it more often. It sees no dependence that ranks do
    not show.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skatra.inspection import feature_clusters
    >>> rng = np.random.default_rng(0)
    >>> one, two = rng.normal(size=(2, 200))
    >>> X = pd.DataFrame({"a": one, "b": -one + 0.1 * two, "c": two, "d": two**3})
    >>> feature_clusters(X)
    {'cluster_0': ['a', 'b'], 'cluster_1': ['c', 'd']}
    """
    frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(np.asarray(X))
    n_features = frame.shape[1]
    if not n_features or len(frame) < 2:
        msg = f"X must hold at least one column and 2 rows, got shape {frame.shape}."
        raise ValueError(msg)
    if n_clusters is not None and not 1 <= n_clusters <= n_features:
        msg = (
            f"n_clusters must be between 1 and the {n_features} features, got "
            f"{n_clusters!r}."
        )
        raise ValueError(msg)
    if n_features == 1:
        groups: Any = np.zeros(1)
    else:
        related = np.abs(frame.corr(method="spearman").fillna(0.0).to_numpy())
        distance = np.clip(1.0 - (related + related.T) / 2, 0.0, 1.0)
        np.fill_diagonal(distance, 0.0)
        if n_clusters is None:
            pairs = n_features * (n_features - 1) / 2
            chance = -ndtri(0.025 / pairs) / np.sqrt(len(frame) - 1)
            distance[distance > 1.0 - chance] = 1.0
            np.fill_diagonal(distance, 0.0)
        tree = linkage(squareform(distance, checks=False), method="average")
        if n_clusters is None:
            groups = _best_groups(tree, distance)
        else:
            groups = fcluster(tree, n_clusters, criterion="maxclust")
    clusters: dict[Any, list[Any]] = {}
    for group, column in zip(groups, frame.columns, strict=True):
        clusters.setdefault(group, []).append(column)
    return {f"cluster_{k}": columns for k, columns in enumerate(clusters.values())}


def _best_groups(tree: Any, distance: Any) -> Any:
    """Return the groups with the best silhouette."""
    n_features = len(distance)
    best, best_score = fcluster(tree, 0.5, criterion="distance"), 0.0
    for number in range(n_features - 1, 1, -1):
        groups = fcluster(tree, number, criterion="maxclust")
        if not 2 <= len(np.unique(groups)) < n_features:
            continue
        score = silhouette_score(distance, groups, metric="precomputed")
        if score > best_score + 1e-12:
            best, best_score = groups, score
    return best
