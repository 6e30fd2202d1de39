"""A disk that fills up while a model is published: the champion stands."""

import json
import subprocess
import sys

import pytest

from tests.retraining import full_disk_story


def tell(folder, before=()):
    """Run the story in a process of its own and return what it told."""
    told = folder.parent / "told.json"
    done = subprocess.run(
        [*before, sys.executable, full_disk_story.__file__, str(folder), str(told)],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(told.read_text()), done.stderr


def test_a_full_disk_at_every_step_of_publishing(tmp_path):
    """Code 7, the same champion, sound files and database; with space it goes on.

    So it does before: a disk that is full for labels, for the ledger or for workers
    ends training with an error that names the file and blames no parameter.

    A real small file system is filled before each step: folder, model, card, rename,
    copy of the pointer, pointer, and the record of the run in the database.
    """
    folder = tmp_path / "small"
    folder.mkdir()
    script = f'mount -t tmpfs -o size=24m tmpfs "{folder}" && exec "$@"'
    words = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh"]
    probe = subprocess.run([*words, "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"this kernel lets no test mount a tmpfs: {probe.stderr!r}")
    told, errors = tell(folder, words)
    *full, last = told["full"]

    assert (told["first"], told["again"], told["same"]) == (0, 0, True)
    for said, place in zip(
        told["trained"], ("market.db",) * 2 + ("small",), strict=True
    ):
        assert "the same command goes on where it was" in said
        assert place in said
        assert "param_grid" not in said
    assert len(full) >= 7
    assert {step["step"] for step in full} == {"open", "os.mkdir", "os.rename"}
    for step in full:
        assert step == {
            "code": 7,
            "reached": True,
            "step": step["step"],
            "same": True,
            "sound": True,
            "runs": 1,
            "left": [],
        }
    assert (last["code"], last["reached"], last["same"]) == (0, False, False)
    assert (last["sound"], last["runs"], last["left"]) == (True, 2, [])
    for words in ("No space left", "disk full", "The model served before stands"):
        assert words in errors
    assert errors.count("error: the model could not be published") == len(full)
