"""A site that runs: a broker, the centre and a box; and clients that hold every exchange to the contract."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np

from admission.keys import public_key_text
from admission.reasons import Reason
from central.keys import CentreKeys, create_keys
from gate_agent.identity import box_key
from sync.protocol import BoxTopics
from tests.central.programs import DEADLINE_S, Centre, Ear, Mosquitto, free_port, listening, until
from tests.central.world import Box as Speaker
from tests.contracts.http_contract import Exchange, Service, problems
from tests.support.secured import tls_settings

POLICY_FILE = Path(__file__).parent.parent.parent / "config" / "policies" / "default.toml"
SITE_ID = "fairy"
BOX_ID = "B1"
LANES = ("1", "2", "3")
CAMERA_LANE = "4"
TOKEN = "the back office's token"
LIST_TOKEN = "the boxes' list token"
BOX_TOKEN = "the readers' token"
PRODUCT: dict[str, Any] = {
    "code": "DAY1",
    "name_zh": "一日票",
    "name_en": "Day ticket",
    "site_ids": [SITE_ID],
}
ELSEWHERE: dict[str, Any] = {
    "code": "BRDG",
    "name_zh": "天生三桥",
    "name_en": "Three Bridges",
    "site_ids": ["bridges"],
}
OTA_CODE = "OTA-{:010d}"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that was as documented."""

    status: int
    headers: Mapping[str, str]
    data: bytes

    def json(self) -> Any:
        """What it says."""
        return json.loads(self.data)

    @property
    def error(self) -> tuple[int, str, str]:
        """Status, code and field of an error."""
        error = self.json()["error"]
        return self.status, error["code"], error.get("field", "")


@dataclass(slots=True)
class Caller:
    """A client of one service; an exchange that is not as documented fails the test that made it."""

    service: Service
    url: str
    token: str = ""

    def send(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Mapping[str, str | bytes] = {},
    ) -> Reply:
        """Make a request with exactly these headers, the token and what HTTP itself needs."""
        all_headers = ({"Authorization": f"Bearer {self.token}"} if self.token else {}) | dict(headers)
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=DEADLINE_S)
        try:
            connection.request(method, target, body or None, all_headers)
            response = connection.getresponse()
            reply = Reply(response.status, dict(response.headers), response.read())
        finally:
            connection.close()
        content_type = response.headers.get_content_type()
        exchange = Exchange(
            self.service, method, target, all_headers, body, reply.status, content_type, reply.data
        )
        found = problems(exchange)
        assert not found, f"{method} {target}: {found}"
        return reply

    def get(self, target: str, **headers: str) -> Reply:
        """GET; a header's name is written with underscores."""
        return self.send(
            "GET", target, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )

    def post(self, target: str, value: Any, **headers: str) -> Reply:
        """POST of a value as JSON."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return self.send(
            "POST", target, json.dumps(value).encode(), {"Content-Type": "application/json"} | named
        )

    def upload(self, kind: str, text: str) -> Reply:
        """Import a CSV file."""
        return self.send("POST", f"/v1/imports/{kind}", text.encode(), {"Content-Type": "text/csv"})


@dataclass(slots=True)
class BoxProgram:
    """The agent's program on a settings file."""

    folder: Path
    box_id: str
    settings: str
    port: int
    token: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def caller(self) -> Caller:
        """A client with the box's token."""
        return Caller(Service.BOX, f"http://127.0.0.1:{self.port}", self.token)

    @property
    def public_key(self) -> str:
        """The key with which it is registered."""
        return public_key_text(box_key(self.folder / "state", demo=True).public)

    def write_settings(self) -> None:
        """Write the settings file."""
        (self.folder / "box.toml").write_text(self.settings, "utf-8")

    def start(self) -> None:
        """Start it and return when its service answers."""
        self.write_settings()
        command = [sys.executable, "-I", "-m", "gate_agent", "run", str(self.folder / "box.toml")]
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._answers)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal, if it still runs, and return its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def scan(self, code: str, lane: str = LANES[0]) -> dict[str, Any]:
        """Show a code at a lane, after the visitor before has left it, and return the gate's answer."""

        def answer() -> dict[str, Any] | None:
            reply = self.caller.post("/v1/scans", {"lane": lane, "payload": code})
            assert reply.status in (200, 409)
            found: dict[str, Any] | None = reply.json() if reply.status == 200 else None
            return found

        return until(answer)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "agent.log").read_text()
        try:
            return self.caller.get("/healthz").status == 200
        except ConnectionError:
            return False


@dataclass(slots=True)
class Site:
    """Everything that runs, and an ear that hears all messages."""

    folder: Path
    keys: CentreKeys
    broker: Mosquitto
    centre_program: Centre
    box: BoxProgram
    ear: Ear
    _markers: Iterator[int] = field(default_factory=count)

    @property
    def centre(self) -> Caller:
        """A client of the centre that may do everything."""
        return Caller(Service.CENTRE, self.centre_program.url, TOKEN)

    def sell(self, count: int = 1, **changes: Any) -> list[dict[str, Any]]:
        """Sell tickets that are valid now."""
        reply = self.centre.post("/v1/tickets", sale(count=count, **changes))
        assert reply.status == 201, reply.data
        tickets: list[dict[str, Any]] = reply.json()["tickets"]
        return tickets

    def admissions(self, key: str) -> list[dict[str, Any]]:
        """What the centre knows of a right's uses."""
        found: list[dict[str, Any]] = self.centre.get(f"/v1/admissions?key={key}").json()["admissions"]
        return found

    def passes(self, key: str) -> dict[str, Any]:
        """The admission of a right, once somebody went through with it."""
        return until(lambda: next((row for row in self.admissions(key) if "passed" in row["outcomes"]), None))

    def wait_for_list(self) -> None:
        """Return when the box knows everything that was sold or imported before."""
        code = OTA_CODE.format(9_000_000_000 + next(self._markers))
        assert self.centre.upload("tickets", ota_row(code, ELSEWHERE["code"])).status == 200
        # A ticket for another site spends nothing, and is unknown until the box knows it.
        until(lambda: self.box.scan(code, LANES[2])["reason"] == Reason.WRONG_SITE)

    def register(self, box_id: str, public_key: str) -> None:
        """Tell the centre of a box."""
        row = {"box_id": box_id, "site_id": SITE_ID, "public_key": public_key}
        assert self.centre.post("/v1/imports/boxes", [row]).status == 200

    def speaker(self, box_id: str) -> Speaker:
        """A registered box of which the test is the program."""
        box = Speaker(box_id=box_id, site_id=SITE_ID)
        self.register(box_id, box.public_text)
        return box

    def stranger(self, folder: Path) -> BoxProgram:
        """A second box, which the centre does not know, on a turnstile that is not there; it does not run yet."""
        turnstile = f'[[lanes]]\nid = "1"\n[lanes.turnstile]\ndriver = "tcp"\nport = {free_port()}\n'
        return new_box(folder, self.keys, self.broker.port, self.centre_program.url, "B9", lanes=turnstile)

    def heard(self) -> list[tuple[str, bytes]]:
        """Every message so far."""
        with self.ear.lock:
            return [(topic, payload) for topic, said in self.ear.heard.items() for payload in said]

    def heard_on(self, topic: str) -> list[bytes]:
        """Every message so far on one topic."""
        return [payload for at, payload in self.heard() if at == topic]


def sale(**changes: Any) -> dict[str, Any]:
    """An order for tickets that are valid now."""
    today = datetime.now(UTC).date()
    days = {"valid_from": str(today - timedelta(days=1)), "valid_until": str(today + timedelta(days=2))}
    return {"product": PRODUCT["code"], **days, **changes}


def ota_row(code: str, product: str) -> str:
    """A file with one ticket of another issuer that is valid now."""
    days = sale()
    header = "issuer,code,product,quantity,valid_from,valid_until"
    return f"{header}\nota,{code},{product},1,{days['valid_from']},{days['valid_until']}\n"


def group_row(subject: str, group: str = "中国好人") -> str:
    """A file with one membership that holds now."""
    days = sale()
    header = "subject,group,valid_from,valid_until"
    return f"{header}\n{subject},{group},{days['valid_from']},{days['valid_until']}\n"


def topics(box_id: str) -> BoxTopics:
    """The topics of a box of the site."""
    return BoxTopics(SITE_ID, box_id)


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """A site that sells one product and whose box has a list; everything is stopped in the end."""
    keys = create_keys(folder / "keys", demo=True)
    broker = Mosquitto(folder)
    centre = Centre(folder / "centre.toml")
    broker.start()
    try:
        with listening(broker.port, "sg1/#") as ear:
            write_centre_settings(folder, broker.port)
            centre.start()
            (folder / "box").mkdir()
            lanes = _lanes(folder / "pictures")
            box = new_box(folder / "box", keys, broker.port, centre.url, BOX_ID, lanes=lanes, token=BOX_TOKEN)
            site = Site(folder, keys, broker, centre, box, ear)
            assert site.centre.post("/v1/imports/products", [PRODUCT, ELSEWHERE]).status == 200
            site.register(BOX_ID, box.public_key)
            try:
                box.start()
                until(lambda: box.caller.get("/readyz").status == 200)
                yield site
            finally:
                box.stop()
    finally:
        if centre.process is not None:
            centre.stop(signal.SIGKILL)
        broker.kill()


def write_centre_settings(folder: Path, broker_port: int, http_port: int = 0) -> None:
    """Write the centre's settings into the folder where everything of it is."""
    (folder / "centre.toml").write_text(
        f"""
profile = "demo"
store = "centre.db"
lists = "lists"
keys = "keys"
policy = "{POLICY_FILE}"
[broker]
host = "127.0.0.1"
port = {broker_port}
client_id = "centre"
{tls_settings("central")}[http]
port = {http_port}
token = "{TOKEN}"
list_token = "{LIST_TOKEN}"
[list_pace]
quiet_ms = 50
rest_times = 0
""",
        "utf-8",
    )


def _lanes(pictures: Path) -> str:
    """Lanes that everyone passes, and one more with a camera that sees a grey wall."""
    pictures.mkdir()
    wall = np.random.default_rng(1).normal(128, 10, (120, 160))  # an even grey would be a covered lens
    cv2.imwrite(str(pictures / "wall.png"), wall.astype(np.uint8))
    turnstile = '[lanes.turnstile]\ndriver = "simulated"\nrelease_timeout_ms = 1000\n'
    camera = f'[lanes.camera]\naddress = "{pictures}"\nfps = 5\n'
    lanes = [f'[[lanes]]\nid = "{lane}"\n{turnstile}' for lane in LANES]
    return "".join([*lanes, f'[[lanes]]\nid = "{CAMERA_LANE}"\n{camera}{turnstile}'])


def new_box(
    folder: Path,
    keys: CentreKeys,
    broker_port: int,
    centre_url: str,
    box_id: str,
    *,
    lanes: str,
    token: str = "",
) -> BoxProgram:
    """A box with its secrets in `folder`, which does not run yet; without a token it asks for none."""
    public = keys.public_texts()
    port = free_port()
    (folder / "hash.key").write_text(keys.hash_key.hex())
    (folder / "token").write_text(token)
    (folder / "list_token").write_text(LIST_TOKEN)
    settings = f"""
profile = "demo"
box_id = "{box_id}"
site_id = "{SITE_ID}"
state_dir = "state"
policy_file = "{POLICY_FILE}"
hash_key_file = "hash.key"
list_keys = ["{public["list"]}"]
[centre]
url = "{centre_url}"
broker_host = "127.0.0.1"
broker_port = {broker_port}
{tls_settings(f"{SITE_ID}/{box_id}")}list_token_file = "list_token"
keepalive_s = 2
[[issuer_keys]]
key = "{public["issuer"]}"
uses = ["ticket", "credit"]
[[external_issuers]]
issuer = "ota"
pattern = "OTA-[0-9]{{10}}"
[web]
port = {port}
token_file = "{"token" if token else ""}"
{lanes}"""
    return BoxProgram(folder, box_id, settings, port, token)
