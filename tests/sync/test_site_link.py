"""Two boxes that hear each other over a real broker, whatever happens to it."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admission.keys import public_key_text
from admission.tickets import Outcome
from sync import hearing, telling
from sync.hearing import Hearer
from sync.mqtt import Broker
from sync.protocol import Side, SiteBoxes, encode_batch, encode_side, side_of
from sync.protocol import SiteBox as NamedBox
from sync.site_link import SiteLink, Timepiece
from sync.telling import ANSWER_ENTRIES, Teller
from tests.central.programs import Mosquitto
from tests.support.secured import secured
from tests.support.site_box import SITE, SiteBox, eventually, site_box

KEY = b"k" * 16
TIMELESS = Timepiece(time.monotonic, lambda: None, lambda _: None)


@pytest.fixture
def site_broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that runs on its own free port."""
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.kill()


@dataclass(frozen=True, slots=True)
class Station:
    """A box with its link to the site's broker, which runs."""

    box: SiteBox
    link: SiteLink

    async def use(self, key: bytes) -> bytes:
        """Admit, and wake the link as the lane does."""
        admission_id = await self.box.use(key)
        self.link.wake()
        return admission_id

    async def close(self, admission_id: bytes) -> None:
        """Close an admission, and wake the link as the lane does."""
        await self.box.close(admission_id)
        self.link.wake()


@asynccontextmanager
async def station(
    folder: Path, port: int, box_id: str, neighbour: str, *, key_of: str | None = None
) -> AsyncIterator[Station]:
    """Open a box, begin a process's life and run its link; it knows one neighbour by the key of `key_of`."""
    async with (
        site_box(folder, box_id) as box,
        site_box(folder / "keys", key_of or neighbour) as other,
        asyncio.TaskGroup() as tasks,
    ):
        await box.begin()
        link = SiteLink(
            secured(
                Broker(host="127.0.0.1", port=port, client_id=f"side-{box_id}", keepalive_s=2),
                f"{box.identity.topics.site_id}/{box_id}",
            ),
            box.identity,
            [(neighbour, other.key.public)],
            box.outbox,
            box.neighbours,
            TIMELESS,
            lambda: 0.0,
        )
        running = tasks.create_task(link.run())
        yield Station(box, link)
        running.cancel()


async def agree(one: SiteBox, other: SiteBox) -> bool:
    """Whether both know the same uses and closings."""
    return await one.sets() == await other.sets()


async def test_use_and_closing_reach_the_neighbour(tmp_path: Path, site_broker: Mosquitto) -> None:
    """What is committed at one box is known at the other."""
    port = site_broker.port
    async with station(tmp_path, port, "B1", "B2") as one, station(tmp_path, port, "B2", "B1") as two:
        await eventually(lambda: heard_all(one, two), "hearing each other")
        await one.close(await one.use(KEY))
        await eventually(lambda: agree(one.box, two.box), "agreement")
        assert len((await two.box.facts(KEY)).history.closings) == 1


async def test_box_that_was_off_catches_up(tmp_path: Path, site_broker: Mosquitto) -> None:
    """More entries than one answer carries reach a box that first comes when all is over."""
    port = site_broker.port
    async with station(tmp_path, port, "B1", "B2") as one:
        await asyncio.gather(*(one.box.use(secrets.token_bytes(16)) for _ in range(ANSWER_ENTRIES + 300)))
        async with station(tmp_path, port, "B2", "B1") as two:
            await eventually(lambda: agree(one.box, two.box), "agreement")
            await eventually(
                lambda: holds([neighbour.behind for neighbour in two.link.neighbours()] == [0]),
                "nothing missing",
            )


async def test_killed_broker_loses_nothing(tmp_path: Path, site_broker: Mosquitto) -> None:
    """What was committed while the broker was away is asked for when it is back."""
    port = site_broker.port
    async with station(tmp_path, port, "B1", "B2") as one, station(tmp_path, port, "B2", "B1") as two:
        await eventually(lambda: heard_all(one, two), "hearing each other")
        site_broker.kill()
        await eventually(lambda: holds(not (one.link.is_up or two.link.is_up)), "notice of the loss")
        assert one.link.problems != []
        await one.use(KEY)
        await two.use(b"o" * 16)
        site_broker.start()
        await eventually(lambda: agree(one.box, two.box), "agreement")
        await eventually(lambda: holds(not one.link.problems), "a link without problems")


async def test_where_it_was_heard_to_survives_a_restart(tmp_path: Path, site_broker: Mosquitto) -> None:
    """A box that starts again asks from where it was, not from the beginning."""
    port = site_broker.port
    async with station(tmp_path, port, "B1", "B2") as one:
        await one.use(KEY)
        async with station(tmp_path, port, "B2", "B1") as two:
            await eventually(lambda: heard_all(one, two), "hearing")
        async with station(tmp_path, port, "B2", "B1") as two:
            await eventually(lambda: holds(two.link.neighbours()[0].silent_s is not None), "a word")
            assert (await two.box.heard(one.box)).seq_no == (await one.box.head()).seq_no


async def test_foreign_key_is_not_believed(tmp_path: Path, site_broker: Mosquitto) -> None:
    """What is not signed with the neighbour's key changes nothing, and people are told."""
    port = site_broker.port
    async with (
        station(tmp_path, port, "B1", "B2") as one,
        station(tmp_path, port, "B2", "B1", key_of="B9") as two,
    ):
        await one.use(KEY)
        await eventually(lambda: holds(any("believed" in text for text in two.link.problems)), "disbelief")
        assert (await two.box.facts(KEY)).history.uses == ()


async def test_box_that_no_settings_name_is_not_heard(tmp_path: Path, site_broker: Mosquitto) -> None:
    """A stranger on the site's broker is reported and not listened to."""
    port = site_broker.port
    async with station(tmp_path, port, "B7", "B2") as stranger, station(tmp_path, port, "B2", "B1") as two:
        await stranger.use(KEY)
        await eventually(
            lambda: holds(any("B7" in text for text in two.link.problems)), "the stranger's name"
        )
        assert (await two.box.facts(KEY)).history.uses == ()


async def test_silent_refusal_by_the_broker_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker whose access rules swallow what the box says is found out, though it acknowledges everything."""
    monkeypatch.setattr("sync.site_link.ECHO_WITHIN_S", 0.5)
    refusing = Mosquitto(tmp_path, boxes=(), more_rules="user fairy/B1\ntopic read #\n")
    refusing.start()
    try:
        async with station(tmp_path, refusing.port, "B1", "B2") as one:
            await eventually(
                lambda: holds(any("access rules" in text for text in one.link.problems)), "the finding"
            )
    finally:
        refusing.kill()


# What others have heard of a box that is gone ---------------------------------------------------------------


def site_boxes(*boxes: SiteBox, barred: tuple[SiteBox, ...] = ()) -> SiteBoxes:
    """The centre's word on the site's boxes."""
    named = [NamedBox(box_id=box.box_id, key=public_key_text(box.key.public)) for box in boxes]
    named += [
        NamedBox(box_id=box.box_id, key=public_key_text(box.key.public), is_barred=True) for box in barred
    ]
    return SiteBoxes(site_id=SITE, as_of_ms=1, boxes=named)


@asynccontextmanager
async def linked(port: int, box: SiteBox, timepiece: Timepiece = TIMELESS) -> AsyncIterator[Station]:
    """A box whose settings name no neighbour, on the site's broker."""
    link = SiteLink(
        secured(Broker(host="127.0.0.1", port=port, client_id=f"side-{box.box_id}"), f"{SITE}/{box.box_id}"),
        box.identity,
        [],
        box.outbox,
        box.neighbours,
        timepiece,
        lambda: 0.0,
    )
    running = asyncio.create_task(link.run())
    try:
        yield Station(box, link)
    finally:
        running.cancel()
        await asyncio.wait((running,))


@pytest.mark.parametrize("is_barred", [True, False])
async def test_a_spare_hears_from_the_others_what_a_dead_box_did(
    tmp_path: Path, site_broker: Mosquitto, monkeypatch: pytest.MonkeyPatch, is_barred: bool
) -> None:
    """Whether the centre has barred it or only nobody hears it: every use and closing, over many pages."""
    monkeypatch.setattr(hearing, "SILENT_S", 1.0)
    monkeypatch.setattr(telling, "HEARSAY_ADMISSIONS", 3)
    port = site_broker.port
    async with (
        site_box(tmp_path, "B1") as dead,
        site_box(tmp_path, "B2") as two,
        site_box(tmp_path, "B3") as spare,
    ):
        for box in (dead, two, spare):
            await box.begin()
        async with linked(port, two) as second:
            await second.link.introduce(site_boxes(dead, two))
            async with linked(port, dead) as first:
                await first.link.introduce(site_boxes(dead, two))
                for number in range(10):
                    admission_id = await first.use(bytes([number]) * 16)
                    if number % 2:
                        await first.close(admission_id)
                await eventually(lambda: agree(dead, two), "what the neighbour heard")
            word = site_boxes(two, spare, barred=(dead,)) if is_barred else site_boxes(two, spare, dead)
            await second.link.introduce(word)
            async with linked(port, spare) as third:
                await third.link.introduce(word)
                await eventually(lambda: agree(two, spare), "what the spare was told")
                own = await second.use(KEY)
                await eventually(lambda: agree(two, spare), "what happens from then on")
                assert (await spare.facts(KEY)).history.uses[0].admission_id == own
                names = {neighbour.box_id for neighbour in third.link.neighbours()}
                assert names == ({"B2"} if is_barred else {"B1", "B2"})


async def test_a_neighbour_that_is_sure_tells_the_time(tmp_path: Path, site_broker: Mosquitto) -> None:
    """With its heads, once it has spoken before: what the broker has kept is of no use. One that is not tells none."""
    async with site_box(tmp_path, "B1") as one, site_box(tmp_path, "B2") as two:
        told: list[int] = []
        async with (
            linked(site_broker.port, one, Timepiece(time.monotonic, lambda: 7, lambda _: None)) as first,
            linked(site_broker.port, two, Timepiece(time.monotonic, lambda: None, told.append)) as second,
        ):
            await first.link.introduce(site_boxes(one, two))
            await second.link.introduce(site_boxes(one, two))
            await eventually(lambda: holds(bool(told)), "the time")
            assert set(told) == {7}


async def test_a_box_whose_key_changed_is_heard_with_the_new_one(
    tmp_path: Path, site_broker: Mosquitto
) -> None:
    """The centre's newest word counts, and what the settings say counts more."""
    port = site_broker.port
    async with (
        site_box(tmp_path, "B1") as one,
        site_box(tmp_path, "B2") as two,
        site_box(tmp_path, "B9") as other,
    ):
        await one.begin()
        await two.begin()
        async with linked(port, one) as first, linked(port, two) as second:
            await first.link.introduce(site_boxes(one, two))
            wrong = NamedBox(box_id="B1", key=public_key_text(other.key.public))
            unreadable = NamedBox(box_id="B7", key="nothing")
            await second.link.introduce(SiteBoxes(site_id=SITE, as_of_ms=1, boxes=[wrong, unreadable]))
            await first.use(KEY)
            await eventually(lambda: holds(bool(second.link.problems)), "the doubt")
            assert await two.sets() == ([], [])
            await second.link.introduce(site_boxes(one, two))
            await first.use(bytes(16))
            await eventually(lambda: agree(one, two), "agreement")


class Ether:
    """Carries every message at once to the other boxes' hearers; no broker, no loss."""

    def __init__(self) -> None:
        self._hearers: dict[str, Hearer] = {}

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Deliver."""
        speaker, side = side_of(topic)
        for box_id, hearer in self._hearers.items():
            if box_id != speaker:
                hearer.receive(speaker, side, payload)
        return True

    def connect(self, box: SiteBox, other: SiteBox) -> tuple[Hearer, Teller]:
        """Return the two halves of the box's link, speaking into this ether."""
        teller = Teller(box.outbox, box.neighbours, self.publish, box.identity, lambda: None)
        hearer = Hearer(
            box.box_id,
            [(other.box_id, other.key.public)],
            box.neighbours,
            teller.ask,
            teller.answer,
            teller.answer_of,
            time.monotonic,
            lambda _: None,
        )
        self._hearers[box.box_id] = hearer
        return hearer, teller


STEPS = st.lists(st.tuples(st.booleans(), st.sampled_from(["use", *Outcome])), max_size=12)


@settings(max_examples=40)
@given(data=st.data(), steps=STEPS)
def test_boxes_agree_after_any_disorder(data: st.DataObject, steps: list[tuple[bool, object]]) -> None:
    """Whatever was lost, came twice or in any order: once it is quiet both boxes know the same."""
    asyncio.run(_disorder_and_quiet(lambda count: data.draw(_deliveries(count)), steps))


def _deliveries(count: int) -> st.SearchStrategy[list[int]]:
    """Any messages of so many, in any order, any of them more than once."""
    return st.lists(st.integers(0, count - 1), max_size=2 * count)


async def _disorder_and_quiet(
    deliveries: Callable[[int], list[int]], steps: list[tuple[bool, object]]
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(hearing, "ASK_AGAIN_S", 0.02)
        async with site_box(Path(folder), "B1") as one, site_box(Path(folder), "B2") as two:
            said = [message for box in (one, two) for message in await _live(box, steps)]
            ether = Ether()
            links = [ether.connect(box, other) for box, other in ((one, two), (two, one))]
            tasks = [asyncio.create_task(half.run()) for link in links for half in link]
            for number in deliveries(len(said)):
                ether.publish(*said[number])
            for _, teller in links:
                teller.restart()
            await eventually(lambda: agree(one, two), "agreement")
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _live(box: SiteBox, steps: list[tuple[bool, object]]) -> list[tuple[str, bytes]]:
    """Let the box do its steps and return what it says meanwhile."""
    await box.begin()
    said: list[tuple[str, bytes]] = []
    open_ids: list[bytes] = []
    for is_first_box, step in steps:
        if is_first_box != (box.box_id == "B1"):
            continue
        before = (await box.head()).seq_no
        if step == "use":
            open_ids.append(await box.use(KEY))
        elif open_ids and isinstance(step, Outcome):
            await box.close(open_ids[-1], step)
        said.append(_spoken(box, Side.HEAD, encode_side(await box.head(), box.key)))
        said.append(_spoken(box, Side.LEDGER, encode_batch(await box.batch(after=before), box.key)))
    said.append(_spoken(box, Side.HEAD, encode_side(await box.head(), box.key)))
    return said


def _spoken(box: SiteBox, side: Side, message: bytes) -> tuple[str, bytes]:
    return box.identity.topics.side(side), message


async def heard_all(one: Station, other: Station) -> bool:
    """Whether each knows the other's ledger to its end."""
    return all(
        [
            (await here.box.heard(there.box)).hash == (await there.box.head()).hash
            for here, there in ((one, other), (other, one))
        ]
    )


async def holds(what: bool) -> bool:
    """Return it, for those who wait for it."""
    return what
