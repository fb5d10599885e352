"""What a product asks for and gives: times, counters, re-entry, services. Data, carried with the product's row.

The defaults are those of a plain ticket: each of its entries admits once, at any time of its validity.
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from admission import rules

NotNegative = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
MINUTES_PER_DAY = 24 * 60


class TermsError(ValueError):
    """The terms cannot be used; the text says what is wrong and where."""


class Late(StrEnum):
    """What becomes of a timed ticket that is late, until its hold ends."""

    ADMIT = "admit"
    REFER = "refer"


class Reentry(StrEnum):
    """Whether a holder may come back without spending another entry."""

    NONE = "none"
    SAME_DAY = "same_day"
    SAME_DAY_AFTER_EXIT = "same_day_after_exit"
    AFTER_EXIT = "after_exit"


class Days(msgspec.Struct, frozen=True, kw_only=True):
    """Local days from `first` to `last`, both inclusive."""

    first: dt.date
    last: dt.date

    def has(self, day: dt.date) -> bool:
        """Return whether `day` is one of them."""
        return self.first <= day <= self.last


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Local times of day: minutes from midnight, from `from_min` on and before `until_min`; 1 is Monday."""

    from_min: Annotated[int, msgspec.Meta(ge=0, lt=MINUTES_PER_DAY)] = 0
    until_min: Annotated[int, msgspec.Meta(ge=1, le=MINUTES_PER_DAY)] = MINUTES_PER_DAY
    weekdays: tuple[Annotated[int, msgspec.Meta(ge=1, le=7)], ...] = (1, 2, 3, 4, 5, 6, 7)

    def has(self, at: dt.datetime) -> bool:
        """Return whether the local time `at` lies inside."""
        minute = at.hour * 60 + at.minute
        return at.isoweekday() in self.weekdays and self.from_min <= minute < self.until_min


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What a member of staff has to look at before the holder may enter."""

    zh: str
    en: str


class Ages(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a concession is for: from `from_age` years on, and before `before_age` of them."""

    from_age: NotNegative = 0
    before_age: Positive | None = None

    def has(self, age: int) -> bool:
        """Return whether somebody of `age` years is meant."""
        return self.from_age <= age and (self.before_age is None or age < self.before_age)


class Terms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a product asks for beside a ticket's validity and quantity.

    A timed ticket admits from `early_grace_s` before its validity; `late_grace_s` after it still as if in time, and
    until `hold_s` after it by `late`: late is not void, and only then has nobody come. `per_day`, `per_site` and
    `per_site_day` count entries beside the total. `blackouts` are days on which it does not admit. `passback_s` is how
    long the same ticket does not admit again. `services` maps what lies behind a lane to the entries of one ticket
    there; empty: the site itself, as often as the ticket says. `rule` is an admission rule (see `rules`).
    `priority_lane`: its holders may use the priority lanes. `ages`: who is of that age by a document that a reader
    read needs no `proof`. `live`: its codes admit only from the phone that they are bound to (see `liveness`).
    `continuous`: at a barrier, one showing lets a group in, one person after the other. `vouched_by`: it is a voucher,
    and admits only while the merchant who gave it away is in one of these groups.
    """

    early_grace_s: NotNegative = 0
    late_grace_s: NotNegative = 0
    hold_s: NotNegative = 0
    late: Late = Late.ADMIT
    per_day: Positive | None = None
    per_site: Positive | None = None
    per_site_day: Positive | None = None
    blackouts: tuple[Days, ...] = ()
    windows: tuple[Window, ...] = ()
    passback_s: NotNegative = 0
    reentry: Reentry = Reentry.NONE
    unlimited: bool = False
    """Whether the quantity is no limit: the counters beside it are."""
    proof: Proof | None = None
    services: dict[str, Positive] = {}
    reserved: bool = True
    """Whether the visit was reserved: at red, reservations still enter."""
    rule: Any = None
    priority_lane: bool = False
    ages: Ages | None = None
    live: bool = False
    vouched_by: tuple[str, ...] = ()
    continuous: bool = False

    @property
    def counters(self) -> bool:
        """Whether entries are counted beside the total."""
        return bool(self.per_day or self.per_site or self.per_site_day or self.services)


PLAIN = Terms()


class _Strict(Terms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same, for whoever writes terms: what is not known here is a mistake there."""


def read_terms(data: str | bytes) -> Terms:
    """Return the terms as a box reads them: what a later release added is ignored. TermsError when they are none."""
    try:
        return msgspec.json.decode(data, type=Terms) if data else PLAIN
    except (msgspec.DecodeError, RecursionError) as error:
        raise TermsError(str(error)) from error


def check_terms(data: str | bytes) -> str:
    """Return the canonical text of terms that were written, empty for plain ones; TermsError names every mistake."""
    try:
        terms = msgspec.convert(msgspec.json.decode(data), _Strict)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise TermsError(str(error)) from error
    problems = [
        *(
            f"blackouts[{n}].last: lies before first"
            for n, days in enumerate(terms.blackouts)
            if days.last < days.first
        ),
        *(
            f"windows[{n}].until_min: is not after from_min"
            for n, w in enumerate(terms.windows)
            if w.until_min <= w.from_min
        ),
        *(f"rule: {problem}" for problem in rules.problems(terms.rule)),
        *_age_problems(terms),
        *_group_problems(terms),
    ]
    if problems:
        raise TermsError("; ".join(problems))
    text = msgspec.json.encode(terms).decode()
    return "" if text == "{}" else text


def _age_problems(terms: Terms) -> list[str]:
    ages = terms.ages
    if ages is None:
        return []
    problems = []
    if ages.before_age is not None and ages.before_age <= ages.from_age:
        problems.append("ages.before_age: is not after from_age")
    if terms.proof is None:
        problems.append("ages: need a proof, for whoever comes with a code alone")
    return problems


def _group_problems(terms: Terms) -> list[str]:
    if not terms.continuous:
        return []
    hindering = {
        "unlimited": terms.unlimited,
        "passback_s": terms.passback_s > 0,
        "reentry": terms.reentry is not Reentry.NONE,
    }
    return [
        f"continuous: nobody ends, or can follow, with {name}" for name, is_set in hindering.items() if is_set
    ]
