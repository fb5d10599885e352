"""One connection against the real Mosquitto: cut, killed, frozen and absent."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sync.mqtt import Broker, Message, MqttLink
from tests.central.programs import Mosquitto
from tests.support.secured import WITNESS, secured, server_files
from tests.support.waiting import until

TOPIC = "test/topic"
DEADLINE_S = 15.0


@dataclass(slots=True)
class Peer:
    """A link, and everything it was told."""

    link: MqttLink
    heard: list[tuple[str, bytes]] = field(default_factory=list)
    times_up: int = 0

    def said(self, payload: bytes) -> bool:
        """Whether a payload was heard."""
        return any(heard == payload for _, heard in self.heard)

    def cut(self) -> None:
        """Tear the connection down without a goodbye, as a pulled cable does at last."""
        connection = self.link._connection
        assert connection is not None
        connection._client.socket().shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]


async def stays_down(peer: Peer) -> None:
    """Fail if the link comes up in the next half second."""
    with pytest.raises(AssertionError):
        await until(lambda: peer.link.is_up, within_s=0.5)
    assert (peer.times_up, peer.link.publish(TOPIC, b"lost")) == (0, False)


@asynccontextmanager
async def connected(
    port: int,
    client_id: str = "peer",
    subscriptions: tuple[str, ...] = (TOPIC,),
    *,
    will: Message | None = None,
    keepalive_s: int = 15,
    wait: bool = True,
) -> AsyncIterator[Peer]:
    """A peer whose link runs; it is up from the start when the test waits for that."""
    peer: Peer

    def on_up() -> None:
        peer.times_up += 1

    link = MqttLink(
        secured(Broker(host="127.0.0.1", port=port, client_id=client_id, keepalive_s=keepalive_s), WITNESS),
        subscriptions=subscriptions,
        on_message=lambda topic, payload: peer.heard.append((topic, payload)),
        on_up=on_up,
        random=lambda: 0.0,
        will=will,
    )
    peer = Peer(link)
    running = asyncio.create_task(link.run())
    try:
        if wait:
            await until(lambda: peer.times_up > 0)
        yield peer
    finally:
        running.cancel()
        await asyncio.wait((running,))


# --- in good times


async def test_what_is_published_arrives(mosquitto: Mosquitto) -> None:
    """With its topic, at whoever subscribed, also through wildcards and in any size."""
    large = os.urandom(2_000_000)
    async with (
        connected(mosquitto.port, "one", ()) as one,
        connected(mosquitto.port, "two", ("test/+", "other/#")) as two,
    ):
        assert one.link.is_up
        messages = [(TOPIC, b""), (TOPIC, b"small"), ("other/a/b", large)]
        assert all(one.link.publish(topic, payload) for topic, payload in messages)
        assert one.link.publish("third/topic", b"for nobody")
        assert one.link.publish(TOPIC, b"last")
        await until(lambda: two.said(b"last"))
        assert two.heard == [*messages, (TOPIC, b"last")]


async def test_messages_keep_their_order(mosquitto: Mosquitto) -> None:
    """A thousand at once: a ledger's batches join on one another."""
    async with connected(mosquitto.port, "one", ()) as one, connected(mosquitto.port, "two") as two:
        payloads = [str(number).encode() for number in range(1000)]
        assert all(one.link.publish(TOPIC, payload) for payload in payloads)
        await until(lambda: len(two.heard) >= 1000)
        assert [payload for _, payload in two.heard] == payloads


async def test_a_retained_message_waits_for_whoever_comes(mosquitto: Mosquitto) -> None:
    """One that is not retained does not."""
    async with (
        connected(mosquitto.port, "one", ()) as one,
        connected(mosquitto.port, "witness", ("test/#",)) as witness,
    ):
        one.link.publish(TOPIC, b"kept", retain=True)
        one.link.publish("test/other", b"passing")
        await until(lambda: witness.said(b"passing"))
    async with connected(mosquitto.port, "two", ("test/#",)) as two:
        await until(lambda: len(two.heard) > 0)
        assert two.heard == [(TOPIC, b"kept")]


async def test_the_session_outlives_the_connection(mosquitto: Mosquitto) -> None:
    """What is published to a box while it restarts is there when it comes back."""
    async with connected(mosquitto.port, "box"):
        pass
    async with connected(mosquitto.port, "other", ("test/#",)) as other:
        other.link.publish(TOPIC, b"meanwhile")
        await until(lambda: other.said(b"meanwhile"))
    async with connected(mosquitto.port, "box") as box:
        await until(lambda: box.said(b"meanwhile"))


# --- last wills


async def test_a_cut_connection_leaves_its_will(mosquitto: Mosquitto) -> None:
    """Retained, for whoever looks later too; and the link comes back by itself."""
    will = Message("presence", b"gone")
    async with (
        connected(mosquitto.port, "watcher", ("presence",)) as watcher,
        connected(mosquitto.port, "box", will=will) as box,
    ):
        box.cut()
        await until(lambda: watcher.heard == [("presence", b"gone")])
        await until(lambda: box.times_up == 2)
        async with connected(mosquitto.port, "later", ("presence",)) as later:
            await until(lambda: later.heard == [("presence", b"gone")])


async def test_a_goodbye_leaves_no_will(mosquitto: Mosquitto) -> None:
    """The broker is told before the connection closes."""
    async with connected(mosquitto.port, "watcher", ("presence", TOPIC)) as watcher:
        async with connected(mosquitto.port, "box", will=Message("presence", b"gone")):
            pass
        assert watcher.link.publish(TOPIC, b"afterwards")
        await until(lambda: watcher.said(b"afterwards"))
        assert not watcher.said(b"gone")


# --- in bad times


async def test_a_killed_broker_is_noticed_and_found_again(mosquitto: Mosquitto) -> None:
    """Subscriptions are made anew: the broker has forgotten them."""
    async with connected(mosquitto.port) as peer:
        mosquitto.kill()
        await until(lambda: not peer.link.is_up)
        await asyncio.to_thread(mosquitto.start)
        await until(lambda: peer.times_up == 2)
        assert peer.link.publish(TOPIC, b"again")
        await until(lambda: peer.said(b"again"))


async def test_what_is_published_while_the_link_is_down_is_refused(mosquitto: Mosquitto) -> None:
    """Nothing is queued: when the link is up again only what is said then arrives."""
    async with connected(mosquitto.port) as peer:
        mosquitto.kill()
        await until(lambda: not peer.link.is_up)
        assert not peer.link.publish(TOPIC, b"lost")
        await asyncio.to_thread(mosquitto.start)
        await until(lambda: peer.times_up == 2)
        assert peer.link.publish(TOPIC, b"heard")
        await until(lambda: peer.said(b"heard"))
        assert not peer.said(b"lost")


async def test_a_silent_broker_is_noticed_by_the_keepalive(mosquitto: Mosquitto) -> None:
    """Its socket stays open and nobody answers; when it wakes up the link is there again."""
    assert mosquitto.process is not None
    async with connected(mosquitto.port, keepalive_s=1) as peer:
        mosquitto.process.send_signal(signal.SIGSTOP)
        try:
            await until(lambda: not peer.link.is_up)
            assert not peer.link.publish(TOPIC, b"lost")
        finally:
            mosquitto.process.send_signal(signal.SIGCONT)
        await until(lambda: peer.times_up == 2)


async def test_a_broker_may_come_later(tmp_path: Path) -> None:
    """A box that starts before its network works and is connected when it can be."""
    broker = Mosquitto(tmp_path)
    async with connected(broker.port, wait=False) as peer:
        await stays_down(peer)
        await asyncio.to_thread(broker.start)
        try:
            await until(lambda: peer.times_up == 1)
        finally:
            broker.kill()


async def test_a_listener_that_is_no_broker_is_not_up() -> None:
    """It accepts and says nothing: the link is not up and stops when it is told to."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with connected(silent.getsockname()[1], wait=False) as peer:
            await stays_down(peer)


CONNACK_REFUSED, CONNACK = b"\x20\x02\x00\x05", b"\x20\x02\x00\x00"


@pytest.mark.parametrize("refuses", ["connection", "subscription"])
async def test_a_broker_that_refuses_is_tried_again(
    refuses: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong password or a missing permission may be put right there; until then the link is down and says why."""
    visits = goodbyes = 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal visits, goodbyes
        visits += 1
        with suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"peer")  # CONNECT ends with the client's id
            writer.write(CONNACK_REFUSED if refuses == "connection" else CONNACK)
            if refuses == "subscription":
                subscribe = await reader.readuntil(TOPIC.encode())
                writer.write(b"\x90\x03" + subscribe[2:4] + b"\x80")
            await reader.read()
        writer.close()
        goodbyes += 1

    caplog.set_level("INFO", "sync.mqtt")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*server_files(tmp_path))
    async with await asyncio.start_server(refuse, "127.0.0.1", 0, ssl=tls) as server:
        async with connected(server.sockets[0].getsockname()[1], wait=False) as peer:
            await until(lambda: visits >= 2)
            assert not peer.link.is_up
        await until(lambda: goodbyes == visits)
    assert f"refused {'the' if refuses == 'connection' else 'a'} {refuses}" in caplog.text


async def test_two_with_the_same_name_push_each_other_out(mosquitto: Mosquitto) -> None:
    """A cloned box is noticed as a link that comes and goes, not as an error."""
    async with connected(mosquitto.port, "twin") as one, connected(mosquitto.port, "twin") as two:
        await until(lambda: one.times_up >= 2 and two.times_up >= 2)


@pytest.mark.parametrize("where", ["on_message", "on_up"])
async def test_an_error_in_a_receiver_ends_the_link(mosquitto: Mosquitto, where: str) -> None:
    """A broken assumption ends the process; it is never logged and forgotten."""

    def fail(*_: object) -> None:
        raise LookupError(where)

    link = MqttLink(
        secured(Broker(host="127.0.0.1", port=mosquitto.port, client_id="broken"), WITNESS),
        subscriptions=(TOPIC,),
        on_message=fail if where == "on_message" else lambda *_: None,
        on_up=fail if where == "on_up" else lambda: None,
        random=lambda: 0.0,
    )
    async with connected(mosquitto.port, "other", ()) as other:
        other.link.publish(TOPIC, b"x", retain=True)
        with pytest.raises(LookupError, match=where):
            async with asyncio.timeout(DEADLINE_S):
                await link.run()
    assert not link.publish(TOPIC, b"x")
