"""Laws of docstrings: whoever calls ``help`` needs nothing else."""

import importlib
import inspect
import pkgutil
import re

import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate

import skatra

# Presence, order and completeness of sections, of every parameter's type and meaning,
# and of every result's. Not asked for: See Also and an extended summary everywhere,
# sentence case of descriptions, and one type only on the first line of Returns.
HELD = {
    *("GL05", "GL06", "GL07", "GL08", "GL09", "GL10"),
    *("SS01", "SS02", "SS03", "SS04", "SS06"),
    *("PR01", "PR02", "PR03", "PR04", "PR05", "PR06", "PR07", "PR08", "PR09", "PR10"),
    *("RT01", "RT03", "YD01", "SA02", "SA03", "SA04"),
}
# The engine between a pool and its checkouts, inherited by the pool.
MECHANISM = {"skatra.datasets._lending"}


def public_objects():
    """Return every public class and function by its dotted name."""
    modules = ["skatra"] + [
        module.name
        for module in pkgutil.walk_packages(skatra.__path__, "skatra.")
        if not any(part.startswith("_") for part in module.name.split("."))
    ]
    found = {}
    for name in modules:
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", []):
            value = getattr(module, public)
            if inspect.isclass(value) or inspect.isfunction(value):
                found[f"{name}.{public}"] = value
    return found


def public_methods(owner):
    """Return what a class defines or takes from this package, by name."""
    names = {}
    for base in owner.__mro__:
        if not base.__module__.startswith("skatra") or base.__module__ in MECHANISM:
            continue
        for name, value in vars(base).items():
            kinds = (classmethod, staticmethod, property)
            if not name.startswith("_") and (
                inspect.isfunction(value) or isinstance(value, kinds)
            ):
                names.setdefault(name, value)
    return names


OBJECTS = public_objects()
DOTTED = sorted(
    {
        *OBJECTS,
        *(
            f"{name}.{method}"
            for name, value in OBJECTS.items()
            if inspect.isclass(value)
            for method in public_methods(value)
        ),
    }
)


def resolve(dotted):
    """Return the object of a dotted name."""
    owner = next(name for name in OBJECTS if f"{dotted}.".startswith(f"{name}."))
    value = OBJECTS[owner]
    for part in dotted.removeprefix(owner).split("."):
        value = getattr(value, part) if part else value
    return value


def described(doc, *sections):
    """Return the names that some sections describe."""
    return {
        name.strip().lstrip("*")
        for section in sections
        for entry in doc[section]
        for name in entry.name.split(",")
    }


def is_record(value):
    """Say whether a class is made by the package alone: an error or a result."""
    if not inspect.isclass(value):
        return False
    doc = NumpyDocString(inspect.getdoc(value))
    return (
        issubclass(value, BaseException)
        or getattr(value, "_is_protocol", False)
        or (bool(doc["Attributes"]) and not doc["Parameters"])
    )


def problems(dotted, docstring=None):
    """Return what a docstring lacks, as sentences."""
    value = resolve(dotted)
    doc = NumpyDocString(docstring or inspect.getdoc(value) or "")
    found = []
    for code, message in validate(dotted)["errors"] if docstring is None else []:
        if code not in HELD:
            continue
        if code == "PR01":
            missing = set(re.findall(r"'\*{0,2}(\w+)'", message))
            missing -= described(doc, "Parameters", "Attributes")
            if is_record(value):  # the package fills in what has no public name
                missing &= inspect.get_annotations(value).keys()
            if missing:
                found.append(f"not described: {sorted(missing)}")
            continue
        found.append(f"{code} {message}")
    if dotted in OBJECTS and not doc["Examples"] and not is_record(value):
        found.append("no example")
    found += undocumented_defaults(value, doc)
    found += arrays_without_shape(doc)
    return found


def undocumented_defaults(value, doc):
    """Return parameters with a default that their description does not give."""
    if not callable(value) or is_record(value):
        return []
    types = {
        name.strip().lstrip("*"): entry.type
        for entry in doc["Parameters"]
        for name in entry.name.split(",")
    }
    return [
        f"the default of {name} is not said: {types[name]!r}"
        for name, parameter in inspect.signature(value).parameters.items()
        if name in types
        and parameter.default is not inspect.Parameter.empty
        and not re.search(r"default|optional|ignored", types[name])
    ]


def arrays_without_shape(doc):
    """Return arrays and frames whose shape is left open."""
    found = []
    for section in ("Parameters", "Returns", "Attributes"):
        for entry in doc[section]:
            kind = entry.type or entry.name
            text = " ".join([kind, *entry.desc])
            known = (
                r"shape|broadcast|\bof (int|str|bool|float|ndarray)\b(?! *64)|length"
            )
            if re.search(r"\b(ndarray|array-like)\b", kind) and not re.search(
                known, text
            ):
                found.append(f"the shape of {entry.name} is not said: {kind!r}")
    return found


@pytest.mark.parametrize("dotted", DOTTED)
def test_help_alone_suffices(dotted):
    """Every public name says what it takes, gives and raises, and shows it."""
    assert problems(dotted) == []


def test_the_audit_finds_what_is_missing():
    """A docstring that lacks default, shape and example is not let through."""
    bare = """Split rows.

    Parameters
    ----------
    n_splits : int
        Number of folds.
    label_times : ndarray
        Label ends.
    """

    found = problems("skatra.model_selection.PurgedKFold", inspect.cleandoc(bare))

    assert [problem.split(":")[0] for problem in found] == [
        "no example",
        "the default of n_splits is not said",
        "the default of label_times is not said",
        "the shape of label_times is not said",
    ]


@pytest.mark.parametrize(
    "name", [name for name in OBJECTS if name.startswith("skatra.model_selection.")]
)
def test_splitters_say_what_they_raise(name):
    """A splitter's help names the errors of its methods."""
    value = OBJECTS[name]
    if not hasattr(value, "get_n_splits"):
        assert not hasattr(value, "split")
        return

    assert NumpyDocString(inspect.getdoc(value.split))["Raises"]
