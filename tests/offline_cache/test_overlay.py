"""Changes over a full list: whatever way they come, the box knows in the end what the next full list would tell it."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admission.answers import Decision, Spend
from admission.changes import CreditLineRow, MembershipRow, Row, TicketRow, WithdrawnKeyRow, pieces
from admission.codes import CreditCode, TicketCode, Validity
from admission.entitlements import CreditLine, Membership
from admission.facts import Facts
from admission.reasons import Reason
from admission.tickets import Basis, TicketStatus
from offline_cache.lists import ListRejectedError
from tests.offline_cache.listed_rows import (
    AS_OF_S,
    KEY,
    PRODUCT,
    Memory,
    changes,
    opened_memory,
    ticket_row,
    write_list,
)

CODE = TicketCode(KEY, "DAY", Validity(0, 1 << 40, AS_OF_S), b"issuer")
SUBJECT = CreditCode(KEY, Validity(0, 1 << 40, AS_OF_S), b"issuer")
AT_MS = AS_OF_S * 1000


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[Memory]:
    """A box with a list of one ticket, revision 10."""
    async with opened_memory(tmp_path) as memory:
        await memory.install([PRODUCT, ticket_row(5)], version=1, revision=10)
        yield memory


async def known_ticket(memory: Memory) -> tuple[int, int, TicketStatus] | None:
    """Quantity, refunds and status of the ticket as the box knows it."""
    ticket = (await memory.facts(CODE)).ticket
    return (ticket.quantity, ticket.refunded, ticket.status) if ticket else None


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], (3, 0, TicketStatus.VALID)),
        ([ticket_row(11, refunded=3)], (3, 3, TicketStatus.VALID)),
        ([ticket_row(12, refunded=2), ticket_row(11, refunded=1)], (3, 2, TicketStatus.VALID)),
        ([ticket_row(11, refunded=1), ticket_row(12, refunded=2)], (3, 2, TicketStatus.VALID)),
        ([ticket_row(10, refunded=3)], (3, 0, TicketStatus.VALID)),
        ([ticket_row(4, refunded=3)], (3, 0, TicketStatus.VALID)),
        ([ticket_row(11, status=TicketStatus.BLOCKED)], (3, 0, TicketStatus.BLOCKED)),
        ([ticket_row(11, b"x" * 16, refunded=3)], (3, 0, TicketStatus.VALID)),
    ],
    ids=["none", "newer", "older after", "newer after", "as the list", "below the list", "block", "another"],
)
async def test_the_highest_revision_wins(
    memory: Memory, rows: list[TicketRow], expected: tuple[int, int, TicketStatus]
) -> None:
    """Against the list's row and among changes, in whatever order they come."""
    for row in rows:
        await memory.overlay.apply(changes([row]))
    assert await known_ticket(memory) == expected


async def test_counters_stay_the_lists(tmp_path: Path) -> None:
    """A change of a ticket says nothing about its uses: those the list counted remain counted."""
    async with opened_memory(tmp_path) as memory:
        await memory.install([PRODUCT, ticket_row(5)], version=1, revision=10, used=2, watermark=0)
        await memory.overlay.apply(changes([ticket_row(11, quantity=4)]))
        ticket = (await memory.facts(CODE)).ticket
    assert ticket is not None
    assert (ticket.quantity, ticket.used) == (4, 2)


@pytest.mark.parametrize("watermark", [0, 100])
async def test_a_ticket_only_changes_know_counts_all_uses_seen_here(tmp_path: Path, watermark: int) -> None:
    """Also those within the watermarks: no counter of the list has them."""
    async with opened_memory(tmp_path) as memory:
        await memory.install([PRODUCT], version=1, revision=10, watermark=watermark)
        await memory.answer(CODE, AT_MS, Decision(Reason.TICKET, Spend(KEY, Basis.TICKET, 1 << 40)))
        await memory.overlay.apply(changes([ticket_row(11)]))
        facts = await memory.facts(CODE)
    assert facts.ticket is not None
    assert facts.ticket.used + facts.history.used_since_list(Basis.TICKET) == 1


async def test_a_list_that_has_it_all_ends_the_changes(memory: Memory) -> None:
    """A row dies when a list's revision has reached it, not before, swept or not."""
    await memory.overlay.apply(changes([ticket_row(11, refunded=1), ticket_row(13, b"x" * 16)]))
    await memory.install([PRODUCT, ticket_row(12, refunded=2)], version=2, revision=12)
    assert await known_ticket(memory) == (3, 2, TicketStatus.VALID)
    assert [await memory.overlay.sweep() for _ in range(2)] == [1, 0]
    assert await memory.count("changed_tickets") == 1


async def test_a_row_that_no_list_has_yet_survives_a_list(memory: Memory) -> None:
    """A list that was built before the refund does not undo it."""
    await memory.overlay.apply(changes([ticket_row(20, refunded=3)]))
    await memory.install([PRODUCT, ticket_row(12)], version=2, revision=15)
    assert await known_ticket(memory) == (3, 3, TicketStatus.VALID)


async def test_subjects_change(memory: Memory) -> None:
    """A place in a group comes and goes, and a credit line changes; what is not named stays."""
    listed = [MembershipRow(2, KEY, "good", 0, 9), MembershipRow(3, KEY, "kept", 0, 9)]
    line = CreditLineRow(4, KEY, 1000, 500, 9)
    await memory.install([PRODUCT, *listed, line], version=2, revision=10)
    rows: list[Row] = [
        MembershipRow(11, KEY, "good", 0, 0),
        MembershipRow(12, KEY, "new", 1, 5),
        CreditLineRow(13, KEY, 2000, 500, 9),
    ]
    await memory.overlay.apply(changes(rows))
    subject = (await memory.facts(SUBJECT)).subject
    assert subject is not None
    assert subject.memberships == (Membership("kept", 0, 9), Membership("new", 1, 5))
    assert subject.credit_line == CreditLine(2000, 500, 0, 9)


async def test_the_position_moves_only_without_a_gap(memory: Memory) -> None:
    """What is known of tickets as of now moves with it; a range that is known already moves nothing back."""
    overlay = memory.overlay
    assert not await overlay.advance(changes(since=11, until=12, as_of_s=AS_OF_S + 9))
    assert (await overlay.position(), overlay.as_of_s) == (10, 0)
    assert await overlay.advance(changes(since=8, until=12, as_of_s=AS_OF_S + 5))
    assert await overlay.advance(changes(since=0, until=11, as_of_s=AS_OF_S + 7))
    info = (await memory.facts(CODE)).current_list
    assert info is not None
    assert (await overlay.position(), info.tickets_as_of_s, info.as_of_s) == (12, AS_OF_S + 5, AS_OF_S)


async def test_changes_survive_a_restart(tmp_path: Path) -> None:
    """Rows, position and withdrawn keys."""
    async with opened_memory(tmp_path) as memory:
        await memory.install([PRODUCT, ticket_row(5)], version=1, revision=10)
        rows: list[Row] = [ticket_row(11, refunded=3), WithdrawnKeyRow(12, b"issuer")]
        await memory.overlay.apply(changes(rows))
        await memory.overlay.advance(changes(rows, 10, 12, AS_OF_S + 3))
    async with opened_memory(tmp_path) as memory:
        assert await known_ticket(memory) == (3, 3, TicketStatus.VALID)
        assert (await memory.facts(CODE)).is_key_withdrawn
        assert (await memory.overlay.position(), memory.overlay.as_of_s) == (12, AS_OF_S + 3)


async def test_a_box_that_moved_to_another_site_forgets_what_changed(tmp_path: Path) -> None:
    """Except withdrawn keys, which nobody trusts again."""
    async with opened_memory(tmp_path) as memory:
        await memory.overlay.apply(changes([ticket_row(11), WithdrawnKeyRow(12, b"issuer")]))
    async with opened_memory(tmp_path, site_id="bridges") as memory:
        assert (await memory.count("changed_tickets"), await memory.count("withdrawn_keys")) == (0, 1)


async def test_a_withdrawn_key_of_a_list_outlives_the_list(memory: Memory) -> None:
    """Its file may be lost; the key stays withdrawn."""
    await memory.install([PRODUCT, WithdrawnKeyRow(11, b"issuer")], version=2, revision=11)
    await memory.install([PRODUCT], version=3, revision=12)
    assert (await memory.facts(CODE)).is_key_withdrawn
    assert not (await memory.facts(replace(CODE, key_id=b"other"))).is_key_withdrawn


async def test_floor_and_revision_survive_the_loss_of_the_file(tmp_path: Path) -> None:
    """Neither an older list nor an older row gets in where the newer one's file was lost."""
    async with opened_memory(tmp_path) as memory:
        await memory.install([PRODUCT, ticket_row(5)], version=7, revision=10)
    for path in (tmp_path / "lists").glob("*.list"):
        path.unlink()
    async with opened_memory(tmp_path) as memory:
        assert (memory.shelf.info, memory.shelf.floor, memory.shelf.revision) == (None, 7, 10)
        with pytest.raises(ListRejectedError, match="not newer"):
            await memory.install([PRODUCT], version=6, revision=9)
        await memory.overlay.apply(changes([ticket_row(4, refunded=3)]))
        assert await memory.count("changed_tickets") == 0
        assert memory.shelf.info is None


async def test_a_list_of_an_older_centre_says_no_revision(tmp_path: Path) -> None:
    """It is taken as it is, and every change holds over it."""
    async with opened_memory(tmp_path) as memory:
        await memory.install([PRODUCT, ticket_row(5)], version=1, revision=None)
        await memory.overlay.apply(changes([ticket_row(1, refunded=1)]))
        assert (await known_ticket(memory), memory.shelf.revision) == ((3, 1, TicketStatus.VALID), 0)


async def test_a_rejected_part_is_removed(memory: Memory) -> None:
    """The next download does not go on from it."""
    part = memory.shelf.new_part("2-abc")
    write_list(part, [PRODUCT], version=2, revision=20)
    with pytest.raises(ListRejectedError):
        await memory.shelf.install(part, 2, bytes(32))
    assert not part.exists()


async def test_a_part_of_another_list_is_thrown_away(memory: Memory) -> None:
    """What is there of the same one stays."""
    memory.shelf.new_part("2-abc").write_bytes(b"begun")
    assert memory.shelf.new_part("2-abc").read_bytes() == b"begun"
    assert not memory.shelf.new_part("3-def").exists()
    assert not memory.shelf.new_part("2-abc").exists()


KEYS = [bytes([n]) * 16 for n in range(4)]
TICKETS = st.builds(
    ticket_row,
    st.just(0),
    st.sampled_from(KEYS),
    quantity=st.integers(1, 3),
    refunded=st.integers(0, 1),
    status=st.sampled_from(TicketStatus),
)
SUBJECT_ROWS = st.one_of(
    st.builds(
        MembershipRow,
        st.just(0),
        st.sampled_from(KEYS),
        st.sampled_from(["a", "b"]),
        st.just(1),
        st.sampled_from([0, 9]),
    ),
    st.builds(CreditLineRow, st.just(0), st.sampled_from(KEYS), st.integers(0, 5), st.just(5), st.just(9)),
    st.builds(WithdrawnKeyRow, st.just(0), st.sampled_from([b"one", b"two"])),
)


def numbered(rows: list[Row]) -> list[Row]:
    """The rows with the revisions of a centre that wrote them in this order."""
    return [
        type(row)(n, *[getattr(row, f) for f in row.__struct_fields__[1:]]) for n, row in enumerate(rows, 1)
    ]


async def knowledge(memory: Memory) -> list[object]:
    """All rights that the box knows, as decisions see them."""
    found: list[object] = []
    for key in KEYS:
        tickets = await memory.facts(replace(CODE, key=key, key_id=b"one"))
        subject: Facts = await memory.facts(replace(SUBJECT, key=key, key_id=b"two"))
        assert subject.subject is not None
        groups = sorted(
            (member.group, member.from_s, member.until_s)
            for member in subject.subject.memberships
            if member.from_s < member.until_s
        )
        withdrawn = (tickets.is_key_withdrawn, subject.is_key_withdrawn)
        found.append((tickets.ticket, groups, subject.subject.credit_line, withdrawn))
    return found


async def told_in_disorder(rows: list[Row], listed: int, seed: int, folder: Path) -> list[object]:
    """What a box knows that heard messages lost, doubled and shuffled, and then asked for the rest."""
    chance = random.Random(seed)
    async with opened_memory(folder) as memory:
        await memory.install([PRODUCT, *rows[:listed]], version=1, revision=listed)
        messages = [
            changes(piece, piece[0].revision - 1, piece[-1].revision)
            for piece in pieces(tuple(rows[listed:]), chance.randint(1, 4))
        ]
        heard = chance.choices(messages, k=chance.randint(0, 2 * len(messages))) if messages else []
        for message in heard:
            await memory.overlay.apply(message)
            await memory.overlay.advance(message)
        position = await memory.overlay.position()
        answer = changes(rows[position:], position, len(rows), AS_OF_S + 1)
        await memory.overlay.apply(answer)
        assert await memory.overlay.advance(answer)
        return await knowledge(memory)


async def told_by_a_list(rows: list[Row], folder: Path) -> list[object]:
    """What a box knows that got one full list of everything."""
    async with opened_memory(folder) as memory:
        await memory.install([PRODUCT, *rows], version=1, revision=len(rows))
        return await knowledge(memory)


@settings(max_examples=40)
@given(st.lists(st.one_of(TICKETS, SUBJECT_ROWS), max_size=25), st.data())
def test_any_disorder_ends_in_what_the_full_list_says(rows: list[Row], data: st.DataObject) -> None:
    """Messages may be lost, doubled and shuffled: after the centre's answer to what is missing, nothing differs."""
    rows = numbered(rows)
    listed = data.draw(st.integers(0, len(rows)))
    seed = data.draw(st.integers(0, 1000))
    with tempfile.TemporaryDirectory() as folder:
        changed = asyncio.run(told_in_disorder(rows, listed, seed, Path(folder) / "changes"))
        full = asyncio.run(told_by_a_list(rows, Path(folder) / "list"))
    assert changed == full


async def test_a_status_of_a_later_release_blocks_the_ticket(memory: Memory) -> None:
    """It is for staff to look up, not an error at the gate."""
    row = ticket_row(11)
    later = TicketRow(11, KEY, "DAY", 3, 0, row.valid_from_s, row.valid_until_s, "suspended")
    await memory.overlay.apply(changes([later]))
    assert await known_ticket(memory) == (3, 0, TicketStatus.BLOCKED)
