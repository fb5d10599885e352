"""A file system of its own, that a test can fill."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from offline_cache.space import free_bytes


@contextmanager
def mounted(folder: Path, size_mib: int) -> Iterator[Path]:
    """Mount one of so many MiB in a new folder; the test is skipped where that is not allowed."""
    if problem := mount(folder, size_mib):
        pytest.skip(problem)
    try:
        yield folder
    finally:
        unmount(folder)


def mount(folder: Path, size_mib: int) -> str:
    """Mount one of so many MiB in a new folder; return why that cannot be done, or nothing."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(folder)]
    if os.geteuid() != 0:
        return "a small disk can only be mounted by root"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"no small disk can be mounted here: {done.stderr.strip()}" if done.returncode else ""


def unmount(folder: Path) -> None:
    """Let go of it, and of all that is on it."""
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, leave_bytes: int = 0) -> Path:
    """Let something else take the room, but for so much; return the file that takes it.

    A box that works there takes some between the look and the grasp: then that is left to it.
    """
    ballast = folder / "ballast"
    had = ballast.stat().st_size if ballast.exists() else 0
    with ballast.open("ab") as file:
        while (more := free_bytes(folder) - leave_bytes) > 0:
            try:
                os.posix_fallocate(file.fileno(), had, more)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            else:
                break
    return ballast
