"""What follows from the raw ledger, in whatever order it arrives."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, delete, insert, select, update

from admission.events import Incident, Resumed
from admission.tickets import Basis, Outcome, is_held
from central.counting import HELD
from central.ingest import ingest
from central.ledger import head_of
from central.reconcile import fold, forget, settle
from central.schema import (
    charges,
    closings,
    conflicts,
    credit_lines,
    credit_orders,
    fold_positions,
    incidents,
    ledger,
    metadata,
    resumptions,
    tickets,
    uses,
)
from central.store import open_store
from sync.protocol import Stream
from tests.central.world import (
    NOW_MS,
    POLICY,
    Box,
    add_ticket,
    admission_id,
    admitted,
    closed,
    register,
)

FOLDED = (uses, closings, resumptions, incidents, conflicts, charges, fold_positions)
KEY = b"k" * 16


@pytest.fixture
def connection(tmp_path: Path) -> Any:
    """One transaction on an empty store, never committed."""
    open_store(tmp_path / "centre.db").close()
    with create_engine(f"sqlite:///{tmp_path / 'centre.db'}").begin() as opened:
        yield opened


def two_boxes() -> tuple[Box, Box]:
    """A box at each of two sites."""
    return Box(), Box(box_id="bridges-1", site_id="bridges")


def fold_all(connection: Connection) -> int:
    """Fold until nothing is left."""
    total = 0
    while rows := fold(connection, POLICY):
        total += rows
    return total


def tell(connection: Connection, *told: Box) -> None:
    """Ingest all that the boxes have, and fold it."""
    for box in told:
        reply = ingest(connection, box.topics.up(Stream.LEDGER), box.batch(), NOW_MS)
        assert reply is not None
    fold_all(connection)


def dump(connection: Connection) -> dict[str, list[Any]]:
    """Everything that was folded."""
    return {table.name: sorted(map(tuple, connection.execute(select(table)))) for table in FOLDED}


def found_conflicts(connection: Connection) -> list[tuple[str, bytes, bytes, int]]:
    """The conflicts as (kind, use in excess, use that stands, cost)."""
    columns = (
        conflicts.c.kind,
        conflicts.c.admission_id,
        conflicts.c.first_admission_id,
        conflicts.c.cost_fen,
    )
    return sorted(map(tuple, connection.execute(select(*columns))))


def test_ticket_used_at_two_boxes_is_a_conflict(connection: Connection) -> None:
    """The later passage is in excess, at the cost of the site where it happened."""
    first, second = two_boxes()
    register(connection, first, second)
    add_ticket(connection, KEY)
    first.append(admitted(1, KEY), NOW_MS + 10)
    first.append(closed(1, Outcome.PASSED), NOW_MS + 5000)
    second.append(admitted(2, KEY), NOW_MS + 20)
    second.append(closed(2, Outcome.PASSED), NOW_MS + 3000)
    tell(connection, first, second)
    # The one admitted later went through earlier: its use stands.
    assert found_conflicts(connection) == [("ticket_overused", admission_id(1), admission_id(2), 5000)]


def test_passage_stands_before_an_unknown_end(connection: Connection) -> None:
    """A use that nobody was seen to finish does not displace one that someone finished later."""
    first, second = two_boxes()
    register(connection, first, second)
    add_ticket(connection, KEY)
    first.append(admitted(1, KEY), NOW_MS)
    first.append(closed(1, Outcome.UNKNOWN), NOW_MS + 5)
    second.append(admitted(2, KEY), NOW_MS + 20)
    second.append(closed(2, Outcome.PASSED), NOW_MS + 30)
    tell(connection, first, second)
    assert found_conflicts(connection) == [("ticket_overused", admission_id(1), admission_id(2), 5000)]


def test_abandoned_use_is_no_conflict(connection: Connection) -> None:
    """What was given back does not count."""
    first, second = two_boxes()
    register(connection, first, second)
    add_ticket(connection, KEY)
    first.append(admitted(1, KEY))
    first.append(closed(1, Outcome.ABANDONED))
    second.append(admitted(2, KEY))
    tell(connection, first, second)
    assert found_conflicts(connection) == []


def test_late_passage_makes_the_conflict(connection: Connection) -> None:
    """`passed` overrides `abandoned`, whenever it turns up."""
    box, other = two_boxes()
    register(connection, box, other)
    add_ticket(connection, KEY)
    box.append(admitted(1, KEY))
    box.append(closed(1, Outcome.ABANDONED))
    other.append(admitted(2, KEY), NOW_MS + 10)
    tell(connection, box, other)
    box.append(closed(1, Outcome.PASSED), NOW_MS + 50)
    tell(connection, box)
    assert found_conflicts(connection) == [("ticket_overused", admission_id(2), admission_id(1), 9500)]


def test_refund_of_a_used_ticket_is_a_conflict(connection: Connection) -> None:
    """A refund after the passage leaves a use with nothing behind it."""
    box = Box()
    register(connection, box)
    add_ticket(connection, KEY, quantity=2)
    for number in (1, 2):
        box.append(admitted(number, KEY), NOW_MS + number)
        box.append(closed(number, Outcome.PASSED), NOW_MS + number)
    tell(connection, box)
    assert found_conflicts(connection) == []
    connection.execute(update(tickets).values(refunded=1))
    settle(connection, [KEY], POLICY)
    assert found_conflicts(connection) == [("used_and_refunded", admission_id(2), admission_id(1), 5000)]


def test_unlisted_ticket_is_good_for_one_entry(connection: Connection) -> None:
    """A ticket that the centre does not know yet is judged again when it does."""
    box = Box()
    register(connection, box)
    for number in (1, 2):
        box.append(admitted(number, KEY), NOW_MS + number)
    tell(connection, box)
    assert [row[:2] for row in found_conflicts(connection)] == [("ticket_overused", admission_id(2))]
    add_ticket(connection, KEY, quantity=2)
    settle(connection, [KEY], POLICY)
    assert found_conflicts(connection) == []


def test_free_visits_are_counted_by_scope(connection: Connection) -> None:
    """One free visit at each site is fine, a second one at a site is not."""
    box = Box()
    register(connection, box)
    for number, scope in ((1, "first@fairy"), (2, "first@bridges"), (3, "first@fairy"), (4, "gone@fairy")):
        box.append(admitted(number, KEY, Basis.FREE_VISIT, scope=scope), NOW_MS + number)
    tell(connection, box)
    assert found_conflicts(connection) == [
        ("free_visit_overused", admission_id(3), admission_id(1), 5000),
        ("free_visit_overused", admission_id(4), b"", 5000),
    ]


def test_credit_beyond_the_line_is_a_conflict(connection: Connection) -> None:
    """Uses are taken off the limit in the order of their passages."""
    box = Box()
    register(connection, box)
    add_credit_line(connection, limit_fen=10_000)
    for number in (1, 2, 3):
        box.append(admitted(number, KEY, Basis.CREDIT_LINE, fare_fen=5000), NOW_MS + number)
    tell(connection, box)
    assert found_conflicts(connection) == [("credit_exceeded", admission_id(3), admission_id(1), 5000)]


def test_credit_order_is_good_for_its_entries(connection: Connection) -> None:
    """One more is a conflict with its cost, each that went through is charged, and the line beside it is untouched."""
    box = Box()
    register(connection, box)
    add_credit_line(connection, limit_fen=5000)
    order = {"key": KEY, "order_id": "A-1", "site_id": "fairy", "fare_fen": 4500, "quantity": 2}
    connection.execute(insert(credit_orders), {**order, "from_s": 0, "until_s": 1 << 40, "revision": 2})
    for number in (1, 2, 3):
        use = admitted(number, KEY, Basis.CREDIT_ORDER, scope="A-1", fare_fen=4500)
        box.append(use, NOW_MS + number)
        box.append(closed(number, Outcome.PASSED), NOW_MS + number)
    box.append(admitted(4, KEY, Basis.CREDIT_LINE, fare_fen=5000), NOW_MS + 4)
    tell(connection, box)
    assert found_conflicts(connection) == [("credit_exceeded", admission_id(3), admission_id(1), 4500)]
    charged = connection.execute(select(charges.c.fare_fen)).scalars().all()
    assert charged == [4500, 4500, 4500]


def add_credit_line(connection: Connection, limit_fen: int) -> None:
    """Give the subject of these tests a credit line."""
    line = {"key": KEY, "limit_fen": limit_fen, "per_visit_fen": limit_fen, "until_s": 1 << 40, "revision": 1}
    connection.execute(insert(credit_lines), line)


@pytest.mark.parametrize(
    ("outcomes", "charged"),
    [
        ((), 0),
        ((Outcome.UNKNOWN,), 0),
        ((Outcome.ABANDONED,), 0),
        ((Outcome.FORCED,), 0),
        ((Outcome.PASSED,), 1),
        ((Outcome.TAILGATED,), 1),
        ((Outcome.ABANDONED, Outcome.PASSED), 1),
        ((Outcome.TAILGATED, Outcome.PASSED), 1),
    ],
)
def test_only_a_passage_is_charged(connection: Connection, outcomes: Sequence[Outcome], charged: int) -> None:
    """A use on credit costs money once, and only when someone went through."""
    box = Box()
    register(connection, box)
    add_credit_line(connection, limit_fen=10_000)
    box.append(admitted(1, KEY, Basis.CREDIT_LINE, fare_fen=5000))
    tell(connection, box)
    for outcome in outcomes:
        box.append(closed(1, outcome))
        tell(connection, box)
    rows = [tuple(row) for row in connection.execute(select(charges))]
    assert rows == [(admission_id(1), KEY, 5000)] * charged


def test_tickets_are_not_charged(connection: Connection) -> None:
    """A passage on a ticket is paid already."""
    box = Box()
    register(connection, box)
    box.append(admitted(1, KEY))
    box.append(closed(1, Outcome.PASSED))
    tell(connection, box)
    assert connection.execute(select(charges)).all() == []


def test_incidents_and_resumptions_are_folded(connection: Connection) -> None:
    """What happens without an admission is kept too."""
    box = Box()
    register(connection, box)
    box.append(admitted(1, KEY))
    box.append(Resumed(admission_id(1), "lane-1"))
    box.append(Incident("lane-2", Outcome.TAILGATED))
    tell(connection, box)
    assert [row.kind for row in connection.execute(select(incidents))] == ["tailgated"]
    assert [row.seq_no for row in connection.execute(select(resumptions))] == [2]


def test_poison_is_passed_over(connection: Connection) -> None:
    """The fold goes on behind an entry that cannot be read."""
    box = Box()
    register(connection, box)
    box.append_raw(b"\xff")
    box.append(admitted(1, KEY))
    tell(connection, box)
    assert connection.execute(select(fold_positions.c.seq_no)).scalar_one() == 2
    assert len(connection.execute(select(uses)).all()) == 1


def test_fold_again_changes_nothing(connection: Connection) -> None:
    """A fold with nothing new has nothing to do, and one that forgot its position changes nothing."""
    box = Box()
    register(connection, box)
    box.append(admitted(1, KEY, Basis.CREDIT_LINE, fare_fen=5000))
    box.append(closed(1, Outcome.PASSED))
    tell(connection, box)
    before = dump(connection)
    assert fold_all(connection) == 0
    connection.execute(delete(fold_positions))
    assert fold_all(connection) == 2
    assert dump(connection) == before


def test_forgetting_keeps_forks(connection: Connection) -> None:
    """A fork is not in the ledger, so it must outlive the fold."""
    box = Box()
    register(connection, box)
    box.append(Incident("lane-2", Outcome.FORCED))
    tell(connection, box)
    clone = Box()
    clone.append(admitted(1, KEY))
    ingest(connection, box.topics.up(Stream.LEDGER), clone.batch(), NOW_MS)
    forget(connection)
    assert [row.kind for row in connection.execute(select(incidents))] == ["fork"]


@pytest.mark.parametrize(
    "outcomes", [some for size in range(7) for some in combinations(Outcome, size)], ids=str
)
def test_sql_counts_what_is_held(connection: Connection, outcomes: Sequence[Outcome]) -> None:
    """The condition in SQL and the rule of the gate agree on every set of outcomes."""
    box = Box()
    register(connection, box)
    box.append(admitted(1, KEY))
    for outcome in outcomes:
        box.append(closed(1, outcome))
    tell(connection, box)
    assert (connection.execute(select(uses).where(HELD)).first() is not None) == is_held(outcomes)


Event = Callable[[Box], object]
_KEYS = (b"a" * 16, b"b" * 16)


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A centre's store with nothing in it, to be copied: the migrations take longer than what is tested."""
    path = tmp_path_factory.mktemp("empty") / "centre.db"
    open_store(path).close()
    return path


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Box], list[tuple[int, int]]]:
    """Three boxes' ledgers about two keys, and an order in which batches of them arrive."""
    told = [Box(), Box(box_id="bridges-1", site_id="bridges"), Box(box_id="fairy-2")]
    numbers = draw(st.lists(st.integers(0, 2), min_size=1, max_size=10))
    for number, at in enumerate(numbers):
        basis = draw(st.sampled_from((Basis.TICKET, Basis.CREDIT_LINE, Basis.FREE_VISIT)))
        scope = "first@*" if basis is Basis.FREE_VISIT else ""
        fare_fen = 5000 if basis is Basis.CREDIT_LINE else 0
        event = admitted(number, draw(st.sampled_from(_KEYS)), basis, scope=scope, fare_fen=fare_fen)
        told[at].append(event, NOW_MS + draw(st.integers(0, 50)))
        for outcome in draw(st.lists(st.sampled_from(Outcome), max_size=2, unique=True)):
            # A closing may come from a neighbour, and before its admission.
            told[draw(st.integers(0, 2))].append(closed(number, outcome), NOW_MS + draw(st.integers(0, 99)))
    ends = [(index, end) for index, box in enumerate(told) for end in range(1, len(box.entries) + 1)]
    return told, draw(st.permutations(ends))


@settings(max_examples=60)
@given(histories(), st.data())
def test_order_of_arrival_does_not_matter(
    empty_store: Path, history: tuple[list[Box], list[tuple[int, int]]], data: st.DataObject
) -> None:
    """Any order of batches, with folds in between or none, gives the same as one fold from zero."""
    told, arrivals = history
    with TemporaryDirectory() as folder:
        shutil.copyfile(empty_store, Path(folder) / "centre.db")
        with create_engine(f"sqlite:///{folder}/centre.db").begin() as connection:
            register(connection, *told)
            add_ticket(connection, _KEYS[0], quantity=2, refunded=1)
            for index, end in arrivals:
                box = told[index]
                start = min(head_of(connection, box.box_id).seq_no, end - 1) + 1
                ingest(connection, box.topics.up(Stream.LEDGER), box.batch(start, end), NOW_MS)
                if data.draw(st.booleans()):
                    fold(connection, POLICY)
            fold_all(connection)
            in_pieces = dump(connection)
            forget(connection)
            fold_all(connection)
            assert dump(connection) == in_pieces
            assert len(connection.execute(select(ledger)).all()) == sum(len(box.entries) for box in told)


def test_schema_of_the_migrations_is_the_schema(connection: Connection) -> None:
    """The tables that the migrations make are the ones that the code knows."""
    assert compare_metadata(MigrationContext.configure(connection), metadata) == []
