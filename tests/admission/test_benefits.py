"""What good credit brings beside free visits: the priority lane, a discount, and when it is asked for a proof."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from admission.answers import Decision
from admission.by_subject import benefits
from admission.codes import Credential
from admission.decision import decide
from admission.entitlements import Membership
from admission.explain import explain
from admission.facts import Direction, Facts, LaneClass, LaneTraits
from admission.overrides import decide_override
from admission.policy import Benefit, CreditLimits, Policy
from admission.reasons import Reason
from admission.staff import OverrideCode, Role, StaffAct
from admission.terms import Proof, Terms
from admission.tickets import Basis, History, Outcome
from tests.admission.makers import (
    CREDIT_CODE,
    CREDIT_LIMITS,
    DAY_S,
    DAY_TICKET,
    EXTERNAL_CODE,
    MEMBER,
    NOW_MS,
    NOW_S,
    POLICY,
    TICKET_CODE,
    closing,
    facts,
    free_visit,
    line,
    policy,
    subject,
    ticket,
    use,
)

PRIORITY = LaneTraits(LaneClass.PRIORITY)
GRADE_A = Benefit(
    "grade-a",
    frozenset({"good"}),
    date(2026, 5, 1),
    date(2026, 5, 1),
    "clause 4",
    priority_lane=True,
    discount_percent=30,
)
WITH_BENEFITS = replace(POLICY, benefits=(GRADE_A,))
ON_CREDIT = replace(WITH_BENEFITS, free_visits=())
GOOD = subject(memberships=MEMBER, credit_line=line())


def at_priority_lane(known: Facts) -> Facts:
    """The same visitor before a priority lane."""
    return replace(known, lane=PRIORITY)


@pytest.mark.parametrize(
    ("credential", "known", "rules", "reason"),
    [
        (TICKET_CODE, facts(ticket=ticket()), WITH_BENEFITS, Reason.OTHER_LANE),
        (EXTERNAL_CODE, facts(ticket=ticket()), WITH_BENEFITS, Reason.OTHER_LANE),
        (CREDIT_CODE, facts(subject=GOOD), POLICY, Reason.OTHER_LANE),
        (CREDIT_CODE, facts(subject=GOOD), WITH_BENEFITS, Reason.FREE_VISIT),
        (CREDIT_CODE, facts(subject=GOOD), ON_CREDIT, Reason.CREDIT_LINE),
        (TICKET_CODE, facts(ticket=ticket(used=1)), WITH_BENEFITS, Reason.ALREADY_USED),
        (
            TICKET_CODE,
            facts(ticket=ticket(), product=replace(DAY_TICKET, terms=Terms(priority_lane=True))),
            POLICY,
            Reason.TICKET,
        ),
        (
            TICKET_CODE,
            facts(product=replace(DAY_TICKET, terms=Terms(priority_lane=True))),
            POLICY,
            Reason.UNLISTED_TICKET,
        ),
    ],
)
def test_priority_lane_is_for_its_holders(
    credential: Credential, known: Facts, rules: Policy, reason: Reason
) -> None:
    """Others are shown to an ordinary lane; what would be refused anywhere says so first."""
    if known.ticket is None and credential is TICKET_CODE:
        known = replace(known, current_list=None)
    answer = decide(credential, at_priority_lane(known), rules, NOW_MS)
    assert answer.reason is reason
    assert (answer.spend is None) == (reason in {Reason.OTHER_LANE, Reason.ALREADY_USED})


@pytest.mark.parametrize("lane_class", [LaneClass.ORDINARY, LaneClass.STAFFED])
def test_holder_of_the_priority_lane_passes_anywhere(lane_class: LaneClass) -> None:
    """A benefit takes nothing away."""
    known = replace(facts(subject=GOOD), lane=LaneTraits(lane_class))
    assert decide(CREDIT_CODE, known, WITH_BENEFITS, NOW_MS).reason is Reason.FREE_VISIT


def test_priority_lane_lets_everybody_out() -> None:
    """Nobody is locked in for having come out by another lane."""
    known = replace(facts(ticket=ticket()), lane=LaneTraits(LaneClass.PRIORITY, Direction.EXIT))
    assert decide(TICKET_CODE, known, WITH_BENEFITS, NOW_MS).reason is Reason.EXIT


@pytest.mark.parametrize(
    ("benefit", "given"),
    [
        (GRADE_A, True),
        (replace(GRADE_A, groups=frozenset({"hero"})), False),
        (replace(GRADE_A, first_day=date(2026, 5, 2), last_day=date(2026, 5, 2)), False),
        (replace(GRADE_A, first_day=date(2026, 4, 30), last_day=date(2026, 4, 30)), False),
        (replace(GRADE_A, sites=frozenset({"fairy"})), True),
        (replace(GRADE_A, sites=frozenset({"wulong"})), True),
        (replace(GRADE_A, sites=frozenset({"bridges"})), False),
    ],
)
def test_benefit_holds_for_its_groups_days_and_sites(benefit: Benefit, given: bool) -> None:
    """And nobody else, not a day longer, and nowhere else."""
    rules = replace(POLICY, benefits=(benefit,))
    assert benefits(facts(subject=GOOD), rules, NOW_MS) == ((benefit,) if given else ())


def test_grade_that_has_expired_gives_nothing() -> None:
    """A grade is a membership with an end."""
    expired = subject(memberships=(Membership("good", NOW_S - DAY_S, NOW_S),), credit_line=line())
    assert benefits(facts(subject=expired), WITH_BENEFITS, NOW_MS) == ()
    assert benefits(facts(ticket=ticket()), WITH_BENEFITS, NOW_MS) == ()


@pytest.mark.parametrize(
    ("given", "fare_fen", "granted_by"),
    [
        ((), 5000, ""),
        ((GRADE_A,), 3500, "grade-a"),
        ((replace(GRADE_A, discount_percent=0),), 5000, ""),
        ((GRADE_A, replace(GRADE_A, benefit_id="b", discount_percent=33)), 3350, "b"),
        ((replace(GRADE_A, discount_percent=100),), 0, "grade-a"),
    ],
)
def test_best_discount_is_taken_off_the_fare(
    given: tuple[Benefit, ...], fare_fen: int, granted_by: str
) -> None:
    """In whole fen, and the record names what gave it."""
    answer = decide(CREDIT_CODE, facts(subject=GOOD), replace(ON_CREDIT, benefits=given), NOW_MS)
    assert answer.spend is not None
    assert (answer.spend.fare_fen, answer.granted_by) == (fare_fen, granted_by)
    assert ("clause 4" in answer.detail) == bool(granted_by)


def test_odd_fen_of_a_discount_is_the_visitors() -> None:
    """A fare is never rounded up."""
    rules = replace(ON_CREDIT, benefits=(replace(GRADE_A, discount_percent=1),))
    rules = replace(rules, sites={"fairy": replace(rules.sites["fairy"], fare_fen=99)})
    answer = decide(CREDIT_CODE, facts(subject=GOOD), rules, NOW_MS)
    assert answer.spend is not None
    assert answer.spend.fare_fen == 98


def test_suspended_line_says_so() -> None:
    """What is owed stays; staff see it, the display does not."""
    owing = subject(credit_line=line(per_visit_fen=0, outstanding_fen=7000))
    answer = decide(CREDIT_CODE, facts(subject=owing), POLICY, NOW_MS)
    assert (answer.reason, answer.spend) == (Reason.CREDIT_SUSPENDED, None)
    assert "7000" in answer.detail
    assert "7000" not in answer.reason.wording.zh + answer.reason.wording.en


@pytest.mark.parametrize(
    ("allowed", "hours_ago", "outcome", "reason"),
    [
        (None, 1, Outcome.PASSED, Reason.CREDIT_LINE),
        (2, 1, Outcome.PASSED, Reason.CREDIT_LINE),
        (1, 1, Outcome.PASSED, Reason.CREDIT_OFFLINE_LIMIT),
        (1, 12, Outcome.PASSED, Reason.CREDIT_OFFLINE_LIMIT),
        (1, 13, Outcome.PASSED, Reason.CREDIT_LINE),
        (1, 1, Outcome.ABANDONED, Reason.CREDIT_LINE),
    ],
)
def test_velocity_limits_the_visits_of_a_local_day(
    allowed: int | None, hours_ago: int, outcome: Outcome, reason: Reason
) -> None:
    """It is noon: what was twelve hours ago was today, what was thirteen hours ago was not, nor what was given back."""
    earlier = use(basis=Basis.CREDIT_LINE, fare_fen=1, at_ms=NOW_MS - hours_ago * 3_600_000)
    known = facts(subject=subject(credit_line=line()), history=History((earlier,), (closing(1, outcome),)))
    limits = CreditLimits(
        CREDIT_LIMITS.per_subject_fen, CREDIT_LIMITS.per_box_day_fen, CREDIT_LIMITS.max_list_age_s, allowed
    )
    assert decide(CREDIT_CODE, known, policy(credit=limits), NOW_MS).reason is reason


def test_benefits_are_explained() -> None:
    """Staff see what somebody has, and the text that gives it."""
    told = explain(CREDIT_CODE, facts(subject=GOOD), WITH_BENEFITS, NOW_MS)
    assert "benefit     grade-a: clause 4" in list(told)


# --- proofs

HONOUR = Proof(zh="荣誉证书", en="certificate of honour")
ASKING = replace(POLICY, free_visits=(replace(free_visit(), proofs=(HONOUR,)),))


def prove(known: Facts, role: Role = Role.STEWARD) -> Decision:
    """A member of staff has seen the proof."""
    act = StaffAct("w12", role, OverrideCode.PROOF_SEEN, "B1-D7")
    return decide_override(Reason.PROOF_NEEDED, CREDIT_CODE, known, ASKING, act, NOW_MS)


def test_free_visit_that_asks_for_a_proof_refers_to_staff() -> None:
    """With what to look at; nothing is spent, not even the credit that would do."""
    answer = decide(CREDIT_CODE, facts(subject=GOOD), ASKING, NOW_MS)
    assert (answer.reason, answer.spend, answer.granted_by) == (Reason.PROOF_NEEDED, None, "first")
    assert "荣誉证书" in answer.detail
    assert "certificate of honour" in answer.detail


def test_seen_proof_spends_the_free_visit() -> None:
    """It is consumed as if it had needed none, and the record says who looked."""
    answer = prove(facts(subject=GOOD))
    assert answer.reason is Reason.OVERRIDDEN
    assert answer.spend is not None
    assert (answer.spend.basis, answer.spend.scope) == (Basis.FREE_VISIT, "first@fairy")
    assert answer.act is not None
    assert answer.granted_by == "first"


def test_proof_seen_too_late_spends_nothing() -> None:
    """Another box gave the visit meanwhile."""
    spent = use(basis=Basis.FREE_VISIT, scope="first@fairy")
    answer = prove(facts(subject=subject(memberships=MEMBER), history=History((spent,))))
    assert (answer.reason, answer.spend) == (Reason.FREE_VISIT_USED, None)


def test_used_free_visit_asks_for_no_proof() -> None:
    """The next right in the order is spent."""
    known = facts(
        subject=subject(memberships=MEMBER, free_visits_used={"first@fairy": 1}, credit_line=line())
    )
    assert decide(CREDIT_CODE, known, ASKING, NOW_MS).reason is Reason.CREDIT_LINE
