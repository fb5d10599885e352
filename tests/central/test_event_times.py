"""When what boxes tell happened, whatever their clocks say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from admission.events import ClockNoted, Entry, Incident
from admission.tickets import Outcome
from central.event_times import AHEAD_MS, BEHIND_MS, BoxClock, event_time
from central.ingest import ingest
from central.reconcile import forget
from central.schema import incidents, uses
from sync.protocol import Stream
from tests.central.test_reconcile import KEY, connection, fold_all
from tests.central.world import NOW_MS, Box, admission_id, admitted, register

__all__ = ["connection"]
YEARS_MS = 10 * 365 * 86_400_000
HOUR_MS = 3_600_000


def at(wall_ms: int, event: object = None) -> Entry:
    """An entry that a box wrote at some time by its clock."""
    return Entry(1, wall_ms, event or Incident("1", Outcome.FORCED))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told_ms", "latest_ms", "received_ms", "taken_ms"),
    [
        (NOW_MS, 0, NOW_MS, NOW_MS),
        (NOW_MS - 7 * 24 * HOUR_MS, 0, NOW_MS, NOW_MS - 7 * 24 * HOUR_MS),  # a week without a network
        (NOW_MS + AHEAD_MS, 0, NOW_MS, NOW_MS + AHEAD_MS),
        (NOW_MS + AHEAD_MS + 1, 0, NOW_MS, NOW_MS),
        (NOW_MS + YEARS_MS, 0, NOW_MS, NOW_MS),
        (NOW_MS + YEARS_MS, 0, 0, NOW_MS + YEARS_MS),  # received before that was noted
        (NOW_MS - BEHIND_MS, NOW_MS, NOW_MS, NOW_MS - BEHIND_MS),
        (NOW_MS - BEHIND_MS - 1, NOW_MS, NOW_MS, NOW_MS),
        (NOW_MS - YEARS_MS, NOW_MS, NOW_MS + HOUR_MS, NOW_MS),
    ],
)
def test_an_impossible_time_is_the_nearest_possible(
    told_ms: int, latest_ms: int, received_ms: int, taken_ms: int
) -> None:
    """Not after it was received, and not before what the box told before; what is possible is as it was told."""
    when, behind = event_time(BoxClock(latest_ms), at(told_ms), received_ms)
    assert (when.at_ms, when.goes_wrong) == (taken_ms, taken_ms != told_ms)
    assert behind == BoxClock(max(latest_ms, taken_ms), is_wrong=taken_ms != told_ms)


def test_a_clock_that_is_sure_again_is_believed() -> None:
    """It ran ahead by less than the journey took; from the box's own note on it counts as it says."""
    ahead = BoxClock(NOW_MS + HOUR_MS)
    assert event_time(ahead, at(NOW_MS, ClockNoted(5, True, NOW_MS - HOUR_MS)), NOW_MS)[0].at_ms == NOW_MS
    assert event_time(ahead, at(NOW_MS, ClockNoted(5, False, 0)), NOW_MS)[0].at_ms == NOW_MS + HOUR_MS


def test_what_a_wrong_clock_of_the_centre_s_proved_bounds_nothing() -> None:
    """It lies behind the arrival: the entry is of that time at the latest, and the next ones are believed."""
    note = ClockNoted(5, False, NOW_MS + YEARS_MS)
    when, behind = event_time(BoxClock(), at(NOW_MS + YEARS_MS, note), NOW_MS)
    assert (when.at_ms, when.goes_wrong) == (NOW_MS, True)
    assert event_time(behind, at(NOW_MS + 1), NOW_MS + HOUR_MS)[0].at_ms == NOW_MS + 1


def test_what_the_box_has_proved_bounds_what_it_tells() -> None:
    """A cold boot in another year: not before the centre's last signed word that the box had."""
    note = ClockNoted(5, False, NOW_MS - HOUR_MS)
    when, behind = event_time(BoxClock(), at(NOW_MS - YEARS_MS, note), NOW_MS)
    assert (when.at_ms, when.goes_wrong) == (NOW_MS - HOUR_MS, True)
    assert event_time(behind, at(NOW_MS - YEARS_MS), NOW_MS)[0].goes_wrong is False, "it is wrong, not anew"


@given(st.lists(st.integers(-YEARS_MS, YEARS_MS)))
def test_no_time_is_later_than_its_arrival_or_much_before_its_predecessor(offsets_ms: list[int]) -> None:
    """Whatever a clock does."""
    clock, before_ms = BoxClock(), 0
    for received_ms, offset_ms in enumerate(offsets_ms, NOW_MS):
        when, clock = event_time(clock, at(NOW_MS + offset_ms), received_ms)
        assert before_ms - BEHIND_MS <= when.at_ms <= received_ms + AHEAD_MS
        before_ms = max(before_ms, when.at_ms)


def test_uses_of_a_wild_clock_are_of_the_day_they_came_and_reported_once(connection: Connection) -> None:
    """Ten years ahead, then right again: one incident, no use in the future, the raw entries as they were written."""
    box = Box()
    register(connection, box)
    box.append(ClockNoted(1, True, 0), NOW_MS)
    for number, off_ms in enumerate((0, YEARS_MS, YEARS_MS + HOUR_MS), 1):
        box.append(admitted(number, KEY), NOW_MS + off_ms)
    box.append(ClockNoted(9, True, 0), NOW_MS + HOUR_MS)
    box.append(admitted(4, KEY), NOW_MS + HOUR_MS)
    ingest(connection, box.topics.up(Stream.LEDGER), box.batch(), NOW_MS + HOUR_MS)
    for _ in range(2):
        fold_all(connection)
        times = dict(connection.execute(select(uses.c.admission_id, uses.c.at_ms)).all())
        late_ms = NOW_MS + HOUR_MS
        assert [times[admission_id(number)] for number in (1, 2, 3, 4)] == [NOW_MS, late_ms, late_ms, late_ms]
        found = connection.execute(select(incidents.c.seq_no, incidents.c.kind)).all()
        assert [tuple(row) for row in found] == [(3, "wrong_clock")]
        forget(connection)
