"""Settings from a TOML file, the environment and flags, each with its origin."""

import contextlib
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, get_args

from skatra.retraining._bounds import GateBounds
from skatra.retraining._config import RetrainConfig

ENVIRONMENT_PREFIX = "SKATRA_RETRAIN_"

_PATHS = ("database", "models")
_DEFAULT = "default"
_NEEDED_BY: Mapping[str, Mapping[str, Any]] = {
    "early_stopping_fraction": {"early_stopping_rounds": 1},
    "scheduler_address": {"backend": "dask"},
}
"""What must be set for a setting to be valid, wherever that is set."""
_TABLE = "gate"
_KINDS: dict[str, Any] = {field.name: field.type for field in fields(RetrainConfig)}
_KINDS |= {f"{_TABLE}.{field.name}": field.type for field in fields(GateBounds)}
_KNOWN = [name for name in _KINDS if name != _TABLE]


@dataclass(frozen=True, slots=True)
class Settings:
    """A config and the origin of every value; made by :func:`load_settings`.

    Attributes
    ----------
    config : RetrainConfig
    origins : dict of str
        Setting -> "default", ``"FILE:LINE"``, the variable's name or what the caller
        calls its overrides; bounds of the gate are "gate.NAME".
    """

    config: RetrainConfig
    origins: Mapping[str, str]

    def to_toml(self) -> str:
        """Return the settings as TOML that gives the same config, with origins.

        Returns
        -------
        str
            Lines of TOML; each ends with a comment that names the origin.
        """
        lines, tables = [], []
        bounds = [name for name in self.origins if "." in name]
        for name, origin in self.origins.items():
            if name in bounds:
                continue
            value = getattr(self.config, name)
            if isinstance(value, Mapping):
                tables.append(f"\n[{name}]  # {origin}")
                tables += [f"{key} = {_toml(item)}" for key, item in value.items()]
            elif value is None:
                lines.append(f"# {name} is not set  # {origin}")
            else:
                lines.append(f"{name} = {_toml(value)}  # {origin}")
        tables.append(f"\n[{_TABLE}]")
        for name in bounds:
            key = name.removeprefix(f"{_TABLE}.")
            value = getattr(self.config.gate, key)
            tables.append(f"{key} = {_toml(value)}  # {self.origins[name]}")
        return "\n".join(lines + tables)


def load_settings(
    path: Path | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
    origin: str = "override",
) -> Settings:
    r"""Read a run's settings: defaults, then a TOML file, the environment, overrides.

    Parameters
    ----------
    path : path-like, optional
        TOML whose keys are those of :class:`RetrainConfig`, at the top or in a table
        ``[retrain]``; the gate's bounds stand in a table ``[gate]``. Paths in it are
        relative to its folder.
    overrides : mapping, optional
        Values that win over file and environment; text is read as in the environment.
        Of "gate" only the bounds that it maps are overridden.
    environ : mapping of str to str, optional
        Such as ``os.environ``: ``SKATRA_RETRAIN_N_SPLITS`` is ``n_splits``,
        ``SKATRA_RETRAIN_GATE_MAX_DRAWDOWN`` the gate's ``max_drawdown``. Names are
        separated by commas, a grid is JSON, and an empty variable is not set. By
        default the environment is not asked.
    defaults : mapping, optional
        Values that win over the defaults of :class:`RetrainConfig` only.
    origin : str, default="override"
        What ``overrides`` are called in ``origins``.

    Returns
    -------
    Settings
        The config, and where each value came from.

    Raises
    ------
    ValueError
        If the file is no TOML, or a key, variable or value is none of a config's; the
        message names the line or the variable.
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
    ...     environ = {"SKATRA_RETRAIN_GATE_MAX_DRAWDOWN": "0.2"}
    ...     settings = load_settings(
    ...         file, {"seed": 1}, environ=environ, origin="flag --seed"
    ...     )
    >>> config, origins = settings.config, settings.origins
    >>> config.n_splits, config.gate.max_drawdown, config.seed, config.embargo
    (3, 0.2, 1, '5D')
    >>> [origins[n].split("/")[-1] for n in ("n_splits", "seed", "embargo")]
    ['job.toml:3', 'flag --seed', 'default']
    >>> origins["gate.max_drawdown"]
    'SKATRA_RETRAIN_GATE_MAX_DRAWDOWN'
    """
    origins = dict.fromkeys(_KNOWN, _DEFAULT)
    values: dict[str, Any] = dict(_flat(defaults or {}))
    if path is not None:
        for name, (value, line) in _read(Path(path)).items():
            values[name], origins[name] = value, f"{path}:{line}"
    for name, variable, text in _variables(environ or {}):
        values[name], origins[name] = _parsed(name, text), variable
    located = {name for name, said in origins.items() if said != _DEFAULT}
    for name, value in _flat(overrides or {}):
        values[name] = _parsed(name, value)
        origins[name] = origin.format(name=name.replace("_", "-"))
        located.discard(name)
    needed = {f.name for f in fields(RetrainConfig) if f.default is MISSING}
    needed &= set(_PATHS)
    if missing := sorted(needed - values.keys()):
        msg = (
            f"{' and '.join(missing)} must be given: on the command line, as "
            f"{' and '.join(ENVIRONMENT_PREFIX + name.upper() for name in missing)}, "
            "or in a file of settings (--config)."
        )
        raise ValueError(msg)
    try:
        return Settings(_config(values), origins)
    except (ValueError, TypeError) as error:
        for name in sorted(located, key=_KNOWN.index):
            if str(error) in _complaints(name, values[name]):
                raise ValueError(f"{origins[name]}: {error}") from error
        raise


def _config(values: Mapping[str, Any]) -> RetrainConfig:
    """Return the config of settings in which the gate's bounds stand one by one."""
    bounds = {
        name.removeprefix(f"{_TABLE}."): value
        for name, value in values.items()
        if "." in name
    }
    plain = {name: value for name, value in values.items() if "." not in name}
    return RetrainConfig(**plain, gate=GateBounds.of(bounds))


def _complaints(name: str, value: Any) -> Iterator[str]:
    """Yield what is wrong with a setting alone, and beside what it needs."""
    for needed in ({}, _NEEDED_BY.get(name, {})):
        try:
            _config({"database": "", "models": "", **needed, name: value})
        except (ValueError, TypeError) as error:
            yield str(error)


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield settings, the gate's bounds one by one."""
    for name, value in values.items():
        if name != _TABLE:
            yield name, value
            continue
        if not isinstance(value, GateBounds | Mapping):
            GateBounds.of(value)
        bounds = value.to_dict() if isinstance(value, GateBounds) else value
        for key, bound in bounds.items():
            yield f"{_TABLE}.{key}", bound


def _variables(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield setting, variable and text of every variable that is set."""
    names = {ENVIRONMENT_PREFIX + n.upper().replace(".", "_"): n for n in _KNOWN}
    given = sorted(name for name in environ if name.startswith(ENVIRONMENT_PREFIX))
    if unknown := [name for name in given if name not in names]:
        msg = (
            f"the environment has settings that do not exist: {', '.join(unknown)}. "
            f"There are {', '.join(names)}."
        )
        raise ValueError(msg)
    for variable in given:
        if environ[variable]:
            yield names[variable], variable, environ[variable]


def _names(text: str) -> tuple[str, ...]:
    """Return names that commas separate, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",")))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; refuse a key that stands there twice."""
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        msg = (
            f"param_grid must name each parameter once, got {twice} more than once. "
            "Join their lists."
        )
        raise ValueError(msg)
    return dict(pairs)


def _json(text: str) -> Any:
    """Return what JSON says."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        msg = f"param_grid must be JSON, got {text!r}: {error}."
        raise ValueError(msg) from error


_READERS: Mapping[str, Callable[[str], Any]] = {
    "symbols": _names,
    "waive": _names,
    "param_grid": _json,
}


def _parsed(name: str, value: Any) -> Any:
    """Return the value that a text means; one that it cannot mean stays as it is."""
    if not isinstance(value, str):
        return value
    if name in _READERS:
        return _READERS[name](value)
    kind = _KINDS.get(name)
    kinds = get_args(kind) or (kind,)
    if bool in kinds and value.lower() in ("true", "false"):
        return value.lower() == "true"
    for number in (int, float):
        # An embargo may be a count, a share or a span.
        if number in kinds or name == "embargo":
            with contextlib.suppress(ValueError):
                return number(value)
    return value


def _read(path: Path) -> dict[str, tuple[Any, int]]:
    """Return the values in a file with their lines."""
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        msg = f"the settings (--config) cannot be read: {error.strerror}: {path}."
        raise type(error)(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML: {error}.") from error
    if isinstance(document.get("retrain"), dict):
        # A table [gate] stands beside [retrain]; all else there would be lost.
        beside = {name: document[name] for name in document if name != "retrain"}
        document = beside | document["retrain"]
    found = {}
    for name, value in document.items():
        bounds = value if name == _TABLE and isinstance(value, dict) else None
        for key in [None] if bounds is None else bounds:
            whole = name if key is None else f"{name}.{key}"
            line = _line(text, name, key)
            found[whole] = (value if key is None else value[key]), line
    if _TABLE in found:
        value, line = found[_TABLE]
        msg = (
            f"{path}:{line}: gate must be a table of bounds, as a line [gate] and "
            f"below it max_drawdown = 0.3, got {value!r}."
        )
        raise ValueError(msg)
    if unknown := [name for name in found if name not in _KNOWN]:
        where = ", ".join(f"{name} (line {found[name][1]})" for name in unknown)
        msg = f"{path} has settings that do not exist: {where}. There are "
        raise ValueError(msg + f"{', '.join(_KNOWN)}.")
    for name in _PATHS:
        if name in found and isinstance(found[name][0], str):
            found[name] = path.parent / found[name][0], found[name][1]
    return found


def _line(text: str, name: str, key: str | None = None) -> int:
    """Return the line on which a key, or one in its table, stands."""
    quoted = [rf"['\"]?{re.escape(word)}['\"]?" for word in (name, key) if word]
    found = re.search(
        rf"^[ \t]*(?:{quoted[0]}[ \t]*[.=]|\[[ \t]*(?:retrain\.)?{quoted[0]}"
        r"[ \t]*[\].])",
        text,
        re.MULTILINE,
    )
    start = 0 if found is None else found.start()
    if key is not None:
        inner = re.compile(rf"(?:^|[\s{{,.]){quoted[1]}[ \t]*=", re.MULTILINE)
        place = inner.search(text, start)
        start = start if place is None else place.end()
    return text.count("\n", 0, start) + 1


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
