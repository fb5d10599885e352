"""`python -m scanner read | tune ADDRESS`: what a camera or a picture shows, for whoever installs one."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import cv2
import numpy as np

from scanner.settings import CameraSettings
from scanner.watching import read_camera, read_picture, tune


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; the exit status is 0 when a code was read."""
    options = _parser().parse_args(arguments)
    settings = CameraSettings(
        options.address, width=options.width, height=options.height, exposure_us=options.exposure_us
    )
    if options.command == "tune":
        found = tune(settings, options.seconds, as_json=options.json)
    elif (picture := _picture(options.address)) is not None:
        found = read_picture(picture, as_json=options.json)
    else:
        found = asyncio.run(read_camera(settings, options.seconds, as_json=options.json))
    return 0 if found else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scanner")
    commands = parser.add_subparsers(dest="command", required=True)
    read = commands.add_parser("read", help="print every code that a picture or a camera shows")
    tuned = commands.add_parser("tune", help="say how a camera has to be placed and focused")
    for command, seconds in ((read, 10.0), (tuned, 60.0)):
        command.add_argument(
            "address",
            help="picture, video file, folder of pictures, /dev/videoN, rtsp://, http:// or udp:// address",
        )
        command.add_argument(
            "--seconds", type=float, default=seconds, help=f"how long to watch ({seconds:.0f})"
        )
        command.add_argument("--width", type=int, default=1280, help="pixels asked of a device (1280)")
        command.add_argument("--height", type=int, default=720, help="pixels asked of a device (720)")
        command.add_argument("--exposure-us", type=int, help="asked of a device, microseconds (automatic)")
        command.add_argument("--json", action="store_true", help="an object a line")
    return parser


def _picture(address: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None:
    """The single picture that the address names, gray; None when it names something else."""
    picture = cv2.imread(address, cv2.IMREAD_GRAYSCALE) if Path(address).is_file() else None
    return None if picture is None else np.asarray(picture, np.uint8)


if __name__ == "__main__":
    sys.exit(main())
