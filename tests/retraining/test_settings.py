"""Settings from files, the environment and flags: one config, every origin told."""

import dataclasses
import tomllib

import pytest

from skatra.retraining import GateBounds, RetrainConfig, load_settings

NEEDED = {"database": "d", "models": "m"}


def _values(config):
    """Return a config's settings by name."""
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}


def test_settings_come_with_their_origins(tmp_path):
    """File beats default, override beats file; the TOML printed gives them again."""
    file = tmp_path / "job.toml"
    file.write_text(
        '[retrain]\ndatabase = "market.db"\nmodels = "models"\n\n'
        'n_splits = 3\nseed = 5\nwaive = ["gaps"]\n[retrain.param_grid]\n'
        "num_leaves = [3, 5]\n"
    )
    settings = load_settings(file, {"seed": 6}, origin="flag {name}")
    config, origins = settings.config, settings.origins

    assert (config.n_splits, config.seed, config.embargo) == (3, 6, "5D")
    assert config.database == tmp_path / "market.db"
    assert origins["n_splits"] == f"{file}:5"
    assert origins["param_grid"] == f"{file}:8"
    assert (origins["seed"], origins["embargo"]) == ("flag seed", "default")
    again = tmp_path / "again.toml"
    again.write_text(settings.to_toml())
    assert load_settings(again).config.to_dict() == config.to_dict()
    unset = {n for n, v in _values(config).items() if v is None}
    assert set(tomllib.loads(settings.to_toml())) | unset == set(_values(config))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n_split = 3", r"n_split \(line 1\).*n_splits"),
        ("\n\nn_splits = 1", "toml:3: n_splits"),
        ('waive = ["gap"]', "toml:1: waive.*gaps"),
        ("[gate]\nmin_blocks = 40\nmax_drawdwn = 0.1", r"gate.max_drawdwn \(line 3\)"),
        ("seed = 1\n[gate]\nmin_blocks = 40\nmax_drawdown = 2", "toml:4: max_drawdown"),
        ("seed = 1\ngate = {min_blocks = 1}", "toml:2: min_blocks"),
        ("gate.confidence = 0.2", "toml:1: confidence"),
        ("seed = 1\nearly_stopping_fraction = 0.3", "toml:2: early_stopping_fraction"),
        ("gate = 3", r"toml:1: gate must be a table of bounds.*max_drawdown.*got 3"),
        ('embargo = "5"', r"toml:1: embargo.*with a unit.*'5'"),
        ('max_gap = "10"', r"toml:1: max_gap.*'10'"),
        ("n_splits = ", "no TOML"),
        ("scheduler_address = 5", "toml:1: scheduler_address"),
        ("symbols = 5", "toml:1: symbols"),
    ],
)
def test_bad_files_name_the_line(tmp_path, text, message):
    """A misspelt key, a value out of range and bad syntax are found by line."""
    (tmp_path / "job.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_settings(tmp_path / "job.toml", {"database": "d", "models": "m"})


def test_settings_that_need_each_other_may_stand_in_one_file(tmp_path):
    """An address needs Dask, a fraction needs rounds, whichever line comes first."""
    (tmp_path / "job.toml").write_text(
        'scheduler_address = "tcp://h:1"\nbackend = "dask"\n'
        "early_stopping_fraction = 0.3\nearly_stopping_rounds = 10\n"
    )
    config = load_settings(
        tmp_path / "job.toml", {"database": "d", "models": "m"}
    ).config

    assert (config.scheduler_address, config.early_stopping_rounds) == ("tcp://h:1", 10)
    (tmp_path / "job.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"job\.toml is no TOML"):
        load_settings(tmp_path / "job.toml")


def test_a_missing_database_setting_is_asked_for():
    """Without a database nothing can be settled."""
    with pytest.raises(ValueError, match="database must be given"):
        load_settings(None, {}, defaults={"models": "m"})


def test_each_source_wins_over_those_before_it(tmp_path):
    """Default, file, environment, override: the later wins, bound by bound."""
    file = tmp_path / "job.toml"
    file.write_text(
        "n_splits = 3\nseed = 3\ncost = 0.003\n\n[gate]\nmax_drawdown = 0.3\n"
        "min_blocks = 33\nconfidence = 0.93\n"
    )
    environ = {
        "SKATRA_RETRAIN_SEED": "4",
        "SKATRA_RETRAIN_COST": "0.004",
        "SKATRA_RETRAIN_GATE_MIN_BLOCKS": "44",
        "SKATRA_RETRAIN_GATE_CONFIDENCE": "0.94",
        "SKATRA_PROMETHEUS_URL": "http://127.0.0.1:9090",
        "HOME": "/",
    }
    overrides = NEEDED | {"cost": 0.005, "gate": {"confidence": 0.95}}
    settings = load_settings(file, overrides, environ=environ, origin="flag {name}")
    config, gate, origins = settings.config, settings.config.gate, settings.origins

    assert (config.n_splits, config.seed, config.cost) == (3, 4, 0.005)
    assert gate == GateBounds(max_drawdown=0.3, min_blocks=44, confidence=0.95)
    assert origins["n_splits"] == f"{file}:1"
    assert origins["seed"] == "SKATRA_RETRAIN_SEED"
    assert origins["cost"] == "flag cost"
    assert origins["gate.max_drawdown"] == f"{file}:6"
    assert origins["gate.min_blocks"] == "SKATRA_RETRAIN_GATE_MIN_BLOCKS"
    assert origins["gate.confidence"] == "flag gate.confidence"
    assert origins["gate.min_stake"] == "default"
    assert "min_blocks = 44  # SKATRA_RETRAIN_GATE_MIN_BLOCKS" in settings.to_toml()


def test_the_environment_says_all_that_a_config_can_hold(tmp_path):
    """Every setting and bound has a variable; its text gives the same config."""
    config = RetrainConfig(
        database="market.db",
        models="models",
        symbols=("A", "B"),
        embargo=3,
        param_grid={"num_leaves": [3, 5], "linear_tree": [True]},
        side="long",
        waive=("gaps", "unsorted"),
        max_gap="3D",
        backend="dask",
        scheduler_address="tcp://host:8786",
        gate={"max_drawdown": 0.25, "min_blocks": 20, "max_leaking_pairs": 1},
    )
    text = {"symbols": "A, B,A", "waive": "gaps,unsorted"}
    text["param_grid"] = '{"num_leaves": [3, 5], "linear_tree": [true]}'
    environ = {
        f"SKATRA_RETRAIN_{name.upper()}": text.get(name, str(value))
        for name, value in _values(config).items()
        if name != "gate" and value is not None
    }
    for name, value in config.gate.to_dict().items():
        environ[f"SKATRA_RETRAIN_GATE_{name.upper()}"] = str(value)
    found = load_settings(environ=environ)

    assert found.config == config
    assert "default" not in {found.origins[n] for n in ("n_splits", "gate.min_stake")}
    (tmp_path / "again.toml").write_text(found.to_toml())
    again = load_settings(tmp_path / "again.toml").config
    assert again.to_dict() == config.to_dict()


@pytest.mark.parametrize("gate", [5, "strict", [0.3], None])
def test_a_gate_that_is_no_mapping_is_refused(gate):
    """From wherever it comes, the message says what a gate is."""
    with pytest.raises(ValueError, match="gate must be GateBounds, or map"):
        load_settings(None, NEEDED | {"gate": gate})
    with pytest.raises(ValueError, match="gate must be GateBounds, or map"):
        RetrainConfig(**NEEDED, gate=gate)


def test_an_empty_variable_is_not_set():
    """Empty variables, as container files pass them, change nothing."""
    environ = {"SKATRA_RETRAIN_SEED": "", "SKATRA_RETRAIN_SYMBOLS": ""}
    settings = load_settings(None, NEEDED, environ=environ)

    assert (settings.config.seed, settings.config.symbols) == (7, None)
    assert settings.origins["seed"] == "default"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("N_SPLIT", "3", "do not exist: SKATRA_RETRAIN_N_SPLIT.*_N_SPLITS"),
        ("GATE_MAX_DRAWDWN", "1", "GATE_MAX_DRAWDWN.*GATE_MAX_DRAWDOWN"),
        ("GATE", "{}", "do not exist: SKATRA_RETRAIN_GATE"),
        ("N_SPLITS", "three", "^SKATRA_RETRAIN_N_SPLITS: n_splits.*'three'"),
        ("COST", "2%", "^SKATRA_RETRAIN_COST: cost.*'2%'"),
        ("GATE_MIN_BLOCKS", "1", "^SKATRA_RETRAIN_GATE_MIN_BLOCKS: min_blocks"),
        ("PARAM_GRID", "num_leaves", "param_grid must be JSON"),
        ("PARAM_GRID", '{"a": [1], "a": [2]}', r"each parameter once, got \['a'\]"),
        ("PARAM_GRID", "[7]", "^SKATRA_RETRAIN_PARAM_GRID: param_grid"),
        ("WAIVE", "gap", "^SKATRA_RETRAIN_WAIVE: waive.*gaps"),
        ("EMBARGO", "soon", "^SKATRA_RETRAIN_EMBARGO: embargo"),
    ],
)
def test_bad_variables_are_named(name, text, message):
    """A misspelt variable and a value out of range are found by name."""
    with pytest.raises(ValueError, match=message):
        load_settings(None, NEEDED, environ={f"SKATRA_RETRAIN_{name}": text})


def test_settings_that_need_each_other_may_come_from_one_file(tmp_path):
    """A Dask address stands beside its backend; without it the line is named."""
    (tmp_path / "job.toml").write_text(
        'scheduler_address = "tcp://h:1"\nbackend = "dask"\n'
    )
    (tmp_path / "half.toml").write_text('seed = 1\nscheduler_address = "tcp://h:1"\n')
    config = load_settings(tmp_path / "job.toml", NEEDED).config

    assert config.search_backend == "tcp://h:1"
    with pytest.raises(ValueError, match=r"half\.toml:2: scheduler_address"):
        load_settings(tmp_path / "half.toml", NEEDED)


def test_the_gate_may_stand_beside_the_table_of_settings(tmp_path):
    """Nothing in a file is passed over: bounds are read, strangers are named."""
    file = tmp_path / "job.toml"
    file.write_text("[retrain]\nseed = 5\n[gate]\nmax_drawdown = 0.1\n")

    assert load_settings(file, NEEDED).config.gate.max_drawdown == 0.1
    file.write_text("n_split = 7\n[retrain]\nseed = 5\n")
    with pytest.raises(ValueError, match=r"n_split \(line 1\)"):
        load_settings(file, NEEDED)
