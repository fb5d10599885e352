"""Rights that follow from who a person or organisation is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Membership:
    """A subject's place in a trusted group, UTC seconds: from `from_s` on, before `until_s`."""

    group: str
    from_s: int
    until_s: int

    def covers(self, at_s: int) -> bool:
        """Return whether the membership holds at `at_s`."""
        return self.from_s <= at_s < self.until_s


@dataclass(frozen=True, slots=True)
class CreditLine:
    """Authorised credit of a subject; `outstanding_fen` counts the uses up to the list's watermarks.

    A line that gives nothing for a visit is suspended: it stays, with what is owed, until it is given something again.
    """

    limit_fen: int
    per_visit_fen: int
    outstanding_fen: int
    until_s: int

    @property
    def is_suspended(self) -> bool:
        """Whether nothing may be spent on it for now."""
        return self.per_visit_fen == 0


@dataclass(frozen=True, slots=True)
class CreditOrder:
    """A visit that was authorised before it: `quantity` entries at a site, or below a node of the site tree.

    Each costs `fare_fen`, to be paid once somebody went through; no visit, no charge. `used` counts the entries up to
    the list's watermarks. UTC seconds: from `from_s` on, before `until_s`.
    """

    order_id: str
    site_id: str
    fare_fen: int
    quantity: int
    used: int
    from_s: int
    until_s: int


@dataclass(frozen=True, slots=True)
class SubjectRights:
    """All that the list says of a subject.

    `free_visits_used` maps a counting scope (see `policy.FreeVisit.counting_scope`) to the uses counted there.
    """

    memberships: tuple[Membership, ...]
    free_visits_used: dict[str, int]
    credit_line: CreditLine | None
    credit_orders: tuple[CreditOrder, ...] = ()

    def groups(self, at_s: int) -> frozenset[str]:
        """Return the groups that the subject belongs to at `at_s`."""
        return frozenset(member.group for member in self.memberships if member.covers(at_s))
