"""Laws of the package's structure."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import skatra

ROOT = Path(skatra.__file__).parent
GROUND = {"exceptions", "typing"}
BOXES = {
    "datasets",
    "features",
    "inspection",
    "labeling",
    "metrics",
    "model_selection",
    "monitoring",
    "sample_weight",
    "sizing",
}
ALLOWED = {
    "exceptions": set(),
    "typing": set(),
    "utils": GROUND,
    **{box: GROUND | {"utils"} for box in BOXES},
    "retraining": GROUND | {"utils"} | BOXES,
    "cli": GROUND | {"utils", "retraining"} | BOXES,
    "__main__": {"cli"},
    "__init__": set(),
}
FILES = sorted(ROOT.rglob("*.py"))


def _home(path: Path) -> str:
    """Return the subpackage or top-level module that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _imported(path: Path) -> list[str]:
    """Return the dotted skatra modules that a file imports, names included."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in found if name.split(".")[0] == "skatra"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_follow_the_arrows(path):
    """A subpackage imports only what lies below it, and never another's insides."""
    home = _home(path)
    for name in _imported(path):
        parts = name.split(".")
        if len(parts) == 1 or parts[1] == "__version__":
            continue
        target = parts[1]
        if target == home:
            continue

        assert target in ALLOWED[home], f"{path} imports {name}"
        assert not any(part.startswith("_") for part in parts[2:]), (
            f"{path} reaches inside {target}: {name}"
        )


def test_modules_import_each_other_in_one_direction():
    """No circle of imports, not even one for the sake of types."""
    names = {
        ".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path
        for path in FILES
        if path.name != "__init__.py"
    }
    arrows = {
        name: {
            target
            for found in _imported(path)
            for target in (found, found.rpartition(".")[0])
            if target in names
        }
        for name, path in names.items()
    }
    list(TopologicalSorter(arrows).static_order())


def test_import_is_light():
    """``import skatra`` loads none of the heavy libraries."""
    code = (
        "import sys, skatra; "
        "print([m for m in ('lightgbm', 'matplotlib', 'prometheus_client', 'sqlite3', "
        "'_sqlite3', 'pandas', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


def test_public_names_exist_and_are_documented():
    """Every name in an ``__all__`` exists, is sorted there and has a docstring."""
    for module in pkgutil.walk_packages(skatra.__path__, "skatra."):
        if any(part.startswith("_") for part in module.name.split(".")):
            continue
        face = importlib.import_module(module.name)
        public = getattr(face, "__all__", [])
        for name in public:
            thing = getattr(face, name)
            if callable(thing) and not hasattr(thing, "__origin__"):
                assert thing.__doc__, f"{module.name}.{name} has no docstring"


def test_files_stay_small():
    """No source file exceeds 600 lines, and half of them stay under 200."""
    lengths = sorted(len(p.read_text(encoding="utf-8").splitlines()) for p in FILES)

    assert lengths[-1] <= 600
    assert lengths[len(lengths) // 2] < 200
