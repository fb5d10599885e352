"""Other gates' cases, where they are at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vectors import jsonlogic_triples
from tests.vectors.run import run

SHARED = Path(__file__).parents[3] / "shared" / "vectors"


def _vectors(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not beside this checkout")
    return path


def test_a_peers_scenarios_come_out_as_theirs() -> None:
    """What the peer's own tests expect of an offline gate, our engine answers; nothing is left out unnamed."""
    report = run(_vectors("offline_scenarios.json"))
    assert report["failed"] == {}
    assert report["passed"] + len(report["unsupported"]) == report["cases"]
    assert report["passed"] >= 29


def test_the_jsonlogic_projects_triples_come_out_as_theirs() -> None:
    """Every rule of the official tests has its official result."""
    report = jsonlogic_triples.run(_vectors("jsonlogic_official.json"))
    assert (report["passed"], report["failed"]) == (report["cases"], [])
