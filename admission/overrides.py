"""What a member of staff may let in, and what that spends."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

from admission.answers import Decision, Spend
from admission.by_document import decide_document, told_by
from admission.by_subject import decide_credit_code
from admission.by_ticket import decide_listed
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
from admission.facts import Facts
from admission.policy import Policy
from admission.reasons import Reason, Verdict
from admission.staff import Role, StaffAct
from admission.tickets import Basis, Risk

KEPT_S = 400 * 86_400
"""How long an override is kept when nothing says when its right ends: longer than any ticket is valid."""


_PROVABLE = (Reason.PROOF_NEEDED, Reason.CLEARANCE)
"""What a member of staff has looked at: the right that was refused for want of it is spent."""


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
) -> Decision:
    """Return the decision to let in whom the gate refused for `refused`, or the refusal itself when `act` may not.

    Whoever was referred probably has the right: letting them in spends it, so that it cannot be spent again. Whoever
    was denied has none: no right is touched, and the override stands by itself. A subject whose proof was seen spends
    what asked for it.
    """
    if not may_override(refused, act.role):
        return Decision(refused, detail=f"role {act.role.word} may not override {refused}")
    if refused in _PROVABLE and isinstance(credential, CreditCode):
        return _proven(decide_credit_code(credential, facts, policy, now_ms, is_proven=True), act)
    if refused in _PROVABLE and isinstance(credential, DocumentCode):
        return _proven(decide_document(credential, facts, policy, now_ms, is_proven=True), act)
    if refused is Reason.CLEARANCE and facts.ticket is not None and not isinstance(credential, Rejected):
        # The ticket itself was good: it is spent as it would have been, a re-entry and a service included.
        return _proven(
            decide_listed(credential.key, facts.ticket, facts, policy, now_ms, is_proven=True), act
        )
    key = credential.key if not isinstance(credential, Rejected) else _override_key(act)
    if isinstance(credential, DocumentCode):
        key = told_by(credential, facts, policy, now_ms, refused)
        facts = facts.behind(key)
    keep_until_s = now_ms // 1000 + KEPT_S
    if refused.verdict is not Verdict.REFER or not _is_of_a_ticket(credential, facts):
        return _admitted(Spend(key, Basis.OVERRIDE, keep_until_s, quantity=facts.persons), act)
    if _is_spent(facts):
        return Decision(Reason.ALREADY_USED, detail="spent since it was referred")
    until_s = _until_s(credential, facts)
    spend = Spend(key, Basis.TICKET, until_s or keep_until_s, quantity=facts.persons, risk=Risk.STAFF)
    return _admitted(spend, act)


def _proven(found: Decision, act: StaffAct) -> Decision:
    """Return what the right gives now that its proof was seen; another box may have spent it meanwhile."""
    if found.spend is None:
        return found
    return replace(found, reason=Reason.OVERRIDDEN, act=act)


def _admitted(spend: Spend, act: StaffAct) -> Decision:
    return Decision(Reason.OVERRIDDEN, spend, act=act)


def _override_key(act: StaffAct) -> bytes:
    """Return a key that no right has: what was shown was no credential."""
    return blake2b(act.refused_record.encode(), digest_size=KEY_BYTES, person=b"sg override").digest()


def _is_of_a_ticket(credential: Credential | Rejected, facts: Facts) -> bool:
    """Return whether what was shown names a ticket, itself or as one bought on a document."""
    if isinstance(credential, DocumentCode):
        return facts.ticket is not None
    return isinstance(credential, TicketCode | ExternalCode | ShortCode)


def _is_spent(facts: Facts) -> bool:
    if facts.ticket is None:
        return facts.history.held(Basis.TICKET) > 0
    used = facts.ticket.used + facts.history.used_since_list(Basis.TICKET)
    return facts.ticket.quantity - facts.ticket.refunded - used < facts.persons


def _until_s(credential: Credential | Rejected, facts: Facts) -> int | None:
    if facts.ticket is not None:
        return facts.ticket.valid_until_s
    return credential.validity.until_s if isinstance(credential, TicketCode) else None
