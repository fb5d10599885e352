"""What boxes, their neighbours and the centre say to each other: topics and messages. Pure; shared with the centre.

Batches travel as zlib-compressed signed envelopes, the list manifest and what neighbours say as signed envelopes,
everything else as JSON.
Readers ignore fields they do not know.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, TypeVar

import cbor2
import msgspec

from admission.capacity import CapacityLimits, Headcount, Share
from admission.changes import ListChanges
from admission.envelope import Context, KeyFinder, seal, unseal
from admission.events import StoredNumber
from admission.keys import SigningKey

ROOT = "sg1"
MAX_BATCH_BYTES = 4 << 20
"""A batch that unpacks to more is refused: no honest box makes one. The same holds for changes."""
CHANGES_PER_MESSAGE = 500
"""So many rows go into one message of changes: a box reads it without keeping a visitor waiting."""
LIST_FORMAT = 1
PACKED = ".z"
"""What the path of a packed list ends with."""
MAX_SEQ_NO = 1 << 62
SeqNo = Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ_NO)]


class ProtocolError(ValueError):
    """A message is not what its topic promises."""


class Stream(StrEnum):
    """The two streams a box sends up."""

    LEDGER = "ledger"
    DIARY = "diary"


class Side(StrEnum):
    """What a box says to its neighbours.

    New or wanted entries of its ledger, where that stands, what it asks for, and what it has heard of another box.
    """

    LEDGER = "ledger"
    HEAD = "head"
    ASK = "ask"
    HEARD = "heard"


@dataclass(frozen=True, slots=True)
class BoxTopics:
    """The topics of one box; access rules can be written from site and box alone."""

    site_id: str
    box_id: str

    def up(self, stream: Stream) -> str:
        """Return where the box publishes batches of `stream`."""
        return f"{ROOT}/{self.site_id}/{self.box_id}/up/{stream}"

    @property
    def presence(self) -> str:
        """Where the box keeps its retained presence."""
        return f"{ROOT}/{self.site_id}/{self.box_id}/up/presence"

    @property
    def receipt(self) -> str:
        """Where the centre confirms what it has committed."""
        return f"{ROOT}/{self.site_id}/{self.box_id}/down/receipt"

    @property
    def capacity(self) -> str:
        """Where the centre keeps the box's retained share of the capacity."""
        return f"{ROOT}/{self.site_id}/{self.box_id}/down/capacity"

    def side(self, side: Side) -> str:
        """Return where the box speaks to its neighbours."""
        return f"{ROOT}/{self.site_id}/{self.box_id}/side/{side}"

    @property
    def manifest(self) -> str:
        """Where the centre keeps the retained manifest of the site's newest list."""
        return manifest_topic(self.site_id)

    @property
    def changes(self) -> str:
        """Where the centre tells what has changed since."""
        return changes_topic(self.site_id)

    @property
    def boxes(self) -> str:
        """Where the centre keeps the retained word on which boxes the site has."""
        return boxes_topic(self.site_id)

    @property
    def time(self) -> str:
        """Where the centre keeps its retained word on what a wrong clock of its own has proved."""
        return time_topic(self.site_id)


ALL_BATCHES = tuple(f"{ROOT}/+/+/up/{stream}" for stream in Stream)
ALL_PRESENCE = f"{ROOT}/+/+/up/presence"


def manifest_topic(site_id: str) -> str:
    """Return where the centre keeps the retained manifest of the site's newest list."""
    return f"{ROOT}/{site_id}/down/list"


def changes_topic(site_id: str) -> str:
    """Return where the centre tells the site's boxes what has changed since."""
    return f"{ROOT}/{site_id}/down/changes"


def boxes_topic(site_id: str) -> str:
    """Return where the centre keeps the retained word on which boxes the site has."""
    return f"{ROOT}/{site_id}/down/boxes"


def time_topic(site_id: str) -> str:
    """Return where the centre keeps its retained word on what a wrong clock of its own has proved."""
    return f"{ROOT}/{site_id}/down/time"


def changes_path(site_id: str, since: int) -> str:
    """Return the path under which the centre answers with the changes after revision `since`, a page at a time."""
    return f"/v1/lists/{site_id}/changes?since={since}"


def list_etag(sha256: bytes) -> str:
    """Return the entity tag under which a list's file is served: of its content, so that a download can go on."""
    return f'"{sha256.hex()}"'


def box_of(topic: str) -> BoxTopics:
    """Return whose `up` topic this is; ProtocolError when it is none."""
    match topic.split("/"):
        case [root, site_id, box_id, "up", _] if root == ROOT:
            return BoxTopics(site_id, box_id)
    raise ProtocolError(f"{topic!r} is not an up topic")


def all_up(site_id: str, box_id: str) -> str:
    """Return the filter of everything that a box says to the centre."""
    return f"{ROOT}/{site_id}/{box_id}/up/#"


def all_down(site_id: str, box_id: str) -> str:
    """Return the filter of everything that the centre says to one box."""
    return f"{ROOT}/{site_id}/{box_id}/down/#"


def site_down(site_id: str) -> str:
    """Return the filter of everything that the centre says to all of the site's boxes."""
    return f"{ROOT}/{site_id}/down/#"


def all_sides(site_id: str) -> str:
    """Return the filter of everything that the site's boxes say to each other."""
    return f"{ROOT}/{site_id}/+/side/+"


def side_of(topic: str) -> tuple[str, Side]:
    """Return which box speaks on a `side` topic and of what; ProtocolError when it is none."""
    match topic.split("/"):
        case [root, _, box_id, "side", side] if root == ROOT and side in tuple(Side):
            return box_id, Side(side)
    raise ProtocolError(f"{topic!r} is not a side topic")


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive events of one stream as canonical bytes.

    Ledger: `first` is the first entry's number and `previous_hash` the chain's hash before it. Diary: `first` is the
    first number and `previous_hash` empty; numbers may have gaps, which are losses the box reports by leaving them out.
    """

    stream: Stream
    box_id: str
    first: int
    previous_hash: bytes
    entries: list[bytes]


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Where a box's ledger stands: its last entry's number and hash, and the epoch of the process that writes it.

    The box can still tell the entries after `floor`. `at_ms` is what time it is there, where that is sure.
    """

    box_id: str
    floor: SeqNo
    seq_no: SeqNo
    hash: bytes
    epoch: bytes
    at_ms: StoredNumber | None = None


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """The box asks its neighbour `of` for the entries after `after`.

    With `to`, it asks that neighbour what it has heard of them.
    """

    box_id: str
    of: str
    after: SeqNo
    to: str = ""


class HeardOf(msgspec.Struct, frozen=True, kw_only=True):
    """What the box has heard of the box `of`: its admissions and closings after `after`, as entries of their numbers.

    The answer to an Ask of `asker`. There are none that this box knows of between `after` and `until` but those; with
    `is_all` none behind it either. The entries are told again and not the ledger's very bytes: they prove nothing.
    """

    box_id: str
    of: str
    asker: str
    after: SeqNo
    until: SeqNo
    is_all: bool
    entries: list[bytes]


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What the centre's store holds of a box without a gap: the ledger up to `seq_no`, whose hash is `hash`.

    `store_id` changes when the store is another one; `diary_number` is the highest diary number received.
    """

    store_id: str
    seq_no: StoredNumber
    hash: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    diary_number: StoredNumber


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a box is connected; birth, heartbeat and last will of one session share its number."""

    session: str
    online: bool
    at_ms: int
    health: Health | None = None


class NeighbourHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How well a neighbour is heard: seconds since its last word (None: never), and how many entries are missing."""

    box_id: str
    silent_s: int | None
    behind: int


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What a box says of itself; `problems` are for people and empty when all is well.

    `site_link_up` is None where the box has no site broker.
    """

    list_version: int
    list_age_s: int
    backlog: int
    lanes: dict[str, str]
    problems: list[str]
    site_link_up: bool | None = None
    neighbours: list[NeighbourHealth] = []


class ListManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Names the newest full list of a site: where to fetch it and the one hash it must have.

    `path` is relative to the centre's address; `as_of_s` is the moment up to which the list knows all tickets, and
    `revision` that of the newest change it holds. The same file, packed with zlib to `packed_bytes`, is at
    `packed_path`, where that is not 0.
    """

    format: int
    site_id: str
    version: int
    as_of_s: int
    sha256: bytes
    size_bytes: int
    path: str
    revision: int = 0
    packed_bytes: StoredNumber = 0

    @property
    def packed_path(self) -> str:
        """Where the packed file is."""
        return f"{self.path}{PACKED}"


class SiteBox(msgspec.Struct, frozen=True, kw_only=True):
    """A box and its public key as ID:KEY. One that is barred is not believed any more; what it did stays true."""

    box_id: str
    key: str
    is_barred: bool = False


class SiteBoxes(msgspec.Struct, frozen=True, kw_only=True):
    """Which boxes a site has, by the centre at `as_of_ms`."""

    site_id: str
    as_of_ms: StoredNumber
    boxes: list[SiteBox]


class TimeRepair(msgspec.Struct, frozen=True, kw_only=True):
    """The centre takes back what it signed by a wrong clock: it was no later than `at_ms` when this was signed.

    The highest `number` counts, once. It is a revision, and is taken up with the first list that has reached it: that
    one is of the right time.
    """

    site_id: str
    number: StoredNumber
    at_ms: StoredNumber


class CapacityWord(msgspec.Struct, frozen=True, kw_only=True):
    """How full a site is by the centre's count, its limits, and the box's share of the room that is left."""

    site_id: str
    box_id: str
    limits: CapacityLimits
    count: Headcount
    share: Share


_T = TypeVar("_T")


def encode_batch(batch: Batch, key: SigningKey) -> bytes:
    """Return `batch` signed by the box and compressed."""
    return _pack(seal(_to_cbor(batch), key, Context.LEDGER))


def decode_batch(message: bytes, find_key: KeyFinder) -> Batch:
    """Return the batch in `message`; ProtocolError or EnvelopeError when it cannot be believed."""
    return _from_cbor(unseal(_unpack(message), find_key, Context.LEDGER).payload, Batch)


def encode_changes(changes: ListChanges, key: SigningKey) -> bytes:
    """Return `changes` signed by the centre's list key and compressed."""
    return _pack(seal(_to_cbor(changes), key, Context.LIST))


def decode_changes(message: bytes, find_key: KeyFinder) -> ListChanges:
    """Return the changes in `message`; ProtocolError or EnvelopeError when they cannot be believed."""
    return _from_cbor(unseal(_unpack(message), find_key, Context.LIST).payload, ListChanges)


def encode_manifest(manifest: ListManifest, key: SigningKey) -> bytes:
    """Return `manifest` signed by the centre's list key."""
    return seal(_to_cbor(manifest), key, Context.LIST)


def decode_manifest(message: bytes, find_key: KeyFinder) -> ListManifest:
    """Return the manifest in `message`; ProtocolError or EnvelopeError when it cannot be believed."""
    return _from_cbor(unseal(message, find_key, Context.LIST).payload, ListManifest)


def encode_capacity(word: CapacityWord, key: SigningKey) -> bytes:
    """Return `word` signed by the centre's list key."""
    return seal(_to_cbor(word), key, Context.CAPACITY)


def decode_capacity(message: bytes, find_key: KeyFinder) -> CapacityWord:
    """Return the word in `message`; ProtocolError or EnvelopeError when it cannot be believed."""
    return _from_cbor(unseal(message, find_key, Context.CAPACITY).payload, CapacityWord)


def encode_boxes(word: SiteBoxes, key: SigningKey) -> bytes:
    """Return `word` signed by the centre's list key."""
    return seal(_to_cbor(word), key, Context.BOXES)


def decode_boxes(message: bytes, find_key: KeyFinder) -> SiteBoxes:
    """Return the word in `message`; ProtocolError or EnvelopeError when it cannot be believed."""
    return _from_cbor(unseal(message, find_key, Context.BOXES).payload, SiteBoxes)


def encode_time_repair(word: TimeRepair, key: SigningKey) -> bytes:
    """Return `word` signed by the centre's list key."""
    return seal(_to_cbor(word), key, Context.TIME)


def decode_time_repair(message: bytes, find_key: KeyFinder) -> TimeRepair:
    """Return the word in `message`; ProtocolError or EnvelopeError when it cannot be believed."""
    return _from_cbor(unseal(message, find_key, Context.TIME).payload, TimeRepair)


def encode_side(message: Head | Ask | HeardOf, key: SigningKey) -> bytes:
    """Return `message` signed by the box for its neighbours."""
    return seal(_to_cbor(message), key, Context.SIDE)


def decode_head(message: bytes, find_key: KeyFinder) -> Head:
    """Return the head in `message`; ProtocolError or EnvelopeError when it cannot be believed."""
    return _from_cbor(unseal(message, find_key, Context.SIDE).payload, Head)


def decode_ask(message: bytes, find_key: KeyFinder) -> Ask:
    """Return the question in `message`; ProtocolError or EnvelopeError when it cannot be believed."""
    return _from_cbor(unseal(message, find_key, Context.SIDE).payload, Ask)


def decode_heard(message: bytes, find_key: KeyFinder) -> HeardOf:
    """Return what was heard as `message` tells it; ProtocolError or EnvelopeError when it cannot be believed."""
    return _from_cbor(unseal(message, find_key, Context.SIDE).payload, HeardOf)


def encode_json(message: Receipt | Presence) -> bytes:
    """Return `message` as JSON."""
    return msgspec.json.encode(message)


def decode_receipt(message: bytes) -> Receipt:
    """Return the receipt in `message`; ProtocolError when it is none."""
    return _from_json(message, Receipt)


def decode_presence(message: bytes) -> Presence:
    """Return the presence in `message`; ProtocolError when it is none."""
    return _from_json(message, Presence)


def _pack(envelope: bytes) -> bytes:
    return zlib.compress(envelope, level=1)


def _unpack(message: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        envelope = unpacker.decompress(message, MAX_BATCH_BYTES)
    except zlib.error as error:
        raise ProtocolError(f"the batch does not unpack: {error}") from error
    if not unpacker.eof:
        raise ProtocolError(f"the batch is cut short or larger than {MAX_BATCH_BYTES} bytes")
    return envelope


def _to_cbor(message: msgspec.Struct) -> bytes:
    return cbor2.dumps(msgspec.to_builtins(message, builtin_types=(bytes,)), canonical=True)


def _from_cbor(data: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.convert(cbor2.loads(data), kind, builtin_types=(bytes,))
    except (cbor2.CBORError, msgspec.ValidationError, RecursionError) as error:
        raise ProtocolError(f"not a {kind.__name__}: {error}") from error


def _from_json(data: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProtocolError(f"not a {kind.__name__}: {error}") from error
