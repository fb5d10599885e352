"""Kills, stops, second starts, wrong settings, and a disk without room."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from admission.events import Closed, LedgerEvent, decode_entry
from admission.tickets import Outcome
from demo.processes import python
from offline_cache.opening import FILE_NAME
from offline_cache.space import RESERVE_NAME
from simulator.proxy import Proxy
from tests.faults.box import Box, running, ticket_code
from tests.support.gatehouse import Gatehouse
from tests.support.small_disk import fill, mounted
from tests.support.waiting import until, until_asked

pytestmark = pytest.mark.e2e


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Gatehouse]:
    """A turnstile that outlives the box, with its own log of what it did."""
    folder = tmp_path / "house"
    folder.mkdir()
    house = Gatehouse(folder)
    await house.start()
    yield house
    await house.kill()


def ledger(box: Box) -> list[LedgerEvent]:
    """What a box that has ended wrote into its ledger."""
    with closing(sqlite3.connect(box.state_path / FILE_NAME)) as sql:
        rows = sql.execute("SELECT entry FROM ledger ORDER BY seq_no").fetchall()
    return [decode_entry(entry).event for (entry,) in rows]


def outcomes(box: Box, admission_id: str) -> list[Outcome]:
    """How an admission ended, as a box that has ended recorded it."""
    closings = [event for event in ledger(box) if isinstance(event, Closed)]
    return [closing.outcome for closing in closings if closing.admission_id.hex() == admission_id]


async def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    """A box whose settings are wrong does not start: it ends with 2 and names the mistakes."""
    box = Box(tmp_path)
    box.write_settings()
    box.settings.write_text(box.settings.read_text().replace("fairy", "nowhere").replace("[web]", "[wib]"))
    command = python("gate_agent", "run", str(box.settings))
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20)
    assert ended.returncode == 2
    assert "wib" in ended.stderr


async def test_second_agent_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    """A second program on the same memory ends with 3; the first goes on."""
    async with running(Box(tmp_path)) as box:
        second = Box(tmp_path)
        await second.launch()
        assert await second.ends() == 3
        await box.barrier_becomes("CLOSED")
        assert (await box.scan(ticket_code(1)))[1]["verdict"] == "ADMIT"


async def test_stop_lets_the_last_visitor_out(tmp_path: Path, house: Gatehouse) -> None:
    """SIGTERM while somebody is in the lane waits for them, records their passage, and ends with 0."""
    await house.send_visitor()
    async with running(Box(tmp_path, controller_port=house.port)) as box:
        await box.barrier_becomes("CLOSED")
        _, answer = await box.scan(ticket_code(1))
        assert await box.stop() == 0
        assert outcomes(box, answer["admission_id"]) == [Outcome.PASSED]


@pytest.mark.parametrize("hears_the_release", [False, True], ids=["before-the-release", "after-the-release"])
async def test_killed_box_resumes_the_same_admission(
    tmp_path: Path, house: Gatehouse, *, hears_the_release: bool
) -> None:
    """After a kill -9 between commit and passage the same code opens the barrier again, and nothing is spent twice."""
    async with Proxy(0, "127.0.0.1", house.port) as cable:
        box = Box(tmp_path, controller_port=cable.port)
        async with running(box):
            await box.barrier_becomes("CLOSED")
            if not hears_the_release:
                cable.silence()
            _, first = await box.scan(ticket_code(1))
            await box.stop(signal.SIGKILL)
        cable.restore()
        async with running(box):
            await box.barrier_becomes("CLOSED")
            _, again = await box.scan(ticket_code(1))
            assert (again["reason"], again["admission_id"]) == ("RESUMED", first["admission_id"])
            await until(lambda: len(house.facts("released")) == 1 + hears_the_release, "the release")
            await box.barrier_becomes("CLOSED")
            await box.stop()
    assert {fact["admission_id"] for fact in house.facts("released")} == {first["admission_id"]}
    assert outcomes(box, first["admission_id"])[0] is Outcome.UNKNOWN


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own that holds the box's memory, its reserve, and little more."""
    with mounted(tmp_path / "small", 400) as folder:
        yield folder


async def test_an_agent_that_finds_no_room_says_so_and_ends(tmp_path: Path, small_disk: Path) -> None:
    """It cannot even record that it began; the service manager starts it until there is room."""
    box = Box(tmp_path, state_dir=str(small_disk / "state"))
    async with running(box):
        fill(small_disk)
        await until(lambda: not (small_disk / "state" / RESERVE_NAME).exists(), "the reserve to be given up")
        fill(small_disk)
        await box.stop(signal.SIGKILL)
        filler = fill(small_disk)
        await box.launch()
        assert await box.ends() == 3
        assert "the disk is full" in str(box.log()[-1])
        filler.unlink()
        await box.start()
        assert (await box.scan(ticket_code(1)))[1]["verdict"] == "ADMIT"


async def test_full_disk_never_opens(tmp_path: Path, small_disk: Path, house: Gatehouse) -> None:
    """On the reserve visitors go in; with that gone the display says so, and the barrier stays shut meanwhile."""
    box = Box(tmp_path, controller_port=house.port, state_dir=str(small_disk / "state"))
    reserve = small_disk / "state" / RESERVE_NAME
    async with running(box):
        await box.barrier_becomes("CLOSED")
        assert reserve.exists()
        fill(small_disk)
        await until(lambda: not reserve.exists(), "the reserve to be given up")
        assert (await box.scan(ticket_code(1)))[1]["verdict"] == "ADMIT"
        await until(lambda: len(house.facts("released")) == 1, "the release")
        await box.barrier_becomes("CLOSED")
        filler = fill(small_disk)

        async def is_referred() -> bool:
            return bool((await box.scan(ticket_code(1)))[1].get("reason") == "STORE_FULL")

        await until_asked(is_referred, "the referral")
        status, answer = await box.scan(ticket_code(2))
        assert (status, answer["reason"], answer["admission_id"]) == (200, "STORE_FULL", None)
        assert len(house.facts("released")) == 1
        filler.unlink()

        async def is_let_in() -> bool:
            return bool((await box.scan(ticket_code(2)))[1].get("verdict") == "ADMIT")

        await until_asked(is_let_in, "an admission")
        await until(lambda: len(house.facts("released")) == 2, "the release")
        await until(reserve.exists, "the reserve to be taken again")
        assert await box.stop() == 0
