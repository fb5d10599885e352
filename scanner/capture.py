"""Where pictures come from: a device, a network stream, a recording or a folder, each behind `read`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner import device
from scanner.settings import CameraSettings

Image = NDArray[np.uint8]

_PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})


class Grabber(Protocol):
    """An open source of pictures; one thread reads it."""

    @property
    def pace_s(self) -> float:
        """Seconds from one picture to the next; 0 when the source itself sets the pace."""

    @property
    def recorded(self) -> bool:
        """Whether an end is the end, and not a fault."""

    @property
    def refused(self) -> tuple[str, ...]:
        """What the camera did not take of what was asked of it, in words."""

    def read(self) -> Image | None:
        """The next picture (height x width x 3, BGR), or None when no more come from this opening."""

    def close(self) -> None:
        """Lets go of the device, stream or file."""


def prepare_opencv() -> None:
    """One thread and no chatter: the process has other work for its cores, and health says what is wrong."""
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "8")  # fatal


def open_grabber(settings: CameraSettings) -> Grabber | None:
    """Opens what the address means, within `open_timeout_ms` for a stream; None if it cannot be opened."""
    address = settings.address
    if address.isdigit() or address.startswith("/dev/"):
        return _open_device(settings)
    if "://" in address:
        return _open_stream(settings)
    if Path(address).is_dir():
        return _open_folder(settings)
    return _open_file(settings)


@dataclass(frozen=True, slots=True)
class _Live:
    """A device or a stream: it sets the pace."""

    capture: cv2.VideoCapture
    refused: tuple[str, ...] = ()
    pace_s: float = 0.0
    recorded: bool = False

    def read(self) -> Image | None:
        return _read(self.capture)

    def close(self) -> None:
        self.capture.release()


@dataclass(slots=True)
class _File:
    """A video file at its own pace."""

    capture: cv2.VideoCapture
    settings: CameraSettings
    pace_s: float
    recorded: bool = True
    refused: tuple[str, ...] = ()

    def read(self) -> Image | None:
        image = _read(self.capture)
        if image is None and self.settings.loop:
            # Opened anew: not every container can be wound back.
            self.capture.release()
            self.capture = _ffmpeg(self.settings)
            image = _read(self.capture)
        return image

    def close(self) -> None:
        self.capture.release()


@dataclass(slots=True)
class _Folder:
    """Pictures in the order of their names."""

    pictures: list[Path]
    loop: bool
    pace_s: float
    recorded: bool = True
    refused: tuple[str, ...] = ()
    shown: int = 0

    def read(self) -> Image | None:
        if self.shown >= len(self.pictures) and not self.loop:
            return None
        picture = self.pictures[self.shown % len(self.pictures)]
        self.shown += 1
        image = cv2.imread(str(picture), cv2.IMREAD_COLOR)
        return None if image is None else np.asarray(image, np.uint8)

    def close(self) -> None:
        self.pictures = []


def _open_device(settings: CameraSettings) -> Grabber | None:
    address = settings.address
    capture = cv2.VideoCapture(int(address) if address.isdigit() else address, cv2.CAP_V4L2)
    if not capture.isOpened():
        return None
    refused = device.apply(capture, list(device.controls(settings)))
    return _Live(capture, refused)


def _open_stream(settings: CameraSettings) -> Grabber | None:
    capture = _ffmpeg(settings)
    return _Live(capture) if capture.isOpened() else None


def _open_file(settings: CameraSettings) -> Grabber | None:
    capture = _ffmpeg(settings)
    if not capture.isOpened():
        return None
    own_fps = capture.get(cv2.CAP_PROP_FPS)
    return _File(capture, settings, pace_s=1 / (own_fps if own_fps > 0 else settings.fps))


def _open_folder(settings: CameraSettings) -> Grabber | None:
    pictures = sorted(path for path in Path(settings.address).iterdir() if path.suffix.lower() in _PICTURES)
    return _Folder(pictures, settings.loop, pace_s=1 / settings.fps) if pictures else None


def _ffmpeg(settings: CameraSettings) -> cv2.VideoCapture:
    limits = [
        (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, settings.open_timeout_ms),
        (cv2.CAP_PROP_READ_TIMEOUT_MSEC, settings.read_timeout_ms),
        (cv2.CAP_PROP_N_THREADS, 1),
    ]
    return cv2.VideoCapture(settings.address, cv2.CAP_FFMPEG, [number for pair in limits for number in pair])


def _read(capture: cv2.VideoCapture) -> Image | None:
    got, image = capture.read()
    return np.asarray(image, np.uint8) if got else None
