"""Fetching from the centre by HTTP: files that go on where they broke off, and short answers."""

from __future__ import annotations

import asyncio
import os
import ssl
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import aiohttp

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=10)
_CHUNK_BYTES = 64 * 1024
_PAUSE_S = 0.008
"""A pause after every chunk, each on the disk by then: the ledger's own flushes queue up behind this file's."""


class FetchError(Exception):
    """It could not be fetched."""


class GoneError(FetchError):
    """The centre does not have it in this form any more."""


class NotFoundError(FetchError):
    """The centre knows no such path."""


class Fetcher:
    """Fetches what is below one base address, with a bearer token if there is one.

    `tls` says whom to believe where the system's own authorities are not enough.
    """

    def __init__(self, base_url: str, token: str = "", tls: ssl.SSLContext | None = None) -> None:
        self._base_url = base_url
        self._tls = tls
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def fetch(self, path: str, target: Path, size_bytes: int, etag: str) -> None:
        """Complete `target` to the `size_bytes` at `path` known as `etag`; FetchError when that fails.

        What `target` holds already is taken for its beginning: whoever names it must name no other content alike.
        """
        have_bytes = await asyncio.to_thread(_size, target)
        if have_bytes == size_bytes:
            return
        headers = {"Range": f"bytes={have_bytes}-", "If-Range": etag} if 0 < have_bytes < size_bytes else {}
        async with self._session() as session:
            try:
                async with session.get(self._url(path), headers=headers) as response:
                    if response.status == 404:
                        raise NotFoundError(f"the centre answered 404 for {path}")
                    if response.status not in (200, 206):
                        raise FetchError(f"the centre answered {response.status} for {path}")
                    have_bytes = have_bytes if response.status == 206 else 0
                    await _save(response.content, target, have_bytes, size_bytes)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise FetchError(f"{path} cannot be fetched: {type(error).__name__} {error}") from error

    async def get(self, path: str, max_bytes: int) -> bytes:
        """Return the content at `path`; FetchError when it cannot be had: NotFoundError, GoneError for no more."""
        async with self._session() as session:
            try:
                async with session.get(self._url(path)) as response:
                    if response.status == 404:
                        raise NotFoundError(f"the centre knows no {path}")
                    if response.status == 410:
                        raise GoneError(f"the centre has no {path} any more")
                    if response.status != 200:
                        raise FetchError(f"the centre answered {response.status} for {path}")
                    return await _read(response.content, max_bytes)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise FetchError(f"{path} cannot be fetched: {type(error).__name__} {error}") from error

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            timeout=_TIMEOUT,
            headers=self._headers,
            connector=aiohttp.TCPConnector(ssl=self._tls) if self._tls else None,
        )

    def _url(self, path: str) -> str:
        return f"{self._base_url}/{path.lstrip('/')}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


async def _read(content: aiohttp.StreamReader, max_bytes: int) -> bytes:
    data = b""
    async for chunk in content.iter_chunked(_CHUNK_BYTES):
        data += chunk
        if len(data) > max_bytes:
            raise FetchError(f"more than {max_bytes} bytes")
    return data


async def _save(content: aiohttp.StreamReader, target: Path, have_bytes: int, size_bytes: int) -> None:
    """Write what comes behind the first `have_bytes` of `target`, to the disk a little at a time."""
    with _opened(target, have_bytes) as file:
        async for chunk in content.iter_chunked(_CHUNK_BYTES):
            have_bytes += len(chunk)
            if have_bytes > size_bytes:
                raise FetchError(f"more than the {size_bytes} bytes that the manifest names")
            await asyncio.to_thread(_write, file, chunk)
            await asyncio.sleep(_PAUSE_S)
    if have_bytes != size_bytes:
        raise FetchError(f"{have_bytes} bytes instead of the {size_bytes} that the manifest names")


async def unpack(packed: Path, target: Path, size_bytes: int) -> None:
    """Write what `packed` (zlib) holds to `target`, at the pace of a fetch; FetchError unless it is so many bytes."""
    unpacking, have_bytes = zlib.decompressobj(), 0
    with _opened(packed, 0, "rb") as source, _opened(target, 0) as file:
        while not unpacking.eof:
            piece = unpacking.unconsumed_tail or await asyncio.to_thread(source.read, _CHUNK_BYTES)
            try:
                chunk = unpacking.decompress(piece, _CHUNK_BYTES)
            except zlib.error as error:
                raise FetchError(f"it cannot be unpacked: {error}") from error
            if not piece and not chunk:
                break  # it ends too early
            have_bytes += len(chunk)
            if have_bytes > size_bytes:
                raise FetchError(f"it unpacks to more than the {size_bytes} bytes that the manifest names")
            await asyncio.to_thread(_write, file, chunk)
            await asyncio.sleep(_PAUSE_S)
    if not unpacking.eof or have_bytes != size_bytes:
        raise FetchError(f"it unpacks to {have_bytes} bytes instead of {size_bytes}")


def _opened(target: Path, have_bytes: int, mode: str = "") -> BinaryIO:
    """Open the file behind its first bytes, here and now: what is cancelled while it waits would leave it open."""
    file = cast(BinaryIO, target.open(mode or ("r+b" if have_bytes else "wb")))
    file.seek(have_bytes)
    return file


def _write(file: BinaryIO, chunk: bytes) -> None:
    file.write(chunk)
    file.flush()
    os.fdatasync(file.fileno())
