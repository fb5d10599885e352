"""What members of staff let in, as the centre folds and tells it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, select

from admission.events import Overridden
from admission.staff import OverrideCode, Role
from admission.tickets import Basis, Outcome, Risk
from central.ingest import ingest
from central.reconcile import fold, forget
from central.reports import Wanted, admissions, override_rows
from central.schema import charges, conflicts
from central.store import open_store
from sync.protocol import Stream
from tests.central.world import NOW_MS, POLICY, Box, add_ticket, admission_id, admitted, closed, register

KEY = b"k" * 16


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """One transaction on an empty store, never committed."""
    open_store(tmp_path / "centre.db").close()
    with create_engine(f"sqlite:///{tmp_path / 'centre.db'}").begin() as opened:
        yield opened


def _let_in(box: Box, number: int, staff_id: str, basis: Basis, risk: Risk = Risk.NONE) -> None:
    box.append(admitted(number, KEY, basis, risk=risk))
    act = Overridden(
        admission_id(number), f"fairy-1-D{number}", staff_id, Role.SUPERVISOR, OverrideCode.GOODWILL
    )
    box.append(act)
    box.append(closed(number, Outcome.PASSED))


def _take_in(connection: Connection, box: Box) -> None:
    register(connection, box)
    ingest(connection, box.topics.up(Stream.LEDGER), box.batch(), NOW_MS)
    while fold(connection, POLICY):
        pass


def test_an_override_is_told_with_who_why_and_which_refusal(connection: Connection) -> None:
    """The report of a member of staff names each visitor they let in, and an admission names its member of staff."""
    box = Box()
    _let_in(box, 1, "w12", Basis.OVERRIDE)
    _let_in(box, 2, "s1", Basis.OVERRIDE)
    _take_in(connection, box)
    (row,) = override_rows(connection, "s1", 10)
    assert (row["staff_id"], row["role"], row["code"], row["refused_record"]) == (
        "s1",
        "supervisor",
        "goodwill",
        "fairy-1-D2",
    )
    assert row["admission"]["reason"] == "OVERRIDDEN"
    assert len(override_rows(connection, None, 10)) == 2
    told = admissions(connection, Wanted(KEY, 0, 10))
    assert {row["staff"]["staff_id"] for row in told} == {"w12", "s1"}


def test_an_override_on_no_right_is_neither_a_conflict_nor_a_charge(connection: Connection) -> None:
    """However often staff let somebody in on their word, no ticket is spent and nobody pays for it."""
    add_ticket(connection, KEY)
    box = Box()
    box.append(admitted(9, KEY))
    for number in (1, 2):
        _let_in(box, number, "s1", Basis.OVERRIDE)
    _take_in(connection, box)
    assert connection.execute(select(conflicts)).all() == connection.execute(select(charges)).all() == []


def test_a_confirmed_ticket_counts_against_its_entries(connection: Connection) -> None:
    """What staff confirmed and a gate admitted on the same entry is a conflict like any other."""
    add_ticket(connection, KEY)
    box = Box()
    box.append(admitted(9, KEY))
    _let_in(box, 1, "s1", Basis.TICKET, Risk.STAFF)
    _take_in(connection, box)
    assert len(connection.execute(select(conflicts)).all()) == 1


def test_overrides_are_folded_again_from_the_ledger(connection: Connection) -> None:
    """Nothing is told that the raw ledger does not say."""
    box = Box()
    _let_in(box, 1, "s1", Basis.OVERRIDE)
    _take_in(connection, box)
    before = override_rows(connection, None, 10)
    forget(connection)
    assert override_rows(connection, None, 10) == []
    while fold(connection, POLICY):
        pass
    assert override_rows(connection, None, 10) == before
