"""What the holder of a document is let in on: tickets bought on it, age, groups and credit, in the policy's order."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from admission.answers import Decision
from admission.capacity import CapacityFacts, CapacityLimits, Headcount
from admission.codes import DocumentCode
from admission.decision import decide
from admission.documents import DocumentKind
from admission.explain import explain
from admission.facts import Direction, Facts, LaneClass, LaneTraits
from admission.overrides import decide_override
from admission.policy import AgeVisit, Benefit, FreeVisit, Policy
from admission.reasons import Reason, Verdict
from admission.staff import OverrideCode, Role, StaffAct
from admission.terms import Ages, Late, Proof, Reentry, Terms, TermsError, check_terms
from admission.tickets import Basis, Closing, History, Outcome, Product, Risk, Ticket, Use
from tests.admission.makers import (
    BOX,
    DAY_S,
    DAY_TICKET,
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
    ticket,
)

DOCUMENT, SUBJECT, FIRST, SECOND = (bytes([value]) * 16 for value in (1, 2, 3, 4))
TODAY = date(2026, 5, 1)
ORDER = (Basis.TICKET, Basis.STATUTORY, Basis.FREE_VISIT, Basis.CREDIT_LINE)
ELDERS = AgeVisit("elders", Ages(from_age=65), date(2026, 1, 1), date(2026, 12, 31), "by law")
CHILDREN = AgeVisit("children", Ages(before_age=6), date(2026, 1, 1), date(2026, 12, 31), "by law", per_day=2)
PROVEN = Terms(proof=Proof(zh="学生证", en="student card"))
STEWARD = StaffAct("s1", Role.STEWARD, OverrideCode.PROOF_SEEN, "B-D1")
SUPERVISOR = StaffAct("s2", Role.SUPERVISOR, OverrideCode.PROOF_SEEN, "B-D1")


def rules(*ages: AgeVisit, order: tuple[Basis, ...] = ORDER, free: tuple[FreeVisit, ...] = ()) -> Policy:
    """A policy with these rules of age."""
    return replace(policy(subject_order=order, free_visits=free or (free_visit(),)), age_visits=ages)


def shown(age: int | None = 40, *, days: int = 0) -> DocumentCode:
    """The document of somebody who has been `age` for `days` days today; None for one that holds no date."""
    born = None if age is None else date(TODAY.year - age, TODAY.month, TODAY.day) - timedelta(days)
    return DocumentCode(DOCUMENT, DocumentKind.RESIDENT_ID, born)


def bought(
    key: bytes, sold: Ticket, known: Facts, product: Product = DAY_TICKET, history: History | None = None
) -> tuple[bytes, Facts]:
    """A ticket bought on the document."""
    return key, replace(known, ticket=sold, product=product, history=history or History())


def known(code: DocumentCode, *held: tuple[bytes, Facts], **said: object) -> Facts:
    """The facts of a document at the test lane."""
    base = facts(product=None, **said)  # type: ignore[arg-type]
    held = tuple((key, replace(one, born=code.born)) for key, one in held)
    return replace(base, subject_key=SUBJECT, born=code.born, held=held)


def use(key_basis: Basis, *, scope: str = "", ago_s: int = 600, number: int = 1) -> Use:
    """A use of this box a while ago."""
    at_ms = NOW_MS - ago_s * 1000
    return Use(bytes([number]) * 16, BOX, number, key_basis, scope, LANE, 1, 0, at_ms)


def ended(one: Use, outcome: Outcome = Outcome.PASSED) -> Closing:
    """How it ended."""
    return Closing(one.admission_id, outcome, BOX, one.seq_no + 100, one.at_ms)


def answer(code: DocumentCode, known_: Facts, by: Policy) -> Decision:
    """The decision at the test's moment."""
    return decide(code, known_, by, NOW_MS)


@pytest.mark.parametrize(
    ("age", "days", "reason"),
    [
        (65, 0, Reason.STATUTORY_FREE),
        (64, 364, Reason.NO_ENTITLEMENT),
        (6, 0, Reason.NO_ENTITLEMENT),
        (5, 364, Reason.STATUTORY_FREE),
        (0, 0, Reason.STATUTORY_FREE),
        (None, 0, Reason.NO_ENTITLEMENT),
    ],
)
def test_age_decides_to_the_day(age: int | None, days: int, reason: Reason) -> None:
    """On the site's local day, and only where the document holds a birth date."""
    code = shown(age, days=days)
    assert answer(code, known(code), rules(ELDERS, CHILDREN)).reason is reason


def test_age_names_its_clause_and_spends_under_the_document() -> None:
    """No fare, no risk, and the rule on record."""
    code = shown(70)
    found = answer(code, known(code), rules(ELDERS))
    assert found.spend is not None
    assert (found.spend.key, found.spend.basis, found.spend.scope) == (DOCUMENT, Basis.STATUTORY, SITE)
    assert (found.spend.fare_fen, found.spend.risk) == (0, Risk.NONE)
    assert found.spend.keep_until_s == rules().day_end_s(TODAY)
    assert found.granted_by == "elders"
    assert found.detail == "test, elders: by law"


def test_age_needs_no_list() -> None:
    """The document itself says it."""
    code = shown(70)
    assert answer(code, known(code, current_list=None), rules(ELDERS)).reason is Reason.STATUTORY_FREE


def test_everything_else_needs_one() -> None:
    """Nothing is known of anybody."""
    code = shown()
    assert answer(code, known(code, current_list=None), rules(ELDERS)).reason is Reason.NO_LIST


@pytest.mark.parametrize(
    "rule",
    [
        replace(ELDERS, sites=frozenset({"bridges"})),
        replace(ELDERS, first_day=TODAY + timedelta(1)),
        replace(ELDERS, last_day=TODAY - timedelta(1)),
    ],
)
def test_age_holds_where_and_when_the_policy_says(rule: AgeVisit) -> None:
    """Elsewhere and at other times it gives nothing."""
    code = shown(70)
    assert answer(code, known(code), rules(rule)).reason is Reason.NO_ENTITLEMENT


def test_age_at_state_owned_sites_alone() -> None:
    """The cableway is not one."""
    code = shown(70)
    at_cableway = known(code, site_id="cableway")
    only_owned = replace(ELDERS, state_owned_only=True)
    assert answer(code, at_cableway, rules(only_owned)).reason is Reason.NO_ENTITLEMENT
    assert answer(code, known(code), rules(only_owned)).reason is Reason.STATUTORY_FREE
    assert answer(code, at_cableway, rules(ELDERS)).reason is Reason.STATUTORY_FREE


def test_age_below_a_node_of_the_site_tree() -> None:
    """Sites may be named by what they belong to."""
    code = shown(70)
    named = replace(ELDERS, sites=frozenset({"wulong"}))
    assert answer(code, known(code), rules(named)).reason is Reason.STATUTORY_FREE


def test_age_as_often_a_day_as_the_rule_says() -> None:
    """The next midnight opens again; yesterday's entries and those at other sites do not count."""
    code = shown(3)
    today = [use(Basis.STATUTORY, scope=SITE, number=number) for number in (1, 2)]
    others = [
        use(Basis.STATUTORY, scope=SITE, number=3, ago_s=13 * HOUR_S),
        use(Basis.STATUTORY, scope="bridges", number=4),
    ]
    closings = tuple(ended(one) for one in (*today, *others))
    twice = known(code, history=History((*today, *others), closings))
    found = answer(code, twice, rules(CHILDREN))
    assert (found.reason, found.admits_at_ms) == (Reason.DAY_LIMIT, rules().day_end_s(TODAY) * 1000)
    once = known(code, history=History((today[0], *others), closings))
    assert answer(code, once, rules(CHILDREN)).reason is Reason.STATUTORY_FREE


def test_rule_without_a_limit_follows_one_that_is_used_up() -> None:
    """The first that still gives something."""
    code = shown(3)
    uses = tuple(use(Basis.STATUTORY, scope=SITE, number=number) for number in (1, 2))
    again = known(code, history=History(uses, tuple(ended(one) for one in uses)))
    open_rule = replace(CHILDREN, rule_id="open", per_day=None)
    assert answer(code, again, rules(CHILDREN, open_rule)).granted_by == "open"


def test_ticket_goes_before_age() -> None:
    """The policy's order; what is left unspent is named."""
    code = shown(70)
    found = answer(code, known(code, bought(FIRST, ticket(), facts())), rules(ELDERS))
    assert found.reason is Reason.TICKET
    assert found.spend is not None
    assert found.spend.key == FIRST
    assert found.unspent == (Basis.STATUTORY,)


def test_age_goes_first_where_the_policy_says_so() -> None:
    """The order is data."""
    code = shown(70)
    order = (Basis.STATUTORY, Basis.TICKET)
    found = answer(code, known(code, bought(FIRST, ticket(), facts())), rules(ELDERS, order=order))
    assert (found.reason, found.unspent) == (Reason.STATUTORY_FREE, (Basis.TICKET,))


def test_used_up_ticket_makes_room_for_the_next() -> None:
    """Each ticket on the document is tried in turn."""
    code = shown()
    both = known(code, bought(FIRST, ticket(used=1), facts()), bought(SECOND, ticket(), facts()))
    found = answer(code, both, rules())
    assert found.spend is not None
    assert found.spend.key == SECOND


def test_refusal_of_a_ticket_tells_more_than_no_entitlement() -> None:
    """And of two tickets the one that will admit later."""
    code = shown()
    used_up = bought(FIRST, ticket(used=1), facts())
    assert answer(code, known(code, used_up), rules(ELDERS)).reason is Reason.ALREADY_USED
    tomorrow = bought(SECOND, ticket(valid_from_s=NOW_S + DAY_S, valid_until_s=NOW_S + 2 * DAY_S), facts())
    assert answer(code, known(code, used_up, tomorrow), rules()).reason is Reason.TOO_EARLY


def test_holder_in_a_trusted_group_spends_the_subjects_free_visit() -> None:
    """Under the subject's key, as with a credit code."""
    code = shown()
    found = answer(code, known(code, subject=subject(memberships=MEMBER)), rules())
    assert found.spend is not None
    assert (found.reason, found.spend.key) == (Reason.FREE_VISIT, SUBJECT)


def test_holder_with_a_credit_line_pays_later() -> None:
    """When nothing before it fits."""
    code = shown()
    found = answer(code, known(code, subject=subject(credit_line=line())), rules())
    assert found.spend is not None
    assert (found.reason, found.spend.key) == (Reason.CREDIT_LINE, SUBJECT)


def test_unknown_holder_is_told_so() -> None:
    """Neither tickets nor a subject."""
    code = shown()
    found = answer(code, replace(known(code), subject_key=b""), rules(ELDERS))
    assert found.reason is Reason.NO_ENTITLEMENT


def test_holders_of_priority_benefits_pass_the_priority_lane_on_any_right() -> None:
    """Others are told of the other lane."""
    code = shown()
    lane = LaneTraits(lane_class=LaneClass.PRIORITY)
    base = replace(facts(subject=subject(memberships=MEMBER)), lane=lane)
    benefit = Benefit(
        "fast", frozenset({"good"}), date(2026, 1, 1), date(2026, 12, 31), "", priority_lane=True
    )
    held = known(code, bought(FIRST, ticket(), base), subject=subject(memberships=MEMBER))
    held = replace(held, lane=lane)
    assert answer(code, held, replace(rules(), benefits=(benefit,))).reason is Reason.TICKET
    assert answer(code, held, rules()).reason is Reason.OTHER_LANE


def test_capacity_asks_whether_the_right_was_reserved() -> None:
    """At red a reserved ticket enters, and whoever is free by age has reserved nothing."""
    red = CapacityFacts(CapacityLimits(None, 100), Headcount(0, 96), Headcount(50, 50))
    code = shown(70)
    base = replace(facts(), capacity=red)
    with_ticket = replace(known(code, bought(FIRST, ticket(), base)), capacity=red)
    assert answer(code, with_ticket, rules(ELDERS)).reason is Reason.TICKET
    assert answer(code, replace(known(code), capacity=red), rules(ELDERS)).reason is Reason.RESERVED_ONLY


def test_interrupted_admission_on_a_ticket_goes_on_by_document() -> None:
    """Nothing is spent again."""
    code = shown()
    open_ = use(Basis.TICKET, ago_s=5)
    history = History((open_,), (ended(open_, Outcome.UNKNOWN),))
    held = known(code, bought(FIRST, ticket(), facts(), history=history))
    assert answer(code, held, rules()).resumed == open_


def test_reentry_by_document_spends_nothing() -> None:
    """The exit may have been by the document itself."""
    code = shown()
    product = replace(DAY_TICKET, terms=Terms(reentry=Reentry.SAME_DAY_AFTER_EXIT))
    entered, left = use(Basis.TICKET, ago_s=3600), use(Basis.EXIT, ago_s=600, number=2)
    history = History((entered, left), (ended(entered), ended(left)))
    held = known(code, bought(FIRST, ticket(), facts(), product, history))
    assert answer(code, held, rules()).reason is Reason.REENTRY


def test_exit_is_open_to_every_document() -> None:
    """Nobody is locked in."""
    code = shown()
    leaving = replace(known(code), lane=LaneTraits(direction=Direction.EXIT))
    assert answer(code, leaving, rules()).reason is Reason.EXIT


CONCESSION = replace(
    DAY_TICKET, terms=Terms(ages=Ages(from_age=60), proof=Proof(zh="老年证", en="proof of age"))
)


@pytest.mark.parametrize(
    ("age", "reason"), [(60, Reason.TICKET), (59, Reason.PROOF_NEEDED), (None, Reason.PROOF_NEEDED)]
)
def test_concession_by_age_needs_no_staff_with_a_document_that_shows_it(
    age: int | None, reason: Reason
) -> None:
    """Everybody else shows the proof to staff."""
    code = shown(age)
    held = known(code, bought(FIRST, ticket(), facts(), CONCESSION))
    assert answer(code, held, rules()).reason is reason


@pytest.mark.parametrize(
    ("ages", "problem"),
    [
        ('{"ages": {"from_age": 60}}', "ages: need a proof"),
        (
            '{"ages": {"from_age": 60, "before_age": 60}, "proof": {"zh": "a", "en": "b"}}',
            "ages.before_age: is not after from_age",
        ),
    ],
)
def test_terms_of_age_are_checked(ages: str, problem: str) -> None:
    """Whoever comes with a code alone must be able to prove it."""
    with pytest.raises(TermsError, match=problem):
        check_terms(ages)


def test_terms_of_age_may_have_no_end() -> None:
    """From an age on, or before one."""
    assert check_terms('{"ages": {"before_age": 14}, "proof": {"zh": "a", "en": "b"}}')
    assert check_terms('{"ages": {"from_age": 60}, "proof": {"zh": "a", "en": "b"}}')


def test_proven_concession_spends_the_ticket() -> None:
    """A steward has looked at it."""
    code = shown()
    held = known(code, bought(FIRST, ticket(), facts(), replace(DAY_TICKET, terms=PROVEN)))
    assert answer(code, held, rules()).reason is Reason.PROOF_NEEDED
    found = decide_override(Reason.PROOF_NEEDED, code, held, rules(), STEWARD, NOW_MS)
    assert found.reason is Reason.OVERRIDDEN
    assert found.spend is not None
    assert (found.spend.key, found.spend.basis) == (FIRST, Basis.TICKET)


def test_late_ticket_on_a_document_is_spent_by_staff() -> None:
    """Whoever is referred has the right: it must not be spent again."""
    code = shown()
    terms = Terms(hold_s=3600, late=Late.REFER)
    late = ticket(valid_from_s=NOW_S - 2 * HOUR_S, valid_until_s=NOW_S - 60)
    used_up = bought(SECOND, ticket(used=1), facts())
    held = known(code, used_up, bought(FIRST, late, facts(), replace(DAY_TICKET, terms=terms)))
    assert answer(code, held, rules()).reason is Reason.LATE
    found = decide_override(Reason.LATE, code, held, rules(), STEWARD, NOW_MS)
    assert found.spend is not None
    assert (found.spend.key, found.spend.basis, found.spend.risk) == (FIRST, Basis.TICKET, Risk.STAFF)
    assert found.spend.keep_until_s == late.valid_until_s


def test_denied_document_is_let_in_on_no_right() -> None:
    """The override stands by itself."""
    code = shown()
    found = decide_override(Reason.NO_ENTITLEMENT, code, known(code), rules(), SUPERVISOR, NOW_MS)
    assert found.verdict is Verdict.ADMIT
    assert found.spend is not None
    assert (found.spend.key, found.spend.basis) == (DOCUMENT, Basis.OVERRIDE)


def test_referred_document_with_no_ticket_is_let_in_on_no_right() -> None:
    """There is no list, or credit was too old: what it would have spent is not known."""
    code = shown()
    found = decide_override(Reason.NO_LIST, code, known(code, current_list=None), rules(), STEWARD, NOW_MS)
    assert found.spend is not None
    assert (found.spend.key, found.spend.basis) == (DOCUMENT, Basis.OVERRIDE)


def test_explanation_names_every_ticket_and_rule() -> None:
    """For the member of staff who is asked why."""
    code = shown(70)
    text = "\n".join(
        explain(code, known(code, bought(FIRST, ticket(used=1), facts())), rules(ELDERS), NOW_MS)
    )
    assert "document, resident_id" in text
    assert "bought      DAY1: valid, 1 sold" in text
    assert "rule        ticket: ALREADY_USED" in text
    assert "rule        statutory: STATUTORY_FREE" in text
    assert str(KEY) not in text
