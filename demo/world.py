"""One site on one machine: brokers, centre, the gate's hardware, and boxes behind networks that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import secrets
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from central.access import AUTHORITY_FILE, REVOKED_FILE, RULES_FILE
from demo.back_office import BackOffice
from demo.box import HANDHELD_LANE, OTA, PROJECT, READY_TIMEOUT_S, SITE_ID, Box, Lane, toml
from demo.processes import Child, find_program, free_port, output, python, until_listening

__all__ = ["BOX_ID", "OTA", "PROJECT", "SITE_ID", "World"]

BOX_ID = "B1"
MIN_INTERVAL_MS = 1500
"""No lane sees more than 40 visitors a minute."""

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
"""Where the drawn pictures lie, if it is there: writing them to the disk would hold up the gate's commits on it."""

LIVE = "LIVE"
"""The product whose tickets admit only from the phone that they are bound to."""
PRODUCTS: list[dict[str, Any]] = [
    {"code": "DAY1", "name_zh": "仙女山一日票", "name_en": "Fairy Mountain day ticket", "site_ids": "fairy"},
    {
        "code": "BRDG",
        "name_zh": "天生三桥一日票",
        "name_en": "Three Bridges day ticket",
        "site_ids": "bridges",
    },
    {
        "code": LIVE,
        "name_zh": "仙女山防复制票",
        "name_en": "Fairy Mountain copy-proof ticket",
        "site_ids": "fairy",
        "terms": {"live": True},
    },
]


class World:
    """Starts everything, cuts and restores networks, kills, and stops what it started.

    `lanes` are those of the first box; `neighbours` names further boxes with theirs. With neighbours there is a site
    broker besides the centre's. The box `handheld_at` has one more lane, which staff attend.
    """

    def __init__(
        self,
        folder: Path,
        lanes: Sequence[str],
        *,
        release_timeout_ms: int,
        neighbours: Mapping[str, Sequence[str]] = MappingProxyType({}),
        handheld_at: str = "",
        min_interval_ms: int = MIN_INTERVAL_MS,
        cameras: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        self.script = folder / "script.jsonl"
        self.witness_log = folder / "witness.jsonl"
        self.centre_store = folder / "centre" / "centre.db"
        self.centre_port = free_port()
        self._broker_port = free_port()
        self._site_port = free_port() if neighbours else 0
        self._release_timeout_ms = release_timeout_ms
        self._min_interval_ms = min_interval_ms
        self._cameras = cameras
        self.boxes = {
            box_id: Box(folder, box_id, lane_ids, (self._broker_port, self.centre_port), self._site_port)
            for box_id, lane_ids in {BOX_ID: lanes, **neighbours}.items()
        }
        if handheld_at:
            self.boxes[handheld_at].staff_token = secrets.token_hex(4)
        self.lanes = tuple(lane_id for box in self.boxes.values() for lane_id in box.lane_ids)
        self._stack = contextlib.AsyncExitStack()
        self._keys_texts: Mapping[str, str] = {}
        self._lane_ports: Mapping[str, Mapping[str, int]] = {}
        self.broker = self._mosquitto("mosquitto")
        self.site_broker = self._mosquitto("site-mosquitto") if neighbours else None
        self.centre = self._child("centre", python("central", "run", str(folder / "centre.toml")))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    @property
    def back_office(self) -> BackOffice:
        """A client of the centre that is not behind the cut."""
        return BackOffice(f"http://127.0.0.1:{self.centre_port}")

    async def start(self) -> None:
        """Start everything but the boxes, and register what they need; the demo's keys are made at the first run."""
        self._lay_out()
        keys_texts = json.loads(await output(python("central", "keys", str(self._keys), "--demo")))
        await asyncio.gather(
            self._certify("server", "127.0.0.1"), self._certify("central", "central", "--client")
        )
        self._write_centre_settings()
        await self._start(self.centre)
        await until_listening("the centre", self.centre_port)
        await self._start_broker(self.broker, "mosquitto", self._broker_port)
        if self.site_broker is not None:
            await self._start_broker(self.site_broker, "site-mosquitto", self._site_port)
        self._keys_texts, self._lane_ports = keys_texts, await self._start_hardware()
        await self._set_up_boxes()
        async with self.back_office as office:
            await office.import_rows("products", PRODUCTS)

    async def start_agent(self) -> None:
        """Start every box, and start it again whenever it ends."""
        for box in self.boxes.values():
            await self._start(box.agent)

    async def start_box(self) -> None:
        """Start every box and wait until its service answers."""
        await self.start_agent()
        for box in self.boxes.values():
            await box.until_ready()

    async def is_listed(self) -> bool:
        """Whether every box has the newest list that the centre has built."""
        async with self.back_office as office:
            sites = {site["site_id"]: site["list_version"] for site in (await office.summary())["sites"]}
        states = [await box.state() for box in self.boxes.values()]
        return all(state and state["box"]["list_version"] == sites[SITE_ID] > 0 for state in states)

    async def is_in_touch(self) -> bool:
        """Whether every box knows all that its neighbours did."""
        return all([await box.hears_its_neighbours() for box in self.boxes.values()])

    @property
    def is_cut(self) -> bool:
        """Whether a box's way to the centre is cut."""
        return any(box.is_centre_cut for box in self.boxes.values())

    @property
    def is_site_cut(self) -> bool:
        """Whether the boxes are cut off from each other."""
        return any(box.is_site_cut for box in self.boxes.values())

    def cut_site(self, *, silent_ms: int) -> None:
        """Cut every box but the first off from the site's broker, which stands beside that."""
        for box in list(self.boxes.values())[1:]:
            box.cut_site(silent_ms=silent_ms)

    def restore_site(self) -> None:
        """Mend the way between the boxes."""
        for box in list(self.boxes.values())[1:]:
            box.restore_site()

    def cut(self, *, silent_ms: int) -> None:
        """Cut every box off from the centre."""
        for box in self.boxes.values():
            box.cut_centre(silent_ms=silent_ms)

    def restore(self) -> None:
        """Mend every box's way to the centre."""
        for box in self.boxes.values():
            box.restore_centre()

    @property
    def _keys(self) -> Path:
        return self.folder.parent / "demo-keys"

    @property
    def _certificates(self) -> Path:
        return self.folder / "certificates"

    @property
    def _access(self) -> Path:
        return self.folder / "centre" / "access"

    async def _start_hardware(self) -> dict[str, dict[str, int]]:
        """Start cameras, turnstiles and visitors: a process that knows nothing of ours; return each lane's ports."""
        command = [sys.executable, "-I", str(PROJECT / "simulator" / "witness.py"), "--follow"]
        command += ["--script", str(self.script), "--log", str(self.witness_log)]
        command += ["--min-interval-ms", str(self._min_interval_ms)]
        for lane in self.lanes:
            command += ["--lane", f"{lane}:0:0"]
        for box in self.boxes.values():
            if box.staff_token:
                command += ["--handheld", f"{HANDHELD_LANE}:{box.port}:{box.staff_token}"]
        witness = Child("witness", command, self.folder / "witness.err", wants_stdout=True)
        await witness.start()
        self._stack.push_async_callback(witness.stop)
        ports: dict[str, dict[str, int]] = json.loads(await witness.first_line(READY_TIMEOUT_S))["lanes"]
        return ports

    async def _set_up_boxes(self) -> None:
        """Give every box its cables and settings, and enrol it."""
        for box in self.boxes.values():
            await box.lay_cables(self._stack)
            lanes = [self._lane(lane_id, self._lane_ports[lane_id]) for lane_id in box.lane_ids]
            box.write_settings(self._keys_texts, lanes, self._release_timeout_ms)
        tokens = [await self._invite(box) for box in self.boxes.values()]
        await asyncio.gather(*map(Box.enrol, self.boxes.values(), tokens))
        self._have_brokers_read_again()

    async def _invite(self, box: Box) -> str:
        async with self.back_office as office:
            return await office.invite(box.box_id, SITE_ID)

    async def replace_box(self, box_id: str, spare_id: str) -> Box:
        """Lose a box with all that is in it, bar it, and put a spare with an empty memory at its lanes; return that.

        The spare has its settings and runs one command; who may come in, the brokers read anew as systemd has them.
        """
        lost = self.boxes.pop(box_id)
        await lost.agent.lose()
        shutil.rmtree(lost.store.parent)
        spare = Box(
            self.folder, spare_id, lost.lane_ids, (self._broker_port, self.centre_port), self._site_port
        )
        self.boxes[spare_id] = spare
        await spare.lay_cables(self._stack)
        lanes = [self._lane(lane_id, self._lane_ports[lane_id]) for lane_id in spare.lane_ids]
        spare.write_settings(self._keys_texts, lanes, self._release_timeout_ms)
        async with self.back_office as office:
            await office.bar(box_id)
        await spare.enrol(await self._invite(spare))
        self._have_brokers_read_again()
        await self._start(spare.agent)
        await spare.until_ready()
        return spare

    async def restore_centre(self, backup: Path) -> None:
        """Lose the centre in the middle of its work, put a backup in its store's place, and start it again."""
        await self.centre.lose()
        await output(python("central", "restore", str(self.folder / "centre.toml"), str(backup)))
        await self._start(self.centre)
        await until_listening("the centre", self.centre_port)

    async def back_up_centre(self, backup: Path) -> None:
        """Copy the centre's store while it works."""
        await output(python("central", "backup", str(self.folder / "centre.toml"), str(backup)))

    def _have_brokers_read_again(self) -> None:
        """Have the brokers let in who has come and no longer who has gone, as systemd does."""
        for broker in filter(None, (self.broker, self.site_broker)):
            broker.hang_up()

    def _lane(self, lane_id: str, ports: Mapping[str, int]) -> Lane:
        camera = self._cameras.get(lane_id, f"http://127.0.0.1:{ports['camera']}/")
        return Lane(lane_id, camera, ports["controller"])

    async def _certify(self, name: str, *arguments: str) -> None:
        """Have the centre's authority make a certificate."""
        out = str(self._certificates / name)
        await output(python("central", "certificate", str(self._keys), *arguments, "--out", out))

    async def _start_broker(self, broker: Child, name: str, port: int) -> None:
        """Start a broker that lets in whom the centre's files name; the centre has written them by now."""
        self._write_broker_settings(name, port)
        await self._start(broker)
        await until_listening(name, port)

    async def _start(self, child: Child) -> None:
        await child.start()
        child.keep()
        self._stack.push_async_callback(child.stop)

    def _mosquitto(self, name: str) -> Child:
        return self._child(name, [find_program("mosquitto"), "-c", str(self.folder / f"{name}.conf")])

    def _child(self, name: str, command: list[str]) -> Child:
        return Child(name, command, self.folder / f"{name}.log")

    def _lay_out(self) -> None:
        """Begin with nothing but the demo's keys, which stay from run to run."""
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "centre").mkdir(parents=True)
        self.script.touch()
        if MEMORY.is_dir():
            pictures = tempfile.mkdtemp(prefix="scenic-gate-", dir=MEMORY)
            self._stack.callback(shutil.rmtree, pictures, ignore_errors=True)
            (self.folder / "frames").symlink_to(pictures)

    def _write_broker_settings(self, name: str, port: int) -> None:
        user = pwd.getpwuid(
            os.geteuid()
        ).pw_name  # root would become mosquitto, which cannot read these files
        (self.folder / f"{name}.conf").write_text(
            f"user {user}\nlog_dest stderr\nset_tcp_nodelay true\nlistener {port} 127.0.0.1\n"
            "allow_anonymous false\nrequire_certificate true\n"
            "use_identity_as_username true\nuse_username_as_clientid true\n"
            f"cafile {self._access / AUTHORITY_FILE}\ncrlfile {self._access / REVOKED_FILE}\n"
            f"certfile {self._certificates / 'server.crt'}\nkeyfile {self._certificates / 'server.key'}\n"
            f"acl_file {self._access / RULES_FILE}\n",
            "utf-8",
        )

    def _write_centre_settings(self) -> None:
        (self.folder / "centre.toml").write_text(
            toml(
                {
                    "profile": "demo",
                    "store": str(self.centre_store),
                    "lists": str(self.folder / "centre" / "lists"),
                    "keys": str(self._keys),
                    "policy": str(PROJECT / "config" / "policies" / "default.toml"),
                    "access": str(self._access),
                }
            )
            + "[broker]\n"
            + toml(
                {
                    "host": "127.0.0.1",
                    "port": self._broker_port,
                    "client_id": "central",
                    "keepalive_s": 5,
                    "tls_ca_file": str(self._certificates / AUTHORITY_FILE),
                    "tls_cert_file": str(self._certificates / "central.crt"),
                    "tls_key_file": str(self._certificates / "central.key"),
                }
            )
            + "[http]\n"
            + toml({"port": self.centre_port}),
            "utf-8",
        )
