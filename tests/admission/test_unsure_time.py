"""Decisions while it is not sure what time it is: it may be later than what is decided by, and is never earlier."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from admission.decision import decide
from admission.facts import Facts
from admission.overrides import decide_override
from admission.reasons import Reason
from admission.staff import OverrideCode, Role, StaffAct
from admission.terms import Days, Terms, Window
from admission.tickets import Basis, Risk
from tests.admission.makers import DAY_TICKET, HOUR_S, NOW_MS, NOW_S, POLICY, TICKET_CODE, facts, ticket

TOMORROW = ticket(valid_from_s=NOW_S + 6 * HOUR_S, valid_until_s=NOW_S + 12 * HOUR_S)
OVER = ticket(valid_from_s=NOW_S - 6 * HOUR_S, valid_until_s=NOW_S)
TODAY = datetime.fromtimestamp(NOW_S, UTC).date()


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (facts(ticket=TOMORROW), Reason.TOO_EARLY),
        (
            facts(
                ticket=ticket(),
                product=replace(DAY_TICKET, terms=Terms(blackouts=(Days(first=TODAY, last=TODAY),))),
            ),
            Reason.NOT_TODAY,
        ),
        (
            facts(
                ticket=ticket(), product=replace(DAY_TICKET, terms=Terms(windows=(Window(from_min=1080),)))
            ),
            Reason.NOT_NOW,
        ),
        (
            facts(ticket=ticket(quantity=9), product=replace(DAY_TICKET, terms=Terms(per_day=1))),
            Reason.TICKET,
        ),
    ],
)
def test_what_may_have_ended_is_referred_while_the_time_is_not_sure(known: Facts, reason: Reason) -> None:
    """Cold boot at dawn: whoever seems too early may be right, and staff look at the ticket."""
    assert decide(TICKET_CODE, known, POLICY, NOW_MS).reason is reason
    unsure = decide(TICKET_CODE, replace(known, is_time_sure=False), POLICY, NOW_MS)
    assert unsure.reason is (Reason.TICKET if reason is Reason.TICKET else Reason.CLOCK_UNSURE)


def test_what_is_over_at_the_least_that_it_can_be_is_over() -> None:
    """An unsure clock never makes an expired ticket valid."""
    known = replace(facts(ticket=OVER), is_time_sure=False)
    assert decide(TICKET_CODE, known, POLICY, NOW_MS).reason is Reason.EXPIRED


def test_confirming_one_that_seemed_too_early_spends_the_ticket() -> None:
    """It cannot be used again when the clock is right."""
    known = replace(facts(ticket=TOMORROW), is_time_sure=False)
    act = StaffAct("w1", Role.STEWARD, OverrideCode.ORDER_CHECKED, "B1-D1")
    spend = decide_override(Reason.CLOCK_UNSURE, TICKET_CODE, known, POLICY, act, NOW_MS).spend
    assert spend is not None
    assert (spend.basis, spend.risk) == (Basis.TICKET, Risk.STAFF)
