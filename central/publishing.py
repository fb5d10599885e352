"""Keeps every site's newest list built, and its signed manifest with the broker."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Row, Select, delete, func, insert, select

from admission.keys import SigningKey
from admission.policy import Policy
from central.clock import Clock
from central.lists import BuiltList, build_list
from central.pace import ListPace, Pending
from central.payments.book import entered
from central.rights import current_revision
from central.schema import boxes, fold_positions, lists
from central.store import Store
from central.time_repairs import Repair, last_repair
from sync.protocol import LIST_FORMAT, PACKED, ListManifest, encode_manifest, manifest_topic

_LIST_FILE = re.compile(r".+-\d+\.(sqlite|sqlite\.z|part)")
KEPT_LISTS = 3
"""So many files of a site stay: a box may be fetching the one before the newest."""


class Publish(Protocol):
    """Hands a message to the broker; False when the link is down and nothing was sent."""

    def __call__(self, topic: str, payload: bytes, *, retain: bool = False) -> bool: ...


@dataclass(frozen=True, slots=True)
class Start:
    """What a list begins with: its version, the moment up to which it will know all rights, and whose time that is."""

    version: int
    as_of_s: int
    repair: Repair | None


class Publisher:
    """Builds lists when they are due and publishes their manifests."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        key: SigningKey,
        policy: Policy,
        pace: ListPace,
        clock: Clock,
        publish: Publish,
    ) -> None:
        self._store = store
        self._policy = policy
        self._folder = folder
        self._key = key
        self._clock = clock
        self._publish = publish
        self._pending = Pending(pace, begun_ms=_monotonic_ms())
        self._woken = asyncio.Event()
        self._link_came_up = False

    def rights_changed(self) -> None:
        """Note that rights were committed that no list has yet."""
        self._pending.rights_changed(_monotonic_ms())
        self._woken.set()

    def uses_folded(self) -> None:
        """Note that uses were committed that no list counts yet."""
        self._pending.uses_folded()
        self._woken.set()

    def link_is_up(self) -> None:
        """Publish all manifests again: a killed broker forgets what it retained."""
        self._link_came_up = True
        self._woken.set()

    async def run(self) -> None:
        """Build and publish what is missing, then whatever becomes due, until cancelled."""
        self._folder.mkdir(parents=True, exist_ok=True)
        await self._build_stale()
        while True:
            await self._wait_for_work()
            if self._link_came_up:
                self._link_came_up = False
                await self._publish_all()
            due_ms = self._pending.due_ms()
            if due_ms is not None and due_ms <= _monotonic_ms():
                self._pending.begin(_monotonic_ms())
                await self._build_stale()
                self._pending.end(_monotonic_ms())

    async def _wait_for_work(self) -> None:
        """Return when something was noted or a list is due."""
        due_ms = self._pending.due_ms()
        timeout_s = None if due_ms is None else max(0, due_ms - _monotonic_ms()) / 1000
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        self._woken.clear()

    async def _build_stale(self) -> None:
        """Build the list of every site with boxes whose newest list does not hold everything."""
        for site_id in await self._store.read(self._stale_sites):
            while not await self._build(site_id):
                pass

    def _stale_sites(self, connection: Connection) -> list[str]:
        state = (current_revision(connection), _folded(connection), _digest(self._policy))
        fresh = {
            row.site_id
            for row in connection.execute(NEWEST_LISTS)
            if (row.revision, row.folded, row.policy_sha256) == state
            and list_path(self._folder, row.site_id, row.version).exists()
        }
        sites = connection.scalars(select(boxes.c.site_id).distinct().order_by(boxes.c.site_id))
        return [site_id for site_id in sites if site_id not in fresh]

    async def _build(self, site_id: str) -> bool:
        """Build and publish a list; False when the time was repaired meanwhile, so that its own counts for nothing."""
        # On the writer's thread, between its transactions: every right with an earlier time is committed by then,
        # and the snapshot taken afterwards has it.
        start = await self._store.run(lambda connection: _start(connection, site_id, self._clock()))
        path = list_path(self._folder, site_id, start.version)
        built = await self._store.read(
            lambda connection: build_list(
                connection, path, self._policy, site_id=site_id, version=start.version, as_of_s=start.as_of_s
            )
        )
        is_recorded = await self._store.run(
            lambda connection: _record(connection, site_id, start, built, _digest(self._policy))
        )
        if is_recorded:
            await self._publish_all()
        await self._sweep()
        return is_recorded

    async def _sweep(self) -> None:
        """Remove the files that are not kept, also those that a crash left behind."""
        rows = await self._store.read(lambda connection: list(connection.execute(select(lists))))
        kept = {list_path(self._folder, row.site_id, row.version) for row in rows}
        kept |= {packed_path(path) for path in kept}
        for path in sorted(set(self._folder.iterdir()) - kept):
            if _LIST_FILE.fullmatch(path.name):
                path.unlink()

    async def _publish_all(self) -> None:
        for row in await self._store.read(lambda connection: list(connection.execute(NEWEST_LISTS))):
            self._publish(
                manifest_topic(row.site_id), encode_manifest(_manifest(row), self._key), retain=True
            )


NEWEST_LISTS: Select[Any] = select(lists).where(
    lists.c.version
    == select(func.max((newest := lists.alias()).c.version))
    .where(newest.c.site_id == lists.c.site_id)
    .scalar_subquery()
)
"""The newest list of every site."""


def list_path(folder: Path, site_id: str, version: int) -> Path:
    """Return where a list's file is."""
    return folder / f"{site_id}-{version}.sqlite"


def packed_path(path: Path) -> Path:
    """Return where the packed form of a list's file is."""
    return path.with_name(f"{path.name}{PACKED}")


def url_path(site_id: str, version: int) -> str:
    """Return the path under which a list is served."""
    return f"/v1/lists/{site_id}/{version}"


def _manifest(row: Row[Any]) -> ListManifest:
    return ListManifest(
        format=LIST_FORMAT,
        site_id=row.site_id,
        version=row.version,
        as_of_s=row.as_of_s,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        path=url_path(row.site_id, row.version),
        revision=row.revision,
        packed_bytes=row.packed_bytes,
    )


def _folded(connection: Connection) -> int:
    seq_nos = connection.scalar(select(func.coalesce(func.sum(fold_positions.c.seq_no), 0)))
    return int(seq_nos or 0) + entered(connection)


def _start(connection: Connection, site_id: str, now_ms: int) -> Start:
    """Return a version above all before; taken from the time, so that a restored store does not go back."""
    query = select(func.max(lists.c.version)).where(lists.c.site_id == site_id)
    newest = connection.scalar(query) or 0
    return Start(max(newest + 1, now_ms // 1000), now_ms // 1000, last_repair(connection))


def _digest(policy: Policy) -> bytes:
    return hashlib.sha256(policy.document.encode()).digest()


def _record(
    connection: Connection, site_id: str, start: Start, built: BuiltList, policy_sha256: bytes
) -> bool:
    """Record a built list and forget those whose files are not kept; False when its time has been repaired since."""
    if last_repair(connection) != start.repair:
        return False
    row = {
        "site_id": site_id,
        "version": start.version,
        "as_of_s": start.as_of_s,
        "sha256": built.sha256,
        "size_bytes": built.size_bytes,
        "packed_bytes": built.packed_bytes,
        "revision": built.revision,
        "folded": built.folded,
        "policy_sha256": policy_sha256,
    }
    connection.execute(insert(lists), row)
    same_site = lists.c.site_id == site_id
    versions = connection.scalars(select(lists.c.version).where(same_site).order_by(lists.c.version.desc()))
    old = list(versions)[KEPT_LISTS:]
    connection.execute(delete(lists).where(same_site, lists.c.version.in_(old)))
    return True


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000
