"""What reading costs: every stage's worth, hits against each engine alone, and scenes with no code at all.

`python -m bench.scan [--stages]` shows difficult showings from the moving benchmark as single pictures, and empty
720p and 1080p scenes, to us and to each engine alone, picture by picture in turn. With --stages it says what each
stage reads of what those before it left unread. Compare within one run only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

import cv2
import numpy as np

from scanner.decoder import STAGES, PyzbarDecoder, ZxingDecoder, decode_exhaustive, decode_frame
from simulator.difficult import FRAMES, Gray, Sequence
from simulator.plaza import PLAZAS, plaza

SEQUENCES = 72
FRAME_STEP = 15
REPEATS = 3
Reader = Callable[[Gray], object]
ALONE: Mapping[str, Reader] = {"zxing": ZxingDecoder().decode, "zbar": PyzbarDecoder().decode}


def showings() -> Iterator[tuple[Gray, str]]:
    """Single frames of difficult showings, with what they show."""
    for seed in range(SEQUENCES):
        sequence = Sequence.of(seed)
        for frame in itertools.islice(sequence.frames(), FRAME_STEP, FRAMES, FRAME_STEP):
            yield frame, sequence.payload.decode()


def empty_scenes() -> Iterator[Gray]:
    """The plaza with nobody before the camera, at 720p and at 1080p, with a sensor's noise; and plain noise."""
    rng = np.random.default_rng(0)
    for kind in range(PLAZAS):
        gray = cv2.cvtColor(plaza(kind), cv2.COLOR_BGR2GRAY)
        for size in ((1280, 720), (1920, 1080)):
            scene = cv2.resize(gray, size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
            for sigma in (2, 6):
                yield (scene + rng.normal(0, sigma, scene.shape)).clip(0, 255).astype(np.uint8)


def timed_ms(reader: Reader, picture: Gray) -> float:
    """How long one look takes."""
    began_ns = time.perf_counter_ns()
    reader(picture)
    return (time.perf_counter_ns() - began_ns) / 1e6


def against(ours: Reader, pictures: Iterable[Gray]) -> dict[str, object]:
    """Our times and, picture by picture in turn, those of each engine alone: medians, tails, ratios."""
    readers = {"ours": ours, **ALONE}
    times: dict[str, list[float]] = {name: [] for name in readers}
    for at, picture in enumerate(pictures):
        order = list(readers)
        turn = at % len(order)
        for name in order[turn:] + order[:turn]:
            times[name].append(min(timed_ms(readers[name], picture) for _ in range(REPEATS)))
    at_percent = {
        name: {f"p{p}": round(float(np.percentile(took, p)), 3) for p in (50, 95)}
        for name, took in times.items()
    }
    ratios = {
        f"vs_{name}": {p: round(at_percent["ours"][p] / at_percent[name][p], 3) for p in ("p50", "p95")}
        for name in ALONE
    }
    return {"pictures": len(times["ours"]), "ms": at_percent, **ratios}


def worth(pictures: Iterable[tuple[Gray, str]]) -> list[dict[str, object]]:
    """For each stage in its order: how many it reads of those left, and what a look costs."""
    left = [(frame, text) for frame, text in pictures if text not in decode_frame(frame)]
    rows: list[dict[str, object]] = []
    for stage in STAGES:
        before, unread, took_ms = len(left), [], 0.0
        for frame, text in left:
            began_ns = time.perf_counter_ns()
            seen = {sighting.payload for sighting in stage.look(frame)}
            took_ms += (time.perf_counter_ns() - began_ns) / 1e6
            if text.encode() not in seen:
                unread.append((frame, text))
        left = unread
        mean_ms = round(took_ms / before, 2) if before else None
        rows.append({"stage": stage.name, "of": before, "read": before - len(left), "mean_ms": mean_ms})
    return rows


def main() -> None:
    """Measures and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", action="store_true", help="what each stage reads and costs")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    shown = list(showings())
    hits = [(frame, text) for frame, text in shown if text in decode_exhaustive(frame)]
    report: dict[str, object] = {
        "shown": len(shown),
        "read": len(hits),
        "read_on_every_frame": sum(text in decode_frame(frame) for frame, text in shown),
        "hits": against(decode_exhaustive, (frame for frame, _ in hits)),
        "empty": against(decode_frame, empty_scenes()),
    }
    if options.stages:
        report["stages"] = worth(shown)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
