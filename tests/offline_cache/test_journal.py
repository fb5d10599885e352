"""Ledger and diary: numbers without gaps, a chain, and what the centre's word does to them."""

from __future__ import annotations

import sqlite3

import pytest

from admission.events import (
    NO_HASH,
    Closed,
    Entry,
    Incident,
    LedgerEvent,
    Refusal,
    chain,
    decode_entry,
    decode_refusal,
    encode,
)
from admission.reasons import Reason
from admission.tickets import Outcome
from offline_cache.database import Database
from offline_cache.journal import Confirmed, Outbox, append, get_state, head, note_refusal, set_state
from offline_cache.retention import LEDGER_KEPT_MS, prune

EVENTS: list[LedgerEvent] = [Closed(bytes([n]) * 16, Outcome.PASSED) for n in range(1, 6)]


@pytest.fixture
def outbox(database: Database) -> Outbox:
    """The outbox of an empty box."""
    return Outbox(database)


@pytest.fixture
async def hashes(database: Database) -> list[bytes]:
    """The chain's hash at each number, of a ledger with five entries."""
    for number, event in enumerate(EVENTS, start=1):
        await database.write(lambda sql, n=number, e=event: append(sql, n * 1000, e))  # type: ignore[misc]
    found = [NO_HASH]
    for number, event in enumerate(EVENTS, start=1):
        found.append(chain(found[-1], encode(Entry(number, number * 1000, event))))
    return found


async def note(database: Database, detail: str) -> Refusal:
    """Write a refusal to the diary."""
    return await database.write(lambda sql: note_refusal(sql, 5, "lane-1", Reason.EXPIRED, b"key", detail))


async def test_entries_are_numbered_without_gaps_and_chained(database: Database, hashes: list[bytes]) -> None:
    """Each hash covers the canonical bytes and all before them."""
    rows = await database.read(lambda sql: sql.execute("SELECT seq_no, entry, hash FROM ledger").fetchall())
    assert [seq_no for seq_no, _, _ in rows] == [1, 2, 3, 4, 5]
    assert [hash_ for _, _, hash_ in rows] == hashes[1:]
    assert [decode_entry(entry).event for _, entry, _ in rows] == EVENTS
    assert await database.read(head) == (5, hashes[5])


async def test_a_number_whose_transaction_failed_is_given_again(database: Database) -> None:
    """A gap would look like a loss."""

    def give_up(sql: sqlite3.Connection) -> None:
        append(sql, 1, Incident("lane-1", Outcome.FORCED))
        note_refusal(sql, 1, "lane-1", Reason.EXPIRED, b"", "")
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(give_up)
    assert (await database.write(lambda sql: append(sql, 2, EVENTS[0]))).seq_no == 1
    assert (await note(database, "")).number == 1


async def test_an_empty_ledger_has_an_empty_tail(database: Database, outbox: Outbox) -> None:
    """Nothing is confirmed, nothing waits."""
    assert await database.read(head) == (0, NO_HASH)
    assert await outbox.confirmed() == Confirmed("", 0, 0)
    assert await outbox.backlog() == 0
    tail = await outbox.ledger_after(0, 10)
    assert (tail.first, tail.previous_hash, tail.entries) == (1, NO_HASH, [])


@pytest.mark.parametrize(
    ("after", "limit", "numbers"), [(0, 3, [1, 2, 3]), (2, 2, [3, 4]), (3, 9, [4, 5]), (5, 9, [])]
)
async def test_a_tail_follows_the_number_asked_for(
    outbox: Outbox, hashes: list[bytes], after: int, limit: int, numbers: list[int]
) -> None:
    """With the hash before it, so that the centre can join it on."""
    tail = await outbox.ledger_after(after, limit)
    assert (tail.first, tail.previous_hash) == (after + 1, hashes[after])
    assert [decode_entry(entry).seq_no for entry in tail.entries] == numbers


async def test_a_receipt_that_matches_releases_the_ledger(outbox: Outbox, hashes: list[bytes]) -> None:
    """Up to its number."""
    assert await outbox.backlog() == 5
    assert await outbox.confirm_ledger("store-1", 3, hashes[3])
    assert await outbox.confirmed() == Confirmed("store-1", 3, 0)
    assert await outbox.backlog() == 2


@pytest.mark.parametrize(("seq_no", "hash_at"), [(3, 4), (4, 3), (6, 5), (0, 1), (99, 0)])
async def test_a_receipt_for_another_ledger_releases_nothing(
    outbox: Outbox, hashes: list[bytes], seq_no: int, hash_at: int
) -> None:
    """Another hash, or a number that this box never reached."""
    await outbox.confirm_ledger("store-1", 2, hashes[2])
    assert not await outbox.confirm_ledger("store-2", seq_no, hashes[hash_at])
    assert await outbox.confirmed() == Confirmed("store-1", 2, 0)


@pytest.mark.parametrize("seq_no", [0, 2])
async def test_a_lower_receipt_opens_the_tail_again(outbox: Outbox, hashes: list[bytes], seq_no: int) -> None:
    """The centre was restored from a backup, or is new."""
    await outbox.confirm_ledger("store-1", 5, hashes[5])
    assert await outbox.confirm_ledger("store-2", seq_no, hashes[seq_no])
    assert await outbox.confirmed() == Confirmed("store-2", seq_no, 0)
    assert len((await outbox.ledger_after(seq_no, 9)).entries) == 5 - seq_no


@pytest.mark.parametrize("seq_no", [0, 1, 2])
async def test_a_receipt_from_before_what_is_kept_is_refused(
    database: Database, outbox: Outbox, hashes: list[bytes], seq_no: int
) -> None:
    """What the centre would need next is gone: joining anything else on would be a lie."""
    await outbox.confirm_ledger("store-1", 4, hashes[4])
    await prune(database, LEDGER_KEPT_MS + 10_000_000)
    assert not await outbox.confirm_ledger("store-2", seq_no, hashes[seq_no])
    assert await outbox.confirm_ledger("store-1", 4, hashes[4])
    assert (await outbox.ledger_after(4, 9)).previous_hash == hashes[4]


async def test_the_diary_is_numbered_on_its_own(database: Database, outbox: Outbox) -> None:
    """The number stands in the row and in the entry."""
    refusals = [await note(database, detail) for detail in ("a", "b", "c")]
    rows = await outbox.diary_after(1, 9)
    assert [(number, decode_refusal(entry)) for number, entry in rows] == [(2, refusals[1]), (3, refusals[2])]
    assert [number for number, _ in await outbox.diary_after(0, 2)] == [1, 2]


async def test_a_confirmed_diary_is_forgotten_and_its_numbers_are_not_given_again(
    database: Database, outbox: Outbox
) -> None:
    """Also when nothing is left."""
    for detail in ("a", "b"):
        await note(database, detail)
    await outbox.confirm_diary(2)
    assert await outbox.diary_after(0, 9) == []
    assert (await outbox.confirmed()).diary_number == 2
    assert (await note(database, "c")).number == 3


async def test_what_is_kept_under_a_name_is_replaced(database: Database) -> None:
    """Text, bytes and numbers come back as they were."""
    values: list[str | int | bytes] = ["text", 5, b"bytes"]
    for value in values:
        await database.write(lambda sql, v=value: set_state(sql, "name", v))  # type: ignore[misc]
        assert await database.read(lambda sql: get_state(sql, "name")) == value
    assert await database.read(lambda sql: get_state(sql, "another")) is None
