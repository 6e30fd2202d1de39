"""Files and folders appear whole or not at all."""

import contextlib
import os
import resource
import subprocess
import sys
import textwrap
import time

import pytest

from skatra.retraining._files import put_back_on_failure, write_file, write_folder


def test_write_file_replaces_whole(tmp_path):
    """A second write replaces the first, and no temporary file stays."""
    path = tmp_path / "new" / "page.html"
    write_file(path, b"one")
    write_file(path, b"two")

    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def _run_with_file_limit(code: str, limit: int) -> subprocess.CompletedProcess:
    """Run Python where no file may grow beyond ``limit`` bytes, as on a full disk."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )


def test_write_file_keeps_the_old_content_when_the_disk_is_full(tmp_path):
    """A write that does not fit raises, keeps the old file and leaves nothing else."""
    path = tmp_path / "page.html"
    path.write_bytes(b"old")
    done = _run_with_file_limit(
        f"""
        from pathlib import Path
        from skatra.retraining._files import write_file
        write_file(Path({str(path)!r}), b"x" * 100_000)
        """,
        4096,
    )

    assert done.returncode != 0
    assert "OSError" in done.stderr
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_folder_leaves_nothing_when_the_disk_is_full(tmp_path):
    """A folder that does not fit is not there at all."""
    done = _run_with_file_limit(
        f"""
        from pathlib import Path
        from skatra.retraining._files import write_folder
        write_folder(
            Path({str(tmp_path)!r}) / "model",
            {{"card.json": b"small", "model.txt": b"x" * 100_000}},
        )
        """,
        4096,
    )

    assert done.returncode != 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("old", [b"old", None])
def test_a_file_is_put_back_when_a_block_fails(tmp_path, old):
    """What was there before, or nothing, is there again; a success stays."""
    path = tmp_path / "CURRENT"
    if old is not None:
        path.write_bytes(old)
    with contextlib.suppress(RuntimeError), put_back_on_failure(path):
        write_file(path, b"new")
        raise RuntimeError
    found = path.read_bytes() if path.exists() else None
    with put_back_on_failure(path):
        write_file(path, b"new")

    assert found == old
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_swept(tmp_path):
    """Old temporaries go with the next write; those of a live process stay."""
    for name, age in (("old", 2 * 3600), ("new", 0)):
        left = tmp_path / f".skatra-tmp-{name}"
        left.mkdir()
        (left / "part").write_bytes(b"x")
        os.utime(left, (time.time() - age,) * 2)
    write_folder(tmp_path / "model", {"a": b"1"})

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".skatra-tmp-new", "model"]


def test_write_folder_is_idempotent_and_never_overwrites(tmp_path):
    """Equal content is left as it is; other content is refused by name."""
    folder = tmp_path / "model"
    write_folder(folder, {"a": b"1"})
    write_folder(folder, {"a": b"1"})
    with pytest.raises(FileExistsError, match="other content"):
        write_folder(folder, {"a": b"2"})

    assert (folder / "a").read_bytes() == b"1"
    assert list(tmp_path.iterdir()) == [folder]
