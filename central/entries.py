"""Reads raw rows at their places; ingest and fold must agree on what can be read and stored."""

from __future__ import annotations

from admission.events import Entry, EventError, decode_entry


def entry_at(data: bytes, seq_no: int) -> Entry:
    """Return the entry that `data` encodes; EventError when it is none or says it is another one than `seq_no`."""
    entry = decode_entry(data)
    if entry.seq_no != seq_no:
        raise EventError(f"entry {seq_no} says that it is {entry.seq_no}")
    return entry
