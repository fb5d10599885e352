"""Events: canonical bytes that later releases can still read, bound into a chain."""

from __future__ import annotations

import cbor2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admission.events import (
    HASH_BYTES,
    NO_HASH,
    Admitted,
    Closed,
    Entry,
    EpochOpened,
    EventError,
    Incident,
    LedgerEvent,
    Refusal,
    Resumed,
    chain,
    decode_entry,
    decode_refusal,
    encode,
)
from admission.reasons import Reason
from admission.tickets import Basis, Outcome, Risk

ID = bytes(range(16))
EVENTS: list[LedgerEvent] = [
    EpochOpened("box-1", "fairy", b"epoch-2", b"epoch-1"),
    Admitted(ID, ID[::-1], Basis.CREDIT_LINE, "", "lane-1", 1, 5000, Risk.CREDIT, 1_800_000_000, 7, "2026.1"),
    Resumed(ID, "lane-1"),
    Closed(ID, Outcome.PASSED),
    Incident("lane-1", Outcome.FORCED),
]
REFUSAL = Refusal(12, 1_777_608_000_000, "lane-1", Reason.ALREADY_USED, ID, "used at box-2")


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_a_ledger_event_survives_its_bytes(event: LedgerEvent) -> None:
    """Entry, type and fields come back."""
    entry = Entry(41, 1_777_608_000_000, event)
    assert decode_entry(encode(entry)) == entry


def test_an_admission_of_a_release_that_named_no_grant_is_read() -> None:
    """What was appended to the fields later has its default."""
    fields = [1, ID, ID[::-1], 2, "", "lane-1", 1, 5000, 3, 1_800_000_000, 7, "2026.1"]
    entry = decode_entry(cbor2.dumps([41, 1_777_608_000_000, fields], canonical=True))
    assert isinstance(entry.event, Admitted)
    assert (entry.event.policy_version, entry.event.granted_by) == ("2026.1", "")


def test_a_refusal_survives_its_bytes() -> None:
    """Also one without a credential."""
    for refusal in (REFUSAL, msgspec.structs.replace(REFUSAL, key=b"", detail="")):
        assert decode_refusal(encode(refusal)) == refusal


def test_the_bytes_are_those_that_are_documented() -> None:
    """An array of number, time and event; the event an array of its tag and fields. Changing this breaks chains."""
    assert cbor2.loads(encode(Entry(3, 1000, Closed(ID, Outcome.PASSED)))) == [3, 1000, [3, ID, 1]]
    assert encode(Entry(3, 1000, Closed(b"\x01", Outcome.UNKNOWN))).hex() == "83031903e883034101" + "05"


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_the_bytes_are_canonical(event: LedgerEvent) -> None:
    """The deterministic encoding is the only one that is written."""
    data = encode(Entry(41, 5, event))
    assert cbor2.dumps(cbor2.loads(data), canonical=True) == data


def test_fields_of_later_releases_are_ignored() -> None:
    """At the end of the entry, of the event and of the refusal."""
    entry = Entry(3, 1000, Closed(ID, Outcome.PASSED))
    assert decode_entry(cbor2.dumps([3, 1000, [3, ID, 1, "later"], {"later": True}])) == entry
    assert decode_refusal(cbor2.dumps([*cbor2.loads(encode(REFUSAL)), "later"])) == REFUSAL


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        cbor2.dumps(5),
        cbor2.dumps({"seq_no": 3}),
        cbor2.dumps([3, 1000]),
        cbor2.dumps([3, 1000, [99, ID]]),
        cbor2.dumps([3, 1000, [3, ID, 77]]),
        cbor2.dumps([3, 1000, [3, "text", 1]]),
        cbor2.dumps(["3", 1000, [3, ID, 1]]),
        encode(Entry(3, 1000, Closed(ID, Outcome.PASSED)))[:-1],
        b"\x81" * 100_000,
        b"\x9b" + b"\xff" * 8,
    ],
    ids=lambda data: data[:8].hex(),
)
def test_what_is_no_event_is_an_event_error(data: bytes) -> None:
    """Unknown types and outcomes included: whoever reads sets them aside."""
    for decode in (decode_entry, decode_refusal):
        with pytest.raises(EventError):
            decode(data)


@settings(max_examples=100)
@given(st.binary(max_size=80))
def test_any_bytes_are_an_event_or_an_event_error(data: bytes) -> None:
    """Nothing else is raised."""
    for decode in (decode_entry, decode_refusal):
        try:
            decode(data)
        except EventError:
            continue


def test_the_chain_depends_on_every_byte() -> None:
    """Of the entry and of all before it."""
    data = encode(Entry(3, 1000, Closed(ID, Outcome.PASSED)))
    hashes = {chain(NO_HASH, data), chain(NO_HASH, data + b"\x00"), chain(NO_HASH, data[:-1])}
    for at in range(len(data)):
        hashes.add(chain(NO_HASH, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]))
    for at in range(HASH_BYTES):
        hashes.add(chain(NO_HASH[:at] + b"\x01" + NO_HASH[at + 1 :], data))
    assert len(hashes) == 3 + len(data) + HASH_BYTES
    assert {len(hash_) for hash_ in hashes} == {HASH_BYTES}
