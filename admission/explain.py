"""Why a credential is answered as it is: each fact and each rule that led to the decision, for people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import assert_never

import msgspec

from admission.answers import Decision
from admission.by_document import answers_on, bought
from admission.by_subject import benefits, decide_basis
from admission.by_ticket import CHECKS
from admission.codes import (
    Credential,
    CreditCode,
    DocumentCode,
    ExternalCode,
    Rejected,
    ShortCode,
    TicketCode,
)
from admission.decision import decide, refuse
from admission.entitlements import SubjectRights
from admission.facts import Facts
from admission.liveness import unless_live
from admission.policy import Policy
from admission.terms import PLAIN
from admission.ticket_terms import Asked
from admission.tickets import Product, Ticket


def explain(credential: Credential | Rejected, facts: Facts, policy: Policy, now_ms: int) -> Iterator[str]:
    """Yield the decision's facts, the rules in their order with what each says, and the decision itself."""
    yield f"at          {_local(now_ms, policy)} ({policy.timezone}), lane {facts.lane_id}, {_lane(facts)}"
    yield f"policy      {policy.version}"
    yield f"list        {_list(facts, policy)}"
    yield f"credential  {_credential(credential, policy)}"
    if isinstance(credential, Rejected):
        yield from _told(refuse(credential, facts.lane, now_ms), policy)
        return
    yield from _behind_it(facts, policy, now_ms)
    yield from _rights(facts, policy, now_ms)
    picture = unless_live(credential, facts, policy, now_ms)
    yield f"rule        live: {'no objection' if picture is None else _said(picture)}"
    yield from _rules(credential, facts, policy, now_ms)
    yield from _told(decide(credential, facts, policy, now_ms), policy)


def _behind_it(facts: Facts, policy: Policy, now_ms: int) -> Iterator[str]:
    """Yield what is known of the code itself: its key, the phone that shows it, the merchant who gave it away."""
    if facts.is_key_withdrawn:
        yield "key         withdrawn"
    if facts.shown_before is not None:
        before = facts.shown_before
        ago = "before the box started" if before.elapsed_ms is None else f"{before.elapsed_ms} ms ago"
        yield f"phone       last showed {_local(before.shown_s * 1000, policy)}, {ago}"
    if facts.merchant is not None:
        groups = ", ".join(sorted(facts.merchant.groups(now_ms // 1000))) or "no group"
        yield f"merchant    in {groups} now"


def _rights(facts: Facts, policy: Policy, now_ms: int) -> Iterator[str]:
    if facts.product is not None:
        yield f"product     {_product(facts.product)}"
    if facts.ticket is not None:
        yield f"ticket      {_ticket(facts.ticket, policy)}"
        yield from (f"counter     {name} {used}" for name, used in sorted(facts.ticket.counters.items()))
    if facts.subject is not None:
        yield from _subject(facts.subject, policy)
    for _, ticket, _ in bought(facts):
        yield f"bought      {ticket.product}: {_ticket(ticket, policy)}"
    for benefit in benefits(facts, policy, now_ms):
        yield f"benefit     {benefit.benefit_id}: {benefit.clause}"
    for use in sorted(facts.history.uses, key=lambda use: use.at_ms):
        ended = ", ".join(sorted(outcome.name for outcome in facts.history.outcomes(use))) or "open"
        where = f"{use.box_id} lane {use.lane_id}"
        yield f"use         {use.basis.name} at {_local(use.at_ms, policy)}, {where}, {ended}"
    for clearance in facts.clearances:
        until = _local(clearance.until_s * 1000, policy)
        yield f"clearance   {clearance.provider} {clearance.colour}, until {until}"
    if facts.capacity is not None:
        yield f"capacity    {facts.capacity.level.name}, {facts.capacity.count.inside} inside"


def _product(product: Product) -> str:
    terms = "plain" if product.terms == PLAIN else msgspec.json.encode(product.terms).decode()
    return f"{product.code} {product.name_zh}, at {', '.join(sorted(product.site_ids))}; terms: {terms}"


def _ticket(ticket: Ticket, policy: Policy) -> str:
    counts = f"{ticket.quantity} sold, {ticket.refunded} refunded, {ticket.used} used by the list's count"
    times = f"{_local(ticket.valid_from_s * 1000, policy)} to {_local(ticket.valid_until_s * 1000, policy)}"
    return f"{ticket.status}, {counts}; {times}"


def _subject(subject: SubjectRights, policy: Policy) -> Iterator[str]:
    for member in subject.memberships:
        yield f"group       {member.group}, until {_local(member.until_s * 1000, policy)}"
    for scope, used in subject.free_visits_used.items():
        yield f"free visits {used} used of {scope}"
    for order in subject.credit_orders:
        until = _local(order.until_s * 1000, policy)
        entries = f"{order.quantity} entries at {order.site_id}, {order.used} used"
        yield f"order       {order.order_id}: {entries}, {order.fare_fen} fen each, until {until}"
    if (line := subject.credit_line) is not None:
        amounts = (
            f"limit {line.limit_fen} fen, {line.outstanding_fen} outstanding, {line.per_visit_fen} a visit"
        )
        yield f"credit      {amounts}"


def _rules(credential: Credential, facts: Facts, policy: Policy, now_ms: int) -> Iterator[str]:
    if isinstance(credential, CreditCode):
        for basis in policy.subject_order:
            found = decide_basis(basis, credential.key, facts, policy, now_ms)
            yield f"rule        {basis.name.lower()}: {_said(found)}"
        return
    if isinstance(credential, DocumentCode):
        for basis in policy.subject_order:
            for answer in answers_on(basis, credential, facts, policy, now_ms):
                yield f"rule        {basis.name.lower()}: {_said(answer)}"
        return
    validity = _validity(credential, facts)
    if validity is None:
        return
    terms = facts.product.terms if facts.product else PLAIN
    asked = Asked(terms, *validity, facts, policy, now_ms)
    for name, check in CHECKS.items():
        objection = check(asked)
        yield f"rule        {name}: {'no objection' if objection is None else _said(objection)}"


def _validity(credential: TicketCode | ExternalCode | ShortCode, facts: Facts) -> tuple[int, int] | None:
    if facts.ticket is not None:
        return facts.ticket.valid_from_s, facts.ticket.valid_until_s
    if isinstance(credential, TicketCode):
        return credential.validity.from_s, credential.validity.until_s
    return None


def _told(decision: Decision, policy: Policy) -> Iterator[str]:
    words = decision.reason.wording
    yield f"decision    {decision.verdict} {_said(decision)}"
    if decision.spend is not None:
        spend = decision.spend
        beside = f" with {spend.companions} companions" if spend.companions else ""
        yield f"spends      {spend.quantity} of {spend.basis.name}{beside}, at risk: {spend.risk.name}"
    if decision.unspent:
        yield f"unspent     {', '.join(basis.name for basis in decision.unspent)}"
    if decision.admits_at_ms is not None:
        yield f"admits at   {_local(decision.admits_at_ms, policy)}"
    yield f"visitor     {words.zh} / {words.en}"
    yield f"staff       {words.staff_zh} / {words.staff_en}"


def _said(decision: Decision) -> str:
    return f"{decision.reason}{f' ({decision.detail})' if decision.detail else ''}"


def _lane(facts: Facts) -> str:
    lane = facts.lane
    return f"{lane.lane_class} {lane.direction} to {lane.service}"


def _list(facts: Facts, policy: Policy) -> str:
    info = facts.current_list
    if info is None:
        return "none"
    return f"version {info.version}, knows all tickets up to {_local(info.tickets_as_of_s * 1000, policy)}"


def _credential(credential: Credential | Rejected, policy: Policy) -> str:
    match credential:
        case Rejected(reason, detail):
            return f"none: {reason} ({detail})"
        case TicketCode():
            until = _local(credential.validity.until_s * 1000, policy)
            return f"signed ticket of {credential.product}, key {credential.key.hex()}, until {until}"
        case CreditCode():
            return f"credit code, key {credential.key.hex()}"
        case ExternalCode():
            return f"code of {credential.issuer}, key {credential.key.hex()}"
        case DocumentCode():
            return f"document, {credential.kind}, key {credential.key.hex()}"
        case ShortCode():
            return f"short code, key {credential.key.hex()}"
        case _:
            assert_never(credential)


def _local(at_ms: int, policy: Policy) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(policy.timezone)
    return f"{at:%Y-%m-%d %H:%M:%S}"
