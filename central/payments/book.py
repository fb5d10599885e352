"""The book of payments: what is owed, how often it was asked for, and how it ended; every step is an entry of its own.

One payment for each passage on credit. A default suspends the subject's credit line, which boxes hear of ahead of bulk;
once nothing is in default any more the line is as it was before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, Table, func, insert, literal_column, select, update

from central.payments.provider import Declined, Done, Request
from central.rights import known_rows, merge
from central.schema import charges, credit_lines, payment_entries, payments, suspensions, uses
from central.sql import insert_new, rows_by_key

HOUR_S = 3600


class State(StrEnum):
    """Where a payment stands."""

    DUE = "due"
    PAID = "paid"
    DEFAULTED = "defaulted"
    REFUNDING = "refunding"
    REFUNDED = "refunded"
    WRITTEN_OFF = "written_off"


SETTLED = (State.PAID, State.REFUNDING, State.REFUNDED, State.WRITTEN_OFF)
"""States in which the subject owes nothing for the use: its credit line is free again."""
_ASKED = (State.DUE, State.REFUNDING)


class NotNowError(ValueError):
    """The payment does not stand where this could be done to it."""


def take_up(connection: Connection, now_s: int) -> int:
    """Make a payment of every charge that has none yet; return how many."""
    if _count(connection, charges) == _count(connection, payments):
        return 0  # whoever waits for the store waits behind this: all are not compared for nothing
    missing = (
        select(charges, uses.c.scope)
        .join_from(charges, uses, charges.c.admission_id == uses.c.admission_id)
        .outerjoin(payments, charges.c.admission_id == payments.c.admission_id)
        .where(payments.c.admission_id.is_(None))
        .order_by(charges.c.admission_id)
    )
    rows = [
        {
            "admission_id": row.admission_id,
            "key": row.key,
            "fare_fen": row.fare_fen,
            "order_id": row.scope,
            "state": State.DUE if row.fare_fen else State.PAID,
            "attempts": 0,
            "next_try_s": now_s,
            "reference": "",
        }
        for row in connection.execute(missing)
    ]
    if rows:
        insert_new(connection, payments, rows)
        _enter(connection, now_s, [(row["admission_id"], "due", row["fare_fen"], "") for row in rows])
    return len(rows)


def _count(connection: Connection, table: Table) -> int:
    return int(connection.scalar(select(func.count()).select_from(table)) or 0)


def next_try_s(connection: Connection) -> int | None:
    """Return when the next payment is to be asked for, UTC seconds; None when none is."""
    first = connection.scalar(select(func.min(payments.c.next_try_s)).where(payments.c.state.in_(_ASKED)))
    return None if first is None else int(first)


def to_be_asked(connection: Connection, now_s: int, limit: int) -> list[Row[Any]]:
    """Return the payments to ask the provider about now, those that have waited longest first."""
    query = select(payments).where(payments.c.state.in_(_ASKED), payments.c.next_try_s <= now_s)
    return list(
        connection.execute(query.order_by(payments.c.next_try_s, payments.c.admission_id).limit(limit))
    )


def request_of(payment: Row[Any]) -> Request:
    """Return what to ask the provider: keyed by order and use, so that asking again moves nothing more."""
    kind = "refund" if payment.state == State.REFUNDING else "charge"
    request_id = f"{kind}:{payment.order_id or 'line'}:{payment.admission_id.hex()}"
    return Request(request_id, payment.key.hex(), payment.fare_fen)


def note_answer(
    connection: Connection,
    payment: Row[Any],
    answer: Done | Declined | None,
    now_s: int,
    retry_after_h: Sequence[int],
) -> bool:
    """Enter what the provider answered, None for nothing; return whether rights have changed.

    What was declined once more than `retry_after_h` has waits is in default. No answer is no refusal: it is asked again
    after the first of them, for ever. `payment` is the row as it was when it was asked for: what somebody has decided
    since stands, unless the money was moved.
    """
    admission_id, fare_fen = payment.admission_id, payment.fare_fen
    if not isinstance(answer, Done) and _expect(connection, admission_id, *State).state != payment.state:
        return False
    is_refund = payment.state == State.REFUNDING
    if isinstance(answer, Done):
        state = State.REFUNDED if is_refund else State.PAID
        _move(connection, admission_id, state, reference=answer.reference)
        _enter(connection, now_s, [(admission_id, state, fare_fen, answer.reference)])
        return _repair(connection, payment.key)
    if answer is None:
        wait_s = retry_after_h[0] * HOUR_S
        _move(connection, admission_id, State(payment.state), next_try_s=now_s + wait_s)
        _enter(connection, now_s, [(admission_id, "no_answer", 0, "")])
        return False
    attempts = payment.attempts + 1
    _enter(connection, now_s, [(admission_id, "declined", 0, answer.why)])
    if is_refund or attempts <= len(retry_after_h):
        wait_s = retry_after_h[min(attempts, len(retry_after_h)) - 1] * HOUR_S
        _move(connection, admission_id, State(payment.state), attempts=attempts, next_try_s=now_s + wait_s)
        return False
    _move(connection, admission_id, State.DEFAULTED, attempts=attempts)
    _enter(connection, now_s, [(admission_id, State.DEFAULTED, fare_fen, answer.why)])
    return _suspend(connection, payment.key, now_s)


def ask_again(connection: Connection, admission_id: bytes, why: str, now_s: int) -> None:
    """Ask for a payment in default once more, as if for the first time: the visitor says that it can be had now."""
    _expect(connection, admission_id, State.DEFAULTED)
    _move(connection, admission_id, State.DUE, attempts=0, next_try_s=now_s)
    _enter(connection, now_s, [(admission_id, "asked_again", 0, why)])


def give_back(connection: Connection, admission_id: bytes, why: str, now_s: int) -> None:
    """Give back what was paid: somebody decided that the passage is not to be paid for."""
    payment = _expect(connection, admission_id, State.PAID)
    _move(connection, admission_id, State.REFUNDING, attempts=0, next_try_s=now_s)
    _enter(connection, now_s, [(admission_id, State.REFUNDING, payment.fare_fen, why)])


def write_off(connection: Connection, admission_id: bytes, why: str, now_s: int) -> bool:
    """Ask for it no more; return whether rights have changed."""
    payment = _expect(connection, admission_id, State.DUE, State.DEFAULTED)
    _move(connection, admission_id, State.WRITTEN_OFF)
    _enter(connection, now_s, [(admission_id, State.WRITTEN_OFF, payment.fare_fen, why)])
    return _repair(connection, payment.key)


def settled_fen(connection: Connection, keys: Sequence[bytes]) -> dict[bytes, int]:
    """Return how many fen on their credit lines the subjects owe no more."""
    # By the bare column SQLite would, for more than a few keys, go through all that was ever settled.
    state = payments.c.state + literal_column("''")
    query = (
        select(payments.c.key, func.sum(payments.c.fare_fen))
        .where(payments.c.key.in_(keys), payments.c.order_id == "", state.in_(SETTLED))
        .group_by(payments.c.key)
    )
    return {key: int(fen) for key, fen in connection.execute(query)}


def entered(connection: Connection) -> int:
    """Return how many entries the book has: a list that was made before the last of them is not the newest word."""
    return int(connection.scalar(select(func.coalesce(func.max(payment_entries.c.number), 0))) or 0)


def described(
    connection: Connection, state: str | None, key: bytes | None, limit: int
) -> list[dict[str, Any]]:
    """Return payments, those that were asked for last first, each with its entries."""
    query = select(payments).order_by(payments.c.next_try_s.desc(), payments.c.admission_id).limit(limit)
    if state is not None:
        query = query.where(payments.c.state == state)
    if key is not None:
        query = query.where(payments.c.key == key)
    return list(_with_entries(connection, list(connection.execute(query))))


def one(connection: Connection, admission_id: bytes) -> dict[str, Any]:
    """Return a payment with its entries; NotNowError when there is none."""
    return next(_with_entries(connection, [_expect(connection, admission_id, *State)]))


def _with_entries(connection: Connection, rows: Sequence[Row[Any]]) -> Iterator[dict[str, Any]]:
    entries: dict[bytes, list[dict[str, Any]]] = defaultdict(list)
    ids = [row.admission_id for row in rows]
    found = rows_by_key(connection, payment_entries.c.admission_id, ids, *payment_entries.c)
    for entry in sorted(found, key=lambda entry: entry.number):
        said = {"at_s": entry.at_s, "what": entry.what, "amount_fen": entry.amount_fen, "said": entry.said}
        entries[entry.admission_id].append(said)
    for row in rows:
        yield {
            "admission_id": row.admission_id.hex(),
            "key": row.key.hex(),
            "order_id": row.order_id,
            "fare_fen": row.fare_fen,
            "state": row.state,
            "attempts": row.attempts,
            "next_try_s": row.next_try_s,
            "reference": row.reference,
            "entries": entries[row.admission_id],
        }


def _suspend(connection: Connection, key: bytes, now_s: int) -> bool:
    """Let the subject's credit line give nothing, unless it gives nothing already."""
    line = connection.execute(select(credit_lines).where(credit_lines.c.key == key)).first()
    if line is None or line.per_visit_fen == 0:
        return False
    insert_new(connection, suspensions, [{"key": key, "per_visit_fen": line.per_visit_fen, "since_s": now_s}])
    _set_line(connection, key, 0)
    return True


def _repair(connection: Connection, key: bytes) -> bool:
    """Give a suspended credit line back what it gave, once nothing of the subject's is in default."""
    suspended = connection.execute(select(suspensions).where(suspensions.c.key == key)).first()
    in_default = select(payments.c.admission_id).where(
        payments.c.key == key, payments.c.state == State.DEFAULTED
    )
    if suspended is None or connection.execute(in_default.limit(1)).first() is not None:
        return False
    connection.execute(suspensions.delete().where(suspensions.c.key == key))
    line = connection.execute(select(credit_lines).where(credit_lines.c.key == key)).first()
    if line is None or line.per_visit_fen != 0:
        return False  # somebody has decided about the line since
    _set_line(connection, key, suspended.per_visit_fen)
    return True


def _set_line(connection: Connection, key: bytes, per_visit_fen: int) -> None:
    records = [{"key": key, "per_visit_fen": per_visit_fen}]
    merge(connection, credit_lines, records, known_rows(connection, credit_lines, records))


def _expect(connection: Connection, admission_id: bytes, *states: State) -> Row[Any]:
    payment = connection.execute(select(payments).where(payments.c.admission_id == admission_id)).first()
    if payment is None:
        raise NotNowError("there is no such payment")
    if payment.state not in states:
        raise NotNowError(f"it is {payment.state}, not {' or '.join(states)}")
    return payment


def _move(connection: Connection, admission_id: bytes, state: State, **changes: Any) -> None:
    connection.execute(
        update(payments).where(payments.c.admission_id == admission_id).values(state=state, **changes)
    )


def _enter(connection: Connection, now_s: int, entries: Sequence[tuple[bytes, str, int, str]]) -> None:
    connection.execute(
        insert(payment_entries), [dict(zip(_COLUMNS, (now_s, *entry), strict=True)) for entry in entries]
    )


_COLUMNS = ("at_s", "admission_id", "what", "amount_fen", "said")
