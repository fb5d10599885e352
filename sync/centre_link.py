"""Everything a box says to the centre and hears from it, over one connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from admission.keys import SigningKey
from sync.capacity import CapacityFeed
from sync.changes import ChangeFeed
from sync.downlink import Downlink
from sync.introductions import Introductions
from sync.mqtt import Broker, Message, MqttLink
from sync.protocol import BoxTopics, Health, Presence, ProtocolError, decode_presence, encode_json
from sync.time_repairs import TimeRepairs
from sync.uplink import Outbox, Uplink

HEARTBEAT_S = 5.0
ECHO_WITHIN_S = 3 * HEARTBEAT_S


@dataclass(frozen=True, slots=True)
class BoxIdentity:
    """Who the box is: its topics, its key, and the number of this process's session."""

    topics: BoxTopics
    key: SigningKey
    session: str


@dataclass(frozen=True, slots=True)
class Feeds:
    """Who takes in what the centre says.

    Lists, what has changed since, shares of the capacity, the site's boxes, and repairs of the time.
    """

    lists: Downlink
    changes: ChangeFeed
    capacity: CapacityFeed
    boxes: Introductions
    time: TimeRepairs


class CentreLink:
    """The box's side of the conversation with the centre; works for ever, whether or not anyone answers."""

    def __init__(
        self,
        broker: Broker,
        identity: BoxIdentity,
        outbox: Outbox,
        feeds: Feeds,
        health: Callable[[], Awaitable[Health]],
        wall_ms: Callable[[], int],
        random: Callable[[], float],
    ) -> None:
        self._identity = identity
        self._feeds = feeds
        self._health = health
        self._wall_ms = wall_ms
        self._due = asyncio.Event()
        self._echoed_s = 0.0
        topics = identity.topics
        self._mqtt = MqttLink(
            broker,
            subscriptions=(
                topics.receipt,
                topics.manifest,
                topics.changes,
                topics.capacity,
                topics.boxes,
                topics.time,
                topics.presence,
            ),
            on_message=self._dispatch,
            on_up=self._on_up,
            random=random,
            will=Message(topics.presence, encode_json(self._presence(online=False))),
        )
        self._uplink = Uplink(outbox, self._mqtt.publish, topics, identity.key)

    @property
    def is_up(self) -> bool:
        """Whether the broker can be reached, as far as this side knows."""
        return self._mqtt.is_up

    @property
    def problems(self) -> list[str]:
        """What is wrong with the conversation, for people."""
        feeds = self._feeds
        parts = (self._uplink, feeds.lists, feeds.changes, feeds.capacity, feeds.boxes, feeds.time)
        found = [part.problem for part in parts if part.problem]
        if self.is_up and _now_s() - self._echoed_s > ECHO_WITHIN_S:
            found.append("the centre's broker does not pass on what this box says: check its access rules")
        return found

    def wake(self) -> None:
        """Something was committed: send it."""
        self._uplink.wake()

    def leave(self) -> None:
        """Say that the box stops on purpose, if anyone can hear it."""
        self._mqtt.publish(
            self._identity.topics.presence, encode_json(self._presence(online=False)), retain=True
        )

    async def run(self) -> None:
        """Converse until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._uplink.run())
            tasks.create_task(self._feeds.lists.run())
            tasks.create_task(self._feeds.changes.run())
            tasks.create_task(self._feeds.capacity.run())
            tasks.create_task(self._feeds.boxes.run())
            tasks.create_task(self._feeds.time.run())
            tasks.create_task(self._beat())
            tasks.create_task(self._mqtt.run())

    def _hear_itself(self, payload: bytes) -> None:
        """MQTT 3.1.1 refuses silently: hearing this session's own word is the only proof that others can."""
        with contextlib.suppress(ProtocolError):
            if decode_presence(payload).session == self._identity.session:
                self._echoed_s = _now_s()

    def _on_up(self) -> None:
        self._echoed_s = _now_s()
        self._due.set()
        self._uplink.restart()
        self._feeds.changes.ask()

    def _dispatch(self, topic: str, payload: bytes) -> None:
        if topic == self._identity.topics.receipt:
            self._uplink.receive(payload)
        elif topic == self._identity.topics.presence:
            self._hear_itself(payload)
        elif topic == self._identity.topics.manifest:
            self._feeds.lists.receive(payload)
        elif topic == self._identity.topics.changes:
            self._feeds.changes.receive(payload)
        elif topic == self._identity.topics.capacity:
            self._feeds.capacity.receive(payload)
        elif topic == self._identity.topics.boxes:
            self._feeds.boxes.receive(payload)
        elif topic == self._identity.topics.time:
            self._feeds.time.receive(payload)

    async def _beat(self) -> None:
        """Publish the birth when the link comes up and the heartbeat while it is."""
        while True:
            self._due.clear()
            if self._mqtt.is_up:
                presence = self._presence(online=True, health=await self._health())
                self._mqtt.publish(self._identity.topics.presence, encode_json(presence), retain=True)
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._due.wait()
            except TimeoutError:
                continue

    def _presence(self, *, online: bool, health: Health | None = None) -> Presence:
        return Presence(session=self._identity.session, online=online, at_ms=self._wall_ms(), health=health)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
