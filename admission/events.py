"""What happened: immutable events, their canonical bytes, and the chain of hashes that binds them.

The ledger holds what must never be lost; each of its entries has the next number of its box, and its hash covers all
entries before it. The diary holds refusals; it is numbered on its own and may be dropped. Fields travel as arrays in
the order given here: later versions append, readers ignore what they do not know.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, TypeVar

import cbor2
import msgspec

from admission.reasons import Reason
from admission.staff import OverrideCode, Role
from admission.tickets import Basis, Outcome, Risk

MAX_NUMBER = (1 << 63) - 1
"""Larger numbers than this fit no column."""
StoredNumber = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
"""A count, price, time or version: none is below zero, and each fits the columns of both sides."""
HASH_BYTES = 32
NO_HASH = bytes(HASH_BYTES)
"""The hash before a box's first entry."""


class EventError(ValueError):
    """The bytes are not an event of a known form."""


class EpochOpened(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """A process of the box started; its number and the chain name the last entry that `previous_epoch` left."""

    box_id: str
    site_id: str
    epoch: bytes
    previous_epoch: bytes


class Admitted(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A visitor was let in: a use of `quantity` of the right `key`; `companions` came in beside."""

    admission_id: bytes
    key: bytes
    basis: Basis
    scope: str
    lane_id: str
    quantity: StoredNumber
    fare_fen: StoredNumber
    risk: Risk
    keep_until_s: StoredNumber
    list_version: StoredNumber
    policy_version: str
    granted_by: str = ""
    """The policy's entry that gave the right, where one did."""
    companions: StoredNumber = 0


class Resumed(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """An admission that was interrupted went on at the same lane; nothing was spent again."""

    admission_id: bytes
    lane_id: str


class Closed(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """How an admission ended."""

    admission_id: bytes
    outcome: Outcome


class Incident(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Someone went through a lane, or made it open, with no admission behind it."""

    lane_id: str
    what: Outcome


class Overridden(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The admission just before was a member of staff's decision on the refusal with the number `refused_record`."""

    admission_id: bytes
    refused_record: str
    staff_id: str
    role: Role
    code: OverrideCode


class ShareTaken(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """From here on the box lets in by its share of the capacity with this number, and by no other.

    It says what it was given, for a centre that does not know it any more; `day_start_ms` is 0 where it did not.
    """

    number: StoredNumber
    inside: StoredNumber = 0
    today: StoredNumber = 0
    after_seq_no: StoredNumber = 0
    day_start_ms: StoredNumber = 0
    next_inside: StoredNumber = 0
    next_today: StoredNumber = 0


class ClockNoted(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """From here on the entries' times are by a clock that says this entry's when the kernel's says `monotonic_ms`.

    `is_sure`: as far as the box can tell it is right. It was no earlier than `least_ms`, by the centre's signed words.
    """

    monotonic_ms: StoredNumber
    is_sure: bool
    least_ms: StoredNumber


_T = TypeVar("_T")
LedgerEvent = EpochOpened | Admitted | Resumed | Closed | Incident | Overridden | ShareTaken | ClockNoted


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A ledger event with its number in the box's life and its wall time, UTC milliseconds."""

    seq_no: StoredNumber
    at_ms: StoredNumber
    event: LedgerEvent


class Refusal(msgspec.Struct, frozen=True, array_like=True):
    """A diary event: a visitor was referred or denied; `key` is empty when there was no credential."""

    number: StoredNumber
    at_ms: StoredNumber
    lane_id: str
    reason: Reason
    key: bytes
    detail: str


def encode(record: Entry | Refusal) -> bytes:
    """Return the canonical bytes of `record`: deterministic CBOR (RFC 8949 §4.2)."""
    return cbor2.dumps(msgspec.to_builtins(record, builtin_types=(bytes,)), canonical=True)


def decode_entry(data: bytes) -> Entry:
    """Return the ledger entry that `data` encodes; EventError when it is none."""
    return _convert(data, Entry)


def decode_refusal(data: bytes) -> Refusal:
    """Return the diary event that `data` encodes; EventError when it is none."""
    return _convert(data, Refusal)


def chain(previous_hash: bytes, entry: bytes) -> bytes:
    """Return the hash of the canonical bytes `entry` that follow an entry with `previous_hash`."""
    return hashlib.sha256(previous_hash + entry).digest()


def _convert(data: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.convert(cbor2.loads(data), kind, builtin_types=(bytes,))
    except (cbor2.CBORError, msgspec.ValidationError, RecursionError) as error:
        raise EventError(f"not a {kind.__name__}: {error}") from error
