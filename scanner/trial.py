"""Trying out what reads codes: the engines on a picture of our own, and a camera for a moment."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import zxingcpp

from scanner.capture import Image, open_grabber, prepare_opencv
from scanner.decoder import Decoder, PyzbarDecoder, ZxingDecoder
from scanner.settings import CameraSettings
from scanner.sight import judge
from scanner.trouble import Trouble

_PAYLOAD = b"SG1:SCENIC GATE"


def engine_problems() -> list[str]:
    """Return which of the engines cannot read a clean code, and what they said; empty when all can."""
    code = zxingcpp.create_barcode(_PAYLOAD.decode(), zxingcpp.BarcodeFormat.QRCode)
    picture = np.asarray(zxingcpp.write_barcode_to_image(code, scale=6, add_quiet_zones=True), np.uint8)
    engines: tuple[Decoder, ...] = (ZxingDecoder(), PyzbarDecoder())
    return [
        f"{engine.name} does not read a clean code"
        for engine in engines
        if [seen.payload for seen in engine.decode(picture)] != [_PAYLOAD]
    ]


@dataclass(frozen=True, slots=True)
class CameraTrial:
    """What a camera gave in a moment; no picture at all leaves everything at zero.

    `refused` says in words which of its settings a device did not take.
    """

    is_open: bool = False
    pictures: int = 0
    seconds: float = 0.0
    width: int = 0
    height: int = 0
    trouble: Trouble | None = None
    refused: tuple[str, ...] = ()

    @property
    def fps(self) -> float:
        """Pictures in a second, the first not counted: it waits for the exposure to settle."""
        return (self.pictures - 1) / self.seconds if self.pictures > 1 and self.seconds > 0 else 0.0


def try_camera(settings: CameraSettings, seconds: float = 1.5) -> CameraTrial:
    """Open a camera, look for `seconds`, and return what came; blocks no longer than that and its timeouts."""
    prepare_opencv()
    grabber = open_grabber(settings)
    if grabber is None:
        return CameraTrial()
    try:
        image = grabber.read()
        began_s = time.monotonic()
        pictures = 0
        newest = image
        while image is not None:
            pictures += 1
            newest = image
            if time.monotonic() - began_s >= seconds:
                break
            image = grabber.read()
        return _summed_up(newest, pictures, time.monotonic() - began_s, settings, grabber.refused)
    finally:
        grabber.close()


def _summed_up(
    newest: Image | None, pictures: int, seconds: float, settings: CameraSettings, refused: tuple[str, ...]
) -> CameraTrial:
    if newest is None:
        return CameraTrial(is_open=True, refused=refused)
    height, width = newest.shape[:2]
    return CameraTrial(True, pictures, seconds, width, height, judge(settings.region.crop(newest)), refused)
