"""The only place that admits or denies."""

from __future__ import annotations

from typing import assert_never

from admission import capacity
from admission.answers import Decision, Spend
from admission.by_document import decide_document
from admission.by_subject import benefits, decide_credit_code
from admission.by_ticket import decide_ticket_code, decide_unsigned_code
from admission.capacity import CapacityFacts
from admission.clearance import judge
from admission.codes import (
    KEY_BYTES,
    Credential,
    CreditCode,
    DocumentCode,
    ExternalCode,
    Rejected,
    ShortCode,
    TicketCode,
)
from admission.facts import Direction, Facts, LaneClass, LaneTraits
from admission.policy import Policy
from admission.reasons import Reason, Verdict
from admission.tickets import Basis, Outcome, Use

NOBODY = bytes(KEY_BYTES)
"""The key under which whoever leaves without a credential is recorded."""
EXIT_KEPT_S = 2 * 86_400
"""An exit is kept for as long as it may matter to a re-entry of the same day."""


def refuse(rejected: Rejected, lane: LaneTraits, now_ms: int) -> Decision:
    """Return the decision on a payload that is no credential: nobody is kept from leaving for that."""
    if lane.direction is Direction.EXIT:
        return _leave(NOBODY, now_ms)
    return Decision(rejected.reason, detail=rejected.detail)


def _leave(key: bytes, now_ms: int) -> Decision:
    """Let somebody out, whatever they hold: nobody is locked in."""
    return Decision(Reason.EXIT, Spend(key, Basis.EXIT, now_ms // 1000 + EXIT_KEPT_S, quantity=0))


def decide(credential: Credential, facts: Facts, policy: Policy, now_ms: int) -> Decision:
    """Return the decision on `credential` at `now_ms` (UTC); the same arguments always give the same answer.

    The policy knows the facts' site: whoever puts the two together has checked that.
    """
    if facts.lane.direction is Direction.EXIT:
        return _leave(credential.key, now_ms)
    resumed = _interrupted_use(facts, policy, now_ms)
    for _, held in facts.held:
        resumed = resumed or _interrupted_use(held, policy, now_ms)
    if resumed is not None:
        return Decision(Reason.RESUMED, resumed=resumed)
    return _here_and_now(_decide_right(credential, facts, policy, now_ms), facts, policy, now_ms)


def _here_and_now(decision: Decision, facts: Facts, policy: Policy, now_ms: int) -> Decision:
    """Return `decision`, or why this lane, a full site, or a clearance stands against it."""
    if decision.spend is None:
        return decision
    behind = facts.behind(decision.spend.key)
    decision = _within_capacity(_on_its_lane(decision, behind, policy, now_ms), behind)
    return _cleared(decision, facts, policy, now_ms) if policy.clearances else decision


def _cleared(decision: Decision, facts: Facts, policy: Policy, now_ms: int) -> Decision:
    """Return `decision`, or a refusal that names what to check and never what was found."""
    if decision.spend is None:
        return decision
    now_s = now_ms // 1000
    known_s = facts.current_list.tickets_as_of_s if facts.current_list else 0
    verdict, rules = judge(policy.clearances, facts.clearances, now_s - known_s, now_s)
    if verdict is Verdict.ADMIT:
        return decision
    named = "; ".join(f"{rule.name_zh} {rule.name_en}" for rule in rules)
    return Decision(Reason.CLEARANCE if verdict is Verdict.REFER else Reason.NOT_CLEARED, detail=named)


def _decide_right(credential: Credential, facts: Facts, policy: Policy, now_ms: int) -> Decision:
    match credential:
        case TicketCode():
            return decide_ticket_code(credential, facts, policy, now_ms)
        case ExternalCode() | ShortCode():
            return decide_unsigned_code(credential, facts, policy, now_ms)
        case CreditCode():
            return decide_credit_code(credential, facts, policy, now_ms)
        case DocumentCode():
            return decide_document(credential, facts, policy, now_ms)
        case _:
            assert_never(credential)


def _on_its_lane(decision: Decision, facts: Facts, policy: Policy, now_ms: int) -> Decision:
    """Return `decision`, or where to go instead: a priority lane is for its holders, who pass anywhere."""
    if decision.spend is None or facts.lane.lane_class is not LaneClass.PRIORITY:
        return decision
    by_product = facts.product is not None and facts.product.terms.priority_lane
    if by_product or any(benefit.priority_lane for benefit in benefits(facts, policy, now_ms)):
        return decision
    return Decision(Reason.OTHER_LANE, detail=f"would be {decision.reason} at an ordinary lane")


_RESERVED = (Basis.TICKET, Basis.REENTRY)


def _within_capacity(decision: Decision, facts: Facts) -> Decision:
    """Return `decision`, or why nobody may enter on it now; whoever has no ticket has reserved nothing."""
    spend = decision.spend
    if spend is None or facts.capacity is None:
        return decision
    is_reserved = spend.basis in _RESERVED and (facts.product is None or facts.product.terms.reserved)
    full = capacity.refusal(facts.capacity, max(1, spend.quantity), reserved=is_reserved)
    return decision if full is None else Decision(full, detail=_count(facts.capacity))


def _count(known: CapacityFacts) -> str:
    return f"level {known.level.name}: {known.count.inside} inside, {known.count.today} today"


def _interrupted_use(facts: Facts, policy: Policy, now_ms: int) -> Use | None:
    """Return the use that a restart or a lost turnstile left open here a moment ago.

    The visitor may still stand before the closed barrier: the same admission goes on and nothing is spent again.
    """
    earliest_ms = now_ms - policy.resume_within_s * 1000
    for use in sorted(facts.history.uses, key=lambda use: use.at_ms, reverse=True):
        is_recent = earliest_ms <= use.at_ms <= now_ms
        if is_recent and _was_here(use, facts) and _may_go_on(facts.history.outcomes(use)):
            return use
    return None


def _was_here(use: Use, facts: Facts) -> bool:
    return use.lane_id == facts.lane_id and facts.box_id in (None, use.box_id)


def _may_go_on(outcomes: frozenset[Outcome]) -> bool:
    return Outcome.UNKNOWN in outcomes and outcomes <= {Outcome.UNKNOWN, Outcome.ABANDONED}
