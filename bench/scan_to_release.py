"""From a frame in hand to the turnstile told: decoding, verification, decision and durable commit.

Beside it, in the same run and in turn, the parts that no gate could do without: the raw decoder on the same frames,
the signature check, and one small write with fdatasync on the same disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import zxingcpp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from admission.answers import Answer
from admission.codes import CodeBook, IssuerKey, KeyUse, Validity, issue_ticket_code, parse
from admission.keys import SigningKey, new_signing_key
from admission.passage import Signal, State
from admission.policy import OfflineLimits, Policy
from admission.scan import Scan
from bench._times import at_share
from config.policy_file import load_policy
from demo.world import PROJECT, SITE_ID
from gate_agent.clock import SystemClock
from gate_agent.lane import Lane, Rules
from gate_agent.ports import TurnstileSignal
from offline_cache.database import Database
from offline_cache.lists import ListShelf
from offline_cache.store import Store
from scanner.decoder import CascadeDecoder
from simulator.scenes import Medium, render_showing

ROUNDS = 400
FRAMES_SHOWN = 3
QR_CODES = zxingcpp.barcode_formats_from_str("QRCode")
Image = NDArray[np.uint8]


class OpenTurnstile:
    """A turnstile through which everyone has passed before the call returns."""

    is_ready = True

    def __init__(self) -> None:
        self.released_ns = 0
        self._signals: asyncio.Queue[TurnstileSignal] = asyncio.Queue()
        self._signals.put_nowait(TurnstileSignal(Signal.RECOVERED))

    async def release(self, admission_id: bytes, timeout_ms: int) -> None:
        """Note when it was told."""
        self.released_ns = time.monotonic_ns()
        self._signals.put_nowait(TurnstileSignal(Signal.PASSED, admission_id))
        self._signals.put_nowait(TurnstileSignal(Signal.CLOSED, admission_id))

    async def next_signal(self) -> TurnstileSignal:
        """Return what happened next."""
        return await self._signals.get()

    def show(self, answer: Answer) -> None:
        """Nobody looks."""


async def measure(folder: Path) -> dict[str, Any]:
    """Return the path's times, its parts' times beside it, and their ratio."""
    key = new_signing_key(Ed25519PrivateKey.generate(), demo=True)
    book = CodeBook({key.key_id: IssuerKey(key.key_id, key.public.key, frozenset(KeyUse))}, (), bytes(32))
    policy = _generous(load_policy(PROJECT / "config" / "policies" / "default.toml"))
    database = await Database.open(folder / "box")
    shelf = ListShelf(folder / "lists", SITE_ID, database)
    store = Store(database, shelf, box_id="B1", site_id=SITE_ID, new_id=lambda: secrets.token_bytes(16))
    turnstile = OpenTurnstile()
    lane = Lane(
        "1",
        Rules(book, policy),
        store,
        turnstile,
        turnstile,
        SystemClock(),
        release_timeout_ms=5000,
        on_recorded=lambda: None,
    )
    watching = asyncio.create_task(lane.watch())
    await asyncio.sleep(0)
    frames = _frames(key, ROUNDS)
    decoder = CascadeDecoder()
    whole: list[float] = []
    raw: dict[str, list[float]] = {"zxing_ms": [], "verify_ms": [], "fdatasync_ms": []}
    with (folder / "probe").open("wb") as probe:
        for number in range(ROUNDS):
            frame = frames[number]
            while lane.state is not State.CLOSED:
                await asyncio.sleep(0)
            captured_ns = time.monotonic_ns()
            gray = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), np.uint8)
            payload = decoder.decode(gray)[0].payload
            answer = await lane.present(Scan(payload, "bench", captured_ns))
            if answer.admission_id is not None:
                whole.append((turnstile.released_ns - captured_ns) / 1e6)
            raw["zxing_ms"].append(_timed(partial(zxingcpp.read_barcodes, gray, formats=QR_CODES)))
            raw["verify_ms"].append(_timed(partial(parse, payload, book)))
            raw["fdatasync_ms"].append(_timed(partial(_write, probe.fileno(), number)))
    watching.cancel()
    await database.close()
    parts_ms = sum(at_share(times, 0.5) for times in raw.values())
    return {
        "admissions": len(whole),
        "frame_to_release_ms": {"p50": at_share(whole, 0.5), "p99": at_share(whole, 0.99)},
        "parts_p50_ms": {name: at_share(times, 0.5) for name, times in raw.items()},
        "ratio_to_parts_p50": round(at_share(whole, 0.5) / parts_ms, 2),
    }


def _generous(policy: Policy) -> Policy:
    """Return the policy with a floor limit that lets every visitor of this run in without a list."""
    return replace(policy, offline=OfflineLimits(unlisted_per_day=ROUNDS, bootstrap_per_day=ROUNDS))


def _frames(key: SigningKey, count: int) -> list[Image]:
    """Return pictures of `count` different tickets that are valid now, as a gate's camera sees them."""
    rng = np.random.default_rng(11)
    now_s = int(time.time())
    validity = Validity(now_s - 3600, now_s + 36_000, now_s)
    codes = [issue_ticket_code(rng.bytes(12), "DAY1", validity, key) for _ in range(count)]
    shown = [render_showing(code, Medium.PHONE, rng, FRAMES_SHOWN)[-1] for code in codes]
    return [np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)) for jpeg in shown]


def _timed(work: Callable[[], object]) -> float:
    began_ns = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - began_ns) / 1e6


def _write(file: int, number: int) -> None:
    os.pwrite(file, number.to_bytes(8) * 512, 0)
    os.fdatasync(file)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=PROJECT / "var") as scratch:
        print(json.dumps(asyncio.run(measure(Path(scratch)))))
