"""Brokers that are not there, die and come back: the gate goes on, and what it recorded goes up afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from sync.protocol import BoxTopics, Stream, decode_presence
from tests.central.programs import Ear, Mosquitto, listening
from tests.faults.box import Box, running, ticket_code
from tests.support.waiting import until

pytestmark = pytest.mark.e2e
TOPICS = BoxTopics("fairy", "box-1")


def is_online(ear: Ear) -> bool | None:
    """Whether the box is connected, by its last word at the broker; None before the first."""
    presence = ear.last(TOPICS.presence)
    return decode_presence(presence).online if presence else None


async def test_broker_absent_at_start_and_then_there(tmp_path: Path, broker: Mosquitto) -> None:
    """A box that finds no broker admits all the same, and reports when there is one."""
    async with running(Box(tmp_path, broker_port=broker.port)) as box:
        await box.barrier_becomes("CLOSED")
        assert (await box.scan(ticket_code(1)))[1]["verdict"] == "ADMIT"
        assert not (await box.state())["link_up"]
        broker.start()
        await box.link_becomes(up=True)
        with listening(broker.port, TOPICS.presence, TOPICS.up(Stream.LEDGER)) as ear:
            await until(lambda: is_online(ear) is True, "the birth")
            await until(lambda: ear.last(TOPICS.up(Stream.LEDGER)) is not None, "the ledger")
        assert (await box.state())["backlog"] > 0


async def test_broker_restarted(tmp_path: Path, broker: Mosquitto) -> None:
    """A broker that was killed and has forgotten everything gets the birth and the unconfirmed ledger again."""
    broker.start()
    async with running(Box(tmp_path, broker_port=broker.port)) as box:
        await box.link_becomes(up=True)
        broker.kill()
        await box.link_becomes(up=False)
        await box.barrier_becomes("CLOSED")
        assert (await box.scan(ticket_code(1)))[1]["verdict"] == "ADMIT"
        broker.start()
        with listening(broker.port, TOPICS.presence, TOPICS.up(Stream.LEDGER)) as ear:
            await until(lambda: is_online(ear) is True, "the birth", within_s=30)
            await until(lambda: ear.last(TOPICS.up(Stream.LEDGER)) is not None, "the ledger")


async def test_box_that_stops_says_so(tmp_path: Path, broker: Mosquitto) -> None:
    """SIGTERM ends the program with 0 within seconds, and its last retained word is that it is offline."""
    broker.start()
    async with running(Box(tmp_path, broker_port=broker.port)) as box:
        await box.link_becomes(up=True)
        with listening(broker.port, TOPICS.presence) as ear:
            await until(lambda: is_online(ear) is True, "the birth")
        assert await box.stop() == 0
        with listening(broker.port, TOPICS.presence) as ear:
            await until(lambda: is_online(ear) is False, "the goodbye")


async def test_box_that_is_killed_is_reported_by_its_will(tmp_path: Path, broker: Mosquitto) -> None:
    """A box that vanishes is said to be offline by the broker, under the session of its birth."""
    broker.start()
    async with running(Box(tmp_path, broker_port=broker.port)) as box:
        await box.link_becomes(up=True)
        session = (await box.state())["session"]
        with listening(broker.port, TOPICS.presence) as ear:
            await until(lambda: is_online(ear) is True, "the birth")
            assert box.process is not None
            box.process.kill()
            await until(lambda: is_online(ear) is False, "the will")
            assert decode_presence(ear.last(TOPICS.presence) or b"").session == session
