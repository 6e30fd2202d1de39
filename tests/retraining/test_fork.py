"""Retraining in a child of a process that has used LightGBM's threads."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    not (hasattr(os, "fork") and Path("/proc/self/task").exists()),
    reason="this platform cannot fork, or does not list its threads",
)
def test_a_child_retrains_though_its_parent_used_openmp(tmp_path):
    """Fits, reads and predictions of a forked child wait for no thread of its parent.

    LightGBM itself does: the same child hangs in a fit of two threads, which shows
    that the danger is there.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.retraining.fork_story", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["child"] == 0
    if told["openmp"] > 0:  # an OpenMP whose threads outlive a fit: GNU's
        assert told["plain_lightgbm"] == signal.SIGALRM
