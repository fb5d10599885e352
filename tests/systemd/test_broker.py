"""The broker's configuration, in a real Mosquitto: who may say and hear what."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest
from paho.mqtt.client import Client, ConnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from sync.mqtt import Broker
from sync.protocol import ALL_BATCHES, ALL_PRESENCE, BoxTopics, Side, Stream, all_sides, manifest_topic
from sync.trial import broker_problem
from tests.central.programs import DEADLINE_S, Ear, free_port, until
from tests.systemd.certificates import Authority

CONFIGURATION = Path(__file__).parents[2] / "systemd" / "mosquitto"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
PASSWORD = "a password"
B1, B2, NEXT_DOOR = BoxTopics("fairy", "B1"), BoxTopics("fairy", "B2"), BoxTopics("bridges", "B1")
EVERYTHING = "sg1/#"


def identity(box: BoxTopics) -> str:
    """What the broker calls a box."""
    return f"{box.site_id}/{box.box_id}"


@dataclass(frozen=True, slots=True)
class Site:
    """A broker that was set up as docs/INSTALL.md says, in a folder instead of /etc/mosquitto."""

    folder: Path
    authority: Authority
    password_port: int
    tls_port: int

    @contextmanager
    def centre(self, *topics: str) -> Iterator[Ear]:
        """The centre, on its listener."""
        client = _client("central")
        client.username_pw_set("central", PASSWORD)
        with _connected(client, self.password_port, topics) as ear:
            yield ear

    @contextmanager
    def box(self, box: BoxTopics, *topics: str, client_id: str = "") -> Iterator[Ear]:
        """A box with its certificate."""
        certificate, key = self.folder / f"{box.box_id}.crt", self.folder / f"{box.box_id}.key"
        self.authority.issue(identity(box), certificate, key)
        client = _client(client_id or f"box-{box.site_id}-{box.box_id}")
        client.tls_set(str(self.authority.certificate), str(certificate), str(key))
        with _connected(client, self.tls_port, topics) as ear:
            yield ear


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A broker with two boxes of one site and one of another."""
    folder = tmp_path_factory.mktemp("mosquitto")
    for name in ("certs", "ca_certificates"):
        (folder / name).mkdir()
    authority = Authority(folder / "ca_certificates" / "scenic-gate.crt")
    authority.issue("127.0.0.1", folder / "certs" / "scenic-gate.crt", folder / "certs" / "scenic-gate.key")
    site = Site(folder, authority, free_port(), free_port())
    _write_access_rules(folder)
    _write_configuration(site)
    command = [_program("mosquitto"), "-c", str(folder / "mosquitto.conf")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: _accepts(site.password_port))
        yield site
    finally:
        process.terminate()
        process.wait()


def test_a_box_cannot_speak_for_another(site: Site) -> None:
    """What it says in its own name arrives; what it says in others' names does not."""
    own = B1.up(Stream.LEDGER)
    with site.centre(*ALL_BATCHES, ALL_PRESENCE) as centre, site.box(B1) as box:
        for topic in (B2.up(Stream.LEDGER), B2.presence, NEXT_DOOR.up(Stream.LEDGER), own):
            box.say(topic, b"I am who I say")
        until(lambda: centre.last(own))  # after everything that was said before it
        assert centre.heard.keys() == {own}


def test_a_box_says_everything_that_it_has_to_say(site: Site) -> None:
    """Ledger, diary and presence, which is its last will too."""
    topics = {*map(B1.up, Stream), B1.presence}
    with site.centre(*ALL_BATCHES, ALL_PRESENCE) as centre, site.box(B1) as box:
        for topic in topics:
            box.say(topic, b"words")
        until(lambda: centre.heard.keys() >= topics)


def test_a_box_cannot_speak_as_the_centre(site: Site) -> None:
    """Receipts and manifests come from the centre alone."""
    with site.box(B2, B2.receipt, B2.manifest) as victim, site.box(B1) as box, site.centre() as centre:
        for topic in (B2.receipt, B1.receipt, B1.manifest):
            box.say(topic, b"forged")
        centre.say(B2.receipt, b"true")
        until(lambda: victim.last(B2.receipt))
        assert {topic: list(heard) for topic, heard in victim.heard.items()} == {B2.receipt: [b"true"]}


def test_a_box_hears_itself_and_its_site_addressed_and_nobody_else(site: Site) -> None:
    """Not its neighbour, not another site, not what boxes say."""
    with site.box(B1, EVERYTHING) as box, site.centre() as centre, site.box(B2) as neighbour:
        neighbour.say(B2.up(Stream.LEDGER), b"the neighbour's")
        for topic in (B2.receipt, NEXT_DOOR.receipt, manifest_topic("bridges"), B1.receipt, B1.manifest):
            centre.say(topic, b"words")
        until(lambda: box.last(B1.manifest))
        assert box.heard.keys() == {B1.receipt, B1.manifest}


def test_boxes_of_a_site_hear_each_other_each_in_its_own_name(site: Site) -> None:
    """On the site's broker a box hears its neighbours and itself, no other site, and nobody in another's name."""
    with site.box(B1, all_sides("fairy"), all_sides("bridges")) as box, site.box(B2) as neighbour:
        for topics in (B1, NEXT_DOOR, B2):
            neighbour.say(topics.side(Side.HEAD), b"words")
        with site.box(NEXT_DOOR) as stranger:
            stranger.say(NEXT_DOOR.side(Side.HEAD), b"words")
            stranger.say(B1.side(Side.HEAD), b"words")
        box.say(B1.side(Side.ASK), b"words")
        until(lambda: box.heard.keys() >= {B2.side(Side.HEAD), B1.side(Side.ASK)})
        assert box.heard.keys() == {B2.side(Side.HEAD), B1.side(Side.ASK)}


def test_a_trial_tells_a_refusal_from_a_delivery(site: Site) -> None:
    """A box whose words come back is well; one that may not speak, or not hear itself, is told by the missing echo."""
    broker = Broker(
        host="127.0.0.1",
        port=site.password_port,
        client_id="trial",
        username=identity(B1),
        password=PASSWORD,
    )
    for topic in (B1.presence, B1.side(Side.HEAD)):
        assert asyncio.run(broker_problem(broker, topic)) == ""
    for topic in (B2.presence, B1.up(Stream.LEDGER)):
        assert "does not pass on" in asyncio.run(broker_problem(broker, topic, timeout_s=1))


def test_a_box_cannot_take_over_the_session_of_another(site: Site) -> None:
    """The broker takes its client id from its identity, whatever it calls itself."""
    with (
        site.box(B2, B2.receipt) as victim,
        site.box(B1, EVERYTHING, client_id=identity(B2)),
        site.centre() as centre,
    ):
        centre.say(B2.receipt, b"for B2")
        until(lambda: victim.last(B2.receipt))
        assert victim.client.is_connected()


def test_nobody_gets_in_without_a_certificate(site: Site) -> None:
    """The broker ends the handshake."""
    context = ssl.create_default_context(cafile=str(site.authority.certificate))
    with (
        socket.create_connection(("127.0.0.1", site.tls_port), timeout=DEADLINE_S) as plain,
        pytest.raises(OSError, match="certificate required"),
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        secured.recv(1)


def test_nobody_gets_in_without_a_password(site: Site) -> None:
    """Also on the machine itself."""
    client = _client("central")
    with pytest.raises(ConnectionError, match="Not authorized"), _connected(client, site.password_port, ()):
        pass


def _program(name: str) -> str:
    path = shutil.which(name, path=PATH)
    assert path is not None, f"{name} is missing: make setup"
    return path


def _write_access_rules(folder: Path) -> None:
    """The installed rules, with the three lines that each box needs of its own, and the passwords."""
    rules = (CONFIGURATION / "scenic-gate.acl").read_text("utf-8")
    template = "\n".join(line[1:] for line in rules.splitlines() if line.startswith(("#user", "#topic")))
    for box in (B1, B2, NEXT_DOOR):
        rules += f"\n{template.replace('SITE/BOX', identity(box)).replace('SITE', box.site_id)}\n"
    (folder / "scenic-gate.acl").write_text(rules, "utf-8")
    (folder / "scenic-gate.passwords").touch()
    for name in ("central", identity(B1)):
        command = [_program("mosquitto_passwd"), "-b", str(folder / "scenic-gate.passwords")]
        subprocess.run([*command, name, PASSWORD], check=True)


def _write_configuration(site: Site) -> None:
    """The installed fragment with this folder's paths and free ports, read by a main file as Debian's reads it."""
    fragment = (CONFIGURATION / "scenic-gate.conf").read_text("utf-8")
    for old, new in (
        ("/etc/mosquitto/", f"{site.folder}/"),
        ("listener 1883 ", f"listener {site.password_port} "),
        ("listener 8883\n", f"listener {site.tls_port} 127.0.0.1\n"),
    ):
        assert old in fragment
        fragment = fragment.replace(old, new)
    (site.folder / "conf.d").mkdir()
    (site.folder / "conf.d" / "scenic-gate.conf").write_text(fragment, "utf-8")
    user = pwd.getpwuid(os.geteuid()).pw_name  # root would become mosquitto, which cannot read this folder
    (site.folder / "mosquitto.conf").write_text(
        f"user {user}\npersistence true\npersistence_location {site.folder}/\n"
        f"log_dest stderr\ninclude_dir {site.folder}/conf.d\n",
        "utf-8",
    )


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _client(client_id: str) -> Client:
    return Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv311)


@contextmanager
def _connected(client: Client, port: int, topics: tuple[str, ...]) -> Iterator[Ear]:
    """An ear that has connected and subscribed; ConnectionError with the broker's reason when it was refused."""
    ear, answered, subscribed = Ear(client), Event(), Event()
    reasons: list[ReasonCode] = []

    def on_connect(
        _: Client, __: object, ___: ConnectFlags, reason: ReasonCode, ____: Properties | None
    ) -> None:
        reasons.append(reason)
        answered.set()

    client.on_connect = on_connect
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = ear.keep
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        assert answered.wait(DEADLINE_S)
        if reasons[0].is_failure:
            raise ConnectionError(str(reasons[0]))
        if topics:
            client.subscribe([(topic, 1) for topic in topics])
            assert subscribed.wait(DEADLINE_S)
        yield ear
    finally:
        client.disconnect()
        client.loop_stop()
