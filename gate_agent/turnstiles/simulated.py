"""A turnstile without hardware: someone walks through a moment after each release."""

from __future__ import annotations

import asyncio

from admission.answers import Answer
from admission.passage import Signal
from gate_agent.ports import TurnstileSignal

WALK_S = 0.5


class SimulatedTurnstile:
    """A barrier that everyone who is released passes; for demos of a box without a gate."""

    def __init__(self) -> None:
        self.shown: list[Answer] = []
        self._open_for: bytes | None = None
        self._signals: asyncio.Queue[TurnstileSignal] = asyncio.Queue()
        self._signals.put_nowait(TurnstileSignal(Signal.RECOVERED))

    @property
    def is_ready(self) -> bool:
        """Always."""
        return True

    async def release(self, admission_id: bytes, timeout_ms: int) -> None:
        """Open, and let the visitor walk through."""
        if self._open_for == admission_id:
            return
        self._open_for = admission_id
        loop = asyncio.get_running_loop()
        loop.call_later(WALK_S, self._signals.put_nowait, TurnstileSignal(Signal.PASSED, admission_id))
        loop.call_later(2 * WALK_S, self._close, admission_id)

    async def next_signal(self) -> TurnstileSignal:
        """Return what happens next."""
        return await self._signals.get()

    def show(self, answer: Answer) -> None:
        """Keep the answer as the only one on display."""
        self.shown[:] = [answer]

    async def run(self) -> None:
        """Nothing has to be kept up."""
        await asyncio.Event().wait()

    def _close(self, admission_id: bytes) -> None:
        self._open_for = None
        self._signals.put_nowait(TurnstileSignal(Signal.CLOSED, admission_id))
