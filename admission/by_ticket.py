"""Tickets: what admits on a signed ticket, a listed one, or another issuer's code."""

from __future__ import annotations

from datetime import UTC, datetime

from admission.answers import Decision, Spend
from admission.codes import ExternalCode, TicketCode
from admission.facts import Exposure, Facts
from admission.policy import Policy
from admission.reasons import Reason
from admission.tickets import Basis, History, Product, Risk, Ticket, TicketStatus
from admission.validity import outside, withdrawn


def decide_ticket_code(code: TicketCode, facts: Facts, policy: Policy, now_s: int) -> Decision:
    """Decide a signed ticket: by the list's row where there is one, else by what is signed."""
    if facts.ticket is not None:
        return _decide_listed(code.key, facts.ticket, facts, now_s)
    if facts.is_key_withdrawn:
        return withdrawn(code.key_id)
    if facts.current_list is None:
        return _decide_unlisted(code, facts, Risk.BOOTSTRAP, policy, now_s)
    if facts.product is None:
        return Decision(Reason.UNKNOWN_PRODUCT, detail=f"product {code.product}")
    if facts.site_id not in facts.product.site_ids:
        return Decision(Reason.WRONG_SITE, detail=_sites(facts.product))
    return _decide_unlisted(code, facts, Risk.UNLISTED, policy, now_s)


def decide_external_code(code: ExternalCode, facts: Facts, now_s: int) -> Decision:
    """Decide another issuer's code: only the list knows what it may do."""
    if facts.current_list is None:
        return Decision(Reason.NO_LIST)
    if facts.ticket is None:
        return Decision(Reason.UNLISTED_CODE, detail=f"issuer {code.issuer}")
    return _decide_listed(code.key, facts.ticket, facts, now_s)


def _decide_listed(key: bytes, ticket: Ticket, facts: Facts, now_s: int) -> Decision:
    """Decide a ticket that the list knows; the list's row outranks what is printed in the code."""
    if facts.product is None:
        return Decision(Reason.UNKNOWN_PRODUCT, detail=f"product {ticket.product}")
    if ticket.quantity - ticket.refunded <= 0:
        return Decision(Reason.REFUNDED)
    if ticket.status is TicketStatus.BLOCKED:
        return Decision(Reason.BLOCKED)
    if facts.site_id not in facts.product.site_ids:
        return Decision(Reason.WRONG_SITE, detail=_sites(facts.product))
    outside_of = outside(ticket.valid_from_s, ticket.valid_until_s, now_s)
    if outside_of is not None:
        return Decision(outside_of)
    used = ticket.used + facts.history.used_since_list(Basis.TICKET)
    if ticket.quantity - ticket.refunded - used <= 0:
        return Decision(Reason.ALREADY_USED, detail=_last_use(facts.history))
    return Decision(Reason.TICKET, Spend(key, Basis.TICKET, ticket.valid_until_s))


def _decide_unlisted(code: TicketCode, facts: Facts, risk: Risk, policy: Policy, now_s: int) -> Decision:
    """Decide a signed ticket that the list does not know: sold since, within the floor limit, or not genuine."""
    validity = code.validity
    outside_of = outside(validity.from_s, validity.until_s, now_s)
    if outside_of is not None:
        return Decision(outside_of)
    if facts.current_list is not None and validity.issued_s < facts.current_list.tickets_as_of_s:
        return Decision(Reason.UNLISTED_CODE, detail="issued before the list was made, yet not on it")
    if facts.history.held(Basis.TICKET) > 0:
        return Decision(Reason.ALREADY_USED, detail=_last_use(facts.history))
    if _floor_reached(risk, facts.exposure, policy):
        return Decision(Reason.UNLISTED_LIMIT)
    return Decision(Reason.UNLISTED_TICKET, Spend(code.key, Basis.TICKET, validity.until_s, risk=risk))


def _floor_reached(risk: Risk, exposure: Exposure, policy: Policy) -> bool:
    if risk is Risk.BOOTSTRAP:
        return exposure.bootstrap >= policy.offline.bootstrap_per_day
    return exposure.unlisted >= policy.offline.unlisted_per_day


def _sites(product: Product) -> str:
    return f"valid at {', '.join(sorted(product.site_ids))}"


def _last_use(history: History) -> str:
    """Return where and when the right was last used, as far as this box knows."""
    if not history.uses:
        return "used before the list was made"
    last = max(history.uses, key=lambda use: (use.at_ms, use.admission_id))
    at = datetime.fromtimestamp(last.at_ms // 1000, UTC)
    return f"used at {last.box_id}, lane {last.lane_id}, {at:%Y-%m-%d %H:%M:%S} UTC"
