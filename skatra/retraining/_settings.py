"""Settings from a TOML file and from flags, each with where it came from."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from skatra.retraining._config import RetrainConfig

_PATHS = ("database", "models")
_DEFAULT = "default"
_NEEDED_BY: Mapping[str, Mapping[str, Any]] = {
    "early_stopping_fraction": {"early_stopping_rounds": 1},
    "scheduler_address": {"backend": "dask"},
}
"""What must be set for a setting to be valid, wherever that is set."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A config and the origin of every value; made by :func:`load_settings`.

    Attributes
    ----------
    config : RetrainConfig
    origins : dict of str
        Setting -> "default", "FILE:LINE" or what the caller calls its overrides.
    """

    config: RetrainConfig
    origins: Mapping[str, str]

    def to_toml(self) -> str:
        """Return the settings as TOML that gives the same config, with origins."""
        lines, tables = [], []
        for name, origin in self.origins.items():
            value = getattr(self.config, name)
            if isinstance(value, Mapping):
                tables.append(f"\n[{name}]  # {origin}")
                tables += [f"{key} = {_toml(item)}" for key, item in value.items()]
            elif value is None:
                lines.append(f"# {name} is not set  # {origin}")
            else:
                lines.append(f"{name} = {_toml(value)}  # {origin}")
        return "\n".join(lines + tables)


def load_settings(
    path: Path | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    defaults: Mapping[str, Any] | None = None,
    origin: str = "override",
) -> Settings:
    r"""Read a run's settings: defaults, then a TOML file, then overrides.

    Parameters
    ----------
    path : path-like, optional
        TOML whose keys are those of :class:`RetrainConfig`, at the top or in a table
        ``[retrain]``. Paths in it are relative to its folder.
    overrides : mapping, optional
        Values that win over the file.
    defaults : mapping, optional
        Values that win over the defaults of :class:`RetrainConfig` only.
    origin : str, default="override"
        What ``overrides`` are called in ``origins``.

    Returns
    -------
    Settings

    Raises
    ------
    ValueError
        If the file is no TOML, or a key or value is none of a config's; the message
        names the line.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skatra.retraining import load_settings
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "job.toml")
    ...     _ = file.write_text('database = "m.db"\nmodels = "models"\nn_splits = 3')
    ...     settings = load_settings(file, {"seed": 1}, origin="flag --seed")
    >>> settings.config.n_splits, settings.config.seed, settings.config.embargo
    (3, 1, '5D')
    >>> [settings.origins[n].split("/")[-1] for n in ("n_splits", "seed", "embargo")]
    ['job.toml:3', 'flag --seed', 'default']
    """
    known = [field.name for field in fields(RetrainConfig)]
    values: dict[str, Any] = dict(defaults or {})
    origins = dict.fromkeys(known, _DEFAULT)
    if path is not None:
        path = Path(path)
        for name, (value, line) in _read(path, known).items():
            values[name], origins[name] = value, f"{path}:{line}"
    for name, value in (overrides or {}).items():
        values[name] = value
        origins[name] = origin.format(name=name.replace("_", "-"))
    needed = {f.name for f in fields(RetrainConfig) if f.default is MISSING}
    needed &= set(_PATHS)
    if missing := sorted(needed - values.keys()):
        msg = (
            f"{' and '.join(missing)} must be given: on the command line, or in a file "
            "of settings (--config)."
        )
        raise ValueError(msg)
    return Settings(RetrainConfig(**values), origins)


def _read(path: Path, known: list[str]) -> dict[str, tuple[Any, int]]:
    """Return the values in a file with their lines."""
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path} is no TOML: {error}.") from error
    if isinstance(document.get("retrain"), dict):
        document = document["retrain"]
    if unknown := [name for name in document if name not in known]:
        where = ", ".join(f"{name} (line {_line(text, name)})" for name in unknown)
        msg = f"{path} has settings that do not exist: {where}. There are "
        raise ValueError(msg + f"{', '.join(known)}.")
    found = {}
    for name, value in document.items():
        line = _line(text, name)
        if name in _PATHS and isinstance(value, str):
            value = path.parent / value  # noqa: PLW2901 - the same value, resolved
        found[name] = value, line
        try:
            needed = _NEEDED_BY.get(name, {})
            RetrainConfig(**{"database": "", "models": "", **needed, name: value})
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}:{line}: {error}") from error
    return found


def _line(text: str, name: str) -> int:
    """Return the line on which a key or its table stands."""
    key = rf"['\"]?{re.escape(name)}['\"]?"
    found = re.search(
        rf"^[ \t]*(?:{key}[ \t]*[.=]|\[[ \t]*(?:retrain\.)?{key}[ \t]*[\].])",
        text,
        re.MULTILINE,
    )
    return 1 if found is None else text.count("\n", 0, found.start()) + 1


def _toml(value: Any) -> str:
    """Return a value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    text = str(value)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
