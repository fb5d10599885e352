"""Documents: the tickets that were bought on one, entry that is free by age, and what its holder is entitled to."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from admission.answers import Decision, Spend
from admission.by_subject import decide_basis, first_fitting
from admission.by_ticket import decide_listed
from admission.codes import DocumentCode
from admission.documents import age_on
from admission.facts import Facts
from admission.policy import AgeVisit, Policy
from admission.reasons import Reason
from admission.tickets import Basis, Ticket


def decide_document(
    code: DocumentCode, facts: Facts, policy: Policy, now_ms: int, *, is_proven: bool = False
) -> Decision:
    """Spend the first right, in the policy's order, that the holder of the document has here and now.

    Free entry by age needs no list; without one nothing else is known of anybody. `is_proven` as for a subject.
    """
    answers = [
        answer
        for basis in policy.subject_order
        for answer in answers_on(basis, code, facts, policy, now_ms, is_proven=is_proven)
    ]
    if facts.current_list is None and not any(answer.spend for answer in answers):
        return Decision(Reason.NO_LIST)
    return first_fitting(answers)


def answers_on(
    basis: Basis, code: DocumentCode, facts: Facts, policy: Policy, now_ms: int, *, is_proven: bool = False
) -> Iterator[Decision]:
    """Yield what rights of one kind give the document's holder: one answer for each ticket, one for another right."""
    if basis is Basis.TICKET:
        for key, ticket, held in bought(facts):
            yield decide_listed(key, ticket, held, policy, now_ms, is_proven=is_proven)
    elif basis is Basis.STATUTORY:
        yield _decide_by_age(code, facts, policy, now_ms)
    else:
        yield decide_basis(basis, facts.subject_key, facts, policy, now_ms, is_proven=is_proven)


def told_by(
    code: DocumentCode, facts: Facts, policy: Policy, now_ms: int, refused: AbstractSet[Reason]
) -> bytes:
    """Return the key of the held ticket that is refused for one of `refused`, or the document's own."""
    told = (
        key
        for key, ticket, held in bought(facts)
        if decide_listed(key, ticket, held, policy, now_ms).reason in refused
    )
    return next(told, code.key)


def bought(facts: Facts) -> list[tuple[bytes, Ticket, Facts]]:
    """Return the tickets that were bought on the document, each with its key and its facts."""
    return [(key, held.ticket, held) for key, held in facts.held if held.ticket is not None]


def _decide_by_age(code: DocumentCode, facts: Facts, policy: Policy, now_ms: int) -> Decision:
    """Let in whom the law lets in free by age; how often on one day is counted over all that it says."""
    if code.born is None:
        return Decision(Reason.NO_ENTITLEMENT)
    if facts.persons > 1:
        return Decision(Reason.FEWER_LEFT, detail="a document lets in its holder alone")
    site, day = policy.sites[facts.site_id], policy.local_date(now_ms)
    age, above = age_on(day, code.born), policy.above(site)
    today = facts.history.held(Basis.STATUTORY, site.site_id, since_ms=policy.day_start_ms(now_ms))
    fitting = [rule for rule in policy.age_visits if rule.ages.has(age) and rule.applies(site, day, above)]
    for rule in fitting:
        if rule.per_day is None or today < rule.per_day:
            return _free(rule, code.key, site.site_id, policy, now_ms)
    if fitting:
        return Decision(Reason.DAY_LIMIT, admits_at_ms=policy.day_end_s(day) * 1000)
    return Decision(Reason.NO_ENTITLEMENT)


def _free(rule: AgeVisit, key: bytes, site_id: str, policy: Policy, now_ms: int) -> Decision:
    keep_until_s = policy.day_end_s(policy.local_date(now_ms))
    return Decision(
        Reason.STATUTORY_FREE,
        Spend(key, Basis.STATUTORY, keep_until_s, scope=site_id),
        detail=f"{policy.version}, {rule.rule_id}: {rule.clause}",
        granted_by=rule.rule_id,
    )
