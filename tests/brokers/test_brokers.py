"""Every broker does what boxes and centre need of it, or docs/BROKERS.md says that it does not."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event

import pytest
from cryptography.x509 import load_pem_x509_certificate
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from central.access import AUTHORITY_FILE, CENTRE
from central.authority import CERTIFICATE_DAYS, Authority, new_authority, utc_now, write_pair
from central.keys import create_keys
from sync.mqtt import Broker
from sync.protocol import ALL_BATCHES, ALL_PRESENCE, BoxTopics, Side, Stream, all_sides, manifest_topic
from sync.trial import broker_problem
from tests.brokers.servers import ROOT, SERVERS, Server, identity
from tests.central.programs import DEADLINE_S, Centre, Ear, until
from tests.contracts.http_contract import Service
from tests.contracts.site import PRODUCT, TOKEN, Caller, new_box, sale, write_centre_settings
from tests.support.secured import authority, let_go

B1, B2, NEXT_DOOR = BoxTopics("fairy", "B1"), BoxTopics("fairy", "B2"), BoxTopics("bridges", "B1")
BOXES = (B1, B2, NEXT_DOOR)
SAID = (*ALL_BATCHES, ALL_PRESENCE)
HEARD = (B1.receipt, B1.capacity, B1.manifest, B1.changes, B1.presence)


def keeps(server: Server, row: str) -> bool:
    """Whether docs/BROKERS.md says that a broker keeps what a row names."""
    text = (ROOT / "docs" / "BROKERS.md").read_text("utf-8")
    header = next(line for line in text.splitlines() if line.startswith("| |") and server.name in line)
    column = [re.sub(r"[\d. ]+$", "", cell.strip()) for cell in header.split("|")].index(server.name)
    line = next(line for line in text.splitlines() if line.startswith(f"| {row}"))
    return {"yes": True, "no": False}[line.split("|")[column].strip()]


@dataclass(frozen=True, slots=True)
class Site:
    """A broker that runs, and whoever comes to it with a certificate."""

    server: Server

    def certificate(self, name: str, now: datetime, by: Authority | None = None) -> tuple[Path, Path]:
        """A certificate made at some time for a name, and its key, as files."""
        stem = self.server.folder / "clients" / name.replace("/", "-")
        return write_pair(*(by or authority()).for_client(name, now), stem)

    @contextmanager
    def centre(self, *topics: str) -> Iterator[Ear]:
        """The centre with its certificate."""
        name = f"central-{os.urandom(4).hex()}" if self.server.takes_any_client_id else "central"
        with self.client(name, self.certificate(CENTRE, utc_now()), *topics) as ear:
            yield ear

    @contextmanager
    def box(
        self,
        box: BoxTopics,
        *topics: str,
        client_id: str = "",
        will: tuple[str, bytes] | None = None,
        stays: bool = False,
    ) -> Iterator[Ear]:
        """A box with its certificate."""
        files = self.certificate(identity(box), utc_now())
        name = client_id or self.client_id(box, stays=stays)
        with self.client(name, files, *topics, will=will, stays=stays) as ear:
            yield ear

    def client_id(self, box: BoxTopics, *, stays: bool = False) -> str:
        """What a box calls itself: where it may, something else each time, unless its session `stays`."""
        is_new = self.server.takes_any_client_id and not stays
        return f"box-{box.site_id}-{box.box_id}" + (f"-{os.urandom(4).hex()}" if is_new else "")

    @contextmanager
    def client(
        self,
        client_id: str,
        files: tuple[Path, Path],
        *topics: str,
        will: tuple[str, bytes] | None = None,
        stays: bool = False,
    ) -> Iterator[Ear]:
        """Whoever has a certificate, in a session that `stays` or not; ConnectionError when they are not let in."""
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv311,
            clean_session=not stays,
        )
        client.tls_set(str(self.server.folder / AUTHORITY_FILE), str(files[0]), str(files[1]))
        if will:
            client.will_set(*will, qos=1, retain=True)
        with _connected(client, self.server.port, topics) as ear:
            yield ear

    def attempt(self, box: BoxTopics, topic: str, payload: bytes) -> bool:
        """Have a box say what it may not; return whether its connection stayed up."""
        with suppress(ConnectionError), self.box(box) as ear:
            said = ear.client.publish(topic, payload, qos=1)
            with suppress(RuntimeError, ValueError):
                said.wait_for_publish(1)
            return said.is_published() and ear.client.is_connected()
        return False

    def forget(self) -> None:
        """Clear what is retained, and the sessions."""
        for box in BOXES:
            with self.box(box) as ear:
                ear.client.publish(box.presence, b"", qos=1, retain=True).wait_for_publish(DEADLINE_S)
        with self.centre() as centre:
            for topic in (B1.manifest, NEXT_DOOR.manifest, B1.capacity, B1.boxes):
                centre.client.publish(topic, b"", qos=1, retain=True).wait_for_publish(DEADLINE_S)


@pytest.fixture(scope="module", params=list(SERVERS))
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A broker with two boxes of one site and one of another."""
    server = SERVERS[request.param](tmp_path_factory.mktemp(request.param))
    server.let_in(BOXES)
    try:
        server.start()
        yield Site(server)
    finally:
        server.kill()


@pytest.fixture
def site(running: Site) -> Site:
    """The same, with nothing left in it."""
    running.forget()
    return running


@pytest.fixture
def changing(site: Site) -> Iterator[Site]:
    """A broker that lets everyone in again afterwards."""
    yield site
    site.server.let_in(BOXES)


# What is said arrives -------------------------------------------------------------------------------------


def test_a_box_says_everything_that_it_has_to_say(site: Site) -> None:
    """Ledger, diary and presence; a batch of four MiB too; each topic in its order."""
    with site.centre(*SAID) as centre, site.box(B1) as box:
        large = bytes(4 << 20)
        for topic in (*map(B1.up, Stream), B1.presence):
            for payload in (b"first", b"second", large):
                box.say(topic, payload)
        until(lambda: all(centre.last(topic) == large for topic in (*map(B1.up, Stream), B1.presence)))
        for topic in (*map(B1.up, Stream), B1.presence):
            assert list(centre.heard[topic]) == [b"first", b"second", large]


def test_a_box_hears_everything_that_is_said_to_it(site: Site) -> None:
    """Receipts, shares, lists, changes, and itself."""
    with site.box(B1, *HEARD) as box, site.centre() as centre:
        for topic in (B1.receipt, B1.capacity, B1.manifest, B1.changes):
            centre.say(topic, b"words")
        box.say(B1.presence, b"words")
        until(lambda: box.heard.keys() == set(HEARD))


def test_a_retained_word_waits_for_whoever_comes(site: Site) -> None:
    """A manifest of last night is there for the box that is switched on in the morning."""
    with site.centre() as centre:
        centre.client.publish(NEXT_DOOR.manifest, b"old", qos=1, retain=True).wait_for_publish(DEADLINE_S)
        centre.client.publish(NEXT_DOOR.manifest, b"new", qos=1, retain=True).wait_for_publish(DEADLINE_S)
    with site.box(NEXT_DOOR, NEXT_DOOR.manifest) as box:
        until(lambda: box.last(NEXT_DOOR.manifest))
        assert list(box.heard[NEXT_DOOR.manifest]) == [b"new"]


def test_a_retained_word_behind_a_wildcard(site: Site) -> None:
    """The centre subscribes to all boxes' presence at once; where this is not kept, the next heartbeat tells."""
    with site.box(B2) as box:
        box.client.publish(B2.presence, b"here", qos=1, retain=True).wait_for_publish(DEADLINE_S)
    with site.centre(*SAID) as centre, site.box(B1) as box:
        box.say(B1.up(Stream.LEDGER), b"marker")
        until(lambda: centre.last(B1.up(Stream.LEDGER)))
        if keeps(site.server, "a retained word behind a wildcard"):
            until(lambda: centre.last(B2.presence) == b"here")
        else:
            assert centre.last(B2.presence) is None


def test_a_session_outlives_its_connection(site: Site) -> None:
    """What was said to a box that was away is there when it is back, in its order."""
    with site.box(B1, B1.receipt, stays=True):
        pass
    with site.centre() as centre:
        for number in range(20):
            centre.say(B1.receipt, bytes([number]))
    with site.box(B1, stays=True) as box:
        until(lambda: len(box.heard.get(B1.receipt, ())) == 20)
        assert list(box.heard[B1.receipt]) == [bytes([number]) for number in range(20)]


def test_a_cut_connection_leaves_its_will_and_a_goodbye_leaves_none(site: Site) -> None:
    """So the centre knows which box is gone and which was switched off."""
    with site.centre(*SAID) as centre:
        with site.box(B1, will=(B1.presence, b"gone")):
            pass
        with site.box(B1, will=(B1.presence, b"cut")) as box:
            connection = box.client.socket()
            assert isinstance(connection, ssl.SSLSocket)
            connection.shutdown(socket.SHUT_RDWR)
            until(lambda: centre.last(B1.presence) == b"cut")
        assert b"gone" not in centre.heard[B1.presence]


# Who may say and hear what --------------------------------------------------------------------------------


def test_a_box_speaks_for_nobody_else(site: Site) -> None:
    """Not for its neighbour, not for another site's box, and not as the centre."""
    topics = (B2.up(Stream.LEDGER), B2.presence, NEXT_DOOR.up(Stream.LEDGER), B2.receipt, B1.manifest)
    with site.centre(*SAID) as centre, site.box(B2, B2.receipt, B2.manifest) as victim:
        stays_up = [site.attempt(B1, topic, b"forged") for topic in topics]
        with site.box(B1) as box:
            box.say(B1.up(Stream.LEDGER), b"true")
        centre.say(B2.receipt, b"true")
        until(lambda: centre.last(B1.up(Stream.LEDGER)) == b"true" and victim.last(B2.receipt) == b"true")
        assert b"forged" not in [
            payload for ear in (centre, victim) for said in ear.heard.values() for payload in said
        ]
    assert set(stays_up) == {keeps(site.server, "a connection stays up when a word is refused")}


def test_a_box_hears_its_own_site_and_nobody_else(site: Site) -> None:
    """However it asks."""
    foreign = (B2.receipt, NEXT_DOOR.receipt, manifest_topic("bridges"), B2.up(Stream.LEDGER))
    for topic in (*foreign, "sg1/#"):
        with site.centre() as centre, suppress(ConnectionError), site.box(B1, topic) as box:
            for said in (B2.receipt, NEXT_DOOR.receipt, manifest_topic("bridges")):
                centre.say(said, b"words")
            with site.box(B2) as neighbour:
                neighbour.say(B2.up(Stream.LEDGER), b"words")
            centre.say(B1.receipt, b"marker")
            if topic == "sg1/#" and site.server.name == "Mosquitto":
                until(lambda box=box: box.last(B1.receipt) == b"marker")  # type: ignore[misc]
            assert box.heard.keys() <= {B1.receipt}, topic


def test_boxes_of_a_site_hear_each_other_each_in_its_own_name(site: Site) -> None:
    """On the site's broker a box hears its neighbours and itself, no other site, and nobody in another's name."""
    with site.box(B1, all_sides("fairy")) as box, site.box(NEXT_DOOR) as stranger:
        for topic in (B1.side(Side.HEAD), NEXT_DOOR.side(Side.HEAD)):
            site.attempt(B2, topic, b"forged")
        stranger.say(NEXT_DOOR.side(Side.HEAD), b"words")
        box.say(B1.side(Side.ASK), b"words")
        with site.box(B2) as neighbour:
            neighbour.say(B2.side(Side.HEAD), b"words")
        until(lambda: box.heard.keys() >= {B2.side(Side.HEAD), B1.side(Side.ASK)})
        assert box.heard.keys() == {B2.side(Side.HEAD), B1.side(Side.ASK)}


def test_a_trial_tells_a_refusal_from_a_delivery(site: Site) -> None:
    """A box whose words come back is well; one that may not speak, or not hear itself, is told."""
    certificate, key = site.certificate(identity(B1), utc_now())
    broker = Broker(
        host="127.0.0.1",
        port=site.server.port,
        client_id="box-fairy-B1",
        tls_ca_file=str(site.server.folder / AUTHORITY_FILE),
        tls_cert_file=str(certificate),
        tls_key_file=str(key),
    )
    for topic in (B1.presence, B1.side(Side.HEAD)):
        assert asyncio.run(broker_problem(broker, topic)) == ""
    for topic in (B2.presence, B1.up(Stream.LEDGER)):
        assert asyncio.run(broker_problem(broker, topic, timeout_s=1))


def test_a_session_belongs_to_its_owner(site: Site) -> None:
    """Whatever another box calls itself; where this is not kept, boxes of one site have to trust each other."""
    with site.box(B2, B2.receipt, client_id="box-fairy-B2") as victim:
        with suppress(ConnectionError), site.box(B1, client_id="box-fairy-B2") as thief:
            with suppress(AssertionError):
                until_lost(victim)
            is_kept = victim.client.is_connected() or not thief.client.is_connected()
            assert is_kept == keeps(site.server, "a session belongs to its owner")
            return
        assert keeps(site.server, "a session belongs to its owner"), "the thief was turned away"


def until_lost(ear: Ear) -> None:
    """Return once a connection is gone, or after a second."""
    lost = Event()
    ear.client.on_disconnect = lambda *_: lost.set()
    lost.wait(1)


# Who gets in ----------------------------------------------------------------------------------------------


def test_nobody_gets_in_without_a_certificate(site: Site) -> None:
    """The broker ends the handshake."""
    context = ssl.create_default_context(cafile=str(site.server.folder / AUTHORITY_FILE))
    with (
        socket.create_connection(("127.0.0.1", site.server.port), timeout=DEADLINE_S) as plain,
        pytest.raises(OSError, match=r"certificate required|handshake failure|bad certificate"),
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        secured.recv(1)


@pytest.mark.parametrize("kind", ["rogue", "expired", "unknown"])
def test_a_certificate_that_does_not_count_is_refused(site: Site, kind: str) -> None:
    """Another authority's, one that has run out, and one for a name that no rule has."""
    made, by, name = utc_now(), authority(), identity(B1)
    if kind == "rogue":
        by = new_authority(made)
    if kind == "expired":
        made -= timedelta(days=CERTIFICATE_DAYS, seconds=1)
    if kind == "unknown":
        name = "fairy/B8"
    files = site.certificate(name, made, by)
    client_id = f"box-{name.replace('/', '-')}"
    with site.centre(*SAID) as centre:
        if kind == "unknown" and site.server.name == "Mosquitto":  # it gets in, and is heard by nobody
            with site.client(client_id, files) as stranger:
                stranger.say(BoxTopics("fairy", "B8").up(Stream.LEDGER), b"words")
        else:
            with pytest.raises(ConnectionError), site.client(client_id, files):
                pass
        with site.box(B2) as box:
            box.say(B2.up(Stream.LEDGER), b"marker")
        until(lambda: centre.last(B2.up(Stream.LEDGER)))
        assert centre.heard.keys() <= {B2.up(Stream.LEDGER), B2.presence}


def test_a_revoked_certificate(changing: Site) -> None:
    """One that was replaced by a newer one; where this is not kept, it counts until its box is barred."""
    files = changing.certificate(identity(B1), utc_now())
    with changing.client(changing.client_id(B1), files):
        pass
    serial = load_pem_x509_certificate(files[0].read_bytes()).serial_number
    changing.server.let_in(BOXES, revoked=(serial,))
    if keeps(changing.server, "a revoked certificate is refused"):
        with pytest.raises(ConnectionError), changing.client(changing.client_id(B1), files):
            pass
    else:
        with changing.client(changing.client_id(B1), files):
            pass
    with changing.box(B2):
        """Everyone else still gets in."""


def test_a_box_that_is_barred_while_connected_says_nothing_more(changing: Site) -> None:
    """And does not get in again."""
    topic = B1.up(Stream.LEDGER)
    files = changing.certificate(identity(B1), utc_now())
    serial = load_pem_x509_certificate(files[0].read_bytes()).serial_number
    with changing.centre(*SAID) as centre:
        with suppress(ConnectionError), changing.client(changing.client_id(B1), files) as box:
            box.say(topic, b"before")
            until(lambda: centre.last(topic) == b"before")
            changing.server.let_in((B2, NEXT_DOOR), revoked=(serial,))
            with suppress(RuntimeError, ValueError):
                box.client.publish(topic, b"after", qos=1).wait_for_publish(1)
        with pytest.raises(ConnectionError), changing.client(changing.client_id(B1), files):
            pass
        with changing.box(B2) as other:
            other.say(B2.up(Stream.LEDGER), b"marker")
        until(lambda: centre.last(B2.up(Stream.LEDGER)))
        assert list(centre.heard[topic]) == [b"before"]


def test_a_box_that_comes_is_let_in_without_a_restart(changing: Site) -> None:
    """Its first word arrives."""
    new = BoxTopics("fairy", "B3")
    changing.server.let_in((*BOXES, new))
    with changing.centre(*SAID) as centre, changing.box(new) as box:
        box.say(new.up(Stream.LEDGER), b"words")
        until(lambda: centre.last(new.up(Stream.LEDGER)))


# The whole conversation -----------------------------------------------------------------------------------


def test_a_killed_broker_loses_nothing(site: Site, tmp_path: Path) -> None:
    """A real box and a real centre: what was let in before, while and after it was dead is all at the centre, once."""
    keys = create_keys(tmp_path / "keys", demo=True)
    write_centre_settings(tmp_path, site.server.port)
    centre = Centre(tmp_path / "centre.toml")
    centre.start()
    turnstile = '[lanes.turnstile]\ndriver = "simulated"\nrelease_timeout_ms = 1000\n'
    (tmp_path / "box").mkdir()
    box = new_box(
        tmp_path / "box", keys, site.server.port, centre.url, "B1", lanes=f'[[lanes]]\nid = "1"\n{turnstile}'
    )
    caller = Caller(Service.CENTRE, centre.url, TOKEN)
    try:
        assert caller.post("/v1/imports/products", [PRODUCT]).status == 200
        row = {"box_id": "B1", "site_id": "fairy", "public_key": box.public_key}
        assert caller.post("/v1/imports/boxes", [row]).status == 200
        tickets = caller.post("/v1/tickets", sale(count=6)).json()["tickets"]
        box.start()
        until(lambda: box.caller.get("/readyz").status == 200)
        for number, ticket in enumerate(tickets):
            if number == 2:
                site.server.kill()
            if number == 4:
                site.server.start()
            assert box.scan(ticket["code"], "1")["verdict"] == "ADMIT"

        def passages() -> list[int]:
            found = [
                caller.get(f"/v1/admissions?key={ticket['key']}").json()["admissions"] for ticket in tickets
            ]
            return [sum("passed" in row["outcomes"] for row in rows) for rows in found]

        until(lambda: passages() == [1] * len(tickets))
        until(lambda: box.caller.get("/v1/state").json()["box"]["backlog"] == 0)
    finally:
        if box.process is not None:
            box.stop()
        centre.stop()


@contextmanager
def _connected(client: Client, port: int, topics: tuple[str, ...]) -> Iterator[Ear]:
    """An ear that has connected and subscribed; ConnectionError with the broker's reason when it was refused."""
    ear, answered, subscribed = Ear(client), Event(), Event()
    reasons: list[str] = []

    def on_connect(
        _: Client, __: object, ___: ConnectFlags, reason: ReasonCode, ____: Properties | None
    ) -> None:
        if reason.is_failure:
            reasons.append(str(reason))
        answered.set()

    def on_disconnect(
        _: Client, __: object, ___: DisconnectFlags, reason: ReasonCode | int | None, ____: Properties | None
    ) -> None:
        reasons.append(str(reason))
        answered.set()
        subscribed.set()

    client.on_connect = on_connect
    client.on_disconnect = on_disconnect
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = ear.keep
    client.reconnect_delay_set(60)  # whoever is put out stays out
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        assert answered.wait(DEADLINE_S)
        if topics and not reasons:
            client.subscribe([(topic, 1) for topic in topics])
            assert subscribed.wait(DEADLINE_S)
        if reasons:
            raise ConnectionError(reasons[0])
        yield ear
    finally:
        let_go(client)
