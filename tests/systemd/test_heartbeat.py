"""Feeding the watchdog: what has to be true before each word."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gate_agent.heartbeat import NOT_FED, Heartbeat
from gate_agent.notify import Supervisor
from gate_agent.watchdog import Signs, Watchdog
from simulator.fakes import FakeClock
from tests.systemd.service_manager import ServiceManager, service_manager

PERIOD_S = 0.1
WELL = Signs(waiting_ms=0, is_seeing=False, decoded=0)
STUCK = Signs(waiting_ms=60_000, is_seeing=False, decoded=0)


async def commits() -> None:
    """A store that does."""


@asynccontextmanager
async def beating(
    manager: ServiceManager, lane: list[Signs], commit: Callable[[], Awaitable[None]] = commits
) -> AsyncIterator[None]:
    """A heartbeat of one lane, whose signs are the list's last."""
    supervisor = Supervisor(manager.address, PERIOD_S)
    heartbeat = Heartbeat(supervisor, Watchdog({}), commit, lambda: {"1": lane[-1]}, FakeClock(0))
    task = asyncio.create_task(heartbeat.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def heard(manager: ServiceManager) -> str:
    """The next word, waited for off the loop."""
    return await asyncio.to_thread(manager.next_word, 5)


async def logged(caplog: pytest.LogCaptureFixture) -> object:
    """What is said to be stuck, once something is."""
    async with asyncio.timeout(5):
        while not (records := [record for record in caplog.records if record.message == NOT_FED]):
            await asyncio.sleep(0.01)
    return vars(records[0])["stuck"]


async def test_it_feeds_again_and_again_while_all_is_well() -> None:
    """Twice in a period."""
    with service_manager() as manager:
        async with beating(manager, [WELL]):
            assert [await heard(manager) for _ in range(3)] == ["WATCHDOG=1"] * 3


async def test_a_stuck_lane_is_named_and_not_fed_for(caplog: pytest.LogCaptureFixture) -> None:
    """The bare passing of time feeds nothing; progress does."""
    lane = [STUCK]
    with service_manager() as manager, caplog.at_level(logging.ERROR):
        async with beating(manager, lane):
            assert await logged(caplog) == ["lane 1: an answer has waited for 60000 ms"]
            with pytest.raises(BlockingIOError):
                manager.next_word(0)
            lane.append(WELL)
            assert await heard(manager) == "WATCHDOG=1"


async def test_a_store_that_does_not_commit_is_named_and_not_fed_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is fed when the commit has come."""
    committed = asyncio.Event()

    async def commit() -> None:
        await committed.wait()

    with service_manager() as manager, caplog.at_level(logging.ERROR):
        async with beating(manager, [WELL], commit):
            assert await logged(caplog) == ["the store does not commit"]
            with pytest.raises(BlockingIOError):
                manager.next_word(0)
            committed.set()
            assert await heard(manager) == "WATCHDOG=1"


async def test_without_a_watchdog_it_returns_at_once() -> None:
    """Nobody waits for it."""
    heartbeat = Heartbeat(Supervisor(), Watchdog({}), commits, dict, FakeClock(0))
    async with asyncio.timeout(5):
        await heartbeat.run()
