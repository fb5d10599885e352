"""When the ledger is told what the clock is worth."""

from __future__ import annotations

import asyncio

import pytest

from admission.events import ClockNoted
from gate_agent.clock import TrustedClock
from gate_agent.clock_notes import STEP_MS, ClockNotes
from simulator.fakes import FakeClock
from tests.admission.makers import NOW_MS

YEARS_MS = 10 * 365 * 86_400_000


class Ledger:
    """Takes notes, unless it is full."""

    def __init__(self) -> None:
        self.notes: list[tuple[int, ClockNoted]] = []
        self.is_full = False

    async def write(self, at_ms: int, note: ClockNoted) -> bool:
        """Add a note."""
        if not self.is_full:
            self.notes.append((at_ms, note))
        return not self.is_full


def scene(wall_ms: int = NOW_MS, proved_ms: int = 0) -> tuple[FakeClock, Ledger, ClockNotes]:
    """A clock, a ledger, and what writes from one into the other."""
    system, ledger = FakeClock(wall_ms), Ledger()
    clock = TrustedClock(system)
    clock.prove(proved_ms)
    return system, ledger, ClockNotes(clock, ledger.write)


def look(notes: ClockNotes) -> None:
    """Look once."""
    asyncio.run(notes.look())


def test_a_start_is_noted_and_time_that_only_passes_is_not() -> None:
    """However often it is looked."""
    system, ledger, notes = scene()
    for _ in range(3):
        look(notes)
        system.advance(3_600_000)
    assert [(at_ms, note.is_sure) for at_ms, note in ledger.notes] == [(NOW_MS, True)]


@pytest.mark.parametrize(
    ("step_ms", "is_noted"), [(STEP_MS, False), (STEP_MS + 1, True), (-STEP_MS - 1, True)]
)
def test_a_clock_that_was_set_is_noted(step_ms: int, is_noted: bool) -> None:
    """One that slews is not."""
    system, ledger, notes = scene()
    look(notes)
    system.turn(step_ms)
    look(notes)
    assert (len(ledger.notes) == 2) == is_noted


def test_a_change_of_worth_is_noted_with_the_least_that_it_can_be() -> None:
    """Ten years back it is not sure; corrected it is."""
    system, ledger, notes = scene(proved_ms=NOW_MS)
    look(notes)
    system.turn(-YEARS_MS)
    look(notes)
    system.turn(YEARS_MS)
    look(notes)
    assert [note.is_sure for _, note in ledger.notes] == [True, False, True]
    assert {note.least_ms for _, note in ledger.notes} == {NOW_MS}


def test_a_note_that_found_no_room_is_written_later() -> None:
    """Nothing is forgotten."""
    _, ledger, notes = scene()
    ledger.is_full = True
    look(notes)
    ledger.is_full = False
    look(notes)
    assert len(ledger.notes) == 1
