"""A hand with a phone or a paper ticket in it that shows a code, drawn flat."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import segno

from simulator.paint import ACCENTS, CLOTHES, SKINS, Colour, Picture, pick

Spot = tuple[int, int]
Box = tuple[int, int, int, int]  # left, top, width, height

_INK: Colour = (62, 56, 54)
_FAINT: Colour = (160, 156, 152)
_WHITE: Colour = (250, 250, 250)
_MODULE_PX = 6
_FONT = cv2.FontFace("uni")  # comes with OpenCV, Chinese included


@dataclass(frozen=True, slots=True)
class Held:
    """A hand with what it holds: premultiplied colours with alpha, and where in it the code is."""

    picture: Picture
    code_x: float  # the centre, pixels
    code_y: float
    code_px: int  # a side, with the quiet zone
    modules: int


def draw_phone(text: str, rng: np.random.Generator) -> Held:
    """A phone held from below; its screen shows a ticket's page with the code of `text`."""
    code = _draw_code(text, 20, 250)
    side = code.shape[0]
    width, height = int(side * 1.26), int(side * 2.62)
    left, top, unit = width // 3, width // 10, width // 20
    canvas = np.zeros((top + height + width // 2, width * 5 // 3, 4), np.uint8)
    skin = pick(SKINS, rng)
    _draw_palm(canvas, (left, top, width, height), skin, pick(CLOTHES, rng))
    _box(canvas, (left, top, width, height), (30, 28, 28), 3 * unit)
    _box(canvas, (left + 3, top + 3, width - 6, height - 6), (74, 72, 70), 3 * unit)
    _box(canvas, (left + 6, top + 6, width - 12, height - 12), (12, 12, 12), 3 * unit)
    screen = (left + unit // 2, top + unit // 2, width - unit, height - unit)
    x, y = left + (width - side) // 2, top + 10 * unit
    _draw_page(canvas, screen, (x, y, side), rng)
    canvas[y : y + side, x : x + side, :3] = code[:, :, None]
    _draw_fingers(canvas, (left, top, width, height), skin)
    return Held(canvas, x + side / 2, y + side / 2, side, side // _MODULE_PX)


def draw_paper(text: str, rng: np.random.Generator) -> Held:
    """A printed ticket, pinched at its lower edge, with the code of `text`."""
    code = _draw_code(text, 48, 236)
    side = code.shape[0]
    width, height = int(side * 1.35), int(side * 2.1)
    left, top, unit = width // 4, width // 10, width // 20
    canvas = np.zeros((top + height + width * 3 // 2, width * 9 // 4, 4), np.uint8)
    sheet = (left, top, width, height)
    skin = pick(SKINS, rng)
    _draw_hand_behind(canvas, sheet, skin, pick(CLOTHES, rng))
    _box(canvas, sheet, (228, 234, 236), unit // 2)
    accent = pick(ACCENTS, rng)
    _box(canvas, (left, top, width, 5 * unit), accent, unit // 2)
    _draw_ridge(canvas, (left, top + 2 * unit, width, 3 * unit), accent)
    _write(canvas, "景区门票", left + unit, top + 2 * unit, 2 * unit, _WHITE)
    _write(canvas, "ADMISSION", left + 13 * unit, top + 2 * unit, unit, _WHITE)
    x, y = left + (width - side) // 2, top + 6 * unit
    canvas[y : y + side, x : x + side, :3] = code[:, :, None]
    number = "No. " + " ".join(str(rng.integers(1000, 9999)) for _ in range(3))
    below = y + side + unit
    _write(canvas, number, x + unit, below, unit, _INK)
    _write(canvas, "当日有效  一人一票", x + unit, below + 2 * unit, unit, _INK)
    _write(canvas, "Valid on the day of visit", x + unit, below + 7 * unit // 2, unit * 2 // 3, _FAINT)
    for dot in range(left + unit, left + width - unit, unit):
        cv2.circle(canvas, (dot, below + 5 * unit), 2, (*_FAINT, 255), cv2.FILLED)
    _curl(canvas, sheet, rng)
    _draw_thumb(canvas, sheet, skin)
    return Held(canvas, x + side / 2, y + side / 2, side, side // _MODULE_PX)


def _draw_code(text: str, dark: int, light: int) -> Picture:
    """The QR code with its quiet zone; the stronger error correction where it stays small enough for a phone."""
    data = text.encode()
    qr = segno.make(data, error="m", micro=False, boost_error=False)
    if int(qr.version) <= 9:
        stronger = segno.make(data, error="q", micro=False, boost_error=False)
        qr = stronger if int(stronger.version) <= 9 else qr
    modules = np.array(list(qr.matrix_iter(scale=1, border=4)), np.uint8)
    pixels = modules.repeat(_MODULE_PX, 0).repeat(_MODULE_PX, 1)
    return np.where(pixels, dark, light).astype(np.uint8)


def _draw_page(canvas: Picture, screen: Box, code: tuple[int, int, int], rng: np.random.Generator) -> None:
    """The app around the code: status bar, title, card, what to do with it, the lower bar."""
    left, top, width, height = screen
    x, y, side = code
    unit = width // 19
    accent = pick(ACCENTS, rng)
    _box(canvas, screen, (244, 242, 240), 5 * unit // 2)
    _box(canvas, (left, top, width, 9 * unit), accent, 5 * unit // 2)
    _box(canvas, (left, top + 5 * unit, width, 12 * unit), accent, 0)
    clock = f"{rng.integers(8, 17):02}:{rng.integers(60):02}"
    _write(canvas, clock, left + 2 * unit, top + unit, unit * 4 // 5, _WHITE)
    _box(canvas, (left + 15 * unit, top + unit, 2 * unit, unit * 4 // 5), _WHITE, unit // 4)
    _write(canvas, "‹", left + unit, top + 3 * unit, 2 * unit, _WHITE)
    _write(canvas, "电子门票", left + 7 * unit, top + 3 * unit, unit * 5 // 4, _WHITE)
    _box(canvas, (x - unit // 2, y - 4 * unit, side + unit, side + 10 * unit), _WHITE, unit)
    _write(canvas, "景区门票 · 成人", x + unit, y - 3 * unit, unit * 5 // 4, _INK)
    number = " ".join(str(rng.integers(1000, 9999)) for _ in range(3))
    _write(canvas, number, x + 3 * unit, y + side + unit // 2, unit, _INK)
    _write(canvas, "请将二维码对准闸机", x + 4 * unit, y + side + 5 * unit // 2, unit * 5 // 6, _FAINT)
    rows = y + side + 8 * unit
    for row, length in enumerate((11, 14, 8)):
        _box(canvas, (x, rows + row * 2 * unit, length * unit, unit * 2 // 3), (214, 210, 206), unit // 3)
    _box(canvas, (left + 2 * unit, top + height - 5 * unit, 15 * unit, 5 * unit // 2), accent, unit)
    _box(canvas, (left + 6 * unit, top + height - unit, 7 * unit, unit // 3), (90, 90, 90), unit // 6)


def _draw_palm(canvas: Picture, phone: Box, skin: Colour, sleeve: Colour) -> None:
    """What is seen of the hand behind the phone: the ball of the thumb, the wrist and a sleeve."""
    left, top, width, height = phone
    low, wrist = top + height, left + width * 5 // 8
    _draw_limb(canvas, (left + width // 2, low - width // 3), (wrist, low + width), width * 3 // 10, skin)
    _draw_limb(canvas, (left + width // 3, low - width // 3), (left, low - width // 2), width // 6, skin)
    _draw_limb(canvas, (wrist, low + width * 2 // 5), (wrist, low + width), width * 9 // 20, sleeve)


def _draw_fingers(canvas: Picture, phone: Box, skin: Colour) -> None:
    """The fingertips on the right edge and the thumb along the left one."""
    left, top, width, height = phone
    thick = width // 13
    for row in range(4):
        y = top + height * 6 // 10 + row * thick * 9 // 4
        tip = left + width - thick * (5 - abs(row - 1)) // 6
        _draw_finger(canvas, (left + width + thick // 2, y + thick // 2), (tip, y), thick, skin)
    y = top + height * 3 // 4
    _draw_finger(canvas, (left - thick, y + height // 8), (left, y - height // 16), thick * 5 // 4, skin)


def _draw_hand_behind(canvas: Picture, sheet: Box, skin: Colour, sleeve: Colour) -> None:
    """The hand that holds a sheet at its lower right: fingers, palm and a sleeve."""
    left, top, width, height = sheet
    low, right, thick = top + height, left + width, width // 9
    _draw_limb(canvas, (right, low + thick), (right + 3 * thick, low + width), 3 * thick, skin)
    _draw_limb(
        canvas, (right + thick, low + 5 * thick), (right + 3 * thick, low + 2 * width), 4 * thick, sleeve
    )
    for row in range(3):
        y = low - thick * (5 - 2 * row)
        _draw_limb(canvas, (right - thick, y), (right + thick * (1 + row % 2) // 2, y), thick, skin)


def _draw_thumb(canvas: Picture, sheet: Box, skin: Colour) -> None:
    """The thumb on the sheet."""
    left, top, width, height = sheet
    x, y, thick = left + width * 4 // 5, top + height, width // 9
    _draw_finger(canvas, (x + thick, y + 2 * thick), (x - thick * 2, y - thick), thick * 5 // 4, skin)


def _draw_finger(canvas: Picture, root: Spot, tip: Spot, radius: int, skin: Colour) -> None:
    """A limb with a nail at its tip."""
    _draw_limb(canvas, root, tip, radius, skin)
    along = np.array(tip) - root
    centre = (tip + along / np.hypot(*along) * radius * 0.3).round().astype(int).tolist()
    angle = float(np.degrees(np.arctan2(along[1], along[0])))
    for size, tone in ((1.0, 0.86), (0.86, 1.06)):
        axes = (round(radius * 0.52 * size), round(radius * 0.46 * size))
        blush = [min(255.0, tone * channel + 6) for channel in skin]
        cv2.ellipse(canvas, centre, axes, angle, 0, 360, (*blush, 255), cv2.FILLED, cv2.LINE_AA)


def _draw_limb(
    canvas: Picture, root: tuple[int, int], tip: tuple[int, int], radius: int, colour: Colour
) -> None:
    """A rounded limb, lit from the upper left."""
    shape = np.zeros(canvas.shape[:2], np.uint8)
    cv2.line(shape, root, tip, 255, 2 * radius, cv2.LINE_AA)
    x, y, w, h = cv2.boundingRect(shape)
    if not w:
        return
    part = canvas[y : y + h, x : x + w]
    mask = shape[y : y + h, x : x + w]
    inner = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 3) / radius
    light = 0.62 + 0.42 * np.sin(np.clip(inner, 0, 1) * np.pi / 2)
    shaded = np.clip(np.array((*colour, 255)) * np.dstack((light, light, light, np.ones_like(light))), 0, 255)
    weight = cv2.GaussianBlur(mask, (3, 3), 0)[:, :, None] / 255
    part[:] = (part * (1 - weight) + shaded * weight).astype(np.uint8)


def _draw_ridge(canvas: Picture, band: Box, colour: Colour) -> None:
    """Printed hills along the lower edge of a band."""
    left, top, width, height = band
    for layer, shade in ((0, 1.25), (1, 0.8)):
        across = np.linspace(0, 1, 40)
        ridge = 0.45 + 0.3 * np.sin(9 * across + 2 * layer) * np.sin(23 * across + layer) + 0.25 * layer
        outline = np.column_stack((left + across * width, top + ridge.clip(0, 1) * height))
        shape = np.vstack((outline, ((left + width, top + height), (left, top + height)))).astype(np.int32)
        tone = tuple(min(255.0, shade * channel) for channel in colour)
        cv2.fillPoly(canvas, [shape], (*tone, 255), cv2.LINE_AA)


def _curl(canvas: Picture, sheet: Box, rng: np.random.Generator) -> None:
    """Shade a sheet as paper that is not quite flat and was folded once."""
    left, top, width, height = sheet
    across = np.cos(np.linspace(-1.2, 1.2, width) + rng.uniform(-0.8, 0.8)) * 0.10 + 0.92
    down = np.linspace(1.0, 0.9, height)
    fold = int(height * rng.uniform(0.3, 0.6))
    down[fold : fold + 2] *= 0.9
    part = canvas[top : top + height, left : left + width, :3]
    part[:] = np.clip(part * (down[:, None] * across)[:, :, None], 0, 255).astype(np.uint8)


def _box(canvas: Picture, box: Box, colour: Colour, radius: int) -> None:
    """A filled rectangle with rounded corners."""
    x, y, w, h = box
    r, paint = min(radius, w // 2, h // 2), (*colour, 255)
    cv2.rectangle(canvas, (x + r, y), (x + w - r - 1, y + h - 1), paint, cv2.FILLED)
    cv2.rectangle(canvas, (x, y + r), (x + w - 1, y + h - r - 1), paint, cv2.FILLED)
    for cx, cy in (
        (x + r, y + r),
        (x + w - r - 1, y + r),
        (x + r, y + h - r - 1),
        (x + w - r - 1, y + h - r - 1),
    ):
        cv2.circle(canvas, (cx, cy), r, paint, cv2.FILLED, cv2.LINE_AA)


def _write(canvas: Picture, text: str, x: int, y: int, size_px: int, colour: Colour) -> None:
    """A line of text whose letters stand below (x, y)."""
    colours = np.ascontiguousarray(canvas[y : y + 2 * size_px, :, :3])
    cv2.putText(colours, text, (x, size_px), colour, _FONT, size_px)
    canvas[y : y + 2 * size_px, :, :3] = colours
