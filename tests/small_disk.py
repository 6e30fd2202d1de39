"""A file system of a few bytes, to see what happens when it is full."""

import subprocess

import pytest


def on_small_disk(folder, size):
    """Return the words that run a command with a tmpfs of some size on a folder."""
    script = f'mount -t tmpfs -o size={size} tmpfs "{folder}" && exec "$@"'
    words = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh"]
    try:
        subprocess.run([*words, "true"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this system lets no test mount a tmpfs: {error}")
    return words
