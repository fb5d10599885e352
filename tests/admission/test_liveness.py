"""Phones that show codes live: when a time is believed, and what has to be live at all. More in tests/vectors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from admission.codes import Credential, DocumentCode
from admission.decision import decide
from admission.documents import DocumentKind
from admission.facts import Facts
from admission.holders import Showing, ShownBefore
from admission.policy import LiveCodes
from admission.reasons import Reason
from admission.terms import Terms, TermsError, check_terms
from tests.admission.makers import (
    CREDIT_CODE,
    DAY_TICKET,
    EXTERNAL_CODE,
    KEY,
    MEMBER,
    NOW_MS,
    NOW_S,
    POLICY,
    TICKET_CODE,
    facts,
    subject,
    ticket,
)

HOLDER = bytes(33)
RULES = replace(POLICY, live_codes=LiveCodes(within_s=20, max_drift_s=300, renewed_s=2, credit=True))
LISTED = facts(ticket=ticket())
MEMBERS = facts(subject=subject(memberships=MEMBER))


def said(credential: Credential, known: Facts = LISTED) -> tuple[Reason, str]:
    """What the gate answers, and the detail of it."""
    decision = decide(credential, known, RULES, NOW_MS)
    return decision.reason, decision.detail


def shown(at_s: int | None, code: Any = TICKET_CODE) -> Any:
    """A code that its phone shows."""
    return replace(code, showing=Showing(HOLDER, at_s))


def after(shown_s: int, elapsed_ms: int | None, known: Facts = LISTED) -> Facts:
    """The same facts, after the phone has shown a code before."""
    return replace(known, shown_before=ShownBefore(shown_s, elapsed_ms))


@pytest.mark.parametrize("off_s", [-20, 0, 20])
def test_a_phone_near_the_boxs_time_is_live(off_s: int) -> None:
    """Before it and after it."""
    assert said(shown(NOW_S + off_s))[0] is Reason.TICKET


@pytest.mark.parametrize(
    ("off_s", "detail"), [(-21, "made 21 s before the box's time"), (21, "made 21 s after the box's time")]
)
def test_a_phone_farther_off_is_a_picture(off_s: int, detail: str) -> None:
    """And staff read by how much."""
    assert said(shown(NOW_S + off_s)) == (Reason.NOT_LIVE, detail)


@pytest.mark.parametrize(
    ("before_s", "reason"),
    [(NOW_S - 1, Reason.TICKET), (NOW_S, Reason.NOT_LIVE), (NOW_S + 1, Reason.NOT_LIVE)],
)
def test_a_time_is_accepted_once(before_s: int, reason: Reason) -> None:
    """Later ones than the last alone."""
    answer = said(shown(NOW_S), after(before_s, None))
    assert answer[0] is reason
    if reason is Reason.NOT_LIVE:
        assert answer[1] == "no newer than the last one shown"


@pytest.mark.parametrize(
    ("off_s", "step_s", "elapsed_ms", "reason"),
    [
        (-300, 5, 5000, Reason.TICKET),
        (300, 5, 5000, Reason.TICKET),
        (-301, 5, 5000, Reason.NOT_LIVE),
        (301, 5, 5000, Reason.NOT_LIVE),
        (-100, 5, 9000, Reason.TICKET),
        (-100, 5, 9001, Reason.NOT_LIVE),
        (-100, 5, 1000, Reason.TICKET),
        (-100, 5, 999, Reason.NOT_LIVE),
        (-100, 5, None, Reason.NOT_LIVE),
    ],
)
def test_a_phone_whose_clock_is_off_proves_itself_by_going_on(
    off_s: int, step_s: int, elapsed_ms: int | None, reason: Reason
) -> None:
    """As the box's own clock does, to twice the time between two codes; far enough off, it never does."""
    at_s = NOW_S + off_s
    assert said(shown(at_s), after(at_s - step_s, elapsed_ms))[0] is reason


def test_without_one_before_there_is_nothing_to_go_on_from() -> None:
    """The first code of a phone whose clock is off is refused, and remembered."""
    assert said(shown(NOW_S - 100))[0] is Reason.NOT_LIVE


def test_a_code_as_it_was_issued_is_not_live() -> None:
    """Its phone has signed nothing."""
    assert said(shown(None)) == (Reason.NOT_LIVE, "without the phone's signature")


@pytest.mark.parametrize("code", [TICKET_CODE, EXTERNAL_CODE])
def test_a_product_that_has_to_be_live_refuses_what_is_bound_to_no_phone(code: Credential) -> None:
    """Whoever sold it; a phone's code of the same product admits."""
    known = replace(LISTED, product=replace(DAY_TICKET, terms=Terms(live=True)))
    assert said(code, known) == (Reason.NOT_LIVE, "not bound to a phone")
    assert said(code)[0] is Reason.TICKET
    assert said(shown(NOW_S), known)[0] is Reason.TICKET


def test_of_an_unknown_product_nothing_is_asked() -> None:
    """Its refusal says what is wrong with it."""
    assert said(TICKET_CODE, replace(LISTED, product=None))[0] is Reason.UNKNOWN_PRODUCT


def test_a_document_may_be_shown_as_it_is() -> None:
    """It says who its holder is."""
    known = replace(LISTED, product=replace(DAY_TICKET, terms=Terms(live=True)))
    document = DocumentCode(KEY, DocumentKind.PASSPORT)
    assert said(document, replace(facts(), held=((KEY, known),)))[0] is not Reason.NOT_LIVE


def test_a_credit_code_has_to_be_live_where_the_policy_says_so() -> None:
    """Or may be on paper."""
    assert said(CREDIT_CODE, MEMBERS) == (Reason.NOT_LIVE, "not bound to a phone")
    assert said(shown(NOW_S, CREDIT_CODE), MEMBERS)[0] is Reason.FREE_VISIT
    assert decide(CREDIT_CODE, MEMBERS, POLICY, NOW_MS).reason is Reason.FREE_VISIT


def test_whoever_follows_in_a_group_shows_nothing() -> None:
    """The phone has gone in before them."""
    known = replace(after(NOW_S, 10), is_follower=True)
    assert said(shown(NOW_S), known)[0] is Reason.TICKET


# Groups and vouchers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sold", "used", "persons", "followers"),
    [(4, 0, 1, 3), (4, 3, 1, 0), (4, 0, 3, 1), (4, 0, 4, 0), (1, 0, 1, 0)],
)
def test_a_decision_says_how_many_may_follow(sold: int, used: int, persons: int, followers: int) -> None:
    """Of a product with continuous release; of any other, nobody does."""
    row = ticket(quantity=sold, used=used)
    known = replace(
        facts(ticket=row, product=replace(DAY_TICKET, terms=Terms(continuous=True))), persons=persons
    )
    assert decide(TICKET_CODE, known, POLICY, NOW_MS).followers == followers
    plain = replace(known, product=DAY_TICKET)
    assert decide(TICKET_CODE, plain, POLICY, NOW_MS).followers == 0


@pytest.mark.parametrize(
    ("groups", "reason"),
    [(("good",), Reason.TICKET), (("other", "good"), Reason.TICKET), (("other",), Reason.VOUCHER_ON_HOLD)],
)
def test_a_voucher_admits_by_where_its_merchant_stands(groups: tuple[str, ...], reason: Reason) -> None:
    """In any of the groups that its product names."""
    product = replace(DAY_TICKET, terms=Terms(vouched_by=groups))
    known = replace(facts(ticket=ticket(), product=product), merchant=subject(memberships=MEMBER))
    decision = decide(TICKET_CODE, known, POLICY, NOW_MS)
    assert decision.reason is reason
    if reason is Reason.VOUCHER_ON_HOLD:
        assert decision.detail == "its merchant is not in other"
    unknown = replace(known, merchant=None)
    assert decide(TICKET_CODE, unknown, POLICY, NOW_MS).reason is Reason.VOUCHER_ON_HOLD


def test_a_voucher_without_any_list_is_for_staff() -> None:
    """Nothing is known of its merchant; a ticket admits within the bootstrap limit."""
    bare = facts(current_list=None, product=None)
    voucher = replace(TICKET_CODE, merchant=KEY)
    assert decide(voucher, bare, POLICY, NOW_MS).reason is Reason.NO_LIST
    assert decide(TICKET_CODE, bare, POLICY, NOW_MS).reason is Reason.UNLISTED_TICKET


@pytest.mark.parametrize("other", ['"unlimited": true', '"passback_s": 60', '"reentry": "same_day"'])
def test_terms_that_would_let_in_for_ever_or_hold_back_are_refused(other: str) -> None:
    """With the field that stands against it."""
    with pytest.raises(TermsError, match=other.split('"')[1]):
        check_terms(f'{{"continuous": true, {other}}}')
