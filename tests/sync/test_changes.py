"""The feed of changes against the real centre's answers: nothing lost for long, nothing believed unsigned."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, update

from admission.changes import ListChanges, TicketRow
from admission.codes import TicketCode, Validity
from central import changes as central_changes
from central.rights import current_revision, next_revisions
from central.schema import tickets
from central.store import Store
from sync.changes import SHORT_BYTES, ChangeFeed
from sync.protocol import encode_changes
from tests.central.conftest import Client, World, client, store, world
from tests.central.world import KEYS, NOW_MS, add_ticket, signing_key
from tests.offline_cache.listed_rows import Memory, ticket_row
from tests.offline_cache.listed_rows import changes as message
from tests.sync.listening import fed, until

__all__ = ("client", "store", "world")

NAMES = [n.to_bytes(16) for n in range(1200)]
CODE = TicketCode(NAMES[0], "DAY", Validity(0, 1 << 40, 0))


async def change(store: Store, keys: list[bytes], refunded: int) -> int:
    """Have the centre note refunds, each a change of its own; return the revision after them."""

    def work(connection: Connection) -> int:
        numbers = next_revisions(connection, len(keys))
        for key, number in zip(keys, numbers, strict=True):
            values = {"refunded": refunded, "revision": number}
            connection.execute(update(tickets).where(tickets.c.key == key).values(**values))
        return numbers[-1]

    return await store.run(work)


def add_tickets(connection: Connection) -> None:
    """Make the centre know all tickets."""
    for key in NAMES:
        add_ticket(connection, key)


@asynccontextmanager
async def scene(world: World, client: Client, folder: Path) -> AsyncIterator[tuple[Memory, ChangeFeed, int]]:
    """Tickets at the centre, and a box whose list knows them all."""
    central = world.centre.store
    await central.run(add_tickets)
    first = await change(central, NAMES[-1:], 0)
    async with fed(folder, str(client.make_url("")).rstrip("/")) as (memory, feed):
        await memory.install([ticket_row(1, key, quantity=1) for key in NAMES], version=1, revision=first)
        yield memory, feed, first


async def is_refunded(memory: Memory, key: bytes = NAMES[0]) -> bool:
    """Whether the box knows of the refund."""
    ticket = (await memory.facts(TicketCode(key, "DAY", Validity(0, 1, 0)))).ticket
    return ticket is not None and ticket.refunded == 1


def refund(first: int, until_: int, key: bytes = NAMES[0], site_id: str = "fairy") -> ListChanges:
    """A message with one refund."""
    row = TicketRow(until_, key, "DAY", 1, 1, 0, 1 << 40, ticket_row(1).status)
    return ListChanges(site_id=site_id, from_revision=first, to_revision=until_, tickets=(row,))


async def test_a_message_is_applied(world: World, client: Client, tmp_path: Path) -> None:
    """And the position moves."""
    async with scene(world, client, tmp_path) as (memory, feed, first):
        feed.receive(encode_changes(refund(first, first + 1), KEYS.lists))
        await until(lambda: is_refunded(memory))

        async def has_moved() -> bool:
            return await memory.overlay.position() == first + 1

        await until(has_moved)
        assert feed.problem == ""


async def test_what_was_missed_is_fetched_page_by_page(world: World, client: Client, tmp_path: Path) -> None:
    """A heartbeat beyond the position shows that something was missed, however much it was."""
    async with scene(world, client, tmp_path) as (memory, feed, _):
        newest = await change(world.centre.store, NAMES, 1)
        feed.receive(encode_changes(message((), newest, newest, NOW_MS // 1000), KEYS.lists))

        async def is_up_to_date() -> bool:
            return await memory.overlay.position() == newest and memory.overlay.as_of_s == NOW_MS // 1000

        await until(is_up_to_date)
        assert all([await is_refunded(memory, key) for key in (NAMES[0], NAMES[600], NAMES[-1])])
        assert feed.problem == ""


async def test_a_row_beyond_a_gap_holds_at_once(world: World, client: Client, tmp_path: Path) -> None:
    """A refund does not wait for what came before it; tickets as of then are not claimed to be all there."""
    async with scene(world, client, tmp_path) as (memory, feed, first):
        await client.close()
        beyond = refund(first + 5, first + 6)
        feed.receive(encode_changes(beyond, KEYS.lists))
        await until(lambda: is_refunded(memory))

        async def tells() -> bool:
            return "cannot be fetched" in feed.problem

        await until(tells)
        assert (await memory.overlay.position(), memory.overlay.as_of_s) == (first, 0)


async def test_a_refund_does_not_wait_behind_bulk(world: World, client: Client, tmp_path: Path) -> None:
    """A short message is applied ahead of long ones that came before it."""
    async with scene(world, client, tmp_path) as (memory, feed, first):
        bulk = [ticket_row(first + n, key) for n, key in enumerate(NAMES[1:], 1)]
        long = encode_changes(message(bulk, first, first + len(bulk)), KEYS.lists)
        assert len(long) > SHORT_BYTES
        feed.receive(long)
        feed.receive(encode_changes(refund(first + len(bulk), first + len(bulk) + 1), KEYS.lists))
        await until(lambda: is_refunded(memory))
        assert await memory.count("changed_tickets") < len(bulk)


@pytest.mark.parametrize("forged", ["key", "site", "bytes"])
async def test_what_cannot_be_believed_changes_nothing(
    world: World, client: Client, tmp_path: Path, forged: str
) -> None:
    """Another key's, another site's, or damaged: the box asks the centre for the truth instead."""
    async with scene(world, client, tmp_path) as (memory, feed, first):
        newest = await change(world.centre.store, NAMES[1:2], 1)
        payload = {
            "key": encode_changes(refund(first, newest + 1), signing_key("stranger")),
            "site": encode_changes(refund(first, newest + 1, site_id="bridges"), KEYS.lists),
            "bytes": encode_changes(refund(first, newest + 1), KEYS.lists)[:-1],
        }[forged]
        feed.receive(payload)
        await until(lambda: is_refunded(memory, NAMES[1]))
        assert not await is_refunded(memory)


async def test_too_much_is_left_to_the_next_list(
    world: World, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The box says so until the list is there."""
    monkeypatch.setattr(central_changes, "MOST_ROWS", 10)
    async with scene(world, client, tmp_path) as (memory, feed, _):
        newest = await change(world.centre.store, NAMES[:11], 1)
        feed.ask()

        async def tells() -> bool:
            return "next list" in feed.problem

        await until(tells)
        rows = [ticket_row(newest, NAMES[0], quantity=1, refunded=1)]
        await memory.install(rows, version=2, revision=newest)
        feed.receive(encode_changes(message((), newest, newest, NOW_MS // 1000), KEYS.lists))

        async def is_well() -> bool:
            return feed.problem == ""

        await until(is_well)
        assert await is_refunded(memory)
        assert await world.centre.store.read(current_revision) == newest
