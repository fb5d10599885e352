"""The replayed holiday: who comes when, the picture, and a few minutes of it on the real programs."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from demo.holiday import BUS_PERSONS, CASES, MOST_WAIT_MS, arrivals, failures
from demo.holiday_chart import Chart, draw_chart

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", CASES)
def test_the_busiest_hour_has_the_cases_visitors(name: str) -> None:
    """Around the middle as many come in an hour as the load table says, give or take a few buses."""
    case = CASES[name]
    times = list(arrivals(case, (-30, 30), random.Random(5)))
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] <= 3600
    assert abs(len(times) - case.peak_hour) < 0.12 * case.peak_hour


def test_the_same_seed_brings_the_same_people() -> None:
    """A run can be repeated, and another seed is another day."""
    case = CASES["new-year"]
    first, again, other = (list(arrivals(case, (0, 5), random.Random(seed))) for seed in (1, 1, 2))
    assert first == again != other


def test_buses_come_all_at_once() -> None:
    """Queues come from buses, not from an even stream."""
    times = list(arrivals(CASES["may-day"], (0, 10), random.Random(3)))
    assert max(times.count(moment) for moment in set(times)) >= BUS_PERSONS[0]


def test_lanes_are_those_of_the_case() -> None:
    """A box has four lanes at most."""
    assert {name: sum(map(len, case.boxes.values())) for name, case in CASES.items()} == {
        "new-year": 3,
        "spring-festival": 4,
        "may-day": 8,
    }
    assert all(len(lanes) <= 4 for case in CASES.values() for lanes in case.boxes.values())


def test_the_picture_shows_everything_that_was_measured() -> None:
    """An SVG with a line for each measure, the limit, and a shade for each time without a network."""
    cut = [False, True, True, False, True]
    some = [1, 2, 3, 4, 5]
    chart = Chart("五一", [-2, -1, 0, 1, 2], some, some, some, some, some, some, cut)
    picture = ET.fromstring(draw_chart(chart))  # noqa: S314 - our own
    texts = " ".join(text.text or "" for text in picture.iter("{http://www.w3.org/2000/svg}text"))
    for words in ("五一", "arrive", "let in", "queues", "longest", "median", "backlog", "300 ms"):
        assert words in texts
    shades = [r for r in picture.iter("{http://www.w3.org/2000/svg}rect") if r.get("fill") == "#fbe9e7"]
    assert len(shades) == 2 * 3


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"lost": 1}, "lost"),
        ({"doubled": 1}, "doubled"),
        ({"answered": 9}, "answered"),
        ({"box_wait_ms": {"max": MOST_WAIT_MS + 1}}, "waited"),
    ],
)
def test_a_holiday_fails_for_each_thing_that_must_not_be(wrong: dict[str, Any], word: str) -> None:
    """Somebody lost, doubled, unanswered or kept waiting fails the run, and nothing else does."""
    well = {"lost": 0, "doubled": 0, "answered": 10, "visitors": 10, "box_wait_ms": {"max": MOST_WAIT_MS}}
    assert failures(well) == []
    (failure,) = failures(well | wrong)
    assert word in failure


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_some_minutes_of_a_holiday_lose_nobody(tmp_path: Path) -> None:
    """Real boxes, brokers and centre through the beginning of the outage: everyone let in is in the books."""
    command = [
        sys.executable,
        "-I",
        "-m",
        "demo.holiday",
        "may-day",
        "--minutes",
        "-12",
        "-8",
        "--speed",
        "30",
    ]
    command += ["--folder", str(tmp_path / "holiday"), "--picture", str(tmp_path / "picture.svg")]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["lost"], report["doubled"], report["answered"]) == (0, 0, report["visitors"])
    assert (report["lanes"], report["boxes"]) == (8, 2)
    assert report["admitted"] > 300
    assert report["largest_backlog"] > 0
    ET.parse(tmp_path / "picture.svg")  # noqa: S314 - our own
