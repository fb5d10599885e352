"""Two cameras on one box: how decoding scales over cores, and what a hostile picture costs the lane beside it.

`python -m bench.two_cameras` decodes the same frames with one lane and with two at once, and then runs an ordinary
lane beside one that is shown noise, a wall of finder patterns, or twelve megapixels. Compare within one run only.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import segno
from numpy.typing import NDArray

from scanner.camera import Camera, CameraSettings
from scanner.capture import prepare_opencv
from scanner.decoder import CascadeDecoder
from scanner.presentation import Presentation
from scanner.sources import CameraSource
from simulator.pictures import wall

SCALING_S = 4.0
HOSTILE_S = 9.0
SHARE_PCT = 80
FPS = 25
Picture = NDArray[np.uint8]


def code() -> Picture:
    """A ticket-sized code, gray."""
    matrix = segno.make("SG1:" + "A" * 170, error="q").matrix_iter(scale=5, border=4)
    return np.array([[0 if dark else 255 for dark in row] for row in matrix], np.uint8)


def street(rng: np.random.Generator, *, with_code: bool) -> Picture:
    """A 720p picture as a gate camera mostly sees it: soft shapes, a sensor's noise, perhaps a code."""
    coarse = rng.integers(60, 200, (9, 16)).astype(np.uint8)
    picture = np.asarray(cv2.resize(coarse, (1280, 720), interpolation=cv2.INTER_CUBIC), np.int16)
    picture = picture + rng.normal(0, 3, picture.shape).astype(np.int16)
    gray = np.clip(picture, 0, 255).astype(np.uint8)
    if with_code:
        held = code()
        gray[100 : 100 + held.shape[0], 400 : 400 + held.shape[1]] = held
    return gray


def hostile(rng: np.random.Generator) -> Mapping[str, Picture]:
    """What the lane beside the measured one is shown."""
    return {
        "a second ordinary lane": street(rng, with_code=True),
        "noise": rng.integers(0, 256, (720, 1280)).astype(np.uint8),
        "a wall of finder patterns": wall(4, 1080, 1920),
        "12 megapixels of noise": rng.integers(0, 256, (3000, 4000)).astype(np.uint8),
    }


def decode_for(seconds: float, frames: list[Picture], lanes: int) -> float:
    """Frames a second that so many lanes decode together, each on a thread of its own."""
    counts = [0] * lanes
    end_s = time.monotonic() + seconds

    def work(lane: int) -> None:
        decoder = CascadeDecoder()
        while time.monotonic() < end_s:
            decoder.decode(frames[counts[lane] % len(frames)])
            counts[lane] += 1

    threads = [threading.Thread(target=work, args=(lane,)) for lane in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


@dataclass(frozen=True, slots=True)
class Beside:
    """How the ordinary lane and the one beside it did: ages from capture to decoded, and frames a second."""

    age_p50_ms: float
    age_p99_ms: float
    own_age_p99_ms: float
    own_decoded_fps: float


async def run_beside(folder: Path, picture: Picture) -> Beside:
    """Runs an ordinary lane beside one that is shown a picture."""
    sources = [_lane(folder / "ordinary"), _lane(_saved(folder / "beside", picture))]
    running = [asyncio.create_task(source.run()) for source in sources]
    await asyncio.sleep(HOSTILE_S)
    ordinary, own = (source.health() for source in sources)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    return Beside(
        ordinary.age_p50_ms or 0.0, ordinary.age_p99_ms or 0.0, own.age_p99_ms or 0.0, own.decoded / HOSTILE_S
    )


def _lane(folder: Path) -> CameraSource:
    camera = Camera(CameraSettings(str(folder), fps=FPS, loop=True))
    return CameraSource(folder.name, camera, CascadeDecoder(), Presentation(), share_pct=SHARE_PCT)


def _saved(folder: Path, picture: Picture) -> Path:
    folder.mkdir(exist_ok=True)
    # BMP: what is measured is decoding codes, not unpacking pictures.
    cv2.imwrite(str(folder / "0.bmp"), cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))
    return folder


def main() -> None:
    """Prints both results, and all of it as one JSON object."""
    prepare_opencv()
    rng = np.random.default_rng(11)
    frames = [street(rng, with_code=number % 4 == 0) for number in range(8)]
    one, two = (decode_for(SCALING_S, frames, lanes) for lanes in (1, 2))
    print(
        f"decoding: one lane {one:.0f} frames/s, two lanes {two:.0f} frames/s together, ratio {two / one:.2f}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _saved(folder / "ordinary", frames[0])
        results = {
            beside: asyncio.run(run_beside(folder, picture)) for beside, picture in hostile(rng).items()
        }
    calm = next(iter(results.values()))
    print("| beside it is shown | its age p50 | p99 | p99 ratio | hostile lane: age p99 | frames/s |")
    print("|---|---|---|---|---|---|")
    for beside, result in results.items():
        ratio = result.age_p99_ms / calm.age_p99_ms
        print(
            f"| {beside} | {result.age_p50_ms:.1f} ms | {result.age_p99_ms:.1f} ms | {ratio:.2f} "
            f"| {result.own_age_p99_ms:.1f} ms | {result.own_decoded_fps:.1f} |"
        )
    told = {beside: asdict(result) for beside, result in results.items()}
    print(json.dumps({"lanes_ratio": round(two / one, 2), "beside": told}))


if __name__ == "__main__":
    main()
