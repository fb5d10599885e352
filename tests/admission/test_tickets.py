"""Uses and closings are sets; counters follow from them, whatever came first."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admission.tickets import Basis, Closing, History, Outcome, TicketStatus, Use, is_held, read_status
from tests.admission.makers import closing, use

O = Outcome  # noqa: E741 - the tables below are read as columns
SUBSETS = [frozenset(s) for size in range(len(Outcome) + 1) for s in combinations(Outcome, size)]


def expected_held(ended: frozenset[Outcome]) -> bool:
    """The rule as the design states it, case by case."""
    if O.PASSED in ended or O.TAILGATED in ended or O.FORCED in ended:
        return True
    if O.RELEASED in ended:
        return False
    if O.UNKNOWN in ended:
        return True
    return O.ABANDONED not in ended


@pytest.mark.parametrize(
    "ended", SUBSETS, ids=lambda ended: "+".join(o.name for o in sorted(ended)) or "open"
)
def test_whether_a_use_counts_follows_from_the_set_of_its_closings(ended: frozenset[Outcome]) -> None:
    """All 64 sets."""
    assert is_held(ended) is expected_held(ended)


@pytest.mark.parametrize(
    ("ended", "held"),
    [
        ((), True),
        ((O.ABANDONED,), False),
        ((O.RELEASED,), False),
        ((O.UNKNOWN,), True),
        ((O.ABANDONED, O.UNKNOWN), True),
        ((O.UNKNOWN, O.RELEASED), False),
        ((O.ABANDONED, O.PASSED), True),
        ((O.RELEASED, O.TAILGATED), True),
        ((O.ABANDONED, O.RELEASED, O.UNKNOWN, O.FORCED), True),
    ],
)
def test_a_passage_outranks_a_release_which_outranks_the_unknown(
    ended: tuple[Outcome, ...], held: bool
) -> None:
    """The cases that a gate meets, both ways round."""
    assert is_held(ended) is held
    assert is_held(ended[::-1]) is held


def test_a_use_beyond_the_watermark_adds_to_the_list() -> None:
    """The list counted up to entry 10; entry 20 is ours to add, with its fare."""
    history = History(
        (use(1, quantity=2, fare_fen=100), use(2, quantity=3, fare_fen=50)), (), watermarks={"box-1": 10}
    )
    assert history.used_since_list(Basis.TICKET) == 3
    assert history.fare_since_list_fen(Basis.TICKET) == 50


def test_a_watermark_of_another_box_covers_nothing_here() -> None:
    """Numbers mean something only together with their box."""
    assert History((use(1),), (), {"box-2": 99}).used_since_list(Basis.TICKET) == 1
    assert History((use(1, box_id="box-2"),), (), {"box-2": 10}).used_since_list(Basis.TICKET) == 0


def test_a_use_that_the_list_counted_and_that_was_abandoned_since_is_given_back() -> None:
    """The closing lies beyond the watermark: the list's counter is one too high."""
    history = History((use(1),), (closing(1, O.ABANDONED),), {"box-1": 10})
    assert history.used_since_list(Basis.TICKET) == -1


def test_a_use_whose_abandonment_the_list_counted_changes_nothing() -> None:
    """Neither counted nor held."""
    history = History((use(1),), (closing(1, O.ABANDONED),), {"box-1": 11})
    assert history.used_since_list(Basis.TICKET) == 0


def test_a_passage_after_a_counted_abandonment_counts_again() -> None:
    """The late word of the sensor outranks what was taken for an abandonment."""
    closings = (closing(1, O.ABANDONED), closing(1, O.PASSED, seq_no=12))
    assert History((use(1),), closings, {"box-1": 11}).used_since_list(Basis.TICKET) == 1


def test_a_closing_by_another_box_is_counted_by_that_boxs_watermark() -> None:
    """Staff elsewhere may release a use of ours."""
    closings = (closing(1, O.RELEASED, seq_no=5, box_id="box-2"),)
    assert History((use(1),), closings, {"box-1": 10}).used_since_list(Basis.TICKET) == -1
    assert History((use(1),), closings, {"box-1": 10, "box-2": 5}).used_since_list(Basis.TICKET) == 0


def test_each_basis_and_scope_has_its_own_counter() -> None:
    """A free visit at one site says nothing about another, or about credit."""
    history = History(
        (use(1), use(2, basis=Basis.FREE_VISIT, scope="a"), use(3, basis=Basis.CREDIT_LINE, fare_fen=700))
    )
    assert history.used_since_list(Basis.FREE_VISIT, "a") == 1
    assert history.used_since_list(Basis.FREE_VISIT, "b") == 0
    assert history.used_since_list(Basis.FREE_VISIT) == 0
    assert history.fare_since_list_fen(Basis.CREDIT_LINE) == 700
    assert history.held(Basis.FREE_VISIT, "a") == 1


def test_what_is_held_does_not_depend_on_a_watermark() -> None:
    """For a right that no list has a counter for, every use counts."""
    uses = (use(1, quantity=2), use(2), use(3, scope="a"))
    history = History(uses, (closing(2, O.ABANDONED),), {"box-1": 99})
    assert history.held(Basis.TICKET) == 2


USES = st.lists(
    st.builds(
        use,
        st.integers(1, 4),
        basis=st.sampled_from(Basis),
        box_id=st.sampled_from(["box-1", "box-2"]),
        quantity=st.integers(1, 3),
        fare_fen=st.integers(0, 500),
    ),
    max_size=4,
    unique_by=lambda use: use.admission_id,
)
CLOSINGS = st.lists(
    st.builds(
        closing,
        st.integers(1, 4),
        st.sampled_from(Outcome),
        seq_no=st.integers(1, 60),
        box_id=st.sampled_from(["box-1", "box-2"]),
    ),
    max_size=8,
    unique_by=lambda closing: (closing.admission_id, closing.outcome),
)
WATERMARKS = st.dictionaries(st.sampled_from(["box-1", "box-2"]), st.integers(0, 60))


def counters(uses: list[Use], closings: list[Closing], watermarks: dict[str, int]) -> list[int]:
    """Every counter of a history."""
    history = History(tuple(uses), tuple(closings), watermarks)
    return [
        count(basis)
        for basis in Basis
        for count in (history.held, history.used_since_list, history.fare_since_list_fen)
    ]


@settings(max_examples=60)
@given(st.data(), USES, CLOSINGS, WATERMARKS)
def test_the_order_of_arrival_never_matters(
    data: st.DataObject, uses: list[Use], closings: list[Closing], watermarks: dict[str, int]
) -> None:
    """Any order of the same uses and closings gives the same counters."""
    shuffled = data.draw(st.permutations(uses)), data.draw(st.permutations(closings))
    assert counters(*shuffled, watermarks) == counters(uses, closings, watermarks)


@settings(max_examples=60)
@given(USES, CLOSINGS, WATERMARKS)
def test_the_lists_counter_and_what_came_since_make_the_whole(
    uses: list[Use], closings: list[Closing], watermarks: dict[str, int]
) -> None:
    """What a list made at the watermarks counts, plus what is added since, is what is held."""
    counted_uses = [u for u in uses if u.seq_no <= watermarks.get(u.box_id, 0)]
    counted_closings = [c for c in closings if c.seq_no <= watermarks.get(c.box_id, 0)]
    then, now = (
        History(tuple(counted_uses), tuple(counted_closings)),
        History(tuple(uses), tuple(closings), watermarks),
    )
    for basis in Basis:
        assert then.held(basis) + now.used_since_list(basis) == now.held(basis)


@pytest.mark.parametrize("status", TicketStatus)
def test_every_status_is_read_by_its_word(status: TicketStatus) -> None:
    """As the list writes it."""
    assert read_status(status.value) is status


def test_a_status_of_a_later_release_is_for_staff_to_look_up() -> None:
    """Never an error at the gate, and never a valid ticket."""
    assert read_status("half-price-only") is TicketStatus.BLOCKED


def test_what_the_list_counted_is_told_by_basis_in_persons_and_in_fen() -> None:
    """Only uses that the list's watermark covers; without a list nothing is counted."""
    old = use(1, quantity=2, fare_fen=700)
    new = use(9, quantity=5, fare_fen=900)
    history = History((old, new), (), {"box-1": 10})
    assert (history.counted(Basis.TICKET, ""), history.counted_fare_fen(Basis.TICKET)) == (2, 700)
    assert history.counted(Basis.FREE_VISIT, "") == 0
    assert history.uncounted().counted(Basis.TICKET, "") == 0
    assert history.uncounted().used_since_list(Basis.TICKET) == 7


def test_the_ends_of_a_use_are_its_own() -> None:
    """Those of other admissions say nothing about it."""
    history = History((use(1), use(2)), (closing(1, O.PASSED), closing(1, O.UNKNOWN)))
    assert history.outcomes(use(1)) == {O.PASSED, O.UNKNOWN}
    assert history.outcomes(use(2)) == frozenset()
