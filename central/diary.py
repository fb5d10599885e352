"""The boxes' diaries: refusals, numbered on their own; what a box has dropped leaves a gap in the numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cbor2
import msgspec
from sqlalchemy import Connection, Row, func, select

from admission.events import MAX_NUMBER, EventError, decode_refusal
from central.ledger import aside
from central.schema import diary, set_aside
from central.sql import insert_new
from sync.protocol import Batch, Stream


def store_refusals(connection: Connection, box: Row[Any], batch: Batch) -> None:
    """Store the refusals of `batch` that are not stored yet; what cannot be read is set aside."""
    rows: list[dict[str, Any]] = []
    unread: list[dict[str, Any]] = []
    for number, data in _numbered(batch):
        try:
            said = msgspec.structs.asdict(decode_refusal(data))
            rows.append({**said, "box_id": box.box_id, "site_id": box.site_id, "number": number})
        except EventError as error:
            unread.append(aside(box.box_id, Stream.DIARY, number, data, error))
    insert_new(connection, diary, rows)
    insert_new(connection, set_aside, unread)


def diary_number(connection: Connection, box_id: str) -> int:
    """Return the highest diary number received of the box, whether it could be read or not."""
    read = select(func.max(diary.c.number)).where(diary.c.box_id == box_id)
    unread = select(func.max(set_aside.c.number)).where(
        set_aside.c.box_id == box_id, set_aside.c.stream == Stream.DIARY
    )
    return max(connection.scalar(read) or 0, connection.scalar(unread) or 0)


def _numbered(batch: Batch) -> Iterator[tuple[int, bytes]]:
    """Yield each entry with its number; one that does not tell gets the next, so that the box can go on."""
    number = batch.first - 1
    for data in batch.entries:
        number = max(number + 1, _stated_number(data))
        yield number, data


def _stated_number(data: bytes) -> int:
    """Return the number that a diary entry of any version begins with; 0 when there is none."""
    try:
        fields = cbor2.loads(data)
    except (cbor2.CBORError, RecursionError):
        return 0
    is_numbered = isinstance(fields, list) and fields and type(fields[0]) is int
    return fields[0] if is_numbered and 0 < fields[0] <= MAX_NUMBER >> 1 else 0
