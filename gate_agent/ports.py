"""What a lane needs from the world: small protocols, owned here, implemented by the adapters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from admission.answers import Answer, Decision
from admission.facts import Attempt, Facts
from admission.passage import Signal
from admission.scan import Scan
from admission.tickets import Outcome


class TurnstileLostError(Exception):
    """The turnstile cannot be reached; whether it heard the last command is not known."""


@dataclass(frozen=True, slots=True)
class TurnstileSignal:
    """What a turnstile reports, and of which admission when it says so."""

    signal: Signal
    admission_id: bytes | None = None


class Clock(Protocol):
    """Time, as a parameter."""

    def wall_ms(self) -> int:
        """Return UTC milliseconds since 1970, as well as the machine knows them."""

    def monotonic_ns(self) -> int:
        """Return nanoseconds that only ever grow, from an arbitrary start."""

    @property
    def is_sure(self) -> bool:
        """Whether the wall time is what it says; otherwise it is the earliest that it can be."""


class ScanSource(Protocol):
    """A reader of codes."""

    async def next_scan(self) -> Scan:
        """Return the next showing of a code, once per showing; a cancelled wait takes nothing."""


class AdmissionStore(Protocol):
    """The memory that makes an admission real."""

    async def answer(self, attempt: Attempt, judge: Callable[[Facts], Decision]) -> Answer:
        """Return the answer that `judge` gives on the facts, after it is committed together with its use.

        NoRoomError when it cannot be recorded for now.
        """

    async def close_admission(self, admission_id: bytes, outcome: Outcome, at_ms: int) -> None:
        """Record how an admission ended; returns after COMMIT, and saying the same again changes nothing."""

    async def record_incident(self, lane_id: str, what: Outcome, at_ms: int) -> None:
        """Record that someone went through with no admission; returns after COMMIT."""


class Turnstile(Protocol):
    """A barrier with its passage sensor."""

    @property
    def is_ready(self) -> bool:
        """Whether a release would reach the barrier now."""

    async def release(self, admission_id: bytes, timeout_ms: int) -> None:
        """Let one person through; returns when the barrier was told, or raises TurnstileLostError.

        The hardware closes the barrier itself after the passage or `timeout_ms`; the same id again opens nothing twice.
        """

    async def next_signal(self) -> TurnstileSignal:
        """Return what the turnstile reports next; LOST and RECOVERED tell of the connection to it."""


class Attendant(Protocol):
    """A member of staff who is the barrier and the sensor of a lane."""

    @property
    def waiting_for(self) -> bytes | None:
        """The admission whose visitor is not known to have entered or not."""

    def tell(self, admission_id: bytes, *, passed: bool) -> bool:
        """Take the word on that visitor; False when nobody waits for it any more."""


class Indicator(Protocol):
    """Lamp, display and voice of a lane."""

    def show(self, answer: Answer) -> None:
        """Show the answer to the visitor; never waits and never fails the lane."""
