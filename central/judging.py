"""Which uses went beyond a right, and what that cost. Pure: the same uses in any order give the same answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import assert_never

from admission.facts import ADMISSION
from admission.policy import Policy
from admission.terms import PLAIN, Terms
from admission.tickets import Basis, Outcome, is_held

CHARGED_OUTCOMES = frozenset((Outcome.PASSED, Outcome.TAILGATED))
"""Someone went through; scanned, opened or timed out never costs anyone money."""


class ConflictKind(StrEnum):
    """What a use in excess went beyond."""

    TICKET_OVERUSED = "ticket_overused"
    USED_AND_REFUNDED = "used_and_refunded"
    FREE_VISIT_OVERUSED = "free_visit_overused"
    CREDIT_EXCEEDED = "credit_exceeded"


SPENDING = frozenset((Basis.TICKET, Basis.FREE_VISIT, Basis.CREDIT_ORDER, Basis.CREDIT_LINE))
"""What a use must be on to go beyond a right, or to be paid for."""


@dataclass(frozen=True, slots=True)
class FoldedUse:
    """A use as the centre knows it; `closed` says how it ended and when, UTC milliseconds."""

    admission_id: bytes
    key: bytes
    basis: Basis
    scope: str
    site_id: str
    quantity: int
    fare_fen: int
    at_ms: int
    closed: tuple[tuple[Outcome, int], ...]

    @property
    def is_held(self) -> bool:
        """Whether it still counts."""
        return is_held(outcome for outcome, _ in self.closed)

    @property
    def passed_ms(self) -> int | None:
        """When someone first went through, if anyone did."""
        return min((at_ms for outcome, at_ms in self.closed if outcome in CHARGED_OUTCOMES), default=None)


@dataclass(frozen=True, slots=True)
class Right:
    """What one key may use: a ticket's quantity and refunds, a credit line's limit; None where there is none.

    `terms` are those of the ticket's product, `orders` the entries of each credit order.
    """

    quantity: int | None = None
    refunded: int = 0
    limit_fen: int | None = None
    terms: Terms = PLAIN
    orders: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conflict:
    """A use in excess; `first_admission_id` is the one that stands before it, empty when none does."""

    admission_id: bytes
    key: bytes
    kind: ConflictKind
    first_admission_id: bytes
    cost_fen: int


def conflicts_of(uses: Iterable[FoldedUse], right: Right, policy: Policy) -> Iterator[Conflict]:
    """Yield the uses of one key that went beyond `right`."""
    held = sorted((use for use in uses if use.is_held), key=lambda use: (use.basis, use.scope))
    for (basis, scope), group in groupby(held, key=lambda use: (use.basis, use.scope)):
        ranked = sorted(group, key=_rank)
        match basis:
            case Basis.TICKET:
                yield from _ticket_conflicts(ranked, right, policy)
            case Basis.FREE_VISIT:
                allowed = _free_visits(policy, scope)
                for use, first in _excess(ranked, allowed, _quantity):
                    yield _conflict(use, first, ConflictKind.FREE_VISIT_OVERUSED, _site_cost(use, policy))
            case Basis.CREDIT_ORDER:
                for use, first in _excess(ranked, right.orders.get(scope, 0), _quantity):
                    yield _conflict(use, first, ConflictKind.CREDIT_EXCEEDED, use.fare_fen)
            case Basis.CREDIT_LINE:
                for use, first in _excess(ranked, right.limit_fen or 0, _fare):
                    yield _conflict(use, first, ConflictKind.CREDIT_EXCEEDED, use.fare_fen)
            case Basis.OVERRIDE | Basis.STATUTORY | Basis.EXIT | Basis.REENTRY:
                pass  # spends no right: reported as what it is, not as a use in excess
            case _:
                assert_never(basis)


def is_charged(use: FoldedUse) -> bool:
    """Return whether the use is to be paid for later: on credit, and someone went through."""
    return use.basis in (Basis.CREDIT_LINE, Basis.CREDIT_ORDER) and use.passed_ms is not None


def _rank(use: FoldedUse) -> tuple[bool, int, bytes]:
    """Order uses by who was first through; one that nobody was seen to finish comes last."""
    passed_ms = use.passed_ms
    return passed_ms is None, use.at_ms if passed_ms is None else passed_ms, use.admission_id


def _ticket_conflicts(ranked: list[FoldedUse], right: Right, policy: Policy) -> Iterator[Conflict]:
    # A signed ticket that the centre has not been told of yet is good for one entry, as at the gate.
    terms, scope = right.terms, ranked[0].scope
    if terms.unlimited:
        return
    each = terms.services.get(scope or ADMISSION, 1)
    sold = 1 if right.quantity is None else right.quantity
    overused = {use.admission_id for use, _ in _excess(ranked, sold * each, _quantity)}
    for use, first in _excess(ranked, (sold - right.refunded) * each, _quantity):
        is_overused = use.admission_id in overused
        kind = ConflictKind.TICKET_OVERUSED if is_overused else ConflictKind.USED_AND_REFUNDED
        yield _conflict(use, first, kind, _site_cost(use, policy))


def _excess(
    ranked: list[FoldedUse], allowed: int, amount: Callable[[FoldedUse], int]
) -> Iterator[tuple[FoldedUse, FoldedUse | None]]:
    """Yield the uses that do not fit into `allowed` any more, each with the first use of all if that fitted."""
    taken = 0
    first: FoldedUse | None = None
    for use in ranked:
        if taken + amount(use) > allowed:
            yield use, first
        else:
            taken += amount(use)
            first = first or use


def _quantity(use: FoldedUse) -> int:
    return use.quantity


def _fare(use: FoldedUse) -> int:
    return use.fare_fen


def _free_visits(policy: Policy, scope: str) -> int:
    """Return how many free visits the policy gives in a scope; one whose policy is unknown here gives none."""
    policy_id = scope.rpartition("@")[0]
    return next((free.quantity for free in policy.free_visits if free.policy_id == policy_id), 0)


def _site_cost(use: FoldedUse, policy: Policy) -> int:
    """Return what the use would have cost at its site's fare."""
    site = policy.sites.get(use.site_id)
    return site.fare_fen * use.quantity if site else 0


def _conflict(use: FoldedUse, first: FoldedUse | None, kind: ConflictKind, cost_fen: int) -> Conflict:
    return Conflict(use.admission_id, use.key, kind, first.admission_id if first else b"", cost_fen)
