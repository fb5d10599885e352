"""Takes back what a wrong clock of the centre's made the boxes believe about the time."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, func, select

from admission.keys import SigningKey
from central.rights import keep_text, kept_text, next_revisions
from central.schema import boxes, lists
from sync.protocol import TimeRepair, encode_time_repair, time_topic

_FACT = "time_repair"


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """A repair as it is kept: its number, when it was made, and the least version of each site's lists after it."""

    number: int
    at_ms: int
    list_versions: dict[str, int]


def repair_time(connection: Connection, now_ms: int) -> Repair:
    """Record that it is `now_ms`, whatever was signed before; the lists and changes to come are told apart by number.

    Its number is a revision that no right has: everything that is told from now on goes beyond it.
    """
    (number,) = next_revisions(connection, 1)
    newest = select(lists.c.site_id, func.max(lists.c.version).label("version")).group_by(lists.c.site_id)
    versions = {row.site_id: row.version + 1 for row in connection.execute(newest)}
    repair = Repair(number=number, at_ms=now_ms, list_versions=versions)
    keep_text(connection, _FACT, msgspec.json.encode(repair).decode())
    return repair


def time_repairs(connection: Connection) -> list[TimeRepair]:
    """Return the word for each site that has boxes; none while the time was never repaired."""
    text = kept_text(connection, _FACT)
    if not text:
        return []
    repair = msgspec.json.decode(text, type=Repair)
    sites = connection.scalars(select(boxes.c.site_id).distinct().order_by(boxes.c.site_id))
    return [
        TimeRepair(
            site_id=site_id,
            number=repair.number,
            at_ms=repair.at_ms,
            list_version=repair.list_versions.get(site_id, 0),
        )
        for site_id in sites
    ]


def signed_repairs(connection: Connection, key: SigningKey) -> list[tuple[str, bytes]]:
    """Return the signed word for each site that has boxes, with its topic."""
    words = time_repairs(connection)
    return [(time_topic(word.site_id), encode_time_repair(word, key)) for word in words]
