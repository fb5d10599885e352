"""A real broker and the centre as a program, for tests that run both."""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import Request, urlopen

import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.secured import WITNESS, broker_settings, let_go, secure

_T = TypeVar("_T")
DEADLINE_S = 20.0


BOXES = (
    *(("fairy", name) for name in ("B1", "B2", "B3", "B7", "B9", "fairy-1", "box-1", "a", "b")),
    ("bridges", "B7"),
)
"""Whom the tests' brokers let in."""


def until(find: Callable[[], _T | None]) -> _T:
    """Return what `find` returns once that is something; AssertionError when it takes too long."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        found = find()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@dataclass(slots=True)
class Mosquitto:
    """A broker that can be killed and started again on its port; it lets in `boxes`, the centre and the witness."""

    folder: Path
    boxes: tuple[tuple[str, str], ...] = BOXES
    more_rules: str = ""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return once it accepts connections."""
        config = self.folder / "mosquitto.conf"
        user = pwd.getpwuid(
            os.geteuid()
        ).pw_name  # root would become mosquitto, which cannot read this folder
        settings = broker_settings(self.folder, self.port, self.boxes, self.more_rules)
        config.write_text(f"user {user}\n{settings}")
        command = ["/usr/sbin/mosquitto", "-c", str(config)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._accepts)

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _accepts(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False


@dataclass(slots=True)
class Centre:
    """The centre's program on a settings file."""

    settings: Path
    process: subprocess.Popen[str] | None = None
    url: str = ""

    def start(self) -> None:
        """Start it and return once it says that it is ready."""
        command = [sys.executable, "-I", "-m", "central", "run", str(self.settings)]
        log = (self.settings.parent / "centre.log").open("ab")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        log.close()
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        self.url = f"http://{ready['host']}:{ready['port']}"

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal and return its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(DEADLINE_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status

    def get(self, path: str) -> Any:
        """The JSON answer to a GET."""
        with urlopen(f"{self.url}{path}", timeout=10) as response:  # noqa: S310
            return json.load(response)

    def fetch(self, path: str) -> bytes:
        """The bytes at a path."""
        with urlopen(f"{self.url}{path}", timeout=10) as response:  # noqa: S310
            data: bytes = response.read()
            return data

    def post(self, path: str, body: Any) -> Any:
        """The JSON answer to a POST of JSON."""
        headers = {"Content-Type": "application/json"}
        request = Request(f"{self.url}{path}", msgspec.json.encode(body), headers)  # noqa: S310
        with urlopen(request, timeout=10) as response:  # noqa: S310
            return json.load(response)


@dataclass(slots=True)
class Ear:
    """A box's side of the broker, as simple as can be: what it hears is kept by topic."""

    client: Client
    heard: dict[str, deque[bytes]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def last(self, topic: str) -> bytes | None:
        """What was heard last on a topic."""
        with self.lock:
            return self.heard[topic][-1] if self.heard.get(topic) else None

    def forget(self) -> None:
        """Drop what was heard."""
        with self.lock:
            self.heard.clear()

    def say(self, topic: str, payload: bytes) -> None:
        """Publish and wait for the broker's word."""
        self.client.publish(topic, payload, qos=1).wait_for_publish(DEADLINE_S)

    def keep(self, client: Client, _: object, message: MQTTMessage) -> None:
        """Keep a message."""
        with self.lock:
            self.heard.setdefault(message.topic, deque()).append(bytes(message.payload))


@contextmanager
def listening(port: int, *topics: str) -> Iterator[Ear]:
    """An ear on the broker at a port."""
    client = Client(CallbackAPIVersion.VERSION2, client_id=f"ear-{os.urandom(4).hex()}")
    ear = Ear(client)
    client.on_message = ear.keep
    secure(client, WITNESS)
    client.connect("127.0.0.1", port)
    client.subscribe([(topic, 1) for topic in topics])
    client.loop_start()
    try:
        yield ear
    finally:
        let_go(client)
