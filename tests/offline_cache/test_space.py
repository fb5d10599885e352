"""A disk that fills up: what gives way, in which order, and that nothing recorded is lost. On a real small disk."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from admission.codes import Rejected
from admission.decision import decide
from admission.events import Admitted, Closed, chain, decode_entry
from admission.facts import Attempt, Direction, LaneTraits
from admission.reasons import Reason
from admission.tickets import Outcome
from offline_cache.opening import StoreFullError
from offline_cache.retention import prune
from offline_cache.space import RESERVE_NAME, Marks, Room, Space
from offline_cache.store import Store
from tests.admission.makers import BOX, KEY, LANE, NOW_MS, POLICY, SITE, TICKET_CODE, ticket
from tests.offline_cache.box import Box, opened_box
from tests.support.small_disk import fill, mounted

MIB = 1 << 20
MARKS = Marks(short_bytes=6 * MIB, reserve_bytes=4 * MIB, last_bytes=2 * MIB)
DISK_MIB = 24
PLENTY = 10**9
NO_TICKET = Rejected(Reason.NOT_A_TICKET, "a poster")


# What is judged, on a pretended disk ------------------------------------------------------------------------


class Disk:
    """A disk with so much free beside the reserve."""

    def __init__(self, folder: Path, free: int) -> None:
        self.folder = folder
        self.free = free

    def free_bytes(self, _: Path) -> int:
        """What may still be written."""
        return self.free


def watched(folder: Path, free: int) -> tuple[Space, Disk]:
    """A box's room on a disk with so much free."""
    disk = Disk(folder, free)
    return Space(folder, MARKS, disk.free_bytes), disk


def test_the_reserve_is_taken_where_there_is_plenty(tmp_path: Path) -> None:
    """Its blocks are really there, and it is taken once."""
    space, _ = watched(tmp_path, PLENTY)
    assert space.look() is space.look() is Room.AMPLE
    reserve = (tmp_path / RESERVE_NAME).stat()
    assert (reserve.st_size, reserve.st_blocks * 512 >= reserve.st_size) == (MARKS.reserve_bytes, True)
    assert [path.name for path in tmp_path.iterdir()] == [RESERVE_NAME]
    assert space.problem == ""


@pytest.mark.parametrize(
    ("free", "room"),
    [
        (MARKS.short_bytes, Room.AMPLE),
        (MARKS.short_bytes - 1, Room.SHORT),
        (MARKS.last_bytes, Room.SHORT),
        (MARKS.last_bytes - 1, Room.RESERVE),
        (0, Room.RESERVE),
    ],
)
def test_with_a_reserve_the_diary_gives_way_first(tmp_path: Path, free: int, room: Room) -> None:
    """And the reserve only when nothing is left."""
    space, disk = watched(tmp_path, PLENTY)
    space.look()
    disk.free = free
    assert space.look() is room
    assert (tmp_path / RESERVE_NAME).exists() == (room < Room.RESERVE)
    assert bool(space.problem) == (room > Room.AMPLE)


@pytest.mark.parametrize(
    ("free", "room"),
    [(MARKS.last_bytes, Room.RESERVE), (MARKS.last_bytes - 1, Room.NONE), (PLENTY, Room.AMPLE)],
)
def test_without_one_nothing_new_is_begun_on_the_last_of_it(tmp_path: Path, free: int, room: Room) -> None:
    """Until there is plenty again, and the reserve is taken anew."""
    space, disk = watched(tmp_path, MARKS.last_bytes)
    assert space.look() is Room.RESERVE
    disk.free = free
    assert space.look() is room
    assert (tmp_path / RESERVE_NAME).exists() == (room is Room.AMPLE)


def test_the_reserve_is_given_up_once(tmp_path: Path) -> None:
    """Whoever could not write is told whether to try again."""
    space, _ = watched(tmp_path, PLENTY)
    space.look()
    assert (space.make_room(), space.room, space.make_room()) == (True, Room.RESERVE, False)


@pytest.mark.parametrize(("more", "has_room"), [(0, True), (-1, False)])
def test_a_list_is_fetched_only_where_nothing_has_to_give_way(
    tmp_path: Path, more: int, has_room: bool
) -> None:
    """The list in use is better than a full disk."""
    space, _ = watched(tmp_path, MARKS.short_bytes + 100 + more)
    assert space.has_room_for(100) is has_room


# What happens, on a real one --------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that can be filled."""
    with mounted(tmp_path / "disk", DISK_MIB) as folder:
        yield folder


@asynccontextmanager
async def on(disk: Path) -> AsyncIterator[tuple[Box, Space]]:
    """A box with a list, whose memory is on the disk and makes use of its room."""
    async with opened_box(disk) as box:
        await box.install(tickets={KEY: ticket(quantity=500)})
        space = Space(disk, MARKS)
        space.look()
        box.database.make_room = space.make_room
        store = Store(
            box.database,
            box.lists,
            box_id=BOX,
            site_id=SITE,
            new_id=lambda: os.urandom(16),
            room=lambda: space.room,
        )
        yield replace(box, store=store), space


async def admit(box: Box) -> bytes:
    """Let somebody in and see them pass."""
    answer = await box.show(TICKET_CODE)
    assert answer.admission_id is not None, answer
    await box.store.close_admission(answer.admission_id, Outcome.PASSED, NOW_MS)
    return answer.admission_id


async def admit_many(box: Box, admitted: list[bytes]) -> None:
    """Let in as many as the ticket is for."""
    while len(admitted) < 400:
        admitted.append(await admit(box))


async def ledger(box: Box) -> list[object]:
    """What the ledger holds; its chain is whole."""
    hash_ = bytes(32)
    events: list[object] = []
    for seq_no, entry, kept in await box.rows("SELECT seq_no, entry, hash FROM ledger ORDER BY seq_no"):
        hash_ = chain(hash_, entry)
        assert hash_ == kept
        decoded = decode_entry(entry)
        assert decoded.seq_no == seq_no
        events.append(decoded.event)
    return events


async def test_the_diary_gives_way_and_the_ledger_goes_on(small_disk: Path) -> None:
    """Refusals keep their numbers and are not kept; those that were are given up for what must not be lost."""
    async with on(small_disk) as (box, space):
        records = [(await box.show(NO_TICKET)).record]
        fill(small_disk, MARKS.short_bytes - MIB)
        assert space.look() is Room.SHORT
        records += [(await box.show(NO_TICKET)).record for _ in range(2)]
        assert records == [f"{BOX}-D1", f"{BOX}-D2", f"{BOX}-D3"]
        assert await box.rows("SELECT number FROM diary") == [1]
        assert await prune(box.database, NOW_MS, room=space.room) == 1
        assert await box.rows("SELECT number FROM diary") == []
        await admit(box)
        assert (await box.show(NO_TICKET)).record == f"{BOX}-D4"


async def test_on_the_reserve_visitors_are_let_in_and_then_referred(small_disk: Path) -> None:
    """Whoever is in already is recorded to the end, and so is whoever leaves; with room again all is as before."""
    async with on(small_disk) as (box, space):
        admitted = [await admit(box)]
        fill(small_disk, MIB)
        assert space.look() is Room.RESERVE
        admitted.append(await admit(box))
        waiting = (await box.show(TICKET_CODE, at_ms=NOW_MS + 60_000)).admission_id
        assert waiting is not None
        fill(small_disk, MIB)
        assert space.look() is Room.NONE
        with pytest.raises(StoreFullError):
            await box.show(TICKET_CODE)
        await box.store.close_admission(waiting, Outcome.PASSED, NOW_MS)
        out = Attempt(TICKET_CODE, LANE, NOW_MS, 0, "test", LaneTraits(direction=Direction.EXIT))
        leaving = await box.store.answer(out, lambda facts: decide(TICKET_CODE, facts, POLICY, NOW_MS))
        assert leaving.decision.reason is Reason.EXIT
        (small_disk / "ballast").unlink()
        assert space.look() is Room.AMPLE
        admitted.append(await admit(box))
        events = await ledger(box)
    passed = [event.admission_id for event in events if isinstance(event, Closed)]
    assert passed == [*admitted[:2], waiting, admitted[2]]
    assert len([event for event in events if isinstance(event, Admitted)]) == 5


async def test_a_disk_that_fills_between_two_looks_costs_no_visitor(small_disk: Path) -> None:
    """What could not be written is undone, the reserve given up, and the same done again, once."""
    async with on(small_disk) as (box, space):
        fill(small_disk, 0)
        before = len(await ledger(box))
        admitted: list[bytes] = []
        while space.room is Room.AMPLE and len(admitted) < 400:
            admitted.append(await admit(box))
        assert space.room is Room.RESERVE
        events = await ledger(box)
        uses = await box.rows("SELECT admission_id FROM uses")
    assert len(events) == before + 2 * len(admitted)
    assert sorted(uses) == sorted(admitted)


async def test_when_nothing_is_left_it_is_said_and_nothing_is_half_done(small_disk: Path) -> None:
    """The error names the disk; what was recorded before is there, and once there is room the box goes on."""
    async with on(small_disk) as (box, space):
        fill(small_disk, 0)
        space.make_room()
        fill(small_disk, 0)
        admitted: list[bytes] = []
        with pytest.raises(StoreFullError, match="full"):
            await admit_many(box, admitted)
        (small_disk / "ballast").unlink()
        admitted.append(await admit(box))
        events = await ledger(box)
    closed = [event.admission_id for event in events if isinstance(event, Closed)]
    assert closed == admitted
