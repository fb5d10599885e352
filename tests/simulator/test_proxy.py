"""The cable: open, silent, reset and restored, on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from simulator.proxy import Mode, Proxy

SOON_S = 3.0


class Target:
    """A server that echoes while it may, says goodbye at a proper end, and notes how each connection ended."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.ends: asyncio.Queue[str] = asyncio.Queue()
        self.may_read = asyncio.Event()
        self.may_read.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.may_read.wait()
            while chunk := await reader.read(65536):
                self.heard += chunk
                writer.write(chunk)
                await writer.drain()
            writer.write(b"<bye>")
            await writer.drain()
            self.ends.put_nowait("finished")
        except ConnectionResetError:
            self.ends.put_nowait("reset")
        finally:
            writer.close()


class Client:
    """One connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def says(self, words: bytes) -> bytes:
        """Send, and return the echo of the same length."""
        self.writer.write(words)
        return await asyncio.wait_for(self.reader.readexactly(len(words)), SOON_S)

    async def is_reset(self) -> bool:
        """Wait for the end of the connection: was it a reset?"""
        try:
            await asyncio.wait_for(self.reader.read(), SOON_S)
        except ConnectionResetError:
            return True
        return False

    async def hears_nothing(self, seconds: float = 0.2) -> bool:
        """Neither a byte nor an end within this time."""
        try:
            await asyncio.wait_for(self.reader.read(1), seconds)
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def cable() -> AsyncIterator[tuple[Proxy, Target]]:
    """A started proxy before a started target."""
    target = Target()
    server = await asyncio.start_server(target.serve, "127.0.0.1", 0)
    async with Proxy(0, "127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        yield proxy, target
    server.close()


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[Client]:
    """A client of the proxy."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    yield Client(reader, writer)
    writer.close()


async def test_open_carries_both_directions_and_the_end_of_one() -> None:
    """After the client's half-close the target's last words still arrive, then a proper end."""
    async with cable() as (proxy, target), connected(proxy) as client:
        assert await client.says(b"hello") == b"hello"
        client.writer.write_eof()
        assert await asyncio.wait_for(client.reader.read(), SOON_S) == b"<bye>"
        assert await asyncio.wait_for(target.ends.get(), SOON_S) == "finished"


async def test_a_target_that_does_not_read_holds_the_sender_back() -> None:
    """Backpressure reaches the client, and once the target reads every byte arrives in order."""
    flood = bytes(range(256)) * 4096 * 24  # 24 MiB: more than all socket buffers on the way
    async with cable() as (proxy, target), connected(proxy) as client:
        target.may_read.clear()
        client.writer.transport.set_write_buffer_limits(high=0)
        client.writer.write(flood)
        flushed = asyncio.create_task(client.writer.drain())
        done, _ = await asyncio.wait([flushed], timeout=0.5)
        assert not done
        target.may_read.set()
        assert await asyncio.wait_for(client.reader.readexactly(len(flood)), 10) == flood
        await flushed


async def test_silent_forwards_nothing_and_new_connections_hang() -> None:
    """Nobody is told anything: old connections stay, new ones are accepted, no byte moves."""
    async with cable() as (proxy, target), connected(proxy) as old:
        assert await old.says(b"before") == b"before"
        proxy.silence()
        async with connected(proxy) as new:
            old.writer.write(b"during")
            new.writer.write(b"during")
            assert await old.hears_nothing()
            assert await new.hears_nothing()
            assert target.heard == b"before"
            assert target.ends.empty()


async def test_reset_ends_both_sides_and_new_connections() -> None:
    """Both ends see a reset, and whoever connects now sees one, too."""
    async with cable() as (proxy, target), connected(proxy) as old:
        assert await old.says(b"before") == b"before"
        proxy.reset()
        assert await old.is_reset()
        assert await asyncio.wait_for(target.ends.get(), SOON_S) == "reset"
        with pytest.raises(ConnectionResetError):
            async with connected(proxy) as new:
                await asyncio.wait_for(new.reader.readexactly(1), SOON_S)


async def test_cut_is_silent_then_resets_until_restored() -> None:
    """What was said into the silence is dropped with the reset; after restoring, new connections work."""
    async with cable() as (proxy, target):
        async with connected(proxy) as old:
            assert await old.says(b"before") == b"before"
            proxy.cut(silent_ms=150)
            old.writer.write(b"lost")
            modes = [proxy.mode]
            assert await old.is_reset()
            modes.append(proxy.mode)
            assert modes == [Mode.SILENT, Mode.RESET]
        proxy.restore()
        async with connected(proxy) as new:
            assert await new.says(b"after") == b"after"
        assert target.heard == b"beforeafter"


async def test_restoring_out_of_silence_resets_what_was_silenced() -> None:
    """Bytes held back in the silence never arrive late, and a cut that was called off does not come back."""
    async with cable() as (proxy, target), connected(proxy) as old:
        assert await old.says(b"before") == b"before"
        proxy.cut(silent_ms=100)
        old.writer.write(b"late")
        proxy.restore()
        assert await old.is_reset()
        async with connected(proxy) as new:
            assert await new.says(b"after") == b"after"
            assert await new.hears_nothing(0.3)
        assert target.heard == b"beforeafter"


async def test_a_target_that_is_not_there_is_a_reset() -> None:
    """A refused target shows as a lost connection, and the proxy goes on."""
    gone = await asyncio.start_server(Target().serve, "127.0.0.1", 0)
    port = gone.sockets[0].getsockname()[1]
    gone.close()
    async with Proxy(0, "127.0.0.1", port) as proxy:
        for _ in range(2):
            async with connected(proxy) as client:
                assert await client.is_reset()


async def test_stop_resets_everyone_and_stops_listening() -> None:
    """Connections open and silent end with the proxy, and nobody new gets through."""
    async with cable() as (proxy, _), connected(proxy) as client:
        assert await client.says(b"x") == b"x"
        port = proxy.port
        proxy.silence()
        async with connected(proxy) as hanging:
            await proxy.stop()
            assert await client.is_reset()
            assert await hanging.is_reset()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_late_words_arrive_whole_and_late() -> None:
    """Each chunk waits both ways; restored, the cable is quick again on the same connection."""
    async with cable() as (proxy, _), connected(proxy) as client:
        proxy.delay(100)
        began_s = asyncio.get_running_loop().time()
        assert await client.says(b"hello") == b"hello"
        assert asyncio.get_running_loop().time() - began_s >= 0.2
        proxy.restore()
        assert await client.says(b"again") == b"again"


async def test_a_torn_cable_ends_within_a_message() -> None:
    """So many bytes arrive, and not one more; then resets, until it is mended."""
    async with cable() as (proxy, target):
        async with connected(proxy) as client:
            proxy.cut_within(3)
            client.writer.write(b"hello")
            assert await client.is_reset()
        assert await asyncio.wait_for(target.ends.get(), SOON_S) == "reset"
        assert bytes(target.heard) in (b"", b"hel")  # a reset may overtake what was sent before it
        assert proxy.mode is Mode.RESET
        proxy.restore()
        async with connected(proxy) as client:
            assert await client.says(b"hello") == b"hello"
