"""A group at a barrier: one showing lets in one after the other, each counted, and no more than have come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from admission.codes import issue_ticket_code, show, ticket_key
from admission.events import Admitted
from admission.holders import prove
from admission.passage import State
from admission.reasons import Reason
from admission.terms import Terms
from admission.tickets import Outcome
from tests.admission.makers import DAY_TICKET, NOW_S, TICKET_ISSUER, VALIDITY, ticket
from tests.admission.test_holders import HOLDER, PHONE
from tests.gate_agent.gate import TICKET_IDS, Gate, Post, opened_gate, ticket_code
from tests.support.waiting import until

GROUP = ticket_code(0)
SINGLE = ticket_code(1)
SIZE = 4


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gate]:
    """A box that knows a group's ticket and a single one, both of a product with continuous release."""
    async with opened_gate(tmp_path) as gate:
        await gate.box.install(
            version=8,
            tickets={
                ticket_key(TICKET_IDS[0]): ticket(quantity=SIZE),
                ticket_key(TICKET_IDS[1]): ticket(),
            },
            products=(replace(DAY_TICKET, terms=Terms(continuous=True)),),
        )
        yield gate


async def released(post: Post, times: int) -> None:
    """Wait until the barrier was opened so many times in all."""
    await until(lambda: len(post.turnstile.openings) == times, f"{len(post.turnstile.openings)} of {times}")


async def go_through(post: Post, count: int, already: int = 0) -> None:
    """Let so many of a group walk through, one after the other, each once the barrier was opened for them."""
    for number in range(count):
        await released(post, already + number + 1)
        post.turnstile.walk_through()


async def test_one_showing_lets_in_the_whole_group(gate: Gate) -> None:
    """Each person has a use and a passage of their own, and nobody is asked for more once all are in."""
    post = await gate.add_ready_lane()
    answer = await post.present(GROUP)
    assert answer.decision.followers == SIZE - 1
    await go_through(post, SIZE)
    await post.becomes(State.CLOSED)
    admitted = [event for event in await gate.events() if isinstance(event, Admitted)]
    assert [event.quantity for event in admitted] == [1] * SIZE
    assert post.shown == [Reason.TICKET] * SIZE
    for event in admitted:
        await gate.outcome_comes(event.admission_id, Outcome.PASSED)
    assert (await post.present(GROUP)).decision.reason is Reason.ALREADY_USED


async def test_whoever_does_not_follow_has_their_entry_back(gate: Gate) -> None:
    """The barrier closes; the rest of the group comes later, with the same code."""
    post = await gate.add_ready_lane()
    await post.present(GROUP)
    await go_through(post, 2)
    await released(post, 3)
    post.turnstile.close()
    await post.becomes(State.CLOSED)
    assert len(post.turnstile.openings) == 3
    await post.present(GROUP)
    await go_through(post, 2, already=3)
    await post.becomes(State.CLOSED)
    assert (await post.present(GROUP)).decision.reason is Reason.ALREADY_USED


async def test_two_lanes_share_a_group_and_let_in_no_more_than_it_is(gate: Gate) -> None:
    """In parts of any size, at once."""
    first, second = await gate.add_ready_lane("lane-1"), await gate.add_ready_lane("lane-2")
    await first.present(GROUP)
    await second.present(GROUP)
    for post in (first, second):
        await go_through(post, 1)
        await released(post, 2)
    for post in (first, second):
        post.turnstile.walk_through()
        await post.becomes(State.CLOSED)
    await until(lambda: first.shown == [Reason.TICKET, Reason.TICKET, Reason.ALREADY_USED])
    opened = len(first.turnstile.openings) + len(second.turnstile.openings)
    assert (opened, await gate.uses()) == (SIZE, SIZE)
    assert second.shown == [Reason.TICKET, Reason.TICKET]


async def test_a_single_ticket_of_the_product_is_for_one(gate: Gate) -> None:
    """Nobody follows, and nobody is told that the ticket is used."""
    post = await gate.add_ready_lane()
    await post.present(SINGLE)
    await go_through(post, 1)
    await post.becomes(State.CLOSED)
    assert post.shown == [Reason.TICKET]


async def test_where_staff_say_who_comes_nobody_follows_by_themselves(gate: Gate) -> None:
    """They say how many at once."""
    gate.rules = replace(gate.rules, lets_follow=False)
    post = await gate.add_ready_lane()
    await post.present(GROUP)
    await go_through(post, 1)
    await post.becomes(State.CLOSED)
    assert len(post.turnstile.openings) == 1


async def test_a_group_shows_its_live_code_once(gate: Gate) -> None:
    """The phone is at the head of the group, and has gone in."""
    bound = issue_ticket_code(TICKET_IDS[0], "DAY1", VALIDITY, TICKET_ISSUER, HOLDER)
    live = show(bound, lambda envelope: prove(envelope, NOW_S, PHONE)).encode()
    post = await gate.add_ready_lane()
    await post.present(live)
    await go_through(post, SIZE)
    await post.becomes(State.CLOSED)
    assert post.shown == [Reason.TICKET] * SIZE
