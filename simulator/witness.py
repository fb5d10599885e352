"""The physical world at a gate: cameras, turnstiles, passage sensors, staff with handhelds, a script's visitors.

A process of its own that imports nothing but the standard library: what it logs is what happened, whatever
the programs under test believe. In the log `t_ms` is the monotonic clock, `wall_ms` the wall clock.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import http.client
import itertools
import json
import re
import signal
import socket
import sys
import time
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

FRAME_S = 0.040
EMPTY_BEFORE_S = 0.300
TURN_AWAY_S = 0.400
CLOSE_AFTER_PASSAGE_S = 0.150
FOLLOW_S = 0.100
RETRY_S = 0.200
ANSWER_S = 3.0
HTTP_HEAD = (
    b"HTTP/1.0 200 OK\r\nCache-Control: no-store\r\n"
    b"Content-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
)
PART_HEAD = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"


class ScriptError(Exception):
    """The script asks for something that cannot be played."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who walks up: the pictures the camera sees, and what they do once the barrier is open."""

    id: str
    lane: str
    frames: tuple[Path, ...]
    approach: int  # so many of the first frames are not readable yet
    passes: bool
    after: tuple[str, ...]  # visitors who must have left before
    patience_s: float
    linger_s: float  # how long they go on showing after the answer
    code: str = ""  # what a member of staff reads with a handheld

    @property
    def pace_s(self) -> float:
        """From the open barrier to the passage sensor, 0.4-0.7 s: everyone's own, the same in every run."""
        return 0.400 + zlib.crc32(self.id.encode()) % 301 / 1000


@dataclass(frozen=True, slots=True)
class EmptyScene:
    """What the cameras see when nobody is there."""

    frames: tuple[Path, ...]


def parse_script_line(line: str, folder: Path) -> Visitor | EmptyScene | None:
    """One line of the script, pictures relative to `folder`; None is its end. Raises ScriptError."""
    try:
        fields = json.loads(line)
        if fields.get("end"):
            return None
        frames = tuple(folder / name for name in fields.get("empty") or fields.get("frames", ()))
        if "empty" in fields:
            return EmptyScene(frames)
        return Visitor(
            id=str(fields["id"]),
            lane=str(fields["lane"]),
            frames=frames,
            approach=min(int(fields.get("approach", 2)), len(frames) - 1),
            passes=bool(fields["passes"]),
            after=tuple(fields.get("after", ())),
            patience_s=float(fields.get("patience_ms", 12_000)) / 1000,
            linger_s=float(fields.get("linger_ms", 0)) / 1000,
            code=str(fields.get("code", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScriptError(f"{error!r} in script line {line!r}") from error


async def read_script(path: Path, follow: bool) -> AsyncIterator[Visitor | EmptyScene]:
    """The script up to its end; `follow` waits for lines still to be appended."""
    with path.open(encoding="utf-8") as script:
        rest = ""
        while True:
            *lines, rest = (rest + script.read()).split("\n")
            for line in filter(str.strip, lines if follow else [*lines, rest]):
                if (part := parse_script_line(line, path.parent)) is None:
                    return
                yield part
            if not follow:
                return
            await asyncio.sleep(FOLLOW_S)


def problem_of(command: Any) -> str | None:
    """Why a client's line is no command of the controller's protocol; None when it is one."""
    match command:
        case {"op": "ping"}:
            return None
        case {"op": "show", "verdict": "ADMIT" | "REFER" | "DENY", "reason": str(), "record": str()}:
            return None
        case {"op": "release", "admission_id": str(admission_id), "timeout_ms": int(timeout_ms)}:
            valid = re.fullmatch("[0-9a-f]{32}", admission_id) and 0 < timeout_ms <= 600_000
            return None if valid else "admission_id or timeout_ms out of range"
        case {"op": "show" | "release"}:
            return "a field is missing or of the wrong kind"
        case _:
            return "not an object with a known op"


class Log:
    """One JSON line per fact, in the file when the call returns."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, what: str, **facts: object) -> None:
        """Write what happens now; a fact that is None is not known and left out."""
        line: dict[str, object] = {"t_ms": round(time.monotonic() * 1000, 1)}
        line |= {"wall_ms": time.time_ns() // 1_000_000, "what": what}
        line |= {name: value for name, value in facts.items() if value is not None}
        print(json.dumps(line), file=self._file, flush=True)


def showing(frames: list[bytes], approach: int, on_readable: Callable[[], None]) -> Iterator[bytes]:
    """The approach once, then the other frames back and forth for as long as anyone asks."""
    yield from frames[:approach]
    on_readable()
    held = frames[approach:]
    yield from itertools.cycle(held + held[-2:0:-1])


class Camera:
    """An MJPEG camera that plays whether or not anyone looks."""

    def __init__(self) -> None:
        self._scene: Iterator[bytes] = iter(())
        self._newest = b""
        self._next_frame = asyncio.Event()

    def show(self, scene: Iterator[bytes]) -> None:
        """Play this scene from the next frame on."""
        self._scene = scene

    async def play(self) -> None:
        """25 frames a second, for ever; nothing before the first scene is known."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            if frame := next(self._scene, b""):
                self._newest = frame
                self._next_frame.set()
                self._next_frame = asyncio.Event()
            due = max(due + FRAME_S, loop.time())  # after a stall: go on from here, do not catch up
            await asyncio.sleep(due - loop.time())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One viewer: each time the newest frame; none is kept for a viewer who is slow."""
        writer.transport.set_write_buffer_limits(high=0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * 1024)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HTTP_HEAD)
            while True:
                await self._next_frame.wait()
                writer.write(PART_HEAD % len(self._newest) + self._newest + b"\r\n")
                await writer.drain()
        writer.close()


class Turnstile:
    """A barrier and its controller: the newest client commands it; its own timer closes it."""

    def __init__(self, lane: str, log: Log) -> None:
        self.visitor: str | None = None  # who stands in front of it
        self.closed = asyncio.Event()
        self.closed.set()
        self.answered = asyncio.Event()  # the visitor was turned away, or the barrier has opened
        self._lane = lane
        self._log = log
        self._client: asyncio.StreamWriter | None = None
        self._released: dict[str, str | None] = {}  # the admission, and who was in front, while it is open
        self._closing: asyncio.TimerHandle | None = None

    def note(self, what: str, **facts: object) -> None:
        """Log a fact of this lane and its present visitor."""
        self._log.write(what, **{"lane": self._lane, "visitor": self.visitor, **facts})

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, until it goes or a newer one comes."""
        if self._client is not None:
            self._client.close()
        self._client = writer
        self.note("connected")
        self._tell("state", barrier="closed" if self.closed.is_set() else "open", sensor="ok")
        try:
            while (line := await reader.readline()).endswith(b"\n"):
                self._obey(line)
                await writer.drain()
        except ValueError:  # longer than the stream's own limit of 64 KiB
            self._refuse("line too long")
        except OSError:
            pass  # a client that vanishes is the most ordinary thing here
        finally:
            self.note("disconnected")
            if self._client is writer:
                self._client = None
            writer.close()

    def pass_through(self) -> None:
        """Somebody trips the passage sensor if the barrier is still open; it closes behind them."""
        if not self.closed.is_set():
            self._report("passed")
            self._close_in(CLOSE_AFTER_PASSAGE_S)

    def _obey(self, line: bytes) -> None:
        try:
            command = json.loads(line)
        except (ValueError, RecursionError):
            command = None
        if problem := problem_of(command):
            self._refuse(problem)
        elif command["op"] == "ping":
            self._tell("pong")
        elif command["op"] == "show":
            self.note("verdict", **{name: command[name] for name in ("verdict", "reason", "record")})
            if command["verdict"] != "ADMIT":
                self.answered.set()
        else:
            self._release(command["admission_id"], command["timeout_ms"] / 1000)

    def _release(self, admission_id: str, timeout_s: float) -> None:
        if self.closed.is_set():
            self.closed.clear()
            self._released = {"admission_id": admission_id, "visitor": self.visitor}
            self.note("released", admission_id=admission_id)
            self._tell("opened", admission_id=admission_id)
            self._close_in(timeout_s)
            self.answered.set()
        elif admission_id == self._released["admission_id"]:
            self._tell("opened", admission_id=admission_id)  # said again, done once
        else:
            self._refuse("open for another admission")

    def _close_in(self, delay_s: float) -> None:
        if self._closing is not None:
            self._closing.cancel()
        self._closing = asyncio.get_running_loop().call_later(delay_s, self._close)

    def _close(self) -> None:
        self._report("closed")
        self.closed.set()

    def _report(self, what: str) -> None:
        """Tell the client what the hardware does; without one it is logged and told to nobody, ever."""
        told = self._tell(what, admission_id=self._released["admission_id"])
        self.note(what, **self._released, told=told)

    def _refuse(self, problem: str) -> None:
        self.note("malformed", problem=problem)
        self._tell("error", problem=problem)

    def _tell(self, event: str, **fields: object) -> bool:
        if self._client is None or self._client.is_closing():
            return False
        self._client.write(json.dumps({"event": event, **fields}).encode() + b"\n")
        return True


class Lane:
    """One camera, one turnstile, and the visitors who come to them one after the other."""

    def __init__(self, name: str, log: Log, min_interval_s: float) -> None:
        self.camera = Camera()
        self.turnstile = Turnstile(name, log)
        self.coming: asyncio.Queue[Visitor | None] = asyncio.Queue()  # None: nobody comes any more
        self._min_interval_s = min_interval_s
        self._empty: list[bytes] = []

    def furnish(self, empty: list[bytes]) -> None:
        """From now on the camera sees these pictures when nobody is there."""
        self._empty = empty
        if self.turnstile.visitor is None:
            self._take_away()

    async def run(self, gone: defaultdict[str, asyncio.Event]) -> None:
        """Receive everyone who comes; `gone` is shared by all lanes, for visitors who come after others."""
        now = asyncio.get_running_loop().time
        started_s = -self._min_interval_s
        while visitor := await self.coming.get():
            frames = [path.read_bytes() for path in visitor.frames]
            for earlier in visitor.after:
                await gone[earlier].wait()
            await asyncio.sleep(max(EMPTY_BEFORE_S, started_s + self._min_interval_s - now()))
            await self.turnstile.closed.wait()
            started_s = now()
            await self._receive(visitor, frames)
            gone[visitor.id].set()

    async def _receive(self, visitor: Visitor, frames: list[bytes]) -> None:
        turnstile = self.turnstile
        turnstile.visitor = visitor.id
        turnstile.answered.clear()
        self.camera.show(showing(frames, visitor.approach, lambda: turnstile.note("shown")))
        try:
            async with asyncio.timeout(visitor.patience_s):
                await turnstile.answered.wait()
        except TimeoutError:
            turnstile.note("unserved")
        await asyncio.sleep(visitor.linger_s)
        if turnstile.closed.is_set():
            await asyncio.sleep(TURN_AWAY_S)
            self._take_away()
        else:
            self._take_away()
            await asyncio.sleep(visitor.pace_s)
            if visitor.passes:
                turnstile.pass_through()
        turnstile.note("left")
        turnstile.visitor = None
        await turnstile.closed.wait()

    def _take_away(self) -> None:
        self.camera.show(showing(self._empty, 0, lambda: None))


class Steward:
    """A member of staff with a handheld at a lane without a barrier: scans, lets in, and tells the box who went in."""

    def __init__(self, name: str, log: Log, port: int, token: str) -> None:
        self.coming: asyncio.Queue[Visitor | None] = asyncio.Queue()
        self._name = name
        self._log = log
        self._port = port
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    async def run(self, gone: defaultdict[str, asyncio.Event]) -> None:
        """Serve everyone who comes, one after the other."""
        while visitor := await self.coming.get():
            for earlier in visitor.after:
                await gone[earlier].wait()
            await asyncio.sleep(EMPTY_BEFORE_S)  # nobody reads a code faster
            await self._serve(
                visitor, functools.partial(self._log.write, lane=self._name, visitor=visitor.id)
            )
            gone[visitor.id].set()

    async def _serve(self, visitor: Visitor, note: Callable[..., None]) -> None:
        note("shown")
        answer = await self._insist("scans", {"payload": visitor.code}, visitor.patience_s)
        if answer is None:
            note("unserved")
        else:
            note("verdict", **{name: answer[name] for name in ("verdict", "reason", "record")})
            if answer["verdict"] == "ADMIT":
                await self._let_in(visitor, answer["admission_id"], note)
        note("left")

    async def _let_in(self, visitor: Visitor, admission_id: str, note: Callable[..., None]) -> None:
        note("released", admission_id=admission_id)
        await asyncio.sleep(visitor.pace_s)
        note("passed" if visitor.passes else "closed", admission_id=admission_id)
        await self._insist(
            "passages", {"admission_id": admission_id, "passed": visitor.passes}, visitor.patience_s
        )

    async def _insist(self, path: str, body: dict[str, object], patience_s: float) -> Any:
        """Ask until the box answers, as whoever holds a handheld does; None when it never did."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                status, answer = await asyncio.to_thread(self._ask, path, body)
                if status != 503 and answer.get("error", {}).get("code") != "lane_busy":
                    return answer if status == 200 else None
            await asyncio.sleep(RETRY_S)
        return None

    def _ask(self, path: str, body: dict[str, object]) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S)
        try:
            text = json.dumps({"lane": self._name, **body})
            connection.request("POST", f"/v1/staff/{path}", text, self._headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()


async def invite(script: Path, follow: bool, lanes: dict[str, Lane | Steward]) -> None:
    """Read the script and send everyone in it to their lane. Raises ScriptError."""
    known: set[str] = set()
    awaited: set[str] = set()
    async for part in read_script(script, follow):
        match part:
            case EmptyScene(frames):
                pictures = [path.read_bytes() for path in frames]
                for lane in lanes.values():
                    if isinstance(lane, Lane):
                        lane.furnish(pictures)
            case Visitor() if part.lane in lanes:
                lanes[part.lane].coming.put_nowait(part)
                known.add(part.id)
                awaited.update(part.after)
            case Visitor():
                raise ScriptError(f"visitor {part.id} comes to lane {part.lane}, which is not there")
    if never := awaited - known:
        raise ScriptError(f"visitors are to come after {sorted(never)}, who never come")
    for lane in lanes.values():
        lane.coming.put_nowait(None)


async def play(options: argparse.Namespace, log: Log) -> None:
    """Serve the lanes until cancelled; the script plays meanwhile, and its end is logged as `finished`."""
    lanes: dict[str, Lane | Steward] = {}
    ports: dict[str, dict[str, int]] = {}
    for address in options.lane:
        name, camera_port, controller_port = address.split(":")
        lane = Lane(name, log, options.min_interval_ms / 1000)
        lanes[name] = lane
        camera = await asyncio.start_server(lane.camera.serve, "127.0.0.1", int(camera_port))
        controller = await asyncio.start_server(lane.turnstile.serve, "127.0.0.1", int(controller_port))
        served = {"camera": camera, "controller": controller}
        ports[name] = {what: server.sockets[0].getsockname()[1] for what, server in served.items()}
    for address in options.handheld:
        name, port, token = address.split(":")
        lanes[name] = Steward(name, log, int(port), token)
    print(json.dumps({"ready": True, "lanes": ports}), flush=True)
    gone: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
    async with asyncio.TaskGroup() as world:
        for place in lanes.values():
            if isinstance(place, Lane):
                world.create_task(place.camera.play())
        async with asyncio.TaskGroup() as visits:
            visits.create_task(invite(options.script, options.follow, lanes))
            for place in lanes.values():
                visits.create_task(place.run(gone))
        log.write("finished")


async def until_stopped(playing: Coroutine[None, None, None]) -> None:
    """Run until SIGTERM or SIGINT, then raise CancelledError."""
    task = asyncio.create_task(playing)
    for stop in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(stop, task.cancel)
    await task


def main() -> None:
    """Play the world that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--script", type=Path, required=True, help="who comes, as JSON lines")
    parser.add_argument("--log", type=Path, required=True, help="what happened, as JSON lines; written anew")
    parser.add_argument("--lane", action="append", required=True, metavar="NAME:MJPEG_PORT:CONTROLLER_PORT")
    parser.add_argument("--handheld", action="append", default=[], metavar="NAME:BOX_PORT:TOKEN")
    parser.add_argument("--follow", action="store_true", help="wait for lines to be added to the script")
    parser.add_argument("--min-interval-ms", type=int, default=1500, help="between two visitors' starts")
    options = parser.parse_args()
    with options.log.open("w", encoding="utf-8") as file, contextlib.suppress(asyncio.CancelledError):
        try:
            asyncio.run(until_stopped(play(options, Log(file))))
        except* ScriptError as problems:
            sys.exit(f"witness: {problems.exceptions[0]}")


if __name__ == "__main__":
    main()
