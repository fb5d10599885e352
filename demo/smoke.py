"""The site put to the proof: two hundred visitors, cut networks, kills, and a witness who knows nothing of it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from demo.audit import Findings, audit, read_books, read_witness
from demo.box import HANDHELD_LANE
from demo.cast import Casting, Guest
from demo.day import DAY, Phase, invite
from demo.processes import StartError, resident_mb, run_until_done
from demo.saboteur import Faults, Saboteur, until_in_touch
from demo.street import draw, draw_empty
from demo.witness_log import WitnessLog
from demo.world import PROJECT, World

BOXES = {"B1": ("1", "2"), "B2": ("3",)}
HANDHELD_AT = "B2"
RELEASE_TIMEOUT_MS = 3000
LOOK_EVERY_S = 0.1
PLAY_TIMEOUT_S = 240.0
LIST_TIMEOUT_S = 30.0
AGREE_TIMEOUT_S = 30.0


class Progress:
    """Follows the witness's log as it grows."""

    def __init__(self, log: Path) -> None:
        self._log = WitnessLog(log)
        self.left = 0

    def look(self) -> None:
        """Take in what was written since the last look."""
        self.left += sum(fact["what"] == "left" for fact in self._log.news())


async def smoke(folder: Path, share: float, seed: int) -> dict[str, Any]:
    """Play one run and return its report."""
    began = time.monotonic()
    lanes, others = BOXES["B1"], {"B2": BOXES["B2"]}
    async with World(
        folder, lanes, neighbours=others, handheld_at=HANDHELD_AT, release_timeout_ms=RELEASE_TIMEOUT_MS
    ) as world:
        await world.start()
        all_lanes = {box.box_id: box.all_lane_ids for box in world.boxes.values()}
        rng = random.Random(seed)
        async with world.back_office as office:
            phases = await invite(Casting(office, rng), all_lanes, share, rng)
        guests = [guest for phase in phases for guest in phase]
        _say(f"{len(guests)} visitors")
        _append(world.script, [draw_empty(folder, seed)])
        async with contextlib.aclosing(_scripts(phases, folder, seed)) as scripts:
            script = await anext(scripts)
            await world.start_box()
            await _until_listed(world)
            await until_in_touch(world)
            async with asyncio.timeout(PLAY_TIMEOUT_S):
                faults = await _play(world, [len(phase) for phase in phases], script, scripts)
        await _until_agreed(world)
        rss_mb = max(resident_mb(box.agent.pid) for box in world.boxes.values() if box.agent.pid)
        for box in world.boxes.values():
            await box.agent.stop()
        await asyncio.sleep(0.5)
        findings = audit(
            guests, read_witness(world.witness_log), read_books(world.centre_store), faults.troubles
        )
        waits = sorted(wait for box in world.boxes.values() for wait in _waits_ms(box.log))
    return _report(guests, findings, faults, waits, rss_mb, time.monotonic() - began)


async def _scripts(phases: Sequence[Sequence[Guest]], folder: Path, seed: int) -> AsyncGenerator[list[str]]:
    """Yield the script of each phase; while one is played the next is drawn."""
    lines = draw([guest for phase in phases for guest in phase], folder, seed)
    ahead: asyncio.Task[list[str]] | None = None
    try:
        for number in range(len(phases) + 1):
            script = await ahead if ahead else []
            if number < len(phases):
                ahead = asyncio.create_task(asyncio.to_thread(partial(_take, lines, len(phases[number]))))
            if number:
                yield script
    finally:
        if ahead is not None:
            await asyncio.wait((ahead,))
        await asyncio.to_thread(lines.close)


def _take(lines: Iterator[str], count: int) -> list[str]:
    return list(islice(lines, count))


async def _play(
    world: World, sizes: Sequence[int], script: list[str], scripts: AsyncIterator[list[str]]
) -> Faults:
    """Let one phase follow the other, each beginning when everyone of the one before has left."""
    began = time.monotonic()
    progress = Progress(world.witness_log)
    saboteur = Saboteur(world)
    invited = 0
    try:
        for phase, size in zip(DAY, sizes, strict=True):
            _say(f"{phase.name}: {size} visitors, from second {time.monotonic() - began:.0f}")
            for act in phase.first:
                saboteur.do(act)
            if not phase.is_apart:
                await saboteur.until_in_touch()
            await asyncio.to_thread(_append, world.script, script)
            await _play_phase(phase, size, invited, progress, saboteur)
            invited += size
            script = await anext(scripts, [])
        await saboteur.until_in_touch()
    finally:
        saboteur.stop()
    return saboteur.faults


async def _play_phase(phase: Phase, size: int, before: int, progress: Progress, saboteur: Saboteur) -> None:
    """Return when everyone of the phase has left, having done at its marks what is to be done."""
    marks = iter(phase.then)
    mark = next(marks, None)
    while progress.left < before + size:
        await asyncio.sleep(LOOK_EVERY_S)
        progress.look()
        if mark is not None and progress.left >= before + mark[0] * size:
            _say(f"{progress.left - before} of {size}: {mark[1].name.lower().replace('_', ' ')}")
            saboteur.do(mark[1])
            mark = next(marks, None)


async def _until_listed(world: World) -> None:
    """Wait until the boxes have the list that holds everything sold so far."""
    async with asyncio.timeout(LIST_TIMEOUT_S):
        while not await world.is_listed():
            await asyncio.sleep(0.1)


async def _until_agreed(world: World) -> None:
    """Wait until no box has anything left that the centre has not confirmed."""
    try:
        async with asyncio.timeout(AGREE_TIMEOUT_S):
            for box in world.boxes.values():
                while not _is_confirmed(await box.state()):
                    await asyncio.sleep(0.2)
    except TimeoutError:
        _say("boxes and centre do not agree in time")


def _is_confirmed(state: dict[str, Any] | None) -> bool:
    box = state["box"] if state else {}
    return bool(box and box["link_up"] and box["backlog"] == box["diary_backlog"] == 0)


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
        "by_handheld": sum(guest.lane == HANDHELD_LANE for guest in guests),
        "copies_refused": findings.copies_refused,
        "copies_admitted_apart": findings.copies_admitted,
        "cut_s": round(faults.cut_s, 1),
        "site_cut_s": round(faults.site_cut_s, 1),
        "agent_kills": len(faults.troubles.kills),
        "broker_kills": faults.broker_kills,
        "centre_kills": faults.centre_kills,
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
    try:
        report = run_until_done(smoke(PROJECT / "var" / "smoke", options.share, options.seed))
    except (StartError, TimeoutError) as error:
        _say(f"could not be played: {type(error).__name__} {error}")
        return 2
    print(json.dumps(report, ensure_ascii=False))
    return 0 if not (report["lost"] or report["doubled"] or report["wrong"]) else 1


if __name__ == "__main__":
    sys.exit(main())
