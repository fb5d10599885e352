"""The physical world as its own process: visitors, cameras and turnstiles, seen from an agent's side."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from simulator import witness as witness_module

SOON_S = 6.0
EMPTY, APPROACH, HELD = 30, 110, 220  # how bright the test's pictures are
Fact = dict[str, Any]
ADMISSION = "0123456789abcdef" * 2


def visitor(name: str, lane: str = "1", **more: object) -> Fact:
    """A script line of somebody who passes when let in."""
    frames = ["approach.jpg", "approach.jpg", "held.jpg", "held.jpg"]
    return {"id": name, "lane": lane, "kind": "valid", "frames": frames, "expect": [], "passes": True, **more}


class World:
    """A running witness: its ports, its log so far, and its script to append to."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.process = process
        self.ports: dict[str, dict[str, int]] = {}
        self._folder = folder

    def invite(self, *lines: Fact) -> None:
        """Append to the script."""
        with (self._folder / "script.jsonl").open("a") as script:
            script.writelines(json.dumps(line) + "\n" for line in lines)

    def facts(self, what: str = "") -> list[Fact]:
        """What the log says so far, or only facts of one kind."""
        facts = [json.loads(line) for line in (self._folder / "witness.jsonl").read_text().splitlines()]
        return [fact for fact in facts if what in ("", fact["what"])]

    async def fact(self, what: str, **known: object) -> Fact:
        """Wait until the log holds a fact of this kind with these values."""
        deadline = time.monotonic() + SOON_S
        while time.monotonic() < deadline:
            for fact in self.facts(what):
                if known.items() <= fact.items():
                    return fact
            await asyncio.sleep(0.02)
        pytest.fail(f"no {what} {known} in {self.facts()}")


class Agent:
    """A controller's client, by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, op: str, **fields: object) -> None:
        """Send a command."""
        self.writer.write(json.dumps({"op": op, **fields}).encode() + b"\n")

    def show(self, verdict: str, reason: str) -> None:
        """Show a verdict."""
        self.say("show", verdict=verdict, reason=reason, zh="请", en="Please", record="R1")

    def release(self, admission_id: str = ADMISSION, timeout_ms: int = 5000) -> None:
        """Open the barrier for one person."""
        self.say("release", admission_id=admission_id, persons=1, timeout_ms=timeout_ms)

    async def hears(self) -> Fact:
        """The next event."""
        line = await asyncio.wait_for(self.reader.readline(), SOON_S)
        event: Fact = json.loads(line)
        return event


@asynccontextmanager
async def world(
    folder: Path, *script: Fact, lanes: tuple[str, ...] = ("1",), handheld: str = "", **options: int
) -> AsyncIterator[World]:
    """A witness that follows its script; it must stop cleanly on SIGTERM, without a word of complaint."""
    for name, brightness in (("empty", EMPTY), ("approach", APPROACH), ("held", HELD)):
        cv2.imwrite(str(folder / f"{name}.jpg"), np.full((720, 1280, 3), brightness, np.uint8))
    command = [sys.executable, "-I", witness_module.__file__, "--follow"]
    command += ["--script", str(folder / "script.jsonl"), "--log", str(folder / "witness.jsonl")]
    command += [part for lane in lanes for part in ("--lane", f"{lane}:0:0")]
    command += ["--handheld", handheld] if handheld else []
    command += ["--min-interval-ms", str(options.get("min_interval_ms", 0))]
    world = World(
        await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        ),
        folder,
    )
    world.invite({"empty": ["empty.jpg"]}, *script)
    assert world.process.stdout is not None
    world.ports = json.loads(await asyncio.wait_for(world.process.stdout.readline(), SOON_S))["lanes"]
    try:
        yield world
    finally:
        world.process.send_signal(signal.SIGTERM)
        _, complaint = await asyncio.wait_for(world.process.communicate(), SOON_S)
    assert complaint.decode() == ""
    assert world.process.returncode == 0


@asynccontextmanager
async def agent(world: World, lane: str = "1") -> AsyncIterator[Agent]:
    """A connected client that has heard the barrier's state."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.ports[lane]["controller"])
    client = Agent(reader, writer)
    assert (await client.hears())["event"] == "state"
    yield client
    writer.close()


class Counter:
    """A box's staff service, by hand: it answers as told and remembers what it was asked."""

    def __init__(self, *answers: tuple[int, Fact]) -> None:
        self.asked: list[tuple[str, Fact]] = []
        self._answers = list(answers)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(
            next(line for line in head.splitlines() if line.lower().startswith("content-length")).split()[1]
        )
        self.asked.append((head.split()[1], json.loads(await reader.readexactly(length))))
        assert "Bearer secret" in head
        status, answer = self._answers.pop(0)
        body = json.dumps(answer).encode()
        writer.write(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)
        await writer.drain()
        writer.close()


def served(*visitors: Fact) -> list[Fact]:
    """Script lines of visitors whose codes a member of staff reads."""
    return [visitor(**one, lane="H1") | {"frames": [], "code": f"code of {one['name']}"} for one in visitors]


async def test_a_steward_scans_lets_in_and_tells_who_went_in(tmp_path: Path) -> None:
    """With a handheld as at a barrier: verdict, release and passage are the witness's own facts, told to the box."""
    admit = {"verdict": "ADMIT", "reason": "TICKET", "record": "B2-1", "admission_id": ADMISSION}
    deny = {"verdict": "DENY", "reason": "ALREADY_USED", "record": "B2-D1", "admission_id": None}
    busy = {"error": {"code": "lane_busy", "message": ""}}
    counter = Counter((409, busy), (200, admit), (200, {"passed": True}), (200, deny))
    server = await asyncio.start_server(counter.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with world(
        tmp_path, *served({"name": "v1"}, {"name": "v2"}), handheld=f"H1:{port}:secret"
    ) as witness:
        await witness.fact("left", visitor="v2")
        facts = [(fact["what"], fact["visitor"]) for fact in witness.facts() if fact.get("lane") == "H1"]
    server.close()
    assert facts == [
        *((what, "v1") for what in ("shown", "verdict", "released", "passed", "left")),
        *((what, "v2") for what in ("shown", "verdict", "left")),
    ]
    assert [path for path, _ in counter.asked] == [
        "/v1/staff/scans",
        "/v1/staff/scans",
        "/v1/staff/passages",
        "/v1/staff/scans",
    ]
    assert counter.asked[2][1] == {"lane": "H1", "admission_id": ADMISSION, "passed": True}


async def test_an_admitted_visitor_passes_and_the_barrier_closes(tmp_path: Path) -> None:
    """Shown, verdict, released, passed, closed: told to the agent and logged with visitor and admission."""
    async with world(tmp_path, visitor("v1")) as gate, agent(gate) as client:
        await gate.fact("shown", visitor="v1")
        client.show("ADMIT", "TICKET")
        client.release()
        events = [await client.hears() for _ in range(3)]
        assert [event["event"] for event in events] == ["opened", "passed", "closed"]
        assert {event["admission_id"] for event in events} == {ADMISSION}
        await gate.fact("verdict", visitor="v1", verdict="ADMIT", reason="TICKET", record="R1", lane="1")
        released = await gate.fact("released", visitor="v1", admission_id=ADMISSION)
        passed = await gate.fact("passed", visitor="v1", admission_id=ADMISSION, told=True)
        closed = await gate.fact("closed", visitor="v1", admission_id=ADMISSION)
        assert 400 <= passed["t_ms"] - released["t_ms"] <= 1500
        assert 149 <= closed["t_ms"] - passed["t_ms"] <= 1000
        await gate.fact("left", visitor="v1")


@pytest.mark.parametrize("verdict", ["DENY", "REFER"])
async def test_who_is_not_admitted_leaves(tmp_path: Path, verdict: str) -> None:
    """The next visitor comes without the barrier having moved."""
    script = visitor("v1"), visitor("v2")
    async with world(tmp_path, *script) as gate, agent(gate) as client:
        await gate.fact("shown", visitor="v1")
        client.show(verdict, "NO_CREDIT")
        await gate.fact("shown", visitor="v2")
        assert not gate.facts("released")


async def test_who_does_not_pass_leaves_the_barrier_to_its_timeout(tmp_path: Path) -> None:
    """Opened and walked away from: no passage, and the barrier closes by its own timer."""
    async with world(tmp_path, visitor("v1", passes=False)) as gate, agent(gate) as client:
        await gate.fact("shown", visitor="v1")
        client.release(timeout_ms=900)
        assert [(await client.hears())["event"] for _ in range(2)] == ["opened", "closed"]
        released, closed = await gate.fact("released"), await gate.fact("closed")
        assert 899 <= closed["t_ms"] - released["t_ms"] <= 2000
        assert not gate.facts("passed")


async def test_the_same_release_again_opens_once(tmp_path: Path) -> None:
    """A repeated release is answered and changes nothing; another admission waits its turn."""
    async with world(tmp_path, visitor("v1")) as gate, agent(gate) as client:
        await gate.fact("shown", visitor="v1")
        client.release()
        client.release()
        client.release(admission_id="f" * 32)
        events = [(await client.hears())["event"] for _ in range(5)]
        assert events == ["opened", "opened", "error", "passed", "closed"]
        assert len(gate.facts("released")) == 1


async def test_without_an_agent_a_released_visitor_passes_and_nobody_is_told(tmp_path: Path) -> None:
    """The hardware goes on alone; the next agent hears the state, never the passage it missed."""
    async with world(tmp_path, visitor("v1")) as gate:
        async with agent(gate) as client:
            await gate.fact("shown", visitor="v1")
            client.release()
            assert (await client.hears())["event"] == "opened"
        await gate.fact("passed", visitor="v1", told=False)
        await gate.fact("closed", told=False)
        async with agent(gate) as client:
            client.say("ping")
            assert (await client.hears())["event"] == "pong"


async def test_without_a_verdict_a_visitor_keeps_showing_until_patience_ends(tmp_path: Path) -> None:
    """Nobody answers: unserved, left, and the next one comes."""
    script = visitor("v1", patience_ms=600), visitor("v2")
    async with world(tmp_path, *script) as gate:
        shown, unserved = await gate.fact("shown", visitor="v1"), await gate.fact("unserved", visitor="v1")
        assert 400 <= unserved["t_ms"] - shown["t_ms"] <= 2000
        await gate.fact("shown", visitor="v2")


async def test_the_newest_agent_commands(tmp_path: Path) -> None:
    """A second connection closes the first one."""
    async with world(tmp_path) as gate, agent(gate) as old, agent(gate) as new:
        assert await asyncio.wait_for(old.reader.read(), SOON_S) == b""
        new.say("ping")
        assert (await new.hears())["event"] == "pong"
        await gate.fact("disconnected", lane="1")
        assert len(gate.facts("connected")) == 2


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b'{"op":"dance"}',
        b'{"op":"show","verdict":"MAYBE","reason":"X","record":""}',
        b'{"op":"release","admission_id":"xyz","timeout_ms":5000}',
        b'{"op":"release","admission_id":"' + ADMISSION.encode() + b'","timeout_ms":-1}',
        b"[" * 50_000,
        b"\xff\x00",
    ],
)
async def test_a_malformed_line_is_answered_and_logged(tmp_path: Path, line: bytes) -> None:
    """A broken command moves nothing and the connection lives on."""
    async with world(tmp_path) as gate, agent(gate) as client:
        client.writer.write(line + b'\n{"op":"ping"}\n')
        assert [(await client.hears())["event"] for _ in range(2)] == ["error", "pong"]
        assert len(gate.facts("malformed")) == 1


async def test_visitors_keep_their_distance_and_their_order(tmp_path: Path) -> None:
    """The interval holds within a lane; who comes after somebody waits for them, also at another lane."""
    script = (
        visitor("a1", patience_ms=300),
        visitor("a2", patience_ms=300),
        visitor("b1", "2", patience_ms=300, after=["a2"]),
        {"end": True},
    )
    async with world(tmp_path, *script, lanes=("1", "2"), min_interval_ms=1200) as gate:
        await gate.fact("finished")
        shown = {fact["visitor"]: fact["t_ms"] for fact in gate.facts("shown")}
        left = {fact["visitor"]: fact["t_ms"] for fact in gate.facts("left")}
        assert shown["a2"] - shown["a1"] >= 1150  # a frame's time of 40 ms lies between start and picture
        assert shown["b1"] >= left["a2"]


async def test_an_impossible_script_ends_the_process(tmp_path: Path) -> None:
    """A visitor after somebody who never comes would wait for ever: said on stderr, exit status 1."""
    (tmp_path / "script.jsonl").write_text(json.dumps(visitor("v1", after=["nobody"])))
    files = "--script", str(tmp_path / "script.jsonl"), "--log", str(tmp_path / "log.jsonl")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", witness_module.__file__, *files, "--lane", "1:0:0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await asyncio.wait_for(process.communicate(), SOON_S)
    assert "nobody" in complaint.decode()
    assert process.returncode == 1


def test_a_showing_approaches_once_and_then_goes_back_and_forth() -> None:
    """Frames 0 1 lead to 2 3 4, which are then held: 2 3 4 3 2 3 4 ..., the first readable one noted."""
    noted: list[int] = []
    frames = [bytes([at]) for at in range(5)]
    played = witness_module.showing(frames, 2, lambda: noted.append(1))
    assert b"".join(itertools.islice(played, 2)) == bytes((0, 1))
    assert not noted
    assert b"".join(itertools.islice(played, 9)) == bytes((2, 3, 4, 3, 2, 3, 4, 3, 2))
    assert noted == [1]


async def read_parts(port: int, seconds: float) -> list[bytes]:
    """The JPEG parts that one raw HTTP client gets in this time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: camera\r\n\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON_S)
    assert b"multipart/x-mixed-replace; boundary=frame" in head
    parts: list[bytes] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        part_head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON_S)
        length = int(part_head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
        parts.append((await reader.readexactly(length + 2))[:length])
    writer.close()
    return parts


async def test_the_camera_plays_25_frames_a_second_to_everyone(tmp_path: Path) -> None:
    """Three viewers at once each get whole JPEGs at the camera's pace."""
    async with world(tmp_path) as gate:
        port = gate.ports["1"]["camera"]
        viewers = await asyncio.gather(*(read_parts(port, 1.0) for _ in range(3)))
        empty = (tmp_path / "empty.jpg").read_bytes()
        for parts in viewers:
            assert set(parts) == {empty}
            assert 15 <= len(parts) <= 30


def brightness_over_time(url: str, until: float) -> dict[int, float]:
    """When cv2.VideoCapture first hands out a picture of each of the test's brightnesses, monotonic ms."""
    first: dict[int, float] = defaultdict(float)
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG)
    while time.monotonic() < until and HELD not in first:
        read, picture = capture.read()
        assert read
        level = min((EMPTY, APPROACH, HELD), key=lambda known: abs(known - int(picture[360, 640, 0])))
        first.setdefault(level, time.monotonic() * 1000)
    capture.release()
    return first


async def test_opencv_sees_the_visitor_when_the_log_says_so(tmp_path: Path) -> None:
    """The very call a real camera is read with follows the scenes, soon after the log's word."""
    async with world(tmp_path) as gate:
        url = f"http://127.0.0.1:{gate.ports['1']['camera']}/"
        seen = asyncio.create_task(asyncio.to_thread(brightness_over_time, url, time.monotonic() + SOON_S))
        await asyncio.sleep(0)
        gate.invite(visitor("v1", patience_ms=4000))
        shown = await gate.fact("shown", visitor="v1")
        first = await seen
        assert 0 <= first[HELD] - shown["t_ms"] < 1000
