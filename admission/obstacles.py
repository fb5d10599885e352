"""What stands against an entry whose right is good: the lane, a full site, a clearance."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from admission import capacity
from admission.answers import Decision
from admission.by_subject import benefits
from admission.capacity import CapacityFacts
from admission.clearance import judge
from admission.facts import Facts, LaneClass
from admission.policy import Policy
from admission.reasons import Reason, Verdict
from admission.tickets import Basis

OBSTACLES = (
    Reason.OTHER_LANE,
    Reason.RESERVED_ONLY,
    Reason.CAPACITY_REACHED,
    Reason.CLEARANCE,
    Reason.NOT_CLEARED,
)
"""Why an entry is refused though its right is good, in the order in which it is asked."""
_RESERVED = (Basis.TICKET, Basis.REENTRY)
_NOTHING: frozenset[Reason] = frozenset()


def unless_obstructed(
    decision: Decision,
    facts: Facts,
    policy: Policy,
    now_ms: int,
    *,
    looked_past: AbstractSet[Reason] = _NOTHING,
) -> Decision:
    """Return `decision`, or why this lane, a full site, or a clearance stands against what it admits.

    `looked_past` names what a member of staff has decided already.
    """
    if decision.spend is None:
        return decision
    behind = facts.behind(decision.spend.key)
    decision = _on_its_lane(decision, behind, policy, now_ms, looked_past)
    decision = _within_capacity(decision, behind, looked_past)
    return _cleared(decision, facts, policy, now_ms, looked_past) if policy.clearances else decision


def _on_its_lane(
    decision: Decision, facts: Facts, policy: Policy, now_ms: int, looked_past: AbstractSet[Reason]
) -> Decision:
    """Return `decision`, or where to go instead: a priority lane is for its holders, who pass anywhere."""
    if facts.lane.lane_class is not LaneClass.PRIORITY or Reason.OTHER_LANE in looked_past:
        return decision
    by_product = facts.product is not None and facts.product.terms.priority_lane
    if by_product or any(benefit.priority_lane for benefit in benefits(facts, policy, now_ms)):
        return decision
    return Decision(Reason.OTHER_LANE, detail=f"would be {decision.reason} at an ordinary lane")


def _within_capacity(decision: Decision, facts: Facts, looked_past: AbstractSet[Reason]) -> Decision:
    """Return `decision`, or why nobody may enter on it now; whoever has no ticket has reserved nothing."""
    spend = decision.spend
    if spend is None or facts.capacity is None:
        return decision
    is_reserved = Reason.RESERVED_ONLY in looked_past or (
        spend.basis in _RESERVED and (facts.product is None or facts.product.terms.reserved)
    )
    full = capacity.refusal(facts.capacity, spend.persons, reserved=is_reserved)
    return decision if full is None else Decision(full, detail=_count(facts.capacity))


def _count(known: CapacityFacts) -> str:
    return f"level {known.level.name}: {known.count.inside} inside, {known.count.today} today"


def _cleared(
    decision: Decision, facts: Facts, policy: Policy, now_ms: int, looked_past: AbstractSet[Reason]
) -> Decision:
    """Return `decision`, or a refusal that names what to check and never what was found."""
    if decision.spend is None:
        return decision
    now_s = now_ms // 1000
    known_s = facts.current_list.tickets_as_of_s if facts.current_list else 0
    verdict, rules = judge(policy.clearances, facts.clearances, now_s - known_s, now_s)
    if verdict is Verdict.ADMIT:
        return decision
    found = Reason.CLEARANCE if verdict is Verdict.REFER else Reason.NOT_CLEARED
    if found in looked_past:
        return decision
    return Decision(found, detail="; ".join(f"{rule.name_zh} {rule.name_en}" for rule in rules))
