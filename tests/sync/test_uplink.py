"""What goes up, in which order and how often; and that only the centre's receipt releases it."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from admission.events import NO_HASH, Incident, chain
from admission.reasons import Reason
from admission.tickets import Outcome
from central import schema
from central.ingest import ingest
from central.store import Store as CentreStore
from central.store import open_store
from offline_cache.database import Database
from offline_cache.journal import Outbox, append, note_refusal
from offline_cache.opening import StoreFullError
from sync import uplink as uplink_module
from sync.protocol import Batch, BoxTopics, Receipt, Stream, decode_batch, encode_json
from sync.room import NO_ROOM
from sync.uplink import BATCH_ENTRIES, WINDOW_ENTRIES, Uplink
from tests.admission.makers import NOW_MS, signing_key
from tests.central.world import Box as Registered
from tests.central.world import register
from tests.support.waiting import until, until_asked

KEY = signing_key(9)
TOPICS = BoxTopics("fairy", "box-1")
SHORTLY_S = 0.04


@dataclass(slots=True)
class Line:
    """A box's outbox, its uplink, and a centre that is as forthcoming as the test wants."""

    database: Database
    outbox: Outbox
    uplink: Uplink
    is_up: bool = True
    batches: list[Batch] = field(default_factory=list)

    def carry(self, topic: str, payload: bytes) -> bool:
        """Take a message, if the link is up, and keep the batch that the centre would see."""
        if self.is_up:
            batch = decode_batch(payload, {KEY.key_id: KEY.public.key}.get)
            assert topic == TOPICS.up(batch.stream)
            self.batches.append(batch)
        return self.is_up

    async def record(self, entries: int, refusals: int = 0) -> None:
        """Commit entries to the ledger and refusals to the diary, and wake the uplink."""
        await self.database.write(
            lambda sql: [append(sql, NOW_MS, Incident("1", Outcome.FORCED)) for _ in range(entries)]
        )
        await self.database.write(
            lambda sql: [note_refusal(sql, NOW_MS, "1", Reason.EXPIRED, b"", "") for _ in range(refusals)]
        )
        self.uplink.wake()

    async def hash_at(self, seq_no: int) -> bytes:
        """The ledger's true hash at a number."""
        tail = await self.outbox.ledger_after(seq_no, 1)
        return tail.previous_hash

    async def receipt(self, seq_no: int, diary_number: int = 0, hash_: bytes | None = None) -> None:
        """Let the centre confirm the ledger up to a number."""
        hash_ = await self.hash_at(seq_no) if hash_ is None else hash_
        self.uplink.receive(
            encode_json(Receipt(store_id="s", seq_no=seq_no, hash=hash_.hex(), diary_number=diary_number))
        )

    async def confirmed(self, seq_no: int) -> None:
        """Wait until the box has taken the centre's word up to a number."""
        async with asyncio.timeout(10):
            while (await self.outbox.confirmed()).seq_no != seq_no:
                await asyncio.sleep(0.002)

    async def sent(self, batches: int) -> None:
        """Wait until so many batches were sent."""
        await until(lambda: len(self.batches) >= batches, f"batch {batches}")

    async def quiet(self) -> None:
        """Give the uplink every chance to send more than it should."""
        for _ in range(20):
            self.uplink.wake()
            await self.give_way(1)

    async def give_way(self, steps: int) -> None:
        """Let the uplink take so many steps: each reads, beside the writer or not, or writes."""
        for _ in range(steps):
            await self.database.read_beside(lambda _: None)
            await self.database.read(lambda _: None)
            await asyncio.sleep(0)

    def numbers(self, stream: Stream = Stream.LEDGER) -> list[tuple[int, int]]:
        """First number and length of each batch of a stream that was sent."""
        return [(batch.first, len(batch.entries)) for batch in self.batches if batch.stream is stream]


@asynccontextmanager
async def opened_line(folder: Path) -> AsyncIterator[Line]:
    """A box's memory with its uplink at work."""
    database = await Database.open(folder)
    outbox = Outbox(database)

    line: Line

    def publish(topic: str, payload: bytes) -> bool:
        return line.carry(topic, payload)

    uplink = Uplink(outbox, publish, TOPICS, KEY)
    line = Line(database, outbox, uplink)
    running = asyncio.create_task(uplink.run())
    try:
        yield line
        assert not running.done(), "the uplink has ended"
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await database.close()


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    """An uplink with nothing to send."""
    async with opened_line(tmp_path) as line:
        yield line


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is not receipted is sent again soon."""
    monkeypatch.setattr(uplink_module, "RESEND_S", SHORTLY_S)


async def test_entries_go_up_in_order_and_chained(line: Line) -> None:
    """Batches follow each other without a gap, and each names the hash before its first entry."""
    await line.record(BATCH_ENTRIES + 50)
    await line.sent(2)
    assert line.numbers() == [(1, BATCH_ENTRIES), (BATCH_ENTRIES + 1, 50)]
    hash_ = NO_HASH
    for batch in line.batches:
        assert batch.previous_hash == hash_
        for entry in batch.entries:
            hash_ = chain(hash_, entry)
    assert hash_ == await line.hash_at(BATCH_ENTRIES + 50)


async def test_window_bounds_what_is_on_its_way(line: Line) -> None:
    """Sending runs ahead of the receipts by the window and no further; a receipt opens it by as much."""
    await line.record(WINDOW_ENTRIES + 3 * BATCH_ENTRIES)
    batches = WINDOW_ENTRIES // BATCH_ENTRIES
    await line.sent(batches)
    await line.quiet()
    assert sum(length for _, length in line.numbers()) == WINDOW_ENTRIES
    await line.receipt(BATCH_ENTRIES)
    await line.sent(batches + 1)
    await line.quiet()
    assert line.numbers()[batches:] == [(WINDOW_ENTRIES + 1, BATCH_ENTRIES)]


async def test_batches_leave_room_while_visitors_come(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each full batch the uplink rests, as long as something is recorded; on a quiet box it does not."""
    monkeypatch.setattr(uplink_module, "PAUSE_S", 3600)
    monkeypatch.setattr(uplink_module, "BUSY_S", 3600)
    await line.record(3 * BATCH_ENTRIES)
    await line.sent(1)
    await line.quiet()
    assert len(line.batches) == 1


async def test_quiet_box_sends_without_rest(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a decision."""
    monkeypatch.setattr(uplink_module, "PAUSE_S", 3600)
    monkeypatch.setattr(uplink_module, "BUSY_S", 0)
    await line.record(3 * BATCH_ENTRIES)
    await line.sent(3)


async def test_nothing_is_released_without_a_receipt(line: Line) -> None:
    """That the link took every message confirms nothing."""
    await line.record(5, refusals=2)
    await line.sent(1)
    await line.quiet()
    assert (await line.outbox.confirmed()).seq_no == 0
    assert await line.outbox.backlog() == 5
    assert len(await line.outbox.diary_after(0, 10)) == 2


async def test_silence_is_taken_for_loss(line: Line, impatient: None) -> None:
    """What no receipt comes for is sent again, from the last receipt on."""
    await line.record(3)
    await line.sent(3)
    assert line.numbers()[:3] == [(1, 3)] * 3
    await line.receipt(3)
    await line.confirmed(3)


async def test_loss_is_noticed_on_a_busy_day(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when something new is recorded all the time, a batch that was lost is sent again."""
    monkeypatch.setattr(uplink_module, "RESEND_S", 0.5)
    end_s = asyncio.get_running_loop().time() + 5
    while [first for first, _ in line.numbers()].count(1) < 2:
        assert asyncio.get_running_loop().time() < end_s, "entry 1 was not sent again"
        await line.record(1)
        await asyncio.sleep(0.01)


async def test_lost_refusals_are_sent_again_while_the_ledger_gets_on(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Receipts for one stream say nothing of the other: a busy gate's refusals do not wait for a quiet one."""
    monkeypatch.setattr(uplink_module, "RESEND_S", 0.3)
    await line.record(0, refusals=1)
    await line.sent(1)
    end_s = asyncio.get_running_loop().time() + 5
    number = 0
    while len(line.numbers(Stream.DIARY)) < 2:
        assert asyncio.get_running_loop().time() < end_s, "the refusal was not sent again"
        number += 1
        await line.record(1)
        await until(lambda n=number: (n, 1) in line.numbers(), f"entry {number}")  # type: ignore[misc]
        await line.receipt(number)
        await line.confirmed(number)
    assert await line.outbox.diary_backlog() == 1
    await line.receipt(number, diary_number=1)
    await until_asked(lambda: _is_told(line), "the refusal")


async def _is_told(line: Line) -> bool:
    return await line.outbox.diary_backlog() == 0


async def test_nothing_is_sent_again_for_want_of_room(
    line: Line, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the centre has is known all the same, and kept once there is room, without another word of it."""
    kept = line.outbox.confirm_ledger
    tries: list[int] = []

    async def no_room(_store_id: str, seq_no: int, _hash: bytes) -> bool:
        tries.append(seq_no)
        raise StoreFullError("the disk is full")

    monkeypatch.setattr(line.outbox, "confirm_ledger", no_room)
    await line.record(3)
    await line.sent(1)
    await line.receipt(3)
    await until(lambda: line.uplink.problem == NO_ROOM, "what is wrong")
    sent = len(line.batches)
    await until(lambda: len(tries) > 5, "some tries to keep it")
    assert len(line.batches) == sent
    monkeypatch.setattr(line.outbox, "confirm_ledger", kept)
    await line.confirmed(3)
    await until(lambda: line.uplink.problem == "", "the end of it")


async def test_progress_puts_resending_off(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """While receipts come, nothing is sent twice."""
    monkeypatch.setattr(uplink_module, "RESEND_S", 0.5)
    for number in range(1, 31):
        await line.record(1)
        await line.sent(number)
        await asyncio.sleep(0.02)
        await line.receipt(number)
        await line.confirmed(number)
    assert line.numbers() == [(number, 1) for number in range(1, 31)]


async def test_link_that_came_up_again_starts_from_the_last_receipt(line: Line) -> None:
    """What was on its way when the link broke is sent again; what was receipted is not."""
    await line.record(2 * BATCH_ENTRIES)
    await line.sent(2)
    await line.receipt(BATCH_ENTRIES)
    await line.confirmed(BATCH_ENTRIES)
    line.uplink.restart()
    await line.sent(3)
    assert line.numbers()[2:] == [(BATCH_ENTRIES + 1, BATCH_ENTRIES)]


async def test_next_process_starts_from_the_last_receipt(tmp_path: Path) -> None:
    """What the centre has confirmed is remembered over a restart of the box."""
    async with opened_line(tmp_path) as line:
        await line.record(10)
        await line.sent(1)
        await line.receipt(6)
        await line.confirmed(6)
    async with opened_line(tmp_path) as line:
        await line.sent(1)
        assert line.numbers() == [(7, 4)]


async def test_link_that_is_down_takes_nothing(line: Line) -> None:
    """What the link refused counts as not sent, and goes when the link is up."""
    line.is_up = False
    await line.record(4, refusals=1)
    await line.quiet()
    assert line.batches == []
    line.is_up = True
    line.uplink.restart()
    await line.sent(1)
    assert line.numbers() == [(1, 4)]


async def test_receipt_for_another_ledger_releases_nothing(line: Line) -> None:
    """A centre that holds another history of this box is told of, and nothing is released on its word."""
    await line.record(5, refusals=1)
    await line.sent(1)
    await line.receipt(5, diary_number=1, hash_=bytes(32))
    await until(lambda: "another ledger" in line.uplink.problem, "the complaint")
    assert (await line.outbox.confirmed()).seq_no == 0
    assert len(await line.outbox.diary_after(0, 10)) == 1
    await line.receipt(5)
    await line.confirmed(5)
    await until(lambda: not line.uplink.problem, "the end of the complaint")


async def test_receipt_beyond_the_ledger_releases_nothing(line: Line) -> None:
    """A centre that knows entries which this box does not have holds another ledger."""
    await line.record(5)
    await line.receipt(9, hash_=bytes(32))
    await until(lambda: bool(line.uplink.problem), "the complaint")
    assert (await line.outbox.confirmed()).seq_no == 0


async def test_lower_receipt_reopens_the_tail(line: Line) -> None:
    """A centre that was restored from a backup gets again what it had confirmed."""
    await line.record(10)
    await line.receipt(10)
    await line.confirmed(10)
    line.batches.clear()
    await line.receipt(4)
    await line.confirmed(4)
    await line.sent(1)
    assert line.numbers() == [(5, 6)]


async def test_diary_goes_after_the_ledger(line: Line) -> None:
    """Refusals wait until every ledger entry is receipted, and are forgotten when their number is."""
    await line.record(3, refusals=2)
    await line.sent(1)
    await line.quiet()
    assert line.numbers(Stream.DIARY) == []
    await line.receipt(3)
    await line.sent(2)
    assert line.numbers(Stream.DIARY) == [(1, 2)]
    await line.receipt(3, diary_number=2)
    async with asyncio.timeout(10):
        while await line.outbox.diary_after(0, 10):
            await asyncio.sleep(0.002)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"store_id": "s", "seq_no": 0, "hash": "not hex", "diary_number": 0}',
        b'{"store_id": "s", "seq_no": 1000000000000000000000, "hash": "%s", "diary_number": 0}' % (b"0" * 64),
        b'{"store_id": "s", "seq_no": -1, "hash": "%s", "diary_number": 0}' % (b"0" * 64),
        b'{"store_id": "s", "seq_no": 0, "hash": "%s", "diary_number": 99999999999999999999}' % (b"0" * 64),
    ],
)
async def test_unreadable_receipt_changes_nothing(line: Line, payload: bytes) -> None:
    """Whatever comes on the receipt's topic, the uplink says so and goes on."""
    line.uplink.receive(payload)
    assert "cannot be read" in line.uplink.problem
    await line.record(2)
    await line.sent(1)
    await line.receipt(2)
    await line.confirmed(2)
    await until(lambda: not line.uplink.problem, "the end of the complaint")


@dataclass(slots=True)
class Network:
    """Batches and receipts on their way between a box and the real centre, to be lost, doubled and overtaken."""

    centre: CentreStore
    topics: BoxTopics
    uplink: Uplink | None = None
    up: list[tuple[str, bytes]] = field(default_factory=list)
    down: list[bytes] = field(default_factory=list)

    def carry(self, topic: str, payload: bytes) -> bool:
        """Take a message of the box's."""
        self.up.append((topic, payload))
        return True

    async def deliver(self, place: int, *, keep: bool) -> None:
        """Let the centre ingest one of the messages; its answer is then on its way."""
        if self.up:
            topic, payload = self.up[place % len(self.up)] if keep else self.up.pop(place % len(self.up))
            reply = await self.centre.run(lambda connection: ingest(connection, topic, payload, NOW_MS))
            assert reply is not None
            self.down.append(reply.payload)

    def answer(self, place: int, *, keep: bool) -> None:
        """Let one of the receipts arrive."""
        if self.down and self.uplink is not None:
            place %= len(self.down)
            self.uplink.receive(self.down[place] if keep else self.down.pop(place))

    def lose(self, place: int) -> None:
        """Drop a message and a receipt."""
        for way in (self.up, self.down):
            if way:
                way.pop(place % len(way))


PLACE = st.integers(0, 5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.integers(1, 7)),
        st.tuples(st.sampled_from(["deliver", "deliver twice", "answer", "answer twice", "lose"]), PLACE),
        st.tuples(st.just("link up"), st.just(0)),
    ),
    max_size=30,
)


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[CentreStore]:
    """The centre's store, for as many boxes as come."""
    opened = open_store(tmp_path / "centre.db")
    yield opened
    opened.close()


BOX_NUMBERS = count(1)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=STEPS)
async def test_any_interleaving_ends_with_both_sides_equal(
    centre: CentreStore, steps: list[tuple[str, int]]
) -> None:
    """However batches and receipts are lost, doubled and overtaken, in the end everything is confirmed, once."""
    box = Registered(box_id=f"box-{next(BOX_NUMBERS)}", key=KEY)
    await centre.run(lambda connection: register(connection, box))
    network = Network(centre, box.topics)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(uplink_module, "BATCH_ENTRIES", 3)
        patch.setattr(uplink_module, "WINDOW_ENTRIES", 9)
        patch.setattr(uplink_module, "PAUSE_S", 0)
        database = await Database.open(Path(folder))
        outbox = Outbox(database)
        uplink = network.uplink = Uplink(outbox, network.carry, box.topics, KEY)
        running = asyncio.create_task(uplink.run())
        line = Line(database, outbox, uplink)
        try:
            for what, number in steps:
                await play(network, line, what, number)
            await settle(network, line)
            await same_on_both_sides(centre, box.box_id, line)
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.wait((running,))
            await database.close()


async def play(network: Network, line: Line, what: str, number: int) -> None:
    """One step of the world, and time for the uplink to notice."""
    actions: dict[str, Callable[[], None]] = {
        "answer": lambda: network.answer(number, keep=False),
        "answer twice": lambda: network.answer(number, keep=True),
        "lose": lambda: network.lose(number),
        "link up": line.uplink.restart,
    }
    if what == "record":
        await line.record(number, refusals=number % 3)
    elif what in actions:
        actions[what]()
    else:
        await network.deliver(number, keep=what == "deliver twice")
    await line.give_way(5)


async def settle(network: Network, line: Line) -> None:
    """From now on nothing is lost: carry everything, and take what was lost before as lost, until all is confirmed."""
    for round_ in count():
        assert round_ < 200, "box and centre do not come to agree"
        line.uplink.restart()
        await line.give_way(4)
        while network.up:
            await network.deliver(0, keep=False)
        while network.down:
            network.answer(0, keep=False)
        if not await line.outbox.backlog() and not await line.outbox.diary_after(0, 1):
            return


async def same_on_both_sides(centre: CentreStore, box_id: str, line: Line) -> None:
    """The centre has the box's ledger byte for byte, and every refusal once."""
    entries = (
        select(schema.ledger.c.entry).where(schema.ledger.c.box_id == box_id).order_by(schema.ledger.c.seq_no)
    )
    stored = await centre.read(lambda connection: list(connection.scalars(entries)))
    own = await line.database.read(
        lambda sql: sql.execute("SELECT entry FROM ledger ORDER BY seq_no").fetchall()
    )
    assert stored == [entry for (entry,) in own]
    numbers = select(schema.diary.c.number).where(schema.diary.c.box_id == box_id)
    diary = await centre.read(lambda connection: sorted(connection.scalars(numbers)))
    last = await line.database.read(lambda sql: sql.execute("SELECT seq FROM sqlite_sequence").fetchone())
    assert diary == list(range(1, (last[0] if last else 0) + 1))
