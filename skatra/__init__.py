"""Leak-free financial machine learning for scikit-learn.

Import what you need from the subpackages:

``skatra.model_selection``
    Purged cross-validation splitters and the leak audit.
``skatra.labeling``, ``skatra.features``, ``skatra.sample_weight``
    Labels with label times, features that never look ahead, uniqueness weights.
``skatra.sizing``, ``skatra.metrics``
    Kelly positions and the growth they earn.
``skatra.datasets``
    The pooled SQLite database and the dataset loader.
``skatra.retraining``
    Tune, validate, size, judge and publish a LightGBM model.
"""

__all__ = ["__version__"]

__version__ = "0.1.0.dev0"
