"""Centre to box: the newest full list, fetched when its signed manifest says that there is one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from admission.answers import NoRoomError
from admission.envelope import EnvelopeError, KeyFinder
from sync.fetch import FetchError, NotFoundError, unpack
from sync.link import backoff_s
from sync.protocol import LIST_FORMAT, PACKED, ListManifest, ProtocolError, decode_manifest, list_etag

log = logging.getLogger(__name__)

Fetch = Callable[[str, Path, int, str], Awaitable[None]]
"""Completes a file to exactly so many bytes from a path of the centre's, of the content with an entity tag.

FetchError when it cannot; what it has got so far stays.
"""


class Shelf(Protocol):
    """Where lists are kept."""

    @property
    def version(self) -> int:
        """Version of the list in use, 0 for none."""

    @property
    def floor(self) -> int:
        """The highest version that was ever in use here, also if its file is lost; 0 for none."""

    def new_part(self, name: str) -> Path:
        """Return where to put a file of that name that is to be installed; parts of other names are thrown away."""

    async def install(self, part: Path, version: int, sha256: bytes) -> None:
        """Check the file and put it in use; ValueError, and nothing changed, when it is not as promised.

        The part is gone afterwards, either way.
        """


class Downlink:
    """Keeps the list up to date; whatever cannot be believed is kept out, and `problem` says so."""

    def __init__(
        self,
        shelf: Shelf,
        fetch: Fetch,
        site_id: str,
        find_key: KeyFinder,
        random: Callable[[], float],
        has_room_for: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self._has_room_for = has_room_for
        self._shelf = shelf
        self._fetch = fetch
        self._site_id = site_id
        self._find_key = find_key
        self._random = random
        self._wanted: ListManifest | None = None
        self._arrived = asyncio.Event()
        self._refusal = ""
        self._failure = ""

    @property
    def problem(self) -> str:
        """Why the last manifest was refused, or its list could not be taken in; empty when all is well."""
        return self._refusal or self._failure

    def receive(self, payload: bytes) -> None:
        """Take a manifest; one that is not signed by a list key, or not for this site, is refused."""
        try:
            manifest = decode_manifest(payload, self._find_key)
        except (EnvelopeError, ProtocolError) as error:
            self._refusal = f"a list was refused: {error}"
            return
        if manifest.site_id != self._site_id:
            self._refusal = f"a list was refused: it is for site {manifest.site_id}"
        elif manifest.format != LIST_FORMAT:
            self._refusal = (
                f"a list was refused: format {manifest.format} is not {LIST_FORMAT}; update this box"
            )
        elif manifest.version < self._shelf.floor:
            newest = self._shelf.floor
            self._refusal = f"a list was refused: this box has had {newest}, and {manifest.version} is older"
        else:
            self._refusal = ""
            self._wanted = manifest
            self._arrived.set()

    async def run(self) -> None:
        """Install what arrives until cancelled; what cannot be fetched is tried again, ever more slowly."""
        failures = 0
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            if await self._install_wanted():
                failures = 0
                continue
            failures += 1
            await self._arrived_within(backoff_s(failures, self._random()))
            self._arrived.set()

    async def _install_wanted(self) -> bool:
        """Bring the shelf up to the wanted version; False when that should be tried again."""
        manifest = self._wanted
        if manifest is None or manifest.version <= self._shelf.version:
            self._failure = ""
            return True
        if not self._has_room_for(manifest.size_bytes + manifest.packed_bytes):
            size_mb = manifest.size_bytes // 1_000_000
            self._failure = f"list {manifest.version} could not be taken in: no room for its {size_mb} MB"
            return False
        part = self._shelf.new_part(f"{manifest.version}-{manifest.sha256.hex()}")
        try:
            await self._complete(manifest, part)
            await self._shelf.install(part, manifest.version, manifest.sha256)
        except (FetchError, ValueError, OSError, NoRoomError) as error:
            self._failure = f"list {manifest.version} could not be taken in: {error}"
            return False
        self._failure = ""
        return True

    async def _complete(self, manifest: ListManifest, part: Path) -> None:
        """Get the list's file, packed where the centre has it so; FetchError, and what has come so far stays."""
        etag = list_etag(manifest.sha256)
        if manifest.packed_bytes:
            packed = part.with_name(f"{part.name}{PACKED}")
            try:
                await self._fetch(manifest.packed_path, packed, manifest.packed_bytes, etag)
            except NotFoundError:
                log.warning("the centre has no packed list any more", extra={"path": manifest.packed_path})
            else:
                try:
                    await unpack(packed, part, manifest.size_bytes)
                except FetchError:
                    packed.unlink()  # it is not as promised; of one that was only interrupted nothing is lost
                    raise
                packed.unlink()
                return
        await self._fetch(manifest.path, part, manifest.size_bytes, etag)

    async def _arrived_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            return
