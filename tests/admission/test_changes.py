"""Which changes of a list go ahead of all others."""

from __future__ import annotations

import pytest

from admission.changes import (
    ClearanceRow,
    CreditLineRow,
    CreditOrderRow,
    DocumentRow,
    ListChanges,
    MembershipRow,
    ProductRow,
    Row,
    TicketRow,
    WithdrawnKeyRow,
    is_urgent,
    pieces,
    with_rows,
)

KEY = bytes(16)


def row(refunded: int, status: str) -> TicketRow:
    """A ticket as a change brings it."""
    return TicketRow(1, KEY, "DAY1", 2, refunded, 100, 200, status)


@pytest.mark.parametrize(
    ("changed", "urgent"),
    [
        (row(0, "valid"), False),
        (row(1, "valid"), True),
        (row(0, "blocked"), True),
        (row(0, "a later release's word"), True),
        (MembershipRow(1, KEY, "good", 100, 200), False),
        (MembershipRow(1, KEY, "good", 100, 100), True),
        (WithdrawnKeyRow(1, b"key"), True),
        (CreditLineRow(1, KEY, 1, 1, 1), False),
        (CreditLineRow(1, KEY, 1, 0, 1), True),
        (CreditOrderRow(1, KEY, "o", "fairy", 5000, 1, 0, 9), False),
        (CreditOrderRow(1, KEY, "o", "fairy", 5000, 0, 0, 9), True),
        (DocumentRow(1, KEY, KEY, True), False),
        (ClearanceRow(1, KEY, "health", "green", 9), False),
        (ClearanceRow(1, KEY, "health", "amber", 9), True),
        (DocumentRow(1, KEY, KEY, True, False), True),
        (ProductRow(1, "DAY1", "日票", "Day", ("fairy",)), False),
    ],
)
def test_what_takes_something_away_is_urgent(changed: Row, urgent: bool) -> None:
    """Every second without it may let somebody in who has no right any more."""
    assert is_urgent(changed) is urgent


def test_rows_come_back_from_the_parts_they_were_put_into() -> None:
    """Whatever their order was; the head stays as it is."""
    rows: tuple[Row, ...] = (
        WithdrawnKeyRow(5, b"key"),
        row(0, "valid"),
        CreditLineRow(4, KEY, 1, 1, 1),
        ProductRow(2, "DAY1", "日票", "Day", ("fairy",)),
        MembershipRow(3, KEY, "good", 100, 200),
    )
    head = ListChanges(site_id="fairy", from_revision=1, to_revision=5)
    filled = with_rows(head, rows)
    assert sorted(one.revision for one in filled.rows) == [1, 2, 3, 4, 5]
    assert with_rows(filled, ()) == head


def test_pieces_leave_nothing_out() -> None:
    """Of five rows in twos the last is alone."""
    rows = tuple(WithdrawnKeyRow(at, b"key") for at in range(5))
    assert [len(piece) for piece in pieces(rows, 2)] == [2, 2, 1]
    assert tuple(one for piece in pieces(rows, 2) for one in piece) == rows
