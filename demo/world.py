"""One site on one machine: broker, centre, the gate's hardware, and a box behind a network that can be cut.

The cut is made outside the box, by proxies between it and the centre: no code of the agent knows of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import aiohttp

from demo.back_office import BackOffice
from demo.processes import Child, StartError, find_program, free_port, python, until_listening
from simulator.proxy import Mode, Proxy

PROJECT = Path(__file__).parent.parent
BOX_ID = "B1"
SITE_ID = "fairy"
OTA = "ota"
OTA_PATTERN = "OTA-[0-9]{10}"
READY_TIMEOUT_S = 20.0
MIN_INTERVAL_MS = 1500
"""No lane sees more than 40 visitors a minute."""

PRODUCTS = [
    {"code": "DAY1", "name_zh": "仙女山一日票", "name_en": "Fairy Mountain day ticket", "site_ids": "fairy"},
    {
        "code": "BRDG",
        "name_zh": "天生三桥一日票",
        "name_en": "Three Bridges day ticket",
        "site_ids": "bridges",
    },
]


class World:
    """Starts everything, cuts and restores the network, kills, and stops what it started."""

    def __init__(
        self,
        folder: Path,
        lanes: Sequence[str],
        *,
        release_timeout_ms: int,
        min_interval_ms: int = MIN_INTERVAL_MS,
        cameras: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        self.lanes = tuple(lanes)
        self.script = folder / "script.jsonl"
        self.witness_log = folder / "witness.jsonl"
        self.agent_log = folder / "agent.log"
        self.centre_store = folder / "centre" / "centre.db"
        self.box_store = folder / "box" / "box.db"
        self.box_port = free_port()
        self.centre_port = free_port()
        self._broker_port = free_port()
        self._release_timeout_ms = release_timeout_ms
        self._min_interval_ms = min_interval_ms
        self._cameras = cameras
        self._ports: dict[str, dict[str, int]] = {}
        self._keys_texts: dict[str, str] = {}
        self._cables = [
            Proxy(0, "127.0.0.1", self._broker_port),
            Proxy(0, "127.0.0.1", self.centre_port),
        ]
        self._stack = contextlib.AsyncExitStack()
        self.broker = self._child(
            "mosquitto", [find_program("mosquitto"), "-c", str(folder / "mosquitto.conf")]
        )
        self.centre = self._child("centre", python("central", "run", str(folder / "centre.toml")))
        self.agent = Child("agent", python("gate_agent", "run", str(folder / "box.toml")), self.agent_log)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    @property
    def back_office(self) -> BackOffice:
        """A client of the centre that is not behind the cut."""
        return BackOffice(f"http://127.0.0.1:{self.centre_port}")

    @property
    def is_cut(self) -> bool:
        """Whether the box's network is cut."""
        return any(cable.mode is not Mode.OPEN for cable in self._cables)

    async def start(self) -> None:
        """Start everything but the box, and register what it needs; the demo's keys are made at the first run."""
        self._lay_out()
        self._keys_texts = json.loads(await _output(python("central", "keys", str(self._keys), "--demo")))
        self._write_broker_settings()
        await self._start(self.broker)
        await until_listening("mosquitto", self._broker_port)
        self._write_centre_settings()
        await self._start(self.centre)
        await until_listening("the centre", self.centre_port)
        for cable in self._cables:
            await self._stack.enter_async_context(cable)
        await self._start_hardware()
        await self._register()

    async def start_agent(self) -> None:
        """Start the box, and start it again whenever it ends."""
        await self._start(self.agent)

    async def start_box(self) -> None:
        """Start the box and wait until its service answers."""
        await self.start_agent()
        await until_listening("the box", self.box_port, READY_TIMEOUT_S)

    async def box_state(self) -> dict[str, Any] | None:
        """Return what the box says of itself, or None while it cannot be asked."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session,
                session.get(f"http://127.0.0.1:{self.box_port}/v1/state") as response,
            ):
                state: dict[str, Any] = await response.json()
                return state
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def is_listed(self) -> bool:
        """Whether the box has the newest list that the centre has built."""
        async with self.back_office as office:
            sites = {site["site_id"]: site["list_version"] for site in (await office.summary())["sites"]}
        state = await self.box_state()
        return state is not None and state["box"]["list_version"] == sites[SITE_ID] > 0

    def cut(self, *, silent_ms: int) -> None:
        """Cut the box's network: silence first, as a dead switch does it, then resets."""
        for cable in self._cables:
            cable.cut(silent_ms)

    def restore(self) -> None:
        """Mend the network."""
        for cable in self._cables:
            cable.restore()

    @property
    def _keys(self) -> Path:
        return self.folder.parent / "demo-keys"

    async def _start_hardware(self) -> None:
        """Start cameras, turnstiles and visitors: a process that knows nothing of ours."""
        command = [sys.executable, "-I", str(PROJECT / "simulator" / "witness.py"), "--follow"]
        command += ["--script", str(self.script), "--log", str(self.witness_log)]
        command += ["--min-interval-ms", str(self._min_interval_ms)]
        for lane in self.lanes:
            command += ["--lane", f"{lane}:0:0"]
        witness = Child("witness", command, self.folder / "witness.err", wants_stdout=True)
        await witness.start()
        self._stack.push_async_callback(witness.stop)
        self._ports = json.loads(await witness.first_line(READY_TIMEOUT_S))["lanes"]

    async def _register(self) -> None:
        """Tell the centre what it sells and which box it may believe."""
        self._write_box_settings()
        box_key = await _output(python("gate_agent", "key", str(self.folder / "box.toml")))
        box = {"box_id": BOX_ID, "site_id": SITE_ID, "public_key": box_key.strip()}
        async with self.back_office as office:
            await office.import_rows("products", PRODUCTS)
            await office.import_rows("boxes", [box])

    async def _start(self, child: Child) -> None:
        await child.start()
        child.keep()
        self._stack.push_async_callback(child.stop)

    def _child(self, name: str, command: list[str]) -> Child:
        return Child(name, command, self.folder / f"{name}.log")

    def _lay_out(self) -> None:
        """Begin with nothing but the demo's keys, which stay from run to run."""
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "centre").mkdir(parents=True)
        self.script.touch()

    def _write_broker_settings(self) -> None:
        (self.folder / "mosquitto.conf").write_text(
            f"listener {self._broker_port} 127.0.0.1\n"
            "allow_anonymous true\n"
            "set_tcp_nodelay true\n"
            "log_dest stderr\n",
            "utf-8",
        )

    def _write_centre_settings(self) -> None:
        (self.folder / "centre.toml").write_text(
            _toml(
                {
                    "profile": "demo",
                    "store": str(self.centre_store),
                    "lists": str(self.folder / "centre" / "lists"),
                    "keys": str(self._keys),
                    "policy": str(PROJECT / "config" / "policies" / "default.toml"),
                }
            )
            + "[broker]\n"
            + _toml({"host": "127.0.0.1", "port": self._broker_port, "client_id": "centre", "keepalive_s": 5})
            + "[http]\n"
            + _toml({"port": self.centre_port}),
            "utf-8",
        )

    def _write_box_settings(self) -> None:
        cable_mqtt, cable_http = self._cables
        keys = self._keys_texts
        text = _toml(
            {
                "profile": "demo",
                "box_id": BOX_ID,
                "site_id": SITE_ID,
                "state_dir": "box",
                "policy_file": str(PROJECT / "config" / "policies" / "default.toml"),
                "hash_key_file": str(self._keys / "hash.key"),
                "list_keys": [keys["list"]],
            }
        )
        text += "[centre]\n" + _toml(
            {
                "url": f"http://127.0.0.1:{cable_http.port}",
                "broker_host": "127.0.0.1",
                "broker_port": cable_mqtt.port,
                "keepalive_s": 3,
            }
        )
        text += "[[issuer_keys]]\n" + _toml({"key": keys["issuer"], "uses": ["ticket", "credit"]})
        text += "[[external_issuers]]\n" + _toml({"issuer": OTA, "pattern": OTA_PATTERN})
        text += "[web]\n" + _toml({"port": self.box_port})
        for lane in self.lanes:
            ports = self._ports[lane]
            camera = self._cameras.get(lane, f"http://127.0.0.1:{ports['camera']}/")
            text += "[[lanes]]\n" + _toml({"id": lane})
            text += "[lanes.camera]\n" + _toml({"address": camera})
            text += "[lanes.turnstile]\n"
            text += _toml(
                {
                    "driver": "tcp",
                    "port": ports["controller"],
                    "release_timeout_ms": self._release_timeout_ms,
                }
            )
        (self.folder / "box.toml").write_text(text, "utf-8")


def _toml(values: Mapping[str, str | int | list[str]]) -> str:
    """Return plain values as TOML; JSON's strings, numbers and arrays of strings are TOML's."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


async def _output(command: list[str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    if process.returncode != 0:
        raise StartError(f"{' '.join(command[1:])} failed: {err.decode().strip()}")
    return out.decode()
