"""docs/asyncapi.yaml against the topics, messages and events of the code."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable
from types import ModuleType, UnionType
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from admission import events
from admission.envelope import Context
from admission.events import NO_HASH, Entry, LedgerEvent, Refusal, chain, encode
from admission.passage import State
from admission.reasons import Reason, Verdict
from admission.tickets import Basis, Outcome, Risk
from sync import protocol
from sync.protocol import (
    Batch,
    BoxTopics,
    Health,
    ListManifest,
    NeighbourHealth,
    Presence,
    Receipt,
    Side,
    Stream,
    encode_batch,
    encode_json,
    encode_manifest,
)
from tests.central.world import signing_key
from tests.contracts.documents import pointed
from tests.contracts.message_contract import DOCUMENT, SCHEMAS, problems, schema

KEY = signing_key("box")
TOPICS = BoxTopics("SITE", "BOX")
REFUSED = [reason for reason in Reason if reason.verdict is not Verdict.ADMIT]
NUMBERS = st.integers(0, (1 << 63) - 1)
SMALL = st.integers(1, 1 << 40)
BYTES_16 = st.binary(min_size=16, max_size=16)
EVENTS: dict[type, st.SearchStrategy[Any]] = {
    events.EpochOpened: st.builds(
        events.EpochOpened,
        epoch=st.binary(min_size=8, max_size=8),
        previous_epoch=st.just(b"") | st.binary(min_size=8, max_size=8),
    ),
    events.Overridden: st.builds(events.Overridden, admission_id=BYTES_16),
    events.Admitted: st.builds(
        events.Admitted,
        admission_id=BYTES_16,
        key=BYTES_16,
        quantity=SMALL,
        fare_fen=NUMBERS,
        keep_until_s=NUMBERS,
        list_version=NUMBERS,
    ),
    events.Resumed: st.builds(events.Resumed, admission_id=BYTES_16),
    events.Closed: st.builds(events.Closed, admission_id=BYTES_16),
    events.Incident: st.builds(events.Incident),
    events.ShareTaken: st.builds(events.ShareTaken, number=SMALL, inside=SMALL, day_start_ms=NUMBERS),
    events.ClockNoted: st.builds(events.ClockNoted, monotonic_ms=NUMBERS, least_ms=NUMBERS),
}
ENTRIES = st.builds(Entry, SMALL, NUMBERS, st.one_of(*EVENTS.values()))
REFUSALS = st.builds(
    Refusal, number=SMALL, at_ms=NUMBERS, reason=st.sampled_from(REFUSED), key=st.just(b"") | BYTES_16
)
HEALTH = st.builds(
    Health,
    list_version=NUMBERS,
    list_age_s=NUMBERS,
    backlog=NUMBERS,
    lanes=st.dictionaries(st.text(), st.sampled_from([state.name for state in State])),
    neighbours=st.lists(st.builds(NeighbourHealth, silent_s=st.none() | NUMBERS, behind=NUMBERS), max_size=3),
)


def messages_of(module: ModuleType) -> list[type[msgspec.Struct]]:
    """The messages that a module defines."""
    return [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, msgspec.Struct) and kind.__module__ == module.__name__
    ]


def names(fields: Iterable[msgspec.structs.FieldInfo]) -> list[str]:
    """The fields' names."""
    return [field.encode_name for field in fields]


def test_channels_are_the_topics_of_the_code() -> None:
    """Each with its address, and no other."""
    properties = [name for name, value in vars(BoxTopics).items() if isinstance(value, property)]
    topics = {getattr(TOPICS, name) for name in properties} | {TOPICS.up(stream) for stream in Stream}
    topics |= {TOPICS.side(side) for side in Side}
    assert {channel["address"] for channel in DOCUMENT["channels"].values()} == {
        topic.replace("SITE", "{site}").replace("BOX", "{box}") for topic in topics
    }


def test_channels_say_which_names_they_have_in_them() -> None:
    """And every operation goes to a channel that is there."""
    for channel in DOCUMENT["channels"].values():
        in_address = {part[1:-1] for part in channel["address"].split("/") if part.startswith("{")}
        assert set(channel["parameters"]) == in_address
    for operation in DOCUMENT["operations"].values():
        channel = pointed(DOCUMENT, operation["channel"])
        way = channel["address"].split("/")[-2]
        assert (
            operation["action"] in {"up": ("send",), "down": ("receive",), "side": ("send", "receive")}[way]
        )
        assert operation["bindings"]["mqtt"]["qos"] == 1
        assert operation["bindings"]["mqtt"]["retain"] == channel["description"].startswith("Retained")


@pytest.mark.parametrize("kind", messages_of(protocol))
def test_message_has_the_fields_of_the_code(kind: type[msgspec.Struct]) -> None:
    """By name, and which of them must be there; a batch once for each stream."""
    for name in ("LedgerBatch", "DiaryBatch") if kind is Batch else (kind.__name__,):
        said = schema(name)
        fields = msgspec.structs.fields(kind)
        assert list(said["properties"]) == names(fields)
        assert said["required"] == names(field for field in fields if field.required)


@pytest.mark.parametrize("kind", messages_of(events))
def test_event_has_the_fields_of_the_code(kind: type[msgspec.Struct]) -> None:
    """By position, after the tag if it has one; those without a default must be there."""
    said = schema(kind.__name__)
    tag = kind.__struct_config__.tag
    titles = [item["title"] for item in said["items"]]
    assert titles == ([] if tag is None else ["tag"]) + names(msgspec.structs.fields(kind))
    needed = sum(field.required for field in msgspec.structs.fields(kind)) + (tag is not None)
    assert said["minItems"] == needed
    assert tag is None or said["items"][0]["const"] == tag


def test_every_ledger_event_may_be_in_an_entry() -> None:
    """And nothing else."""
    assert isinstance(LedgerEvent, UnionType)
    choices = schema("Entry")["items"][2]["oneOf"]
    assert [choice["$ref"].rpartition("/")[2] for choice in choices] == [
        kind.__name__ for kind in get_args(LedgerEvent)
    ]
    assert set(get_args(LedgerEvent)) == set(EVENTS)


@pytest.mark.parametrize(
    ("name", "values"),
    [("Basis", list(Basis)), ("Risk", list(Risk)), ("Outcome", list(Outcome)), ("Reason", REFUSED)],
)
def test_words_are_those_of_the_code(name: str, values: list[Any]) -> None:
    """A closed list of the document has exactly the members that the code knows; a number is explained."""
    said = schema(name)
    assert said["enum"] == values
    if name != "Reason":
        words = [f"{value.value} {value.name.lower().replace('_', ' ')}" for value in values]
        assert [word for word in words if word.split()[0] + " " not in said["description"]] == []


def test_contexts_are_those_of_the_code() -> None:
    """A signature is bound to what it is for."""
    context = "x-signature-context"
    assert schema("SignedListManifest")[context].encode() == Context.LIST.value
    assert schema("SignedCapacityWord")[context].encode() == Context.CAPACITY.value
    assert schema("SignedTimeRepair")[context].encode() == Context.TIME.value
    for name in ("SignedLedgerBatch", "SignedDiaryBatch"):
        assert schema(name)["contentSchema"][context].encode() == Context.LEDGER.value


def test_schemas_are_schemas() -> None:
    """And what they refer to is there."""
    for said in DOCUMENT["components"]["schemas"].values():
        Draft7Validator.check_schema(said)
        assert SCHEMAS.problems(said, None) != []


def test_examples_are_messages() -> None:
    """Each is one that its schema allows."""
    for message in DOCUMENT["components"]["messages"].values():
        for example in message.get("examples", ()):
            assert SCHEMAS.problems(message["payload"], example["payload"]) == []


@given(st.lists(ENTRIES, max_size=4))
def test_any_ledger_batch_is_documented(entries: list[Entry]) -> None:
    """Whatever its events say, down to their canonical bytes."""
    rows = [encode(entry) for entry in entries]
    batch = Batch(stream=Stream.LEDGER, box_id="BOX", first=1, previous_hash=NO_HASH, entries=rows)
    assert problems(TOPICS.up(Stream.LEDGER), encode_batch(batch, KEY)) == []


@given(st.lists(REFUSALS, max_size=4))
def test_any_diary_batch_is_documented(refusals: list[Refusal]) -> None:
    """Whatever its refusals say."""
    rows = [encode(refusal) for refusal in refusals]
    batch = Batch(stream=Stream.DIARY, box_id="BOX", first=1, previous_hash=b"", entries=rows)
    assert problems(TOPICS.up(Stream.DIARY), encode_batch(batch, KEY)) == []


@given(st.builds(Presence, at_ms=NUMBERS, health=st.none() | HEALTH))
def test_any_presence_is_documented(presence: Presence) -> None:
    """With health and without."""
    assert problems(TOPICS.presence, encode_json(presence)) == []


@given(
    st.builds(
        Receipt,
        seq_no=NUMBERS,
        hash=st.binary(min_size=32, max_size=32).map(bytes.hex),
        diary_number=NUMBERS,
    )
)
def test_any_receipt_is_documented(receipt: Receipt) -> None:
    """From a new store's first on."""
    assert problems(TOPICS.receipt, encode_json(receipt)) == []


@given(
    st.builds(
        ListManifest,
        format=st.just(1),
        version=SMALL,
        as_of_s=NUMBERS,
        sha256=st.binary(min_size=32, max_size=32),
        size_bytes=SMALL,
        path=st.text().map("/{}".format),
    )
)
def test_any_manifest_is_documented(manifest: ListManifest) -> None:
    """Of the format that boxes read."""
    assert problems(TOPICS.manifest, encode_manifest(manifest, KEY)) == []


@pytest.mark.parametrize(
    "entry",
    [
        b"\xff",
        encode(Entry(1, 0, events.Resumed(b"short", "1"))),
        encode(Entry(0, 0, events.Resumed(bytes(16), "1"))),
        encode(Entry(1, 0, events.Closed(bytes(16), 9))),  # type: ignore[arg-type]
        b"\x83\x18\x01\x00\x83\x02\x50" + bytes(16) + b"\x611",
    ],
    ids=["not CBOR", "short id", "no number", "no such outcome", "not the shortest form"],
)
def test_wrong_entry_is_found(entry: bytes) -> None:
    """The contract can tell: a check that finds nothing proves nothing."""
    batch = Batch(stream=Stream.LEDGER, box_id="BOX", first=1, previous_hash=NO_HASH, entries=[entry])
    assert problems(TOPICS.up(Stream.LEDGER), encode_batch(batch, KEY)) != []


def test_message_on_another_topic_is_found() -> None:
    """A channel takes its own messages only."""
    receipt = encode_json(Receipt(store_id="s", seq_no=0, hash=NO_HASH.hex(), diary_number=0))
    assert problems(TOPICS.presence, receipt) != []
    assert problems("sg1/SITE/BOX/up/other", receipt) != []


def test_chain_begins_as_documented() -> None:
    """The hash before the first entry, and SHA-256 over the hash before and the entry's bytes."""
    assert bytes(32) == NO_HASH
    assert chain(NO_HASH, b"entry").hex() == hashlib.sha256(bytes(32) + b"entry").hexdigest()
