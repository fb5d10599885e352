"""Who is let in, and why: one table for each kind of credential."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admission.answers import Decision, Spend
from admission.capacity import NO_LIMIT, CapacityFacts, CapacityLimits, Headcount
from admission.codes import Credential, Rejected
from admission.decision import decide, refuse
from admission.entitlements import CreditLine, Membership, SubjectRights
from admission.facts import ORDINARY_ENTRY, Exposure, Facts
from admission.policy import CreditLimits, Policy, Scope
from admission.reasons import Reason, Verdict
from admission.tickets import Basis, History, Outcome, Risk, TicketStatus
from tests.admission.makers import (
    CREDIT_CODE,
    DAY_S,
    DAY_TICKET,
    ELSEWHERE,
    EXTERNAL_CODE,
    HOUR_S,
    KEY,
    LANE,
    LIST,
    MEMBER,
    NOW_MS,
    NOW_S,
    POLICY,
    TICKET_CODE,
    VALIDITY,
    closing,
    facts,
    free_visit,
    line,
    policy,
    subject,
    ticket,
    use,
)

OTHER_LANE = "lane-2"


@dataclass(frozen=True, slots=True)
class Case:
    """A visitor, and the answer that is expected."""

    what: str
    reason: Reason
    facts: Facts
    policy: Policy = POLICY
    now_s: int = NOW_S


def table(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """Run a test once for each case."""
    return pytest.mark.parametrize("case", cases, ids=lambda case: f"{case.reason}: {case.what}")


def history(*uses: Any, closings: Sequence[Any] = (), watermark: int = 0) -> History:
    """What the box remembers, with a list that counted the box's ledger up to `watermark`."""
    return History(tuple(uses), tuple(closings), {"box-1": watermark})


# --- tickets that the list knows

ABANDONED = [closing(1, Outcome.ABANDONED)]
LISTED = [
    Case("never used", Reason.TICKET, facts(ticket=ticket())),
    Case("of a withdrawn key", Reason.TICKET, facts(ticket=ticket(), is_key_withdrawn=True)),
    Case("one of two left", Reason.TICKET, facts(ticket=ticket(quantity=2, used=1))),
    Case("one used here, one left", Reason.TICKET, facts(ticket=ticket(quantity=2), history=history(use()))),
    Case("abandoned here", Reason.TICKET, facts(ticket=ticket(), history=history(use(), closings=ABANDONED))),
    Case(
        "counted by the list, abandoned since",
        Reason.TICKET,
        facts(ticket=ticket(used=1), history=history(use(), closings=ABANDONED, watermark=10)),
    ),
    Case(
        "used here, and the list has counted it",
        Reason.TICKET,
        facts(ticket=ticket(quantity=2, used=1), history=history(use(), watermark=10)),
    ),
    Case("its first second", Reason.TICKET, facts(ticket=ticket(valid_from_s=NOW_S))),
    Case("its last second", Reason.TICKET, facts(ticket=ticket(valid_until_s=NOW_S + 1))),
    Case("partly refunded", Reason.TICKET, facts(ticket=ticket(quantity=2, refunded=1))),
    Case("used according to the list", Reason.ALREADY_USED, facts(ticket=ticket(used=1))),
    Case("used here since", Reason.ALREADY_USED, facts(ticket=ticket(), history=history(use()))),
    Case("used beyond its quantity", Reason.ALREADY_USED, facts(ticket=ticket(used=5))),
    Case("the rest refunded", Reason.ALREADY_USED, facts(ticket=ticket(quantity=2, refunded=1, used=1))),
    Case(
        "abandoned, then passed after all",
        Reason.ALREADY_USED,
        facts(
            ticket=ticket(),
            history=history(use(), closings=[*ABANDONED, closing(1, Outcome.PASSED, seq_no=99)]),
        ),
    ),
    Case("refunded", Reason.REFUNDED, facts(ticket=ticket(refunded=1))),
    Case("refunded after it was used", Reason.REFUNDED, facts(ticket=ticket(refunded=1, used=1))),
    Case("refunded and expired", Reason.REFUNDED, facts(ticket=ticket(refunded=1, valid_until_s=NOW_S))),
    Case("refunded, for another site", Reason.REFUNDED, facts(product=ELSEWHERE, ticket=ticket(refunded=1))),
    Case("blocked", Reason.BLOCKED, facts(ticket=ticket(status=TicketStatus.BLOCKED))),
    Case("blocked and used", Reason.BLOCKED, facts(ticket=ticket(status=TicketStatus.BLOCKED, used=1))),
    Case("for another site", Reason.WRONG_SITE, facts(product=ELSEWHERE, ticket=ticket())),
    Case(
        "another site, expired", Reason.WRONG_SITE, facts(product=ELSEWHERE, ticket=ticket(valid_until_s=1))
    ),
    Case("the second before", Reason.TOO_EARLY, facts(ticket=ticket(valid_from_s=NOW_S + 1))),
    Case("the second after", Reason.EXPIRED, facts(ticket=ticket(valid_until_s=NOW_S))),
    Case("expired and used", Reason.EXPIRED, facts(ticket=ticket(valid_until_s=NOW_S, used=1))),
    Case("a product nobody knows", Reason.UNKNOWN_PRODUCT, facts(product=None, ticket=ticket())),
]


@table(LISTED)
def test_a_ticket_on_the_list(case: Case) -> None:
    """The list's row outranks what is printed in the code."""
    assert decide(TICKET_CODE, case.facts, case.policy, case.now_s * 1000).reason is case.reason


@table(LISTED)
def test_an_external_code_on_the_list(case: Case) -> None:
    """Once listed it is a ticket like any other."""
    assert decide(EXTERNAL_CODE, case.facts, case.policy, case.now_s * 1000).reason is case.reason


def test_a_listed_ticket_spends_one_entry_without_risk() -> None:
    """And the use is kept until the ticket expires."""
    decision = decide(TICKET_CODE, facts(ticket=ticket(quantity=5)), POLICY, NOW_MS)
    assert decision == Decision(Reason.TICKET, Spend(KEY, Basis.TICKET, keep_until_s=NOW_S + HOUR_S))
    assert decision.verdict is Verdict.ADMIT


def test_a_used_ticket_tells_staff_where_and_when() -> None:
    """The latest use that the box knows, else that it was before the list."""
    earlier, later = use(1, at_ms=NOW_MS - 900_000), use(2, lane_id=OTHER_LANE, at_ms=NOW_MS - 500_000)
    used_twice = facts(ticket=ticket(quantity=2), history=history(later, earlier))
    detail = decide(TICKET_CODE, used_twice, POLICY, NOW_MS).detail
    at = datetime.fromtimestamp(NOW_S - 500, UTC)
    assert detail == f"used at box-1, lane {OTHER_LANE}, {at:%Y-%m-%d %H:%M:%S} UTC"
    assert (
        decide(TICKET_CODE, facts(ticket=ticket(used=1)), POLICY, NOW_MS).detail
        == "used before the list was made"
    )


# --- signed tickets that the list does not know

EARLY = replace(VALIDITY, issued_s=LIST.as_of_s - 1)
UNLISTED = [
    Case("sold since the list was made", Reason.UNLISTED_TICKET, facts()),
    Case("of a withdrawn key", Reason.KEY_WITHDRAWN, facts(is_key_withdrawn=True)),
    Case(
        "of a withdrawn key, on a box without a list",
        Reason.KEY_WITHDRAWN,
        facts(current_list=None, is_key_withdrawn=True),
    ),
    Case("one below the floor limit", Reason.UNLISTED_TICKET, facts(exposure=Exposure(unlisted=2))),
    Case("other risks do not count", Reason.UNLISTED_TICKET, facts(exposure=Exposure(0, 99, 99))),
    Case("abandoned here", Reason.UNLISTED_TICKET, facts(history=history(use(), closings=ABANDONED))),
    Case("at the floor limit", Reason.UNLISTED_LIMIT, facts(exposure=Exposure(unlisted=3))),
    Case("no list yet", Reason.UNLISTED_TICKET, facts(current_list=None, product=None)),
    Case(
        "no list, one below its limit",
        Reason.UNLISTED_TICKET,
        facts(current_list=None, product=None, exposure=Exposure(unlisted=99, bootstrap=1)),
    ),
    Case(
        "no list, at its limit",
        Reason.UNLISTED_LIMIT,
        facts(current_list=None, product=None, exposure=Exposure(bootstrap=2)),
    ),
    Case("used here", Reason.ALREADY_USED, facts(history=history(use()))),
    Case(
        "used here before the list was made", Reason.ALREADY_USED, facts(history=history(use(), watermark=99))
    ),
    Case("no list, used here", Reason.ALREADY_USED, facts(current_list=None, history=history(use()))),
    Case("for another site", Reason.WRONG_SITE, facts(product=ELSEWHERE)),
    Case("a product nobody knows", Reason.UNKNOWN_PRODUCT, facts(product=None)),
    Case("the second before", Reason.TOO_EARLY, facts(), now_s=VALIDITY.from_s - 1),
    Case("its first second", Reason.UNLISTED_TICKET, facts(), now_s=VALIDITY.from_s),
    Case("its last second", Reason.UNLISTED_TICKET, facts(), now_s=VALIDITY.until_s - 1),
    Case("the second after", Reason.EXPIRED, facts(), now_s=VALIDITY.until_s),
    Case("no list, the second after", Reason.EXPIRED, facts(current_list=None), now_s=VALIDITY.until_s),
]


@table(UNLISTED)
def test_a_signed_ticket_that_the_list_does_not_know(case: Case) -> None:
    """Admitted within the floor limits, unless the list should have known it."""
    assert decide(TICKET_CODE, case.facts, case.policy, case.now_s * 1000).reason is case.reason


@pytest.mark.parametrize(
    ("issued_s", "reason"),
    [
        (LIST.as_of_s - 1, Reason.UNLISTED_CODE),
        (LIST.as_of_s, Reason.UNLISTED_TICKET),
        (LIST.as_of_s + 1, Reason.UNLISTED_TICKET),
    ],
)
def test_a_ticket_older_than_the_list_should_be_on_it(issued_s: int, reason: Reason) -> None:
    """One sold in the very second of the list may have missed it."""
    code = replace(TICKET_CODE, validity=replace(VALIDITY, issued_s=issued_s))
    assert decide(code, facts(), POLICY, NOW_MS).reason is reason


@pytest.mark.parametrize(("current_list", "risk"), [(LIST, Risk.UNLISTED), (None, Risk.BOOTSTRAP)])
def test_an_unlisted_ticket_records_what_was_risked(current_list: Any, risk: Risk) -> None:
    """Under the limit that allowed it."""
    spend = decide(TICKET_CODE, facts(current_list=current_list), POLICY, NOW_MS).spend
    assert spend == Spend(KEY, Basis.TICKET, keep_until_s=VALIDITY.until_s, risk=risk)


def test_an_external_code_needs_the_list() -> None:
    """It proves nothing by itself, yet it may well be a ticket: staff look it up."""
    assert decide(EXTERNAL_CODE, facts(), POLICY, NOW_MS).reason is Reason.UNLISTED_CODE
    assert decide(EXTERNAL_CODE, facts(current_list=None), POLICY, NOW_MS).reason is Reason.NO_LIST


# --- free visits

FREE_USE = use(basis=Basis.FREE_VISIT, scope="first@fairy")
TOMORROW = MEMBER[0].until_s
DISTRICT = policy(free_visits=(free_visit(scope=Scope.DISTRICT),))
FREE = [
    Case("first", Reason.FREE_VISIT, facts(subject=subject(memberships=MEMBER))),
    Case(
        "used at another site",
        Reason.FREE_VISIT,
        facts(subject=subject(memberships=MEMBER, free_visits_used={"first@bridges": 1})),
    ),
    Case(
        "first abandoned",
        Reason.FREE_VISIT,
        facts(subject=subject(memberships=MEMBER), history=history(FREE_USE, closings=ABANDONED)),
    ),
    Case(
        "one of two left",
        Reason.FREE_VISIT,
        facts(subject=subject(memberships=MEMBER, free_visits_used={"first@fairy": 1})),
        policy(free_visits=(free_visit(quantity=2),)),
    ),
    Case(
        "a second policy is left",
        Reason.FREE_VISIT,
        facts(subject=subject(memberships=MEMBER, free_visits_used={"first@fairy": 1})),
        policy(free_visits=(free_visit(), free_visit("second"))),
    ),
    Case(
        "not state-owned, and it need not be",
        Reason.FREE_VISIT,
        facts(site_id="cableway", subject=subject(memberships=MEMBER)),
        policy(free_visits=(free_visit(state_owned_only=False),)),
    ),
    Case(
        "the last second of membership",
        Reason.FREE_VISIT,
        facts(subject=subject(memberships=MEMBER)),
        now_s=NOW_S,
    ),
    Case(
        "used according to the list",
        Reason.FREE_VISIT_USED,
        facts(subject=subject(memberships=MEMBER, free_visits_used={"first@fairy": 1})),
    ),
    Case(
        "used here since",
        Reason.FREE_VISIT_USED,
        facts(subject=subject(memberships=MEMBER), history=history(FREE_USE)),
    ),
    Case(
        "used anywhere in the district",
        Reason.FREE_VISIT_USED,
        facts(subject=subject(memberships=MEMBER, free_visits_used={"first@*": 1})),
        DISTRICT,
    ),
    Case("in no group", Reason.NO_ENTITLEMENT, facts(subject=subject())),
    Case("unknown to the list", Reason.NO_ENTITLEMENT, facts(subject=None)),
    Case(
        "in a group that is not covered",
        Reason.NO_ENTITLEMENT,
        facts(subject=subject(memberships=(Membership("other", 0, NOW_S + DAY_S),))),
    ),
    Case(
        "membership begins in a second",
        Reason.NO_ENTITLEMENT,
        facts(subject=subject(memberships=(Membership("good", NOW_S + 1, NOW_S + DAY_S),))),
    ),
    Case(
        "membership just over",
        Reason.NO_ENTITLEMENT,
        facts(subject=subject(memberships=(Membership("good", 0, NOW_S),))),
    ),
    Case(
        "before the window",
        Reason.NO_ENTITLEMENT,
        facts(subject=subject(memberships=MEMBER)),
        policy(free_visits=(free_visit(first_day=date(2026, 5, 2)),)),
    ),
    Case(
        "after the window",
        Reason.NO_ENTITLEMENT,
        facts(subject=subject(memberships=MEMBER)),
        policy(free_visits=(free_visit(last_day=date(2026, 4, 30)),)),
    ),
    Case(
        "not state-owned",
        Reason.NO_ENTITLEMENT,
        facts(site_id="cableway", subject=subject(memberships=MEMBER)),
    ),
    Case(
        "no rights are given",
        Reason.NO_ENTITLEMENT,
        facts(subject=subject(memberships=MEMBER)),
        policy(subject_order=()),
    ),
    Case(
        "tickets are presented as themselves",
        Reason.NO_ENTITLEMENT,
        facts(subject=subject(memberships=MEMBER)),
        policy(subject_order=(Basis.TICKET,)),
    ),
]


@table(FREE)
def test_a_free_visit(case: Case) -> None:
    """For members of trusted groups, so many times in its scope and window."""
    assert decide(CREDIT_CODE, case.facts, case.policy, case.now_s * 1000).reason is case.reason


def test_a_free_visit_spends_within_its_scope_until_its_window_ends() -> None:
    """Nothing is owed and nothing is risked."""
    rules = policy(free_visits=(free_visit(last_day=date(2026, 5, 1)),))
    decision = decide(CREDIT_CODE, facts(subject=subject(memberships=MEMBER)), rules, NOW_MS)
    assert decision.spend == Spend(
        KEY, Basis.FREE_VISIT, keep_until_s=NOW_S + 12 * HOUR_S, scope="first@fairy"
    )


@pytest.mark.parametrize(
    ("now_ms", "reason"),
    [
        ((NOW_S + 12 * HOUR_S) * 1000 - 1, Reason.FREE_VISIT),
        ((NOW_S + 12 * HOUR_S) * 1000, Reason.NO_ENTITLEMENT),
        ((NOW_S - 12 * HOUR_S) * 1000, Reason.FREE_VISIT),
        ((NOW_S - 12 * HOUR_S) * 1000 - 1, Reason.NO_ENTITLEMENT),
    ],
)
def test_a_window_opens_and_closes_at_local_midnight(now_ms: int, reason: Reason) -> None:
    """Beijing's first of May, to the millisecond."""
    rules = policy(free_visits=(free_visit(first_day=date(2026, 5, 1), last_day=date(2026, 5, 1)),))
    code = replace(CREDIT_CODE, validity=replace(VALIDITY, from_s=0, until_s=NOW_S + DAY_S))
    member = subject(memberships=(Membership("good", 0, NOW_S + 2 * DAY_S),))
    assert decide(code, facts(subject=member), rules, now_ms).reason is reason


# --- credit lines


def debtor(credit_line: CreditLine | None = None, **others: Any) -> Facts:
    """A subject with a credit line and no free visit."""
    return facts(subject=subject(credit_line=credit_line or line()), **others)


def spent(fare_fen: int) -> History:
    """So much spent here since the list was made."""
    return history(use(basis=Basis.CREDIT_LINE, fare_fen=fare_fen))


CREDIT = [
    Case("within the line", Reason.CREDIT_LINE, debtor()),
    Case("just within the line", Reason.CREDIT_LINE, debtor(line(limit_fen=20_000, outstanding_fen=15_000))),
    Case("just within one visit's amount", Reason.CREDIT_LINE, debtor(line(per_visit_fen=5000))),
    Case("the line's last second", Reason.CREDIT_LINE, debtor(line(until_s=NOW_S + 1))),
    Case("just within the subject's floor limit", Reason.CREDIT_LINE, debtor(history=spent(7000))),
    Case(
        "just within the box's floor limit", Reason.CREDIT_LINE, debtor(exposure=Exposure(credit_fen=45_000))
    ),
    Case(
        "the list's oldest second",
        Reason.CREDIT_LINE,
        debtor(current_list=replace(LIST, as_of_s=NOW_S - DAY_S)),
    ),
    Case("a fen over the line", Reason.NO_CREDIT, debtor(line(limit_fen=20_000, outstanding_fen=15_001))),
    Case(
        "over the line by what was spent here",
        Reason.NO_CREDIT,
        debtor(line(limit_fen=9999), history=spent(5000)),
    ),
    Case("a fen over one visit's amount", Reason.NO_CREDIT, debtor(line(per_visit_fen=4999))),
    Case("the line is over", Reason.NO_CREDIT, debtor(line(until_s=NOW_S))),
    Case(
        "the line is over, and the list old",
        Reason.NO_CREDIT,
        debtor(line(until_s=NOW_S), current_list=replace(LIST, as_of_s=0)),
    ),
    Case(
        "the list is a second too old",
        Reason.CREDIT_DATA_OLD,
        debtor(current_list=replace(LIST, as_of_s=NOW_S - DAY_S - 1)),
    ),
    Case("over the subject's floor limit", Reason.CREDIT_OFFLINE_LIMIT, debtor(history=spent(7001))),
    Case(
        "over the box's floor limit",
        Reason.CREDIT_OFFLINE_LIMIT,
        debtor(exposure=Exposure(credit_fen=45_001)),
    ),
    Case("no line", Reason.NO_ENTITLEMENT, facts(subject=subject())),
    Case("no list", Reason.NO_LIST, facts(current_list=None)),
    Case("the code's second before", Reason.TOO_EARLY, debtor(), now_s=VALIDITY.from_s - 1),
    Case("the code's second after", Reason.EXPIRED, debtor(), now_s=VALIDITY.until_s),
]


@table(CREDIT)
def test_a_credit_line(case: Case) -> None:
    """Never invented, never beyond the line, and offline within the floor limits."""
    assert decide(CREDIT_CODE, case.facts, case.policy, case.now_s * 1000).reason is case.reason


def test_credit_spends_the_sites_fare_at_risk() -> None:
    """Kept as long as the line."""
    spend = decide(CREDIT_CODE, debtor(), POLICY, NOW_MS).spend
    assert spend == Spend(KEY, Basis.CREDIT_LINE, keep_until_s=NOW_S + DAY_S, fare_fen=5000, risk=Risk.CREDIT)


# --- which right of several


def both(**others: Any) -> Facts:
    """A member with a credit line."""
    return facts(subject=subject(memberships=MEMBER, credit_line=line()), **others)


@pytest.mark.parametrize(
    ("order", "reason", "unspent"),
    [
        ((Basis.FREE_VISIT, Basis.CREDIT_LINE), Reason.FREE_VISIT, (Basis.CREDIT_LINE,)),
        ((Basis.CREDIT_LINE, Basis.FREE_VISIT), Reason.CREDIT_LINE, (Basis.FREE_VISIT,)),
        ((Basis.FREE_VISIT,), Reason.FREE_VISIT, ()),
    ],
)
def test_the_policy_says_which_right_is_spent_first(
    order: tuple[Basis, ...], reason: Reason, unspent: tuple[Basis, ...]
) -> None:
    """What would have admitted too is named and kept."""
    decision = decide(CREDIT_CODE, both(), policy(subject_order=order), NOW_MS)
    assert (decision.reason, decision.unspent) == (reason, unspent)


def test_the_second_right_is_spent_when_the_first_is_used_up() -> None:
    """A member's second visit goes on credit."""
    decision = decide(CREDIT_CODE, both(history=history(FREE_USE)), POLICY, NOW_MS)
    assert (decision.reason, decision.unspent) == (Reason.CREDIT_LINE, ())


@pytest.mark.parametrize(
    "order", [(Basis.FREE_VISIT, Basis.CREDIT_LINE), (Basis.CREDIT_LINE, Basis.FREE_VISIT)]
)
@pytest.mark.parametrize(
    ("who", "reason"),
    [
        (both(history=history(FREE_USE), exposure=Exposure(credit_fen=50_000)), Reason.CREDIT_OFFLINE_LIMIT),
        (both(history=history(FREE_USE), current_list=replace(LIST, as_of_s=0)), Reason.CREDIT_DATA_OLD),
        (
            facts(
                subject=subject(memberships=MEMBER, credit_line=line(limit_fen=0)), history=history(FREE_USE)
            ),
            Reason.NO_CREDIT,
        ),
        (facts(subject=subject(memberships=MEMBER), history=history(FREE_USE)), Reason.FREE_VISIT_USED),
    ],
    ids=lambda value: str(value) if isinstance(value, Reason) else "",
)
def test_when_no_right_fits_the_most_telling_refusal_is_shown(
    who: Facts, reason: Reason, order: tuple[Basis, ...]
) -> None:
    """The one that staff can do most about, in whatever order the rights were looked at."""
    assert decide(CREDIT_CODE, who, policy(subject_order=order), NOW_MS).reason is reason


# --- an admission that was interrupted

UNKNOWN = closing(1, Outcome.UNKNOWN)
JUST_NOW = use(at_ms=NOW_MS - 30_000)
INTERRUPTED = [
    Case(
        "at the last moment",
        Reason.RESUMED,
        facts(ticket=ticket(), history=history(JUST_NOW, closings=[UNKNOWN])),
    ),
    Case(
        "resumed once and abandoned",
        Reason.RESUMED,
        facts(ticket=ticket(), history=history(JUST_NOW, closings=[UNKNOWN, *ABANDONED])),
    ),
    Case(
        "of a ticket that the list lost", Reason.RESUMED, facts(history=history(JUST_NOW, closings=[UNKNOWN]))
    ),
    Case(
        "a moment too late",
        Reason.ALREADY_USED,
        facts(ticket=ticket(), history=history(use(at_ms=NOW_MS - 30_001), closings=[UNKNOWN])),
    ),
    Case(
        "at another lane",
        Reason.ALREADY_USED,
        facts(ticket=ticket(), history=history(use(at_ms=NOW_MS, lane_id=OTHER_LANE), closings=[UNKNOWN])),
    ),
    Case(
        "passed after all",
        Reason.ALREADY_USED,
        facts(ticket=ticket(), history=history(JUST_NOW, closings=[UNKNOWN, closing(1, Outcome.PASSED)])),
    ),
    Case("not over yet", Reason.ALREADY_USED, facts(ticket=ticket(), history=history(JUST_NOW))),
    Case(
        "from the future, when the clock was wrong",
        Reason.ALREADY_USED,
        facts(ticket=ticket(), history=history(use(at_ms=NOW_MS + 1), closings=[UNKNOWN])),
    ),
    Case(
        "released by staff",
        Reason.TICKET,
        facts(ticket=ticket(), history=history(JUST_NOW, closings=[UNKNOWN, closing(1, Outcome.RELEASED)])),
    ),
    Case(
        "only abandoned", Reason.TICKET, facts(ticket=ticket(), history=history(JUST_NOW, closings=ABANDONED))
    ),
]


@table(INTERRUPTED)
def test_an_interrupted_admission_goes_on_at_its_lane_for_a_while(case: Case) -> None:
    """The same visitor is still before the barrier; nobody else gets in on it."""
    decision = decide(TICKET_CODE, case.facts, case.policy, case.now_s * 1000)
    assert decision.reason is case.reason
    assert (decision.resumed is not None) is (case.reason is Reason.RESUMED)


def test_resuming_spends_nothing_and_names_the_latest_admission() -> None:
    """Of several that were interrupted."""
    earlier, later = use(1, at_ms=NOW_MS - 20_000), use(2, at_ms=NOW_MS - 10_000)
    known = history(earlier, later, closings=[UNKNOWN, closing(2, Outcome.UNKNOWN)])
    for credential in (TICKET_CODE, EXTERNAL_CODE, CREDIT_CODE):
        decision = decide(credential, facts(history=known), POLICY, NOW_MS)
        assert decision == Decision(Reason.RESUMED, resumed=later)


# --- every reason, and every answer


def _full(inside: int, share: int) -> CapacityFacts:
    return CapacityFacts(CapacityLimits(max_inside=100), Headcount(inside, 0), Headcount(share, NO_LIMIT))


@pytest.mark.parametrize(
    ("inside", "share", "on_a_ticket", "on_a_free_visit"),
    [
        (94, 1, Reason.TICKET, Reason.FREE_VISIT),
        (95, 1, Reason.TICKET, Reason.RESERVED_ONLY),
        (100, 1, Reason.CAPACITY_REACHED, Reason.CAPACITY_REACHED),
        (0, 0, Reason.CAPACITY_REACHED, Reason.CAPACITY_REACHED),
    ],
)
def test_no_right_is_spent_beyond_the_capacity(
    inside: int, share: int, on_a_ticket: Reason, on_a_free_visit: Reason
) -> None:
    """A full site refuses whoever would be admitted, spends nothing, and tells staff how full it is."""
    known = _full(inside, share)
    ticket_holder = decide(TICKET_CODE, replace(facts(ticket=ticket()), capacity=known), POLICY, NOW_MS)
    good_citizen = decide(
        CREDIT_CODE, replace(facts(subject=subject(memberships=MEMBER)), capacity=known), POLICY, NOW_MS
    )
    assert (ticket_holder.reason, good_citizen.reason) == (on_a_ticket, on_a_free_visit)
    if on_a_ticket is Reason.CAPACITY_REACHED:
        assert ticket_holder.spend is None
        assert f"{inside} inside" in ticket_holder.detail


def test_a_full_site_says_first_what_is_wrong_with_the_ticket() -> None:
    """Who would not be admitted anyway hears that, not to wait for room."""
    spent = replace(facts(ticket=ticket(used=1)), capacity=_full(100, 0))
    assert decide(TICKET_CODE, spent, POLICY, NOW_MS).reason is Reason.ALREADY_USED


def test_a_payload_that_is_no_credential_keeps_its_reason() -> None:
    """And the detail for staff."""
    for reason in (Reason.NOT_A_TICKET, Reason.MALFORMED, Reason.UNKNOWN_KEY, Reason.BAD_SIGNATURE):
        assert refuse(Rejected(reason, "why"), ORDINARY_ENTRY, NOW_MS) == Decision(reason, detail="why")


OF_TERMS = {
    Reason.REENTRY,
    Reason.EXIT,
    Reason.LATE,
    Reason.PROOF_NEEDED,
    Reason.RULE,
    Reason.RULE_UNREADABLE,
    Reason.UNPAID,
    Reason.REVOKED,
    Reason.WRONG_SERVICE,
    Reason.NO_SHOW,
    Reason.NOT_TODAY,
    Reason.NOT_NOW,
    Reason.DAY_LIMIT,
    Reason.SITE_LIMIT,
    Reason.PASSBACK,
}
"""What the terms of a product answer, and exits: test_ticket_terms.py."""


def test_the_tables_reach_every_reason_that_a_credential_can_get() -> None:
    """What is left comes from the payload, the lane or the store."""
    reached = {case.reason for cases in (LISTED, UNLISTED, FREE, CREDIT, INTERRUPTED) for case in cases}
    elsewhere = {Reason.NOT_A_TICKET, Reason.MALFORMED, Reason.UNKNOWN_KEY, Reason.BAD_SIGNATURE}
    elsewhere |= {Reason.CAPACITY_REACHED, Reason.RESERVED_ONLY, Reason.UNLISTED_CODE, *OF_TERMS}
    elsewhere |= {Reason.LANE_NOT_READY, Reason.STORE_BROKEN, Reason.STORE_FULL, Reason.OVERRIDDEN}
    elsewhere |= {Reason.OTHER_LANE, Reason.CREDIT_SUSPENDED}  # test_benefits.py
    elsewhere.add(Reason.MISTYPED)  # test_short_codes.py
    elsewhere |= {Reason.STATUTORY_FREE, Reason.FEWER_LEFT}  # test_by_document.py, test_persons.py
    elsewhere |= {Reason.CLEARANCE, Reason.NOT_CLEARED}  # test_clearance.py
    elsewhere |= {Reason.NOT_LIVE, Reason.VOUCHER_ON_HOLD, Reason.CLOCK_UNSURE}  # tests/vectors
    elsewhere.add(Reason.CREDIT_ORDER)  # test_credit_orders.py
    assert reached | elsewhere == set(Reason)
    assert not reached & elsewhere


SMALL = st.integers(0, 3)
FEN = st.integers(0, 30_000)
MOMENTS = st.integers(NOW_S - 2, NOW_S + 2)
TICKETS = st.builds(
    ticket,
    status=st.sampled_from(TicketStatus),
    quantity=SMALL,
    refunded=SMALL,
    used=SMALL,
    valid_from_s=MOMENTS,
    valid_until_s=MOMENTS,
)
SUBJECTS = st.builds(
    subject,
    memberships=st.sampled_from([(), MEMBER]),
    free_visits_used=st.dictionaries(st.sampled_from(["first@fairy", "first@*"]), SMALL),
    credit_line=st.none()
    | st.builds(line, limit_fen=FEN, per_visit_fen=FEN, outstanding_fen=FEN, until_s=MOMENTS),
)
HISTORIES = st.builds(
    history,
    st.builds(
        use,
        st.just(1),
        basis=st.sampled_from(Basis),
        fare_fen=FEN,
        at_ms=st.integers(NOW_MS - 40_000, NOW_MS),
    ),
    closings=st.lists(st.builds(closing, st.just(1), st.sampled_from(Outcome)), max_size=3),
    watermark=st.sampled_from([0, 10, 99]),
)
FACTS = st.builds(
    facts,
    site_id=st.sampled_from(["fairy", "cableway"]),
    current_list=st.sampled_from([None, LIST, replace(LIST, as_of_s=0)]),
    product=st.sampled_from([None, DAY_TICKET, ELSEWHERE]),
    ticket=st.none() | TICKETS,
    subject=st.none() | SUBJECTS,
    history=st.none() | HISTORIES,
    exposure=st.builds(Exposure, SMALL, SMALL, FEN),
)
POLICIES = st.builds(
    policy,
    subject_order=st.lists(st.sampled_from(Basis), max_size=3, unique=True).map(tuple),
    credit=st.builds(CreditLimits, FEN, FEN, st.sampled_from([0, DAY_S])),
    resume_within_s=st.sampled_from([0, 30]),
)


@settings(max_examples=150)
@given(st.sampled_from([TICKET_CODE, EXTERNAL_CODE, CREDIT_CODE]), FACTS, POLICIES, MOMENTS)
def test_every_credential_gets_one_answer_always_the_same(
    credential: Credential, known: Facts, rules: Policy, now_s: int
) -> None:
    """Total, deterministic, and an admission always names what it spends or resumes."""
    decision = decide(credential, known, rules, now_s * 1000)
    assert decision == decide(credential, known, rules, now_s * 1000)
    admits = (decision.spend is not None) + (decision.resumed is not None)
    assert admits == (decision.verdict is Verdict.ADMIT)
    assert decision.spend is None or decision.spend.key == credential.key


@settings(max_examples=60)
@given(SUBJECTS, FACTS, POLICIES)
def test_credit_never_exceeds_the_line(who: SubjectRights, known: Facts, rules: Policy) -> None:
    """Whatever the box remembers, risks and is told."""
    known = replace(known, subject=who)
    decision = decide(CREDIT_CODE, known, rules, NOW_MS)
    if decision.reason is Reason.CREDIT_LINE:
        assert who.credit_line is not None
        assert decision.spend is not None
        since_fen = known.history.fare_since_list_fen(Basis.CREDIT_LINE)
        assert (
            who.credit_line.outstanding_fen + since_fen + decision.spend.fare_fen <= who.credit_line.limit_fen
        )
        assert known.exposure.credit_fen + decision.spend.fare_fen <= rules.credit.per_box_day_fen


def test_where_a_lane_is_does_not_decide_about_a_ticket() -> None:
    """A lane's name matters to what was interrupted there, and to nothing else."""
    here = facts(ticket=ticket(), history=history(use()))
    assert decide(TICKET_CODE, here, POLICY, NOW_MS) == decide(
        TICKET_CODE, replace(here, lane_id="another"), POLICY, NOW_MS
    )
    assert here.lane_id == LANE
