"""Centre to box: what has changed since the list, told as it happens, and asked for when something was missed.

Rows are applied whatever their order; only the *position*, up to which everything is known, needs an unbroken row of
ranges. What takes something away goes ahead of everything that waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from admission.answers import NoRoomError
from admission.changes import ListChanges, pieces, with_rows
from admission.envelope import EnvelopeError, KeyFinder
from sync.fetch import FetchError, GoneError, NotFoundError
from sync.link import backoff_s
from sync.protocol import MAX_BATCH_BYTES, ProtocolError, changes_path, decode_changes
from sync.room import NO_ROOM

ROWS_AT_ONCE = 8
PAUSE_S = 0.005
"""So few rows go into one transaction, and so long the database is free after it: visitors come first."""
SHORT_BYTES = 4096
"""A message up to this size is read ahead of those that wait."""
QUEUED_MESSAGES = 1000
ASK_EVERY_S = 0.2
"""The centre is asked at most that often, however many messages cannot be believed."""

Get = Callable[[str, int], Awaitable[bytes]]
"""Fetches what is at a path of the centre's, at most so many bytes; FetchError when it cannot."""


class Overlay(Protocol):
    """Where changes are kept, over the list."""

    async def apply(self, changes: ListChanges) -> None:
        """Make the rows hold; order and repetition never matter."""

    async def advance(self, changes: ListChanges) -> bool:
        """Note that everything up to `to_revision` is known; False, and nothing noted, when something before is not."""

    async def position(self) -> int:
        """Return up to which revision everything is known."""


class ChangeFeed:
    """Keeps the overlay up to date; whatever cannot be believed is kept out, and `problem` says so."""

    def __init__(
        self, overlay: Overlay, get: Get, site_id: str, find_key: KeyFinder, random: Callable[[], float]
    ) -> None:
        self._overlay = overlay
        self._get = get
        self._site_id = site_id
        self._find_key = find_key
        self._random = random
        self._short: asyncio.Queue[bytes] = asyncio.Queue(QUEUED_MESSAGES)
        self._all: asyncio.Queue[bytes] = asyncio.Queue(QUEUED_MESSAGES)
        self._missing = asyncio.Event()
        self.problem = ""

    def receive(self, payload: bytes) -> None:
        """Take a message of changes; what there is no room for is asked for later."""
        try:
            if len(payload) <= SHORT_BYTES:
                self._short.put_nowait(payload)
            self._all.put_nowait(payload)
        except asyncio.QueueFull:
            self.ask()

    def ask(self) -> None:
        """Ask the centre for everything that may have been missed."""
        self._missing.set()

    async def run(self) -> None:
        """Apply what arrives and ask for what is missing, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._run_ahead())
            tasks.create_task(self._follow())
            tasks.create_task(self._catch_up())

    async def _run_ahead(self) -> None:
        """Apply the rows of short messages at once; their place in the row of ranges is looked at in its turn."""
        while True:
            changes = self._read(await self._short.get())
            if changes is not None and changes.rows:
                with self._asked_for_later():
                    await self._overlay.apply(changes)

    async def _follow(self) -> None:
        """Apply every message in the order of arrival."""
        while True:
            changes = self._read(await self._all.get())
            with self._asked_for_later():
                if changes is None or not await self._take_in(changes):
                    self.ask()
                elif changes.as_of_s:
                    self.problem = ""

    @contextmanager
    def _asked_for_later(self) -> Iterator[None]:
        """Ask again for what there is no room for now."""
        try:
            yield
        except NoRoomError:
            self.problem = NO_ROOM
            self.ask()

    async def _catch_up(self) -> None:
        """Fetch what is missing, ever more slowly while that fails."""
        failures = 0
        while True:
            await self._missing.wait()
            self._missing.clear()
            try:
                await self._fetch_missing()
                failures = 0
                self.problem = ""
            except NotFoundError:  # a centre of an earlier release: its lists bring everything
                self.problem = ""
                failures = 0
            except GoneError:
                self.problem = "changes were missed that only the next list will bring"
                failures = 0
            except (FetchError, EnvelopeError, ProtocolError, NoRoomError) as error:
                failures += 1
                is_full = isinstance(error, NoRoomError)
                self.problem = NO_ROOM if is_full else f"changes were missed and cannot be fetched: {error}"
                self._missing.set()
            await asyncio.sleep(backoff_s(failures, self._random()) if failures else ASK_EVERY_S)

    async def _fetch_missing(self) -> None:
        """Fetch page after page until the centre says that there is no more."""
        while True:
            position = await self._overlay.position()
            page = await self._get(changes_path(self._site_id, position), MAX_BATCH_BYTES)
            changes = self._decoded(page)
            if not await self._take_in(changes):
                raise ProtocolError(f"the centre left out what came after revision {position}")
            if changes.as_of_s:
                return
            if changes.to_revision <= position:
                raise ProtocolError(f"the centre has more than revision {position} and does not tell it")

    async def _take_in(self, changes: ListChanges) -> bool:
        """Apply the rows, a few at a time, then move on; False when changes before them are missing."""
        for piece in pieces(changes.rows, ROWS_AT_ONCE):
            await self._overlay.apply(with_rows(changes, piece))
            await asyncio.sleep(PAUSE_S)
        return await self._overlay.advance(changes)

    def _read(self, payload: bytes) -> ListChanges | None:
        try:
            return self._decoded(payload)
        except (EnvelopeError, ProtocolError) as error:
            self.problem = f"changes were refused: {error}"
            return None

    def _decoded(self, payload: bytes) -> ListChanges:
        changes = decode_changes(payload, self._find_key)
        if changes.site_id != self._site_id:
            raise ProtocolError(f"they are for site {changes.site_id}")
        return changes
