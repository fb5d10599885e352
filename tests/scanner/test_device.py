"""What a V4L2 device is asked, in which order, and what it did not take; the device here is made of numbers."""

from __future__ import annotations

import cv2
import pytest

from scanner.device import apply, controls
from scanner.settings import CameraSettings

MJPG, YUYV = (cv2.VideoWriter.fourcc(*name) for name in ("MJPG", "YUYV"))
ABLE = {
    cv2.CAP_PROP_FOURCC: YUYV,
    cv2.CAP_PROP_FRAME_WIDTH: 640,
    cv2.CAP_PROP_FRAME_HEIGHT: 480,
    cv2.CAP_PROP_FPS: 30,
    cv2.CAP_PROP_BUFFERSIZE: 4,
    cv2.CAP_PROP_AUTO_EXPOSURE: 3,
    cv2.CAP_PROP_EXPOSURE: 156,
    cv2.CAP_PROP_AUTOFOCUS: 1,
    cv2.CAP_PROP_FOCUS: 0,
    cv2.CAP_PROP_GAIN: 0,
}


class Device:
    """Behaves as a V4L2 device: `has` what it can be told, `stuck` keeps its own value, -1 is what it lacks."""

    def __init__(self, has: dict[int, int], stuck: tuple[int, ...] = ()) -> None:
        self.has = dict(has)
        self.stuck = stuck
        self.asked: list[int] = []

    def set(self, prop_id: int, value: float, /) -> bool:
        self.asked.append(prop_id)
        if prop_id not in self.has:
            return False
        is_automatic = prop_id == cv2.CAP_PROP_EXPOSURE and self.has[cv2.CAP_PROP_AUTO_EXPOSURE] == 3
        if prop_id not in self.stuck and not is_automatic:
            self.has[prop_id] = int(value)
        return True

    def get(self, prop_id: int, /) -> float:
        return float(self.has.get(prop_id, -1))


ALL = CameraSettings("/dev/video0", exposure_us=4000, focus=30, gain=12)


def test_what_is_asked_is_in_force() -> None:
    """Every setting arrives in the device's own unit, and an automatic is switched off before its value is set."""
    device = Device(ABLE)
    assert apply(device, list(controls(ALL))) == ()
    assert device.has == {
        cv2.CAP_PROP_FOURCC: MJPG,
        cv2.CAP_PROP_FRAME_WIDTH: 1280,
        cv2.CAP_PROP_FRAME_HEIGHT: 720,
        cv2.CAP_PROP_FPS: 25,
        cv2.CAP_PROP_BUFFERSIZE: 1,
        cv2.CAP_PROP_AUTO_EXPOSURE: 1,
        cv2.CAP_PROP_EXPOSURE: 40,
        cv2.CAP_PROP_AUTOFOCUS: 0,
        cv2.CAP_PROP_FOCUS: 30,
        cv2.CAP_PROP_GAIN: 12,
    }


def test_what_is_not_asked_is_not_touched() -> None:
    """Exposure, focus and gain stay with the device's automatic, and an empty format is no request."""
    device = Device(ABLE)
    assert apply(device, list(controls(CameraSettings("0", pixel_format="")))) == ()
    assert device.asked == [
        cv2.CAP_PROP_FRAME_WIDTH,
        cv2.CAP_PROP_FRAME_HEIGHT,
        cv2.CAP_PROP_FPS,
        cv2.CAP_PROP_BUFFERSIZE,
    ]


@pytest.mark.parametrize(
    ("stuck", "expected"),
    [
        (cv2.CAP_PROP_FOURCC, "pixel_format: MJPG was asked for, the camera has YUYV"),
        (cv2.CAP_PROP_FRAME_WIDTH, "width: 1280 was asked for, the camera has 640"),
        (cv2.CAP_PROP_FPS, "fps: 25 was asked for, the camera has 30"),
        (cv2.CAP_PROP_EXPOSURE, "exposure_us: 4000 was asked for, the camera has 15600"),
        (cv2.CAP_PROP_AUTO_EXPOSURE, "exposure_us: mode 1 was asked for, the camera has mode 3"),
        (cv2.CAP_PROP_GAIN, "gain: 12 was asked for, the camera has 0"),
    ],
)
def test_what_the_device_did_not_take_is_named(stuck: int, expected: str) -> None:
    """Read back, in the settings' own names and units; each setting once."""
    assert apply(Device(ABLE, (stuck,)), list(controls(ALL))) == (expected,)


def test_what_the_device_lacks_is_named() -> None:
    """A camera of fixed focus says so."""
    has = {
        name: value
        for name, value in ABLE.items()
        if name not in {cv2.CAP_PROP_AUTOFOCUS, cv2.CAP_PROP_FOCUS}
    }
    assert apply(Device(has), list(controls(ALL))) == (
        "focus: the camera cannot be told; mode 0 was asked for",
    )
