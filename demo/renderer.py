"""A process of low priority that draws visitors one after the other, so that the gate never waits for it.

It prints the script's line for the empty scene, then one line for each visitor that it reads; it ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import asdict
from pathlib import Path
from typing import Self

from demo.cast import Guest
from demo.processes import StartError, python
from demo.street import draw_empty, draw_one

NICENESS = 15
LINGER_MS = 1200
"""So long everyone holds their code after the answer: whoever watches wants to see it."""


class Renderer:
    """The process, as long as the context lasts."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        with (self._folder / "renderer.err").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *python("demo.renderer", str(self._folder), str(self._seed)),
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                start_new_session=True,  # a Ctrl-C in the terminal is ours to pass on
            )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        process = self._running()
        if process.returncode is None:
            process.terminate()
        await process.wait()

    async def empty_scene(self) -> str:
        """Return the script's line for the empty scene; to be asked for once, before all visitors."""
        return await self._line()

    async def draw(self, guest: Guest) -> str:
        """Draw a guest and return the script's line for them."""
        stdin = self._running().stdin
        if stdin is None:
            raise StartError("the renderer has no input")
        stdin.write(json.dumps(asdict(guest)).encode() + b"\n")
        await stdin.drain()
        return await self._line()

    async def _line(self) -> str:
        stdout = self._running().stdout
        line = await stdout.readline() if stdout is not None else b""
        if not line:
            raise StartError(f"the renderer has ended; its log is {self._folder / 'renderer.err'}")
        return line.decode().rstrip("\n")

    def _running(self) -> Process:
        if self._process is None:
            raise StartError("the renderer has not been started")
        return self._process


def main(folder: Path, seed: int) -> None:
    """Draw until the input ends."""
    os.nice(NICENESS)
    print(draw_empty(folder, seed), flush=True)
    for number, line in enumerate(sys.stdin, 1):
        guest = Guest(**json.loads(line))
        print(draw_one(guest, folder, seed + number, LINGER_MS), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
