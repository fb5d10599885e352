"""What is asked of a V4L2 device, and what it took of that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2

from scanner.settings import CameraSettings

_MANUAL_EXPOSURE = 1  # V4L2_EXPOSURE_MANUAL
_EXPOSURE_STEP_US = 100  # V4L2_CID_EXPOSURE_ABSOLUTE counts in these


class Properties(Protocol):
    """The part of a cv2.VideoCapture that device settings need."""

    def set(self, prop_id: int, value: float, /) -> bool:
        """Asks for a value; False when the device has no such setting."""

    def get(self, prop_id: int, /) -> float:
        """The value in force; 0 or less when the device has no such setting."""


@dataclass(frozen=True, slots=True)
class Control:
    """One thing asked of a device: which setting of ours it is, in V4L2's own unit, and `unit` of ours in one."""

    name: str
    property_id: int
    value: int
    unit: int = 1


def controls(settings: CameraSettings) -> Iterator[Control]:
    """What the settings ask of a device, in the order in which V4L2 needs it: an automatic is switched first."""
    if settings.pixel_format:
        fourcc = cv2.VideoWriter.fourcc(*settings.pixel_format)
        yield Control("pixel_format", cv2.CAP_PROP_FOURCC, fourcc)
    yield Control("width", cv2.CAP_PROP_FRAME_WIDTH, settings.width)
    yield Control("height", cv2.CAP_PROP_FRAME_HEIGHT, settings.height)
    yield Control("fps", cv2.CAP_PROP_FPS, settings.fps)
    yield Control("buffers", cv2.CAP_PROP_BUFFERSIZE, settings.buffers)
    if settings.exposure_us is not None:
        steps = max(1, settings.exposure_us // _EXPOSURE_STEP_US)
        yield Control("exposure_us", cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL_EXPOSURE)
        yield Control("exposure_us", cv2.CAP_PROP_EXPOSURE, steps, _EXPOSURE_STEP_US)
    if settings.focus is not None:
        yield Control("focus", cv2.CAP_PROP_AUTOFOCUS, 0)
        yield Control("focus", cv2.CAP_PROP_FOCUS, settings.focus)
    if settings.gain is not None:
        yield Control("gain", cv2.CAP_PROP_GAIN, settings.gain)


def apply(device: Properties, wanted: Sequence[Control]) -> tuple[str, ...]:
    """Asks for everything, reads it back, and returns in words what the device did not take, once a setting.

    Read back last: a later setting can undo an earlier one, as a size does with a frame rate.
    """
    taken = [device.set(control.property_id, control.value) for control in wanted]
    refused: dict[str, str] = {}
    for control, was_taken in zip(wanted, taken, strict=True):
        has = round(device.get(control.property_id))
        if has != control.value:
            refused.setdefault(control.name, _refusal(control, has, was_taken=was_taken))
    return tuple(refused.values())


def _refusal(control: Control, has: int, *, was_taken: bool) -> str:
    wanted = _said(control, control.value)
    if not was_taken and has <= 0:
        return f"{control.name}: the camera cannot be told; {wanted} was asked for"
    return f"{control.name}: {wanted} was asked for, the camera has {_said(control, has)}"


def _said(control: Control, value: int) -> str:
    if control.property_id == cv2.CAP_PROP_FOURCC:
        return "".join(chr(value >> shift & 0xFF) for shift in (0, 8, 16, 24)).strip("\0") or "none"
    if control.property_id in {cv2.CAP_PROP_AUTO_EXPOSURE, cv2.CAP_PROP_AUTOFOCUS}:
        return f"mode {value}"
    return str(value * control.unit)
