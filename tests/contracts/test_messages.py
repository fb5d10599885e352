"""What really goes over the broker between a box and the centre, read with the contract alone."""

from __future__ import annotations

import hashlib
import json
import signal
import zlib
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from admission.events import Incident
from admission.tickets import Outcome
from sync.protocol import Receipt, Stream, decode_receipt
from tests.central.programs import until
from tests.central.world import Box as Speaker
from tests.central.world import admitted, closed, refusal, signing_key
from tests.contracts.message_contract import channel_of, problems
from tests.contracts.site import BOX_ID, LANES, Site, topics

pytestmark = pytest.mark.e2e
ADMISSIONS = count(10_000)
"""Admissions of the tests; none is told twice."""


def opened(envelope: bytes, key: Ed25519PublicKey, context: str) -> dict[str, Any]:
    """The payload of a signed message, verified as the contract says."""
    protected, _, payload, signature = cbor2.loads(envelope)
    signed = cbor2.dumps(["Signature1", protected, context.encode(), payload], canonical=True)
    key.verify(signature, signed)
    found: dict[str, Any] = cbor2.loads(payload)
    return found


def public_key(text: str) -> Ed25519PublicKey:
    """The key of an `ID:KEY`."""
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text.partition(":")[2]))


def ledger_of(site: Site, box_id: str, key: Ed25519PublicKey) -> dict[int, bytes]:
    """The entries that a box has sent, by number."""
    found: dict[int, bytes] = {}
    for message in site.heard_on(topics(box_id).up(Stream.LEDGER)):
        batch = opened(zlib.decompress(message), key, "scenic-gate/ledger/1")
        for number, entry in enumerate(batch["entries"], batch["first"]):
            assert found.setdefault(number, entry) == entry
    return found


def hashes(entries: Sequence[bytes]) -> Iterator[str]:
    """The chain's hash after each entry."""
    last = bytes(32)
    for entry in entries:
        last = hashlib.sha256(last + entry).digest()
        yield last.hex()


def receipts(site: Site, box_id: str) -> list[dict[str, Any]]:
    """What the centre has confirmed to a box, in order."""
    return [json.loads(message) for message in site.heard_on(topics(box_id).receipt)]


def tags(entries: dict[int, bytes]) -> list[int]:
    """What kinds of events a ledger has."""
    return sorted({cbor2.loads(entry)[2][0] for entry in entries.values()})


def test_box_and_centre_say_what_is_documented(site: Site, tmp_path: Path) -> None:
    """Each kind of message and of a box's events; with them, every message that the site has exchanged so far."""
    key = public_key(site.box.public_key)
    first, second = site.sell(2)
    site.box.scan(first["code"], LANES[0])
    site.box.scan("not a ticket", LANES[1])
    site.passes(first["key"])
    killed_after = site.box.scan(second["code"], LANES[2])
    site.box.stop(signal.SIGKILL)
    site.box.start()
    resumed = site.box.scan(second["code"], LANES[2])
    assert (resumed["reason"], resumed["admission_id"]) == ("RESUMED", killed_after["admission_id"])
    site.passes(second["key"])
    until(lambda: tags(ledger_of(site, BOX_ID, key)) == [0, 1, 2, 3, 6, 7])

    stranger = site.stranger(tmp_path)
    stranger.start()
    until(lambda: site.heard_on(topics("B9").presence))
    assert stranger.stop() == 0
    until(lambda: not json.loads(site.heard_on(topics("B9").presence)[-1])["online"])

    # What other tests say for boxes of their own is not a program's word; what they are answered is.
    programs = (f"/{BOX_ID}/", "/B9/", "/down/")
    messages = [(topic, said) for topic, said in site.heard() if any(part in topic for part in programs)]
    assert {channel_of(topic) for topic, _ in messages} == {
        "ledger",
        "diary",
        "presence",
        "receipt",
        "list",
        "changes",
        "capacity",
        "boxes",
    }
    assert [found for topic, said in messages for found in problems(topic, said)] == []


def test_ledger_and_receipts_are_one_chain(site: Site) -> None:
    """Who reads the box's batches finds the very hash that the centre has confirmed."""
    (ticket,) = site.sell()
    site.box.scan(ticket["code"], LANES[1])
    site.passes(ticket["key"])

    def confirmed() -> bool:
        entries = ledger_of(site, BOX_ID, public_key(site.box.public_key))
        assert sorted(entries) == list(range(1, len(entries) + 1))
        chain = list(hashes([entries[number] for number in sorted(entries)]))
        last = receipts(site, BOX_ID)[-1]
        return bool(last["seq_no"] == len(chain) and last["hash"] == chain[-1])

    until(confirmed)


def test_manifest_is_signed_for_what_it_is(site: Site) -> None:
    """With the list key, over the payload that names this site's list."""
    message = until(lambda: site.heard_on(topics(BOX_ID).manifest))[-1]
    key = public_key(site.keys.public_texts()["list"])
    assert opened(message, key, "scenic-gate/list/1")["site_id"] == "fairy"


class Conversation:
    """A box that the test speaks for, and what the centre answers it."""

    def __init__(self, site: Site, box: Speaker) -> None:
        self.site = site
        self.box = box

    def say(self, message: bytes, stream: Stream = Stream.LEDGER) -> Receipt:
        """Send a message and return its receipt."""
        before = len(self.heard())
        self.site.ear.say(self.box.topics.up(stream), message)
        until(lambda: len(self.heard()) > before)
        return decode_receipt(self.heard()[-1])

    def heard(self) -> list[bytes]:
        """All receipts so far."""
        return self.site.heard_on(self.box.topics.receipt)


@pytest.fixture
def conversation(site: Site, request: pytest.FixtureRequest) -> Conversation:
    """A registered box with six entries, the first four of which are confirmed."""
    box = site.speaker(request.node.name.removeprefix("test_")[:60])
    box.open_epoch()
    for number in (next(ADMISSIONS), next(ADMISSIONS)):
        box.append(admitted(number, b"k" * 16))
        box.append(closed(number, Outcome.PASSED))
    box.append(Incident("lane-1", Outcome.FORCED))
    talk = Conversation(site, box)
    receipt = talk.say(box.batch(1, 4))
    assert (receipt.seq_no, receipt.hash) == (4, box.hashes[4].hex())
    return talk


def test_duplicates_change_nothing(conversation: Conversation) -> None:
    """Whole or in part; what is new in a batch that overlaps is taken."""
    box = conversation.box
    assert conversation.say(box.batch(2, 3)).seq_no == 4
    assert conversation.say(box.batch(3, 6)).seq_no == 6


def test_gap_is_answered_with_where_to_go_on(conversation: Conversation) -> None:
    """And nothing of the batch is kept."""
    receipt = conversation.say(conversation.box.batch(6, 6))
    assert (receipt.seq_no, receipt.hash) == (4, conversation.box.hashes[4].hex())


def test_fork_does_not_move_the_receipt(conversation: Conversation) -> None:
    """It is kept and reported; what was stored stays."""
    box = conversation.box
    other = Speaker(box_id=box.box_id, key=box.key, entries=box.entries[:3], hashes=box.hashes[:4])
    for number in (7, 8, 9):
        other.append(Incident(f"lane-{number}", Outcome.FORCED))
    assert conversation.say(other.batch(2, 6)).hash == box.hashes[4].hex()
    assert conversation.say(box.batch(5, 6)).hash == box.hashes[6].hex()
    boxes = {row["box_id"]: row for row in conversation.site.centre.get("/v1/summary").json()["boxes"]}
    assert (boxes[box.box_id]["forks"], boxes[box.box_id]["incidents"]["fork"]) == (1, 1)


def test_diary_may_leave_numbers_out(conversation: Conversation) -> None:
    """They are losses, and the receipt says how far it got."""
    box = conversation.box
    assert conversation.say(box.diary([refusal(3), refusal(7)], first=3), Stream.DIARY).diary_number == 7
    assert conversation.say(box.diary([refusal(3)], first=3), Stream.DIARY).diary_number == 7


def test_entry_that_cannot_be_read_counts(conversation: Conversation) -> None:
    """It is chained like all others, so that the box can go on."""
    box = conversation.box
    box.append_raw(b"\xff from a later version")
    receipt = conversation.say(box.batch(5, 7))
    assert (receipt.seq_no, receipt.hash) == (7, box.hashes[7].hex())


def test_what_is_not_believed_is_not_answered(conversation: Conversation) -> None:
    """Another key, another box's topic, no batch at all: counted, and the next honest message is answered."""
    site, box = conversation.site, conversation.box
    forged = Speaker(box_id=box.box_id, key=signing_key("thief"), entries=box.entries, hashes=box.hashes)
    site.ear.say(box.topics.up(Stream.LEDGER), forged.batch(5, 6))
    site.ear.say(box.topics.up(Stream.DIARY), box.batch(5, 6))
    site.ear.say(box.topics.up(Stream.LEDGER), b"no batch")

    def counted() -> bool:
        rejected = site.centre.get("/v1/summary").json()["rejections"]
        return sum(int(row["count"]) for row in rejected if f"/{box.box_id}/" in row["topic"]) == 3

    until(counted)
    assert len(conversation.heard()) == 1
    assert conversation.say(box.batch(5, 6)).seq_no == 6
