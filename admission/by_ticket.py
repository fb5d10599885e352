"""Tickets: what admits on a signed ticket, a listed one, another issuer's code, or a short code."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from admission.answers import Decision, Spend
from admission.codes import ExternalCode, ShortCode, TicketCode
from admission.facts import ADMISSION, Facts
from admission.policy import Policy
from admission.reasons import Reason
from admission.terms import PLAIN
from admission.ticket_terms import (
    Asked,
    Check,
    check_calendar,
    check_counters,
    check_merchant,
    check_passback,
    check_proof,
    check_rule,
    check_service,
    check_validity,
    first_refusal,
    reenters,
)
from admission.tickets import Basis, History, Product, Risk, Ticket, TicketStatus
from admission.validity import withdrawn


def decide_ticket_code(
    code: TicketCode, facts: Facts, policy: Policy, now_ms: int, *, is_proven: bool = False
) -> Decision:
    """Decide a signed ticket: by the list's row where there is one, else by what is signed."""
    if facts.ticket is not None:
        return decide_listed(code.key, facts.ticket, facts, policy, now_ms, is_proven=is_proven)
    if facts.is_key_withdrawn:
        return withdrawn(code.key_id)
    if facts.current_list is None and code.merchant:
        return Decision(Reason.NO_LIST, detail="nothing is known of the voucher's merchant")
    if facts.current_list is None:
        return _decide_unlisted(code, facts, Risk.BOOTSTRAP, policy, now_ms, is_proven)
    if facts.product is None:
        return Decision(Reason.UNKNOWN_PRODUCT, detail=f"product {code.product}")
    if facts.site_id not in facts.product.site_ids:
        return Decision(Reason.WRONG_SITE, detail=_sites(facts.product))
    return _decide_unlisted(code, facts, Risk.UNLISTED, policy, now_ms, is_proven)


def decide_unsigned_code(
    code: ExternalCode | ShortCode, facts: Facts, policy: Policy, now_ms: int, *, is_proven: bool = False
) -> Decision:
    """Decide another issuer's code, or a short code: only the list knows what it may do."""
    if facts.current_list is None:
        return Decision(Reason.NO_LIST)
    if facts.ticket is None:
        whose = f"issuer {code.issuer}" if isinstance(code, ExternalCode) else "a short code"
        return Decision(Reason.UNLISTED_CODE, detail=whose)
    return decide_listed(code.key, facts.ticket, facts, policy, now_ms, is_proven=is_proven)


_STATUSES = {
    TicketStatus.UNPAID: Reason.UNPAID,
    TicketStatus.BLOCKED: Reason.BLOCKED,
    TicketStatus.REVOKED: Reason.REVOKED,
}
_BEFORE_ENTRIES = (check_service, check_validity, check_calendar, check_passback, check_rule)
_AFTER_ENTRIES = (check_merchant, check_proof)
CHECKS: Mapping[str, Check] = {
    check.__name__.removeprefix("check_"): check
    for check in (*_BEFORE_ENTRIES, check_counters, *_AFTER_ENTRIES)
}
"""The rules of a product's terms in the order in which they are asked, by name."""


def decide_listed(
    key: bytes, ticket: Ticket, facts: Facts, policy: Policy, now_ms: int, *, is_proven: bool = False
) -> Decision:
    """Decide a ticket that the list knows; the list's row outranks what is printed in the code.

    `is_proven` says that a member of staff has looked at whatever proof its product asks for.
    """
    if facts.product is None:
        return Decision(Reason.UNKNOWN_PRODUCT, detail=f"product {ticket.product}")
    if ticket.quantity - ticket.refunded <= 0:
        return Decision(Reason.REFUNDED)
    if ticket.status in _STATUSES:
        return Decision(_STATUSES[ticket.status])
    if facts.site_id not in facts.product.site_ids:
        return Decision(Reason.WRONG_SITE, detail=_sites(facts.product))
    asked = Asked(
        facts.product.terms, ticket.valid_from_s, ticket.valid_until_s, facts, policy, now_ms, is_proven
    )
    refused = first_refusal(_BEFORE_ENTRIES, asked)
    if refused is not None:
        return refused
    if reenters(asked):
        return _back(key, asked)
    refused = check_counters(asked)
    if refused is None and not asked.terms.unlimited:
        refused = _too_few(entries_left(facts), facts)
    refused = refused or first_refusal(_AFTER_ENTRIES, asked)
    return refused or Decision(
        Reason.TICKET,
        Spend(key, Basis.TICKET, asked.held_until_s, counting_scope(facts), facts.persons),
        followers=max(0, entries_left(facts) - facts.persons) if asked.terms.continuous else 0,
    )


def counting_scope(facts: Facts) -> str:
    """Return under which name an entry is counted: the service behind the lane, empty for the site itself."""
    service = facts.lane.service
    return "" if service == ADMISSION else service


def entries_left(facts: Facts) -> int:
    """Return the entries that are left of a ticket to what lies behind the lane; an unlisted one is for one person."""
    ticket, history, scope = facts.ticket, facts.history, counting_scope(facts)
    terms = facts.product.terms if facts.product else PLAIN
    each = terms.services.get(facts.lane.service, 1)
    if ticket is None:
        return each - history.held(Basis.TICKET, scope)
    used = ticket.counters.get(f"service:{scope}", 0) if scope else ticket.used
    return (ticket.quantity - ticket.refunded) * each - used - history.used_since_list(Basis.TICKET, scope)


def _back(key: bytes, asked: Asked) -> Decision:
    return Decision(Reason.REENTRY, Spend(key, Basis.REENTRY, asked.held_until_s, quantity=0))


def _decide_unlisted(
    code: TicketCode, facts: Facts, risk: Risk, policy: Policy, now_ms: int, is_proven: bool
) -> Decision:
    """Decide a signed ticket that the list does not know: sold since, within the floor limit, or not genuine."""
    validity = code.validity
    terms = facts.product.terms if facts.product else PLAIN
    asked = Asked(terms, validity.from_s, validity.until_s, facts, policy, now_ms, is_proven)
    refused = first_refusal(_BEFORE_ENTRIES, asked)
    if refused is not None:
        return refused
    if facts.current_list is not None and validity.issued_s < facts.current_list.tickets_as_of_s:
        return Decision(Reason.UNLISTED_CODE, detail="issued before the list was made, yet not on it")
    if reenters(asked):
        return _back(code.key, asked)
    refused = check_counters(asked)
    if refused is None and not terms.unlimited:
        refused = _too_few(entries_left(facts), facts)
    refused = refused or first_refusal(_AFTER_ENTRIES, asked)
    if refused is not None:
        return refused
    if _floor_reached(risk, facts, policy):
        return Decision(Reason.UNLISTED_LIMIT)
    return Decision(
        Reason.UNLISTED_TICKET,
        Spend(code.key, Basis.TICKET, asked.held_until_s, counting_scope(facts), facts.persons, risk=risk),
    )


def _too_few(left: int, facts: Facts) -> Decision | None:
    """Refuse when fewer entries are left than persons want to come in."""
    if left >= facts.persons:
        return None
    if left <= 0:
        return Decision(Reason.ALREADY_USED, detail=_last_use(facts.history))
    return Decision(Reason.FEWER_LEFT, detail=f"{left} left for {facts.persons} persons")


def _floor_reached(risk: Risk, facts: Facts, policy: Policy) -> bool:
    exposure, limits = facts.exposure, policy.offline
    if risk is Risk.BOOTSTRAP:
        return exposure.bootstrap + facts.persons > limits.bootstrap_per_day
    return exposure.unlisted + facts.persons > limits.unlisted_per_day


def _sites(product: Product) -> str:
    return f"valid at {', '.join(sorted(product.site_ids))}"


def _last_use(history: History) -> str:
    """Return where and when the right was last used, as far as this box knows."""
    if not history.uses:
        return "used before the list was made"
    last = max(history.uses, key=lambda use: (use.at_ms, use.admission_id))
    at = datetime.fromtimestamp(last.at_ms // 1000, UTC)
    return f"used at {last.box_id}, lane {last.lane_id}, {at:%Y-%m-%d %H:%M:%S} UTC"
