"""Topics and messages: what one side writes the other reads, and nothing else passes."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from typing import Any

import cbor2
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from admission.envelope import BadSignatureError, Context, EnvelopeError, UnknownKeyError, seal
from admission.keys import SigningKey
from sync.protocol import (
    ALL_BATCHES,
    ALL_PRESENCE,
    MAX_BATCH_BYTES,
    Batch,
    BoxTopics,
    Health,
    ListManifest,
    Presence,
    ProtocolError,
    Receipt,
    Stream,
    box_of,
    decode_batch,
    decode_manifest,
    decode_presence,
    decode_receipt,
    encode_batch,
    encode_json,
    encode_manifest,
    manifest_topic,
)
from tests.admission.makers import STRANGER, signing_key

KEY = signing_key(7)
BATCH = Batch(
    stream=Stream.LEDGER, box_id="box-1", first=5, previous_hash=bytes(32), entries=[b"one", b"two"]
)
MANIFEST = ListManifest(
    format=1,
    site_id="fairy",
    version=12,
    as_of_s=1_777_000_000,
    sha256=bytes(range(32)),
    size_bytes=4096,
    path="/v1/lists/fairy/12",
)
RECEIPT = Receipt(store_id="store", seq_no=9, hash="ab" * 32, diary_number=4)
HEALTH = Health(list_version=12, list_age_s=60, backlog=3, lanes={"lane-1": "CLOSED"}, problems=["a", "b"])


def find_key(key_id: bytes) -> Ed25519PublicKey | None:
    """The one key that is trusted here."""
    return KEY.public.key if key_id == KEY.key_id else None


def packed(payload: bytes, key: SigningKey = KEY, context: Context = Context.LEDGER) -> bytes:
    """A batch message around any payload."""
    return zlib.compress(seal(payload, key, context))


def plain(message: msgspec.Struct) -> dict[str, Any]:
    """A message as its fields by name."""
    return msgspec.structs.asdict(message)


# --- topics


def test_a_boxs_topics_name_its_site_and_itself() -> None:
    """So that access rules can be written from the two alone."""
    topics = BoxTopics("fairy", "box-1")
    assert topics.up(Stream.LEDGER) == "sg1/fairy/box-1/up/ledger"
    assert topics.up(Stream.DIARY) == "sg1/fairy/box-1/up/diary"
    assert topics.presence == "sg1/fairy/box-1/up/presence"
    assert topics.receipt == "sg1/fairy/box-1/down/receipt"
    assert topics.manifest == manifest_topic("fairy") == "sg1/fairy/down/list"


def test_the_centre_hears_every_box() -> None:
    """Its subscriptions are the boxes' topics with wildcards for site and box."""
    everyone = BoxTopics("+", "+")
    assert tuple(everyone.up(stream) for stream in Stream) == ALL_BATCHES
    assert everyone.presence == ALL_PRESENCE


def test_an_up_topic_says_whose_it_is() -> None:
    """For each stream and for presence."""
    topics = BoxTopics("fairy", "box-1")
    for topic in (topics.presence, *(topics.up(stream) for stream in Stream)):
        assert box_of(topic) == topics


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "sg1",
        "sg1/fairy/down/list",
        "sg1/fairy/box-1/down/receipt",
        "sg2/fairy/box-1/up/ledger",
        "sg1/a/b/up/c/d",
    ],
)
def test_any_other_topic_is_a_protocol_error(topic: str) -> None:
    """It is quoted."""
    with pytest.raises(ProtocolError, match=f"'{topic}'"):
        box_of(topic)


# --- batches


@pytest.mark.parametrize("stream", Stream)
@pytest.mark.parametrize("entries", [[], [b""], [b"entry"] * 200])
def test_a_batch_is_read_as_it_was_sent(stream: Stream, entries: list[bytes]) -> None:
    """Both streams, empty or full."""
    batch = msgspec.structs.replace(BATCH, stream=stream, entries=entries)
    assert decode_batch(encode_batch(batch, KEY), find_key) == batch


def test_two_hundred_entries_take_less_room_compressed() -> None:
    """What a batch is compressed for."""
    entries = [cbor2.dumps([n, 1_777_000_000_000 + n, [3, bytes([n]) * 16, 1]]) for n in range(200)]
    message = encode_batch(msgspec.structs.replace(BATCH, entries=entries), KEY)
    assert len(message) < sum(map(len, entries)) / 2


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "not compressed": seal(b"", KEY, Context.LEDGER),
    "cut short": encode_batch(BATCH, KEY)[:-5],
    "a zip bomb": zlib.compress(bytes(400 * MAX_BATCH_BYTES // 100)),
    "one byte too large": zlib.compress(bytes(MAX_BATCH_BYTES + 1)),
    "no CBOR": packed(b"\xff"),
    "no map": packed(cbor2.dumps([1, 2])),
    "a field missing": packed(cbor2.dumps({"stream": "ledger"})),
    "another stream": packed(cbor2.dumps(plain(BATCH) | {"stream": "telemetry"})),
    "text for bytes": packed(cbor2.dumps(plain(BATCH) | {"entries": ["one"]})),
    "a number as text": packed(cbor2.dumps(plain(BATCH) | {"first": "5"})),
    "deep nesting": packed(b"\x81" * 100_000),
    "an endless length": packed(b"\x9b" + b"\xff" * 8),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_batch_is_a_protocol_error(name: str) -> None:
    """Also when a trusted key signed it, and quickly."""
    started_s = time.thread_time()
    with pytest.raises(ProtocolError):
        decode_batch(HOSTILE[name], find_key)
    assert time.thread_time() - started_s < 1


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (zlib.compress(b"no envelope"), EnvelopeError),
        (encode_batch(BATCH, STRANGER), UnknownKeyError),
        (encode_batch(BATCH, SigningKey(KEY.key_id, STRANGER.private_key)), BadSignatureError),
        (packed(cbor2.dumps(plain(BATCH)), context=Context.CODE), BadSignatureError),
        (zlib.compress(encode_manifest(MANIFEST, KEY)), BadSignatureError),
    ],
    ids=["no envelope", "a stranger", "a forger", "signed as a code", "a manifest"],
)
def test_a_batch_that_its_box_did_not_sign_is_not_believed(message: bytes, error: type[Exception]) -> None:
    """A signature holds for its purpose alone."""
    with pytest.raises(error):
        decode_batch(message, find_key)


def test_a_batchs_later_fields_are_ignored() -> None:
    """Newer boxes may say more."""
    assert decode_batch(packed(cbor2.dumps(plain(BATCH) | {"later": [1]})), find_key) == BATCH


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_from_a_trusted_box_are_a_batch_or_a_protocol_error(payload: bytes) -> None:
    """A box with a mistake, or one that was opened, does not stop the centre."""
    with pytest.raises(ProtocolError):
        decode_batch(packed(payload), find_key)


# --- manifests


def test_a_manifest_is_read_as_it_was_signed() -> None:
    """Later fields are ignored."""
    assert decode_manifest(encode_manifest(MANIFEST, KEY), find_key) == MANIFEST
    later = seal(cbor2.dumps(plain(MANIFEST) | {"differentials": []}), KEY, Context.LIST)
    assert decode_manifest(later, find_key) == MANIFEST


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"", EnvelopeError),
        (encode_manifest(MANIFEST, STRANGER), UnknownKeyError),
        (seal(cbor2.dumps(plain(MANIFEST)), KEY, Context.LEDGER), BadSignatureError),
        (seal(cbor2.dumps(plain(MANIFEST) | {"sha256": "00"}), KEY, Context.LIST), ProtocolError),
        (seal(b"\x81" * 100_000, KEY, Context.LIST), ProtocolError),
    ],
    ids=["nothing", "a stranger", "signed as a batch", "a hash as text", "deep nesting"],
)
def test_a_manifest_that_cannot_be_believed_is_refused(message: bytes, error: type[Exception]) -> None:
    """The list in use then stays."""
    with pytest.raises(error):
        decode_manifest(message, find_key)


# --- receipts and presence


def test_receipts_and_presence_are_read_as_they_were_sent() -> None:
    """With and without health; later fields are ignored."""
    assert decode_receipt(encode_json(RECEIPT)) == RECEIPT
    assert decode_receipt(encode_json(RECEIPT)[:-1] + b',"later":{}}') == RECEIPT
    for health in (None, HEALTH):
        presence = Presence(session="s", online=health is not None, at_ms=5, health=health)
        assert decode_presence(encode_json(presence)) == presence


@pytest.mark.parametrize("decode", [decode_receipt, decode_presence])
@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"store_id":1,"seq_no":"x","session":1}',
        b'{"later":' + b"[" * 100_000,
        b'{"later":' + b"9" * 5000 + b"}",
        encode_json(RECEIPT)[:-1],
    ],
    ids=lambda value: value[:20].decode("latin-1"),
)
def test_json_that_is_not_the_message_is_a_protocol_error(
    decode: Callable[[bytes], object], message: bytes
) -> None:
    """Whatever it is."""
    with pytest.raises(ProtocolError):
        decode(message)
