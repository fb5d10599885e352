"""The real witness around one lane: a turnstile's controller, and visitors who pass when it opens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from simulator import witness
from tests.support.waiting import SOON_S, until


class Gatehouse:
    """The witness's process: a turnstile's controller, and visitors who pass when it opens."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._process: asyncio.subprocess.Process | None = None
        self._visitors = 0

    async def start(self) -> None:
        """Start it, on the port it had before if it had one."""
        (self.folder / "frame.jpg").write_bytes(b"no camera looks here")
        self.script.write_text('{"empty": ["frame.jpg"]}\n')
        command = [sys.executable, "-I", witness.__file__, "--follow", "--min-interval-ms", "0"]
        command += ["--script", str(self.script), "--log", str(self.log), "--lane", f"1:0:{self.port}"]
        self._process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert self._process.stdout is not None
        ready = json.loads(await asyncio.wait_for(self._process.stdout.readline(), SOON_S))
        self.port = ready["lanes"]["1"]["controller"]

    async def kill(self) -> None:
        """Let it vanish."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.communicate()

    @property
    def script(self) -> Path:
        return self.folder / "script.jsonl"

    @property
    def log(self) -> Path:
        return self.folder / "witness.jsonl"

    def facts(self, what: str) -> list[dict[str, Any]]:
        """What it has seen of one kind."""
        lines = self.log.read_text().splitlines()
        return [fact for fact in map(json.loads, lines) if fact["what"] == what]

    async def send_visitor(self) -> None:
        """Somebody comes, who passes as soon as the barrier opens; returns when they stand there."""
        self._visitors += 1
        frames = ["frame.jpg", "frame.jpg", "frame.jpg"]
        line = {"id": f"v{self._visitors}", "lane": "1", "frames": frames, "passes": True}
        with self.script.open("a") as script:
            script.write(json.dumps(line) + "\n")
        await until(lambda: len(self.facts("shown")) == self._visitors, "the visitor")
