"""What the operator and the authority chose: sites, free visits, limits. Data, not code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import assert_never

from admission.capacity import CapacityLimits
from admission.clearance import ClearanceRule
from admission.terms import Ages, Proof
from admission.tickets import Basis, Product


class Scope(StrEnum):
    """Over what a free visit is counted."""

    PER_SITE = "per_site"
    DISTRICT = "district"


@dataclass(frozen=True, slots=True)
class Site:
    """A place with gates; `fare_fen` is what one admission costs on credit."""

    site_id: str
    parent_id: str
    name_zh: str
    name_en: str
    state_owned: bool
    fare_fen: int


class Period(StrEnum):
    """How long a free visit counts before the count begins anew; the sites' local calendar decides."""

    WINDOW = "window"
    YEAR = "year"
    MONTH = "month"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Days:
    """Local days from `first` to `last`, both inclusive."""

    first: date
    last: date

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last


@dataclass(frozen=True, slots=True)
class FreeVisit:
    """Free admissions for members of trusted groups; the window's days are the site's local dates, inclusive.

    `sites` names sites, or nodes of the site tree with all that is below them; empty means every site. `proofs` are
    what a member of staff has to look at before the visit is free. Each visit brings in so many `companions`.
    """

    policy_id: str
    groups: frozenset[str]
    state_owned_only: bool
    scope: Scope
    first_day: date
    last_day: date
    quantity: int
    clause: str
    sites: frozenset[str] = frozenset()
    blackouts: tuple[Days, ...] = ()
    per: Period = Period.WINDOW
    proofs: tuple[Proof, ...] = ()
    companions: int = 0

    def visits(self, persons: int) -> int:
        """Return how many visits bring in so many persons, companions included."""
        return -(-persons // (1 + self.companions))

    def applies(self, site: Site, day: date, above: frozenset[str] = frozenset()) -> bool:
        """Return whether the policy gives anything on the local date `day` at `site`, which lies below `above`."""
        if self.state_owned_only and not site.state_owned:
            return False
        is_in_window = self.first_day <= day <= self.last_day
        return is_in_window and _covers(self.sites, site, above) and not any(day in b for b in self.blackouts)

    def counting_scope(self, site: Site, day: date) -> str:
        """Return the name under which uses are counted together: the policy, the place, and the period if any."""
        place = site.site_id if self.scope is Scope.PER_SITE else "*"
        return f"{self.policy_id}@{place}{self._period(day)}"

    def _period(self, day: date) -> str:
        match self.per:
            case Period.WINDOW:
                return ""
            case Period.YEAR:
                return f"#{day:%Y}"
            case Period.MONTH:
                return f"#{day:%Y-%m}"
            case Period.DAY:
                return f"#{day:%Y-%m-%d}"
            case _:
                assert_never(self.per)


def _covers(sites: frozenset[str], site: Site, above: frozenset[str]) -> bool:
    return not sites or bool(sites & {site.site_id, *above})


@dataclass(frozen=True, slots=True)
class Benefit:
    """What members of trusted groups have beside free visits; sites and days as in `FreeVisit`.

    A grade of credit, a class of bank card, or a merchant's standing is a group with an end: the benefit ends with it.
    """

    benefit_id: str
    groups: frozenset[str]
    first_day: date
    last_day: date
    clause: str
    sites: frozenset[str] = frozenset()
    priority_lane: bool = False
    discount_percent: int = 0

    def applies(self, site: Site, day: date, above: frozenset[str] = frozenset()) -> bool:
        """Return whether it holds on the local date `day` at `site`, which lies below `above`."""
        return self.first_day <= day <= self.last_day and _covers(self.sites, site, above)


@dataclass(frozen=True, slots=True)
class AgeVisit:
    """Free admission by age, read from a document; sites and days as in `FreeVisit`.

    `per_day` is how often on one local day; None for no such limit.
    """

    rule_id: str
    ages: Ages
    first_day: date
    last_day: date
    clause: str
    sites: frozenset[str] = frozenset()
    state_owned_only: bool = False
    per_day: int | None = None

    def applies(self, site: Site, day: date, above: frozenset[str] = frozenset()) -> bool:
        """Return whether it holds on the local date `day` at `site`, which lies below `above`."""
        if self.state_owned_only and not site.state_owned:
            return False
        return self.first_day <= day <= self.last_day and _covers(self.sites, site, above)


@dataclass(frozen=True, slots=True)
class CreditLimits:
    """What may be risked on credit while its home, the centre, is not asked.

    `visits_per_day` is how often a subject may use its line on one local day; None for no such limit.
    """

    per_subject_fen: int
    per_box_day_fen: int
    max_list_age_s: int
    visits_per_day: int | None = None


@dataclass(frozen=True, slots=True)
class OfflineLimits:
    """What may be risked per box and day on signed tickets that the list does not know."""

    unlisted_per_day: int
    bootstrap_per_day: int


@dataclass(frozen=True, slots=True)
class LiveCodes:
    """What a code that is bound to its holder's phone has to show.

    `within_s`: how far the phone's time may be from the box's. `max_drift_s`: how far when the phone proves itself with
    two codes. `renewed_s`: how often phones make a new one. `credit`: whether credit codes have to be bound to one.
    """

    within_s: int = 30
    max_drift_s: int = 600
    renewed_s: int = 3
    credit: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything a decision depends on beside the credential and the facts."""

    version: str
    timezone: tzinfo
    sites: Mapping[str, Site]
    free_visits: tuple[FreeVisit, ...]
    subject_order: tuple[Basis, ...]
    credit: CreditLimits
    offline: OfflineLimits
    resume_within_s: int
    override_within_s: int = 120
    benefits: tuple[Benefit, ...] = ()
    age_visits: tuple[AgeVisit, ...] = ()
    products: tuple[Product, ...] = ()
    clearances: tuple[ClearanceRule, ...] = ()
    """Empty: clearance is off, and nothing about it is asked or kept."""
    live_codes: LiveCodes = LiveCodes()
    capacities: Mapping[str, CapacityLimits] = field(default_factory=dict)
    """The approved capacity of each site that has one."""
    document: str = field(default="", repr=False, compare=False)
    """The text that says all this, as it is sent to boxes; empty where it was made otherwise."""

    def above(self, site: Site) -> frozenset[str]:
        """Return the ids of the sites that `site` belongs to, at any distance."""
        found: set[str] = set()
        here: Site | None = site
        while here is not None and here.parent_id and here.parent_id not in found:
            found.add(here.parent_id)
            here = self.sites.get(here.parent_id)
        return frozenset(found)

    def local_date(self, at_ms: int) -> date:
        """Return the sites' calendar day at `at_ms`."""
        return self._local(at_ms).date()

    def day_start_ms(self, at_ms: int) -> int:
        """Return when the sites' calendar day of `at_ms` began, UTC milliseconds."""
        midnight = datetime.combine(self.local_date(at_ms), datetime.min.time(), self.timezone)
        return int(midnight.timestamp() * 1000)

    def day_end_s(self, day: date) -> int:
        """Return when the local date `day` is over, UTC seconds."""
        midnight = datetime.combine(day + timedelta(days=1), datetime.min.time(), self.timezone)
        return int(midnight.timestamp())

    def _local(self, at_ms: int) -> datetime:
        return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(self.timezone)
