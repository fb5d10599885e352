"""ZBar as a decoder of QR codes with exact bytes.

`pyzbar.decode` cannot be used for tickets: ZBar's default guesses an encoding and hands out UTF-8 (a payload
of the byte 0x80 comes back as 0xC2 0x80, GB 18030 text as other characters), and pyzbar raises ValueError when
a symbol of a structured-append sequence is in view. ZBar's `binary` setting keeps the bytes as they are
printed; pyzbar's own functions do not offer it, so this module drives ZBar through `pyzbar.wrapper`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_void_p, string_at
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyzbar import wrapper as zbar

from scanner.sighting import Corners, Point, Sighting, capped

_CONFIG_BINARY = 4  # ZBAR_CFG_BINARY, since libzbar 0.23.1; pyzbar's list of settings is older
_FORMAT_GRAY = int.from_bytes(b"Y800", "little")
_QR = zbar.ZBarSymbol.QRCODE


class PyzbarDecoder:
    """Reads QR codes with ZBar; any thread may call it, and the lock of the interpreter is free meanwhile.

    Symbols of an incomplete structured-append sequence are left out: ZBar joins whatever parts are in view,
    and two visitors' codes must not mix. RuntimeError if libzbar is older than 0.23.1.
    """

    name = "zbar"

    def decode(self, gray: NDArray[np.uint8]) -> list[Sighting]:
        """The codes in a gray frame (height x width)."""
        if gray.size == 0:
            return []
        pixels = np.ascontiguousarray(gray)
        with _qr_scanner() as scanner, _image(pixels) as image:
            if zbar.zbar_scan_image(scanner, image) < 0:
                raise RuntimeError("libzbar refused a gray picture")
            return [_sighting(symbol) for symbol in _symbols(image) if symbol.contents.type == _QR]


@contextmanager
def _qr_scanner() -> Iterator[Any]:
    scanner = zbar.zbar_image_scanner_create()
    try:
        for symbology in zbar.ZBarSymbol:
            zbar.zbar_image_scanner_set_config(
                scanner, symbology, zbar.ZBarConfig.CFG_ENABLE, symbology == _QR
            )
        if zbar.zbar_image_scanner_set_config(scanner, _QR, _CONFIG_BINARY, 1) != 0:
            raise RuntimeError("libzbar 0.23.1 or newer is needed: this one rewrites the bytes of a code")
        yield scanner
    finally:
        zbar.zbar_image_scanner_destroy(scanner)


@contextmanager
def _image(pixels: NDArray[np.uint8]) -> Iterator[Any]:
    height, width = pixels.shape
    image = zbar.zbar_image_create()
    try:
        zbar.zbar_image_set_format(image, _FORMAT_GRAY)
        zbar.zbar_image_set_size(image, width, height)
        # Not copied: the caller keeps `pixels` alive for as long as the image.
        zbar.zbar_image_set_data(image, pixels.ctypes.data_as(c_void_p), pixels.size, None)
        yield image
    finally:
        zbar.zbar_image_destroy(image)


def _symbols(image: Any) -> Iterator[Any]:
    symbol = zbar.zbar_image_first_symbol(image)
    while symbol:
        yield symbol
        symbol = zbar.zbar_symbol_next(symbol)


def _sighting(symbol: Any) -> Sighting:
    payload = string_at(zbar.zbar_symbol_get_data(symbol), zbar.zbar_symbol_get_data_length(symbol))
    return Sighting(capped(payload), _corners(symbol), PyzbarDecoder.name)


def _corners(symbol: Any) -> Corners:
    """ZBar goes round a QR code anticlockwise from its top left."""
    top_left, bottom_left, bottom_right, top_right = (
        Point(zbar.zbar_symbol_get_loc_x(symbol, i), zbar.zbar_symbol_get_loc_y(symbol, i)) for i in range(4)
    )
    return (top_left, top_right, bottom_right, bottom_left)
