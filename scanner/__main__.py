"""`python -m scanner read ADDRESS`: what a camera or a picture shows, code by code, for whoever installs one."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from scanner.camera import Camera, CameraSettings
from scanner.decoder import CascadeDecoder, look_everywhere
from scanner.presentation import Presentation
from scanner.sources import CameraSource


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; the exit status is 0 when a code was read."""
    parser = argparse.ArgumentParser(prog="python -m scanner")
    commands = parser.add_subparsers(required=True)
    read = commands.add_parser("read", help="print every code that a picture or a camera shows")
    read.add_argument(
        "address", help="picture, video file, folder of pictures, /dev/videoN, rtsp:// or http://"
    )
    read.add_argument("--seconds", type=float, default=10.0, help="how long to watch a camera (default 10)")
    options = parser.parse_args(arguments)
    picture = cv2.imread(options.address, cv2.IMREAD_GRAYSCALE) if Path(options.address).is_file() else None
    if picture is not None:
        return 0 if _read_picture(np.asarray(picture, np.uint8)) else 1
    return 0 if asyncio.run(_read_camera(options.address, options.seconds)) else 1


def _read_picture(gray: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> int:
    began_ns = time.monotonic_ns()
    sightings = look_everywhere(gray)
    took_ms = (time.monotonic_ns() - began_ns) / 1e6
    for seen in sightings:
        print(f"{seen.engine}\t{took_ms:.1f} ms\t{seen.payload!r}", flush=True)
    return len(sightings)


async def _read_camera(address: str, seconds: float) -> int:
    source = CameraSource("camera", Camera(CameraSettings(address)), CascadeDecoder(), Presentation())
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(source.run())
        scans = await _print_scans(source, seconds)
        print(source.health(), file=sys.stderr)
        running.cancel()
    return scans


async def _print_scans(source: CameraSource, seconds: float) -> int:
    scans = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                scan = await source.next_scan()
                scans += 1
                age_ms = (time.monotonic_ns() - scan.captured_ns) / 1e6
                engines = {seen.engine for seen in view.sightings} if (view := source.view()) else set()
                print(f"{'/'.join(sorted(engines))}\t{age_ms:.1f} ms\t{scan.payload!r}", flush=True)
    except TimeoutError:
        return scans


if __name__ == "__main__":
    sys.exit(main())
