"""Introduces the boxes of a site to each other: whom to believe, and who was there before."""

from __future__ import annotations

from itertools import groupby

from sqlalchemy import Connection, select

from admission.keys import SigningKey
from central.schema import boxes
from sync.protocol import SiteBox, SiteBoxes, boxes_topic, encode_boxes


def introductions(connection: Connection, key: SigningKey, now_ms: int) -> list[tuple[str, bytes]]:
    """Return the signed word for each site that has boxes, with its topic."""
    words = site_boxes(connection, now_ms)
    return [(boxes_topic(word.site_id), encode_boxes(word, key)) for word in words]


def site_boxes(connection: Connection, now_ms: int) -> list[SiteBoxes]:
    """Return the word for each site that has boxes."""
    rows = connection.execute(select(boxes).order_by(boxes.c.site_id, boxes.c.box_id))
    return [
        SiteBoxes(
            site_id=site_id,
            as_of_ms=now_ms,
            boxes=[
                SiteBox(box_id=row.box_id, key=row.public_key, is_barred=row.barred_s is not None)
                for row in found
            ],
        )
        for site_id, found in groupby(rows, lambda row: row.site_id)
    ]
