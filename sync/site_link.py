"""Everything the boxes of a site say to each other, over the site's own broker: it needs no centre."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from admission.keys import PublicKey, read_public_key
from sync.centre_link import BoxIdentity
from sync.hearing import SILENT_S, Hearer, Memory
from sync.mqtt import Broker, MqttLink
from sync.protocol import NeighbourHealth, ProtocolError, Side, SiteBoxes, all_sides, side_of
from sync.telling import HEAD_EVERY_S, Ledger, Teller
from sync.telling import Memory as Hearsays

LONGEST_WAIT_S = 3.0
"""A site has few boxes and a broker nearby; each second apart is one in which a copy may pass."""
ECHO_WITHIN_S = 3 * HEAD_EVERY_S


class _Memory(Memory, Hearsays, Protocol):
    """The box's memory of its neighbours, for hearing and for telling."""


@dataclass(frozen=True, slots=True)
class Timepiece:
    """Seconds that only go on; UTC milliseconds, or None while that is not sure here; and who takes a neighbour's."""

    now_s: Callable[[], float]
    sure_ms: Callable[[], int | None]
    hear: Callable[[int], None]


class SiteLink:
    """The box's side of the conversation with its neighbours; works for ever, whether or not anyone answers."""

    def __init__(
        self,
        broker: Broker,
        identity: BoxIdentity,
        neighbours: Iterable[tuple[str, PublicKey]],
        ledger: Ledger,
        memory: _Memory,
        time: Timepiece,
        random: Callable[[], float],
    ) -> None:
        self._topics = identity.topics
        self._now_s = now_s = time.now_s
        self._mqtt = MqttLink(
            broker,
            subscriptions=(all_sides(identity.topics.site_id),),
            on_message=self._dispatch,
            on_up=self._on_up,
            random=random,
            longest_wait_s=LONGEST_WAIT_S,
        )
        self._teller = teller = Teller(ledger, memory, self._mqtt.publish, identity, time.sure_ms)
        box_id = identity.topics.box_id
        self._hearer = Hearer(
            box_id, neighbours, memory, teller.ask, teller.answer, teller.answer_of, now_s, time.hear
        )
        self._echoed_s = now_s()

    @property
    def is_up(self) -> bool:
        """Whether the broker can be reached, as far as this side knows."""
        return self._mqtt.is_up

    @property
    def problems(self) -> list[str]:
        """What is wrong with the conversation, for people."""
        if not self.is_up:
            return ["the site's broker cannot be reached: a copy may be admitted at another box"]
        if self._now_s() - self._echoed_s > ECHO_WITHIN_S:
            return ["the site's broker does not pass on what this box says: check its access rules"]
        silent = [
            f"box {neighbour.box_id} is not heard: a copy may be admitted there and here"
            for neighbour in self.neighbours()
            if neighbour.silent_s is None or neighbour.silent_s > SILENT_S
        ]
        return silent + self._hearer.problems

    def neighbours(self) -> list[NeighbourHealth]:
        """Return how well each neighbour is heard."""
        return self._hearer.health()

    async def introduce(self, word: SiteBoxes) -> None:
        """Hear the boxes that the centre names besides those of the settings; a key that cannot be read is left out."""
        keys: dict[str, PublicKey] = {}
        for box in word.boxes:
            with contextlib.suppress(ValueError):
                keys[box.box_id] = read_public_key(box.key)
        barred = {box.box_id for box in word.boxes if box.is_barred}
        await self._hearer.introduce({name: key for name, key in keys.items() if name not in barred}, barred)

    def wake(self) -> None:
        """Something was committed: tell it."""
        self._teller.wake()

    async def run(self) -> None:
        """Converse until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hearer.run())
            tasks.create_task(self._teller.run())
            tasks.create_task(self._mqtt.run())

    def _on_up(self) -> None:
        self._echoed_s = self._now_s()
        self._teller.restart()

    def _dispatch(self, topic: str, payload: bytes) -> None:
        try:
            box_id, side = side_of(topic)
        except ProtocolError:
            return  # of a later release: readers ignore what they do not know
        if box_id != self._topics.box_id:
            self._hearer.receive(box_id, side, payload)
        elif side is Side.HEAD:
            # MQTT 3.1.1 refuses silently: hearing oneself is the only proof that others can.
            self._echoed_s = self._now_s()
