"""The contract between the centre, which builds lists, and the box, which reads them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, insert

from admission.entitlements import CreditLine, Membership
from admission.facts import ListInfo
from admission.reasons import Reason
from admission.tickets import Basis, Outcome, Product, Ticket, TicketStatus
from central.lists import build_list
from central.schema import (
    closings,
    credit_lines,
    fold_positions,
    memberships,
    metadata,
    products,
    tickets,
    uses,
)
from offline_cache.lists import FORMAT
from sync.protocol import LIST_FORMAT
from tests.admission.makers import (
    CREDIT_CODE,
    DAY_S,
    KEY,
    LANE,
    NOW_MS,
    NOW_S,
    POLICY,
    SITE,
    TICKET_CODE,
    admission_id,
)
from tests.offline_cache.box import Box

NEIGHBOUR = "box-2"
TICKET_ROW = {
    "key": KEY,
    "issuer": "",
    "product": "DAY1",
    "quantity": 3,
    "refunded": 1,
    "valid_from_s": NOW_S - DAY_S,
    "valid_until_s": NOW_S + DAY_S,
    "status": "valid",
    "revision": 1,
}


def use_row(number: int, basis: Basis, *, scope: str = "", fare_fen: int = 0) -> dict[str, object]:
    """A use at the neighbour as the centre folds it."""
    return {
        "admission_id": admission_id(number),
        "key": KEY,
        "basis": basis,
        "scope": scope,
        "site_id": SITE,
        "box_id": NEIGHBOUR,
        "lane_id": LANE,
        "seq_no": number,
        "quantity": 1,
        "fare_fen": fare_fen,
        "risk": 0,
        "at_ms": NOW_MS,
        "list_version": 0,
        "policy_version": "test",
    }


@pytest.fixture
def centre() -> Iterator[Connection]:
    """A centre that sold a ticket for three, took one back, and knows of a used ticket, free visit and credit."""
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.begin() as connection:
        day1 = {
            "code": "DAY1",
            "name_zh": "一日票",
            "name_en": "Day ticket",
            "site_ids": f'["{SITE}"]',
            "revision": 1,
        }
        connection.execute(insert(products), day1)
        connection.execute(insert(tickets), TICKET_ROW)
        member = {"key": KEY, "group_id": "good", "from_s": 0, "until_s": NOW_S + DAY_S, "revision": 1}
        connection.execute(insert(memberships), member)
        line = {
            "key": KEY,
            "limit_fen": 20_000,
            "per_visit_fen": 9000,
            "until_s": NOW_S + DAY_S,
            "revision": 1,
        }
        connection.execute(insert(credit_lines), line)
        connection.execute(insert(fold_positions), {"box_id": NEIGHBOUR, "seq_no": 9})
        ledger = [
            use_row(1, Basis.TICKET),
            use_row(2, Basis.TICKET),
            use_row(3, Basis.FREE_VISIT, scope="first@fairy"),
            use_row(4, Basis.CREDIT_LINE, fare_fen=5000),
        ]
        connection.execute(insert(uses), ledger)
        abandoned = {"admission_id": admission_id(2), "outcome": Outcome.ABANDONED, "box_id": NEIGHBOUR}
        connection.execute(insert(closings), {**abandoned, "seq_no": 5, "at_ms": NOW_MS})
        yield connection
    engine.dispose()


async def install(box: Box, centre: Connection, version: int = 5) -> None:
    """Have the centre build a list and the box put it in use."""
    part = box.lists.new_part()
    built = build_list(
        centre, part.with_suffix(".built"), POLICY, site_id=SITE, version=version, as_of_s=NOW_S
    )
    part.with_suffix(".built").rename(part)
    await box.lists.install(part, version, built.sha256)


def test_both_sides_speak_of_the_same_format() -> None:
    """A list of another format is refused by its manifest and by its file."""
    assert FORMAT == LIST_FORMAT


async def test_a_box_reads_what_the_centre_built(box: Box, centre: Connection) -> None:
    """Every value, and the watermarks up to which the counters go."""
    await install(box, centre)
    known = await box.facts(TICKET_CODE)
    assert known.current_list == ListInfo(version=5, as_of_s=NOW_S)
    assert known.history.watermarks == {NEIGHBOUR: 9}
    assert known.product == Product("DAY1", "一日票", "Day ticket", frozenset({SITE}))
    assert known.ticket == Ticket(TicketStatus.VALID, "DAY1", 3, 1, 1, NOW_S - DAY_S, NOW_S + DAY_S)
    rights = (await box.facts(CREDIT_CODE)).subject
    assert rights is not None
    assert rights.memberships == (Membership("good", 0, NOW_S + DAY_S),)
    assert rights.free_visits_used == {"first@fairy": 1}
    assert rights.credit_line == CreditLine(20_000, 9000, 5000, NOW_S + DAY_S)


async def test_a_box_decides_by_what_the_centre_built(box: Box, centre: Connection) -> None:
    """Three sold, one refunded, one used, one abandoned: one entry is left; the free visit is gone, credit is not."""
    await install(box, centre)
    reasons = [(await box.show(TICKET_CODE)).decision.reason for _ in range(2)]
    assert reasons == [Reason.TICKET, Reason.ALREADY_USED]
    assert (await box.show(CREDIT_CODE)).decision.reason is Reason.CREDIT_LINE
