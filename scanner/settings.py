"""What a camera is told: one sentence and a unit for each setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

PixelFormat = Literal["", "MJPG", "YUYV"]


@dataclass(frozen=True, slots=True)
class Region:
    """The part of the picture in which codes are looked for, in per cent of its width and height."""

    left_pct: int = 0
    top_pct: int = 0
    width_pct: int = 100
    height_pct: int = 100

    def origin(self, height: int, width: int) -> tuple[int, int]:
        """Where its top left (x, y) lies in a picture of this size, in pixels."""
        return width * self.left_pct // 100, height * self.top_pct // 100

    def crop(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The part of a picture that lies in it, at least one pixel; a view, not a copy."""
        height, width = image.shape[:2]
        left, top = self.origin(height, width)
        right = max(left + 1, width * (self.left_pct + self.width_pct) // 100)
        bottom = max(top + 1, height * (self.top_pct + self.height_pct) // 100)
        return image[top:bottom, left:right]


WHOLE_PICTURE = Region()


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """One camera.

    `address` is a V4L2 device (`/dev/video0` or `0`), an `rtsp://`, `http://` (MJPEG) or `udp://` stream, a video
    file or a folder of pictures. `width`, `height`, `fps`, `pixel_format` (empty leaves the device its own) and
    `buffers` (frames that the driver keeps) are asked of a device; `fps` is also the pace of a folder.
    `exposure_us`, `focus` and `gain` (both in the device's own steps) are left to the device's automatic when
    None. The timeouts bound how long a silent stream can hold the capture thread. `frozen_after_ms` is how long
    a live picture may stay the same to the bit; 0 does not look. `loop` plays a file or a folder again and
    again.
    """

    address: str
    width: int = 1280
    height: int = 720
    fps: int = 25
    pixel_format: PixelFormat = "MJPG"  # raw 720p would not fit through USB 2 at 25 fps
    buffers: int = 1
    exposure_us: int | None = None
    focus: int | None = None
    gain: int | None = None
    region: Region = WHOLE_PICTURE
    open_timeout_ms: int = 3000
    read_timeout_ms: int = 2000
    frozen_after_ms: int = 10_000
    loop: bool = False
