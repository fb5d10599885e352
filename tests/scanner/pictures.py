"""Pictures of codes, as a 1280x720 camera would see them, and waiting for what threads do."""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
import segno
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

WIDTH, HEIGHT = 1280, 720


def symbol(code: segno.QRCode, scale: int = 6) -> Picture:
    """A code in black on white with its quiet zone, gray."""
    dark = np.array([list(row) for row in code.matrix_iter(scale=scale, border=4)], np.uint8)
    return np.where(dark > 0, 0, 255).astype(np.uint8)


def qr(payload: bytes, scale: int = 6) -> Picture:
    """A QR code that holds exactly these bytes."""
    return symbol(segno.make(payload, mode="byte", micro=False, error="m"), scale)


def scene(*placed: tuple[Picture, int, int]) -> Picture:
    """A gray 1280x720 frame with symbols at (x, y) of their top left corner."""
    frame = np.full((HEIGHT, WIDTH), 150, np.uint8)
    for picture, x, y in placed:
        height, width = picture.shape
        frame[y : y + height, x : x + width] = picture
    return frame


def showing(payload: bytes) -> Picture:
    """A gray frame with one code near its centre."""
    return scene((qr(payload), 500, 200))


def coloured(gray: Picture) -> Picture:
    """The same as a camera hands it out: height x width x 3."""
    return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), np.uint8)


def jpeg(gray: Picture) -> bytes:
    """The same as JPEG."""
    return cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


def eventually(holds: Callable[[], bool], within_s: float = 10.0) -> bool:
    """Polls until a condition holds; False when it does not hold in time."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
