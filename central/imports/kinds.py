"""The kinds of files that can be imported: their fields, what a row becomes, what must already be there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection, Table, select

from admission.clearance import Colour
from admission.codes import external_key, subject_key, ticket_key
from admission.documents import DocumentKind, document, document_key
from admission.policy import Policy
from admission.short_codes import MistypedError
from admission.tickets import TicketStatus
from central.imports.fields import (
    Field,
    FieldError,
    Times,
    choice,
    code_text,
    integer,
    public_key_field,
    terms_text,
    text,
    words,
)
from central.imports.reading import Layout, Problem, ReadRow, problem
from central.rights import Known, Record
from central.schema import (
    boxes,
    clearances,
    credit_lines,
    credit_orders,
    documents,
    memberships,
    products,
    tickets,
)
from central.sql import rows_by_key

MAX_QUANTITY = 10_000
MAX_FEN = 10**12
TOPIC_LEVEL = r"[A-Za-z0-9_.-]+"
"""What may be one level of a topic and part of a file's name."""

Check = Callable[[Connection, Sequence[ReadRow], Known], Iterator[Problem]]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file.

    `check` yields what is wrong with rows that are fine by themselves, beside the rows that are known. `combine`, if
    given, makes a record and the row that is there into what shall be there. `settles` says that uses must be judged
    again afterwards.
    """

    layout: Layout
    table: Table
    check: Check
    combine: Callable[[Record, Record], Record] | None = None
    settles: bool = False


def import_kinds(policy: Policy, hash_key: bytes, *, allow_demo_keys: bool) -> Mapping[str, Kind]:
    """Return all kinds by the name they have in the API."""
    times = Times(policy)
    sites = frozenset(policy.sites)
    return {
        "products": _products(sites),
        "tickets": _tickets(times, hash_key),
        "refunds": _refunds(hash_key),
        "statuses": _statuses(hash_key),
        "groups": _groups(times),
        "group-removals": _group_removals(),
        "credit-lines": _credit_lines(times),
        "credit-orders": _credit_orders(times, sites),
        "documents": _documents(hash_key, is_linked=True),
        "document-removals": _documents(hash_key, is_linked=False),
        "clearances": _clearances(times, hash_key, frozenset(rule.provider for rule in policy.clearances)),
        "boxes": _boxes(sites, allow_demo_keys=allow_demo_keys),
    }


def _products(sites: frozenset[str]) -> Kind:
    def record(values: Mapping[str, Any]) -> Record:
        return {**values, "site_ids": json.dumps(values["site_ids"])}

    fields = (
        Field("code", text()),
        Field("name_zh", text()),
        Field("name_en", text()),
        Field("site_ids", words(sites)),
        Field("terms", terms_text, required=False, default=""),
    )
    return Kind(Layout(fields, record, ("code",)), products, _no_check)


def _tickets(times: Times, hash_key: bytes) -> Kind:
    def record(values: Mapping[str, Any]) -> Record:
        return {
            "key": external_key(values["issuer"], values["code"], hash_key),
            "issuer": values["issuer"],
            "product": values["product"],
            "quantity": values["quantity"],
            **_window(values, "valid_from_s", "valid_until_s"),
        }

    fields = (
        Field("issuer", text()),
        Field("code", code_text),
        Field("product", text()),
        Field("quantity", integer(1, MAX_QUANTITY)),
        Field("valid_from", times.start),
        Field("valid_until", times.end),
    )
    return Kind(Layout(fields, record, ("key",)), tickets, _check_tickets, settles=True)


def _refunds(hash_key: bytes) -> Kind:
    """Refunds are cumulative: the most that was ever reported for a ticket stands."""

    def combine(record: Record, row: Record) -> Record:
        return {**record, "refunded": max(record["refunded"], row["refunded"])}

    fields = (*_TICKET_NAME, Field("refunded", integer(0, MAX_QUANTITY)))
    layout = Layout(fields, partial(_ticket_record, hash_key, "refunded"), ("key",))
    return Kind(layout, tickets, _check_refunds, combine, settles=True)


def _statuses(hash_key: bytes) -> Kind:
    fields = (*_TICKET_NAME, Field("status", choice(*TicketStatus)))
    layout = Layout(fields, partial(_ticket_record, hash_key, "status"), ("key",))
    return Kind(layout, tickets, _check_known)


def _groups(times: Times) -> Kind:
    def record(values: Mapping[str, Any]) -> Record:
        window = _window(values, "from_s", "until_s")
        return {"key": subject_key(values["subject"]), "group_id": values["group"], **window}

    fields = (
        Field("subject", text()),
        Field("group", text()),
        Field("valid_from", times.start),
        Field("valid_until", times.end),
    )
    return Kind(Layout(fields, record, ("key", "group_id")), memberships, _no_check)


def _group_removals() -> Kind:
    """Take subjects out of groups: their rows stay and cover no time, so that every box hears of it."""

    def record(values: Mapping[str, Any]) -> Record:
        key = subject_key(values["subject"])
        return {"key": key, "group_id": values["group"], "from_s": 0, "until_s": 0}

    fields = (Field("subject", text()), Field("group", text()))
    return Kind(Layout(fields, record, ("key", "group_id")), memberships, _check_member)


def _credit_lines(times: Times) -> Kind:
    def record(values: Mapping[str, Any]) -> Record:
        return {
            "key": subject_key(values["subject"]),
            "limit_fen": values["limit_fen"],
            "per_visit_fen": values["per_visit_fen"],
            "until_s": values["valid_until"],
        }

    fields = (
        Field("subject", text()),
        Field("limit_fen", integer(0, MAX_FEN)),
        Field("per_visit_fen", integer(0, MAX_FEN)),
        Field("valid_until", times.end),
    )
    return Kind(Layout(fields, record, ("key",)), credit_lines, _no_check, settles=True)


def _credit_orders(times: Times, sites: frozenset[str]) -> Kind:
    """Visits that were authorised; a quantity of 0 cancels one."""

    def record(values: Mapping[str, Any]) -> Record:
        return {
            "key": subject_key(values["subject"]),
            "order_id": values["order"],
            "site_id": values["site_id"],
            "fare_fen": values["fare_fen"],
            "quantity": values["quantity"],
            **_window(values, "from_s", "until_s"),
        }

    fields = (
        Field("subject", text()),
        Field("order", text()),
        Field("site_id", choice(*sorted(sites))),
        Field("fare_fen", integer(0, MAX_FEN)),
        Field("quantity", integer(0, MAX_QUANTITY)),
        Field("valid_from", times.start),
        Field("valid_until", times.end),
    )
    return Kind(Layout(fields, record, ("key", "order_id")), credit_orders, _no_check, settles=True)


def _documents(hash_key: bytes, *, is_linked: bool) -> Kind:
    """Say whose documents are, or what was bought on them; what is taken back stays, for every box to hear of it."""

    def record(values: Mapping[str, Any]) -> Record:
        key = _document_key(values, hash_key)
        if bool(values["subject"]) == bool(values["code"]):
            raise FieldError("name a subject, or a ticket by its code: one of them", "subject")
        holder = subject_key(values["subject"]) if values["subject"] else _named_ticket(values, hash_key)
        return {"key": key, "holder": holder, "is_ticket": not values["subject"], "is_linked": is_linked}

    fields = (
        Field("document_type", choice(*DocumentKind)),
        Field("document_number", text(), is_secret=True),
        Field("subject", text(), required=False, default=""),
        Field("issuer", text(), required=False, default=""),
        Field("code", code_text, required=False, default=""),
    )
    check = _check_holders if is_linked else _check_linked
    return Kind(Layout(fields, record, ("key", "holder")), documents, check)


def _clearances(times: Times, hash_key: bytes, providers: frozenset[str]) -> Kind:
    """Take in what a provider has found; with clearance off there is no provider that a row could name."""

    def record(values: Mapping[str, Any]) -> Record:
        holders = [name for name in ("subject", "document_number", "code") if values[name]]
        if len(holders) != 1:
            raise FieldError("name a subject, a document, or a ticket by its code: one of them", "subject")
        return {
            "key": _holder(values, hash_key),
            "provider": values["provider"],
            "colour": values["colour"],
            "until_s": values["valid_until"],
        }

    fields = (
        Field("provider", choice(*sorted(providers)) if providers else _clearance_is_off),
        Field("colour", choice(*Colour)),
        Field("valid_until", times.end),
        Field("subject", text(), required=False, default=""),
        Field("document_type", choice(*DocumentKind), required=False, default=DocumentKind.RESIDENT_ID),
        Field("document_number", text(), required=False, default="", is_secret=True),
        Field("issuer", text(), required=False, default=""),
        Field("code", code_text, required=False, default=""),
    )
    return Kind(Layout(fields, record, ("key", "provider")), clearances, _no_check)


def _clearance_is_off(_raw: Any) -> str:
    raise FieldError("clearance is off: the policy asks for none")


def _holder(values: Mapping[str, Any], hash_key: bytes) -> bytes:
    """Return the key of the subject, the document or the ticket that the row names."""
    if values["subject"]:
        return subject_key(values["subject"])
    return _document_key(values, hash_key) if values["document_number"] else _named_ticket(values, hash_key)


def _document_key(values: Mapping[str, Any], hash_key: bytes) -> bytes:
    try:
        read = document(DocumentKind(values["document_type"]), values["document_number"])
    except MistypedError as error:
        raise FieldError(str(error), "document_number") from error
    return document_key(read, hash_key)


def _boxes(sites: frozenset[str], *, allow_demo_keys: bool) -> Kind:
    fields = (
        Field("box_id", text(pattern=TOPIC_LEVEL)),
        Field("site_id", choice(*sorted(sites))),
        Field("public_key", public_key_field(allow_demo_keys)),
    )
    return Kind(Layout(fields, dict, ("box_id",)), boxes, _no_check)


_TICKET_NAME = (Field("issuer", text(), required=False, default=""), Field("code", code_text))
"""Another issuer's ticket by issuer and code; one of this centre by its ticket id in hex and no issuer."""


def _ticket_record(hash_key: bytes, column: str, values: Mapping[str, Any]) -> Record:
    return {"key": _named_ticket(values, hash_key), column: values[column]}


def _named_ticket(values: Mapping[str, Any], hash_key: bytes) -> bytes:
    if values["issuer"]:
        return external_key(values["issuer"], values["code"], hash_key)
    try:
        return ticket_key(bytes.fromhex(values["code"]))
    except ValueError:
        raise FieldError("not a ticket id in hex, and no issuer is named", "code") from None


def _window(values: Mapping[str, Any], start: str, end: str) -> Record:
    if values["valid_from"] >= values["valid_until"]:
        raise FieldError("not after valid_from", "valid_until")
    return {start: values["valid_from"], end: values["valid_until"]}


def _no_check(_connection: Connection, _rows: Sequence[ReadRow], _known: Known) -> Iterator[Problem]:
    return iter(())


def _check_tickets(connection: Connection, rows: Sequence[ReadRow], known: Known) -> Iterator[Problem]:
    known_products = set(connection.scalars(select(products.c.code)))
    for row in rows:
        if row.record["product"] not in known_products:
            yield problem(row, "product", "no such product")
        ticket = known.get((row.record["key"],))
        if ticket is not None and row.record["quantity"] < ticket["refunded"]:
            yield problem(row, "quantity", f"less than the {ticket['refunded']} refunded already")


def _check_known(_connection: Connection, rows: Sequence[ReadRow], known: Known) -> Iterator[Problem]:
    unknown = (row for row in rows if (row.record["key"],) not in known)
    return (problem(row, "code", "no such ticket") for row in unknown)


def _check_holders(connection: Connection, rows: Sequence[ReadRow], _known: Known) -> Iterator[Problem]:
    wanted = sorted({row.record["holder"] for row in rows if row.record["is_ticket"]})
    sold = {row.key for row in rows_by_key(connection, tickets.c.key, wanted, tickets.c.key)}
    for row in rows:
        if row.record["is_ticket"] and row.record["holder"] not in sold:
            yield problem(row, "code", "no such ticket")


def _check_linked(_connection: Connection, rows: Sequence[ReadRow], known: Known) -> Iterator[Problem]:
    unknown = (row for row in rows if (row.record["key"], row.record["holder"]) not in known)
    return (problem(row, "document_type", "the document is not known as theirs") for row in unknown)


def _check_member(_connection: Connection, rows: Sequence[ReadRow], known: Known) -> Iterator[Problem]:
    unknown = (row for row in rows if (row.record["key"], row.record["group_id"]) not in known)
    return (problem(row, "group", "the subject is not in it") for row in unknown)


def _check_refunds(connection: Connection, rows: Sequence[ReadRow], known: Known) -> Iterator[Problem]:
    yield from _check_known(connection, rows, known)
    for row in rows:
        ticket = known.get((row.record["key"],))
        if ticket is not None and row.record["refunded"] > ticket["quantity"]:
            yield problem(row, "refunded", f"more than the ticket's quantity of {ticket['quantity']}")
