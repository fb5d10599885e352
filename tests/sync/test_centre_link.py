"""The whole conversation with the centre over a real broker: birth, heartbeat, receipts, lists, goodbye."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from admission.capacity import CapacityLimits, Headcount, Share
from admission.changes import ListChanges, WithdrawnKeyRow
from admission.events import NO_HASH, Incident
from admission.tickets import Outcome
from offline_cache.capacity import CapacityMemory, capacity_facts
from offline_cache.database import Database
from offline_cache.journal import Outbox, append
from offline_cache.lists import ListShelf
from offline_cache.neighbours import Neighbours
from offline_cache.opening import StoreFullError
from offline_cache.overlay import Overlay, is_withdrawn
from offline_cache.proved_time import ProvedTime
from sync import centre_link as centre_link_module
from sync import room as room_module
from sync import time_repairs as time_repairs_module
from sync import uplink as uplink_module
from sync.capacity import CapacityFeed
from sync.centre_link import BoxIdentity, CentreLink, Feeds
from sync.changes import ChangeFeed
from sync.downlink import Downlink
from sync.introductions import Introductions
from sync.mqtt import Broker
from sync.protocol import (
    LIST_FORMAT,
    BoxTopics,
    CapacityWord,
    Health,
    ListManifest,
    Presence,
    Receipt,
    SiteBox,
    SiteBoxes,
    Stream,
    TimeRepair,
    decode_batch,
    decode_presence,
    encode_boxes,
    encode_capacity,
    encode_changes,
    encode_json,
    encode_manifest,
    encode_time_repair,
)
from sync.room import NO_ROOM
from sync.time_repairs import TimeRepairs
from tests.admission.makers import NOW_MS, SITE, STRANGER, signing_key
from tests.central.programs import Ear, Mosquitto, listening
from tests.offline_cache.list_files import build_list
from tests.support.secured import secured
from tests.support.small_disk import fill, mounted
from tests.support.waiting import until

pytestmark = pytest.mark.e2e
TOPICS = BoxTopics(SITE, "box-1")
BOX_KEY, LIST_KEY = signing_key(8), signing_key(7)
SESSION = "5e55"


@dataclass(slots=True)
class Box:
    """What the link speaks for: memory, a shelf, and a centre whose files are on the disk."""

    database: Database
    outbox: Outbox
    shelf: ListShelf
    link: CentreLink
    library: dict[str, bytes] = field(default_factory=dict)
    introduced: list[SiteBoxes] = field(default_factory=list)
    repaired: list[int] = field(default_factory=list)
    running: asyncio.Task[None] | None = None

    async def record(self, entries: int) -> None:
        """Commit entries and say that there is something to send."""
        await self.database.write(
            lambda sql: [append(sql, NOW_MS, Incident("1", Outcome.FORCED)) for _ in range(entries)]
        )
        self.link.wake()

    async def end(self) -> None:
        """Stop the link as the program does at its end."""
        assert self.running is not None
        self.running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.running


@asynccontextmanager
async def opened_box(folder: Path, port: int) -> AsyncIterator[Box]:
    """A box whose link works towards a broker."""
    database = await Database.open(folder / "state")
    outbox = Outbox(database)
    shelf = ListShelf(folder / "lists", SITE, database)
    library: dict[str, bytes] = {}

    async def fetch(path: str, target: Path, size_bytes: int, etag: str) -> None:
        assert len(library[path]) == size_bytes
        await asyncio.to_thread(target.write_bytes, library[path])

    async def get(path: str, max_bytes: int) -> bytes:
        nothing = ListChanges(site_id=SITE, from_revision=0, to_revision=0, as_of_s=1)
        return encode_changes(nothing, LIST_KEY)

    async def health() -> Health:
        backlog = await outbox.backlog()
        return Health(
            list_version=shelf.version, list_age_s=0, backlog=backlog, lanes={"1": "CLOSED"}, problems=[]
        )

    find_key = {LIST_KEY.key_id: LIST_KEY.public.key}.get
    introduced: list[SiteBoxes] = []
    repaired: list[int] = []

    async def introduce(word: SiteBoxes) -> None:
        introduced.append(word)

    link = CentreLink(
        secured(Broker(host="127.0.0.1", port=port, client_id="box-fairy-box-1"), "fairy/box-1"),
        BoxIdentity(TOPICS, BOX_KEY, SESSION),
        outbox,
        Feeds(
            Downlink(shelf, fetch, SITE, find_key, lambda: 0.0),
            ChangeFeed(Overlay(SITE, database, lambda: shelf.revision), get, SITE, find_key, lambda: 0.0),
            CapacityFeed(CapacityMemory(database, "box-1"), TOPICS, find_key, lambda: NOW_MS),
            Introductions(Neighbours(database), SITE, find_key, introduce),
            TimeRepairs(ProvedTime(database), SITE, find_key, lambda: shelf.revision, repaired.append),
        ),
        health,
        lambda: NOW_MS,
        lambda: 0.0,
    )
    box = Box(database, outbox, shelf, link, library, introduced, repaired)
    box.running = asyncio.create_task(link.run())
    try:
        yield box
    finally:
        await box.end()
        await shelf.close()
        await database.close()


@pytest.fixture
async def box(tmp_path: Path, mosquitto: Mosquitto) -> AsyncIterator[Box]:
    """A box whose link is up."""
    async with opened_box(tmp_path, mosquitto.port) as box:
        await until(lambda: box.link.is_up, "the link")
        yield box


def presence(ear: Ear) -> Presence | None:
    """The box's last word about itself."""
    said = ear.last(TOPICS.presence)
    return decode_presence(said) if said else None


async def test_birth_is_retained_and_has_the_box_s_health(box: Box, mosquitto: Mosquitto) -> None:
    """Whoever looks at the broker later finds that the box is there, since when, and how it does."""
    await box.record(3)
    box.link._due.set()
    with listening(mosquitto.port, TOPICS.presence) as ear:
        await until(lambda: (said := presence(ear)) is not None and said.online, "the birth")
        said = presence(ear)
        assert said is not None
        assert (said.session, said.at_ms) == (SESSION, NOW_MS)
        assert said.health is not None
        assert said.health.lanes == {"1": "CLOSED"}


async def test_heartbeat_follows_the_birth(
    tmp_path: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the link is up the box speaks again and again, each time as it is then."""
    monkeypatch.setattr(centre_link_module, "HEARTBEAT_S", 0.05)
    async with opened_box(tmp_path, mosquitto.port) as box:
        with listening(mosquitto.port, TOPICS.presence) as ear:
            await until(lambda: len(ear.heard.get(TOPICS.presence, ())) >= 3, "three heartbeats")
            await box.record(2)

            def counts_two() -> bool:
                said = presence(ear)
                return said is not None and said.health is not None and said.health.backlog == 2

            await until(counts_two, "the new backlog")


async def test_a_broker_that_swallows_what_the_box_says_is_a_problem(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under MQTT 3.1.1 a refusal is silent: a box that does not hear its own presence says so."""
    assert box.link.problems == []
    monkeypatch.setattr(centre_link_module, "ECHO_WITHIN_S", 0.1)
    monkeypatch.setattr(box.link, "_hear_itself", lambda _: None)
    await until(lambda: any("does not pass on" in problem for problem in box.link.problems), "the problem")


async def test_a_box_that_hears_itself_has_no_problem(
    tmp_path: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The echo of this session's own word counts, a word of an earlier session does not."""
    monkeypatch.setattr(centre_link_module, "HEARTBEAT_S", 0.05)
    async with opened_box(tmp_path, mosquitto.port) as box:
        await until(lambda: box.link.is_up, "the link")
        first_s = box.link._echoed_s
        await until(lambda: box.link._echoed_s > first_s, "an echo")
        heard_s = box.link._echoed_s
        box.link._hear_itself(encode_json(Presence(session="an earlier one", online=True, at_ms=NOW_MS)))
        box.link._hear_itself(b"no presence")
        assert box.link._echoed_s == heard_s


async def test_ledger_goes_up_and_its_receipt_releases_it(box: Box, mosquitto: Mosquitto) -> None:
    """What is committed arrives signed by the box; the centre's receipt on the box's own topic confirms it."""
    with listening(mosquitto.port, TOPICS.up(Stream.LEDGER)) as ear:
        await box.record(3)
        await until(lambda: ear.last(TOPICS.up(Stream.LEDGER)) is not None, "the batch")
        batch = decode_batch(
            ear.last(TOPICS.up(Stream.LEDGER)) or b"", {BOX_KEY.key_id: BOX_KEY.public.key}.get
        )
        assert (batch.box_id, batch.first, len(batch.entries)) == ("box-1", 1, 3)
        tail = await box.outbox.ledger_after(3, 1)
        receipt = Receipt(store_id="s", seq_no=3, hash=tail.previous_hash.hex(), diary_number=0)
        ear.say(TOPICS.receipt, encode_json(receipt))
        async with asyncio.timeout(10):
            while await box.outbox.backlog():
                await asyncio.sleep(0.005)


async def test_list_comes_down(box: Box, mosquitto: Mosquitto, tmp_path: Path) -> None:
    """A retained manifest brings its list; one that a stranger signed becomes a problem of the link."""
    sha256 = build_list(tmp_path / "made", version=3)
    box.library["/l/3"] = (tmp_path / "made").read_bytes()
    manifest = ListManifest(
        format=LIST_FORMAT,
        site_id=SITE,
        version=3,
        as_of_s=0,
        sha256=sha256,
        size_bytes=len(box.library["/l/3"]),
        path="/l/3",
    )
    with listening(mosquitto.port, TOPICS.manifest) as ear:
        ear.say(TOPICS.manifest, encode_manifest(manifest, LIST_KEY))
        await until(lambda: box.shelf.version == 3, "the list")
        ear.say(TOPICS.manifest, encode_manifest(manifest, STRANGER))
        await until(lambda: bool(box.link.problems), "the complaint")
        assert "refused" in box.link.problems[0]


async def test_the_site_s_boxes_are_introduced_and_remembered(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """The newest word of the centre's holds, over a restart too; a stranger's and another site's do not."""

    def word(at_ms: int, box_id: str, site_id: str = SITE) -> SiteBoxes:
        return SiteBoxes(site_id=site_id, as_of_ms=at_ms, boxes=[SiteBox(box_id=box_id, key="")])

    async with opened_box(tmp_path, mosquitto.port) as box:
        with listening(mosquitto.port, TOPICS.boxes) as ear:
            await until(lambda: box.link.is_up, "the link")
            ear.say(TOPICS.boxes, encode_boxes(word(2, "B2"), LIST_KEY))
            await until(lambda: len(box.introduced) == 1, "the first word")
            ear.say(TOPICS.boxes, encode_boxes(word(9, "forged"), STRANGER))
            await until(lambda: "boxes were refused" in str(box.link.problems), "the doubt")
            ear.say(TOPICS.boxes, encode_boxes(word(9, "elsewhere", "bridges"), LIST_KEY))
            await until(lambda: "those of bridges" in str(box.link.problems), "the other doubt")
            ear.say(TOPICS.boxes, encode_boxes(word(1, "older"), LIST_KEY))
            ear.say(TOPICS.boxes, encode_boxes(word(3, "B3"), LIST_KEY))
            await until(lambda: len(box.introduced) == 2, "the newer word")
        assert [said.boxes[0].box_id for said in box.introduced] == ["B2", "B3"]
        assert box.link.problems == []
    async with opened_box(tmp_path, mosquitto.port) as box:
        await until(lambda: len(box.introduced) == 1, "what was kept")
        assert box.introduced[0] == word(3, "B3")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own for the box."""
    with mounted(tmp_path / "small", 16) as folder:
        yield folder


async def record_until_it_is_full(box: Box) -> None:
    """Commit entries for as long as there is room; StoreFullError says that there is none."""
    while True:
        await box.record(100)


async def test_what_there_is_no_room_to_keep_is_kept_later(
    small_disk: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk the conversation goes on and says what is wrong; with room again, nothing is missing."""
    monkeypatch.setattr(room_module, "RETRY_S", 0.1)
    monkeypatch.setattr(uplink_module, "RESEND_S", 0.3)
    word = CapacityWord(
        site_id=SITE,
        box_id="box-1",
        limits=CapacityLimits(max_inside=9, max_per_day=None),
        count=Headcount(4, 4),
        share=Share(1, 3, 3, 0, NOW_MS),
    )
    changes = ListChanges(
        site_id=SITE,
        from_revision=0,
        to_revision=5,
        as_of_s=9,
        withdrawn_keys=(WithdrawnKeyRow(5, b"key"),),
    )
    boxes = SiteBoxes(site_id=SITE, as_of_ms=7, boxes=[SiteBox(box_id="B2", key="")])
    receipt = Receipt(store_id="s", seq_no=0, hash=NO_HASH.hex(), diary_number=0)
    repair = TimeRepair(site_id=SITE, number=1, at_ms=NOW_MS)
    async with opened_box(small_disk, mosquitto.port) as box:
        await until(lambda: box.link.is_up, "the link")
        part = box.shelf.new_part("1")
        await box.shelf.install(part, 1, build_list(part, version=1, revision=1))
        ballast = fill(small_disk)
        with pytest.raises(StoreFullError):
            await record_until_it_is_full(box)
        with listening(mosquitto.port, TOPICS.receipt) as ear:
            ear.say(TOPICS.capacity, encode_capacity(word, LIST_KEY))
            ear.say(TOPICS.changes, encode_changes(changes, LIST_KEY))
            ear.say(TOPICS.boxes, encode_boxes(boxes, LIST_KEY))
            ear.say(TOPICS.receipt, encode_json(receipt))
            ear.say(TOPICS.time, encode_time_repair(repair, LIST_KEY))
            await until(lambda: box.link.problems.count(NO_ROOM) == 5, "what is wrong")
            assert box.introduced == []
            ballast.unlink()
            await until(lambda: box.introduced == [boxes], "the boxes")
            await until(lambda: box.repaired == [NOW_MS], "the time")
            ear.say(TOPICS.changes, encode_changes(changes, LIST_KEY))
            ear.say(TOPICS.receipt, encode_json(receipt))
            await until(lambda: box.link.problems == [], "the end of it")
        assert await box.database.read(lambda sql: is_withdrawn(sql, b"key"))
        facts = await box.database.read(lambda sql: capacity_facts(sql, "box-1", 0))
        assert facts is not None
        assert facts.limits == word.limits


async def test_what_a_wrong_clock_proved_is_taken_back_with_the_next_list(
    box: Box, mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before that list is in use, and once; a stranger's word and another site's do not count."""
    monkeypatch.setattr(time_repairs_module, "LOOK_EVERY_S", 0.01)

    def word(number: int, at_ms: int, site_id: str = SITE) -> TimeRepair:
        return TimeRepair(site_id=site_id, number=number, at_ms=at_ms)

    with listening(mosquitto.port, TOPICS.manifest) as ear:
        ear.say(TOPICS.time, encode_time_repair(word(9, 9), STRANGER))
        await until(lambda: "time was refused" in str(box.link.problems), "the doubt")
        ear.say(TOPICS.time, encode_time_repair(word(9, 9, "bridges"), LIST_KEY))
        await until(lambda: "for site bridges" in str(box.link.problems), "the other doubt")
        for said in (word(3, 33), word(5, 55), word(4, 44)):
            ear.say(TOPICS.time, encode_time_repair(said, LIST_KEY))
        await until(lambda: box.link.problems == [], "the words")
        for version, revision in ((2, 4), (3, 6)):
            assert box.repaired == []
            path = f"/l/{version}"
            sha256 = build_list(tmp_path / "made", version=version, revision=revision)
            box.library[path] = (tmp_path / "made").read_bytes()
            (tmp_path / "made").unlink()
            manifest = ListManifest(
                format=LIST_FORMAT,
                site_id=SITE,
                version=version,
                as_of_s=0,
                sha256=sha256,
                size_bytes=len(box.library[path]),
                path=path,
            )
            ear.say(TOPICS.manifest, encode_manifest(manifest, LIST_KEY))
            await until(lambda wanted=version: box.shelf.version == wanted, "the list")  # type: ignore[misc]
        await until(lambda: bool(box.repaired), "the repair")
        ear.say(TOPICS.time, encode_time_repair(word(5, 55), LIST_KEY))
        ear.say(TOPICS.time, encode_time_repair(word(6, 66), LIST_KEY))
        await until(lambda: len(box.repaired) == 2, "the next repair")
    assert box.repaired == [55, 66]


async def test_box_that_stops_is_offline(box: Box, mosquitto: Mosquitto) -> None:
    """After a goodbye, the broker's retained word is that this session is offline."""
    with listening(mosquitto.port, TOPICS.presence) as ear:
        await until(lambda: (said := presence(ear)) is not None and said.online, "the birth")
    box.link.leave()
    await box.end()
    with listening(mosquitto.port, TOPICS.presence) as ear:
        await until(lambda: (said := presence(ear)) is not None and not said.online, "the goodbye")
        said = presence(ear)
        assert said is not None
        assert said.session == SESSION


async def test_broker_that_forgot_everything_is_told_again(box: Box, mosquitto: Mosquitto) -> None:
    """After a broker's kill and restart the birth and the unconfirmed ledger are there again."""
    await box.record(2)
    mosquitto.kill()
    await until(lambda: not box.link.is_up, "the loss")
    mosquitto.start()
    with listening(mosquitto.port, TOPICS.presence, TOPICS.up(Stream.LEDGER)) as ear:
        await until(lambda: presence(ear) is not None, "the birth")
        await until(lambda: ear.last(TOPICS.up(Stream.LEDGER)) is not None, "the ledger")
