"""A lane without a barrier: a member of staff lets the visitor in, and says whether they went."""

from __future__ import annotations

import asyncio

from admission.answers import Answer
from admission.passage import Signal
from gate_agent.ports import TurnstileSignal


class AttendantTurnstile:
    """What a barrier and its sensor would report, said by whoever stands there.

    Nobody's word within the release's time leaves the outcome unknown: held as used, not charged.
    """

    def __init__(self) -> None:
        self._open_for: bytes | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._signals: asyncio.Queue[TurnstileSignal] = asyncio.Queue()
        self._signals.put_nowait(TurnstileSignal(Signal.RECOVERED))

    @property
    def is_ready(self) -> bool:
        """Always: whoever holds the handheld is the barrier."""
        return True

    @property
    def waiting_for(self) -> bytes | None:
        """The admission whose visitor nobody has said to have entered or not."""
        return self._open_for

    async def release(self, admission_id: bytes, timeout_ms: int) -> None:
        """Wait for the attendant's word about this visitor."""
        if self._open_for == admission_id:
            return
        self._open_for = admission_id
        self._timer = asyncio.get_running_loop().call_later(timeout_ms / 1000, self._give_up, admission_id)

    async def next_signal(self) -> TurnstileSignal:
        """Return what the attendant said."""
        return await self._signals.get()

    def tell(self, admission_id: bytes, *, passed: bool) -> bool:
        """Take the attendant's word; False when nobody waits for it any more."""
        if self._open_for != admission_id:
            return False
        if passed:
            self._signals.put_nowait(TurnstileSignal(Signal.PASSED, admission_id))
        self._close(Signal.CLOSED)
        return True

    def show(self, answer: Answer) -> None:
        """The handheld that asked shows the answer itself."""

    async def run(self) -> None:
        """Nothing has to be kept up."""
        await asyncio.Event().wait()

    def _give_up(self, admission_id: bytes) -> None:
        """Nobody watched to the end: what is not known is reported as such, and the next visitor can come."""
        if self._open_for == admission_id:
            self._close(Signal.LOST)
            self._signals.put_nowait(TurnstileSignal(Signal.RECOVERED))

    def _close(self, signal: Signal) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._signals.put_nowait(TurnstileSignal(signal, self._open_for))
        self._open_for = None
