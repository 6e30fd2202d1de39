"""Sphinx configuration."""

import skatra

project = "skatra"
author = "the skatra developers"
copyright = "2026, the skatra developers"
version = release = skatra.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
]
autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
exclude_patterns = ["_build", "data"]
nitpicky = False

html_theme = "pydata_sphinx_theme"
html_title = "skatra"
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False}
html_copy_source = False
html_show_sourcelink = False
