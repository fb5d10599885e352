"""What came in before does not slow the centre down: SQLite does as little after many days as after a few."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, insert

from admission.capacity import CapacityLimits
from admission.decision import NOBODY
from admission.reasons import Reason
from admission.tickets import Basis, Outcome, Risk
from central.capacity import look
from central.ingest import ingest
from central.lists import build_list
from central.payments import book
from central.reconcile import fold, settle
from central.reports import Wanted, admissions, conflict_rows, refusals
from central.schema import (
    boxes,
    closings,
    conflicts,
    credit_lines,
    diary,
    fold_positions,
    ledger,
    payments,
    uses,
)
from central.store import open_store
from central.summary import summary
from sync.protocol import Stream
from tests.central.world import NOW_MS, POLICY, Box, add_ticket, admission_id, admitted, closed, register
from tests.support.sqlite_steps import counted_steps

FEW, MANY = 300, 6000
TWICE = 2
"""Trees get deeper with what they hold."""
MONTH_MS = 30 * 86_400_000
KEY = b"k" * 16
LIMITED = replace(POLICY, capacities={"fairy": CapacityLimits(max_inside=100, max_per_day=200)})
LINES = [number.to_bytes(16) for number in range(1, 101)]
NEWEST = Wanted(None, 0, 10)


def fill(connection: Connection, rows: int) -> None:
    """Last month's visitors, whose tickets are over: in the ledger, folded, and one of them in conflict."""
    ids = {number: admission_id(1_000_000 + number) for number in range(1, rows + 1)}
    where = {number: {"box_id": "old", "at_ms": NOW_MS - MONTH_MS + number * 1000} for number in ids}
    said = {
        "basis": Basis.TICKET,
        "scope": "",
        "site_id": "fairy",
        "lane_id": "1",
        "quantity": 1,
        "fare_fen": 0,
        "risk": Risk.NONE,
        "list_version": 1,
        "policy_version": "test",
    }
    left = {**said, "basis": Basis.EXIT, "key": NOBODY, "quantity": 0}
    raw = {"box_id": "old", "site_id": "fairy", "epoch": b"e", "received_ms": 0, "entry": b"", "hash": b""}
    refused = {"site_id": "fairy", "lane_id": "1", "reason": Reason.EXPIRED, "key": b"", "detail": ""}
    excess = {"kind": "ticket_overused", "first_admission_id": ids[1], "cost_fen": 1}
    line = {"limit_fen": 1, "per_visit_fen": 1, "until_s": NOW_MS // 1000, "revision": 1}
    old = {"box_id": "old", "site_id": "fairy", "public_key": "", "revision": 1}
    for table, records in (
        (boxes, [old]),
        (fold_positions, [{"box_id": "old", "seq_no": rows}]),
        (ledger, [{**raw, "seq_no": n} for n in ids]),
        (uses, [{**left, **where[n], "admission_id": admission_id(3_000_000 + n), "seq_no": n} for n in ids]),
        (uses, [{**said, **where[n], "admission_id": ids[n], "key": ids[n], "seq_no": n} for n in ids]),
        (
            closings,
            [{**where[n], "outcome": Outcome.PASSED, "admission_id": ids[n], "seq_no": n} for n in ids],
        ),
        (diary, [{**refused, **where[n], "number": n} for n in ids]),
        (conflicts, [{**excess, "admission_id": ids[2], "key": ids[2]}]),
        (credit_lines, [{**line, "key": key} for key in LINES]),
    ):
        connection.execute(insert(table), records)
    add_ticket(connection, KEY)


def pay(connection: Connection, rows: int) -> None:
    """As many were let in on credit before, and have paid."""
    paid = {"order_id": "", "fare_fen": 1, "state": "paid", "attempts": 1, "next_try_s": 0, "reference": ""}
    ids = [admission_id(2_000_000 + number) for number in range(rows)]
    connection.execute(insert(payments), [{**paid, "admission_id": name, "key": name} for name in ids])


def take_in(connection: Connection, _folder: Path) -> None:
    """A box's batch comes in, and is folded."""
    box = Box()
    register(connection, box)
    box.append(admitted(1, KEY))
    box.append(closed(1, Outcome.PASSED))
    box.append(admitted(2, NOBODY, Basis.EXIT))
    ingest(connection, box.topics.up(Stream.LEDGER), box.batch(), NOW_MS)
    assert fold(connection, POLICY) == 3


def build(connection: Connection, folder: Path) -> None:
    """A list is built."""
    build_list(connection, folder / "a.sqlite", POLICY, site_id="fairy", version=1, as_of_s=NOW_MS // 1000)


WORKS: dict[str, Callable[[Connection, Path], Any]] = {
    "a batch": take_in,
    "a list": build,
    "a day's summary": lambda connection, _: summary(connection, POLICY, NOW_MS, POLICY.day_start_ms(NOW_MS)),
    "the latest admissions": lambda connection, _: admissions(connection, NEWEST),
    "the latest refusals": lambda connection, _: refusals(connection, NEWEST),
    "the latest conflicts": lambda connection, _: conflict_rows(connection, 10),
    "shares of the capacity": lambda connection, _: look(connection, LIMITED, NOW_MS),
    "who is within the credit line": lambda connection, _: settle(connection, LINES, POLICY),
    "what is to be paid": lambda connection, _: book.to_be_asked(connection, NOW_MS // 1000, 10),
}


@pytest.mark.parametrize("work", WORKS)
def test_a_long_history_takes_no_more_steps(tmp_path: Path, work: str) -> None:
    """Whatever is done again and again while boxes speak and people look on."""
    found: dict[int, int] = {}
    for rows in (FEW, MANY):
        path = tmp_path / f"{rows}.db"
        open_store(path).close()
        engine = create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            fill(connection, rows)
            if work != "a list":  # which sums up what was paid on each line
                pay(connection, rows)
            driver = connection.connection.driver_connection
            assert driver is not None
            with counted_steps(driver) as steps:
                WORKS[work](connection, tmp_path)
            found[rows] = next(steps)
        engine.dispose()
    assert 0 < found[MANY] < TWICE * found[FEW]
