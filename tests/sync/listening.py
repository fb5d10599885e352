"""A box that listens to a real centre, for tests of what moves down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sync.changes import ChangeFeed
from sync.fetch import Fetcher
from tests.central.world import KEYS
from tests.offline_cache.listed_rows import Memory, opened_memory


def find_key(key_id: bytes) -> Ed25519PublicKey | None:
    """The list key of the tests' centre."""
    return KEYS.lists.public.key if key_id == KEYS.lists.key_id else None


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Return as soon as a condition holds that has to be asked for."""
    async with asyncio.timeout(10):
        while not await is_so():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Have something run for ever, for a while."""
    task = asyncio.ensure_future(work())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


@asynccontextmanager
async def fed(folder: Path, url: str) -> AsyncIterator[tuple[Memory, ChangeFeed]]:
    """A box's memory, and a feed that asks the centre at `url`."""
    async with opened_memory(folder) as memory:
        feed = ChangeFeed(memory.overlay, Fetcher(url).get, "fairy", find_key, lambda: 0.0)
        async with running(feed.run):
            yield memory, feed
