"""Short runs of the campaigns; `make frames` and `make fuzz` run as long as is wanted."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest

from scanner.sighting import Point, Sighting
from simulator.pictures import HOSTILE, Gray, Shot, shots
from tests.scanner import fuzz
from tests.scanner.campaign import Campaign


@pytest.mark.parametrize("draw", HOSTILE, ids=lambda draw: draw.__name__.strip("_"))
def test_hostile_pictures_are_read_rightly_or_not_at_all(draw: Callable[[np.random.Generator], Shot]) -> None:
    """No kind of hostile picture makes a stage raise or read what is not there."""
    campaign, rng = Campaign(), np.random.default_rng(7)
    for _ in range(17):  # every stage has its turn
        campaign.show(draw(rng))
    assert campaign.tally.misread == []


def test_a_mixed_run_reads_showings_and_nothing_else() -> None:
    """Of three hundred pictures many showings are read, and nothing that is not there."""
    campaign = Campaign()
    for shot in islice(shots(1), 300):
        campaign.show(shot)
    assert campaign.tally.misread == []
    assert campaign.tally.read > 50
    assert campaign.tally.kinds["empty"] == 0


def test_a_reader_that_invents_is_caught() -> None:
    """The campaign counts what a reader says beyond the truth."""
    campaign = Campaign(_Inventor())
    for shot in islice(shots(1), 3):
        campaign.show(shot)
    assert len(campaign.tally.misread) == 3


class _Inventor:
    name = "inventor"

    def decode(self, gray: Gray) -> list[Sighting]:
        corner = Point(0, 0)
        return [Sighting(b"never shown", (corner, corner, corner, corner), self.name)]


@pytest.mark.parametrize("name", fuzz.targets())
def test_a_short_fuzzing_finds_nothing(name: str) -> None:
    """Three hundred changed inputs of each kind; `make fuzz` goes on for minutes."""
    target, chance = fuzz.targets()[name], random.Random(11)
    for _ in range(300):
        target(chance)
