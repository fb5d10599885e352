"""Takes in what the boxes send: believes it only when signed, stores it raw, answers with what is stored.

Duplicates change nothing and a gap stores nothing; either is answered with the receipt that says where to go on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, assert_never

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, update

from admission.envelope import EnvelopeError
from admission.events import MAX_NUMBER
from admission.keys import read_public_key
from central.diary import diary_number, store_refusals
from central.ledger import ForkError, head_of, store_entries
from central.reconcile import FORK
from central.schema import boxes, forks, incidents, presence, rejections, store_facts
from central.sql import insert_new
from sync.protocol import (
    BoxTopics,
    ProtocolError,
    Receipt,
    Stream,
    box_of,
    decode_batch,
    decode_presence,
    encode_json,
)


@dataclass(frozen=True, slots=True)
class Reply:
    """A message for a box."""

    topic: str
    payload: bytes


class UnknownBoxError(ValueError):
    """The topic's box is not registered at the topic's site."""


def ingest(connection: Connection, topic: str, message: bytes, now_ms: int) -> Reply | None:
    """Store what `message` says and return the answer for its box, as `ingest_all` does."""
    return next(iter(ingest_all(connection, [(topic, message)], now_ms)), None)


def ingest_all(connection: Connection, messages: Iterable[tuple[str, bytes]], now_ms: int) -> list[Reply]:
    """Store what the messages say, in their order, and return one answer for each of their boxes.

    They are to be sent after COMMIT. A message that cannot be believed is counted where people see it, and not
    answered.
    """
    told = [_ingest(connection, topic, message, now_ms) for topic, message in messages]
    heard = {topics.box_id: topics for topics in told if topics is not None}
    return [
        Reply(topics.receipt, encode_json(receipt(connection, box_id))) for box_id, topics in heard.items()
    ]


def _ingest(connection: Connection, topic: str, message: bytes, now_ms: int) -> BoxTopics | None:
    """Store what `message` says; return who is to be answered, if anybody is."""
    try:
        topics = box_of(topic)
        box = _registered(connection, topics)
        if topic == topics.presence:
            is_listening = _store_presence(connection, box, message, now_ms)
        else:
            is_listening = True
            _store_batch(connection, box, topic, message, now_ms)
    except (ProtocolError, EnvelopeError, UnknownBoxError) as error:
        _count_rejection(connection, topic, error, now_ms)
        return None
    return topics if is_listening else None


def receipt(connection: Connection, box_id: str) -> Receipt:
    """Return what the store holds of the box without a gap."""
    head = head_of(connection, box_id)
    store_id = select(store_facts.c.value).where(store_facts.c.name == "store_id")
    return Receipt(
        store_id=connection.execute(store_id).scalar_one(),
        seq_no=head.seq_no,
        hash=head.hash.hex(),
        diary_number=diary_number(connection, box_id),
    )


def _registered(connection: Connection, topics: BoxTopics) -> Row[Any]:
    box = connection.execute(select(boxes).where(boxes.c.box_id == topics.box_id)).first()
    if box is None or box.site_id != topics.site_id:
        raise UnknownBoxError(f"box {topics.box_id} is not registered at site {topics.site_id}")
    return box


def _store_batch(connection: Connection, box: Row[Any], topic: str, message: bytes, now_ms: int) -> None:
    trusted = read_public_key(box.public_key)
    batch = decode_batch(message, lambda key_id: trusted.key if key_id == trusted.key_id else None)
    if batch.box_id != box.box_id or topic != BoxTopics(box.site_id, box.box_id).up(batch.stream):
        raise ProtocolError(f"a {batch.stream} batch of box {batch.box_id}")
    if not 1 <= batch.first <= MAX_NUMBER >> 1:
        raise ProtocolError(f"a batch that begins with {batch.first}")
    match batch.stream:
        case Stream.LEDGER:
            try:
                store_entries(connection, box, batch, now_ms)
            except ForkError as fork:
                _store_fork(connection, box.box_id, fork.seq_no, message, now_ms)
        case Stream.DIARY:
            store_refusals(connection, box, batch)
        case _:
            assert_never(batch.stream)


def _store_fork(connection: Connection, box_id: str, seq_no: int, message: bytes, now_ms: int) -> None:
    """Keep the message that tells another history, once however often it is sent, and report it."""
    digest = sha256(message).digest()
    fork = {"box_id": box_id, "digest": digest, "seq_no": seq_no, "received_ms": now_ms, "message": message}
    insert_new(connection, forks, [fork])
    incident = {"box_id": box_id, "seq_no": seq_no, "kind": FORK, "lane_id": "", "at_ms": now_ms}
    insert_new(connection, incidents, [incident])


def _store_presence(connection: Connection, box: Row[Any], message: bytes, now_ms: int) -> bool:
    """Keep the box's last word about itself and return whether it is online."""
    said = decode_presence(message)
    if not 0 <= said.at_ms <= MAX_NUMBER:
        raise ProtocolError("a presence from no time at all")
    connection.execute(delete(presence).where(presence.c.box_id == box.box_id))
    row = {
        "session": said.session,
        "online": said.online,
        "at_ms": said.at_ms,
        "health": msgspec.json.encode(said.health).decode(),
    }
    connection.execute(insert(presence), {"box_id": box.box_id, "received_ms": now_ms, **row})
    return said.online


def _count_rejection(connection: Connection, topic: str, error: Exception, now_ms: int) -> None:
    name = {"topic": topic[:255], "problem": type(error).__name__}
    insert_new(connection, rejections, [{**name, "detail": "", "count": 0, "last_ms": now_ms}])
    this = (rejections.c.topic == name["topic"], rejections.c.problem == name["problem"])
    values = {"count": rejections.c.count + 1, "detail": str(error), "last_ms": now_ms}
    connection.execute(update(rejections).where(*this).values(values))
