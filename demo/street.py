"""Turns visitors into what the cameras see: pictures, and the script for the process that shows them."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from demo.box import HANDHELD_LANE
from demo.cast import Guest
from simulator.scenes import Medium, render_empty, render_showing

FRAMES = 9
EMPTY_FRAMES = 12
PATIENCE_MS = 20_000
RENDERERS = 2
NICENESS = 10
"""The gate does not wait for those who are still being drawn."""


def draw_empty(folder: Path, seed: int) -> str:
    """Draw what the cameras see between visitors; return the script's line for it."""
    frames = render_empty(np.random.default_rng(seed), EMPTY_FRAMES)
    return json.dumps({"empty": _save(folder, "empty", frames)})


def draw(guests: Iterable[Guest], folder: Path, seed: int) -> Generator[str]:
    """Draw the guests, on all cores, and yield the script's line for each in their order."""
    # Forking a process that has threads can leave their locks held for ever.
    renderers = ProcessPoolExecutor(
        RENDERERS, mp_context=get_context("spawn"), initializer=os.nice, initargs=(NICENESS,)
    )
    try:
        futures = [renderers.submit(draw_one, guest, folder, seed + n) for n, guest in enumerate(guests)]
        for future in futures:
            yield future.result()
    finally:
        renderers.shutdown(cancel_futures=True)


def draw_one(guest: Guest, folder: Path, seed: int, linger_ms: int = 0) -> str:
    """Draw one guest with one thread; return the script's line for it.

    `linger_ms` is how long they go on showing their code after the answer.
    """
    line = {
        "id": guest.id,
        "lane": guest.lane,
        "kind": guest.kind,
        "code": guest.code,
        "frames": [] if guest.lane == HANDHELD_LANE else _showing(guest, folder, seed),
        "expect": guest.expected,
        "passes": guest.passes,
        "after": [guest.follows] if guest.follows else [],
        "patience_ms": PATIENCE_MS,
        "linger_ms": linger_ms,
    }
    return json.dumps(line)


def _showing(guest: Guest, folder: Path, seed: int) -> list[str]:
    cv2.setNumThreads(1)
    rng = np.random.default_rng(seed)
    medium = Medium.PAPER if rng.random() < 0.3 else Medium.PHONE
    return _save(folder, guest.id, render_showing(guest.code, medium, rng, FRAMES))


def _save(folder: Path, name: str, frames: list[bytes]) -> list[str]:
    """Write the pictures below the script's folder and return their names as the script has them."""
    (folder / "frames" / name).mkdir(parents=True, exist_ok=True)
    names = [f"frames/{name}/{number:02d}.jpg" for number in range(len(frames))]
    for file, frame in zip(names, frames, strict=True):
        (folder / file).write_bytes(frame)
    return names
