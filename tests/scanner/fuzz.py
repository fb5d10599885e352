"""Fuzzing of everything between frame and credential, for as many minutes as are wanted.

`make fuzz MINUTES=10` mutates codes, signed claims, pictures of codes and what a camera sees together, from a seed
that it prints. A finding ends it with status 1 and says the input in hex; the same seed finds it again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import cbor2
import cv2
import numpy as np
import segno

from admission import base45
from admission.codes import (
    PREFIX,
    ExternalCode,
    Rejected,
    TicketCode,
    issue_credit_code,
    issue_ticket_code,
    parse,
    same_showing,
    show,
)
from admission.envelope import Context, seal
from admission.holders import Showing, prove
from scanner.decoder import STAGES, CascadeDecoder
from scanner.presentation import Presentation
from scanner.sighting import Point, Sighting
from tests.admission.makers import BOOK, CREDIT_ISSUER, TICKET_ISSUER, VALIDITY
from tests.admission.test_holders import HOLDER, PHONE

TICKET = issue_ticket_code(bytes(range(12)), "DAY1", VALIDITY, TICKET_ISSUER).encode()
CREDIT = issue_credit_code("subject-1", VALIDITY, CREDIT_ISSUER).encode()
SHOWN_S = 1_777_608_000
LIVE = show(
    issue_ticket_code(bytes(range(12)), "DAY1", VALIDITY, TICKET_ISSUER, HOLDER),
    lambda envelope: prove(envelope, SHOWN_S, PHONE),
).encode()
SHOWINGS = (None, Showing(HOLDER), Showing(HOLDER, SHOWN_S))
SEEDS = (TICKET, CREDIT, LIVE, b"OTA0123456789", b"AB-123456", b"https://example.org/?q=SG1:1", b"")
CREDENTIALS = {parse(code, BOOK) for code in (TICKET, CREDIT)}
CLAIM_KEYS: tuple[Any, ...] = (1, 2, 3, 4, 5, 6, 7, 8, 9, -1, 0, 2**64, "sub", b"", None)
CLAIMS: tuple[Any, ...] = (
    0, -1, 1, 2**31, 2**53, 2**63, 2**64, -(2**64), 1.5, float("nan"), float("inf"), "", "DAY1", "\x00", "😀" * 50,
    b"", bytes(12), bytes(33), bytes(255), None, True, [], [[[]]], {}, {1: {}}, {-1: HOLDER},
    {-1: bytes(33)}, cbor2.CBORTag(1, 0), cbor2.undefined,
)  # fmt: skip


class FindingError(Exception):
    """An input that was not answered as it must be."""


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The bytes with a few changes: flipped, cut, doubled, spliced, or with others put in."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(out))
        match chance.randrange(6):
            case 0 if at < len(out):
                out[at] ^= 1 << chance.randrange(8)
            case 1:
                out[at:at] = chance.randbytes(chance.randint(1, 9))
            case 2:
                del out[at : at + chance.randint(1, 20)]
            case 3:
                out[at:at] = out[: chance.randint(0, 60)]
            case 4:
                out[at:] = chance.choice(SEEDS)[at:]
            case _:
                out[at:at] = PREFIX
    return bytes(out)


def fuzz_code(chance: random.Random) -> None:
    """A changed code is refused, or is the very credential it was made from."""
    code = mutated(chance.choice(SEEDS), chance)
    parsed = parse(code, BOOK)
    if not isinstance(parsed, Rejected | ExternalCode) and parsed not in CREDENTIALS:
        raise FindingError(f"an altered code became {parsed}: {code.hex()}")
    if isinstance(parsed, TicketCode) and parsed.showing not in SHOWINGS:
        raise FindingError(f"an altered proof became {parsed.showing}: {code.hex()}")


def fuzz_claims(chance: random.Random) -> None:
    """Whatever a trusted issuer signs, by mistake or by malice, is answered."""
    key = chance.choice((TICKET_ISSUER, CREDIT_ISSUER))
    claims = {chance.choice(CLAIM_KEYS): chance.choice(CLAIMS) for _ in range(chance.randint(0, 8))}
    payload = cbor2.dumps(claims, canonical=chance.random() < 0.5)
    sealed = seal(mutated(payload, chance) if chance.random() < 0.5 else payload, key, Context.CODE)
    parse(PREFIX + base45.encode(sealed), BOOK)


def fuzz_picture(chance: random.Random) -> None:
    """A spoilt picture of any bytes gives those bytes or nothing, in every stage."""
    payload = mutated(chance.choice(SEEDS), chance)[:400] or b"x"
    symbol = segno.make(payload, mode="byte", micro=False, error=chance.choice("lmqh"))
    modules = np.array(list(symbol.matrix_iter(scale=1, border=chance.randint(0, 4))), np.uint8)
    noise = np.random.default_rng(chance.getrandbits(32))
    modules ^= (noise.random(modules.shape) < chance.choice((0, 0, 0.02, 0.1, 0.3))).astype(np.uint8)
    module_px = chance.randint(1, 6)
    pixels = np.where(modules, 20, 235).astype(np.uint8)
    gray = np.asarray(np.kron(pixels, np.ones((module_px, module_px), np.uint8)), np.uint8)
    gray = gray[chance.randint(0, 9) :, chance.randint(0, 9) :]
    if chance.random() < 0.3:
        gray = gray[:: chance.choice((1, -1)), :: chance.choice((1, -1))]
    for seen in (*CascadeDecoder().decode(gray), *chance.choice(STAGES).look(gray)):
        if seen.payload != payload:
            raise FindingError(f"{seen.engine} misread {payload.hex()} as {seen.payload.hex()}")
        parse(seen.payload, BOOK)


class FuzzedView:
    """One camera's view that goes on from case to case, with jumps of time and impossible corners."""

    def __init__(self) -> None:
        self._presentation = Presentation(same=same_showing)
        self._at_ns = 0

    def __call__(self, chance: random.Random) -> None:
        """However codes come and go, what is handed out was seen, and memory stays bounded."""
        self._at_ns += chance.choice((0, 1, 33_000_000, 800_000_000, 10**15))
        payloads = [chance.choice((*SEEDS, chance.randbytes(3))) for _ in range(chance.choice((0, 1, 2, 40)))]
        seen = [Sighting(payload, _corners(chance), "fuzz") for payload in payloads]
        self._presentation.observe(seen, chance.choice((0, 1, 1280)), chance.choice((0, 1, 720)), self._at_ns)
        shown = self._presentation.take(self._at_ns, chance.choice((0, self._at_ns)))
        if shown is not None and shown.captured_ns > self._at_ns:
            raise FindingError(f"a showing from the future: {shown}")
        if len(self._presentation._showings) > 16:
            raise FindingError("the memory of what is in view is not bounded")


def _corners(chance: random.Random) -> tuple[Point, Point, Point, Point]:
    a, b, c, d = (Point(chance.randint(-9999, 9999), chance.randint(-9999, 9999)) for _ in range(4))
    return (a, b, c, d)


def targets() -> dict[str, Callable[[random.Random], None]]:
    """What is fuzzed, by name."""
    return {"code": fuzz_code, "claims": fuzz_claims, "picture": fuzz_picture, "view": FuzzedView()}


def main() -> int:
    """Fuzzes until the time is over and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    chance, cases = random.Random(options.seed), Counter[str]()
    end_s = time.monotonic() + 60 * options.minutes
    todo = targets()
    finding = None
    while time.monotonic() < end_s and finding is None:
        name = chance.choice((*todo, "code", "claims", "code", "claims"))
        cases[name] += 1
        try:
            todo[name](chance)
        except Exception as error:
            finding = f"{name}, case {cases.total()}: {error!r}"
    print(json.dumps({"seed": options.seed, "cases": dict(sorted(cases.items())), "finding": finding}))
    return 1 if finding else 0


if __name__ == "__main__":
    sys.exit(main())
