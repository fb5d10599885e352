"""One MQTT 3.1.1 connection kept alive: paho-mqtt driven by the asyncio loop.

Nothing is queued here: what is published while the link is down is refused, and whoever published it knows what to
send again. Each connection is a new paho client on the broker's persistent session, so no state of a lost connection
can be sent into the next one.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Any

import msgspec
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from sync.link import LONGEST_WAIT_S, backoff_s
from sync.tls import broker_context

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
TICK_S = 0.5
"""How often paho may look at its keep-alive timer."""


class Broker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a broker is and as whom to connect."""

    host: str
    port: int
    client_id: str
    username: str = ""
    password: str = ""
    keepalive_s: int = 15
    tls_ca_file: str = ""
    """File with the authority (PEM) that has signed the broker's certificate; empty for a connection in the clear."""
    tls_cert_file: str = ""
    """File with this side's certificate (PEM); empty for none."""
    tls_key_file: str = ""
    """File with its key (PEM)."""

    def based_at(self, folder: Path) -> Broker:
        """Return the same with files that are found from `folder`."""
        files = {name: getattr(self, name) for name in _TLS_FILES}
        return msgspec.structs.replace(
            self, **{name: str(folder / file) for name, file in files.items() if file}
        )

    def tls_problems(self) -> list[str]:
        """Return what is wrong with the files, each with its name here."""
        if not self.tls_ca_file:
            named = [name for name in _TLS_FILES if getattr(self, name)]
            return [f"{name}: of no use without tls_ca_file" for name in named]
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            return ["tls_key_file: certificate and key come together or not at all"]
        try:
            self.tls_context()
        except OSError as error:
            return [f"tls_ca_file, tls_cert_file, tls_key_file: {error}"]
        return []

    def tls_context(self) -> ssl.SSLContext | None:
        """Return what secures the connection, None for one in the clear; OSError when a file cannot be used."""
        if not self.tls_ca_file:
            return None
        return broker_context(self.tls_ca_file, self.tls_cert_file, self.tls_key_file)


_TLS_FILES = ("tls_ca_file", "tls_cert_file", "tls_key_file")


class Message(msgspec.Struct, frozen=True):
    """A payload for a topic."""

    topic: str
    payload: bytes


class LinkLostError(ConnectionError):
    """The connection could not be made, or ended."""


class MqttLink:
    """A connection to one broker that comes back by itself.

    `on_message(topic, payload)` and `on_up()` run on the loop; `on_up` after every subscription is granted. A retained
    `will` is the broker's to publish when the connection is lost.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        subscriptions: tuple[str, ...],
        on_message: Callable[[str, bytes], None],
        on_up: Callable[[], None],
        random: Callable[[], float],
        will: Message | None = None,
        longest_wait_s: float = LONGEST_WAIT_S,
    ) -> None:
        self._broker = broker
        self._subscriptions = subscriptions
        self._on_message = on_message
        self._on_up = on_up
        self._random = random
        self._will = will
        self._longest_wait_s = longest_wait_s
        self._connection: _Connection | None = None

    @property
    def is_up(self) -> bool:
        """Whether messages can be sent now, as far as this side knows."""
        return self._connection is not None

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Hand a QoS 1 message to the connection; False when the link is down and nothing was sent or queued."""
        return self._connection is not None and self._connection.publish(topic, payload, retain)

    async def run(self) -> None:
        """Connect, stay connected, and connect again, until cancelled."""
        failures = 0
        while True:
            failures = 1 if await self._connect_and_stay() else failures + 1
            await asyncio.sleep(backoff_s(failures, self._random(), self._longest_wait_s))

    async def _connect_and_stay(self) -> bool:
        """Return, once the connection is lost or could not be made, whether it was up."""
        try:
            connection = _Connection(self._broker, self._will, self._on_message)
        except OSError as error:
            log.warning("link to %s:%d: its certificate: %s", self._broker.host, self._broker.port, error)
            return False
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S * 2):
                await connection.open(self._subscriptions)
            self._connection = connection
            log.info("link to %s:%d is up", self._broker.host, self._broker.port)
            self._on_up()
            await connection.stay()
        except (OSError, TimeoutError) as error:
            log.info("link to %s:%d is down: %s", self._broker.host, self._broker.port, error)
        except asyncio.CancelledError:
            await connection.close()
            raise
        finally:
            was_up = self.is_up
            self._connection = None
            connection.drop()
        return was_up


class _Connection:
    """One paho client from connect to disconnect."""

    def __init__(
        self, broker: Broker, will: Message | None, on_message: Callable[[str, bytes], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._broker = broker
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._granted: asyncio.Future[None] = self._loop.create_future()
        self._lost: asyncio.Future[str] = self._loop.create_future()
        self._deliver = on_message
        self._is_dropped = False
        self._client = self._new_client(will)

    async def open(self, subscriptions: tuple[str, ...]) -> None:
        """Return once the broker has accepted the connection and granted every subscription."""
        broker = self._broker
        await self._loop.run_in_executor(
            None, self._client.connect, broker.host, broker.port, broker.keepalive_s
        )
        await self._first_of(self._connected)
        if subscriptions:
            self._client.subscribe([(topic, 1) for topic in subscriptions])
            await self._first_of(self._granted)

    async def stay(self) -> None:
        """Serve paho's timers until the connection is lost, then raise LinkLostError."""
        while not self._lost.done():
            self._client.loop_misc()
            await asyncio.wait((self._lost,), timeout=TICK_S)
        raise LinkLostError(self._lost.result())

    def publish(self, topic: str, payload: bytes, retain: bool) -> bool:
        """Hand a QoS 1 message to paho; False when the connection is lost."""
        if self._lost.done():
            return False
        return self._client.publish(topic, payload, qos=1, retain=retain).rc == MQTTErrorCode.MQTT_ERR_SUCCESS

    async def close(self) -> None:
        """Say goodbye, so that the broker does not publish the last will."""
        self._client.disconnect()
        await asyncio.wait((self._lost,), timeout=TICK_S)

    def drop(self) -> None:
        """Forget the socket, also one that a thread is still opening; harmless when it is gone already."""
        self._is_dropped = True
        self._client.on_socket_close = (
            None  # paho calls these when it is collected, and the loop may be gone then
        )
        self._client.on_socket_unregister_write = None
        sock = self._client.socket()
        if sock is not None:
            self._loop.remove_reader(sock)
            self._loop.remove_writer(sock)
            sock.close()

    async def _first_of(self, wanted: asyncio.Future[None]) -> None:
        await asyncio.wait((wanted, self._lost), return_when=asyncio.FIRST_COMPLETED)
        if not wanted.done():
            raise LinkLostError(self._lost.result())
        wanted.result()

    def _new_client(self, will: Message | None) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._broker.client_id,
            clean_session=False,
            protocol=MQTTProtocolVersion.MQTTv311,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        # A window makes every PUBACK scan the queue; senders keep their own.
        client.max_inflight_messages_set(0)
        if self._broker.username:
            client.username_pw_set(self._broker.username, self._broker.password)
        tls = self._broker.tls_context()
        if tls is not None:
            client.tls_set_context(tls)
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=True)
        client.on_connect = self._handle_connect
        client.on_disconnect = self._handle_disconnect
        client.on_subscribe = self._handle_subscribe
        client.on_message = self._handle_message
        client.on_socket_open = self._handle_socket_open
        client.on_socket_close = self._handle_socket_close
        client.on_socket_register_write = self._handle_want_write
        client.on_socket_unregister_write = self._handle_no_write
        return client

    # paho hands sockets over under a private type, and calls these from the thread that connects as well as
    # from the loop.

    def _handle_socket_open(self, client: Client, userdata: Any, sock: Any) -> None:
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        self._loop.call_soon_threadsafe(self._adopt, sock)

    def _handle_socket_close(self, client: Client, userdata: Any, sock: Any) -> None:
        self._loop.remove_reader(sock)
        self._loop.remove_writer(sock)

    def _handle_want_write(self, client: Client, userdata: Any, sock: Any) -> None:
        self._loop.call_soon_threadsafe(self._add_writer, sock)

    def _handle_no_write(self, client: Client, userdata: Any, sock: Any) -> None:
        self._loop.call_soon_threadsafe(self._remove_writer, sock)

    def _adopt(self, sock: Any) -> None:
        if self._is_dropped:
            sock.close()
        else:
            self._loop.add_reader(sock, self._read)

    def _add_writer(self, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.add_writer(sock, self._client.loop_write)

    def _remove_writer(self, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.remove_writer(sock)

    def _read(self) -> None:
        try:
            self._client.loop_read()
            # What TLS has taken off the socket already makes no socket readable.
            while not self._lost.done() and _has_more(self._client.socket()):
                self._client.loop_read()
        except Exception as error:  # noqa: BLE001 - a receiver's error; the loop would log it and go on
            if not self._lost.done():
                self._lost.set_exception(error)

    def _handle_connect(
        self,
        client: Client,
        userdata: Any,
        flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._end(f"the broker refused the connection: {reason}")
        elif not self._connected.done():
            self._connected.set_result(None)

    def _handle_disconnect(
        self,
        client: Client,
        userdata: Any,
        flags: DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self._end(f"disconnected: {reason}")

    def _handle_subscribe(
        self,
        client: Client,
        userdata: Any,
        mid: int,
        reasons: list[ReasonCode],
        properties: Properties | None,
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self._end("the broker refused a subscription")
        elif not self._granted.done():
            self._granted.set_result(None)

    def _handle_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        self._deliver(message.topic, bytes(message.payload))

    def _end(self, why: str) -> None:
        if not self._lost.done():
            self._lost.set_result(why)


def _has_more(sock: Any) -> bool:
    return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
