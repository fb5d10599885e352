"""The box in numbers, for Prometheus: read when it is scraped, from what the box keeps anyway.

No label can grow without bound or hold anything of a person or a code: lanes, reasons, outcomes and boxes are few.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from admission.passage import State
from gate_agent.buckets import Buckets
from gate_agent.health import BoxView, Eye, Post
from offline_cache.database import CommitTally

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class MetricSources:
    """Where the numbers come from that are not on the picture of the box."""

    commits: CommitTally
    state_dir: Path


class _Given(Collector):
    """Families that were made already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


async def scrape(view: BoxView, sources: MetricSources) -> bytes:
    """Return all metrics in Prometheus' text format."""
    families = [
        *_box(view, await view.backlog(), await view.diary_backlog()),
        *_store(sources),
        *_lanes(view),
        *_cameras(view),
    ]
    registry = CollectorRegistry()
    registry.register(_Given(families))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def _gauge(
    name: str, help_text: str, value: float | None = None, labels: tuple[str, ...] = ()
) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, value=value, labels=None if value is not None else labels)


def _box(view: BoxView, backlog: int, diary_backlog: int) -> Iterator[Metric]:
    build = _gauge("gate_build_info", "The release that runs here.", labels=("version",))
    build.add_metric([metadata.version("scenic-gate")], 1)
    yield build
    info = view.list_info()
    yield _gauge("gate_list_version", "Version of the list in use; 0 for none.", info.version if info else 0)
    yield _gauge(
        "gate_list_age_seconds", "Time since the moment up to which all tickets are known.", view.list_age_s()
    )
    yield _gauge("gate_outbox_entries", "Ledger entries that the centre has not confirmed.", backlog)
    yield _gauge("gate_outbox_refusals", "Diary rows that the centre has not confirmed.", diary_backlog)
    yield _gauge("gate_problems", "How many things are wrong; /healthz names them.", len(view.problems()))
    yield from _links(view)


def _links(view: BoxView) -> Iterator[Metric]:
    link = _gauge("gate_link_up", "Whether the link is up: 1 or 0.", labels=("link",))
    link.add_metric(["centre"], view.link_is_up())
    neighbourhood = view.neighbourhood()
    silent = _gauge(
        "gate_neighbour_silent_seconds", "Time since a neighbour's last word.", labels=("neighbour",)
    )
    behind = _gauge(
        "gate_neighbour_behind_entries", "Ledger entries of a neighbour not heard yet.", labels=("neighbour",)
    )
    if neighbourhood is not None:
        link.add_metric(["site"], neighbourhood.is_up)
        for neighbour in neighbourhood.neighbours:
            behind.add_metric([neighbour.box_id], neighbour.behind)
            if neighbour.silent_s is not None:
                silent.add_metric([neighbour.box_id], neighbour.silent_s)
    yield from (link, silent, behind)


def _store(sources: MetricSources) -> Iterator[Metric]:
    commits = sources.commits
    yield SummaryMetricFamily(
        "gate_commit_seconds",
        "Time that a group of decisions took to be on the disk.",
        commits.groups,
        commits.seconds,
    )
    yield CounterMetricFamily(
        "gate_committed_closures", "Closures committed, several to a group.", commits.closures
    )
    free = shutil.disk_usage(sources.state_dir).free
    yield _gauge("gate_state_free_bytes", "Free space where the box's memory lies.", free)


def _lanes(view: BoxView) -> Iterator[Metric]:
    decisions = CounterMetricFamily("gate_decisions", "Answers given.", labels=("lane", "verdict", "reason"))
    closings = CounterMetricFamily("gate_closings", "How admissions ended.", labels=("lane", "outcome"))
    incidents = CounterMetricFamily(
        "gate_incidents", "Passages and openings with no admission behind them.", labels=("lane", "what")
    )
    barrier = _gauge("gate_barrier_state", "1 for the state the barrier is in.", labels=("lane", "state"))
    decided = HistogramMetricFamily(
        "gate_decision_seconds", "From a scan in hand to its answer on the disk.", labels=("lane",)
    )
    released = HistogramMetricFamily(
        "gate_frame_to_release_seconds", "From the frame that showed a code to the release.", labels=("lane",)
    )
    for lane_id, post in view.posts.items():
        tally = post.lane.tally
        for reason, count in sorted(tally.reasons.items()):
            decisions.add_metric([lane_id, reason.verdict, reason], count)
        for outcome, count in sorted(tally.outcomes.items()):
            closings.add_metric([lane_id, outcome.name], count)
        for what, count in sorted(tally.incidents.items()):
            incidents.add_metric([lane_id, what.name], count)
        for state in State:
            barrier.add_metric([lane_id, state.name], post.lane.state is state)
        _add_histogram(decided, lane_id, tally.decisions_s)
        _add_histogram(released, lane_id, tally.waits_s)
    yield from (decisions, closings, incidents, barrier, decided, released)


def _add_histogram(family: HistogramMetricFamily, lane_id: str, buckets: Buckets) -> None:
    family.add_metric([lane_id], buckets.cumulative(), buckets.total)


def _cameras(view: BoxView) -> Iterator[Metric]:
    up = _gauge("gate_camera_up", "Whether pictures come that can be read: 1 or 0.", labels=("lane",))
    fps = _gauge("gate_camera_frames_per_second", "Pictures that come from the camera.", labels=("lane",))
    age = _gauge("gate_camera_frame_age_seconds", "Age of the newest picture.", labels=("lane",))
    decode = _gauge("gate_camera_decode_seconds", "What the last picture took to decode.", labels=("lane",))
    decoded = CounterMetricFamily(
        "gate_camera_decoded_frames", "Pictures looked at for codes.", labels=("lane",)
    )
    reads = CounterMetricFamily(
        "gate_camera_read_frames",
        "Pictures that a code was read in, by the decoder's stage that read it.",
        labels=("lane", "stage"),
    )
    decode_age = _gauge(
        "gate_camera_decode_age_seconds",
        "From capture to decoded, 99 of 100 pictures of the last seconds stayed within it.",
        labels=("lane",),
    )
    for lane_id, eye in _eyes(view.posts.items()):
        status = eye.status()
        for stage, count in sorted(status.reads.items()):
            reads.add_metric([lane_id, stage], count)
        if status.decode_age_p99_ms is not None:
            decode_age.add_metric([lane_id], status.decode_age_p99_ms / 1000)
        up.add_metric([lane_id], not status.problem)
        fps.add_metric([lane_id], status.fps)
        decode.add_metric([lane_id], status.decode_ms / 1000)
        decoded.add_metric([lane_id], status.decoded)
        if status.age_ms is not None:
            age.add_metric([lane_id], status.age_ms / 1000)
    yield from (up, fps, age, decode, decoded, reads, decode_age)


def _eyes(posts: Iterable[tuple[str, Post]]) -> Iterator[tuple[str, Eye]]:
    return ((lane_id, post.eye) for lane_id, post in posts if post.eye is not None)
