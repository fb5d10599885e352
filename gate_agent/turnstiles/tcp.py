"""A turnstile controller on TCP that speaks JSON lines; its display shows the answers.

To the controller: `{"op": "show", …}`, `{"op": "release", "admission_id": …, "timeout_ms": …}`, `{"op": "ping"}`.
From it: `{"event": "state", "barrier": "closed" | "open"}` on connecting, then `opened`, `passed`, `closed`,
`tailgated` and `forced`, with the admission id where there is one, and `pong`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

import msgspec

from admission.answers import Answer
from admission.passage import Signal
from gate_agent.ports import TurnstileLostError, TurnstileSignal
from sync.link import backoff_s

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 3.0
PING_S = 1.0
SILENCE_S = 3.0
"""A controller that says nothing for this long, although it is asked every second, is lost."""
LONGEST_WAIT_S = 2.0
"""A turnstile is on the local network: try again soon."""

_SIGNALS = {
    "passed": Signal.PASSED,
    "closed": Signal.CLOSED,
    "tailgated": Signal.TAILGATED,
    "forced": Signal.FORCED,
}


class Report(msgspec.Struct, frozen=True):
    """One line from the controller."""

    event: str
    barrier: str = ""
    admission_id: str = ""
    problem: str = ""


class TcpTurnstile:
    """Turnstile and indicator behind one connection, which comes back by itself."""

    def __init__(self, host: str, port: int, random: Callable[[], float]) -> None:
        self._host = host
        self._port = port
        self._random = random
        self._writer: asyncio.StreamWriter | None = None
        self._signals: asyncio.Queue[TurnstileSignal] = asyncio.Queue()

    @property
    def is_ready(self) -> bool:
        """Whether the controller is connected."""
        return self._writer is not None

    async def release(self, admission_id: bytes, timeout_ms: int) -> None:
        """Tell the controller to let one person through; TurnstileLostError when it is not connected."""
        if not self._send(
            {"op": "release", "admission_id": admission_id.hex(), "persons": 1, "timeout_ms": timeout_ms}
        ):
            raise TurnstileLostError(f"{self._host}:{self._port}")

    async def next_signal(self) -> TurnstileSignal:
        """Return the controller's next report."""
        return await self._signals.get()

    def show(self, answer: Answer) -> None:
        """Put the answer on the controller's display."""
        reason = answer.decision.reason
        self._send(
            {
                "op": "show",
                "verdict": reason.verdict,
                "reason": reason,
                "zh": reason.wording.zh,
                "en": reason.wording.en,
                "record": answer.record,
            }
        )

    async def run(self) -> None:
        """Keep the connection until cancelled."""
        failures = 0
        while True:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    reader, writer = await asyncio.open_connection(self._host, self._port)
            except (OSError, TimeoutError):
                failures += 1
            else:
                await self._converse(reader, writer)
                failures = 1  # also a controller that hangs up at once is not called without a pause
            await asyncio.sleep(min(LONGEST_WAIT_S, backoff_s(failures, self._random())))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        pinging = asyncio.create_task(self._ping())
        try:
            await self._listen(reader)
        except (OSError, TimeoutError, ValueError) as error:  # ValueError: no line of the protocol
            log.warning(
                "turnstile lost", extra={"turnstile": f"{self._host}:{self._port}", "why": str(error)}
            )
        finally:
            self._writer = None
            pinging.cancel()
            writer.close()
            self._signals.put_nowait(TurnstileSignal(Signal.LOST))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while True:
            async with asyncio.timeout(SILENCE_S):
                line = await reader.readline()
            if not line:
                return
            self._hear(msgspec.json.decode(line, type=Report))

    def _hear(self, report: Report) -> None:
        admission_id = bytes.fromhex(report.admission_id) or None
        if report.event == "state" and report.barrier == "closed":
            self._signals.put_nowait(TurnstileSignal(Signal.RECOVERED))
        elif report.event in _SIGNALS:
            self._signals.put_nowait(TurnstileSignal(_SIGNALS[report.event], admission_id))
        elif report.event == "error":
            log.warning("turnstile refused a command", extra={"why": report.problem})

    async def _ping(self) -> None:
        while self._send({"op": "ping"}):
            await asyncio.sleep(PING_S)

    def _send(self, message: dict[str, str | int]) -> bool:
        if self._writer is None or self._writer.is_closing():
            return False
        with contextlib.suppress(OSError):
            self._writer.write(msgspec.json.encode(message) + b"\n")
            return True
        return False
