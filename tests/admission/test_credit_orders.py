"""Credit orders: authorised visits, spent in order of their end, and no floor limit against them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from admission.answers import Decision
from admission.decision import decide
from admission.entitlements import CreditOrder
from admission.explain import explain
from admission.facts import Exposure
from admission.policy import Policy
from admission.reasons import Reason
from admission.tickets import Basis, Closing, History, Outcome, Risk, Use
from tests.admission.makers import (
    BOX,
    CREDIT_CODE,
    DAY_S,
    HOUR_S,
    KEY,
    LANE,
    MEMBER,
    NOW_MS,
    NOW_S,
    SITE,
    facts,
    free_visit,
    line,
    policy,
    subject,
)

ORDERS = (Basis.FREE_VISIT, Basis.CREDIT_ORDER, Basis.CREDIT_LINE)
RULES = policy(free_visits=(free_visit(),), subject_order=ORDERS)


def order(
    order_id: str = "A-1",
    *,
    site_id: str = SITE,
    quantity: int = 2,
    used: int = 0,
    from_s: int = NOW_S - HOUR_S,
    until_s: int = NOW_S + HOUR_S,
) -> CreditOrder:
    """An order for two entries now, unless told otherwise."""
    return CreditOrder(order_id, site_id, 4500, quantity, used, from_s, until_s)


def answer(
    *orders: CreditOrder, persons: int = 1, history: History | None = None, by: Policy = RULES
) -> Decision:
    """What a subject with these orders is answered."""
    known = facts(subject=replace(subject(), credit_orders=orders), history=history)
    return decide(CREDIT_CODE, replace(known, persons=persons), by, NOW_MS)


def used(order_id: str, outcome: Outcome = Outcome.PASSED, quantity: int = 1) -> History:
    """A use of an order at this box that no list has counted."""
    use = Use(bytes(16), BOX, 5, Basis.CREDIT_ORDER, order_id, LANE, quantity, 4500, NOW_MS - HOUR_S * 1000)
    return History((use,), (Closing(use.admission_id, outcome, BOX, 6, use.at_ms),))


def test_order_is_spent_with_its_fare_and_no_risk() -> None:
    """Under its own name, so that its entries are counted."""
    found = answer(order())
    assert found.spend is not None
    assert (found.reason, found.detail) == (Reason.CREDIT_ORDER, "order A-1")
    assert (found.spend.key, found.spend.basis, found.spend.scope) == (KEY, Basis.CREDIT_ORDER, "A-1")
    assert (found.spend.quantity, found.spend.fare_fen, found.spend.risk) == (1, 4500, Risk.NONE)
    assert found.spend.keep_until_s == NOW_S + HOUR_S


@pytest.mark.parametrize(
    ("persons", "before", "reason"),
    [
        (2, None, Reason.CREDIT_ORDER),
        (3, None, Reason.FEWER_LEFT),
        (1, used("A-1"), Reason.CREDIT_ORDER),
        (2, used("A-1"), Reason.FEWER_LEFT),
        (2, used("A-1", Outcome.ABANDONED), Reason.CREDIT_ORDER),
        (2, used("B-2"), Reason.CREDIT_ORDER),
        (1, used("A-1", quantity=2), Reason.NO_CREDIT),
    ],
)
def test_entries_are_counted_by_order(persons: int, before: History | None, reason: Reason) -> None:
    """What another order was used for does not count, nor what was given back."""
    found = answer(order(), persons=persons, history=before)
    assert found.reason is reason
    assert found.spend is None or found.spend.fare_fen == 4500 * persons


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (order(used=1), Reason.CREDIT_ORDER),
        (order(used=2), Reason.NO_CREDIT),
        (order(quantity=0), Reason.NO_CREDIT),
        (order(site_id="bridges"), Reason.NO_ENTITLEMENT),
        (order(site_id="wulong"), Reason.CREDIT_ORDER),
        (order(from_s=NOW_S), Reason.CREDIT_ORDER),
        (order(from_s=NOW_S + 1), Reason.NO_ENTITLEMENT),
        (order(until_s=NOW_S + 1), Reason.CREDIT_ORDER),
        (order(until_s=NOW_S), Reason.NO_ENTITLEMENT),
    ],
)
def test_order_holds_where_and_when_it_was_made_for(given: CreditOrder, reason: Reason) -> None:
    """To the second; a node of the site tree stands for all below it."""
    assert answer(given).reason is reason


def test_order_that_ends_first_is_spent_first() -> None:
    """And one with too few entries is passed over."""
    later, sooner = order("late", until_s=NOW_S + DAY_S), order("soon")
    assert answer(later, sooner).detail == "order soon"
    assert answer(later, replace(sooner, used=1), persons=2).detail == "order late"
    assert answer(replace(later, used=2), replace(sooner, used=1), persons=2).detail == "1 left for 2 persons"


def test_free_visit_goes_first_and_the_order_is_left() -> None:
    """By the policy's order, and the answer says so."""
    rights = replace(subject(memberships=MEMBER, credit_line=line()), credit_orders=(order(),))
    found = decide(CREDIT_CODE, facts(subject=rights), RULES, NOW_MS)
    assert (found.reason, found.unspent) == (Reason.FREE_VISIT, (Basis.CREDIT_ORDER, Basis.CREDIT_LINE))


def test_no_floor_limit_stands_against_it() -> None:
    """It was authorised when it was made."""
    known = facts(subject=replace(subject(), credit_orders=(order(),)), exposure=Exposure(credit_fen=10**9))
    assert decide(CREDIT_CODE, known, RULES, NOW_MS).reason is Reason.CREDIT_ORDER


def test_explanation_names_the_orders() -> None:
    """With their entries and what each costs."""
    known = facts(subject=replace(subject(), credit_orders=(order(used=1),)))
    lines = list(explain(CREDIT_CODE, known, RULES, NOW_MS))
    assert any(
        text.startswith("order       A-1: 2 entries at fairy, 1 used, 4500 fen each") for text in lines
    )
