"""Whom a member of staff may let in all the same, and what that spends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.answers import Decision
from admission.capacity import CapacityFacts, CapacityLimits, Headcount
from admission.clearance import Clearance, ClearanceRule, Colour
from admission.codes import Credential, Rejected
from admission.facts import Facts, LaneClass, LaneTraits
from admission.overrides import KEPT_S, decide_override, may_override
from admission.policy import Policy
from admission.reasons import Reason, Verdict
from admission.staff import OverrideCode, Role, StaffAct
from admission.terms import Proof, Terms
from admission.tickets import Basis, History, Risk
from tests.admission.makers import (
    CREDIT_CODE,
    DAY_S,
    DAY_TICKET,
    EXTERNAL_CODE,
    HOUR_S,
    KEY,
    NOW_MS,
    NOW_S,
    POLICY,
    TICKET_CODE,
    facts,
    ticket,
    use,
)

NEVER = {
    Reason.LANE_NOT_READY,
    Reason.STORE_BROKEN,
    Reason.STORE_FULL,
    Reason.CAPACITY_REACHED,
    Reason.BAD_SIGNATURE,
}
"""Nobody opens what cannot open or be recorded, exceeds what was approved, or takes a forgery for a ticket."""


def act(role: Role = Role.SUPERVISOR, record: str = "B1-D7") -> StaffAct:
    """A member of staff lets somebody in."""
    return StaffAct("w12", role, OverrideCode.ORDER_CHECKED, record)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_says_who_may_override_it(reason: Reason) -> None:
    """An admission has nothing to override; what was referred or denied has a role, or is never overridden."""
    if reason.verdict is Verdict.ADMIT or reason in NEVER:
        assert reason.wording.override is None
    else:
        assert reason.wording.override is not None
    assert may_override(reason, Role.SUPERVISOR) == (reason.wording.override is not None)


def test_a_steward_confirms_what_staff_can_look_up_and_no_more() -> None:
    """What the box could not know is for anybody on duty; money, blocks and used tickets are the supervisor's."""
    assert {reason for reason in Reason if may_override(reason, Role.STEWARD)} == {
        Reason.NO_LIST,
        Reason.UNLISTED_CODE,
        Reason.UNLISTED_LIMIT,
        Reason.UNKNOWN_PRODUCT,
        Reason.LATE,
        Reason.NOT_LIVE,
        Reason.CLOCK_UNSURE,
        Reason.CLEARANCE,
        Reason.OTHER_LANE,
        Reason.PROOF_NEEDED,
        Reason.RULE_UNREADABLE,
    }


@pytest.mark.parametrize("code", OverrideCode)
def test_every_code_has_words_in_both_languages(code: OverrideCode) -> None:
    """Staff choose among words, and the record is read by people."""
    assert all(code.words)


@pytest.mark.parametrize(
    ("credential", "known", "until_s"),
    [
        (TICKET_CODE, facts(), TICKET_CODE.validity.until_s),
        (EXTERNAL_CODE, facts(), NOW_S + KEPT_S),
        (TICKET_CODE, facts(ticket=ticket(valid_until_s=NOW_S + 9 * HOUR_S)), NOW_S + 9 * HOUR_S),
    ],
)
def test_confirming_a_referred_ticket_spends_it(credential: Credential, known: Any, until_s: int) -> None:
    """Who was referred and is let in has used the ticket: it cannot be used again when the list knows it."""
    decision = decide_override(Reason.UNLISTED_CODE, credential, known, POLICY, act(Role.STEWARD), NOW_MS)
    assert (decision.reason, decision.act) == (Reason.OVERRIDDEN, act(Role.STEWARD))
    spend = decision.spend
    assert spend is not None
    assert (spend.key, spend.basis, spend.risk, spend.quantity) == (KEY, Basis.TICKET, Risk.STAFF, 1)
    assert spend.keep_until_s == until_s


@pytest.mark.parametrize(
    "known",
    [
        facts(history=History((use(1),))),
        facts(ticket=ticket(used=1)),
        facts(ticket=ticket(), history=History((use(1),))),
    ],
)
def test_a_ticket_that_was_spent_meanwhile_is_not_confirmed(known: Any) -> None:
    """Between the referral and the confirmation another gate may have admitted on it."""
    decision = decide_override(Reason.UNLISTED_CODE, TICKET_CODE, known, POLICY, act(), NOW_MS)
    assert (decision.reason, decision.spend) == (Reason.ALREADY_USED, None)


@pytest.mark.parametrize(
    ("refused", "credential"),
    [
        (Reason.ALREADY_USED, TICKET_CODE),
        (Reason.CREDIT_DATA_OLD, CREDIT_CODE),
        (Reason.EXPIRED, EXTERNAL_CODE),
    ],
)
def test_an_override_of_a_denial_touches_no_right(refused: Reason, credential: Credential) -> None:
    """Who has no right is let in on the staff's word alone: it costs no ticket and no credit."""
    spend = decide_override(refused, credential, facts(ticket=ticket(used=1)), POLICY, act(), NOW_MS).spend
    assert spend is not None
    assert (spend.key, spend.basis, spend.fare_fen, spend.risk) == (KEY, Basis.OVERRIDE, 0, Risk.NONE)
    history = History((use(1, basis=Basis.OVERRIDE),))
    assert history.used_since_list(Basis.TICKET) == history.held(Basis.TICKET) == 0


def test_what_was_no_credential_gets_a_key_of_its_own() -> None:
    """Two visitors without a readable code are two admissions, each under its refusal's number."""
    nothing = Rejected(Reason.MALFORMED, "")
    keys = set()
    for record in ("B1-D1", "B1-D2"):
        spend = decide_override(Reason.MALFORMED, nothing, facts(), POLICY, act(record=record), NOW_MS).spend
        assert spend is not None
        keys.add(spend.key)
    assert len(keys) == 2


@given(
    refused=st.sampled_from([reason for reason in Reason if reason.verdict is not Verdict.ADMIT]),
    role=st.sampled_from(Role),
    credential=st.sampled_from([TICKET_CODE, CREDIT_CODE, EXTERNAL_CODE, Rejected(Reason.MALFORMED, "")]),
    used=st.integers(0, 2),
)
def test_nothing_is_let_in_beyond_the_role(
    refused: Reason, role: Role, credential: Credential | Rejected, used: int
) -> None:
    """Whatever was refused and whoever asks: an admission needs the role, and carries who decided."""
    known = facts(ticket=ticket(used=used))
    decision = decide_override(refused, credential, known, POLICY, act(role), NOW_MS)
    if decision.verdict is Verdict.ADMIT:
        assert may_override(refused, role)
        assert decision.act is not None
        assert decision.spend is not None
    else:
        assert decision.spend is None


# What stands against anybody's entry stands against an override, too ----------------------------------------

PROOF = Terms(proof=Proof(zh="学生证", en="student card"))
LIMITS = CapacityLimits(max_inside=100)
FULL = CapacityFacts(LIMITS, Headcount(100, 0), Headcount(9, 9))
AT_RED = CapacityFacts(LIMITS, Headcount(96, 0), Headcount(9, 9))
RULE = ClearanceRule(
    "health",
    "渝康码",
    "health code",
    DAY_S,
    dict(zip(Colour, (Verdict.ADMIT, Verdict.REFER, Verdict.DENY, Verdict.ADMIT), strict=True)),
    dict.fromkeys(Colour, Verdict.ADMIT),
)
CLEARED = replace(POLICY, clearances=(RULE,))
SHUTTLE = LaneTraits(service="shuttle")
NOTHING = Rejected(Reason.MALFORMED, "")


def colour(which: Colour) -> tuple[Clearance, ...]:
    """What was found about the visitor."""
    return (Clearance("health", which, NOW_S + HOUR_S),)


def concession(**other: Any) -> Facts:
    """A listed ticket that needs a proof."""
    return replace(facts(ticket=ticket(), product=replace(DAY_TICKET, terms=PROOF)), **other)


def confirm(
    refused: Reason,
    credential: Credential | Rejected,
    known: Facts,
    rules: Policy = POLICY,
    *decided: Reason,
    role: Role = Role.SUPERVISOR,
) -> Decision:
    """A member of staff answers a refusal, after whatever was decided before."""
    return decide_override(refused, credential, known, rules, act(role), NOW_MS, decided=frozenset(decided))


@pytest.mark.parametrize(
    ("refused", "credential"),
    [
        (Reason.PROOF_NEEDED, TICKET_CODE),
        (Reason.ALREADY_USED, TICKET_CODE),
        (Reason.RESERVED_ONLY, TICKET_CODE),
        (Reason.OTHER_LANE, TICKET_CODE),
        (Reason.MALFORMED, NOTHING),
    ],
)
def test_nobody_is_let_in_against_a_full_site(refused: Reason, credential: Credential | Rejected) -> None:
    """Whatever was refused before, and whoever decides."""
    known = concession(capacity=FULL)
    assert confirm(refused, credential, known).reason is Reason.CAPACITY_REACHED


@pytest.mark.parametrize("refused", [Reason.PROOF_NEEDED, Reason.ALREADY_USED, Reason.CLEARANCE])
def test_a_finding_that_denies_stands_against_an_override(refused: Reason) -> None:
    """A proof that was seen says nothing about it."""
    known = concession(clearances=colour(Colour.RED))
    assert confirm(refused, TICKET_CODE, known, CLEARED).reason is Reason.NOT_CLEARED


def test_a_supervisor_decides_a_finding_that_denies_and_the_ticket_is_spent() -> None:
    """The right behind it was good."""
    known = concession(clearances=colour(Colour.RED))
    spend = confirm(Reason.NOT_CLEARED, TICKET_CODE, known, CLEARED).spend
    assert spend is not None
    assert (spend.basis, spend.key) == (Basis.TICKET, KEY)


def test_what_staff_decided_before_is_not_asked_again() -> None:
    """A proof, then the clearance, then the reserved-only site: three decisions, one admission."""
    known = concession(
        clearances=colour(Colour.AMBER),
        capacity=AT_RED,
        product=replace(DAY_TICKET, terms=msgspec.structs.replace(PROOF, reserved=False)),
    )
    steps = [Reason.PROOF_NEEDED, Reason.RESERVED_ONLY, Reason.CLEARANCE]
    answers = [
        confirm(step, TICKET_CODE, known, CLEARED, *steps[:at]).reason for at, step in enumerate(steps)
    ]
    assert answers == [Reason.RESERVED_ONLY, Reason.CLEARANCE, Reason.OVERRIDDEN]


def test_a_denial_stays_a_denial_when_a_clearance_is_decided_after_it() -> None:
    """Both decisions stand: the admission is by itself, and no ticket is spent."""
    known = facts(ticket=ticket(used=1))
    spend = confirm(Reason.CLEARANCE, TICKET_CODE, known, CLEARED, Reason.ALREADY_USED).spend
    assert spend is not None
    assert spend.basis is Basis.OVERRIDE


def test_the_lane_is_whoever_decides_at_its_own() -> None:
    """A steward at the priority lane confirms a proof there: the visitor need not go elsewhere."""
    known = concession(lane=LaneTraits(LaneClass.PRIORITY))
    assert confirm(Reason.PROOF_NEEDED, TICKET_CODE, known, role=Role.STEWARD).reason is Reason.OVERRIDDEN


def test_a_visitor_let_in_at_another_lane_spends_their_ticket() -> None:
    """The ticket was good, and would be good again otherwise."""
    known = facts(ticket=ticket(), product=DAY_TICKET)
    spend = confirm(Reason.OTHER_LANE, TICKET_CODE, replace(known, lane=LaneTraits(LaneClass.PRIORITY))).spend
    assert spend is not None
    assert (spend.basis, spend.key, spend.risk) == (Basis.TICKET, KEY, Risk.NONE)


@pytest.mark.parametrize("refused", [Reason.PROOF_NEEDED, Reason.LATE])
def test_what_is_confirmed_at_a_service_counts_for_the_service(refused: Reason) -> None:
    """A proof seen at the shuttle leaves the site's entry as it was."""
    terms = msgspec.structs.replace(PROOF, services={"admission": 1, "shuttle": 2})
    known = facts(ticket=ticket(), product=replace(DAY_TICKET, terms=terms))
    spend = confirm(refused, TICKET_CODE, replace(known, lane=SHUTTLE)).spend
    assert spend is not None
    assert (spend.basis, spend.scope) == (Basis.TICKET, "shuttle")


def test_an_unlimited_pass_is_never_used_up() -> None:
    """Its counter says how often it was used, and is no limit."""
    terms = Terms(unlimited=True)
    known = facts(ticket=ticket(used=9), product=replace(DAY_TICKET, terms=terms))
    assert confirm(Reason.LATE, TICKET_CODE, known).reason is Reason.OVERRIDDEN


def test_an_unlisted_ticket_whose_proof_was_seen_is_spent_as_an_unlisted_one() -> None:
    """What was risked on it stays counted."""
    known = facts(product=replace(DAY_TICKET, terms=PROOF))
    fresh = replace(TICKET_CODE, validity=replace(TICKET_CODE.validity, issued_s=NOW_S))
    spend = confirm(Reason.PROOF_NEEDED, fresh, known).spend
    assert spend is not None
    assert spend.risk is Risk.UNLISTED
