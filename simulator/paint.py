"""What all pictures are painted with: colours, and laying one layer over another."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]  # blue, green, red

SKINS: tuple[Colour, ...] = ((142, 172, 224), (120, 152, 206), (98, 132, 186), (66, 92, 140))
CLOTHES: tuple[Colour, ...] = ((70, 52, 44), (122, 88, 56), (58, 66, 146), (96, 112, 74), (176, 170, 162))
ACCENTS: tuple[Colour, ...] = ((128, 140, 30), (178, 118, 34), (62, 86, 204), (84, 132, 52))


def pick(colours: tuple[Colour, ...], rng: np.random.Generator) -> Colour:
    """One of the colours, by chance."""
    return colours[int(rng.integers(len(colours)))]


def grey(channel: Picture) -> Picture:
    """A channel as three equal ones."""
    return as_picture(cv2.merge((channel, channel, channel)))


def lay(beneath: Picture, layer: Picture, glare: Picture | None = None) -> None:
    """Lay colours premultiplied with their fourth channel, alpha, over a picture of the same size.

    `glare` is light that falls on the layer: one channel, added where the layer is.
    """
    alpha = layer[:, :, 3]
    colours = cv2.cvtColor(layer, cv2.COLOR_BGRA2BGR)
    if glare is not None:
        cv2.add(colours, grey(as_picture(cv2.multiply(alpha, glare, scale=1 / 255))), colours)
    cv2.multiply(beneath, grey(as_picture(cv2.bitwise_not(alpha))), beneath, scale=1 / 255)
    cv2.add(beneath, colours, beneath)


def lay_at(picture: Picture, layer: Picture, left: int, top: int) -> None:
    """Lay a layer over the picture at a place, as far as it is inside."""
    x0, x1 = max(left, 0), min(left + layer.shape[1], picture.shape[1])
    y0, y1 = max(top, 0), min(top + layer.shape[0], picture.shape[0])
    if x0 < x1 and y0 < y1:
        lay(picture[y0:y1, x0:x1], layer[y0 - top : y1 - top, x0 - left : x1 - left])


def as_picture(result: NDArray[np.integer | np.floating]) -> Picture:
    """What OpenCV returns for 8-bit pictures, under its proper type."""
    return result.astype(np.uint8, copy=False)
