"""Takes back what a wrong clock of the centre's made the boxes believe about the time."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, select

from admission.keys import SigningKey
from central.rights import keep_text, kept_text, next_revisions
from central.schema import boxes
from sync.protocol import TimeRepair, encode_time_repair, time_topic

_FACT = "time_repair"


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """A repair as it is kept: its number, and when it was made."""

    number: int
    at_ms: int


def repair_time(connection: Connection, now_ms: int) -> Repair:
    """Record that it is `now_ms`, whatever was signed before.

    Its number is a revision that no right has: what is built and told by the right clock has reached it.
    """
    (number,) = next_revisions(connection, 1)
    repair = Repair(number=number, at_ms=now_ms)
    keep_text(connection, _FACT, msgspec.json.encode(repair).decode())
    return repair


def last_repair(connection: Connection) -> Repair | None:
    """Return the repair that holds, None while the time was never repaired."""
    text = kept_text(connection, _FACT)
    return msgspec.json.decode(text, type=Repair) if text else None


def time_repairs(connection: Connection) -> list[TimeRepair]:
    """Return the word for each site that has boxes; none while the time was never repaired."""
    repair = last_repair(connection)
    if repair is None:
        return []
    sites = connection.scalars(select(boxes.c.site_id).distinct().order_by(boxes.c.site_id))
    return [TimeRepair(site_id=site_id, number=repair.number, at_ms=repair.at_ms) for site_id in sites]


def signed_repairs(connection: Connection, key: SigningKey) -> list[tuple[str, bytes]]:
    """Return the signed word for each site that has boxes, with its topic."""
    words = time_repairs(connection)
    return [(time_topic(word.site_id), encode_time_repair(word, key)) for word in words]
