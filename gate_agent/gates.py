"""A lane and the adapters it stands on, from its settings."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from admission.codes import same_showing
from config.settings import CameraTable, Driver, LaneTable
from gate_agent.health import CameraStatus, Eye
from gate_agent.lane import Lane, Rules
from gate_agent.ports import AdmissionStore, Attendant, Clock
from gate_agent.turnstiles.attendant import AttendantTurnstile
from gate_agent.turnstiles.simulated import SimulatedTurnstile
from gate_agent.turnstiles.tcp import TcpTurnstile
from gate_agent.watchdog import Signs
from scanner.camera import Camera, CameraSettings, CameraState
from scanner.decoder import CascadeDecoder
from scanner.presentation import Presentation
from scanner.sources import CameraSource

PICTURE_QUALITY = 75
_random = secrets.SystemRandom().random


@dataclass(frozen=True, slots=True)
class CameraEye:
    """A camera source as pages see it."""

    source: CameraSource

    def status(self) -> CameraStatus:
        """Return how the camera does."""
        health = self.source.health()
        camera = health.camera
        wording = camera.trouble.wording if camera.trouble else None
        is_seen = camera.state is CameraState.LIVE
        return CameraStatus(
            state=camera.state.value,
            fps=camera.fps,
            age_ms=camera.age_ms,
            decode_ms=health.decode_ms,
            problem=wording.problem if wording else "" if is_seen else "no picture yet",
            decoded=health.decoded,
            trouble=camera.trouble.value if camera.trouble else "",
            do_en=wording.do_en if wording else "",
            do_zh=wording.do_zh if wording else "",
            stage=health.last_stage,
            reads=health.reads,
            decode_age_p50_ms=health.age_p50_ms,
            decode_age_p99_ms=health.age_p99_ms,
            refused=camera.refused,
        )

    def jpeg(self, width: int) -> bytes | None:
        """Return the newest picture with the code outlined."""
        view = self.source.view()
        return view.jpeg(PICTURE_QUALITY, width) if view else None


@dataclass(frozen=True, slots=True)
class Gate:
    """One lane with the adapters it stands on."""

    lane: Lane
    turnstile: TcpTurnstile | AttendantTurnstile | SimulatedTurnstile
    source: CameraSource | None

    @property
    def eye(self) -> Eye | None:
        """The lane's camera for pages."""
        return CameraEye(self.source) if self.source else None

    @property
    def attendant(self) -> Attendant | None:
        """Who tells of passages, where the lane has no barrier."""
        return self.turnstile if isinstance(self.turnstile, AttendantTurnstile) else None

    def signs(self) -> Signs:
        """Return what the watchdog judges."""
        if self.source is None:
            return Signs(self.lane.answering_ms(), is_seeing=False, decoded=0)
        health = self.source.health()
        return Signs(self.lane.answering_ms(), health.camera.state is not CameraState.LOST, health.decoded)


def make_gate(
    table: LaneTable, rules: Rules, store: AdmissionStore, clock: Clock, on_recorded: Callable[[], None]
) -> Gate:
    """Return the gate that `table` describes; nothing of it runs yet."""
    turnstile = _turnstile(table)
    lane = Lane(
        table.id,
        replace(rules, lane=table.traits, lets_follow=not isinstance(turnstile, AttendantTurnstile)),
        store,
        turnstile,
        turnstile,
        clock,
        release_timeout_ms=table.turnstile.release_timeout_ms,
        on_recorded=on_recorded,
    )
    return Gate(lane, turnstile, _camera_source(table.id, table.camera) if table.camera else None)


def _turnstile(table: LaneTable) -> TcpTurnstile | AttendantTurnstile | SimulatedTurnstile:
    match table.turnstile.driver:
        case Driver.TCP:
            return TcpTurnstile(table.turnstile.host, table.turnstile.port, _random)
        case Driver.ATTENDANT:
            return AttendantTurnstile()
        case Driver.SIMULATED:
            return SimulatedTurnstile()


def _camera_source(lane_id: str, table: CameraTable) -> CameraSource:
    settings = msgspec.convert(table, CameraSettings, from_attributes=True)
    return CameraSource(
        f"camera {lane_id}",
        Camera(settings),
        CascadeDecoder(),
        Presentation(same=same_showing),
        region=settings.region,
        share_pct=table.decode_share_pct,
    )
