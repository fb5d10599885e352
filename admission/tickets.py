"""Products, tickets, and how often a right was used: uses and closings are sets, every counter is derived.

A use spends a right when the gate admits; its closings say how it ended. Both may arrive in any order and from
anywhere (this box, a neighbour, the centre, a replay): the counters do not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from admission.terms import PLAIN, Terms


class Basis(IntEnum):
    """What an admission is founded on."""

    TICKET = 1
    FREE_VISIT = 2
    CREDIT_LINE = 3
    STATUTORY = 4
    CREDIT_ORDER = 5
    EXIT = 6
    REENTRY = 7
    OVERRIDE = 9


class Risk(IntEnum):
    """What was risked by admitting without the right's home."""

    NONE = 0
    UNLISTED = 1
    BOOTSTRAP = 2
    CREDIT = 3
    STAFF = 4


class Outcome(IntEnum):
    """How an admission ended."""

    PASSED = 1
    ABANDONED = 2
    TAILGATED = 3
    FORCED = 4
    UNKNOWN = 5
    RELEASED = 6


class TicketStatus(StrEnum):
    """What the order system says of a ticket, apart from refunds."""

    VALID = "valid"
    UNPAID = "unpaid"
    BLOCKED = "blocked"
    REVOKED = "revoked"


def read_status(word: str) -> TicketStatus:
    """Return the status; a word of a later release is BLOCKED, for staff to look up, not an error at the gate."""
    return _STATUSES.get(word, TicketStatus.BLOCKED)


_STATUSES = {status.value: status for status in TicketStatus}


@dataclass(frozen=True, slots=True)
class Product:
    """What is sold: a name for people, the sites where it admits, and its terms."""

    code: str
    name_zh: str
    name_en: str
    site_ids: frozenset[str]
    terms: Terms = PLAIN


@dataclass(frozen=True, slots=True)
class Ticket:
    """One ticket as the list has it; `used` counts the entries up to the list's watermarks.

    `counters` does the same beside the total, for what the product's terms count (see `counter_names`).
    """

    status: TicketStatus
    product: str
    quantity: int
    refunded: int
    used: int
    valid_from_s: int
    valid_until_s: int
    counters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Use:
    """An admission that spends a right: `quantity` of it, and `fare_fen` when it is on credit."""

    admission_id: bytes
    box_id: str
    seq_no: int
    basis: Basis
    scope: str
    lane_id: str
    quantity: int
    fare_fen: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Closing:
    """How an admission ended, as one box recorded it."""

    admission_id: bytes
    outcome: Outcome
    box_id: str
    seq_no: int
    at_ms: int


_WENT_THROUGH = frozenset((Outcome.PASSED, Outcome.TAILGATED, Outcome.FORCED))


def is_held(outcomes: Iterable[Outcome]) -> bool:
    """Return whether a use still counts after these closings, in whatever order they came.

    A passage outranks everything. An explicit release outranks `unknown`, and `unknown` outranks `abandoned`: what
    nobody observed from beginning to end gives nothing back.
    """
    ended = frozenset(outcomes)
    if ended & _WENT_THROUGH:
        return True
    if Outcome.RELEASED in ended:
        return False
    return Outcome.UNKNOWN in ended or Outcome.ABANDONED not in ended


@dataclass(frozen=True, slots=True)
class History:
    """The known uses of one key with their closings, and the watermarks up to which the list counted them."""

    uses: tuple[Use, ...] = ()
    closings: tuple[Closing, ...] = ()
    watermarks: Mapping[str, int] = field(default_factory=dict)
    _closings_of: dict[bytes, list[Closing]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """By the admission that they end: a pass of a year has hundreds of both."""

    def __post_init__(self) -> None:
        for closing in self.closings:
            self._closings_of.setdefault(closing.admission_id, []).append(closing)

    def held(self, basis: Basis, scope: str = "", *, since_ms: int = 0) -> int:
        """Return the quantity in use, whatever a list counted: for a right that no list has a counter for."""
        fitting = (
            use for use in self.uses if use.basis is basis and use.scope == scope and use.at_ms >= since_ms
        )
        return sum(use.quantity for use in fitting if is_held(self.outcomes(use)))

    def used_since_list(self, basis: Basis, scope: str = "") -> int:
        """Return the quantity to add to the list's counter; negative when a counted use was given back."""
        return self._since_list(basis, scope, lambda use: use.quantity)

    def fare_since_list_fen(self, basis: Basis, scope: str = "") -> int:
        """Return the fen to add to the list's outstanding amount; negative when a counted use was given back."""
        return self._since_list(basis, scope, lambda use: use.fare_fen)

    def entries_since_list(self, fits: Callable[[Use], bool]) -> int:
        """Return the entries on a ticket that fit, to add to the list's counter of just those."""
        return sum(
            use.quantity * (is_held(self.outcomes(use)) - self._counted(use))
            for use in self.uses
            if use.basis is Basis.TICKET and fits(use)
        )

    def is_held(self, use: Use) -> bool:
        """Return whether the use counts, as far as is known."""
        return is_held(self.outcomes(use))

    def last(self, *bases: Basis, until_ms: int) -> Use | None:
        """Return the newest use on one of `bases` that counts and is not from the future, or None."""
        fitting = (
            use
            for use in self.uses
            if use.basis in bases and use.at_ms <= until_ms and is_held(self.outcomes(use))
        )
        return max(fitting, key=lambda use: (use.at_ms, use.seq_no), default=None)

    def with_more(self, other: History) -> History:
        """Return the uses of both, under these watermarks."""
        return History(self.uses + other.uses, self.closings + other.closings, self.watermarks)

    def uncounted(self) -> History:
        """Return the same uses with none of them counted by a list: for a right that no list has counters for."""
        return History(self.uses, self.closings)

    def counted(self, basis: Basis, scope: str) -> int:
        """Return the quantity that `used_since_list` takes for counted: what a right without a counter has to add."""
        return self._counted_amount(basis, lambda use: use.quantity if use.scope == scope else 0)

    def counted_fare_fen(self, basis: Basis) -> int:
        """Return the fen that `fare_since_list_fen` takes for counted."""
        return self._counted_amount(basis, lambda use: use.fare_fen)

    def outcomes(self, use: Use) -> frozenset[Outcome]:
        """Return how the use ended, as far as is known."""
        return frozenset(c.outcome for c in self._closings_of.get(use.admission_id, ()))

    def _since_list(self, basis: Basis, scope: str, amount: Callable[[Use], int]) -> int:
        return sum(
            amount(use) * (is_held(self.outcomes(use)) - self._counted(use))
            for use in self.uses
            if use.basis is basis and use.scope == scope
        )

    def _counted_amount(self, basis: Basis, amount: Callable[[Use], int]) -> int:
        return sum(amount(use) for use in self.uses if use.basis is basis and self._counted(use))

    def _counted(self, use: Use) -> bool:
        """Return whether the list's counter includes the use."""
        if use.seq_no > self.watermarks.get(use.box_id, 0):
            return False
        known = self._closings_of.get(use.admission_id, ())
        return is_held(c.outcome for c in known if c.seq_no <= self.watermarks.get(c.box_id, 0))
