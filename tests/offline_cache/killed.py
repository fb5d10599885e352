"""A box that is killed in the middle of something: `python -m tests.offline_cache.killed FOLDER WHAT`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Never

from offline_cache import database, lists
from tests.admission.makers import KEY, TICKET_CODE, ticket
from tests.offline_cache.box import opened_box

ROOT = Path(__file__).parents[2]

INSTALL_STEPS: dict[str, tuple[Any, str]] = {
    "before the check": (lists, "_verify"),
    "before the rename": (lists, "_move"),
    "before the commit": (database, "_run_group"),
    "before the swap": (lists.ListShelf, "_swap"),
    "before the sweep": (lists.ListShelf, "_sweep"),
}


def die(*_: Any) -> Never:
    """End as in a power cut: nothing is flushed, closed or said."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def run_killed(folder: Path, what: str) -> str:
    """Run the box until it dies; return what it said before."""
    command = [sys.executable, "-m", "tests.offline_cache.killed", str(folder), what]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout


async def _answer(folder: Path) -> None:
    """Die once the visitor has been answered, before anything else can happen."""
    async with opened_box(folder) as box:
        await box.store.open_epoch(b"one", 0)
        answer = await box.show(TICKET_CODE)
        print(answer.record, flush=True)  # noqa: T201 - the test reads it
        die()


async def _write(folder: Path) -> None:
    """Die while the transaction is written, before its commit."""
    async with opened_box(folder) as box:
        await box.store.open_epoch(b"one", 0)
        record = box.store._record_use

        def record_and_die(*arguments: Any) -> Never:
            record(*arguments)
            die()

        setattr(box.store, "_record_use", record_and_die)  # noqa: B010 - a method is replaced
        await box.show(TICKET_CODE)


async def _install(folder: Path, step: str) -> None:
    """Install a second list and die at a step of it."""
    async with opened_box(folder) as box:
        await box.install(7)
        where, name = INSTALL_STEPS[step]
        setattr(where, name, die)
        await box.install(8, tickets={KEY: ticket()})


SCENES: dict[str, Callable[[Path], Any]] = {"answer": _answer, "write": _write}

if __name__ == "__main__":
    folder, what = Path(sys.argv[1]), sys.argv[2]
    asyncio.run(SCENES[what](folder) if what in SCENES else _install(folder, what))
