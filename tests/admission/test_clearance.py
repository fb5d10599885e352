"""Clearance: colours, their meaning online and offline, and that the worst wins; nothing of it when it is off."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.capacity import CapacityFacts, CapacityLimits, Headcount
from admission.clearance import Clearance, ClearanceRule, Colour, judge
from admission.decision import decide
from admission.explain import explain
from admission.facts import Direction, Facts, LaneTraits
from admission.overrides import decide_override
from admission.policy import Policy
from admission.reasons import Reason, Verdict
from admission.staff import OverrideCode, Role, StaffAct
from admission.terms import Reentry, Terms
from admission.tickets import Basis, Closing, History, Outcome, Use
from tests.admission.makers import (
    BOX,
    CREDIT_CODE,
    DAY_TICKET,
    EXTERNAL_CODE,
    HOUR_S,
    LANE,
    LIST,
    MEMBER,
    NOW_MS,
    NOW_S,
    POLICY,
    facts,
    subject,
    ticket,
)

ADMIT, REFER, DENY = Verdict.ADMIT, Verdict.REFER, Verdict.DENY
ONLINE = {Colour.GREEN: ADMIT, Colour.AMBER: REFER, Colour.RED: DENY, Colour.UNKNOWN: REFER}
OFFLINE = {Colour.GREEN: REFER, Colour.AMBER: DENY, Colour.RED: DENY, Colour.UNKNOWN: ADMIT}
HEALTH = ClearanceRule("health", "渝康码", "health code", HOUR_S, ONLINE, OFFLINE)
TRIPS = ClearanceRule("trips", "行程卡", "travel card", HOUR_S, ONLINE, OFFLINE)
LATER = NOW_S + HOUR_S


def found(provider: str, colour: Colour, until_s: int = LATER) -> Clearance:
    """What a provider says."""
    return Clearance(provider, colour, until_s)


@pytest.mark.parametrize(("colour", "age_s"), [*product(Colour, (0, HOUR_S, HOUR_S + 1))])
def test_every_colour_means_what_the_policy_says(colour: Colour, age_s: int) -> None:
    """By the age of the data, to the second."""
    wanted = (OFFLINE if age_s > HOUR_S else ONLINE)[colour]
    assert judge((HEALTH,), (found("health", colour),), age_s, NOW_S) == (wanted, (HEALTH,))


@pytest.mark.parametrize(("until_s", "verdict"), [(NOW_S + 1, ADMIT), (NOW_S, REFER)])
def test_finding_past_its_end_says_nothing(until_s: int, verdict: Verdict) -> None:
    """It is unknown again."""
    assert judge((HEALTH,), (found("health", Colour.GREEN, until_s),), 0, NOW_S)[0] is verdict


def test_without_rules_everybody_is_cleared() -> None:
    """Whatever was found."""
    assert judge((), (found("health", Colour.RED),), 0, NOW_S) == (ADMIT, ())


COLOURS = st.sampled_from(Colour)


@given(st.lists(st.tuples(st.sampled_from(("health", "trips")), COLOURS)))
def test_worst_of_all_findings_wins(said: list[tuple[str, Colour]]) -> None:
    """In whatever order they stand."""
    findings = [found(provider, colour) for provider, colour in said]
    verdict, rules = judge((HEALTH, TRIPS), findings, 0, NOW_S)
    colours = [
        colour
        for name in ("health", "trips")
        for colour in ([c for p, c in said if p == name] or [Colour.UNKNOWN])
    ]
    order = list(Verdict)
    assert verdict is max((ONLINE[colour] for colour in colours), key=order.index)
    assert rules
    assert judge((TRIPS, HEALTH), findings[::-1], 0, NOW_S)[0] is verdict


def asking(*rules: ClearanceRule) -> Policy:
    """A policy that asks for clearance."""
    return replace(POLICY, clearances=rules or (HEALTH, TRIPS))


def cleared(*findings: Clearance, **said: object) -> Facts:
    """Facts of a good ticket with these findings, by a list of this moment."""
    fresh = replace(LIST, as_of_s=NOW_S)
    return replace(facts(ticket=ticket(), current_list=fresh, **said), clearances=findings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("health", "trips", "reason", "named"),
    [
        (Colour.GREEN, Colour.GREEN, Reason.TICKET, ""),
        (Colour.GREEN, Colour.AMBER, Reason.CLEARANCE, "行程卡 travel card"),
        (Colour.AMBER, Colour.UNKNOWN, Reason.CLEARANCE, "渝康码 health code; 行程卡 travel card"),
        (Colour.RED, Colour.AMBER, Reason.NOT_CLEARED, "渝康码 health code"),
    ],
)
def test_ticket_and_clearance_are_judged_together(
    health: Colour, trips: Colour, reason: Reason, named: str
) -> None:
    """Staff are told what to check, and no colour."""
    known = cleared(found("health", health), found("trips", trips))
    decision = decide(EXTERNAL_CODE, known, asking(), NOW_MS)
    assert (decision.reason, decision.detail) == (reason, named)
    assert (decision.spend is None) == (reason is not Reason.TICKET)


def test_changes_since_the_list_keep_it_fresh() -> None:
    """The age is that of what is known, not of the full list."""
    old = replace(LIST, as_of_s=NOW_S - 2 * HOUR_S)
    green = (found("health", Colour.GREEN),)
    known = replace(facts(ticket=ticket(), current_list=old), clearances=green)
    assert decide(EXTERNAL_CODE, known, asking(HEALTH), NOW_MS).reason is Reason.CLEARANCE
    told = replace(known, current_list=replace(old, changes_as_of_s=NOW_S - 60))
    assert decide(EXTERNAL_CODE, told, asking(HEALTH), NOW_MS).reason is Reason.TICKET


def test_refusals_and_exits_ask_for_no_clearance() -> None:
    """A used ticket is used whatever was found, and nobody is locked in."""
    red = (found("health", Colour.RED), found("trips", Colour.RED))
    used_up = replace(facts(ticket=ticket(used=1)), clearances=red)
    assert decide(EXTERNAL_CODE, used_up, asking(), NOW_MS).reason is Reason.ALREADY_USED
    leaving = replace(used_up, lane=LaneTraits(direction=Direction.EXIT))
    assert decide(EXTERNAL_CODE, leaving, asking(), NOW_MS).reason is Reason.EXIT


def test_full_site_goes_before_clearance() -> None:
    """Whoever cannot come in now need not be looked at."""
    full = CapacityFacts(CapacityLimits(None, 10), Headcount(0, 10), Headcount(0, 0))
    known = replace(cleared(found("health", Colour.RED)), capacity=full)
    assert decide(EXTERNAL_CODE, known, asking(), NOW_MS).reason is Reason.CAPACITY_REACHED


def test_off_it_changes_nothing() -> None:
    """Not even with findings at hand."""
    known = cleared(found("health", Colour.RED))
    assert decide(EXTERNAL_CODE, known, POLICY, NOW_MS) == decide(
        EXTERNAL_CODE, replace(known, clearances=()), POLICY, NOW_MS
    )


def test_checked_by_hand_a_reentry_spends_nothing() -> None:
    """The ticket is treated as it would have been without the check."""
    act = StaffAct("s1", Role.STEWARD, OverrideCode.PROOF_SEEN, "B-D1")
    entered = Use(bytes(16), BOX, 5, Basis.TICKET, "", LANE, 1, 0, NOW_MS - HOUR_S * 1000)
    passed = Closing(entered.admission_id, Outcome.PASSED, BOX, 6, entered.at_ms)
    known = replace(
        cleared(),
        product=replace(DAY_TICKET, terms=Terms(reentry=Reentry.SAME_DAY)),
        history=History((entered,), (passed,)),
    )
    assert decide(EXTERNAL_CODE, known, asking(), NOW_MS).reason is Reason.CLEARANCE
    found_ = decide_override(Reason.CLEARANCE, EXTERNAL_CODE, known, asking(), act, NOW_MS)
    assert found_.spend is not None
    assert (found_.reason, found_.spend.basis, found_.spend.quantity) == (Reason.OVERRIDDEN, Basis.REENTRY, 0)


def test_explanation_names_what_was_found() -> None:
    """For whoever may read the box's memory; the display and the record name no colour."""
    known = cleared(found("health", Colour.RED))
    lines = list(explain(EXTERNAL_CODE, known, asking(), NOW_MS))
    assert any(line.startswith("clearance   health red, until 2026-05-01") for line in lines)
    assert any(line.startswith("decision    DENY NOT_CLEARED (渝康码") for line in lines)


def test_checked_by_hand_the_right_is_spent() -> None:
    """A steward has looked at it: the subject's free visit, or the ticket."""
    act = StaffAct("s1", Role.STEWARD, OverrideCode.PROOF_SEEN, "B-D1")
    known = cleared(subject=subject(memberships=MEMBER))
    assert decide(CREDIT_CODE, known, asking(), NOW_MS).reason is Reason.CLEARANCE
    free = decide_override(Reason.CLEARANCE, CREDIT_CODE, known, asking(), act, NOW_MS)
    paid = decide_override(Reason.CLEARANCE, EXTERNAL_CODE, known, asking(), act, NOW_MS)
    assert free.spend is not None
    assert paid.spend is not None
    assert (free.spend.basis, paid.spend.basis) == (Basis.FREE_VISIT, Basis.TICKET)
