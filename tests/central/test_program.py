"""The centre as a program, with a real Mosquitto."""

from __future__ import annotations

import hashlib
import signal
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from admission.keys import public_key_text, read_public_key
from admission.tickets import Basis, Outcome
from central.keys import create_keys
from sync.protocol import (
    ListManifest,
    Presence,
    Receipt,
    Stream,
    decode_manifest,
    decode_receipt,
    encode_json,
)
from tests.central.programs import Centre, Ear, Mosquitto, listening, until
from tests.central.test_settings import POLICY_FILE
from tests.central.world import NOW_MS, Box, admitted, closed, refusal
from tests.support.secured import tls_settings

pytestmark = pytest.mark.e2e
PRODUCT = {"code": "DAY", "name_zh": "日票", "name_en": "Day ticket", "site_ids": ["fairy"]}
SALE = {"product": "DAY", "valid_from": "2026-06-20", "valid_until": "2036-06-21"}


@dataclass(slots=True)
class Scene:
    """A broker, the centre, and one box that is registered."""

    broker: Mosquitto
    centre: Centre
    box: Box
    list_key: str

    def receipt(self, ear: Ear, seq_no: int) -> Receipt:
        """The receipt of an entry, once it has come."""

        def find() -> Receipt | None:
            heard = ear.last(self.box.topics.receipt)
            receipt = decode_receipt(heard) if heard else None
            return receipt if receipt and receipt.seq_no == seq_no else None

        return until(find)

    def manifest(self, ear: Ear, above: int = 0) -> ListManifest:
        """The manifest of a list above a version, once it has come."""
        key = read_public_key(self.list_key).key

        def find() -> ListManifest | None:
            heard = ear.last(self.box.topics.manifest)
            manifest = decode_manifest(heard, lambda _: key) if heard else None
            return manifest if manifest and manifest.version > above else None

        return until(find)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A broker and a centre that run; both are stopped in the end."""
    keys = create_keys(tmp_path / "keys", demo=False)
    broker = Mosquitto(tmp_path)
    settings = tmp_path / "centre.toml"
    settings.write_text(f"""
profile = "demo"
store = "centre.db"
lists = "lists"
keys = "keys"
policy = "{POLICY_FILE}"
[broker]
host = "127.0.0.1"
port = {broker.port}
client_id = "centre"
{tls_settings("central")}[http]
port = 0
[payments]
provider = "mock"
""")
    scene = Scene(broker, Centre(settings), Box(), public_key_text(keys.lists.public))
    broker.start()
    scene.centre.start()
    row = {"box_id": scene.box.box_id, "site_id": scene.box.site_id, "public_key": scene.box.public_text}
    scene.centre.post("/v1/imports/boxes", [row])
    scene.centre.post("/v1/imports/products", [PRODUCT])
    try:
        yield scene
    finally:
        if scene.centre.process is not None and scene.centre.process.poll() is None:
            scene.centre.stop(signal.SIGKILL)
        broker.kill()


def test_sold_ticket_reaches_the_list(scene: Scene) -> None:
    """A sale leads to a new signed list, whose file is the one that the manifest names."""
    with listening(scene.broker.port, scene.box.topics.manifest) as ear:
        first = scene.manifest(ear)
        scene.centre.post("/v1/tickets", SALE)
        newer = scene.manifest(ear, above=first.version)
        data = scene.centre.fetch(newer.path)
        packed = scene.centre.fetch(newer.packed_path)
        assert (len(packed), zlib.decompress(packed)) == (newer.packed_bytes, data)
        assert hashlib.sha256(data).digest() == newer.sha256


def test_a_passage_on_credit_is_paid_for(scene: Scene) -> None:
    """From the box's ledger to the provider's number, with nobody's hand on it."""
    key, box = b"k" * 16, scene.box
    box.append(admitted(1, key, Basis.CREDIT_LINE, fare_fen=5000))
    box.append(closed(1, Outcome.PASSED))
    with listening(scene.broker.port, box.topics.receipt) as ear:
        ear.say(box.topics.up(Stream.LEDGER), box.batch())
        scene.receipt(ear, 2)
    paid = until(lambda: scene.centre.get("/v1/payments?state=paid")["payments"])
    assert [(row["key"], row["fare_fen"]) for row in paid] == [(key.hex(), 5000)]
    assert paid[0]["reference"].startswith("mock-charge:line:")


def test_ledger_is_receipted_folded_and_shown(scene: Scene) -> None:
    """What a box sends is confirmed to it and counted."""
    key = bytes.fromhex(scene.centre.post("/v1/tickets", SALE)["tickets"][0]["key"])
    box = scene.box
    box.open_epoch()
    box.append(admitted(1, key))
    box.append(closed(1, Outcome.PASSED))
    with listening(scene.broker.port, box.topics.receipt) as ear:
        ear.say(box.topics.up(Stream.LEDGER), box.batch())
        assert scene.receipt(ear, 3).hash == box.hashes[3].hex()
        ear.say(box.topics.up(Stream.DIARY), box.diary([refusal(1)]))
        until(lambda: scene.centre.get("/v1/summary")["totals"]["refused"] == {"ALREADY_USED": 1})
    until(lambda: scene.centre.get("/v1/summary")["totals"]["passages"] == 1)


def test_killed_centre_loses_nothing_that_it_receipted(scene: Scene) -> None:
    """After kill -9 the store holds what was confirmed and goes on from there."""
    box = scene.box
    for number in range(1, 201):
        box.append(admitted(number, number.to_bytes(16)))
    with listening(scene.broker.port, box.topics.receipt) as ear:
        ear.say(box.topics.up(Stream.LEDGER), box.batch(1, 100))
        before = scene.receipt(ear, 100)
        scene.centre.stop(signal.SIGKILL)
        scene.centre.start()
        ear.forget()
        # The birth of a box is answered with where it stands.
        presence = encode_json(Presence(session="s", online=True, at_ms=NOW_MS))
        ear.say(box.topics.presence, presence)
        assert scene.receipt(ear, 100) == before
        ear.say(box.topics.up(Stream.LEDGER), box.batch(101, 200))
        assert scene.receipt(ear, 200).store_id == before.store_id


def test_killed_broker_is_told_the_manifest_again(scene: Scene) -> None:
    """A broker that comes back empty has the newest manifest retained soon."""
    with listening(scene.broker.port, scene.box.topics.manifest) as ear:
        first = scene.manifest(ear)
    scene.broker.kill()
    scene.broker.start()
    with listening(scene.broker.port, scene.box.topics.manifest) as ear:
        assert scene.manifest(ear).version >= first.version


def test_centre_answers_without_a_broker(scene: Scene) -> None:
    """Sales go on while the broker is away."""
    scene.broker.kill()
    assert len(scene.centre.post("/v1/tickets", SALE)["tickets"]) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_cleanly(scene: Scene, number: int) -> None:
    """The centre ends with status 0 and leaves no journal behind."""
    assert scene.centre.stop(number) == 0
    folder = scene.centre.settings.parent
    assert not (folder / "centre.db-wal").exists()
    assert "Traceback" not in (folder / "centre.log").read_text()
