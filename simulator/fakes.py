"""Hand-written stand-ins for what surrounds a lane: clock, reader, barrier, display. Tests drive them directly."""

from __future__ import annotations

import asyncio

from admission.answers import Answer
from admission.passage import Signal
from admission.scan import Scan
from gate_agent.ports import TurnstileLostError, TurnstileSignal


class FakeClock:
    """Time that stands still until it is moved."""

    def __init__(self, wall_ms: int) -> None:
        self._wall_ms = wall_ms
        self._monotonic_ns = 0
        self.is_sure = True

    def wall_ms(self) -> int:
        """Return UTC milliseconds."""
        return self._wall_ms

    def monotonic_ns(self) -> int:
        """Return nanoseconds since the clock was made."""
        return self._monotonic_ns

    def advance(self, ms: int) -> None:
        """Let `ms` milliseconds go by."""
        self._wall_ms += ms
        self._monotonic_ns += ms * 1_000_000

    def turn(self, ms: int) -> None:
        """Let somebody set the wall clock `ms` milliseconds on; no time goes by."""
        self._wall_ms += ms


class FakeReader:
    """A reader to which codes are held out one after the other."""

    def __init__(self) -> None:
        self._scans: asyncio.Queue[Scan] = asyncio.Queue()

    @property
    def waiting(self) -> int:
        """How many showings nobody has taken yet."""
        return self._scans.qsize()

    def hold_out(self, payload: bytes) -> None:
        """Show a code once."""
        self._scans.put_nowait(Scan(payload, "fake", captured_ns=0))

    async def next_scan(self) -> Scan:
        """Return the next showing."""
        return await self._scans.get()


class FakeDisplay:
    """A display that remembers everything it showed."""

    def __init__(self) -> None:
        self.shown: list[Answer] = []

    def show(self, answer: Answer) -> None:
        """Show the answer."""
        self.shown.append(answer)


class FakeTurnstile:
    """A barrier with its sensor, connected from the start; people and faults are calls.

    It closes by itself after the release's time, unless `is_mute`: then it says nothing more of its own.
    """

    def __init__(self) -> None:
        self.openings: list[bytes] = []
        self.is_mute = False
        self.is_deaf = False
        """Whether the next release finds the connection gone."""
        self._is_connected = True
        self._open_for: bytes | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._signals: asyncio.Queue[TurnstileSignal] = asyncio.Queue()
        self._report(Signal.RECOVERED)

    @property
    def is_ready(self) -> bool:
        """Whether the connection stands."""
        return self._is_connected

    async def release(self, admission_id: bytes, timeout_ms: int) -> None:
        """Open for one person; the same admission again changes nothing while it is open."""
        if self.is_deaf:
            self.lose()
        if not self._is_connected:
            raise TurnstileLostError("fake")
        if self._open_for == admission_id:
            return
        self._open_for = admission_id
        self.openings.append(admission_id)
        if not self.is_mute:
            self._closing = asyncio.get_running_loop().call_later(timeout_ms / 1000, self.close)

    async def next_signal(self) -> TurnstileSignal:
        """Return what it reports next."""
        return await self._signals.get()

    def walk_through(self) -> None:
        """Somebody passes, and the barrier closes behind them."""
        self.report(Signal.PASSED)
        self.close()

    def close(self) -> None:
        """The barrier falls shut."""
        if self._closing is not None:
            self._closing.cancel()
        self.report(Signal.CLOSED)
        self._open_for = None

    def report(self, signal: Signal, admission_id: bytes | None = None) -> None:
        """Say what happens, of the admission that is open unless another is given; nobody hears it while lost."""
        if self._is_connected:
            self._report(signal, admission_id or self._open_for)

    def lose(self) -> None:
        """The connection breaks."""
        self.is_deaf = self._is_connected = False
        self._report(Signal.LOST)

    def recover(self) -> None:
        """The connection is back, and the barrier is closed."""
        self._is_connected = True
        self._open_for = None
        self._report(Signal.RECOVERED)

    def _report(self, signal: Signal, admission_id: bytes | None = None) -> None:
        self._signals.put_nowait(TurnstileSignal(signal, admission_id))
