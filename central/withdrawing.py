"""Takes the trust from an issuer's key, for good."""

from __future__ import annotations

from sqlalchemy import Connection

from central.rights import known_rows, merge
from central.schema import withdrawn_keys


def withdraw_key(connection: Connection, key_id: bytes, now_s: int) -> int:
    """Note that the key is withdrawn, unless it is already; return since when, UTC seconds.

    Tickets that it signed and that lists hold go on admitting; codes of it that no list knows are referred to staff.
    """
    records = [{"key_id": key_id, "withdrawn_s": now_s}]
    known = known_rows(connection, withdrawn_keys, records)
    merge(connection, withdrawn_keys, records, known, combine=lambda _, row: row)
    before = known.get((key_id,))
    return int(before["withdrawn_s"]) if before else now_s
