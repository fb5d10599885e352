"""Kinds of tickets: what the terms of a product refuse, to the second, and when they would admit."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.answers import Decision
from admission.capacity import NO_LIMIT, CapacityFacts, CapacityLimits, Headcount
from admission.decision import NOBODY, decide, refuse
from admission.facts import Direction, Facts, LaneTraits
from admission.reasons import Reason, Verdict
from admission.terms import (
    PLAIN,
    Days,
    Late,
    Proof,
    Reentry,
    Terms,
    TermsError,
    Window,
    check_terms,
    read_terms,
)
from admission.ticket_terms import counter_names
from admission.tickets import Basis, History, Outcome, TicketStatus
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
    SITE,
    TICKET_CODE,
    closing,
    facts,
    ticket,
    use,
)

EXIT_LANE = LaneTraits(direction=Direction.EXIT)
SHUTTLE = LaneTraits(service="shuttle")
MINUTE_MS = 60_000


def asks(
    terms: Terms, *uses: Any, now_ms: int = NOW_MS, lane: LaneTraits | None = None, **row: Any
) -> Decision:
    """The decision on a listed ticket of a product with these terms."""
    known = facts(
        ticket=ticket(**row), product=replace(DAY_TICKET, terms=terms), history=History(tuple(uses))
    )
    return decide(TICKET_CODE, replace(known, lane=lane) if lane else known, POLICY, now_ms)


def entry(minutes_ago: float, number: int = 1, basis: Basis = Basis.TICKET, **more: Any) -> Any:
    """A use of the ticket so long ago; numbers rise with time."""
    at_ms = NOW_MS - round(minutes_ago * MINUTE_MS)
    quantity = 1 if basis is Basis.TICKET else 0
    return replace(use(number, basis=basis, at_ms=at_ms), quantity=quantity, lane_id="lane-9", **more)


# Time ----------------------------------------------------------------------------------------------------------------

TIMED = Terms(early_grace_s=600, late_grace_s=300, hold_s=3600)
HELD = Terms(early_grace_s=600, late_grace_s=300, hold_s=3600, late=Late.REFER)
FROM_S, UNTIL_S = NOW_S, NOW_S + HOUR_S


@pytest.mark.parametrize(
    ("terms", "at_s", "reason"),
    [
        (PLAIN, FROM_S - 1, Reason.TOO_EARLY),
        (PLAIN, UNTIL_S, Reason.EXPIRED),
        (TIMED, FROM_S - 601, Reason.TOO_EARLY),
        (TIMED, FROM_S - 600, Reason.TICKET),
        (TIMED, UNTIL_S + 299, Reason.TICKET),
        (TIMED, UNTIL_S + 3599, Reason.TICKET),
        (TIMED, UNTIL_S + 3600, Reason.NO_SHOW),
        (HELD, UNTIL_S + 299, Reason.TICKET),
        (HELD, UNTIL_S + 300, Reason.LATE),
        (HELD, UNTIL_S + 3599, Reason.LATE),
        (HELD, UNTIL_S + 3600, Reason.NO_SHOW),
        (Terms(late_grace_s=300), UNTIL_S + 300, Reason.EXPIRED),
        (Terms(late_grace_s=300, hold_s=100, late=Late.REFER), UNTIL_S + 299, Reason.TICKET),
    ],
)
def test_late_is_not_void_until_the_hold_ends(terms: Terms, at_s: int, reason: Reason) -> None:
    """Grace before and after counts to the second; after the hold nobody came."""
    assert asks(terms, now_ms=at_s * 1000, valid_from_s=FROM_S, valid_until_s=UNTIL_S).reason is reason


def test_who_is_too_early_is_told_when_to_come() -> None:
    """The moment is that at which the same ticket admits, in the site's time."""
    decision = asks(TIMED, now_ms=(FROM_S - 601) * 1000, valid_from_s=FROM_S, valid_until_s=UNTIL_S)
    assert decision.admits_at_ms == (FROM_S - 600) * 1000
    assert decision.detail == "admits from 2026-05-01 11:50:00"
    assert asks(TIMED, now_ms=decision.admits_at_ms, valid_from_s=FROM_S, valid_until_s=UNTIL_S).spend


def test_a_use_is_kept_until_the_hold_ends() -> None:
    """As long as the ticket can be shown, its use is known."""
    spend = asks(TIMED, valid_from_s=FROM_S, valid_until_s=UNTIL_S).spend
    assert spend is not None
    assert spend.keep_until_s == UNTIL_S + 3600


TODAY = date(2026, 5, 1)  # a Friday
YEAR: dict[str, Any] = {"valid_from_s": NOW_S - DAY_S, "valid_until_s": NOW_S + 300 * DAY_S}
HOLIDAY = Terms(blackouts=(Days(first=TODAY, last=date(2026, 5, 5)),))
WEEKEND_MORNINGS = Terms(windows=(Window(from_min=8 * 60, until_min=12 * 60, weekdays=(6, 7)),))


def _local_ms(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=POLICY.timezone).timestamp() * 1000)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("terms", "at_ms", "reason", "admits_at_ms"),
    [
        (HOLIDAY, _local_ms(2026, 5, 1), Reason.NOT_TODAY, _local_ms(2026, 5, 6)),
        (HOLIDAY, _local_ms(2026, 5, 5, 23, 59, 59), Reason.NOT_TODAY, _local_ms(2026, 5, 6)),
        (HOLIDAY, _local_ms(2026, 5, 6), Reason.TICKET, None),
        (WEEKEND_MORNINGS, NOW_MS, Reason.NOT_NOW, _local_ms(2026, 5, 2, 8)),
        (WEEKEND_MORNINGS, _local_ms(2026, 5, 2, 7, 59, 59), Reason.NOT_NOW, _local_ms(2026, 5, 2, 8)),
        (WEEKEND_MORNINGS, _local_ms(2026, 5, 2, 8), Reason.TICKET, None),
        (WEEKEND_MORNINGS, _local_ms(2026, 5, 2, 12), Reason.NOT_NOW, _local_ms(2026, 5, 3, 8)),
        (WEEKEND_MORNINGS, _local_ms(2026, 5, 3, 12), Reason.NOT_NOW, _local_ms(2026, 5, 9, 8)),
    ],
)
def test_blackout_days_and_hours(terms: Terms, at_ms: int, reason: Reason, admits_at_ms: int | None) -> None:
    """Days are local and inclusive, hours end before their end, and the next good moment is named."""
    decision = asks(terms, now_ms=at_ms, **YEAR)
    assert (decision.reason, decision.admits_at_ms) == (reason, admits_at_ms)


def test_no_later_day_is_promised_than_the_ticket_has() -> None:
    """A blackout that lasts as long as the ticket names no day."""
    terms = Terms(blackouts=(Days(first=TODAY, last=date(2027, 12, 31)),))
    assert asks(terms, **YEAR).admits_at_ms is None
    assert asks(HOLIDAY, valid_until_s=NOW_S + DAY_S).admits_at_ms is None


# Counters ------------------------------------------------------------------------------------------------------------

PASS = Terms(unlimited=True, per_day=2, per_site=3)


@pytest.mark.parametrize(
    ("terms", "uses", "counters", "reason"),
    [
        (PASS, (), {}, Reason.TICKET),
        (PASS, (entry(60, 1),), {}, Reason.TICKET),
        (PASS, (entry(60, 1), entry(30, 2)), {}, Reason.DAY_LIMIT),
        (PASS, (entry(60, 1),), {"day:2026-05-01": 1}, Reason.DAY_LIMIT),
        (PASS, (entry(13 * 60, 1), entry(30, 2)), {}, Reason.TICKET),
        (PASS, (), {f"site:{SITE}": 3}, Reason.SITE_LIMIT),
        (PASS, (entry(60 * 24 * 3, 1),), {f"site:{SITE}": 2, "site:bridges": 9}, Reason.SITE_LIMIT),
        (Terms(unlimited=True, per_site_day=1), (entry(5, 1),), {}, Reason.DAY_LIMIT),
        (Terms(unlimited=True, per_site_day=1), (), {"site-day:bridges:2026-05-01": 1}, Reason.TICKET),
        (Terms(per_day=5), (entry(60, 1),), {}, Reason.ALREADY_USED),
    ],
)
def test_entries_of_the_day_and_of_the_site_are_counted(
    terms: Terms, uses: Any, counters: dict[str, int], reason: Reason
) -> None:
    """What the list counted and what came since add up; the other limits hold beside the total."""
    known = facts(
        ticket=replace(ticket(**YEAR), counters=counters),
        product=replace(DAY_TICKET, terms=terms),
        history=History(uses),
    )
    assert decide(TICKET_CODE, known, POLICY, NOW_MS).reason is reason


def test_who_has_used_the_day_is_told_of_midnight() -> None:
    """Tomorrow begins at local midnight."""
    decision = asks(Terms(unlimited=True, per_day=1), entry(5), **YEAR)
    assert decision.admits_at_ms == _local_ms(2026, 5, 2)


def test_counters_are_named_by_what_a_product_counts() -> None:
    """List and box derive the same counters from a use."""
    assert counter_names(PASS, "", SITE, TODAY) == ["day:2026-05-01", f"site:{SITE}"]
    assert counter_names(PASS, "shuttle", SITE, TODAY) == ["service:shuttle"]
    assert counter_names(Terms(per_site_day=1), "", SITE, TODAY) == [f"site-day:{SITE}:2026-05-01"]
    assert not PLAIN.counters


# Services ------------------------------------------------------------------------------------------------------------

COMBINED = Terms(services={"admission": 1, "shuttle": 2})


@pytest.mark.parametrize(
    ("terms", "lane", "uses", "counters", "reason"),
    [
        (PLAIN, SHUTTLE, (), {}, Reason.WRONG_SERVICE),
        (Terms(services={"shuttle": 1}), None, (), {}, Reason.WRONG_SERVICE),
        (COMBINED, None, (), {}, Reason.TICKET),
        (COMBINED, None, (entry(5, scope="shuttle"),), {}, Reason.TICKET),
        (COMBINED, None, (entry(5),), {}, Reason.ALREADY_USED),
        (COMBINED, SHUTTLE, (entry(5), entry(4, 2, scope="shuttle")), {}, Reason.TICKET),
        (COMBINED, SHUTTLE, (entry(4, 2, scope="shuttle"),), {"service:shuttle": 1}, Reason.ALREADY_USED),
    ],
)
def test_each_service_has_entries_of_its_own(
    terms: Terms, lane: LaneTraits | None, uses: Any, counters: dict[str, int], reason: Reason
) -> None:
    """A combined ticket spends one right at each gate, and none of the others."""
    known = facts(
        ticket=replace(ticket(), counters=counters),
        product=replace(DAY_TICKET, terms=terms),
        history=History(uses),
    )
    decision = decide(TICKET_CODE, replace(known, lane=lane) if lane else known, POLICY, NOW_MS)
    assert decision.reason is reason
    if decision.spend:
        assert decision.spend.scope == ("shuttle" if lane else "")


# Coming back, passing back, leaving ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reentry", "uses", "reason"),
    [
        (Reentry.NONE, (entry(60, 1), entry(30, 2, Basis.EXIT)), Reason.ALREADY_USED),
        (Reentry.SAME_DAY, (entry(60, 1),), Reason.REENTRY),
        (Reentry.SAME_DAY, (entry(13 * 60, 1),), Reason.ALREADY_USED),
        (Reentry.SAME_DAY_AFTER_EXIT, (entry(60, 1),), Reason.ALREADY_USED),
        (Reentry.SAME_DAY_AFTER_EXIT, (entry(60, 1), entry(30, 2, Basis.EXIT)), Reason.REENTRY),
        (Reentry.SAME_DAY_AFTER_EXIT, (entry(13 * 60, 1), entry(30, 2, Basis.EXIT)), Reason.ALREADY_USED),
        (Reentry.AFTER_EXIT, (entry(13 * 60, 1), entry(30, 2, Basis.EXIT)), Reason.REENTRY),
        (
            Reentry.SAME_DAY_AFTER_EXIT,
            (entry(60, 1), entry(30, 2, Basis.EXIT), entry(20, 3, Basis.REENTRY)),
            Reason.ALREADY_USED,
        ),
        # An exit from a clock that runs ahead re-arms nothing.
        (Reentry.SAME_DAY_AFTER_EXIT, (entry(60, 1), entry(-30, 2, Basis.EXIT)), Reason.ALREADY_USED),
        # One box's numbers tell the order, whatever its clock said.
        (Reentry.SAME_DAY_AFTER_EXIT, (entry(30, 2), entry(20, 1, Basis.EXIT)), Reason.ALREADY_USED),
        (Reentry.SAME_DAY_AFTER_EXIT, (entry(30, 2), entry(20, 1, Basis.EXIT, box_id="B2")), Reason.REENTRY),
    ],
)
def test_coming_back_spends_nothing_when_the_terms_allow_it(
    reentry: Reentry, uses: Any, reason: Reason
) -> None:
    """The same day, or after an exit that was really seen, and not a second time on one exit."""
    decision = asks(Terms(reentry=reentry), *uses, **YEAR)
    assert decision.reason is reason
    if reason is Reason.REENTRY:
        assert decision.spend is not None
        assert (decision.spend.basis, decision.spend.quantity) == (Basis.REENTRY, 0)


@pytest.mark.parametrize(
    ("uses", "reason"),
    [
        ((entry(10, 1),), Reason.TICKET),
        ((entry(9.999, 1),), Reason.PASSBACK),
        ((entry(5, 1), entry(2, 2, Basis.EXIT)), Reason.TICKET),
    ],
)
def test_the_same_ticket_does_not_admit_again_at_once(uses: Any, reason: Reason) -> None:
    """A pass handed back over the fence waits, its holder who has left does not."""
    decision = asks(Terms(unlimited=True, passback_s=600), *uses)
    assert decision.reason is reason
    if reason is Reason.PASSBACK:
        assert decision.admits_at_ms == uses[0].at_ms + 600_000


@pytest.mark.parametrize("credential", [TICKET_CODE, EXTERNAL_CODE, CREDIT_CODE])
@pytest.mark.parametrize("known", [facts(), facts(current_list=None), facts(ticket=ticket(used=1))])
def test_nobody_is_locked_in(credential: Any, known: Facts) -> None:
    """An exit lane opens for whatever is shown, spends nothing, and has it on record."""
    decision = decide(credential, replace(known, lane=EXIT_LANE), POLICY, NOW_MS)
    assert (decision.reason, decision.verdict) == (Reason.EXIT, Verdict.ADMIT)
    assert decision.spend is not None
    assert (decision.spend.key, decision.spend.basis, decision.spend.quantity) == (KEY, Basis.EXIT, 0)


def test_who_shows_no_ticket_may_leave_too() -> None:
    """A payload that is no credential opens an exit, under nobody's key."""
    from admission.codes import Rejected  # noqa: PLC0415 - only here

    spend = refuse(Rejected(Reason.NOT_A_TICKET, ""), EXIT_LANE, NOW_MS).spend
    assert spend is not None
    assert spend.key == NOBODY


def test_a_full_site_lets_out_and_lets_back_in_only_into_room() -> None:
    """An exit needs no room, a re-entry does."""
    full = CapacityFacts(CapacityLimits(max_inside=10), Headcount(10, 0), Headcount(0, NO_LIMIT))
    back = facts(
        ticket=ticket(used=1),
        product=replace(DAY_TICKET, terms=Terms(reentry=Reentry.SAME_DAY)),
        history=History((entry(60),)),
    )
    assert decide(TICKET_CODE, replace(back, capacity=full), POLICY, NOW_MS).reason is Reason.CAPACITY_REACHED
    leaving = replace(back, capacity=full, lane=EXIT_LANE)
    assert decide(TICKET_CODE, leaving, POLICY, NOW_MS).reason is Reason.EXIT


def test_a_walk_up_ticket_waits_at_red() -> None:
    """A product that reserves nothing is a walk-up, though it is paid."""
    red = CapacityFacts(CapacityLimits(max_inside=100), Headcount(95, 0), Headcount(5, NO_LIMIT))
    for reserved, reason in ((True, Reason.TICKET), (False, Reason.RESERVED_ONLY)):
        known = facts(ticket=ticket(), product=replace(DAY_TICKET, terms=Terms(reserved=reserved)))
        assert decide(TICKET_CODE, replace(known, capacity=red), POLICY, NOW_MS).reason is reason


# Statuses, proofs, rules ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (TicketStatus.VALID, Reason.TICKET),
        (TicketStatus.UNPAID, Reason.UNPAID),
        (TicketStatus.BLOCKED, Reason.BLOCKED),
        (TicketStatus.REVOKED, Reason.REVOKED),
    ],
)
def test_what_the_order_system_says_counts(status: TicketStatus, reason: Reason) -> None:
    """Each status has an answer of its own."""
    assert asks(PLAIN, status=status).reason is reason


def test_a_concession_is_referred_with_what_to_check() -> None:
    """Staff see which proof, and a ticket that would not admit anyway is not checked."""
    terms = Terms(proof=Proof(zh="学生证", en="student card"))
    assert asks(terms).detail == "学生证 student card"
    assert asks(terms, used=1).reason is Reason.ALREADY_USED


def test_a_products_rule_refuses_with_its_reason_and_the_next_time() -> None:
    """What failed, and when it would admit, stand in the answer."""
    rule = {"isAfter": [{"var": "now"}, {"buildTime": ["customtime", "14:00"]}]}
    decision = asks(Terms(rule=rule))
    assert decision.reason is Reason.RULE
    assert "isAfter 2026-05-01 14:00:00; admits from 2026-05-01 14:00:00" in decision.detail
    gates = asks(Terms(rule={"==": [{"var": "gate"}, "north"]}))
    assert "admits at gate north" in gates.detail


def test_a_rule_that_cannot_be_evaluated_is_for_staff() -> None:
    """It neither admits nor denies."""
    assert asks(Terms(rule={"isBefore": [{"var": "now"}, True]})).reason is Reason.RULE_UNREADABLE


def test_rules_see_the_entries_and_whether_the_holder_is_inside() -> None:
    """A rule may count what the box knows."""
    rule = {"and": [{"<": [{"var": "entries_today"}, 2]}, {"==": [{"var": "entry_status"}, "absent"]}]}
    terms = Terms(unlimited=True, rule=rule)
    assert asks(terms).reason is Reason.TICKET
    assert asks(terms, entry(60)).reason is Reason.RULE
    assert asks(terms, entry(60), entry(30, 2, Basis.EXIT)).reason is Reason.TICKET


@pytest.mark.parametrize(
    ("terms", "uses", "reason"),
    [
        (HOLIDAY, (), Reason.NOT_TODAY),
        (Terms(unlimited=True, per_day=1), (entry(60),), Reason.DAY_LIMIT),
        (Terms(reentry=Reentry.SAME_DAY), (entry(60),), Reason.REENTRY),
        (Terms(proof=Proof(zh="证", en="proof")), (), Reason.PROOF_NEEDED),
        (PLAIN, (), Reason.UNLISTED_TICKET),
    ],
)
def test_terms_hold_for_signed_tickets_that_the_list_does_not_know(
    terms: Terms, uses: Any, reason: Reason
) -> None:
    """Its product is known, so what that asks for is too."""
    known = facts(product=replace(DAY_TICKET, terms=terms), history=History(uses))
    assert decide(TICKET_CODE, known, POLICY, NOW_MS).reason is reason


# Writing and reading -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ('{"per_dya": 1}', "per_dya"),
        ('{"per_day": 0}', "per_day"),
        ('{"blackouts": [{"first": "202261", "last": "2023-05-31"}]}', "blackouts[0].first"),
        ('{"blackouts": [{"first": "2026-05-05", "last": "2026-05-01"}]}', "blackouts[0].last"),
        ('{"windows": [{"from_min": 700, "until_min": 600}]}', "windows[0].until_min"),
        ('{"rule": {"frobnicate": 1}}', "frobnicate"),
        ("[]", "object"),
        ("{", "truncated"),
    ],
)
def test_mistakes_in_terms_are_named_with_their_place(written: str, problem: str) -> None:
    """Whoever writes a product hears what is wrong before anybody stands at a gate."""
    with pytest.raises(TermsError, match=problem.replace("[", r"\[")):
        check_terms(written)


def test_a_box_ignores_what_a_later_release_added_and_refuses_nonsense() -> None:
    """Readers ignore fields they do not know; what is no terms at all is an error."""
    assert read_terms('{"per_day": 2, "of_tomorrow": true}') == Terms(per_day=2)
    assert read_terms("") == PLAIN
    with pytest.raises(TermsError):
        read_terms('{"per_day": "many"}')


def test_terms_survive_being_written() -> None:
    """Plain terms are the empty text; others are the same after writing and reading."""
    assert check_terms("{}") == ""
    text = check_terms(json.dumps({"reentry": "same_day", "services": {"shuttle": 2}, "blackouts": []}))
    assert read_terms(text) == Terms(reentry=Reentry.SAME_DAY, services={"shuttle": 2})


def test_local_days_follow_the_zone_through_the_end_of_summer_time() -> None:
    """On the day with 25 hours, midnight is still where the wall clock has it."""
    berlin = ZoneInfo("Europe/Berlin")
    policy = replace(POLICY, timezone=berlin)
    at_ms = int(datetime(2026, 10, 25, 12, tzinfo=berlin).timestamp() * 1000)
    known = facts(
        ticket=ticket(valid_from_s=0, valid_until_s=1 << 33),
        product=replace(DAY_TICKET, terms=Terms(unlimited=True, per_day=1)),
        history=History((replace(entry(0), at_ms=at_ms - 1),)),
    )
    midnight_ms = decide(TICKET_CODE, known, policy, at_ms).admits_at_ms
    assert midnight_ms == int(datetime(2026, 10, 26, tzinfo=berlin).timestamp() * 1000)
    assert decide(TICKET_CODE, known, policy, midnight_ms).reason is Reason.TICKET


# Invariants ----------------------------------------------------------------------------------------------------------

_TERMS = st.builds(
    Terms,
    early_grace_s=st.integers(0, 100),
    late_grace_s=st.integers(0, 100),
    hold_s=st.integers(0, 200),
    late=st.sampled_from(Late),
    per_day=st.none() | st.integers(1, 2),
    per_site=st.none() | st.integers(1, 3),
    passback_s=st.integers(0, 100),
    reentry=st.sampled_from(Reentry),
    unlimited=st.booleans(),
    blackouts=st.just(()) | st.just((Days(first=TODAY, last=TODAY + timedelta(days=1)),)),
)


@given(
    terms=_TERMS,
    quantity=st.integers(1, 3),
    steps=st.lists(
        st.tuples(st.sampled_from(["scan", "abandon", "exit"]), st.integers(0, 7200)), max_size=25
    ),
)
def test_no_sequence_admits_more_than_the_ticket_has(
    terms: Terms, quantity: int, steps: list[tuple[str, int]]
) -> None:
    """Whatever is scanned, abandoned and left in whatever time: entries stay within the total, the day and the site."""
    uses: list[Any] = []
    closings: list[Any] = []
    now_ms = NOW_MS
    for number, (step, wait_s) in enumerate(steps, start=1):
        now_ms += wait_s * 1000
        known = facts(
            ticket=ticket(quantity=quantity, valid_until_s=NOW_S + 2 * DAY_S),
            product=replace(DAY_TICKET, terms=terms),
            history=History(tuple(uses), tuple(closings)),
        )
        if step == "exit":
            known = replace(known, lane=EXIT_LANE)
        decision = decide(TICKET_CODE, known, POLICY, now_ms)
        assert decision == decide(TICKET_CODE, known, POLICY, now_ms)
        if decision.spend is None:
            continue
        spend = decision.spend
        made = use(number, basis=spend.basis, at_ms=now_ms)
        uses.append(replace(made, quantity=spend.quantity, lane_id="lane-9"))
        closings.append(closing(number, Outcome.ABANDONED if step == "abandon" else Outcome.PASSED))
    history = History(tuple(uses), tuple(closings))
    entries = [one for one in history.uses if one.basis is Basis.TICKET and history.is_held(one)]
    assert terms.unlimited or len(entries) <= quantity
    assert terms.per_site is None or len(entries) <= terms.per_site
    days = [POLICY.local_date(one.at_ms) for one in entries]
    assert terms.per_day is None or all(days.count(day) <= terms.per_day for day in days)
