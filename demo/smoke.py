"""The gate put to the proof: a hundred visitors, a cut network, kills, and a witness who knows nothing of it."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.audit import Findings, audit, read_books, read_witness
from demo.cast import Casting, Guest, line_up
from demo.processes import StartError, resident_mb, run_until_done
from demo.street import draw, draw_empty
from demo.witness_log import WitnessLog
from demo.world import PROJECT, World

LANES = ("1", "2")
STORIES = {
    "valid": 36,
    "used": 4,
    "copy": 4,
    "forged": 4,
    "wrong_key": 3,
    "refunded": 4,
    "wrong_site": 3,
    "too_early": 3,
    "expired": 3,
    "not_a_ticket": 4,
    "external": 5,
    "external_unlisted": 3,
    "member": 5,
    "credit": 3,
    "abandoned": 2,
}
RELEASE_TIMEOUT_MS = 3000
SILENT_MS = 3000
CUT_AT, KILL_AGENT_AT, RESTORE_AT, KILL_BROKER_AT = 1 / 3, 0.5, 2 / 3, 0.8
LOOK_EVERY_S = 0.1
PLAY_TIMEOUT_S = 240.0
LIST_TIMEOUT_S = 30.0
AGREE_TIMEOUT_S = 30.0


@dataclass(slots=True)
class Faults:
    """What was done to the gate, and when on the witness's clock."""

    agent_kills_ms: list[float]
    broker_kills: int = 0
    cut_s: float = 0.0


class Progress:
    """Follows the witness's log as it grows."""

    def __init__(self, log: Path) -> None:
        self._log = WitnessLog(log)
        self.left = 0
        self.is_finished = False

    def look(self) -> None:
        """Take in what was written since the last look."""
        for fact in self._log.news():
            what = fact["what"]
            self.left += what == "left"
            self.is_finished |= what == "finished"


async def smoke(folder: Path, stories: dict[str, int], seed: int) -> dict[str, Any]:
    """Play one run and return its report."""
    began = time.monotonic()
    async with World(folder, LANES, release_timeout_ms=RELEASE_TIMEOUT_MS) as world:
        await world.start()
        rng = random.Random(seed)
        async with world.back_office as office:
            cast = await Casting(office, rng).stories(stories)
        guests = list(line_up(cast, LANES, rng))
        _say(f"drawing {len(guests)} visitors")
        script = await asyncio.to_thread(lambda: [draw_empty(folder, seed), *draw(guests, folder, seed)])
        await world.start_box()
        await _until_listed(world)
        await asyncio.to_thread(_append, world.script, [*script, '{"end": true}'])
        faults = await _play(world, len(guests))
        await _until_agreed(world)
        rss_mb = resident_mb(world.agent.pid) if world.agent.pid else 0.0
        await world.agent.stop()
        await asyncio.sleep(0.5)
        findings = audit(
            guests, read_witness(world.witness_log), read_books(world.centre_store), faults.agent_kills_ms
        )
        waits = sorted(_waits_ms(world.agent_log))
    return _report(guests, findings, faults, waits, rss_mb, time.monotonic() - began)


async def _play(world: World, visitors: int) -> Faults:
    """Let the script run, and do at its marks what a bad day does."""
    progress = Progress(world.witness_log)
    faults = Faults([])
    cut_at_s = 0.0
    marks = iter(
        [
            (CUT_AT, "cut"),
            (KILL_AGENT_AT, "kill agent"),
            (RESTORE_AT, "restore"),
            (KILL_BROKER_AT, "kill broker"),
        ]
    )
    share, what = next(marks)
    async with asyncio.timeout(PLAY_TIMEOUT_S):
        while not progress.is_finished:
            await asyncio.sleep(LOOK_EVERY_S)
            progress.look()
            if progress.left < share * visitors:
                continue
            _say(f"{progress.left} of {visitors} visitors: {what}")
            match what:
                case "cut":
                    world.cut(silent_ms=SILENT_MS)
                    cut_at_s = time.monotonic()
                case "kill agent":
                    faults.agent_kills_ms.append(time.monotonic() * 1000)
                    world.agent.kill()
                case "restore":
                    world.restore()
                    faults.cut_s = round(time.monotonic() - cut_at_s, 1)
                case _:
                    world.broker.kill()
                    faults.broker_kills += 1
            share, what = next(marks, (2.0, ""))
    return faults


async def _until_listed(world: World) -> None:
    """Wait until the box has the list that holds everything sold so far."""
    async with asyncio.timeout(LIST_TIMEOUT_S):
        while not await world.is_listed():
            await asyncio.sleep(0.1)


async def _until_agreed(world: World) -> None:
    """Wait until the box has nothing left that the centre has not confirmed."""
    try:
        async with asyncio.timeout(AGREE_TIMEOUT_S):
            while True:
                state = await world.box_state()
                if state and state["box"]["link_up"] and state["box"]["backlog"] == 0:
                    return
                await asyncio.sleep(0.2)
    except TimeoutError:
        _say("box and centre do not agree in time")


def _append(script: Path, lines: list[str]) -> None:
    with script.open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def _waits_ms(agent_log: Path) -> Iterator[float]:
    """Yield the frame-to-release times that the agent logged, over all its lives."""
    for line in agent_log.read_text("utf-8", errors="replace").splitlines():
        if '"frame_to_release_ms"' in line:
            yield json.loads(line)["frame_to_release_ms"]


def _report(
    guests: Sequence[Guest],
    findings: Findings,
    faults: Faults,
    waits_ms: Sequence[float],
    rss_mb: float,
    seconds: float,
) -> dict[str, Any]:
    for name in ("lost", "doubled", "wrong"):
        for sentence in getattr(findings, name):
            _say(f"{name}: {sentence}")
    return {
        "visitors": len(guests),
        "admitted": findings.admitted,
        "refused": dict(sorted(findings.refused.items())),
        "lost": len(findings.lost),
        "doubled": len(findings.doubled),
        "wrong": len(findings.wrong),
        "frame_to_release_ms": {"p50": _percentile(waits_ms, 0.5), "p99": _percentile(waits_ms, 0.99)},
        "agent_rss_mb": rss_mb,
        "resumed": findings.resumed,
        "unknown": findings.unknown,
        "cut_s": faults.cut_s,
        "agent_kills": len(faults.agent_kills_ms),
        "broker_kills": faults.broker_kills,
        "seconds": round(seconds, 1),
    }


def _percentile(ordered: Sequence[float], share: float) -> float | None:
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) if ordered else None


def _say(text: str) -> None:
    print(f"smoke: {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Run the smoke test; the last line on standard output is its report."""
    parser = argparse.ArgumentParser(prog="demo.smoke", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=time.time_ns() % 1_000_000, help="who comes, and in what order"
    )
    parser.add_argument("--share", type=float, default=1.0, help="play only this share of the visitors")
    options = parser.parse_args()
    _say(f"seed {options.seed}")
    stories = {kind: max(1, round(count * options.share)) for kind, count in STORIES.items()}
    try:
        report = run_until_done(smoke(PROJECT / "var" / "smoke", stories, options.seed))
    except (StartError, TimeoutError) as error:
        _say(f"could not be played: {type(error).__name__} {error}")
        return 2
    print(json.dumps(report, ensure_ascii=False))
    return 0 if not (report["lost"] or report["doubled"] or report["wrong"]) else 1


if __name__ == "__main__":
    sys.exit(main())
