"""`demo.run` as a program, for tests that watch it in a browser."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

PROJECT = Path(__file__).parent.parent.parent
DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Demo:
    """The running demo, its page's address and its folder."""

    process: subprocess.Popen[str]
    url: str
    folder: Path

    def state(self) -> dict[str, Any]:
        """What the page is told."""
        with urlopen(f"{self.url}api/state") as answer:  # noqa: S310  # our own address
            state: dict[str, Any] = json.load(answer)
            return state

    def stop(self) -> int:
        """Interrupt it as Ctrl-C does and return its status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(DEADLINE_S)


def until(holds: Callable[[], bool]) -> None:
    """Return once `holds`; AssertionError when that takes too long."""
    end = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def descendants(pid: int) -> set[int]:
    """The processes that a process has started, and those that they have."""
    children = {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()}
    return children.union(*(descendants(child) for child in children))


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Demo]:
    """Start the demo, and stop it if the test has not."""
    command = [sys.executable, "-I", "-m", "demo.run", "--folder", str(folder), *options]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            assert line.startswith("Scenic Gate is running: http://127.0.0.1:"), line
            yield Demo(process, line.split()[4], folder)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
