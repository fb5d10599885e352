"""A code as one frame showed it: the word that decoders and presentation share. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

# More than any QR symbol holds (2,953 bytes); what is longer was joined from several and is no ticket.
MAX_PAYLOAD_BYTES = 4096


class Point(NamedTuple):
    """A place in a frame, in pixels from its top left."""

    x: int
    y: int


Corners = tuple[Point, Point, Point, Point]


@dataclass(frozen=True, slots=True)
class Sighting:
    """One code read in one frame.

    `payload` is the code's exact bytes, at most MAX_PAYLOAD_BYTES + 1 of them. `corners` are in pixels of the
    frame, clockwise from the symbol's own top left (a mirrored symbol runs the other way). `engine` names what
    read it.
    """

    payload: bytes
    corners: Corners
    engine: str

    def enlarged(self, x_factor: float, y_factor: float, engine: str) -> Sighting:
        """The same sighting in the coordinates of a frame that is larger by the given factors."""
        a, b, c, d = (Point(round(p.x * x_factor), round(p.y * y_factor)) for p in self.corners)
        return replace(self, corners=(a, b, c, d), engine=engine)

    def moved(self, dx: int, dy: int) -> Sighting:
        """The same sighting in the coordinates of a frame of which the one it was seen in is a part."""
        a, b, c, d = (Point(p.x + dx, p.y + dy) for p in self.corners)
        return replace(self, corners=(a, b, c, d))

    def prominence(self, width: int, height: int) -> float:
        """How much it looks like the code held out in a frame of this size: large and near the centre is more."""
        centre_x = sum(p.x for p in self.corners) / 4
        centre_y = sum(p.y for p in self.corners) / 4
        to_corner = max(1.0, math.hypot(width / 2, height / 2))
        off_centre = math.hypot(centre_x - width / 2, centre_y - height / 2) / to_corner
        return _area(self.corners) * max(0.0, 1.0 - off_centre)


def capped(payload: bytes) -> bytes:
    """The payload, or one byte more than the longest allowed: still answered, and never taken for a ticket."""
    return payload[: MAX_PAYLOAD_BYTES + 1]


def _area(corners: Corners) -> float:
    following = (*corners[1:], corners[0])
    return abs(sum(p.x * q.y - q.x * p.y for p, q in zip(corners, following, strict=True))) / 2
