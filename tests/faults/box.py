"""One box as a process, with as little around it as a fault needs."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from admission.codes import Validity, issue_ticket_code
from admission.keys import public_key_text
from admission.tickets import Ticket
from demo.processes import free_port, python
from demo.world import PROJECT
from tests.admission.makers import HASH_KEY, TICKET_ISSUER, signing_key, ticket
from tests.support.secured import tls_settings
from tests.support.waiting import until_asked

LIST_SIGNER = signing_key(7)
EXIT_WITHIN_S = 15.0


def ticket_code(number: int) -> bytes:
    """A ticket that is valid today, whatever day it is."""
    now_s = int(time.time())
    validity = Validity(now_s - 3600, now_s + 36_000, now_s - 60)
    return issue_ticket_code(b"ticket-%05d" % number, "DAY1", validity, TICKET_ISSUER).encode()


def valid_ticket() -> Ticket:
    """What a list says of a ticket that admits once today."""
    now_s = int(time.time())
    return ticket(valid_from_s=now_s - 3600, valid_until_s=now_s + 36_000)


@dataclass(slots=True)
class Box:
    """The agent's program on a settings file."""

    folder: Path
    broker_port: int = field(default_factory=free_port)
    list_port: int = field(default_factory=free_port)
    web_port: int = field(default_factory=free_port)
    camera: str = ""
    controller_port: int = 0
    state_dir: str = "state"
    staff: dict[str, str] = field(default_factory=dict)
    """Members of staff by id with their roles; with any there is a lane H1 that they attend."""
    process: asyncio.subprocess.Process | None = None

    @property
    def settings(self) -> Path:
        """The settings file."""
        return self.folder / "box.toml"

    @property
    def state_path(self) -> Path:
        """The folder of its memory."""
        return self.folder / self.state_dir

    async def start(self) -> None:
        """Start it and return when its service answers."""
        await self.launch()
        await until_asked(self._answers, "the box's service")

    async def launch(self) -> None:
        """Start it and do not wait."""
        self.write_settings()
        with (self.folder / "agent.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *python("gate_agent", "run", str(self.settings)), stdout=log, stderr=log
            )

    async def ends(self) -> int:
        """Wait for its end and return the exit status."""
        assert self.process is not None
        return await asyncio.wait_for(self.process.wait(), EXIT_WITHIN_S)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal, if it still runs, and return its exit status."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.ends()

    async def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of a GET."""
        async with aiohttp.ClientSession() as session, session.get(self._url(path)) as response:
            return response.status, await response.json()

    async def scan(self, payload: bytes) -> tuple[int, Any]:
        """Status and JSON, if it is any, of a code submitted by a foreign reader."""
        body = {"lane": "1", "payload": payload.decode()}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self._url("/v1/scans"), json=body) as response,
        ):
            return response.status, json.loads(await response.read() or b"null") if response.ok else None

    async def state(self) -> dict[str, Any]:
        """What it says of itself."""
        _, state = await self.get("/v1/state")
        box: dict[str, Any] = state["box"]
        return box

    async def lane(self) -> dict[str, Any]:
        """What it says of its lane."""
        _, state = await self.get("/v1/state")
        lane: dict[str, Any] = state["lanes"][0]
        return lane

    async def link_becomes(self, *, up: bool) -> None:
        """Wait until the link to the broker is in this state."""

        async def is_so() -> bool:
            return (await self.state())["link_up"] is up

        await until_asked(is_so, f"link_up={up}", within_s=30)

    async def barrier_becomes(self, barrier: str) -> None:
        """Wait until the lane's barrier is in this state."""

        async def is_so() -> bool:
            return bool((await self.lane())["barrier"] == barrier)

        await until_asked(is_so, f"barrier {barrier}")

    async def says(self, problem: str) -> None:
        """Wait until one of its problems contains these words."""

        async def is_so() -> bool:
            return any(problem in line for line in (await self.state())["problems"])

        await until_asked(is_so, problem, within_s=30)

    async def no_longer_says(self, problem: str) -> None:
        """Wait until none of its problems contains these words."""

        async def is_so() -> bool:
            return not any(problem in line for line in (await self.state())["problems"])

        await until_asked(is_so, f"the end of {problem}", within_s=30)

    def log(self) -> list[dict[str, Any]]:
        """What it has logged, which is one JSON object a line."""
        return [json.loads(line) for line in (self.folder / "agent.log").read_text().splitlines()]

    def write_settings(self) -> None:
        """Write the settings file and the site's hash key."""
        (self.folder / "hash.key").write_text(HASH_KEY.hex())
        lines = [
            'profile = "demo"',
            'box_id = "box-1"',
            'site_id = "fairy"',
            f"state_dir = {json.dumps(self.state_dir)}",
            f"policy_file = {json.dumps(str(PROJECT / 'config/policies/default.toml'))}",
            'hash_key_file = "hash.key"',
            f"list_keys = {json.dumps([public_key_text(LIST_SIGNER.public)])}",
            "[centre]",
            f'url = "http://127.0.0.1:{self.list_port}"',
            'broker_host = "127.0.0.1"',
            f"broker_port = {self.broker_port}",
            "keepalive_s = 2",
            tls_settings("fairy/box-1"),
            "[[issuer_keys]]",
            f"key = {json.dumps(public_key_text(TICKET_ISSUER.public))}",
            'uses = ["ticket"]',
            "[web]",
            f"port = {self.web_port}",
            "[[lanes]]",
            'id = "1"',
            *self._camera_lines(),
            *self._turnstile_lines(),
            *self._staff_lines(),
        ]
        self.settings.write_text("\n".join(lines) + "\n")

    def _camera_lines(self) -> Sequence[str]:
        if not self.camera:
            return ()
        timeouts = ("open_timeout_ms = 1000", "read_timeout_ms = 1000")
        return ("[lanes.camera]", f"address = {json.dumps(self.camera)}", *timeouts)

    def _turnstile_lines(self) -> Sequence[str]:
        driver = (
            (f'driver = "tcp"\nport = {self.controller_port}')
            if self.controller_port
            else 'driver = "simulated"'
        )
        return ("[lanes.turnstile]", driver, "release_timeout_ms = 1000")

    def _staff_lines(self) -> Sequence[str]:
        if not self.staff:
            return ()
        lines = ["[[lanes]]", 'id = "H1"', "[lanes.turnstile]", 'driver = "attendant"']
        for staff_id, role in self.staff.items():
            (self.folder / f"{staff_id}.token").write_text(f"token of {staff_id}")
            lines += [
                "[[staff]]",
                f'id = "{staff_id}"',
                f'role = "{role}"',
                f'token_file = "{staff_id}.token"',
            ]
        lines += ["[[external_issuers]]", 'issuer = "ota"', 'pattern = "OTA-[0-9]{10}"']
        return lines

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.web_port}{path}"

    async def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.returncode is None, (self.folder / "agent.log").read_text()
        try:
            return (await self.get("/healthz"))[0] == 200
        except aiohttp.ClientConnectionError:
            return False


@asynccontextmanager
async def running(box: Box) -> AsyncIterator[Box]:
    """The box, from its service's first answer on; gone in the end, whatever the test did to it."""
    try:
        await box.start()
        yield box
    finally:
        if box.process is not None and box.process.returncode is None:
            box.process.kill()
            await box.process.wait()
