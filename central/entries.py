"""Reads raw rows at their places; ingest and fold must agree on what can be read and stored."""

from __future__ import annotations

import msgspec

from admission.events import Entry, EventError, Refusal, decode_entry, decode_refusal

MAX_NUMBER = (1 << 63) - 1
"""Larger numbers than this fit no column."""


def entry_at(data: bytes, seq_no: int) -> Entry:
    """Return the entry that `data` encodes; EventError when it is none or says it is another one than `seq_no`."""
    entry = decode_entry(data)
    if entry.seq_no != seq_no:
        raise EventError(f"entry {seq_no} says that it is {entry.seq_no}")
    _check_numbers(entry)
    _check_numbers(entry.event)
    return entry


def refusal_in(data: bytes) -> Refusal:
    """Return the refusal that `data` encodes; EventError when it is none."""
    refusal = decode_refusal(data)
    _check_numbers(refusal)
    return refusal


def _check_numbers(said: msgspec.Struct) -> None:
    for value in msgspec.structs.astuple(said):
        if type(value) is int and value >> 63:  # below zero, or too large
            raise EventError(f"the number {value} is out of range")
