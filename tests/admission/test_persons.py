"""Several at once on one credential: all of them or none, and never more than the right has."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.codes import DocumentCode, TicketCode
from admission.decision import decide
from admission.documents import DocumentKind
from admission.facts import Exposure
from admission.overrides import decide_override
from admission.policy import AgeVisit
from admission.reasons import Reason
from admission.staff import OverrideCode, Role, StaffAct
from admission.terms import Ages, Terms
from admission.tickets import Basis, Closing, History, Outcome, Use
from tests.admission.makers import (
    BOX,
    CREDIT_CODE,
    DAY_TICKET,
    EXTERNAL_CODE,
    KEY,
    LANE,
    MEMBER,
    NOW_MS,
    POLICY,
    TICKET_CODE,
    facts,
    free_visit,
    policy,
    subject,
    ticket,
)

ACT = StaffAct("s1", Role.SUPERVISOR, OverrideCode.ORDER_CHECKED, "B-D1")


@pytest.mark.parametrize(("risked", "reason"), [(1, Reason.UNLISTED_TICKET), (2, Reason.UNLISTED_LIMIT)])
def test_floor_limit_counts_persons(risked: int, reason: Reason) -> None:
    """Two more must fit under it, not one."""
    services = replace(DAY_TICKET, terms=Terms(services={"admission": 2}))
    code = replace(TICKET_CODE, validity=replace(TICKET_CODE.validity, issued_s=NOW_MS // 1000))
    known = replace(facts(product=services, exposure=Exposure(unlisted=risked)), persons=2)
    assert decide(code, known, POLICY, NOW_MS).reason is reason


@pytest.mark.parametrize(
    ("risked", "persons", "reason"),
    [(1, 1, Reason.UNLISTED_TICKET), (2, 1, Reason.UNLISTED_LIMIT), (0, 2, Reason.FEWER_LEFT)],
)
def test_without_a_list_a_ticket_lets_in_one(risked: int, persons: int, reason: Reason) -> None:
    """And the box as many as its own limit says."""
    known = replace(
        facts(current_list=None, product=None, exposure=Exposure(bootstrap=risked)), persons=persons
    )
    assert decide(TICKET_CODE, known, POLICY, NOW_MS).reason is reason


@pytest.mark.parametrize(("persons", "reason"), [(3, Reason.OVERRIDDEN), (4, Reason.ALREADY_USED)])
def test_confirmed_group_is_spent_as_a_whole(persons: int, reason: Reason) -> None:
    """As many entries as come in, if there are so many."""
    known = replace(facts(ticket=ticket(quantity=3)), persons=persons)
    found = decide_override(Reason.LATE, EXTERNAL_CODE, known, POLICY, ACT, NOW_MS)
    assert found.reason is reason
    assert found.spend is None or (found.spend.basis, found.spend.quantity) == (Basis.TICKET, persons)


def test_denied_group_is_let_in_as_so_many() -> None:
    """The record says how many went in on the supervisor's word."""
    known = replace(facts(ticket=ticket(quantity=2)), persons=5)
    found = decide_override(Reason.FEWER_LEFT, EXTERNAL_CODE, known, POLICY, ACT, NOW_MS)
    assert found.spend is not None
    assert (found.spend.basis, found.spend.quantity) == (Basis.OVERRIDE, 5)


@pytest.mark.parametrize(
    ("persons", "reason"), [(2, Reason.FREE_VISIT), (3, Reason.FEWER_LEFT), (1, Reason.FREE_VISIT)]
)
def test_organisations_free_visits_are_counted_by_persons(persons: int, reason: Reason) -> None:
    """All of them or none."""
    by = policy(free_visits=(free_visit(quantity=2),))
    known = replace(facts(subject=subject(memberships=MEMBER)), persons=persons)
    found = decide(CREDIT_CODE, known, by, NOW_MS)
    assert found.reason is reason
    assert found.spend is None or found.spend.quantity == persons


def test_policy_with_enough_left_goes_before_one_with_too_few() -> None:
    """The first in order that lets all of them in."""
    by = policy(free_visits=(free_visit("one"), free_visit("many", quantity=5)))
    known = replace(facts(subject=subject(memberships=MEMBER)), persons=4)
    assert decide(CREDIT_CODE, known, by, NOW_MS).granted_by == "many"


def test_document_is_free_by_age_for_its_holder_alone() -> None:
    """Whoever comes along has a document of their own."""
    rule = AgeVisit("elders", Ages(from_age=65), date(2026, 1, 1), date(2026, 12, 31), "by law")
    by = replace(policy(subject_order=(Basis.STATUTORY,)), age_visits=(rule,))
    code = DocumentCode(KEY, DocumentKind.RESIDENT_ID, date(1950, 1, 1))
    assert decide(code, facts(), by, NOW_MS).reason is Reason.STATUTORY_FREE
    assert decide(code, replace(facts(), persons=2), by, NOW_MS).reason is Reason.FEWER_LEFT


def test_two_histories_make_one_under_the_first_ones_watermarks() -> None:
    """What was used under one name and under the other."""
    uses = [Use(bytes([n]) * 16, BOX, n, Basis.TICKET, "", LANE, n, 0, NOW_MS) for n in (1, 2)]
    closings = [Closing(use.admission_id, Outcome.PASSED, BOX, use.seq_no + 5, NOW_MS) for use in uses]
    first = History((uses[0],), (closings[0],), {BOX: 9})
    both = first.with_more(History((uses[1],), (closings[1],), {BOX: 1}))
    assert both == History(tuple(uses), tuple(closings), {BOX: 9})


@pytest.mark.parametrize(
    ("terms", "persons", "reason"),
    [
        (Terms(per_day=2), 2, Reason.TICKET),
        (Terms(per_day=2), 3, Reason.FEWER_LEFT),
        (Terms(per_site_day=1), 2, Reason.FEWER_LEFT),
        (Terms(per_site=3), 4, Reason.FEWER_LEFT),
        (Terms(per_site=3, per_day=4), 3, Reason.TICKET),
    ],
)
def test_counters_of_the_day_and_site_say_how_many_they_leave(
    terms: Terms, persons: int, reason: Reason
) -> None:
    """A smaller part may still come in: the day is not over for the ticket."""
    product = replace(DAY_TICKET, terms=terms)
    known = replace(facts(product=product, ticket=ticket(quantity=9)), persons=persons)
    found = decide(TICKET_CODE, known, POLICY, NOW_MS)
    assert found.reason is reason
    assert reason is Reason.TICKET or found.detail.endswith(f"left here today for {persons} persons")


PARTS = st.lists(st.tuples(st.integers(1, 6), st.sampled_from(Outcome)), max_size=12)


@given(st.integers(1, 12), PARTS)
def test_no_sequence_of_parts_lets_in_more_than_were_sold(
    sold: int, parts: list[tuple[int, Outcome]]
) -> None:
    """However they ended; and what is refused would have been too many."""
    code: TicketCode = TICKET_CODE
    history = History()
    for number, (persons, outcome) in enumerate(parts, 1):
        known = replace(facts(ticket=ticket(quantity=sold), history=history), persons=persons)
        held = history.held(Basis.TICKET)
        found = decide(code, known, replace(POLICY, resume_within_s=0), NOW_MS + number)
        if found.spend is None:
            assert held + persons > sold
            assert (found.reason is Reason.ALREADY_USED) == (held >= sold)
            continue
        assert found.spend.quantity == persons
        admission_id = number.to_bytes(16)
        use = Use(admission_id, BOX, number, Basis.TICKET, "", LANE, persons, 0, NOW_MS + number)
        closing = Closing(admission_id, outcome, BOX, 100 + number, NOW_MS + number)
        history = History((*history.uses, use), (*history.closings, closing))
        assert history.held(Basis.TICKET) <= sold
