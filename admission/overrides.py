"""What a member of staff may let in, and what that spends."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

from admission.answers import Decision, Spend
from admission.by_credential import decide_right
from admission.by_document import told_by
from admission.by_ticket import counting_scope, entries_left
from admission.codes import KEY_BYTES, Credential, DocumentCode, ExternalCode, Rejected, ShortCode, TicketCode
from admission.facts import Facts
from admission.obstacles import OBSTACLES, unless_obstructed
from admission.policy import Policy
from admission.reasons import Reason, Verdict
from admission.staff import Role, StaffAct
from admission.tickets import Basis, Risk

KEPT_S = 400 * 86_400
"""How long an override is kept when nothing says when its right ends: longer than any ticket is valid."""


_RIGHT_IS_GOOD = frozenset((*OBSTACLES, Reason.PROOF_NEEDED, Reason.NOT_LIVE))
"""Refusals behind which may stand a right that admits: letting the visitor in spends it."""


def may_override(reason: Reason, role: Role) -> bool:
    """Return whether a member of staff of `role` may let in whom the gate refused for `reason`."""
    needed = reason.wording.override
    return needed is not None and role >= needed


def decide_override(
    refused: Reason,
    credential: Credential | Rejected,
    facts: Facts,
    policy: Policy,
    act: StaffAct,
    now_ms: int,
    *,
    decided: frozenset[Reason] = frozenset(),
) -> Decision:
    """Return the decision to let in whom the gate refused for `refused`, or the refusal itself when `act` may not.

    A right that is good but for what staff have looked at is spent as it would have been. Whoever else was referred
    probably has a ticket: letting them in spends it, so that it cannot be spent again. Whoever was denied has none: no
    right is touched, and the override stands by itself. What stands against anybody's entry (a full site, a clearance)
    stands against an override, too, until staff decide that; `decided` names what staff decided about this visitor
    before.
    """
    if not may_override(refused, act.role):
        return Decision(refused, detail=f"role {act.role.word} may not override {refused}")
    decided |= {refused}
    found = _let_in(decided, credential, facts, policy, act, now_ms)
    if found.spend is None:
        return found
    admitted = replace(found, reason=Reason.OVERRIDDEN, act=act)
    # Whoever lets somebody in at this lane has decided that it is the right lane.
    looked_past = decided | {Reason.OTHER_LANE}
    return unless_obstructed(admitted, facts, policy, now_ms, looked_past=looked_past)


def _let_in(
    decided: frozenset[Reason],
    credential: Credential | Rejected,
    facts: Facts,
    policy: Policy,
    act: StaffAct,
    now_ms: int,
) -> Decision:
    """Return what an override spends, whatever stands against anybody's entry."""
    if isinstance(credential, Rejected):
        return _by_itself(_override_key(act), facts, now_ms)
    about_right = decided - _RIGHT_IS_GOOD
    if not about_right:
        is_proven = decided != {Reason.NOT_LIVE}
        return decide_right(credential, facts, policy, now_ms, is_proven=is_proven)
    key = credential.key
    if isinstance(credential, DocumentCode):
        key = told_by(credential, facts, policy, now_ms, about_right)
        facts = facts.behind(key)
    is_denied = any(reason.verdict is Verdict.DENY for reason in about_right)
    if is_denied or not _is_of_a_ticket(credential, facts):
        return _by_itself(key, facts, now_ms)
    return _confirmed(key, credential, facts, now_ms)


def _by_itself(key: bytes, facts: Facts, now_ms: int) -> Decision:
    keep_until_s = now_ms // 1000 + KEPT_S
    return Decision(Reason.OVERRIDDEN, Spend(key, Basis.OVERRIDE, keep_until_s, quantity=facts.persons))


def _confirmed(key: bytes, credential: Credential, facts: Facts, now_ms: int) -> Decision:
    """Spend a ticket that staff have looked up; another box may have spent it since it was referred."""
    is_unlimited = facts.product is not None and facts.product.terms.unlimited
    if not is_unlimited and entries_left(facts) < facts.persons:
        return Decision(Reason.ALREADY_USED, detail="spent since it was referred")
    until_s = _until_s(credential, facts) or now_ms // 1000 + KEPT_S
    spend = Spend(key, Basis.TICKET, until_s, counting_scope(facts), quantity=facts.persons, risk=Risk.STAFF)
    return Decision(Reason.OVERRIDDEN, spend)


def _override_key(act: StaffAct) -> bytes:
    """Return a key that no right has: what was shown was no credential."""
    return blake2b(act.refused_record.encode(), digest_size=KEY_BYTES, person=b"sg override").digest()


def _is_of_a_ticket(credential: Credential | Rejected, facts: Facts) -> bool:
    """Return whether what was shown names a ticket, itself or as one bought on a document."""
    if isinstance(credential, DocumentCode):
        return facts.ticket is not None
    return isinstance(credential, TicketCode | ExternalCode | ShortCode)


def _until_s(credential: Credential | Rejected, facts: Facts) -> int | None:
    if facts.ticket is not None:
        return facts.ticket.valid_until_s
    return credential.validity.until_s if isinstance(credential, TicketCode) else None
