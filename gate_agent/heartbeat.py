"""Feeds the supervisor's watchdog, and only while store and lanes make progress."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from gate_agent.notify import Supervisor
from gate_agent.ports import Clock
from gate_agent.watchdog import Signs, Watchdog

log = logging.getLogger(__name__)

NOT_FED = "the watchdog is not fed"


class Heartbeat:
    """Twice in a watchdog's period: the loop turns, `commit` returns, no lane is stuck; then it is fed."""

    def __init__(
        self,
        supervisor: Supervisor,
        watchdog: Watchdog,
        commit: Callable[[], Awaitable[None]],
        signs: Callable[[], Mapping[str, Signs]],
        clock: Clock,
    ) -> None:
        self._supervisor = supervisor
        self._watchdog = watchdog
        self._commit = commit
        self._signs = signs
        self._clock = clock

    async def run(self) -> None:
        """Feed until cancelled; returns at once when nobody waits for it."""
        if self._supervisor.watchdog_s is None:
            return
        half_s = self._supervisor.watchdog_s / 2
        while True:
            await self._commit_once(half_s)
            if stuck := self._watchdog.look(self._signs(), self._clock.monotonic_ns()):
                log.error(NOT_FED, extra={"stuck": stuck})
            else:
                self._supervisor.notify("WATCHDOG=1")
            await asyncio.sleep(half_s)

    async def _commit_once(self, patience_s: float) -> None:
        """Wait for a commit however long it takes: if too long, the supervisor acts. Say so before it does."""
        stuck = {"stuck": ["the store does not commit"]}
        late = asyncio.get_running_loop().call_later(patience_s, lambda: log.error(NOT_FED, extra=stuck))
        try:
            await self._commit()
        finally:
            late.cancel()
