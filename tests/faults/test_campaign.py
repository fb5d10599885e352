"""The campaign of kills, a short one; and what a broker's acknowledgement is worth."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tests.central.programs import Mosquitto, until
from tests.faults.campaign import campaign
from tests.support.secured import WITNESS, let_go, secure

pytestmark = pytest.mark.e2e
WANTED = Counter(agent=4, broker=2, centre=2) | Counter(
    {"stop agent": 1, "torn": 1, "half open": 1, "late": 1, "full disk": 1}
)


async def test_kills_lose_double_and_hide_nobody(tmp_path: Path) -> None:
    """Programs die or stand still, cables fail, a disk fills up; box and centre know whoever was let in, once."""
    report = await campaign(tmp_path, WANTED, seed=11)
    assert report["agreed"], report
    assert (report["lost"], report["doubled"], report["unrecorded"], report["turned_away"]) == (0, 0, 0, 0)
    assert report["opened"] == report["visitors"] > 5


def test_a_puback_is_no_receipt(tmp_path: Path) -> None:
    """A box that let go of what a stock broker has acknowledged would lose it: killed, the broker remembers nothing."""
    broker, heard = Mosquitto(tmp_path), []

    def connected(name: str) -> Client:
        client = Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
        client.on_message = lambda _client, _data, message: heard.append(_payload(message))
        secure(client, WITNESS)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        return client

    broker.start()
    try:
        centre = connected("centre")
        centre.subscribe("ledger", qos=1)
        until(centre.is_connected)
        let_go(centre)  # the centre is away; its session is kept
        box = connected("box")
        acknowledged = [box.publish("ledger", bytes([number]), qos=1) for number in range(20)]
        for message in acknowledged:
            message.wait_for_publish(10)
        assert all(message.is_published() for message in acknowledged)
        broker.kill()
        box.loop_stop()
        broker.start()
        centre = connected("centre")
        centre.subscribe("ledger", qos=1)
        late = connected("late")
        late.publish("ledger", b"late", qos=1).wait_for_publish(10)
        until(lambda: b"late" in heard)
        for client in (centre, late):
            let_go(client)
    finally:
        broker.kill()
    assert heard == [b"late"]


def _payload(message: MQTTMessage) -> bytes:
    return bytes(message.payload)
