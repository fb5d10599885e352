"""Persons and organisations: which of the rights that follow from who they are is spent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import assert_never

from admission.answers import Decision, Spend
from admission.codes import CreditCode
from admission.entitlements import CreditLine, SubjectRights
from admission.facts import Facts
from admission.policy import Benefit, FreeVisit, Policy
from admission.reasons import Reason, Verdict
from admission.tickets import Basis, History, Risk
from admission.validity import outside, withdrawn


def decide_credit_code(
    code: CreditCode, facts: Facts, policy: Policy, now_ms: int, *, is_proven: bool = False
) -> Decision:
    """Spend the first right, in the policy's order, that fits the subject here and now.

    `is_proven` says that a member of staff has looked at whatever proof a right asks for. A right that asks for one
    goes before those that follow it in the order: it would be lost if the next were spent instead.
    """
    outside_of = outside(code.validity.from_s, code.validity.until_s, now_ms // 1000)
    if outside_of is not None:
        return Decision(outside_of)
    if facts.is_key_withdrawn:
        return withdrawn(code.key_id)
    if facts.current_list is None:
        return Decision(Reason.NO_LIST)
    answers = [
        decide_basis(basis, code.key, facts, policy, now_ms, is_proven=is_proven)
        for basis in policy.subject_order
    ]
    return first_fitting(answers)


def first_fitting(answers: Sequence[Decision]) -> Decision:
    """Return the first answer that admits, or asks for a proof first, with what it leaves unspent.

    When there is none, the refusal that tells most.
    """
    admitting = [
        answer for answer in answers if answer.spend is not None or answer.reason is Reason.PROOF_NEEDED
    ]
    if not admitting:
        return min(answers, key=_rank, default=Decision(Reason.NO_ENTITLEMENT))
    unspent = tuple(answer.spend.basis for answer in admitting[1:] if answer.spend is not None)
    return replace(admitting[0], unspent=unspent)


def _rank(refusal: Decision) -> tuple[int, bool, bool]:
    """Order refusals: a ticket's first, of those what staff can help, then what will end; others by `_MOST_TELLING`."""
    place = _MOST_TELLING.index(refusal.reason) if refusal.reason in _MOST_TELLING else -1
    return place, refusal.verdict is not Verdict.REFER, refusal.admits_at_ms is None


_MOST_TELLING = (
    Reason.PROOF_NEEDED,
    Reason.CREDIT_DATA_OLD,
    Reason.CREDIT_OFFLINE_LIMIT,
    Reason.CREDIT_SUSPENDED,
    Reason.NO_CREDIT,
    Reason.FEWER_LEFT,
    Reason.FREE_VISIT_USED,
    Reason.NO_ENTITLEMENT,
)
"""Which refusal to show when no right fits: the one that staff can do most about comes first."""


def benefits(facts: Facts, policy: Policy, now_ms: int) -> tuple[Benefit, ...]:
    """Return what the policy gives the subject here and now beside free visits."""
    if facts.subject is None:
        return ()
    site, day = policy.sites[facts.site_id], policy.local_date(now_ms)
    groups, above = facts.subject.groups(now_ms // 1000), policy.above(site)
    return tuple(
        benefit
        for benefit in policy.benefits
        if groups & benefit.groups and benefit.applies(site, day, above)
    )


def decide_basis(
    basis: Basis, key: bytes, facts: Facts, policy: Policy, now_ms: int, *, is_proven: bool = False
) -> Decision:
    """Return what one kind of right gives the subject here and now."""
    if facts.subject is None:
        return Decision(Reason.NO_ENTITLEMENT)
    match basis:
        case Basis.FREE_VISIT:
            return _decide_free_visit(key, facts, facts.subject, policy, now_ms, is_proven)
        case Basis.CREDIT_ORDER:
            return _decide_credit_order(key, facts, facts.subject, policy, now_ms)
        case Basis.CREDIT_LINE:
            return _decide_credit_line(key, facts, facts.subject.credit_line, policy, now_ms)
        case Basis.TICKET | Basis.STATUTORY | Basis.EXIT | Basis.REENTRY | Basis.OVERRIDE:
            return Decision(Reason.NO_ENTITLEMENT, detail="no right of a subject")
        case _:
            assert_never(basis)


def _decide_free_visit(
    key: bytes, facts: Facts, subject: SubjectRights, policy: Policy, now_ms: int, is_proven: bool
) -> Decision:
    """Spend free visits of the first of all the policies that fit the subject which has enough left."""
    site, persons = policy.sites[facts.site_id], facts.persons
    groups = subject.groups(now_ms // 1000)
    day = policy.local_date(now_ms)
    above = policy.above(site)
    fitting = [free for free in policy.free_visits if groups & free.groups and free.applies(site, day, above)]
    most_left = 0
    for free in fitting:
        scope = free.counting_scope(site, day)
        left = _free_visits_left(free, scope, subject, facts.history)
        most_left = max(most_left, left * (1 + free.companions))
        visits = free.visits(persons)
        if left < visits:
            continue
        if free.proofs and not is_proven:
            wanted = "; ".join(f"{proof.zh} {proof.en}" for proof in free.proofs)
            return Decision(Reason.PROOF_NEEDED, detail=wanted, granted_by=free.policy_id)
        keep_until_s = policy.day_end_s(free.last_day)
        spend = Spend(key, Basis.FREE_VISIT, keep_until_s, scope, visits, companions=persons - visits)
        return Decision(
            Reason.FREE_VISIT,
            spend,
            detail=f"{policy.version}, {free.policy_id}: {free.clause}",
            granted_by=free.policy_id,
        )
    if most_left > 0:
        return Decision(Reason.FEWER_LEFT, detail=f"{most_left} free for {persons} persons")
    return Decision(Reason.FREE_VISIT_USED if fitting else Reason.NO_ENTITLEMENT)


def _free_visits_left(free: FreeVisit, scope: str, subject: SubjectRights, history: History) -> int:
    used = subject.free_visits_used.get(scope, 0) + history.used_since_list(Basis.FREE_VISIT, scope)
    return free.quantity - used


def _decide_credit_order(
    key: bytes, facts: Facts, subject: SubjectRights, policy: Policy, now_ms: int
) -> Decision:
    """Spend the order that ends first, of those for here and now that have enough entries left.

    It was authorised when it was made: no floor limit stands against it.
    """
    site, persons, now_s = policy.sites[facts.site_id], facts.persons, now_ms // 1000
    here = {site.site_id, *policy.above(site)}
    fitting = [
        order
        for order in sorted(subject.credit_orders, key=lambda order: (order.until_s, order.order_id))
        if order.site_id in here and order.from_s <= now_s < order.until_s
    ]
    most_left = 0
    for order in fitting:
        left = order.quantity - order.used - facts.history.used_since_list(Basis.CREDIT_ORDER, order.order_id)
        most_left = max(most_left, left)
        if left >= persons:
            fare_fen = order.fare_fen * persons
            spend = Spend(key, Basis.CREDIT_ORDER, order.until_s, order.order_id, persons, fare_fen)
            return Decision(Reason.CREDIT_ORDER, spend, detail=f"order {order.order_id}")
    if most_left > 0:
        return Decision(Reason.FEWER_LEFT, detail=f"{most_left} left for {persons} persons")
    return Decision(Reason.NO_CREDIT if fitting else Reason.NO_ENTITLEMENT)


def _decide_credit_line(
    key: bytes, facts: Facts, line: CreditLine | None, policy: Policy, now_ms: int
) -> Decision:
    """Spend authorised credit: never invented, never beyond the line, and within the floor limits."""
    if line is None or facts.current_list is None:
        return Decision(Reason.NO_ENTITLEMENT)
    now_s = now_ms // 1000
    if line.is_suspended:
        return Decision(Reason.CREDIT_SUSPENDED, detail=f"{line.outstanding_fen} fen outstanding")
    discount = _best_discount(benefits(facts, policy, now_ms))
    fare_fen = _discounted_fen(policy.sites[facts.site_id].fare_fen, discount) * facts.persons
    since_list_fen = facts.history.fare_since_list_fen(Basis.CREDIT_LINE)
    if not _line_covers(line, fare_fen, since_list_fen, now_s):
        return Decision(Reason.NO_CREDIT)
    if now_s - facts.current_list.as_of_s > policy.credit.max_list_age_s:
        return Decision(Reason.CREDIT_DATA_OLD)
    if limit := _floor_limit(facts, since_list_fen, fare_fen, policy, now_ms):
        return Decision(Reason.CREDIT_OFFLINE_LIMIT, detail=limit)
    spend = Spend(
        key,
        Basis.CREDIT_LINE,
        line.until_s,
        quantity=facts.persons,
        fare_fen=fare_fen,
        risk=Risk.CREDIT,
    )
    if discount is None:
        return Decision(Reason.CREDIT_LINE, spend)
    detail = f"{policy.version}, {discount.benefit_id}: {discount.clause}"
    return Decision(Reason.CREDIT_LINE, spend, detail=detail, granted_by=discount.benefit_id)


def _best_discount(given: Iterable[Benefit]) -> Benefit | None:
    best = max(given, key=lambda benefit: benefit.discount_percent, default=None)
    return best if best is not None and best.discount_percent else None


def _discounted_fen(fare_fen: int, discount: Benefit | None) -> int:
    """Return what is left of a fare; a part of a fen is nobody's loss but the visitor's gain."""
    return fare_fen if discount is None else fare_fen * (100 - discount.discount_percent) // 100


def _line_covers(line: CreditLine, fare_fen: int, since_list_fen: int, now_s: int) -> bool:
    left_fen = line.limit_fen - line.outstanding_fen - since_list_fen
    return now_s < line.until_s and fare_fen <= line.per_visit_fen and fare_fen <= left_fen


def _floor_limit(facts: Facts, since_list_fen: int, fare_fen: int, policy: Policy, now_ms: int) -> str:
    """Return which floor limit one more visit would break, empty for none."""
    limits = policy.credit
    if since_list_fen + fare_fen > limits.per_subject_fen:
        return f"the subject's {limits.per_subject_fen} fen"
    if facts.exposure.credit_fen + fare_fen > limits.per_box_day_fen:
        return f"the box's {limits.per_box_day_fen} fen a day"
    day_start_ms = policy.day_start_ms(now_ms)
    today = facts.history.held(Basis.CREDIT_LINE, since_ms=day_start_ms)
    if limits.visits_per_day is not None and today + facts.persons > limits.visits_per_day:
        return f"the subject's {limits.visits_per_day} visits a day"
    return ""
