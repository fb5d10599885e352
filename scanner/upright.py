"""Codes that were found and could not be read: each is straightened, smoothed and shown to another reader."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import zxingcpp
from numpy.typing import NDArray

from scanner.sighting import Corners, Point, Sighting

if TYPE_CHECKING:
    from scanner.decoder import Decoder

_SIDE_PX = 400
_MARGIN_PX = 100
_BLUR_PX = 3.0
_MOST_CODES = 4
"""A wall of finder patterns must not cost its lane more than a few looks."""


class UprightDecoder:
    """Reads with `reader` what zxing-cpp located without being able to read it.

    The corners of what it reads are where zxing-cpp located the symbol.
    """

    name = "upright"

    def __init__(self, reader: Decoder) -> None:
        self._reader = reader

    def decode(self, gray: NDArray[np.uint8]) -> list[Sighting]:
        """The codes in a gray frame (height x width) that were located and not read."""
        return [
            replace(seen, corners=corners)
            for corners in _located(gray)[:_MOST_CODES]
            for seen in self._reader.decode(_straightened(gray, corners))
        ]


def _located(gray: NDArray[np.uint8]) -> list[Corners]:
    qr = zxingcpp.BarcodeFormats((zxingcpp.BarcodeFormat.QRCode,))
    found = zxingcpp.read_barcodes(gray, formats=qr, return_errors=True)
    return [corners_of(symbol.position) for symbol in found if not symbol.valid]


def corners_of(position: zxingcpp.Position) -> Corners:
    """The corners of a symbol that zxing-cpp found, clockwise from the symbol's own top left."""
    a, b, c, d = (
        Point(corner.x, corner.y)
        for corner in (position.top_left, position.top_right, position.bottom_right, position.bottom_left)
    )
    return (a, b, c, d)


def _straightened(gray: NDArray[np.uint8], corners: Corners) -> NDArray[np.uint8]:
    near, far = _MARGIN_PX, _MARGIN_PX + _SIDE_PX
    upright = np.array([(near, near), (far, near), (far, far), (near, far)], np.float32)
    turn = cv2.getPerspectiveTransform(np.array(corners, np.float32), upright)
    size = (_SIDE_PX + 2 * _MARGIN_PX,) * 2
    straight = cv2.warpPerspective(gray, turn, size, flags=cv2.INTER_CUBIC, borderValue=255)
    return np.asarray(cv2.GaussianBlur(straight, (0, 0), _BLUR_PX), np.uint8)
