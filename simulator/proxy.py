"""A network cable that can be cut: a TCP proxy between two programs that know nothing of it."""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

_CHUNK_BYTES = 64 * 1024
_LINGER_ZERO = struct.pack("ii", 1, 0)
_LINGER_OFF = struct.pack("ii", 0, 0)


class Mode(enum.Enum):
    """What the cable does at the moment."""

    OPEN = "open"
    SILENT = "silent"
    RESET = "reset"


@dataclass(slots=True)
class _Line:
    """How well the cable carries: late by so much, and only so many bytes more where that is not None."""

    delay_ms: int = 0
    left_bytes: int | None = None
    on_end: Callable[[], None] = lambda: None

    def let_through(self, chunk: bytes) -> bytes:
        """Return what of a chunk still passes."""
        if self.left_bytes is None:
            return chunk
        passing = chunk[: self.left_bytes]
        self.left_bytes -= len(passing)
        return passing

    def end_if_used_up(self) -> None:
        """Say that nothing more passes, once."""
        if self.left_bytes == 0:
            self.left_bytes = None
            self.on_end()


class Proxy:
    """Forwards 127.0.0.1:`listen_port` to a target, as well as its mode allows.

    A connection that has been silenced can only end by a reset: the bytes it held back are dropped with it
    and never arrive late. All methods belong to the event loop that started the proxy.
    """

    def __init__(self, listen_port: int, target_host: str, target_port: int) -> None:
        self._listen_port = listen_port
        self._target = (target_host, target_port)
        self._mode = Mode.OPEN
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._connections: dict[asyncio.Task[None], socket.socket] = {}
        self._forwarding: set[asyncio.Task[bool]] = set()
        self._reset_later: asyncio.TimerHandle | None = None
        self._line = _Line()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    @property
    def mode(self) -> Mode:
        """The mode that holds for every connection, old and new."""
        return self._mode

    @property
    def port(self) -> int:
        """The port it listens on, also when it was started with port 0."""
        if self._listener is None:
            raise RuntimeError("the proxy has not been started")
        port: int = self._listener.getsockname()[1]
        return port

    async def start(self) -> None:
        """Listen; raises OSError when the port is taken."""
        self._listener = socket.create_server(("127.0.0.1", self._listen_port), backlog=128)
        self._listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept(self._listener))

    async def stop(self) -> None:
        """Reset every connection and stop listening; nothing is left when this returns."""
        self._forget_pending_reset()
        tasks = [task for task in (self._accepting, *self._connections) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._listener is not None:
            self._listener.close()

    def silence(self) -> None:
        """Stop forwarding in both directions; connections stay, and new ones are accepted and hang."""
        self._forget_pending_reset()
        self._mode = Mode.SILENT
        for task in self._forwarding:
            task.cancel()

    def reset(self) -> None:
        """Reset (RST) every connection, and from now on every new one, within one turn of the loop."""
        self._forget_pending_reset()
        self._mode = Mode.RESET
        self._reset_connections()

    def cut(self, silent_ms: int = 3000) -> None:
        """Silence now, reset after `silent_ms`, and stay so until `restore`; returns at once."""
        self.silence()
        self._reset_later = asyncio.get_running_loop().call_later(silent_ms / 1000, self.reset)

    def delay(self, delay_ms: int) -> None:
        """Hold every chunk back for so long, until `restore`."""
        self._line.delay_ms = delay_ms

    def cut_within(self, more_bytes: int) -> None:
        """Let so many bytes more through, wherever in a message they end, and then reset; `restore` ends it."""
        self._line.left_bytes, self._line.on_end = more_bytes, self.reset

    def restore(self) -> None:
        """Forward again; connections that were silenced are reset, for their bytes would come late."""
        self._line.delay_ms, self._line.left_bytes = 0, None
        self._forget_pending_reset()
        if self._mode is not Mode.OPEN:
            self._reset_connections()
        self._mode = Mode.OPEN

    def _forget_pending_reset(self) -> None:
        if self._reset_later is not None:
            self._reset_later.cancel()
            self._reset_later = None

    def _reset_connections(self) -> None:
        for task in self._connections:
            task.cancel()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(listener)
            _prepare(client)
            if self._mode is Mode.RESET:
                client.close()
                continue
            task = asyncio.create_task(self._serve(client))
            self._connections[task] = client
            task.add_done_callback(self._close)

    async def _serve(self, client: socket.socket) -> None:
        """Carry one connection until both sides have finished, either has failed, or the proxy resets it."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as target:
            _prepare(target)
            if self._mode is Mode.OPEN and await self._forward_until_silenced(client, target):
                for side in (client, target):
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
            elif self._mode is Mode.SILENT:
                await asyncio.Event().wait()  # until a reset cancels this task

    def _close(self, connection: asyncio.Task[None]) -> None:
        """A task's last word, for one that is cancelled before its first step has no other."""
        self._connections.pop(connection).close()

    async def _forward_until_silenced(self, client: socket.socket, target: socket.socket) -> bool:
        """Return whether both sides came to their proper end."""
        task = asyncio.create_task(self._forward(client, target))
        self._forwarding.add(task)
        try:
            await asyncio.wait([task])
        finally:
            self._forwarding.discard(task)
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
        return not task.cancelled() and task.result()

    async def _forward(self, client: socket.socket, target: socket.socket) -> bool:
        try:
            await asyncio.get_running_loop().sock_connect(target, self._target)
            async with asyncio.TaskGroup() as both_ways:
                both_ways.create_task(_pump(client, target, self._line))
                both_ways.create_task(_pump(target, client, self._line))
        except* OSError:  # one side is gone, which the other learns by a reset
            finished = False
        else:
            finished = True
        return finished


async def _pump(source: socket.socket, sink: socket.socket, line: _Line) -> None:
    """Copy until the source's end of stream, then pass that end on; a slow sink slows the source down."""
    loop = asyncio.get_running_loop()
    while chunk := await loop.sock_recv(source, _CHUNK_BYTES):
        if line.delay_ms:
            await asyncio.sleep(line.delay_ms / 1000)
        await loop.sock_sendall(sink, line.let_through(chunk))
        line.end_if_used_up()
    sink.shutdown(socket.SHUT_WR)


def _prepare(side: socket.socket) -> None:
    """From here on closing means a reset, for that is how every connection but a finished one ends."""
    side.setblocking(False)
    side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
