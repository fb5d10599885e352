"""An explanation: each fact and rule behind an answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from admission.capacity import CapacityFacts, CapacityLimits, Headcount
from admission.codes import Rejected
from admission.entitlements import Membership
from admission.explain import explain
from admission.facts import Facts
from admission.holders import Showing, ShownBefore
from admission.reasons import Reason
from admission.terms import Terms
from admission.tickets import Basis, History
from tests.admission.makers import (
    CREDIT_CODE,
    DAY_TICKET,
    EXTERNAL_CODE,
    MEMBER,
    NOW_MS,
    NOW_S,
    POLICY,
    TICKET_CODE,
    facts,
    line,
    subject,
    ticket,
    use,
)


def _lines(text: str) -> dict[str, list[str]]:
    """The lines of an explanation by the word that they begin with."""
    found: dict[str, list[str]] = {}
    for one in text.splitlines():
        found.setdefault(one[:12].strip(), []).append(one[12:])
    return found


def test_a_tickets_rules_are_told_in_their_order() -> None:
    """Facts first, then each rule with what it says, then the answer with its words."""
    product = replace(DAY_TICKET, terms=Terms(passback_s=3600, unlimited=True))
    known = facts(ticket=ticket(), product=product, history=History((use(1, lane_id="lane-9"),)))
    told = _lines("\n".join(explain(TICKET_CODE, known, POLICY, NOW_MS)))
    assert [rule.partition(":")[0] for rule in told["rule"]] == [
        "live",
        "service",
        "validity",
        "calendar",
        "passback",
        "rule",
        "counters",
        "merchant",
        "proof",
    ]
    assert told["decision"] == ["DENY PASSBACK (admits from 2026-05-01 12:50:00)"]
    assert told["admits at"] == ["2026-05-01 12:50:00"]
    assert "TICKET at 2026-05-01 11:50:00, box-1 lane lane-9, open" in told["use"]
    assert '"passback_s":3600' in told["product"][0]


def test_a_subjects_rights_are_told_one_by_one() -> None:
    """What each kind of right says, and what was left unspent."""
    known = facts(
        subject=subject(memberships=MEMBER, credit_line=line(), free_visits_used={"first@fairy": 0})
    )
    told = _lines("\n".join(explain(CREDIT_CODE, known, POLICY, NOW_MS)))
    assert [rule.partition(":")[0] for rule in told["rule"]] == [
        "live",
        *(basis.name.lower() for basis in POLICY.subject_order),
    ]
    assert told["unspent"] == [Basis.CREDIT_LINE.name]
    assert told["credit"][0].startswith("limit 20000 fen")


@pytest.mark.parametrize(
    "known",
    [
        facts(),
        facts(current_list=None),
        facts(is_key_withdrawn=True),
        facts(subject=subject(memberships=MEMBER)),
        replace(facts(), product=None),
    ],
)
def test_everything_can_be_explained(known: Facts) -> None:
    """Whatever is shown and known, the last lines are the decision and its words."""
    for credential in (TICKET_CODE, EXTERNAL_CODE, CREDIT_CODE, Rejected(Reason.NOT_A_TICKET, "why")):
        told = _lines("\n".join(explain(credential, known, POLICY, NOW_MS)))
        assert told["decision"]
        assert told["visitor"]
        assert told["staff"]


def test_how_full_the_site_is_is_told() -> None:
    """The level and how many are inside, where the site has a limit."""
    full = CapacityFacts(CapacityLimits(max_inside=10), Headcount(9, 0), Headcount(1, 1))
    known = replace(facts(subject=subject()), capacity=full)
    told = _lines("\n".join(explain(CREDIT_CODE, known, POLICY, NOW_MS)))
    assert told["capacity"] == ["ORANGE, 9 inside"]


@pytest.mark.parametrize(("elapsed_ms", "ago"), [(4000, "4000 ms ago"), (None, "before the box started")])
def test_a_phones_code_is_told_with_what_it_showed_before(elapsed_ms: int | None, ago: str) -> None:
    """And why it is a picture."""
    shown = replace(TICKET_CODE, showing=Showing(bytes(33), NOW_S - 900))
    known = replace(facts(ticket=ticket()), shown_before=ShownBefore(NOW_S - 990, elapsed_ms))
    told = _lines("\n".join(explain(shown, known, POLICY, NOW_MS)))
    assert told["phone"] == [f"last showed 2026-05-01 11:43:30, {ago}"]
    assert told["rule"][0] == "live: NOT_LIVE (made 900 s before the box's time)"
    assert told["decision"] == ["REFER NOT_LIVE (made 900 s before the box's time)"]


@pytest.mark.parametrize(
    ("member", "where"), [(MEMBER, "in good now"), ((), "in no group now")], ids=["stands", "on hold"]
)
def test_a_voucher_is_told_with_where_its_merchant_stands(member: tuple[Membership, ...], where: str) -> None:
    """What the list says of it at this moment."""
    known = replace(facts(ticket=ticket()), merchant=subject(memberships=member))
    assert _lines("\n".join(explain(TICKET_CODE, known, POLICY, NOW_MS)))["merchant"] == [where]


def test_companions_are_told_beside_what_is_spent() -> None:
    """One visit, three persons."""
    family = replace(POLICY, free_visits=(replace(POLICY.free_visits[0], companions=2),))
    known = replace(facts(subject=subject(memberships=MEMBER)), persons=3)
    told = _lines("\n".join(explain(CREDIT_CODE, known, family, NOW_MS)))
    assert told["spends"] == ["1 of FREE_VISIT with 2 companions, at risk: NONE"]
