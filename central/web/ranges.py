"""Serves a file so that a download can go on where it broke off, if the file is still the same (RFC 9110 §14)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import BinaryIO

from aiohttp import hdrs, web

from central.web.errors import ApiError

_CHUNK_BYTES = 256 * 1024


async def send_file(request: web.Request, path: Path, etag: str, content_type: str) -> web.StreamResponse:
    """Answer with the file known as `etag`, or the range of it that is asked for; ApiError 416 for one outside."""
    size_bytes = (await asyncio.to_thread(path.stat)).st_size
    start, stop = _range(request, etag, size_bytes)
    headers = {hdrs.ETAG: etag, hdrs.ACCEPT_RANGES: "bytes", hdrs.CACHE_CONTROL: "private, immutable"}
    is_part = (start, stop) != (0, size_bytes)
    if is_part:
        headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{stop - 1}/{size_bytes}"
    response = web.StreamResponse(status=206 if is_part else 200, headers=headers)
    response.content_type = content_type
    response.content_length = stop - start
    await response.prepare(request)
    with _opened(path) as file:
        await _send(response, file, start, stop)
    await response.write_eof()
    return response


def _opened(path: Path) -> BinaryIO:
    """Open the file, here and now: a client that hangs up cancels what waits, and would leave it open."""
    return path.open("rb")


async def _send(response: web.StreamResponse, file: BinaryIO, start: int, stop: int) -> None:
    file.seek(start)
    while start < stop:
        data = await asyncio.to_thread(file.read, min(_CHUNK_BYTES, stop - start))
        await response.write(data)
        start += len(data)


def _range(request: web.Request, etag: str, size_bytes: int) -> tuple[int, int]:
    """Return from where to where to send; all of it when the client's part is of another content."""
    if request.headers.get(hdrs.IF_RANGE, etag) != etag:
        return 0, size_bytes
    try:
        start, stop, _ = request.http_range.indices(size_bytes)
    except ValueError:
        return 0, size_bytes
    if start >= stop:
        raise ApiError(416, "no_such_range", f"the file has {size_bytes} bytes")
    return start, stop
