"""What every turnstile keeps, whichever driver it is: the fake, the simulated one, and the controller on TCP."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from admission.answers import Answer, Decision
from admission.passage import Signal
from admission.reasons import Reason
from gate_agent.ports import Indicator, Turnstile, TurnstileLostError, TurnstileSignal
from gate_agent.turnstiles import simulated
from gate_agent.turnstiles.attendant import AttendantTurnstile
from gate_agent.turnstiles.simulated import SimulatedTurnstile
from gate_agent.turnstiles.tcp import TcpTurnstile
from simulator.fakes import FakeDisplay, FakeTurnstile
from tests.support.gatehouse import Gatehouse
from tests.support.waiting import SOON_S, until

ADMISSION = bytes(range(16))
LONG_MS, SHORT_MS = 30_000, 100


@dataclass(slots=True)
class Rig:
    """A turnstile, how a person walks through it, and how often its barrier has opened."""

    turnstile: Turnstile
    walk_through: Callable[[], Awaitable[None]]
    openings: Callable[[], int]

    async def hears(self) -> TurnstileSignal:
        """What it reports next."""
        return await asyncio.wait_for(self.turnstile.next_signal(), SOON_S)


@asynccontextmanager
async def fake_rig(folder: Path) -> AsyncIterator[Rig]:
    """The hand-written fake."""
    turnstile = FakeTurnstile()

    async def walk_through() -> None:
        turnstile.walk_through()

    yield Rig(turnstile, walk_through, lambda: len(turnstile.openings))


@asynccontextmanager
async def simulated_rig(folder: Path) -> AsyncIterator[Rig]:
    """The turnstile that everyone passes by themselves."""
    opened: list[TurnstileSignal] = []

    class Counted(SimulatedTurnstile):
        async def next_signal(self) -> TurnstileSignal:
            report = await super().next_signal()
            if report.signal is Signal.PASSED:
                opened.append(report)
            return report

    async def walk_through() -> None:
        """They do so without being told."""

    yield Rig(Counted(), walk_through, lambda: len(opened))


@asynccontextmanager
async def connected(house: Gatehouse) -> AsyncIterator[TcpTurnstile]:
    """The driver, at work on the gatehouse's controller."""
    turnstile = TcpTurnstile("127.0.0.1", house.port, random.Random(1).random)
    running = asyncio.create_task(turnstile.run())
    try:
        yield turnstile
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@asynccontextmanager
async def tcp_rig(folder: Path) -> AsyncIterator[Rig]:
    """The driver for controllers on TCP, with the witness as its controller."""
    house = Gatehouse(folder)
    await house.start()
    await_visitor = asyncio.create_task(house.send_visitor())
    try:
        async with connected(house) as turnstile:
            await await_visitor

            async def walk_through() -> None:
                """The visitor at the barrier does so without being told."""

            yield Rig(turnstile, walk_through, lambda: len(house.facts("released")))
    finally:
        await house.kill()


@asynccontextmanager
async def attendant_rig(folder: Path) -> AsyncIterator[Rig]:
    """A member of staff, who says that the visitor went in."""
    turnstile = AttendantTurnstile()
    told: list[bool] = []

    async def walk_through() -> None:
        told.append(turnstile.tell(ADMISSION, passed=True))

    yield Rig(turnstile, walk_through, lambda: sum(told))


RIGS = {"attendant": attendant_rig, "fake": fake_rig, "simulated": simulated_rig, "tcp": tcp_rig}


@pytest.fixture(params=RIGS)
async def rig(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Rig]:
    """Each turnstile in turn, with somebody in front of it."""
    monkeypatch.setattr(simulated, "WALK_S", 0.02)
    async with RIGS[request.param](tmp_path) as rig:
        yield rig


async def test_turnstile_says_that_it_is_closed_and_ready(rig: Rig) -> None:
    """The first word of a turnstile is that it can be used."""
    assert await rig.hears() == TurnstileSignal(Signal.RECOVERED)
    assert rig.turnstile.is_ready


async def test_passage_is_reported_and_then_the_closing(rig: Rig) -> None:
    """After a release somebody passes, and the barrier closes: both are said of the admission."""
    await rig.hears()
    await rig.turnstile.release(ADMISSION, LONG_MS)
    await rig.walk_through()
    assert await rig.hears() == TurnstileSignal(Signal.PASSED, ADMISSION)
    assert await rig.hears() == TurnstileSignal(Signal.CLOSED, ADMISSION)


async def test_same_admission_again_opens_nothing_twice(rig: Rig) -> None:
    """A release that is said twice lets one person through."""
    await rig.hears()
    await rig.turnstile.release(ADMISSION, LONG_MS)
    await rig.turnstile.release(ADMISSION, LONG_MS)
    await rig.walk_through()
    assert [(await rig.hears()).signal for _ in range(2)] == [Signal.PASSED, Signal.CLOSED]
    assert rig.openings() == 1


async def test_an_attendant_says_that_nobody_went_in() -> None:
    """Then the barrier that is not there has closed again, which gives the right back."""
    turnstile = AttendantTurnstile()
    await turnstile.next_signal()
    await turnstile.release(ADMISSION, LONG_MS)
    assert turnstile.waiting_for == ADMISSION
    assert turnstile.tell(ADMISSION, passed=False)
    assert await turnstile.next_signal() == TurnstileSignal(Signal.CLOSED, ADMISSION)
    assert not turnstile.tell(ADMISSION, passed=True)
    assert turnstile.waiting_for is None


async def test_an_attendant_who_says_nothing_leaves_it_unknown() -> None:
    """After the release's time the lane is free again, and nobody claims to have seen what happened."""
    turnstile = AttendantTurnstile()
    await turnstile.next_signal()
    await turnstile.release(ADMISSION, SHORT_MS)
    said = [await asyncio.wait_for(turnstile.next_signal(), SOON_S) for _ in range(2)]
    assert [report.signal for report in said] == [Signal.LOST, Signal.RECOVERED]


async def test_an_attendants_late_word_is_not_taken() -> None:
    """A word about another admission, or after the time, changes nothing."""
    turnstile = AttendantTurnstile()
    assert not turnstile.tell(ADMISSION, passed=True)
    await turnstile.release(ADMISSION, LONG_MS)
    assert not turnstile.tell(bytes(16), passed=True)
    turnstile.tell(ADMISSION, passed=True)
    turnstile._give_up(ADMISSION)
    assert turnstile._signals.qsize() == 3


@asynccontextmanager
async def tcp_display(folder: Path) -> AsyncIterator[Indicator]:
    """The TCP driver's display, with nobody connected."""
    yield TcpTurnstile("127.0.0.1", 9, lambda: 0.0)


@asynccontextmanager
async def connected_tcp_display(folder: Path) -> AsyncIterator[Indicator]:
    """The TCP driver's display at the witness's controller."""
    house = Gatehouse(folder)
    await house.start()
    try:
        async with connected(house) as turnstile:
            await turnstile.next_signal()
            yield turnstile
            await until(lambda: len(house.facts("verdict")) == len(Reason), "every verdict")
            assert house.facts("malformed") == []
    finally:
        await house.kill()


@asynccontextmanager
async def other_display(kind: type[FakeDisplay | SimulatedTurnstile]) -> AsyncIterator[Indicator]:
    """A display that is only remembered."""
    display = kind()
    yield display
    assert display.shown[-1].decision.reason is list(Reason)[-1]


DISPLAYS: dict[str, Callable[[Path], AbstractAsyncContextManager[Indicator]]] = {
    "fake": lambda _: other_display(FakeDisplay),
    "simulated": lambda _: other_display(SimulatedTurnstile),
    "tcp": connected_tcp_display,
    "tcp, not connected": tcp_display,
}


@pytest.mark.parametrize("kind", DISPLAYS)
async def test_display_takes_every_answer(kind: str, tmp_path: Path) -> None:
    """Showing an answer neither waits nor fails, whatever the answer is and whoever listens."""
    async with DISPLAYS[kind](tmp_path) as display:
        for reason in Reason:
            display.show(Answer(Decision(reason), "B1-1"))


@asynccontextmanager
async def fake_that_can_be_lost(
    folder: Path,
) -> AsyncIterator[tuple[Turnstile, Callable[[], Any], Callable[[], Any]]]:
    """The fake, its loss, and its return."""
    turnstile = FakeTurnstile()
    yield turnstile, turnstile.lose, turnstile.recover


@asynccontextmanager
async def tcp_that_can_be_lost(
    folder: Path,
) -> AsyncIterator[tuple[Turnstile, Callable[[], Any], Callable[[], Any]]]:
    """The TCP driver, the controller's end, and its return."""
    house = Gatehouse(folder)
    await house.start()
    try:
        async with connected(house) as turnstile:
            yield turnstile, house.kill, house.start
    finally:
        await house.kill()


@pytest.mark.parametrize("opened", [fake_that_can_be_lost, tcp_that_can_be_lost], ids=["fake", "tcp"])
async def test_lost_turnstile_refuses_and_comes_back(opened: Any, tmp_path: Path) -> None:
    """A turnstile that cannot be reached says so, refuses releases, and says when it is back."""
    async with opened(tmp_path) as (turnstile, lose, recover):
        rig = Rig(turnstile, lose, lambda: 0)
        assert (await rig.hears()).signal is Signal.RECOVERED
        for change, signal in ((lose, Signal.LOST), (recover, Signal.RECOVERED)):
            if (changing := change()) is not None:
                await changing
            assert (await rig.hears()).signal is signal
            assert turnstile.is_ready is (signal is Signal.RECOVERED)
            if signal is Signal.LOST:
                with pytest.raises(TurnstileLostError):
                    await turnstile.release(ADMISSION, LONG_MS)


@pytest.mark.parametrize("opened", [fake_that_can_be_lost, tcp_that_can_be_lost], ids=["fake", "tcp"])
async def test_barrier_closes_by_itself(opened: Any, tmp_path: Path) -> None:
    """When nobody comes, the barrier closes after the release's time, and no passage is reported."""
    async with opened(tmp_path) as (turnstile, lose, _):
        rig = Rig(turnstile, lose, lambda: 0)
        await rig.hears()
        await turnstile.release(ADMISSION, SHORT_MS)
        assert await rig.hears() == TurnstileSignal(Signal.CLOSED, ADMISSION)


@dataclass(slots=True)
class Scripted:
    """A controller that says the same to everyone who connects; `hangs_up` decides whether it then hangs up."""

    words: bytes
    hangs_up: bool
    callers: int = 0
    talking: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Say the words."""
        self.callers += 1
        self.talking += 1
        with contextlib.suppress(OSError):
            writer.write(self.words)
            if not self.hangs_up:
                await reader.read()
            writer.close()
            await writer.wait_closed()
        self.talking -= 1


@asynccontextmanager
async def driver_of(controller: Scripted) -> AsyncIterator[TcpTurnstile]:
    """The TCP driver, connected to a scripted controller."""
    server = await asyncio.start_server(controller.serve, "127.0.0.1", 0)
    turnstile = TcpTurnstile("127.0.0.1", server.sockets[0].getsockname()[1], lambda: 0.0)
    running = asyncio.create_task(turnstile.run())
    try:
        yield turnstile
        assert not running.done()
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        server.close()
        await until(lambda: not controller.talking, "the end of the conversation")


@pytest.mark.parametrize(
    "words",
    [
        b"\xff\xfe\n",
        b"[1, 2]\n",
        b'{"event": 7}\n',
        b'{"event": "passed", "admission_id": "not hex"}\n',
        b"x" * 70_000,
        b'{"event": "state", "barrier": "closed"',
    ],
    ids=["no-text", "no-object", "wrong-type", "no-hex", "endless-line", "cut-short"],
)
async def test_controller_that_talks_nonsense_is_lost(words: bytes) -> None:
    """A line that is not of the protocol ends the connection, never the program; the driver calls again."""
    controller = Scripted(words, hangs_up=words.endswith(b'"'))
    async with driver_of(controller) as turnstile:
        for _ in range(2):
            report = await asyncio.wait_for(turnstile.next_signal(), SOON_S)
            assert report == TurnstileSignal(Signal.LOST)
        assert controller.callers == 2


async def test_words_that_are_not_known_are_ignored() -> None:
    """Later controllers may say more: what a driver does not know, it passes over."""
    words = b'{"event": "weather", "rain": true}\n{"event": "state", "barrier": "closed", "sensor": "ok"}\n'
    async with driver_of(Scripted(words, hangs_up=False)) as turnstile:
        assert await asyncio.wait_for(turnstile.next_signal(), SOON_S) == TurnstileSignal(Signal.RECOVERED)


async def test_open_barrier_is_not_ready_for_a_release() -> None:
    """A controller that says on connecting that its barrier is open reports its closing later, not a recovery now."""
    words = b'{"event": "state", "barrier": "open"}\n{"event": "closed"}\n'
    async with driver_of(Scripted(words, hangs_up=False)) as turnstile:
        assert await asyncio.wait_for(turnstile.next_signal(), SOON_S) == TurnstileSignal(Signal.CLOSED)


async def test_controller_that_hangs_up_is_not_called_without_a_pause() -> None:
    """A controller that accepts and hangs up is called a few times a second, not in a tight loop."""
    controller = Scripted(b"", hangs_up=True)
    async with driver_of(controller) as turnstile:
        began_s = asyncio.get_running_loop().time()
        for _ in range(3):
            await asyncio.wait_for(turnstile.next_signal(), SOON_S)
        assert asyncio.get_running_loop().time() - began_s >= 0.4


async def test_silent_controller_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller that stays connected and answers no question is taken for lost."""
    monkeypatch.setattr("gate_agent.turnstiles.tcp.SILENCE_S", 0.05)
    async with driver_of(Scripted(b'{"event": "state", "barrier": "closed"}\n', hangs_up=False)) as turnstile:
        signals = [(await asyncio.wait_for(turnstile.next_signal(), SOON_S)).signal for _ in range(2)]
        assert signals == [Signal.RECOVERED, Signal.LOST]
        assert not turnstile.is_ready
