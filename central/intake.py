"""From the broker into the store: queued messages share a transaction, receipts go out after its COMMIT."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection

from admission.policy import Policy
from central.clock import Clock
from central.ingest import Reply, ingest_all
from central.publishing import Publish
from central.reconcile import fold
from central.store import Store

log = logging.getLogger(__name__)

QUEUED_MESSAGES = 1000
MESSAGES_PER_COMMIT = 16
"""Half of what one box sends ahead: it makes the next while these are stored."""
_LOOK_EVERY_S = 0.005
_QUIET_LOOKS = 4


class Intake:
    """Ingests messages in the order of their arrival; `on_stored` is called after each COMMIT."""

    def __init__(self, store: Store, clock: Clock, publish: Publish, on_stored: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._publish = publish
        self._on_stored = on_stored
        self._queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(QUEUED_MESSAGES)
        self._is_storing = False

    @property
    def is_idle(self) -> bool:
        """Whether no message waits or is being stored."""
        return self._queue.empty() and not self._is_storing

    def offer(self, topic: str, payload: bytes) -> None:
        """Queue a message; one too many is dropped, as its box sends it again when no receipt comes."""
        try:
            self._queue.put_nowait((topic, payload))
        except asyncio.QueueFull:
            log.warning("the queue is full: a message on %s was dropped", topic)

    async def run(self) -> None:
        """Store what is queued and answer it, until cancelled."""
        while True:
            messages = [await self._queue.get()]
            while len(messages) < MESSAGES_PER_COMMIT and not self._queue.empty():
                messages.append(self._queue.get_nowait())
            self._is_storing = True
            replies = await self._store.run(partial(self._ingest, messages))
            self._is_storing = False
            self._on_stored()
            for reply in replies:
                self._publish(reply.topic, reply.payload)

    def _ingest(self, messages: list[tuple[str, bytes]], connection: Connection) -> list[Reply]:
        return ingest_all(connection, messages, self._clock())


FOLD_WAITS_S = 2.0
"""So long folding lets messages go first: a box that drains a day's ledger waits for receipts, nobody for counters."""


class Folding:
    """Folds stored rows soon after they came, while none comes; `on_folded` is called when counters have changed.

    `is_idle()` says whether no message waits to be stored.
    """

    def __init__(
        self,
        store: Store,
        policy: Policy,
        on_folded: Callable[[], None],
        is_idle: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._policy = policy
        self._on_folded = on_folded
        self._is_idle = is_idle
        self._woken = asyncio.Event()

    def rows_stored(self) -> None:
        """Note that there is something to fold."""
        self._woken.set()

    async def run(self) -> None:
        """Fold what an earlier process left and what comes, until cancelled."""
        while True:
            await self._let_messages_go_first()
            while await self._store.run(lambda connection: fold(connection, self._policy)):
                self._on_folded()
                await self._let_messages_go_first()
            await self._woken.wait()
            self._woken.clear()

    async def _let_messages_go_first(self) -> None:
        """Return when no message has waited for a moment, at the latest after FOLD_WAITS_S."""
        end_s = asyncio.get_running_loop().time() + FOLD_WAITS_S
        quiet = 0
        while quiet < _QUIET_LOOKS and asyncio.get_running_loop().time() < end_s:
            await asyncio.sleep(_LOOK_EVERY_S)
            quiet = quiet + 1 if self._is_idle() else 0
