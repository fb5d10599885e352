"""What staff are told beside a refusal's words, and what exactly an admission without an entry spends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from admission.answers import Spend
from admission.codes import Credential, Rejected
from admission.decision import EXIT_KEPT_S, NOBODY, decide, refuse
from admission.facts import Direction, Facts, LaneClass, LaneTraits
from admission.policy import CreditLimits, Policy
from admission.reasons import Reason
from admission.terms import Reentry, Terms
from admission.tickets import Basis, History, Risk
from tests.admission.makers import (
    CREDIT_CODE,
    DAY_S,
    DAY_TICKET,
    ELSEWHERE,
    EXTERNAL_CODE,
    HOUR_S,
    KEY,
    NOW_MS,
    NOW_S,
    POLICY,
    TICKET_CODE,
    TICKET_ISSUER,
    facts,
    line,
    policy,
    subject,
    ticket,
    use,
)

NO_CREDIT_LEFT = policy(
    credit=CreditLimits(per_subject_fen=4999, per_box_day_fen=50_000, max_list_age_s=DAY_S)
)
BOX_FULL = policy(credit=CreditLimits(per_subject_fen=12_000, per_box_day_fen=4999, max_list_age_s=DAY_S))
ONE_A_DAY = policy(
    credit=CreditLimits(
        per_subject_fen=12_000, per_box_day_fen=50_000, max_list_age_s=DAY_S, visits_per_day=1
    )
)
ON_CREDIT = facts(subject=subject(credit_line=line()))
SEEN = History((use(basis=Basis.CREDIT_LINE, fare_fen=1),))


@pytest.mark.parametrize(
    ("credential", "known", "rules", "reason", "told"),
    [
        (TICKET_CODE, facts(ticket=ticket(), product=None), POLICY, Reason.UNKNOWN_PRODUCT, "product DAY1"),
        (TICKET_CODE, facts(product=None), POLICY, Reason.UNKNOWN_PRODUCT, "product DAY1"),
        (
            TICKET_CODE,
            facts(ticket=ticket(), product=ELSEWHERE),
            POLICY,
            Reason.WRONG_SITE,
            "valid at bridges",
        ),
        (TICKET_CODE, facts(product=ELSEWHERE), POLICY, Reason.WRONG_SITE, "valid at bridges"),
        (
            TICKET_CODE,
            facts(product=replace(DAY_TICKET, site_ids=frozenset({"cableway", "bridges"}))),
            POLICY,
            Reason.WRONG_SITE,
            "valid at bridges, cableway",
        ),
        (EXTERNAL_CODE, facts(), POLICY, Reason.UNLISTED_CODE, "issuer ota"),
        (
            replace(TICKET_CODE, validity=replace(TICKET_CODE.validity, issued_s=0)),
            facts(),
            POLICY,
            Reason.UNLISTED_CODE,
            "issued before the list was made, yet not on it",
        ),
        (
            TICKET_CODE,
            facts(history=History((use(),))),
            POLICY,
            Reason.ALREADY_USED,
            "used at box-1, lane lane-1",
        ),
        (
            replace(TICKET_CODE, key_id=TICKET_ISSUER.key_id),
            facts(is_key_withdrawn=True),
            POLICY,
            Reason.KEY_WITHDRAWN,
            f"key {TICKET_ISSUER.key_id.hex()} was withdrawn",
        ),
        (CREDIT_CODE, ON_CREDIT, NO_CREDIT_LEFT, Reason.CREDIT_OFFLINE_LIMIT, "the subject's 4999 fen"),
        (CREDIT_CODE, ON_CREDIT, BOX_FULL, Reason.CREDIT_OFFLINE_LIMIT, "the box's 4999 fen a day"),
        (
            CREDIT_CODE,
            replace(ON_CREDIT, history=SEEN),
            ONE_A_DAY,
            Reason.CREDIT_OFFLINE_LIMIT,
            "the subject's 1 visits a day",
        ),
        (
            TICKET_CODE,
            replace(facts(ticket=ticket()), lane=LaneTraits(LaneClass.PRIORITY)),
            POLICY,
            Reason.OTHER_LANE,
            "would be TICKET at an ordinary lane",
        ),
    ],
)
def test_staff_are_told_why(
    credential: Credential, known: Facts, rules: Policy, reason: Reason, told: str
) -> None:
    """The detail names what the box went by."""
    decision = decide(credential, known, rules, NOW_MS)
    assert decision.reason is reason
    assert decision.detail.startswith(told)


def test_exit_is_kept_as_long_as_a_reentry_may_ask_for_it() -> None:
    """Under the credential's key, or nobody's."""
    out = LaneTraits(direction=Direction.EXIT)
    kept_until_s = NOW_S + EXIT_KEPT_S
    shown = decide(TICKET_CODE, replace(facts(), lane=out), POLICY, NOW_MS + 999)
    assert shown.spend == Spend(KEY, Basis.EXIT, kept_until_s, quantity=0)
    nothing = refuse(Rejected(Reason.NOT_A_TICKET, ""), out, NOW_MS)
    assert nothing.spend == Spend(NOBODY, Basis.EXIT, kept_until_s, quantity=0)


@pytest.mark.parametrize("listed", [True, False])
def test_reentry_is_recorded_under_the_tickets_key(listed: bool) -> None:
    """Until the ticket is over; no entry is spent."""
    product = replace(DAY_TICKET, terms=Terms(reentry=Reentry.SAME_DAY))
    known = facts(ticket=ticket() if listed else None, product=product, history=History((use(),)))
    decision = decide(TICKET_CODE, known, POLICY, NOW_MS)
    assert decision.spend == Spend(KEY, Basis.REENTRY, NOW_S + HOUR_S, quantity=0)


def test_unlisted_ticket_counts_its_services_apart() -> None:
    """Two rides are two, and the entry is none of them."""
    product = replace(DAY_TICKET, terms=Terms(services={"admission": 1, "shuttle": 2}))
    shuttle = LaneTraits(service="shuttle")
    entered = use(1)
    ride = use(2, scope="shuttle")
    again = use(3, scope="shuttle")
    known = replace(facts(product=product, history=History((entered, ride))), lane=shuttle)
    decision = decide(TICKET_CODE, known, POLICY, NOW_MS)
    assert decision.spend == Spend(KEY, Basis.TICKET, NOW_S + HOUR_S, scope="shuttle", risk=Risk.UNLISTED)
    spent = replace(known, history=History((entered, ride, again)))
    assert decide(TICKET_CODE, spent, POLICY, NOW_MS).reason is Reason.ALREADY_USED
