"""The box in numbers: a real scrape, its names and units, and the files that are written against it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from admission.passage import Signal, State
from gate_agent.health import Neighbourhood
from sync.protocol import NeighbourHealth
from tests.gate_agent.gate import ticket_code
from tests.gate_agent.test_web import TOKEN, Site, opened_site
from tests.support.waiting import until

PROJECT = Path(__file__).parents[2]
DASHBOARD = PROJECT / "systemd" / "grafana" / "scenic-gate.json"
ALERTS = PROJECT / "systemd" / "prometheus" / "scenic-gate.rules.yml"
METRICS_PAGE = PROJECT / "docs" / "METRICS.md"
LABELS = {"lane", "verdict", "reason", "outcome", "what", "state", "link", "neighbour", "version", "le"}
"""Every label there is: none of them can take more values than a site has lanes, boxes or reasons."""


async def _scraped(site: Site, **options: Any) -> dict[str, Metric]:
    status, text = await site.get("/metrics", **options)
    assert status == 200
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


def _value(family: Metric, suffix: str = "", **labels: str) -> float:
    (sample,) = [s for s in family.samples if s.labels == labels and s.name == family.name + suffix]
    return float(sample.value)


def _two_boxes() -> Neighbourhood:
    heard = NeighbourHealth(box_id="B2", silent_s=3, behind=7)
    return Neighbourhood(True, (heard, NeighbourHealth(box_id="B3", silent_s=None, behind=0)), ())


@pytest.fixture
async def busy(tmp_path: Path) -> dict[str, Metric]:
    """What a box with neighbours says after an admission, a refusal, and someone who forced a barrier."""
    async with opened_site(tmp_path, neighbourhood=_two_boxes) as site:
        tally = site.lane.lane.tally
        await site.scan({"lane": "lane-1", "payload": ticket_code().decode()})
        site.lane.turnstile.walk_through()
        await until(lambda: bool(tally.outcomes), "nobody passed")
        await site.lane.becomes(State.CLOSED)
        site.lane.turnstile.report(Signal.FORCED)
        await until(lambda: bool(tally.incidents), "no incident")
        await site.scan({"lane": "lane-2", "payload": "no ticket"})
        return await _scraped(site)


def test_answers_closings_and_waits_are_counted(busy: dict[str, Metric]) -> None:
    """What a lane answered, how it ended and how long it took stands in the scrape."""
    decisions = busy["gate_decisions"]
    assert _value(decisions, "_total", lane="lane-1", verdict="ADMIT", reason="TICKET") == 1
    assert _value(decisions, "_total", lane="lane-2", verdict="DENY", reason="NOT_A_TICKET") == 1
    assert _value(busy["gate_closings"], "_total", lane="lane-1", outcome="PASSED") == 1
    assert _value(busy["gate_incidents"], "_total", lane="lane-1", what="FORCED") == 1
    assert _value(busy["gate_decision_seconds"], "_count", lane="lane-1") == 1
    assert _value(busy["gate_frame_to_release_seconds"], "_count", lane="lane-1") == 1
    assert _value(busy["gate_frame_to_release_seconds"], "_bucket", lane="lane-2", le="+Inf") == 0
    assert _value(busy["gate_barrier_state"], lane="lane-2", state="CLOSED") == 1


def test_the_store_the_links_and_the_camera_are_measured(busy: dict[str, Metric]) -> None:
    """What lies in the outbox, how neighbours are heard and how cameras do stands in the scrape."""
    assert _value(busy["gate_commit_seconds"], "_count") >= 2
    assert _value(busy["gate_state_free_bytes"]) > 0
    assert _value(busy["gate_outbox_entries"]) >= 2
    assert _value(busy["gate_link_up"], link="centre") == _value(busy["gate_link_up"], link="site") == 1
    assert _value(busy["gate_neighbour_behind_entries"], neighbour="B2") == 7
    assert [s.labels["neighbour"] for s in busy["gate_neighbour_silent_seconds"].samples] == ["B2"]
    assert _value(busy["gate_camera_frame_age_seconds"], lane="lane-1") == 0.04
    assert _value(busy["process_resident_memory_bytes"]) > 0


def test_names_and_units_are_those_of_prometheus(busy: dict[str, Metric]) -> None:
    """Names are of one form, counters and units are told by their ends, everything has a help, labels stay few."""
    for name, family in busy.items():
        assert re.fullmatch(r"(gate|process)_[a-z_]+", name)
        assert family.documentation
        assert not re.search(r"_(ms|milliseconds|kb|mb|percent|count|total|bucket)$", name)
        if name.startswith("gate_"):
            assert family.documentation.endswith(".")
            assert {label for sample in family.samples for label in sample.labels} <= LABELS


def test_the_page_of_metrics_names_each_with_its_type(busy: dict[str, Metric]) -> None:
    """docs/METRICS.md has one row for each metric of ours, and none for what is not there."""
    written = dict(re.findall(r"^\| `(gate_\w+)` \| (\w+) \|", METRICS_PAGE.read_text("utf-8"), re.MULTILINE))
    known = {
        name + ("_total" if family.type == "counter" else ""): family.type
        for name, family in busy.items()
        if name.startswith("gate_")
    }
    assert written == known


async def test_with_a_token_the_metrics_ask_for_it(tmp_path: Path) -> None:
    """A box that is reached from outside shows its numbers to whoever has its token."""
    async with opened_site(tmp_path, TOKEN) as site:
        status, _ = await site.get("/metrics")
        assert status == 401
        assert "gate_build_info" in await _scraped(site, headers={"Authorization": f"Bearer {TOKEN}"})


def _expressions(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (value for key, value in part.items() if key == "expr")
        for value in part.values():
            yield from _expressions(value)
    elif isinstance(part, list):
        for value in part:
            yield from _expressions(value)


def _unknown(expressions: Iterator[str], families: dict[str, Metric]) -> set[str]:
    samples = {sample.name for family in families.values() for sample in family.samples}
    used = {name for expr in expressions for name in re.findall(r"\b(?:gate|process)_[a-z_]+", expr)}
    assert used
    return used - samples


def test_the_dashboard_asks_only_for_metrics_that_exist(busy: dict[str, Metric]) -> None:
    """Every expression of the Grafana dashboard uses metrics of a real scrape, on a data source that is chosen."""
    board = json.loads(DASHBOARD.read_text("utf-8"))
    assert _unknown(_expressions(board), busy) == set()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {"${source}"}


def test_the_alerts_ask_only_for_metrics_that_exist(busy: dict[str, Metric]) -> None:
    """Every alert uses metrics of a real scrape, and says in both languages what to do."""
    rules = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"][0]["rules"]
    assert _unknown((rule["expr"] for rule in rules), busy) == set()
    for rule in rules:
        assert {"summary", "summary_zh"} <= rule["annotations"].keys()
