"""One box of the demo's site: its program, its settings, and the three cables that tie it to the others."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from demo.processes import Child, StartError, free_port, output, python, until_listening
from simulator.proxy import Mode, Proxy

PROJECT = Path(__file__).parent.parent
SITE_ID = "fairy"
OTA = "ota"
OTA_PATTERN = "OTA-[0-9]{10}"
READY_TIMEOUT_S = 20.0
_TLS_FILES = {"ca": "authority.crt", "cert": "box.crt", "key": "tls.key"}
HANDHELD_LANE, STAFF_ID = "H1", "s1"
ATTENDED_MS = 30_000
"""How long a member of staff may take to say whether a visitor went in."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One lane of a box: where its camera is seen, if it has one, and its turnstile is commanded."""

    id: str
    camera: str
    controller_port: int


class Box:
    """A box behind cables that can be cut: two to the centre, and one to the site's broker if there is one.

    The cuts are made outside the box: no code of the agent knows of them.
    """

    def __init__(
        self,
        folder: Path,
        box_id: str,
        lane_ids: Sequence[str],
        centre_ports: tuple[int, int],
        site_port: int,
    ) -> None:
        self.box_id = box_id
        self.lane_ids = tuple(lane_ids)
        self.port = free_port()
        self.log = folder / f"{box_id}.log"
        self.store = folder / box_id / "box.db"
        self.staff_token = ""
        """Of the member of staff who attends lane H1; empty where there is no handheld."""
        self._settings = folder / f"{box_id}.toml"
        self._broker_cable, self._http_cable = (Proxy(0, "127.0.0.1", port) for port in centre_ports)
        self._site_cable = Proxy(0, "127.0.0.1", site_port) if site_port else None
        self.agent = Child(f"agent {box_id}", python("gate_agent", "run", str(self._settings)), self.log)

    @property
    def all_lane_ids(self) -> tuple[str, ...]:
        """The lanes with a camera, and the one that staff attend, if there is one."""
        return (*self.lane_ids, HANDHELD_LANE) if self.staff_token else self.lane_ids

    @property
    def is_centre_cut(self) -> bool:
        """Whether the box cannot reach the centre."""
        return any(cable.mode is not Mode.OPEN for cable in self._centre_cables)

    @property
    def is_site_cut(self) -> bool:
        """Whether the box cannot reach its neighbours."""
        return self._site_cable is not None and self._site_cable.mode is not Mode.OPEN

    async def lay_cables(self, stack: contextlib.AsyncExitStack) -> None:
        """Connect the cables; `stack` takes them away."""
        for cable in (*self._centre_cables, *([self._site_cable] if self._site_cable else [])):
            await stack.enter_async_context(cable)

    async def enrol(self, token: str) -> None:
        """Have the box make its keys and get the rest from the centre; its settings must be there."""
        await output(python("gate_agent", "enrol", str(self._settings), token))

    async def until_ready(self) -> None:
        """Return once its service answers."""
        await until_listening(f"box {self.box_id}", self.port, READY_TIMEOUT_S)

    async def state(self) -> dict[str, Any] | None:
        """Return what the box says of itself, or None while it cannot be asked."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session,
                session.get(f"http://127.0.0.1:{self.port}/v1/state") as response,
            ):
                state: dict[str, Any] = await response.json()
                return state
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def hears_its_neighbours(self) -> bool:
        """Whether it says that it knows all that its neighbours did, and that they speak now."""
        state = await self.state()
        if state is None or not state["box"]["site_link_up"]:
            return False
        return all(
            neighbour["behind"] == 0 and neighbour["silent_s"] is not None and neighbour["silent_s"] < 3
            for neighbour in state["box"]["neighbours"]
        )

    def cut_centre(self, *, silent_ms: int) -> None:
        """Cut the box off from the centre: silence first, as a dead switch does it, then resets."""
        for cable in self._centre_cables:
            cable.cut(silent_ms)

    def restore_centre(self) -> None:
        """Mend the way to the centre."""
        for cable in self._centre_cables:
            cable.restore()

    def cut_site(self, *, silent_ms: int) -> None:
        """Cut the box off from its neighbours, in the same way."""
        self._the_site_cable.cut(silent_ms)

    def restore_site(self) -> None:
        """Mend the way to the neighbours."""
        self._the_site_cable.restore()

    def write_settings(
        self, keys_texts: Mapping[str, str], lanes: Sequence[Lane], release_timeout_ms: int
    ) -> None:
        """Write the settings: all that the box has before it enrols."""
        text = toml(
            {
                "profile": "demo",
                "box_id": self.box_id,
                "site_id": SITE_ID,
                "state_dir": self.box_id,
                "policy_file": f"{self.box_id}/policy.toml",
                "hash_key_file": f"{self.box_id}/hash.key",
                "list_keys": [keys_texts["list"]],
            }
        )
        text += "[centre]\n" + toml(
            {
                "url": f"http://127.0.0.1:{self._http_cable.port}",
                "broker_host": "127.0.0.1",
                "broker_port": self._broker_cable.port,
                "keepalive_s": 3,
                **self._tls,
            }
        )
        text += "[[issuer_keys]]\n" + toml({"key": keys_texts["issuer"], "uses": ["ticket", "credit"]})
        text += "[[external_issuers]]\n" + toml({"issuer": OTA, "pattern": OTA_PATTERN})
        text += "[web]\n" + toml({"port": self.port})
        for lane in lanes:
            text += "[[lanes]]\n" + toml({"id": lane.id})
            if lane.camera:
                text += "[lanes.camera]\n" + toml({"address": lane.camera})
            text += "[lanes.turnstile]\n" + toml(
                {
                    "driver": "tcp",
                    "port": lane.controller_port,
                    "release_timeout_ms": release_timeout_ms,
                }
            )
        text += self._site_settings() + self._handheld_settings()
        self._settings.write_text(text, "utf-8")

    def _site_settings(self) -> str:
        """Where the boxes of the site speak to each other; the centre says which they are."""
        if self._site_cable is None:
            return ""
        table = {"host": "127.0.0.1", "port": self._site_cable.port, "keepalive_s": 3, **self._tls}
        return "[site_broker]\n" + toml(table)

    def _handheld_settings(self) -> str:
        if not self.staff_token:
            return ""
        token_file = self._settings.with_suffix(".token")
        token_file.write_text(self.staff_token, "ascii")
        text = "[[staff]]\n" + toml({"id": STAFF_ID, "role": "supervisor", "token_file": str(token_file)})
        text += "[[lanes]]\n" + toml({"id": HANDHELD_LANE})
        return text + "[lanes.turnstile]\n" + toml({"driver": "attendant", "release_timeout_ms": ATTENDED_MS})

    @property
    def _tls(self) -> dict[str, str | int | list[str]]:
        """Where the box keeps what it is let in with."""
        return {f"tls_{what}_file": f"{self.box_id}/{name}" for what, name in _TLS_FILES.items()}

    @property
    def _centre_cables(self) -> tuple[Proxy, Proxy]:
        return self._broker_cable, self._http_cable

    @property
    def _the_site_cable(self) -> Proxy:
        if self._site_cable is None:
            raise StartError(f"box {self.box_id} is alone on its site")
        return self._site_cable


def toml(values: Mapping[str, str | int | list[str]]) -> str:
    """Return plain values as TOML; JSON's strings, numbers and arrays of strings are TOML's."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
