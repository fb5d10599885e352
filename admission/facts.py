"""What a decision is made from: everything known about one credential at one lane."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from admission.capacity import CapacityFacts
from admission.clearance import Clearance
from admission.codes import Credential, Rejected
from admission.entitlements import SubjectRights
from admission.holders import ShownBefore
from admission.tickets import History, Product, Ticket

ADMISSION = "admission"
"""The service that a lane gives entry to unless it is named otherwise: the site itself."""


class LaneClass(StrEnum):
    """Who a lane is for."""

    ORDINARY = "ordinary"
    PRIORITY = "priority"
    STAFFED = "staffed"


class Direction(StrEnum):
    """Which way a lane leads."""

    ENTRY = "entry"
    EXIT = "exit"


@dataclass(frozen=True, slots=True)
class LaneTraits:
    """What a lane is: who it is for, which way it leads, and the service behind it (the site, a shuttle, a lift)."""

    lane_class: LaneClass = LaneClass.ORDINARY
    direction: Direction = Direction.ENTRY
    service: str = ADMISSION


ORDINARY_ENTRY = LaneTraits()


@dataclass(frozen=True, slots=True)
class ListInfo:
    """The local list: its version, and the moments up to which it knows all tickets (UTC seconds).

    `as_of_s` is the full list's, counters included; `changes_as_of_s` is that of the changes applied to it since, which
    bring tickets but no counters, and 0 when there were none.
    """

    version: int
    as_of_s: int
    changes_as_of_s: int = 0

    @property
    def tickets_as_of_s(self) -> int:
        """The moment up to which all tickets are known, one way or the other."""
        return max(self.as_of_s, self.changes_as_of_s)

    def with_changes(self, as_of_s: int) -> ListInfo:
        """Return this list with all changes up to `as_of_s` laid over it."""
        return ListInfo(self.version, self.as_of_s, as_of_s)


@dataclass(frozen=True, slots=True)
class Exposure:
    """What this box has risked since the local day began."""

    unlisted: int = 0
    bootstrap: int = 0
    credit_fen: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about one credential at one lane; `current_list` is None when the box has no list at all.

    `box_id` is whose lane it is: neighbours may have lanes of the same name. None where no neighbours are heard.
    `is_key_withdrawn` says that the key which signed the credential is no longer trusted. `capacity` is None where the
    site has no limit. For a document, `subject_key` is whose it is, `born` what its number says, and `held` the facts
    of each ticket that was bought on it, by the ticket's key; empty and None for every other credential. `persons` is
    how many want to come in on it at once. `clearances` are what was found about the visitor, where the policy asks.
    `shown_before` is when the holder of a code that is bound to a phone last showed it here. `merchant` is what is
    known of the merchant whose voucher it is. `is_follower` says that somebody of the group went in a moment before.
    `is_time_sure`: otherwise it may be later than what is decided by.
    """

    site_id: str
    lane_id: str
    current_list: ListInfo | None
    product: Product | None = None
    ticket: Ticket | None = None
    subject: SubjectRights | None = None
    history: History = field(default_factory=History)
    exposure: Exposure = field(default_factory=Exposure)
    box_id: str | None = None
    is_key_withdrawn: bool = False
    lane: LaneTraits = ORDINARY_ENTRY
    capacity: CapacityFacts | None = None
    subject_key: bytes = b""
    born: date | None = field(default=None, repr=False)
    held: tuple[tuple[bytes, Facts], ...] = ()
    persons: int = 1
    clearances: tuple[Clearance, ...] = ()
    shown_before: ShownBefore | None = None
    merchant: SubjectRights | None = None
    is_follower: bool = False
    is_time_sure: bool = True

    def behind(self, key: bytes) -> Facts:
        """Return the facts of the right `key`: of one of the tickets held, or these."""
        for held_key, facts in self.held:
            if held_key == key:
                return facts
        return self


@dataclass(frozen=True, slots=True)
class Attempt:
    """A credential presented at a lane at `at_ms` (UTC), on the local day that began at `day_start_ms`.

    `persons` is how many want to come in on it at once. Clearances are looked up when `asks_clearance` says so.
    `monotonic_ms` is the same moment by the box's clock that nobody sets. `is_follower` and `is_time_sure`: see
    `Facts`.
    """

    credential: Credential | Rejected
    lane_id: str
    at_ms: int
    day_start_ms: int
    policy_version: str
    lane: LaneTraits = ORDINARY_ENTRY
    persons: int = 1
    asks_clearance: bool = False
    monotonic_ms: int = 0
    is_follower: bool = False
    is_time_sure: bool = True
