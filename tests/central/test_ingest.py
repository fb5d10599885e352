"""What the centre believes of what boxes send, and what it answers."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, Table, func, select

from admission.events import NO_HASH, EpochOpened
from admission.reasons import Reason
from admission.tickets import Outcome
from central.ingest import Reply, ingest
from central.schema import diary, forks, incidents, ledger, presence, rejections, set_aside
from central.store import Store
from sync.protocol import Presence, Receipt, Stream, decode_receipt, encode_json
from tests.central.world import NOW_MS, Box, admitted, closed, refusal, register, signing_key

KEY = b"k" * 16


@pytest.fixture
def box() -> Box:
    """A box with five entries in its ledger."""
    box = Box()
    box.open_epoch()
    for number in (1, 2):
        box.append(admitted(number, KEY))
        box.append(closed(number, Outcome.PASSED))
    return box


@pytest.fixture
async def registered(store: Store, box: Box) -> Store:
    """A store that knows the box."""
    await store.run(lambda connection: register(connection, box))
    return store


async def send(store: Store, box: Box, message: bytes, stream: Stream = Stream.LEDGER) -> Receipt | None:
    """Ingest a message of the box and return the receipt, if there was one."""
    return await send_to(store, box.topics.up(stream), message)


async def send_to(store: Store, topic: str, message: bytes) -> Receipt | None:
    """Ingest a message on any topic and return the receipt, if there was one."""
    reply: Reply | None = await store.run(lambda connection: ingest(connection, topic, message, NOW_MS))
    return None if reply is None else decode_receipt(reply.payload)


async def rows(store: Store, table: Table) -> list[Any]:
    """All rows of a table."""
    return await store.read(lambda connection: list(connection.execute(select(table))))


async def test_batch_is_stored_raw_and_receipted(registered: Store, box: Box) -> None:
    """A whole ledger is kept byte for byte and the receipt names its end."""
    receipt = await send(registered, box, box.batch())
    assert receipt is not None
    assert (receipt.seq_no, receipt.hash, receipt.diary_number) == (5, box.hashes[5].hex(), 0)
    stored = await rows(registered, ledger)
    assert [row.entry for row in stored] == box.entries
    assert {row.epoch for row in stored} == {b"epoch-1"}


async def test_receipt_goes_to_the_box(registered: Store, box: Box) -> None:
    """The answer is for the topic on which the box listens."""
    reply = await registered.run(
        lambda connection: ingest(connection, box.topics.up(Stream.LEDGER), box.batch(), NOW_MS)
    )
    assert reply is not None
    assert reply.topic == box.topics.receipt


async def test_duplicate_changes_nothing(registered: Store, box: Box) -> None:
    """The same batch again gives the same receipt and no second row."""
    first = await send(registered, box, box.batch())
    assert await send(registered, box, box.batch()) == first
    assert len(await rows(registered, ledger)) == 5


@pytest.mark.parametrize(("first", "last"), [(1, 5), (2, 5), (3, 4), (4, 5), (2, 2)])
async def test_overlap_is_cut(registered: Store, box: Box, first: int, last: int) -> None:
    """Of a batch that begins among known entries only the new ones are stored."""
    await send(registered, box, box.batch(1, 3))
    receipt = await send(registered, box, box.batch(first, last))
    assert receipt is not None
    assert receipt.seq_no == max(3, last)
    assert [row.entry for row in await rows(registered, ledger)] == box.entries[: receipt.seq_no]
    assert await rows(registered, forks) == []


async def test_gap_stores_nothing_and_tells_where_to_go_on(registered: Store, box: Box) -> None:
    """A batch beyond the head is answered with the head."""
    await send(registered, box, box.batch(1, 2))
    receipt = await send(registered, box, box.batch(4, 5))
    assert receipt is not None
    assert receipt.seq_no == 2
    assert len(await rows(registered, ledger)) == 2


async def test_first_receipt_is_of_nothing(registered: Store, box: Box) -> None:
    """A box of which nothing is stored learns that."""
    receipt = await send(registered, box, box.batch(3, 4))
    assert receipt is not None
    assert (receipt.seq_no, receipt.hash) == (0, NO_HASH.hex())


async def test_fork_is_kept_and_reported_once(registered: Store, box: Box) -> None:
    """Another history is set aside with its raw message and moves nothing."""
    first = await send(registered, box, box.batch())
    clone = Box(entries=box.entries[:3], hashes=box.hashes[:4])
    clone.append(closed(9, Outcome.FORCED))
    message = clone.batch(2, 4)
    assert await send(registered, box, message) == first
    assert await send(registered, box, message) == first
    kept = await rows(registered, forks)
    assert [(row.seq_no, row.message) for row in kept] == [(4, message)]
    assert [(row.kind, row.seq_no) for row in await rows(registered, incidents)] == [("fork", 4)]
    assert [row.entry for row in await rows(registered, ledger)] == box.entries


async def test_fork_right_behind_the_head_is_seen(registered: Store, box: Box) -> None:
    """A batch that follows by number but not by hash is a fork."""
    await send(registered, box, box.batch(1, 4))
    clone = Box(entries=box.entries[:3], hashes=box.hashes[:4])
    clone.append(closed(9, Outcome.FORCED))
    clone.append(closed(9, Outcome.PASSED))
    receipt = await send(registered, box, clone.batch(5, 5))
    assert receipt is not None
    assert receipt.seq_no == 4
    assert [row.seq_no for row in await rows(registered, forks)] == [4]


async def test_poison_does_not_stop_the_stream(registered: Store, box: Box) -> None:
    """An entry that cannot be read is chained, counted and set aside."""
    box.append_raw(b"\xff not an event")
    box.append_raw(box.entries[0])
    box.append(closed(3, Outcome.PASSED), at_ms=1 << 70)
    box.append(closed(3, Outcome.PASSED))
    receipt = await send(registered, box, box.batch())
    assert receipt is not None
    assert (receipt.seq_no, receipt.hash) == (9, box.hashes[9].hex())
    assert [row.number for row in await rows(registered, set_aside)] == [6, 7, 8]


async def test_epoch_of_a_row_is_the_last_one_opened(registered: Store, box: Box) -> None:
    """Rows carry the epoch in which they were written, also across batches."""
    box.append(EpochOpened(box.box_id, box.site_id, b"epoch-2", b"epoch-1"))
    box.append(closed(2, Outcome.PASSED))
    await send(registered, box, box.batch(1, 6))
    await send(registered, box, box.batch(7, 7))
    assert [row.epoch for row in await rows(registered, ledger)] == [b"epoch-1"] * 5 + [b"epoch-2"] * 2


def _foreign_key(box: Box) -> bytes:
    return Box(key=signing_key("another"), entries=box.entries, hashes=box.hashes).batch()


def _other_box(box: Box) -> bytes:
    return Box(box_id="fairy-2", key=box.key, entries=box.entries, hashes=box.hashes).batch()


def _flipped(box: Box) -> bytes:
    envelope = bytearray(zlib.decompress(box.batch()))
    envelope[-1] ^= 1
    return zlib.compress(bytes(envelope))


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (_foreign_key, "UnknownKeyError"),
        (_other_box, "ProtocolError"),
        (_flipped, "BadSignatureError"),
        (lambda box: box.entries[0], "ProtocolError"),
        (lambda box: box.batch()[:-20], "ProtocolError"),
        (lambda box: box.diary([refusal(1)]), "ProtocolError"),
    ],
)
async def test_unbelievable_batch_is_counted_and_not_answered(
    registered: Store, box: Box, make: Callable[[Box], bytes], problem: str
) -> None:
    """What the box did not sign for this topic changes nothing but a count."""
    message = make(box)
    assert await send(registered, box, message) is None
    assert await send(registered, box, message) is None
    assert await rows(registered, ledger) == []
    assert [(row.problem, row.count) for row in await rows(registered, rejections)] == [(problem, 2)]


@pytest.mark.parametrize(
    "topic", ["sg1/bridges/fairy-1/up/ledger", "sg1/fairy/fairy-9/up/ledger", "sg1/fairy/up", "x"]
)
async def test_topic_of_no_registered_box_is_refused(registered: Store, box: Box, topic: str) -> None:
    """A box speaks for its registered site only."""
    assert await send_to(registered, topic, box.batch()) is None
    assert len(await rows(registered, rejections)) == 1


async def test_diary_is_stored_once_and_may_have_gaps(registered: Store, box: Box) -> None:
    """Refusals are known by their numbers."""
    await send(registered, box, box.diary([refusal(1), refusal(2)]), Stream.DIARY)
    receipt = await send(registered, box, box.diary([refusal(2), refusal(5)], first=2), Stream.DIARY)
    assert receipt is not None
    assert receipt.diary_number == 5
    stored = await rows(registered, diary)
    assert [(row.number, row.reason, row.site_id) for row in stored] == [
        (number, Reason.ALREADY_USED.value, "fairy") for number in (1, 2, 5)
    ]


async def test_unreadable_diary_entry_is_set_aside_with_its_number(registered: Store, box: Box) -> None:
    """A diary entry of a later version does not make the box send it for ever."""
    newer = b"\x82\x07\x00"  # [7, 0]
    receipt = await send(registered, box, box.diary([refusal(6), newer, b"\xff"], first=6), Stream.DIARY)
    assert receipt is not None
    assert receipt.diary_number == 8
    assert [row.number for row in await rows(registered, set_aside)] == [7, 8]


@pytest.mark.parametrize("online", [True, False])
async def test_birth_is_answered_with_the_receipt(registered: Store, box: Box, online: bool) -> None:
    """A box that comes online learns where it stands; its last will is only stored."""
    await send(registered, box, box.batch(1, 3))
    message = encode_json(Presence(session="s", online=online, at_ms=NOW_MS))
    receipt = await send_to(registered, box.topics.presence, message)
    assert (receipt.seq_no if receipt else None) == (3 if online else None)
    assert [row.online for row in await rows(registered, presence)] == [online]


async def test_store_id_stays(registered: Store, box: Box) -> None:
    """All receipts of one store carry the same id."""
    receipts = [await send(registered, box, box.batch(1, last)) for last in (1, 2)]
    assert len({receipt.store_id for receipt in receipts if receipt}) == 1


async def test_failed_closure_stores_nothing(registered: Store, box: Box) -> None:
    """A transaction that raises leaves no trace."""

    def work(connection: Connection) -> None:
        ingest(connection, box.topics.up(Stream.LEDGER), box.batch(), NOW_MS)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await registered.run(work)
    assert await registered.read(lambda c: c.scalar(select(func.count()).select_from(ledger))) == 0
