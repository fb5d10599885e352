"""What is behind a visitor: the square before the gate and passers-by, out of focus."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from simulator.paint import CLOTHES, SKINS, Colour, Picture, as_picture, pick

WIDTH, HEIGHT = 1280, 720
PLAZAS = 4  # different ones of each
PASSERS_BY = 6


@functools.cache
def plaza(kind: int) -> Picture:
    """One of `PLAZAS` views of the square before the gate."""
    rng = np.random.default_rng(kind)
    horizon = int(rng.integers(300, 350))
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:] = np.linspace((228, 196, 164), (240, 236, 230), HEIGHT)[:, None]
    for layer, colour in enumerate(((176, 168, 150), (128, 138, 112), (72, 96, 70))):
        _draw_hills(picture, horizon - 120 + 45 * layer, horizon, colour, rng)
    picture[horizon:] = np.linspace((138, 146, 150), (176, 186, 192), HEIGHT - horizon)[:, None]
    _draw_tiles(picture, horizon)
    _draw_hall(picture, int(rng.integers(140, 760)), horizon + 16)
    for _ in range(16):
        _draw_tree(picture, int(rng.integers(WIDTH)), horizon + int(rng.integers(-12, 12)), rng)
    for _ in range(int(rng.integers(5, 10))):
        tall = int(rng.integers(90, 260))
        _draw_person(picture, int(rng.integers(WIDTH)), horizon + tall * 4 // 5, tall, rng)
    _draw_rail(picture, int(rng.integers(520, 600)))
    cv2.GaussianBlur(picture, (0, 0), 8, picture)
    across, down = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT))
    vignette = 1 - 0.16 * (across**2 + down**2)
    return (picture * vignette[:, :, None] * 0.88).astype(np.uint8)


@functools.cache
def passer_by(kind: int) -> Picture:
    """Somebody out of focus, as a premultiplied layer with alpha."""
    layer = np.zeros((470, 240, 4), np.uint8)
    _draw_person(layer, 120, 440, 400, np.random.default_rng(kind))
    return as_picture(cv2.GaussianBlur(layer, (0, 0), 7))


def _draw_hills(picture: Picture, top: int, horizon: int, colour: Colour, rng: np.random.Generator) -> None:
    """Karst: steep rounded towers beside each other."""
    across = np.arange(WIDTH)
    ridge = np.full(WIDTH, horizon, np.float64)
    for _ in range(14):
        middle, half, rise = (
            rng.uniform(0, WIDTH),
            rng.uniform(50, 190),
            rng.uniform(0.2, 1) * (horizon - top),
        )
        ridge = np.minimum(ridge, horizon - rise * np.exp(-(np.abs((across - middle) / half) ** 2.6)))
    outline = np.column_stack((across, ridge))
    cv2.fillPoly(picture, [np.vstack((outline, ((WIDTH, horizon), (0, horizon)))).astype(np.int32)], colour)


def _draw_tiles(picture: Picture, horizon: int) -> None:
    for column in range(-16, 17):
        cv2.line(picture, (640 + column * 20, horizon), (640 + column * 190, HEIGHT), (124, 132, 136), 3)
    for row in range(1, 12):
        y = horizon + int((HEIGHT - horizon) * (row / 11) ** 2)
        cv2.line(picture, (0, y), (WIDTH, y), (124, 132, 136), 1 + row // 3)


def _draw_hall(picture: Picture, x: int, ground: int) -> None:
    """The gate hall: red pillars under a curved grey roof."""
    cv2.rectangle(picture, (x + 30, ground - 130), (x + 390, ground), (96, 104, 118), cv2.FILLED)
    for pillar in range(6):
        left = x + 30 + pillar * 69
        cv2.rectangle(picture, (left, ground - 135), (left + 16, ground), (48, 46, 138), cv2.FILLED)
    cv2.rectangle(picture, (x + 24, ground - 150), (x + 396, ground - 128), (60, 96, 120), cv2.FILLED)
    roof = np.array(
        ((x - 20, ground - 150), (x + 60, ground - 180), (x + 110, ground - 215), (x + 310, ground - 215))
    )
    roof = np.vstack((roof, ((x + 360, ground - 180), (x + 440, ground - 150)))).astype(np.int32)
    cv2.fillPoly(picture, [roof], (74, 72, 70))


def _draw_tree(picture: Picture, x: int, ground: int, rng: np.random.Generator) -> None:
    for _ in range(9):
        tone = rng.uniform(0.6, 1.3)
        spot = (x + int(rng.normal(0, 26)), ground - 40 + int(rng.normal(0, 22)))
        cv2.circle(picture, spot, int(rng.integers(14, 34)), (48 * tone, 88 * tone, 62 * tone), cv2.FILLED)


def _draw_person(picture: Picture, x: int, ground: int, tall: int, rng: np.random.Generator) -> None:
    """Head, hair, jacket, arms and legs, `tall` pixels high, standing at (x, ground)."""
    unit = tall / 16
    skin, coat, trousers = pick(SKINS, rng), pick(CLOTHES, rng), pick(CLOTHES[:2], rng)

    def part(dx: float, dy: float, half_wide: float, half_high: float, colour: Colour) -> None:
        axes = (round(half_wide * unit), round(half_high * unit))
        cv2.ellipse(
            picture,
            (round(x + dx * unit), round(ground - dy * unit)),
            axes,
            0,
            0,
            360,
            (*colour, 255),
            cv2.FILLED,
        )

    for side in (-1, 1):
        part(side * 0.9, 4, 0.8, 4, trousers)
        part(side * 2.2, 9.2, 0.6, 2.8, coat)
    part(0, 10, 2.1, 3.4, coat)
    part(0, 14.2, 1.1, 1.4, skin)
    part(0, 14.9, 1.15, 1.0, (34, 30, 30))


def _draw_rail(picture: Picture, y: int) -> None:
    """The steel rails of the queue."""
    for post in range(40, WIDTH, 300):
        cv2.rectangle(picture, (post, y), (post + 12, HEIGHT), (168, 172, 174), cv2.FILLED)
    for bar in (y, y + 90):
        cv2.rectangle(picture, (0, bar), (WIDTH, bar + 9), (196, 200, 202), cv2.FILLED)
