"""The reader's endurance: mixed, empty and hostile pictures from frame to credential, as many as are asked for.

`make frames FRAMES=1000000` says at its end how many were read, misread and raised, and how memory went. Status 1
when a picture raised or was misread, or memory grew.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cv2

from admission.codes import CodeBook, Rejected, parse
from scanner.decoder import STAGES, CascadeDecoder, Decoder
from scanner.presentation import Presentation
from simulator.pictures import Shot, shots

FRAME_NS = 33_000_000
MAY_GROW_MIB = 64
"""More than this between a tenth of the way and the end is growth; an allocator's own slack is less."""
_BOOK = CodeBook(issuer_keys={}, external_issuers=(), hash_key=bytes(32))


@dataclass(slots=True)
class Tally:
    """What came of the pictures so far."""

    frames: int = 0
    read: int = 0
    credentials: int = 0
    misread: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)


class Campaign:
    """Shows shots to one camera's cascade, every stage in turn besides, and takes what is presented as a lane does."""

    def __init__(self, decoder: Decoder | None = None) -> None:
        self.tally = Tally()
        self._decoder = decoder or CascadeDecoder()
        self._presentation = Presentation()

    def show(self, shot: Shot) -> None:
        """Looks at one shot; raises whatever a reader raises."""
        tally = self.tally
        stage = STAGES[tally.frames % len(STAGES)]
        seen = [*self._decoder.decode(shot.picture), *stage.look(shot.picture)]
        tally.misread.extend(
            f"{shot.kind} by {one.engine}: {one.payload!r}"
            for one in seen
            if one.payload not in shot.payloads
        )
        tally.read += bool(seen)
        tally.kinds[shot.kind] += bool(seen)
        tally.frames += 1
        height, width = shot.picture.shape
        at_ns = tally.frames * FRAME_NS
        self._presentation.observe(seen, width, height, at_ns)
        taken = self._presentation.take(at_ns, at_ns)
        if taken is not None:
            tally.credentials += not isinstance(parse(taken.sighting.payload, _BOOK), Rejected)


def resident_mib() -> float:
    """The memory this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> int:
    """Runs the campaign and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=3_000)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    campaign, early_mib = Campaign(), 0.0
    for at, shot in enumerate(islice(shots(options.seed), options.frames)):
        try:
            campaign.show(shot)
        except Exception:
            print(f"seed {options.seed}, picture {at}, {shot.kind}: raised", file=sys.stderr)
            raise
        if at == options.frames // 10:
            early_mib = resident_mib()
        if at % 10_000 == 0:
            print(f"{at} of {options.frames}, {len(campaign.tally.misread)} misread", file=sys.stderr)
    tally, grown_mib = campaign.tally, resident_mib() - early_mib
    report = {
        "seed": options.seed,
        "frames": tally.frames,
        "read": tally.read,
        "credentials": tally.credentials,
        "misread": len(tally.misread),
        "misreads": tally.misread[:20],
        "grown_mib": round(grown_mib, 1),
        "read_by_kind": dict(sorted(tally.kinds.items())),
    }
    print(json.dumps(report))
    return 1 if tally.misread or grown_mib > MAY_GROW_MIB else 0


if __name__ == "__main__":
    sys.exit(main())
