"""What the centre knows, counted: by site and box, and in all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, case, func, literal, select

from admission.events import MAX_NUMBER
from admission.policy import Policy
from admission.reasons import Reason
from admission.tickets import Basis, Risk
from central.counting import HELD, WENT_THROUGH
from central.publishing import NEWEST_LISTS
from central.schema import (
    boxes,
    charges,
    conflicts,
    diary,
    fold_positions,
    forks,
    incidents,
    ledger,
    presence,
    rejections,
    resumptions,
    set_aside,
    tickets,
    uses,
)

_REASONS = {
    (Basis.TICKET, Risk.NONE): Reason.TICKET,
    (Basis.TICKET, Risk.UNLISTED): Reason.UNLISTED_TICKET,
    (Basis.TICKET, Risk.BOOTSTRAP): Reason.UNLISTED_TICKET,
    (Basis.TICKET, Risk.STAFF): Reason.OVERRIDDEN,
}
_REASON_OF_BASIS = {
    Basis.TICKET: Reason.TICKET,
    Basis.FREE_VISIT: Reason.FREE_VISIT,
    Basis.CREDIT_LINE: Reason.CREDIT_LINE,
    Basis.STATUTORY: Reason.STATUTORY_FREE,
    Basis.CREDIT_ORDER: Reason.CREDIT_ORDER,
    Basis.EXIT: Reason.EXIT,
    Basis.REENTRY: Reason.REENTRY,
    Basis.OVERRIDE: Reason.OVERRIDDEN,
}


def admission_reason(basis: int, risk: int) -> Reason:
    """Return the reason with which a gate admits on a basis at a risk."""
    return _REASONS.get((Basis(basis), Risk(risk)), _REASON_OF_BASIS[Basis(basis)])


def summary(connection: Connection, policy: Policy, now_ms: int, since_ms: int = 0) -> dict[str, Any]:
    """Return all counts, ready to be made JSON; of uses, refusals, conflicts and charges those since a time."""
    by_box = _box_counts(connection, since_ms)
    found = [_described(dict(box), by_box[box["box_id"]]) for box in connection.execute(_BOXES).mappings()]
    return {
        "at_ms": now_ms,
        "since_ms": since_ms,
        "timezone": str(policy.timezone),
        "tickets": _ticket_counts(connection),
        "totals": _totals(found),
        "conflicts": _conflicts(connection, since_ms),
        "charges": _charges(connection, since_ms),
        "sites": _sites(connection, policy),
        "boxes": found,
        "rejections": [dict(row) for row in connection.execute(select(rejections)).mappings()],
    }


def _newest(column: Any, box_column: Any) -> Any:
    return func.coalesce(select(func.max(column)).where(box_column == boxes.c.box_id).scalar_subquery(), 0)


_BOXES = (
    select(
        boxes.c.box_id,
        boxes.c.site_id,
        boxes.c.barred_s,
        presence.c.online,
        presence.c.received_ms.label("last_seen_ms"),
        presence.c.health,
        _newest(ledger.c.seq_no, ledger.c.box_id).label("events_received"),
        func.coalesce(fold_positions.c.seq_no, 0).label("events_folded"),
        _newest(diary.c.number, diary.c.box_id).label("diary_number"),
    )
    .join_from(boxes, presence, presence.c.box_id == boxes.c.box_id, isouter=True)
    .join(fold_positions, fold_positions.c.box_id == boxes.c.box_id, isouter=True)
    .order_by(boxes.c.site_id, boxes.c.box_id)
)


def _box_counts(connection: Connection, since_ms: int) -> Mapping[str, dict[str, Counter[str]]]:
    """Return, by box, counters under the names of the summary."""
    counts: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for row in connection.execute(_since(_USES, uses.c.at_ms, since_ms)):
        box = counts[row.box_id]
        box["admitted"][admission_reason(row.basis, row.risk)] += row.admitted
        box["uses"].update({"held": row.held, "passages": row.passages})
    queries = {"refused": _since(_REFUSALS, diary.c.at_ms, since_ms), **_GROUPED}
    for name, query in queries.items():
        for box_id, what, number in connection.execute(query):
            counts[box_id][name][what] += number
    return counts


_USES = select(
    uses.c.box_id,
    uses.c.basis,
    uses.c.risk,
    func.count().label("admitted"),
    func.sum(case((HELD, 1), else_=0)).label("held"),
    func.sum(case((WENT_THROUGH, 1), else_=0)).label("passages"),
).group_by(uses.c.box_id, uses.c.basis, uses.c.risk)


def _since(query: Select[Any], at_ms: Any, since_ms: int) -> Select[Any]:
    """Leave out what was earlier; with both ends SQLite takes the index by time, and not the one to group by."""
    return query.where(at_ms.between(since_ms, MAX_NUMBER)) if since_ms else query


def _count_by(box_column: Any, what: Any) -> Select[Any]:
    return select(box_column, what, func.count()).group_by(box_column, what)


_REFUSALS = _count_by(diary.c.box_id, diary.c.reason)
_GROUPED = {
    "set_aside": _count_by(set_aside.c.box_id, set_aside.c.stream),
    "incidents": _count_by(incidents.c.box_id, incidents.c.kind),
    "resumed": select(resumptions.c.box_id, literal("resumed"), func.count()).group_by(resumptions.c.box_id),
    "forks": select(forks.c.box_id, literal("forks"), func.count()).group_by(forks.c.box_id),
}


def _described(box: Mapping[str, Any], counts: Mapping[str, Counter[str]]) -> dict[str, Any]:
    health = msgspec.json.decode(box["health"]) if box["health"] else None
    return {
        **box,
        "online": bool(box["online"]),
        "health": health,
        "admitted": dict(counts["admitted"]),
        "refused": dict(counts["refused"]),
        "resumed": counts["resumed"].total(),
        "held_uses": counts["uses"]["held"],
        "passages": counts["uses"]["passages"],
        "incidents": dict(counts["incidents"]),
        "set_aside": dict(counts["set_aside"]),
        "forks": counts["forks"].total(),
    }


def _totals(found: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums over all boxes."""
    sums: Counter[str] = Counter()
    admitted: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for box in found:
        admitted.update(box["admitted"])
        refused.update(box["refused"])
        sums.update({name: box[name] for name in _SUMMED})
    return {**{name: sums[name] for name in _SUMMED}, "admitted": dict(admitted), "refused": dict(refused)}


_SUMMED = ("events_received", "events_folded", "resumed", "held_uses", "passages", "forks")


def _ticket_counts(connection: Connection) -> dict[str, int]:
    is_own = tickets.c.issuer == ""
    query = select(
        func.count().label("tickets"),
        func.coalesce(func.sum(case((is_own, 1), else_=0)), 0).label("sold"),
        func.coalesce(func.sum(case((is_own, 0), else_=1)), 0).label("imported"),
        func.coalesce(func.sum(tickets.c.quantity), 0).label("entries"),
        func.coalesce(func.sum(tickets.c.refunded), 0).label("entries_refunded"),
        func.coalesce(func.sum(case((tickets.c.refunded > 0, 1), else_=0)), 0).label("refunded"),
    ).select_from(tickets)
    return {name: int(value) for name, value in connection.execute(query).mappings().one().items()}


def _conflicts(connection: Connection, since_ms: int) -> dict[str, Any]:
    query = select(conflicts.c.kind, func.count(), func.sum(conflicts.c.cost_fen)).group_by(conflicts.c.kind)
    if since_ms:
        query = query.join_from(conflicts, uses, uses.c.admission_id == conflicts.c.admission_id)
        query = _since(query, uses.c.at_ms, since_ms)
    rows = [(kind, int(number), int(fen)) for kind, number, fen in connection.execute(query)]
    return {
        "count": sum(number for _, number, _ in rows),
        "fen": sum(fen for *_, fen in rows),
        "kinds": {kind: number for kind, number, _ in rows},
    }


def _charges(connection: Connection, since_ms: int) -> dict[str, int]:
    query = select(func.count(), func.coalesce(func.sum(charges.c.fare_fen), 0)).select_from(charges)
    if since_ms:
        query = query.join(uses, uses.c.admission_id == charges.c.admission_id)
        query = _since(query, uses.c.at_ms, since_ms)
    count, fen = connection.execute(query).one()
    return {"count": int(count), "fen": int(fen)}


def _sites(connection: Connection, policy: Policy) -> list[dict[str, Any]]:
    """Return the policy's sites, each with its newest list if it has one."""
    newest = {row["site_id"]: row for row in connection.execute(NEWEST_LISTS).mappings()}
    return [
        {
            "site_id": site.site_id,
            "name_zh": site.name_zh,
            "name_en": site.name_en,
            "list_version": newest[site.site_id]["version"] if site.site_id in newest else 0,
            "list_as_of_s": newest[site.site_id]["as_of_s"] if site.site_id in newest else 0,
        }
        for site in policy.sites.values()
    ]
