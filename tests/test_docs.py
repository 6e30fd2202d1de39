"""Laws of the documentation: complete, true and runnable."""

import doctest
import importlib
import pkgutil
import re
import tomllib
import warnings
from pathlib import Path

import pytest
import typer

import skatra
from skatra.cli._app import app
from skatra.features import PRICE_FEATURES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
GUIDES = sorted(DOCS.glob("*.rst"))
STATISTICS = ("labels", "weights", "trials", "importance")


def read(name):
    """Return the text of a page."""
    return (DOCS / name).read_text(encoding="utf-8")


def doctest_flags():
    """Return the option flags under which docstrings are run."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    names = settings["tool"]["pytest"]["ini_options"]["doctest_optionflags"]
    flags = 0
    for name in names:
        flags |= doctest.OPTIONFLAGS_BY_NAME[name]
    return flags


def public_names():
    """Return every name in the ``__all__`` of a public module, dotted."""
    modules = ["skatra"] + [
        module.name
        for module in pkgutil.walk_packages(skatra.__path__, "skatra.")
        if not any(part.startswith("_") for part in module.name.split("."))
    ]
    return {
        f"{module}.{name}"
        for module in modules
        for name in getattr(importlib.import_module(module), "__all__", [])
    }


def documented_names(text):
    """Return every name that an API page documents, dotted."""
    names, module, listing = set(), None, False
    for line in text.splitlines():
        directive = re.match(r"\.\. ([a-z]+):: *(\S*)", line)
        if directive:
            kind, argument = directive.groups()
            listing = kind == "autosummary"
            if kind == "currentmodule":
                module = argument
            elif kind == "data":
                names.add(f"{module}.{argument}")
        elif line and not line.startswith(" "):
            listing = False
        elif listing and re.fullmatch(r"   [A-Za-z_]\w*", line):
            names.add(f"{module}.{line.strip()}")
    return names


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_guides_run(guide, tmp_path, monkeypatch):
    """Every snippet prints what its page says it prints, without a warning."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = doctest.testfile(
            str(guide),
            module_relative=False,
            optionflags=doctest_flags(),
            encoding="utf-8",
        )

    assert result.failed == 0
    assert not list(tmp_path.iterdir())


def test_some_guides_have_snippets():
    """The pages that promise code show some."""
    for page in ("index", "tour", "splits", "kelly", "features", *STATISTICS):
        name = f"{page}.rst"
        assert doctest.DocTestParser().get_examples(read(name)), name


@pytest.mark.parametrize("page", STATISTICS)
def test_statistics_say_what_they_assume_and_where_they_fail(page):
    """Who says what a number answers says when not to trust it, and shows it."""
    sections = re.split(r"\n(?=[^\n]+\n-{3,}\n)", read(f"{page}.rst"))
    answering = [text for text in sections if "**What it answers.**" in text]

    assert answering
    for text in answering:
        assert "**Assumptions.**" in text, text[:60]
        _, failure = text.split("**Where it fails.**", 1)
        assert ">>>" in failure, text[:60]


def test_the_api_page_lists_every_public_name_and_no_other():
    """What can be imported is documented, and the other way round."""
    assert documented_names(read("api.rst")) == public_names()


def test_the_feature_table_is_the_code():
    """Names, order and formulas of the features are those of the package."""
    rows = re.findall(r"   \* - ``(\w+)``\n     - (.+)", read("features.rst"))

    assert rows == list(PRICE_FEATURES.items())


def shell_commands():
    """Return the skatra commands that the guides show."""
    text = "\n".join(guide.read_text(encoding="utf-8") for guide in GUIDES)
    return re.findall(r"^ +\$ skatra (.+)$", text, flags=re.MULTILINE)


@pytest.mark.parametrize("line", shell_commands())
def test_shown_commands_exist(line):
    """The command line takes what the guides type, options and all."""
    name, *arguments = line.split()
    commands = typer.main.get_command(app).commands

    commands[name].make_context(name, arguments)


def test_every_page_is_within_reach():
    """Each guide stands in the table of contents."""
    pages = read("index.rst") + read("guide.rst")
    contents = re.findall(r"^   (\w+)$", pages, flags=re.MULTILINE)

    assert sorted([*contents, "index"]) == [guide.stem for guide in GUIDES]


def test_pages_need_no_network():
    """No page loads an image, script or inventory from elsewhere."""
    for guide in GUIDES:
        text = guide.read_text(encoding="utf-8")
        assert not re.search(r"\.\. raw::", text), guide.name
        for picture in re.findall(r"\.\. (?:image|figure):: (\S+)", text):
            assert (guide.parent / picture).is_file(), f"{guide.name}: {picture}"
    assert "intersphinx" not in read("conf.py")
