"""The only place that admits or denies."""

from __future__ import annotations

from admission.answers import Decision, Spend
from admission.by_credential import decide_right
from admission.codes import KEY_BYTES, Credential, Rejected
from admission.facts import Direction, Facts, LaneTraits
from admission.liveness import unless_live
from admission.obstacles import unless_obstructed
from admission.policy import Policy
from admission.reasons import Reason
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
    picture = unless_live(credential, facts, policy, now_ms)
    right = picture or decide_right(credential, facts, policy, now_ms)
    if right.reason in _ENDS_WITH_TIME and not facts.is_time_sure:
        return Decision(Reason.CLOCK_UNSURE, detail=f"{right.reason}: {right.detail}".rstrip(": "))
    return unless_obstructed(right, facts, policy, now_ms)


_ENDS_WITH_TIME = (Reason.TOO_EARLY, Reason.NOT_NOW, Reason.NOT_TODAY, Reason.DAY_LIMIT)
"""Refusals that may be over already when it is later than the box knows."""


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
