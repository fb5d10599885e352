"""Child processes that are stopped by the pid they were started with, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
STOP_TIMEOUT_S = 12.0
RESTART_AFTER_S = 0.2


class StartError(Exception):
    """A program could not be started; says which, why, and where its log is."""


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of the project's modules as it runs in production."""
    return [sys.executable, "-I", "-m", module, *arguments]


def find_program(name: str) -> str:
    """Return the path of a system program; daemons are often outside a user's PATH."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise StartError(f"{name} is not installed; `make setup` installs it")
    return path


class Child:
    """One program that is kept running: started again when it ends by itself or is killed."""

    def __init__(self, name: str, command: list[str], log: Path, *, wants_stdout: bool = False) -> None:
        self.name = name
        self.starts = 0
        self._command = command
        self._log = log
        self._wants_stdout = wants_stdout
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The process id, or None while it is not running."""
        process = self._process
        return process.pid if process and process.returncode is None else None

    async def start(self) -> None:
        """Start it once; StartError when it runs already."""
        async with self._starting:
            if self.pid is not None:
                raise StartError(f"{self.name} runs already, as process {self.pid}")
            with self._log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE if self._wants_stdout else log,
                    stderr=log,
                    start_new_session=True,  # a Ctrl-C in the terminal is ours to pass on
                )
            self.starts += 1

    async def first_line(self, timeout_s: float) -> str:
        """Return the first line it prints; StartError when it prints none in time."""
        if self._process is None or self._process.stdout is None:
            raise StartError(f"{self.name} has no output to read")
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._process.stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            raise StartError(f"{self.name} did not start; its log is {self._log}")
        return line.decode()

    def keep(self) -> None:
        """Start it again whenever it ends, until `stop`."""
        self._keeper = asyncio.create_task(self._keep())

    def kill(self) -> None:
        """Kill it as a power cut would: SIGKILL."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def hang_up(self) -> None:
        """Have it read its settings again: SIGHUP."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGHUP)

    async def lose(self) -> None:
        """Kill it, and do not start it again."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        self.kill()
        if self._process is not None:
            await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end, and make it when it does not."""
        if self._keeper is not None:
            async with self._starting:  # a start that is cancelled halfway would leave a process nobody knows
                self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _keep(self) -> None:
        while True:
            if self._process is not None:
                await self._process.wait()
            await asyncio.sleep(RESTART_AFTER_S)
            await self.start()


def run_until_done(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` so that SIGTERM ends it as Ctrl-C does: with everything stopped that it started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return asyncio.run(main)


async def until_listening(name: str, port: int, timeout_s: float = 15.0) -> None:
    """Return once something accepts connections on the loopback port; StartError when nothing does in time."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await _accepts(port):
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise StartError(f"{name} does not listen on port {port}") from None


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def output(command: list[str]) -> str:
    """Return what a command prints; StartError with what it complains of when it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    if process.returncode != 0:
        raise StartError(f"{' '.join(command[1:])} failed: {err.decode().strip()}")
    return out.decode()


def resident_mb(pid: int) -> float:
    """Return the most memory the process has had resident, in MB."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return round(int(line.split()[1]) * 1024 / 1e6, 1)
