"""Fetching a file from the centre by HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=10)
_CHUNK_BYTES = 256 * 1024


class FetchError(Exception):
    """The file could not be fetched."""


class Fetcher:
    """Fetches files below one base address, with a bearer token if there is one."""

    def __init__(self, base_url: str, token: str = "") -> None:
        self._base_url = base_url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def fetch(self, path: str, target: Path, size_bytes: int) -> None:
        """Write the content at `path`, of exactly `size_bytes`, to `target`; FetchError when that fails."""
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT, headers=self._headers) as session,
                session.get(f"{self._base_url}/{path.lstrip('/')}") as response,
            ):
                if response.status != 200:
                    raise FetchError(f"the centre answered {response.status} for {path}")
                await _save(response.content, target, size_bytes)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise FetchError(f"{path} cannot be fetched: {type(error).__name__} {error}") from error


async def _save(content: aiohttp.StreamReader, target: Path, size_bytes: int) -> None:
    received = 0
    file = await asyncio.to_thread(target.open, "wb")
    try:
        async for chunk in content.iter_chunked(_CHUNK_BYTES):
            received += len(chunk)
            if received > size_bytes:
                raise FetchError(f"more than the {size_bytes} bytes that the manifest names")
            await asyncio.to_thread(file.write, chunk)
    finally:
        await asyncio.to_thread(file.close)
    if received != size_bytes:
        raise FetchError(f"{received} bytes instead of the {size_bytes} that the manifest names")
