"""The witness of a campaign: one turnstile's controller, in a process of its own, on nothing but the standard library.

`python barrier.py PORT LOG` opens for whoever it is told to, lets them walk through, and writes each fact to LOG, one
JSON object a line, on the disk before it tells anybody. The same admission again opens nothing twice.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any, TextIO

STEP_S = 0.01


class Barrier:
    """Knows who was let in, whatever becomes of the connection over which it was told."""

    def __init__(self, log: TextIO) -> None:
        self._log = log
        self._opened: set[str] = set()
        self._moving: set[asyncio.Task[None]] = set()
        self._is_open = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk with one box, until it is gone."""
        self._say(writer, event="state", barrier="open" if self._is_open else "closed", sensor="ok")
        try:
            while line := await reader.readline():
                said = json.loads(line)
                if said["op"] == "ping":
                    self._say(writer, event="pong")
                elif said["op"] == "release":
                    self._release(said["admission_id"], writer)
        except (OSError, ValueError):
            pass
        finally:
            writer.close()

    def _release(self, admission_id: str, writer: asyncio.StreamWriter) -> None:
        if admission_id in self._opened:
            self._say(writer, event="passed", admission_id=admission_id)
            self._say(writer, event="closed", admission_id=admission_id)
            return
        self._opened.add(admission_id)
        self._note("opened", admission_id)
        task = asyncio.create_task(self._walk_through(admission_id, writer))
        self._moving.add(task)
        task.add_done_callback(self._moving.discard)

    async def _walk_through(self, admission_id: str, writer: asyncio.StreamWriter) -> None:
        self._is_open = True
        self._say(writer, event="opened", admission_id=admission_id)
        await asyncio.sleep(STEP_S)
        self._note("passed", admission_id)
        self._say(writer, event="passed", admission_id=admission_id)
        await asyncio.sleep(STEP_S)
        self._is_open = False
        self._say(writer, event="closed", admission_id=admission_id)

    def _note(self, what: str, admission_id: str) -> None:
        fact = {"t_ms": time.monotonic_ns() // 1_000_000, "what": what, "admission_id": admission_id}
        self._log.write(json.dumps(fact) + "\n")
        self._log.flush()
        os.fsync(self._log.fileno())

    @staticmethod
    def _say(writer: asyncio.StreamWriter, **event: Any) -> None:
        if not writer.is_closing():
            writer.write(json.dumps(event).encode() + b"\n")


async def main() -> None:
    """Serve until killed."""
    with open(sys.argv[2], "a", encoding="utf-8") as log:  # noqa: ASYNC230, PTH123 - nothing else runs yet
        server = await asyncio.start_server(Barrier(log).serve, "127.0.0.1", int(sys.argv[1]))
        async with server:
            await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
