"""Forks, kills and several processes on one file: nothing acknowledged is lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.mark.parametrize(
    "story",
    [
        "idle_fork",
        "both_go_on",
        "fork_inside_a_write",
        "leaving_the_block_in_the_child",
        "other_thread_holds",
        "forks_among_readers",
        "a_checkpoint_ends_during_a_fork",
        "fork_while_a_pool_ends",
        "a_pool_is_made_during_a_fork",
        "a_pool_fails_before_a_fork",
        "four_writers",
        "waiting_for_another_process",
    ],
)
def test_story(tmp_path, story):
    """See process_stories for the law that each story tells."""
    tell("process_stories", story, tmp_path)


@pytest.mark.parametrize("story", ["writes", "replacements", "copies", "upgrades"])
def test_nothing_is_lost_by_kills(tmp_path, story):
    """See kill_stories for the law that each story tells."""
    tell("kill_stories", story, tmp_path)


def test_a_soak_loses_nothing(tmp_path):
    """See soak_story for the law that it tells."""
    tell("soak_story", "soak", tmp_path)


def tell(module, story, tmp_path):
    """Run a story in an interpreter of its own."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            f"tests.datasets.{module}",
            story,
            str(tmp_path / "x.db"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_importing_skatra_does_not_load_sqlite():
    """The package itself stays light."""
    code = "import sys, skatra; sys.exit('sqlite3' in sys.modules)"

    assert (
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode
        == 0
    )
