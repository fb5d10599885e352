"""A policy, keys, and boxes that speak the real protocol, for the centre's tests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from zoneinfo import ZoneInfo

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, insert

from admission.events import (
    NO_HASH,
    Admitted,
    Closed,
    Entry,
    EpochOpened,
    LedgerEvent,
    Refusal,
    chain,
    encode,
)
from admission.keys import SigningKey, new_signing_key, public_key_text
from admission.policy import CreditLimits, FreeVisit, OfflineLimits, Policy, Scope, Site
from admission.reasons import Reason
from admission.tickets import Basis, Outcome, Risk
from central.authority import new_authority, utc_now
from central.keys import CentreKeys
from central.schema import boxes, products, tickets
from sync.protocol import Batch, BoxTopics, Stream, encode_batch

NOW_MS = 1_782_000_000_000
"""2026-06-21, morning at the sites."""

POLICY = Policy(
    version="test",
    timezone=ZoneInfo("Asia/Shanghai"),
    sites={
        "fairy": Site("fairy", "", "仙女山", "Fairy Mountain", state_owned=True, fare_fen=5000),
        "bridges": Site("bridges", "", "天生三桥", "Three Bridges", state_owned=True, fare_fen=9500),
    },
    free_visits=(
        FreeVisit(
            policy_id="first",
            groups=frozenset({"good"}),
            state_owned_only=True,
            scope=Scope.PER_SITE,
            first_day=date(2026, 1, 1),
            last_day=date(2026, 12, 31),
            quantity=1,
            clause="",
        ),
    ),
    subject_order=(Basis.FREE_VISIT, Basis.CREDIT_LINE),
    credit=CreditLimits(per_subject_fen=20_000, per_box_day_fen=100_000, max_list_age_s=3600),
    offline=OfflineLimits(unlisted_per_day=10, bootstrap_per_day=5),
    resume_within_s=30,
)


def signing_key(seed: str, *, demo: bool = False) -> SigningKey:
    """A key that is the same in every run."""
    return new_signing_key(Ed25519PrivateKey.from_private_bytes(seed.encode().ljust(32, b".")), demo=demo)


KEYS = CentreKeys(
    issuer=signing_key("issuer"),
    lists=signing_key("lists"),
    hash_key=b"h" * 32,
    authority=new_authority(utc_now()),
)


@dataclass(slots=True)
class Box:
    """A box's two streams, signed as a real one signs them."""

    box_id: str = "fairy-1"
    site_id: str = "fairy"
    key: SigningKey = field(default_factory=lambda: signing_key("box"))
    entries: list[bytes] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=lambda: [NO_HASH])

    @property
    def topics(self) -> BoxTopics:
        """Where it speaks."""
        return BoxTopics(self.site_id, self.box_id)

    @property
    def public_text(self) -> str:
        """What it is registered with."""
        return public_key_text(self.key.public)

    def append(self, event: LedgerEvent, at_ms: int = NOW_MS) -> int:
        """Add an entry to the ledger and return its number."""
        return self.append_raw(encode(Entry(len(self.entries) + 1, at_ms, event)))

    def append_raw(self, data: bytes) -> int:
        """Add the bytes of an entry to the ledger and return its number."""
        self.entries.append(data)
        self.hashes.append(chain(self.hashes[-1], data))
        return len(self.entries)

    def open_epoch(self, epoch: bytes = b"epoch-1", at_ms: int = NOW_MS) -> None:
        """Begin a process's life."""
        self.append(EpochOpened(self.box_id, self.site_id, epoch, b""), at_ms)

    def batch(self, first: int = 1, last: int | None = None) -> bytes:
        """The message with the ledger's entries from `first` to `last`."""
        batch = Batch(
            stream=Stream.LEDGER,
            box_id=self.box_id,
            first=first,
            previous_hash=self.hashes[first - 1],
            entries=self.entries[first - 1 : last],
        )
        return encode_batch(batch, self.key)

    def diary(self, refusals: Iterable[Refusal | bytes], first: int = 1) -> bytes:
        """A message of the diary."""
        entries = [entry if isinstance(entry, bytes) else encode(entry) for entry in refusals]
        batch = Batch(
            stream=Stream.DIARY, box_id=self.box_id, first=first, previous_hash=b"", entries=entries
        )
        return encode_batch(batch, self.key)


def admitted(
    number: int,
    key: bytes,
    basis: Basis = Basis.TICKET,
    *,
    scope: str = "",
    fare_fen: int = 0,
    lane_id: str = "lane-1",
    risk: Risk = Risk.NONE,
) -> Admitted:
    """An admission; those with the same number are the same one."""
    return Admitted(
        admission_id=admission_id(number),
        key=key,
        basis=basis,
        scope=scope,
        lane_id=lane_id,
        quantity=1,
        fare_fen=fare_fen,
        risk=risk,
        keep_until_s=0,
        list_version=7,
        policy_version="test",
    )


def admission_id(number: int) -> bytes:
    """The id of an admission of these tests."""
    return number.to_bytes(16)


def closed(number: int, outcome: Outcome) -> Closed:
    """How an admission ended."""
    return Closed(admission_id(number), outcome)


def refusal(number: int, reason: Reason = Reason.ALREADY_USED) -> Refusal:
    """A diary entry."""
    return Refusal(number, NOW_MS, "lane-1", reason, b"", "")


def register(connection: Connection, *registered: Box) -> None:
    """Make the centre know the boxes."""
    for box in registered:
        row = {"box_id": box.box_id, "site_id": box.site_id, "public_key": box.public_text, "revision": 1}
        connection.execute(insert(boxes), row)


def add_ticket(connection: Connection, key: bytes, quantity: int = 1, refunded: int = 0) -> None:
    """Make the centre know a ticket for both sites."""
    if connection.execute(products.select()).first() is None:
        product = {"code": "DAY", "name_zh": "日票", "name_en": "Day", "site_ids": "[]", "revision": 1}
        connection.execute(insert(products), product)
    row = {
        "key": key,
        "issuer": "",
        "product": "DAY",
        "quantity": quantity,
        "refunded": refunded,
        "valid_from_s": 0,
        "valid_until_s": NOW_MS // 1000 + 86400,
        "revision": 1,
    }
    connection.execute(insert(tickets), row)
