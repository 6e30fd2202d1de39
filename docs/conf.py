"""Sphinx configuration."""

import sys
import warnings
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

sys.path.insert(0, str(Path(__file__).parent))

import skatra

# A busy machine makes Dask remark on slow disks: not part of any page.
warnings.filterwarnings("ignore", module=r"distributed\.")

project = "skatra"
author = "the skatra developers"
copyright = "2026, the skatra developers"
version = release = skatra.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "matplotlib.sphinxext.plot_directive",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "benchmark_tables",
]
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "min_reported_time": 1e9,  # the same pages on every build
    "write_computation_times": False,
    "show_memory": False,
    "show_signature": False,
    "reference_url": {"skatra": None},
    "remove_config_comments": True,
}
autosummary_generate = ["api"]
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
exclude_patterns = ["_build", "_static", "_templates", "data", "examples"]
# Pictures are drawn by the code that stands above them.
plot_include_source = True
plot_html_show_source_link = False
plot_html_show_formats = False
plot_formats = [("png", 144)]
templates_path = ["_templates"]
nitpicky = False
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = "skatra"
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 5,
}
# Only the guide and the API have pages beside them to navigate.
html_sidebars = {
    page: []
    for page in ("benchmarks", "coming_from", "faq", "glossary", "install", "tour")
}
html_static_path = ["_static"]
html_css_files = ["math.css", "benchmarks.css", "phone.css"]
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "mathml"


def _inline_math(writer, node):
    writer.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def _block_math(writer, node):
    writer.body.append('<div class="formula">')
    writer.body.append(tex2mathml(node.astext(), as_block=True))
    writer.body.append("</div>")
    raise nodes.SkipNode


def _same_archives(app, _):
    """Give the examples' archives the same bytes on every build: no times of files."""
    for path in sorted(Path(app.outdir).glob("_downloads/*/*.zip")):
        with ZipFile(path) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
        with ZipFile(path, "w") as archive:
            for name, content in sorted(members.items()):
                archive.writestr(ZipInfo(name), content)


def _skip_mechanism(app, what, name, obj, skip, options):
    """Leave out what the pool's own parts call on each other."""
    del app, what, name, options
    place = getattr(getattr(obj, "fget", obj), "__module__", None)
    return True if place == "skatra.datasets._lending" else skip


def setup(app):
    """Write formulas as MathML, which browsers draw without any script."""
    app.add_html_math_renderer("mathml", (_inline_math, None), (_block_math, None))
    app.connect("build-finished", _same_archives)
    app.connect("autodoc-skip-member", _skip_mechanism)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
