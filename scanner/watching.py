"""What `python -m scanner` watches and prints: codes as they are read, or how well they can be."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.camera import Camera, Frame
from scanner.capture import prepare_opencv
from scanner.decoder import CascadeDecoder, look_everywhere
from scanner.presentation import Presentation
from scanner.settings import CameraSettings
from scanner.sources import CameraSource, SourceHealth
from scanner.trouble import Trouble
from scanner.tuning import Measure, advice, measure

_POLL_S = 0.1
_TUNE_EVERY_S = 1.0
_ENDED_FOR_MS = 500


def read_picture(gray: NDArray[np.uint8], *, as_json: bool) -> int:
    """Prints the codes in one picture; how many there were."""
    began_ns = time.monotonic_ns()
    sightings = look_everywhere(gray)
    took_ms = round((time.monotonic_ns() - began_ns) / 1e6, 1)
    for seen in sightings:
        _print_read(seen.engine, took_ms, seen.payload, as_json=as_json)
    return len(sightings)


async def read_camera(settings: CameraSettings, seconds: float, *, as_json: bool) -> int:
    """Prints each showing and, at the end, how the camera did; how many showings there were."""
    scans = 0
    async with _watching(settings) as source:
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s and not _has_ended(source):
            try:
                async with asyncio.timeout(_POLL_S):
                    scan = await source.next_scan()
            except TimeoutError:
                continue
            scans += 1
            age_ms = round((time.monotonic_ns() - scan.captured_ns) / 1e6, 1)
            _print_read(source.health().last_stage, age_ms, scan.payload, as_json=as_json)
        health = source.health()
    _print_summary(health, scans, as_json=as_json)
    return scans


def tune(settings: CameraSettings, seconds: float, *, as_json: bool) -> int:
    """Prints once a second what the camera sees, and what would make it better; how often a code was in view."""
    prepare_opencv()
    camera, decoder = Camera(settings), CascadeDecoder()
    camera.start()
    read, number, newest = 0, 0, Measure(0, None, None)
    began_s = said_s = time.monotonic()
    try:
        while time.monotonic() - began_s < seconds and camera.health().trouble is not Trouble.ENDED:
            frame = camera.wait_newer(number, _POLL_S)
            if frame is not None:
                number = frame.number
                newest = _measured(frame, settings, decoder, newest)
            if time.monotonic() - said_s >= _TUNE_EVERY_S:
                said_s = time.monotonic()
                read += newest.code is not None
                _print_measure(newest, camera, as_json=as_json)
                newest = Measure(newest.brightness_pct, newest.trouble, None)
        _print_measure(newest, camera, as_json=as_json)
        return read + (newest.code is not None)
    finally:
        camera.stop()


def _measured(frame: Frame, settings: CameraSettings, decoder: CascadeDecoder, before: Measure) -> Measure:
    """What a frame shows; the code is that of the frame before when this one was read by no stage."""
    gray = np.asarray(cv2.cvtColor(settings.region.crop(frame.image), cv2.COLOR_BGR2GRAY), np.uint8)
    height, width = gray.shape
    seen = max(decoder.decode(gray), key=lambda found: found.prominence(width, height), default=None)
    now = measure(gray, seen)
    return now if seen else Measure(now.brightness_pct, now.trouble, before.code)


@asynccontextmanager
async def _watching(settings: CameraSettings) -> AsyncIterator[CameraSource]:
    source = CameraSource(
        "camera", Camera(settings), CascadeDecoder(), Presentation(), region=settings.region
    )
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(source.run())
        yield source
        running.cancel()


def _has_ended(source: CameraSource) -> bool:
    """Whether a recording has ended, and its last frame has been looked at."""
    health = source.health().camera
    return health.trouble is Trouble.ENDED and (health.age_ms or _ENDED_FOR_MS) >= _ENDED_FOR_MS


def _print_read(stage: str, age_ms: float, payload: bytes, *, as_json: bool) -> None:
    if as_json:
        _print_json({"stage": stage, "age_ms": age_ms, "payload": payload.decode("latin-1")})
    else:
        print(f"{stage}\t{age_ms:.1f} ms\t{payload!r}", flush=True)


def _print_summary(health: SourceHealth, scans: int, *, as_json: bool) -> None:
    camera = health.camera
    wording = camera.trouble.wording if camera.trouble else None
    summary = {
        "showings": scans,
        "frames": camera.frames,
        "decoded": health.decoded,
        "fps": camera.fps,
        "reads": dict(health.reads),
        "age_ms": {"p50": health.age_p50_ms, "p99": health.age_p99_ms},
        "problem": wording.problem if wording else "",
        "do_en": wording.do_en if wording else "",
        "do_zh": wording.do_zh if wording else "",
        "refused": list(camera.refused),
    }
    if as_json:
        _print_json(summary)
        return
    for name, value in summary.items():
        if value not in ("", [], {}):
            print(f"{name}: {value}", file=sys.stderr, flush=True)


def _print_measure(seen: Measure, camera: Camera, *, as_json: bool) -> None:
    health = camera.health()
    wording = health.trouble.wording if health.trouble and not health.frames else None
    sentences = [(wording.do_en, wording.do_zh)] if wording else [(said.en, said.zh) for said in advice(seen)]
    if as_json:
        code = asdict(seen.code) if seen.code else None
        told = {"fps": health.fps, "brightness_pct": seen.brightness_pct, "code": code}
        _print_json(
            {**told, "problem": health.problem, "advice": [{"en": en, "zh": zh} for en, zh in sentences]}
        )
        return
    print(f"{health.fps:4.1f} fps  brightness {seen.brightness_pct:3} %  {_said(seen)}", flush=True)
    for en, zh in ((health.problem, ""), *sentences):
        if en:
            print(f"     → {en} {zh}".rstrip(), flush=True)


def _said(seen: Measure) -> str:
    code = seen.code
    if code is None:
        return "no code"
    module = f"{code.module_px:.1f} px" if code.module_px else "unknown"
    return (
        f"module {module}  sharpness {code.sharpness_pct} %  contrast {code.contrast_pct} %  "
        f"slant {code.slant:.1f}  fills {code.fills:.0%}  read by {code.stage}"
    )


def _print_json(value: Mapping[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)
