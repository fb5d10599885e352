"""Whether a holder's code is shown by its holder's phone now, or is a picture of it."""

from __future__ import annotations

from admission.answers import Decision
from admission.codes import Credential, CreditCode, ExternalCode, ShortCode, TicketCode
from admission.facts import Facts
from admission.holders import ShownBefore
from admission.policy import LiveCodes, Policy
from admission.reasons import Reason


def unless_live(credential: Credential, facts: Facts, policy: Policy, now_ms: int) -> Decision | None:
    """Return why a code that has to be live is not, or None.

    A phone whose clock is right shows a time near the box's, and later than the last. One whose clock is off proves
    itself with two codes that advance as the box's own monotonic clock does. A group shows it once.
    """
    if facts.is_follower:
        return None
    showing = credential.showing if isinstance(credential, TicketCode | CreditCode) else None
    if showing is None:
        return _refused("not bound to a phone") if _has_to_be_live(credential, facts, policy) else None
    if showing.shown_s is None:
        return _refused("without the phone's signature")
    before = facts.shown_before
    if before is not None and showing.shown_s <= before.shown_s:
        return _refused("no newer than the last one shown")
    off_s = showing.shown_s - now_ms // 1000
    if abs(off_s) <= policy.live_codes.within_s:
        return None
    if abs(off_s) <= policy.live_codes.max_drift_s and _advances(showing.shown_s, before, policy.live_codes):
        return None
    return _refused(f"made {abs(off_s)} s {'after' if off_s > 0 else 'before'} the box's time")


def _has_to_be_live(credential: Credential, facts: Facts, policy: Policy) -> bool:
    """Whether a code without a holder is refused; a document says who its holder is, and may be shown as it is."""
    if isinstance(credential, CreditCode):
        return policy.live_codes.credit
    is_of_a_ticket = isinstance(credential, TicketCode | ShortCode | ExternalCode)
    return is_of_a_ticket and facts.product is not None and facts.product.terms.live


def _advances(shown_s: int, before: ShownBefore | None, rules: LiveCodes) -> bool:
    """Whether the phone's time went on as the box's did since it last showed a code."""
    if before is None or before.elapsed_ms is None:
        return False
    apart_ms = (shown_s - before.shown_s) * 1000 - before.elapsed_ms
    return abs(apart_ms) <= rules.renewed_s * 2000


def _refused(why: str) -> Decision:
    return Decision(Reason.NOT_LIVE, detail=why)
