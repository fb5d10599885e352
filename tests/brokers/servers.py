"""The brokers that are tried: each Debian's package, as docs/BROKERS.md sets it up, in a folder of its own."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from central.access import AUTHORITY_FILE, CENTRE, REVOKED_FILE, RULES_FILE, rules
from central.authority import utc_now
from sync.protocol import BoxTopics
from tests.central.programs import free_port, until
from tests.support.secured import authority, server_files

ROOT = Path(__file__).parents[2]
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


def identity(box: BoxTopics) -> str:
    """What a broker calls a box."""
    return f"{box.site_id}/{box.box_id}"


def program(name: str) -> str:
    """Where a program is."""
    path = shutil.which(name, path=PATH)
    assert path is not None, f"{name} is missing: make setup-test"
    return path


class Server(Protocol):
    """A broker that lets in boxes and the centre."""

    name: str
    port: int
    folder: Path
    takes_any_client_id: bool

    def start(self) -> None:
        """Start it, and return once it takes connections."""

    def kill(self) -> None:
        """Kill it with -9."""

    def let_in(self, boxes: Sequence[BoxTopics], revoked: Sequence[int] = ()) -> None:
        """Let in these boxes and no others; return once it does."""


@dataclass(slots=True)
class Running:
    """A program with a log that says when it does what it was told."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def launch(self, command: Sequence[str], ready: str, environment: dict[str, str] | None = None) -> None:
        """Start a program in a group of its own and wait for its word."""
        said = self._said(ready)  # before it can say it again
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        self.until_said(ready, said + 1)
        until(self._accepts)

    def kill(self) -> None:
        """Kill it and all its children with -9."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    @property
    def log(self) -> Path:
        """What it says."""
        return self.folder / "log"

    def reload(self, done: str) -> None:
        """Have it read its settings again, as systemd has it."""
        assert self.process is not None
        said = self._said(done)
        self.process.send_signal(signal.SIGHUP)
        self.until_said(done, said + 1)

    def until_said(self, words: str, times: int) -> None:
        """Return once it has said something so often."""
        until(lambda: self.process is None or self.process.poll() is not None or self._said(words) >= times)
        assert self._said(words) >= times, self.log.read_text()[-2000:]

    def _said(self, words: str) -> int:
        return self.log.read_text(errors="replace").count(words) if self.log.exists() else 0

    def _accepts(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False


@dataclass(slots=True)
class MosquittoServer(Running):
    """The fragment that is installed, read by a main file as Debian's reads it; the rules that the centre writes."""

    name: str = "Mosquitto"
    takes_any_client_id: bool = False

    def start(self) -> None:
        """Start it, and return once it takes connections."""
        fragment = (ROOT / "systemd" / "mosquitto" / "scenic-gate.conf").read_text("utf-8")
        (self.folder / "certs").mkdir(exist_ok=True)
        for path, name in zip(server_files(self.folder), ("scenic-gate.crt", "scenic-gate.key"), strict=True):
            shutil.copy(path, self.folder / "certs" / name)
        for old, new in (
            ("/etc/mosquitto/", f"{self.folder}/"),
            ("/var/lib/scenic-gate/access/", f"{self.folder}/"),
            ("listener 8883\n", f"listener {self.port} 127.0.0.1\n"),
        ):
            assert old in fragment
            fragment = fragment.replace(old, new)
        (self.folder / "conf.d").mkdir(exist_ok=True)
        (self.folder / "conf.d" / "scenic-gate.conf").write_text(fragment, "utf-8")
        user = pwd.getpwuid(
            os.geteuid()
        ).pw_name  # root would become mosquitto, which cannot read this folder
        (self.folder / "mosquitto.conf").write_text(
            f"user {user}\npersistence true\npersistence_location {self.folder}/\n"
            f"log_dest stderr\ninclude_dir {self.folder}/conf.d\n"
        )
        self.launch([program("mosquitto"), "-c", str(self.folder / "mosquitto.conf")], " running")

    def let_in(self, boxes: Sequence[BoxTopics], revoked: Sequence[int] = ()) -> None:
        """Let in these boxes and no others; return once it does."""
        (self.folder / AUTHORITY_FILE).write_text(authority().certificate_text())
        (self.folder / REVOKED_FILE).write_text(authority().revocation_list(revoked, utc_now()))
        (self.folder / RULES_FILE).write_text(rules([(box.site_id, box.box_id) for box in boxes]))
        if self.process is not None:
            self.reload("Reloading config")


@dataclass(slots=True)
class NatsServer(Running):
    """NATS with JetStream; each certificate is a user, and subjects have dots where topics have slashes."""

    name: str = "NATS"
    takes_any_client_id: bool = True
    """Better a new one each time: it puts out whoever comes back under the same one within a second."""

    def start(self) -> None:
        """Start it, and return once it takes connections."""
        self.launch([program("nats-server"), "-c", str(self.folder / "nats.conf")], "Server is ready")

    def let_in(self, boxes: Sequence[BoxTopics], revoked: Sequence[int] = ()) -> None:
        """Let in these boxes and no others; return once it does. It knows no list of revoked certificates."""
        (self.folder / AUTHORITY_FILE).write_text(authority().certificate_text())
        users = [
            self._user(CENTRE, ["sg1.*.*.down.>", "sg1.*.down.>"], ["sg1.*.*.up.>"]),
            *(self._box(box.site_id, box.box_id) for box in boxes),
        ]
        certificate, key = server_files(self.folder)
        (self.folder / "nats.conf").write_text(
            f"""
listen: "127.0.0.1:-1"
server_name: "gate"
jetstream {{ store_dir: "{self.folder / "jetstream"}" }}
max_payload: 5MB
mqtt {{
  listen: "127.0.0.1:{self.port}"
  max_ack_pending: 1000
  tls {{
    cert_file: "{certificate}", key_file: "{key}", ca_file: "{self.folder / AUTHORITY_FILE}"
    verify_and_map: true
  }}
}}
authorization {{ users: [{", ".join(users)}] }}
"""
        )
        if self.process is not None:
            self.reload("Reloaded server configuration")

    def _box(self, site_id: str, box_id: str) -> str:
        own = f"sg1.{site_id}.{box_id}"
        heard = [f"{own}.down.>", f"{own}.up.presence", f"sg1.{site_id}.down.>", f"sg1.{site_id}.*.side.*"]
        return self._user(f"{site_id}/{box_id}", [f"{own}.up.>", f"{own}.side.>"], heard)

    def _user(self, name: str, says: list[str], hears: list[str]) -> str:
        rights = {"publish": {"allow": says}, "subscribe": {"allow": [*hears, "$MQTT.sub.>"]}}
        return json.dumps({"user": f"CN={name}", "permissions": rights})


@dataclass(slots=True)
class RabbitServer(Running):
    """RabbitMQ with its MQTT plugin; each certificate is a user, routing keys have dots where topics have slashes."""

    name: str = "RabbitMQ"
    takes_any_client_id: bool = False
    _known: set[str] = field(default_factory=set)
    _names: subprocess.Popen[bytes] | None = None
    _names_port: int = field(default_factory=free_port)
    _node_port: int = field(default_factory=free_port)

    def start(self) -> None:
        """Start it, and return once it takes connections; the node's name service is started beside it."""
        if self._names is None:
            command = [program("epmd"), "-port", str(self._names_port), "-address", "127.0.0.1"]
            self._names = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        certificate, key = server_files(self.folder)
        (self.folder / "plugins").write_text("[rabbitmq_mqtt,rabbitmq_auth_mechanism_ssl].\n")
        (self.folder / "rabbitmq.conf").write_text(
            f"""
listeners.tcp = none
mqtt.listeners.tcp = none
mqtt.listeners.ssl.default = 127.0.0.1:{self.port}
mqtt.allow_anonymous = false
mqtt.ssl_cert_login = true
mqtt.subscription_ttl = 1209600000
mqtt.prefetch = 1000
ssl_cert_login_from = common_name
ssl_options.cacertfile = {self.folder / AUTHORITY_FILE}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
load_definitions = {self.folder / "definitions.json"}
log.console = true
log.file = false
"""
        )
        self.launch([str(self._tool("rabbitmq-server"))], "Server startup complete", self._environment)

    def kill(self) -> None:
        """Kill it with -9, and with it what looks after its name."""
        Running.kill(self)
        if self._names is not None:
            self._names.kill()
            self._names.wait()
            self._names = None

    def let_in(self, boxes: Sequence[BoxTopics], revoked: Sequence[int] = ()) -> None:
        """Let in these boxes and no others; return once it does. Revoked certificates it is not told of."""
        (self.folder / AUTHORITY_FILE).write_text(authority().certificate_text())
        names = {CENTRE, *map(identity, boxes)}
        (self.folder / "definitions.json").write_text(json.dumps(self._definitions(sorted(names))))
        if self.process is not None:
            self._control("import_definitions", str(self.folder / "definitions.json"))
            for gone in sorted(self._known - names):
                self._control("delete_user", gone)
        self._known = names

    def _definitions(self, names: Sequence[str]) -> dict[str, list[dict[str, str]]]:
        return {
            "vhosts": [{"name": "/"}],
            "users": [{"name": name, "password_hash": "", "tags": ""} for name in names],
            "permissions": [
                {"user": name, "vhost": "/"}
                | dict.fromkeys(("configure", "write", "read"), self._queues(name))
                for name in names
            ],
            "topic_permissions": [
                {"user": name, "vhost": "/", "exchange": "amq.topic"} | self._topics(name) for name in names
            ],
        }

    def _queues(self, name: str) -> str:
        """What belongs to a name: a session is a queue that is called after the client's id."""
        own = "centre|central" if name == CENTRE else f"(box|side)-{re.escape(name.replace('/', '-'))}"
        return rf"^(amq\.topic|mqtt-subscription-({own})qos[01])$"

    def _topics(self, name: str) -> dict[str, str]:
        if name == CENTRE:
            return {
                "write": r"^sg1\.[^.]+(\.[^.]+)?\.down\..+$",
                "read": r"^sg1\.[^.]+\.[^.]+\.up\..+$",
            }
        site, box = map(re.escape, name.split("/"))
        return {
            "write": rf"^sg1\.{site}\.{box}\.(up|side)\..+$",
            "read": rf"^sg1\.{site}\.(({box}\.down|down|[^.]+\.side)\..+|{box}\.up\.presence)$",
        }

    def _control(self, *command: str) -> None:
        subprocess.run(
            [str(self._tool("rabbitmqctl")), *command], env=self._environment, check=True, capture_output=True
        )

    def _tool(self, name: str) -> Path:
        """One of its own scripts: those that Debian puts before them insist on a user and on /var."""
        [found] = Path("/usr/lib/rabbitmq/lib").glob(f"rabbitmq_server-*/sbin/{name}")
        return found

    @property
    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": PATH,
            "HOME": str(self.folder),  # it keeps its cookie there
            "RABBITMQ_NODENAME": f"gate{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "none.config"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",
            "ERL_EPMD_PORT": str(self._names_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }


SERVERS: dict[str, type[MosquittoServer | NatsServer | RabbitServer]] = {
    "Mosquitto": MosquittoServer,
    "NATS": NatsServer,
    "RabbitMQ": RabbitServer,
}
