"""Shares of a site's capacity: what the centre gives, and that all boxes together never let in too many."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, insert, update

from admission.capacity import CapacityLimits, Headcount, Share
from admission.keys import public_key_text
from admission.tickets import Outcome
from central.capacity import SiteCapacity, capacities, look
from central.enrolment import invite
from central.ingest import ingest
from central.reconcile import fold, forget
from central.schema import boxes, shares
from central.store import Store
from offline_cache.capacity import CapacityMemory
from sync.protocol import CapacityWord, Stream, decode_capacity, encode_batch, encode_capacity
from tests.central.world import KEYS, POLICY
from tests.support.capacity_box import CapacityBox
from tests.support.site_box import NOW_MS, SITE, site_box

LIMIT = 40


@dataclass(slots=True)
class Site:
    """A centre and its boxes, which hear each other only when the test lets them."""

    store: Store
    gates: Sequence[CapacityBox]
    limits: CapacityLimits = field(default_factory=lambda: CapacityLimits(max_per_day=LIMIT))
    letters: dict[str, CapacityWord] = field(default_factory=dict)

    async def look(self) -> SiteCapacity:
        """The centre counts and divides; its words wait for their boxes."""
        rules = replace(POLICY, capacities={SITE: self.limits})
        (site,) = await self.store.run(lambda connection: look(connection, rules, NOW_MS))
        for box_id, share in site.shares.items():
            self.letters[box_id] = CapacityWord(
                site_id=SITE, box_id=box_id, limits=site.limits, count=site.count, share=share
            )
        return site

    async def hear(self, gate: CapacityBox) -> None:
        """The box takes the centre's last word, if there is one."""
        if (word := self.letters.get(gate.box.box_id)) is not None:
            await gate.memory.take(word, NOW_MS)

    async def tell(self, gate: CapacityBox) -> None:
        """The box's ledger reaches the centre and is folded there."""
        batch = encode_batch(await gate.box.batch(), gate.box.key)
        topic = gate.box.identity.topics.up(Stream.LEDGER)

        def work(connection: Connection) -> None:
            ingest(connection, topic, batch, NOW_MS)
            while fold(connection, POLICY):
                pass

        await self.store.run(work)

    async def talk(self) -> None:
        """One round in which everybody is reached."""
        for gate in self.gates:
            await self.tell(gate)
        await self.look()
        for gate in self.gates:
            await self.hear(gate)


async def _register(store: Store, gates: Sequence[CapacityBox]) -> None:
    rows = [
        {
            "box_id": gate.box.box_id,
            "site_id": SITE,
            "public_key": public_key_text(gate.box.key.public),
            "revision": 1,
        }
        for gate in gates
    ]
    await store.run(lambda connection: connection.execute(insert(boxes), rows))


@pytest.fixture
async def site(store: Store, tmp_path: Path) -> AsyncIterator[Site]:
    """A site of three boxes."""
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(site_box(tmp_path, f"box-{n}")) for n in range(3)]
        for box in opened:
            await box.begin()
        gates = [CapacityBox(box, CapacityMemory(box.database, box.box_id)) for box in opened]
        await _register(store, gates)
        yield Site(store, gates)


async def _admit(gate: CapacityBox, visitors: int) -> int:
    return sum([await gate.enter() is not None for _ in range(visitors)])


async def test_every_box_gets_its_share_of_the_whole(site: Site) -> None:
    """The first time in equal parts, to the last visitor; what they hold for a day without the centre is the same."""
    given = await site.look()
    assert sorted(share.today for share in given.shares.values()) == [13, 13, 14]
    assert sum(share.next_today for share in given.shares.values()) == LIMIT
    assert {share.number for share in given.shares.values()} == {1}


async def test_share_on_offer_is_not_given_again(site: Site) -> None:
    """The centre waits for the box to say that it took it, and gives no other before."""
    first = await site.look()
    assert (await site.look()).shares == first.shares


async def test_quiet_day_changes_no_share(site: Site) -> None:
    """Some visitors are no reason to divide anew: a share is a ledger entry of its box."""
    for _ in range(3):
        await site.talk()
    await _admit(site.gates[0], 2)
    before = await site.look()
    await site.talk()
    after = await site.look()
    assert after.shares == before.shares
    assert after.count == Headcount(2, 2)


async def test_busy_box_gets_what_the_others_do_not_need(site: Site) -> None:
    """All forty enter by one box, though it began with a third of them."""
    admitted = 0
    for _ in range(20):
        await site.talk()
        admitted += await _admit(site.gates[0], 3)
    assert admitted == LIMIT


async def test_box_that_comes_later_is_not_left_with_nothing(site: Site, tmp_path: Path) -> None:
    """The others hold all there is; they are given less, and what they say they gave up is the new box's."""
    await site.talk()
    await site.talk()
    async with site_box(tmp_path, "box-9") as box:
        await box.begin()
        late = CapacityBox(box, CapacityMemory(box.database, box.box_id))
        await _register(site.store, [late])
        site.gates = [*site.gates, late]
        for _ in range(3):
            await site.talk()
        assert await _admit(late, 5) == 5


async def test_a_barred_box_gives_its_share_back_on_the_next_day(site: Site) -> None:
    """Today it may have let in all of that, unheard; tomorrow the others have the whole."""
    await site.talk()
    await site.talk()
    lost = site.gates[0].box.box_id
    held = site.letters[lost].share.today

    def bar(barred_s: int) -> Callable[[Connection], object]:
        return lambda connection: connection.execute(
            update(boxes).where(boxes.c.box_id == lost).values(barred_s=barred_s)
        )

    others = site.gates[1:]

    async def let_in() -> int:
        """Whoever comes, at both, as long as the centre finds room for them."""
        admitted = 0
        for _ in range(8):
            admitted += sum([await _admit(gate, LIMIT) for gate in others])
            for gate in others:
                await site.tell(gate)
            given = await site.look()
            assert given.shares.keys() == {gate.box.box_id for gate in others}
            for gate in others:
                await site.hear(gate)
        return admitted

    await site.store.run(bar(NOW_MS // 1000))
    assert await let_in() == LIMIT - held
    await site.store.run(bar(NOW_MS // 1000 - 86_400))
    assert await let_in() == held


async def test_an_invited_box_finds_its_part_when_it_comes(site: Site, tmp_path: Path) -> None:
    """What it is to have is kept for it while it is awaited, and nobody's share changes for it twice."""
    await site.talk()
    await site.talk()
    await site.store.run(lambda sql: invite(sql, "box-9", SITE, NOW_MS // 1000 + 60))
    for _ in range(3):
        await site.talk()
    kept = await site.look()
    held = sum(share.today for share in kept.shares.values())
    assert (set(kept.shares), LIMIT - held) == ({gate.box.box_id for gate in site.gates}, LIMIT // 4)
    assert (await site.look()).shares == kept.shares
    async with site_box(tmp_path, "box-9") as box:
        await box.begin()
        late = CapacityBox(box, CapacityMemory(box.database, box.box_id))
        await _register(site.store, [late])
        await site.look()
        await site.hear(late)
        assert await _admit(late, LIMIT) == LIMIT // 4


async def test_an_invitation_that_has_run_out_keeps_nothing(site: Site) -> None:
    """The others have the whole."""
    await site.store.run(lambda sql: invite(sql, "box-9", SITE, NOW_MS // 1000))
    assert sum(share.today for share in (await site.look()).shares.values()) == LIMIT


async def test_lower_limit_takes_shares_back(site: Site) -> None:
    """An authority halves what may come: data alone, and what boxes hold follows."""
    await site.talk()
    site.limits = CapacityLimits(max_per_day=LIMIT // 2)
    for _ in range(3):
        await site.talk()
    assert sum([await _admit(gate, LIMIT) for gate in site.gates]) == LIMIT // 2


async def test_limit_that_is_lifted_lets_everybody_in(site: Site) -> None:
    """The boxes are told that there is none."""
    await site.talk()
    site.limits = CapacityLimits()
    for _ in range(3):
        await site.talk()
    assert await _admit(site.gates[0], LIMIT + 1) == LIMIT + 1


async def test_site_that_never_had_a_limit_is_told_nothing(site: Site) -> None:
    """Nothing is counted for it, and nothing sent."""
    assert await site.store.run(lambda connection: look(connection, POLICY, NOW_MS)) == []


async def test_displays_are_told_how_full_it_is(site: Site) -> None:
    """By what reached the centre, with the level that the limits make of it."""
    for _ in range(3):
        await site.talk()
    await _admit(site.gates[1], 12)
    await site.tell(site.gates[1])
    rules = replace(POLICY, capacities={SITE: CapacityLimits(max_per_day=15)})
    (told,) = await site.store.read(lambda connection: capacities(connection, rules, NOW_MS))
    assert (told["level"], told["inside"], told["today"]) == ("yellow", 12, 12)
    assert (told["max_inside"], told["max_per_day"]) == (None, 15)
    assert set(told["shares"]) == {"box-0", "box-1", "box-2"}


async def test_folding_afresh_knows_what_was_taken(site: Site) -> None:
    """Shares are the centre's own record; what became of them is in the ledgers."""
    await site.talk()
    before = await site.look()

    def refold(connection: Connection) -> None:
        forget(connection)
        while fold(connection, POLICY):
            pass

    for gate in site.gates:
        await site.tell(gate)
    between = await site.look()
    await site.store.run(refold)
    assert (await site.look()).shares == between.shares
    assert before.count == between.count


async def test_a_restored_centre_learns_from_the_boxes_what_it_gave(site: Site) -> None:
    """A backup knows nothing of later shares: none is given twice, and every box hears the count again."""
    away, *others = site.gates
    await site.talk()
    inside = await _admit(away, 10)
    for _ in range(4):
        await site.talk()  # now the busy one has most of the room
    inside += sum([await _admit(gate, 2) for gate in others])
    given = {box_id: share.number for box_id, share in (await site.look()).shares.items()}
    await site.store.run(lambda connection: connection.execute(delete(shares)))
    site.letters.clear()
    for gate in site.gates:
        await site.tell(gate)
    assert all(share.number > given[box_id] for box_id, share in (await site.look()).shares.items())
    for _ in range(3):
        for gate in others:
            await site.tell(gate)
        await site.look()
        for gate in others:
            await site.hear(gate)
    assert inside + sum([await _admit(gate, LIMIT) for gate in site.gates]) <= LIMIT


@dataclass(slots=True)
class Crowd:
    """Visitors who come, turn back and leave at any box, counted by whoever stands there."""

    site: Site
    dice: random.Random
    inside: int = 0
    today: int = 0

    async def enter(self, gate: CapacityBox) -> None:
        """Somebody goes in, if they are let in."""
        entered = await gate.enter() is not None
        self.inside += entered
        self.today += entered

    async def turn_back(self, gate: CapacityBox) -> None:
        """Somebody is let in and does not go."""
        if (admission_id := await gate.enter()) is not None:
            await gate.box.close(admission_id, Outcome.ABANDONED)

    async def leave(self, gate: CapacityBox) -> None:
        """Somebody goes out, at whichever box."""
        if self.inside:
            await gate.leave()
            self.inside -= 1

    async def look(self, _: CapacityBox) -> None:
        """The centre counts and divides."""
        await self.site.look()

    async def act(self) -> None:
        """Something happens somewhere."""
        acts: list[Callable[[CapacityBox], Awaitable[None]]] = [self.enter] * 3
        acts += [self.turn_back, self.leave, self.site.tell, self.site.hear, self.look]
        await self.dice.choice(acts)(self.dice.choice(self.site.gates))


@pytest.mark.parametrize("seed", range(12))
async def test_boxes_apart_never_let_in_too_many_together(site: Site, seed: int) -> None:
    """Whoever hears whom, and when, and whoever turns back or leaves: neither limit is exceeded."""
    site.limits = CapacityLimits(max_inside=LIMIT // 2, max_per_day=LIMIT)
    await site.talk()
    crowd = Crowd(site, random.Random(seed))
    for _ in range(150):
        await crowd.act()
        assert crowd.inside <= LIMIT // 2
        assert crowd.today <= LIMIT


def test_word_is_signed_for_this_use_alone() -> None:
    """It is read as it was said, by whoever has the list key."""
    word = CapacityWord(
        site_id=SITE,
        box_id="box-1",
        limits=CapacityLimits(100, None, (70, 80, 90)),
        count=Headcount(1, 2),
        share=Share(3, 4, 5, 6, 7, 8, 9),
    )
    find = {KEYS.lists.key_id: KEYS.lists.public.key}.get
    assert decode_capacity(encode_capacity(word, KEYS.lists), find) == word
