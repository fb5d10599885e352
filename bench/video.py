"""How soon a visitor is read: hands that bring codes to a 720p camera, for us and for each engine alone.

`python -m bench.video [--sequences N] [--first SEED]` draws sequences from their seeds and plays each to every reader
at 30 frames a second: a reader that is still busy misses frames, as at a gate. A showing counts from the first frame
that zxing-cpp or ZBar alone could read. Compare within one run only.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from scanner.decoder import CascadeDecoder, Decoder, PyzbarDecoder, ZxingDecoder
from simulator import difficult
from simulator.difficult import FPS, FRAMES, Condition, Gray

DEFAULT_SEQUENCES = 36
OURS, ZXING, ZBAR = "ours", "zxing", "zbar"
READERS: Mapping[str, Callable[[], Decoder]] = {
    OURS: CascadeDecoder,
    ZXING: ZxingDecoder,
    ZBAR: PyzbarDecoder,
}
ENDED_S = FRAMES / FPS


@dataclass(slots=True)
class Score:
    """What one reader did over all sequences: `to_read_s` of those that an engine could read on any frame."""

    read: int = 0
    misreads: int = 0
    to_read_s: list[float] = field(default_factory=list)
    frame_ms: list[float] = field(default_factory=list)


def play(decoder: Decoder, frames: Sequence[Gray], payload: bytes, score: Score) -> float | None:
    """When the code has been read, in seconds of the sequence; None if it was not."""
    now_s, read_s = 0.0, None
    while (at := int(np.ceil(now_s * FPS - 1e-9))) < len(frames):
        began_ns = time.perf_counter_ns()
        seen = {sighting.payload for sighting in decoder.decode(frames[at])}
        took_s = (time.perf_counter_ns() - began_ns) / 1e9
        score.frame_ms.append(took_s * 1000)
        score.misreads += len(seen - {payload})
        now_s = max(now_s, at / FPS) + took_s
        if payload in seen and read_s is None:
            read_s = now_s
    return read_s


def first_readable(frames: Sequence[Gray], payload: bytes) -> int | None:
    """The first frame that an engine alone can read."""
    engines = (ZxingDecoder(), PyzbarDecoder())
    for at, frame in enumerate(frames):
        if any(seen.payload == payload for engine in engines for seen in engine.decode(frame)):
            return at
    return None


def measure(sequence: difficult.Sequence, scores: Mapping[str, Score]) -> dict[str, bool]:
    """Plays one sequence to every reader, in an order that changes; who read it."""
    frames = list(sequence.frames())
    readable = first_readable(frames, sequence.payload)
    order = list(READERS)
    turn = sequence.seed % len(order)
    has_read = {}
    for name in order[turn:] + order[:turn]:
        read_s = play(READERS[name](), frames, sequence.payload, scores[name])
        has_read[name] = read_s is not None
        if readable is not None:
            scores[name].read += read_s is not None
            end_s = ENDED_S if read_s is None else read_s
            scores[name].to_read_s.append(max(0.0, end_s - readable / FPS))
    return has_read | {"readable": readable is not None}


def summary(
    scores: Mapping[str, Score], readable: int, per_condition: Mapping[str, object]
) -> dict[str, object]:
    """Rates, times, and the ratios to zxing-cpp alone."""
    times = {
        name: {f"p{p}": round(float(np.percentile(score.to_read_s, p)) * 1000, 2) for p in (50, 95)}
        for name, score in scores.items()
    }
    return {
        "readable": readable,
        "read_share": {name: round(score.read / readable, 4) for name, score in scores.items()},
        "misreads": {name: score.misreads for name, score in scores.items()},
        "to_read_ms": times,
        "to_read_vs_zxing": {p: round(times[OURS][p] / times[ZXING][p], 3) for p in ("p50", "p95")},
        "frame_ms": {
            name: {f"p{p}": round(float(np.percentile(score.frame_ms, p)), 2) for p in (50, 99)}
            for name, score in scores.items()
        },
        "read_by_condition": per_condition,
    }


def main() -> None:
    """Measures and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=DEFAULT_SEQUENCES)
    parser.add_argument("--first", type=int, default=0, help="the seed of the first sequence")
    parser.add_argument("--characters", type=int, help="of every code; 345 are a copy-proof code's")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    scores = {name: Score() for name in READERS}
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys((*READERS, "readable"), 0))
    for seed in range(options.first, options.first + options.sequences):
        sequence = difficult.Sequence.of(seed, options.characters)
        for name, is_so in measure(sequence, scores).items():
            counts[sequence.condition.value][name] += is_so
        if sys.stderr.isatty():
            print(f"{seed + 1 - options.first} of {options.sequences}", end="\r", file=sys.stderr)
    readable = sum(count["readable"] for count in counts.values())
    ordered: dict[str, object] = {
        condition.value: counts[condition.value] for condition in Condition if condition.value in counts
    }
    print(json.dumps({"sequences": options.sequences, **summary(scores, readable, ordered)}))


if __name__ == "__main__":
    main()
