"""Persons and organisations: which of the rights that follow from who they are is spent."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from admission.answers import Decision, Spend
from admission.codes import CreditCode
from admission.entitlements import CreditLine, SubjectRights
from admission.facts import Facts
from admission.policy import FreeVisit, Policy, Site
from admission.reasons import Reason
from admission.tickets import Basis, History, Risk
from admission.validity import outside, withdrawn


def decide_credit_code(code: CreditCode, facts: Facts, policy: Policy, now_ms: int) -> Decision:
    """Spend the first right, in the policy's order, that fits the subject here and now."""
    outside_of = outside(code.validity.from_s, code.validity.until_s, now_ms // 1000)
    if outside_of is not None:
        return Decision(outside_of)
    if facts.is_key_withdrawn:
        return withdrawn(code.key_id)
    if facts.current_list is None:
        return Decision(Reason.NO_LIST)
    answers = [decide_basis(basis, code.key, facts, policy, now_ms) for basis in policy.subject_order]
    admitting = [answer for answer in answers if answer.spend is not None]
    if not admitting:
        nothing = Decision(Reason.NO_ENTITLEMENT)
        return min(answers, key=lambda answer: _MOST_TELLING.index(answer.reason), default=nothing)
    unspent = tuple(answer.spend.basis for answer in admitting[1:] if answer.spend is not None)
    return replace(admitting[0], unspent=unspent)


_MOST_TELLING = (
    Reason.CREDIT_DATA_OLD,
    Reason.CREDIT_OFFLINE_LIMIT,
    Reason.NO_CREDIT,
    Reason.FREE_VISIT_USED,
    Reason.NO_ENTITLEMENT,
)
"""Which refusal to show when no right fits: the one that staff can do most about comes first."""


def decide_basis(basis: Basis, key: bytes, facts: Facts, policy: Policy, now_ms: int) -> Decision:
    """Return what one kind of right gives the subject here and now."""
    site = policy.sites[facts.site_id]
    if facts.subject is None:
        return Decision(Reason.NO_ENTITLEMENT)
    match basis:
        case Basis.FREE_VISIT:
            return _decide_free_visit(key, facts.subject, facts.history, site, policy, now_ms)
        case Basis.CREDIT_LINE:
            return _decide_credit_line(key, facts, site, policy, now_ms // 1000)
        case Basis.TICKET | Basis.EXIT | Basis.REENTRY | Basis.OVERRIDE:
            return Decision(Reason.NO_ENTITLEMENT, detail="no right of a subject")
        case _:
            assert_never(basis)


def _decide_free_visit(
    key: bytes, subject: SubjectRights, history: History, site: Site, policy: Policy, now_ms: int
) -> Decision:
    """Spend the first free visit, of all the policies that fit the subject, that is not used up."""
    groups = {member.group for member in subject.memberships if member.covers(now_ms // 1000)}
    day = policy.local_date(now_ms)
    above = policy.above(site)
    fitting = [free for free in policy.free_visits if groups & free.groups and free.applies(site, day, above)]
    for free in fitting:
        scope = free.counting_scope(site, day)
        if _free_visits_left(free, scope, subject, history) > 0:
            keep_until_s = policy.day_end_s(free.last_day)
            spend = Spend(key, Basis.FREE_VISIT, keep_until_s, scope)
            return Decision(
                Reason.FREE_VISIT, spend, detail=f"{policy.version}, {free.policy_id}: {free.clause}"
            )
    return Decision(Reason.FREE_VISIT_USED if fitting else Reason.NO_ENTITLEMENT)


def _free_visits_left(free: FreeVisit, scope: str, subject: SubjectRights, history: History) -> int:
    used = subject.free_visits_used.get(scope, 0) + history.used_since_list(Basis.FREE_VISIT, scope)
    return free.quantity - used


def _decide_credit_line(key: bytes, facts: Facts, site: Site, policy: Policy, now_s: int) -> Decision:
    """Spend authorised credit: never invented, never beyond the line, and within the floor limits."""
    line = facts.subject.credit_line if facts.subject else None
    if line is None or facts.current_list is None:
        return Decision(Reason.NO_ENTITLEMENT)
    fare_fen = site.fare_fen
    since_list_fen = facts.history.fare_since_list_fen(Basis.CREDIT_LINE)
    if not _line_covers(line, fare_fen, since_list_fen, now_s):
        return Decision(Reason.NO_CREDIT)
    if now_s - facts.current_list.as_of_s > policy.credit.max_list_age_s:
        return Decision(Reason.CREDIT_DATA_OLD)
    if (
        since_list_fen + fare_fen > policy.credit.per_subject_fen
        or facts.exposure.credit_fen + fare_fen > policy.credit.per_box_day_fen
    ):
        return Decision(Reason.CREDIT_OFFLINE_LIMIT)
    spend = Spend(key, Basis.CREDIT_LINE, line.until_s, fare_fen=fare_fen, risk=Risk.CREDIT)
    return Decision(Reason.CREDIT_LINE, spend)


def _line_covers(line: CreditLine, fare_fen: int, since_list_fen: int, now_s: int) -> bool:
    left_fen = line.limit_fen - line.outstanding_fen - since_list_fen
    return now_s < line.until_s and fare_fen <= line.per_visit_fen and fare_fen <= left_fen
