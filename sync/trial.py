"""Trying out a broker once: reached, let in, and allowed to speak and to hear."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets

from sync.mqtt import Broker, MqttLink


async def broker_problem(broker: Broker, topic: str, timeout_s: float = 5.0) -> str:
    """Return what keeps a message on `topic` from coming back, or nothing.

    Under MQTT 3.1.1 a refused message looks like a delivered one: only its echo proves anything. Whoever is connected
    with the same client id loses the connection.
    """
    word = secrets.token_bytes(8)
    is_up, is_heard = asyncio.Event(), asyncio.Event()

    def hear(_: str, payload: bytes) -> None:
        if payload == word:
            is_heard.set()

    link = MqttLink(broker, subscriptions=(topic,), on_message=hear, on_up=is_up.set, random=random.random)
    running = asyncio.create_task(link.run())
    try:
        if not await _within(is_up, timeout_s):
            return f"{broker.host}:{broker.port} cannot be reached, or does not let {broker.username or 'this box'} in"
        link.publish(topic, word)
        if not await _within(is_heard, timeout_s):
            return f"{broker.host}:{broker.port} does not pass on what {broker.username or 'this box'} says on {topic}"
        return ""
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def _within(event: asyncio.Event, timeout_s: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    return event.is_set()
