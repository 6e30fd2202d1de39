"""A run killed at any moment loses nothing but the task in hand."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

STORY = Path(__file__).with_name("kill_story.py")
NIGHTS = {"first": 26, "later": 20, "processes": 4}


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    """Return what 50 kills left, of three kinds of nights side by side."""
    running = [
        subprocess.Popen(
            [
                sys.executable,
                STORY,
                tmp_path_factory.mktemp(night),
                f"{kills}",
                "0",
                night,
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for night, kills in NIGHTS.items()
    ]
    told = [process.communicate(timeout=1800)[0] for process in running]

    assert [process.returncode for process in running] == [0] * len(NIGHTS)
    return dict(zip(NIGHTS, map(json.loads, told), strict=True))


def test_a_killed_run_goes_on_where_it_was(stories):
    """After a kill and a rerun all is as if nothing had happened.

    The database is sound, one champion is served, the figures and the run's id are
    those of an undisturbed run, and tasks that had been committed are not repeated;
    so it is where a champion is served, which the rerun meets again, not itself.
    """
    moments = set()
    for night, story in stories.items():
        expected = story["expected"]
        every = Counter(expected["fresh"])
        assert (expected["met"] is None) == (night == "first")
        for after in story["after"]:
            assert "error" not in after, after
            assert after["problems"] == []
            for name in (
                "run_id",
                "rows",
                "runs",
                "models",
                "champion",
                "current",
                "met",
            ):
                assert after[name] == expected[name]
            if "figures" in after:
                assert after["figures"] == expected["figures"]
                left = every.total() - after["survived"]
                assert len(after["fresh"]) == left
                assert not Counter(after["fresh"]) - every
            else:  # the kill came after the publication
                assert after["fresh"] == []
            moments.add(after["survived"])

    assert len(moments) > 5
