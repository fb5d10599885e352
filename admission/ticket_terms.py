"""What the terms of a product refuse, and when they would admit. Each check answers None when it has no objection."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from admission import rules
from admission.answers import Decision
from admission.documents import age_on
from admission.facts import ADMISSION, Facts
from admission.jsonlogic import RuleError
from admission.policy import Policy
from admission.reasons import Reason
from admission.rules import RuleFacts
from admission.terms import Late, Reentry, Terms
from admission.tickets import Basis, Use

DAYS_AHEAD = 400
"""So far ahead the next day that admits is looked for: longer than any ticket is valid."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A ticket that asks for entry at a moment: its terms and validity, the facts, and the policy's calendar."""

    terms: Terms
    valid_from_s: int
    valid_until_s: int
    facts: Facts
    policy: Policy
    now_ms: int
    is_proven: bool = False
    """Whether a member of staff has looked at whatever proof the terms ask for."""

    @property
    def held_until_s(self) -> int:
        """When the ticket is over, grace and hold included."""
        return self.valid_until_s + max(self.terms.late_grace_s, self.terms.hold_s)

    @property
    def timezone(self) -> tzinfo:
        """The sites' time zone."""
        return self.policy.timezone

    def local(self, at_ms: int) -> datetime:
        """Return the sites' local time at `at_ms`."""
        return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(self.timezone)

    def entries(self) -> list[Use]:
        """Return the known entries that count, oldest first."""
        history = self.facts.history
        found = [use for use in history.uses if use.basis in ENTRIES and history.is_held(use)]
        return sorted(found, key=lambda use: (use.at_ms, use.seq_no))

    def left_since(self, entry: Use) -> bool:
        """Return whether the holder went out after `entry`, as far as is known; nobody has left in the future."""
        leaving = self.facts.history.last(Basis.EXIT, until_ms=self.now_ms)
        if leaving is None:
            return False
        if leaving.box_id == entry.box_id:  # one box's numbers tell the order, whatever its clock said
            return leaving.seq_no > entry.seq_no
        return leaving.at_ms > entry.at_ms


ENTRIES = (Basis.TICKET, Basis.REENTRY)
Check = Callable[[Asked], Decision | None]


def check_service(asked: Asked) -> Decision | None:
    """Refuse at a lane whose service the product does not include."""
    service, services = asked.facts.lane.service, asked.terms.services
    if service in services or (service == ADMISSION and not services):
        return None
    included = ", ".join(services) or ADMISSION
    return Decision(Reason.WRONG_SERVICE, detail=f"{service} is not included; valid for {included}")


def check_validity(asked: Asked) -> Decision | None:
    """Refuse before and after the ticket's time, grace and hold included: late is not void."""
    terms, now_s = asked.terms, asked.now_ms // 1000
    from_s = asked.valid_from_s - terms.early_grace_s
    if now_s < from_s:
        return _refused(Reason.TOO_EARLY, asked, from_s * 1000)
    if now_s < asked.valid_until_s + terms.late_grace_s:
        return None
    if now_s >= asked.held_until_s:
        return Decision(Reason.NO_SHOW if terms.hold_s > terms.late_grace_s else Reason.EXPIRED)
    if terms.late is Late.ADMIT:
        return None
    return Decision(Reason.LATE, detail=f"held until {_said(asked.local(asked.held_until_s * 1000))}")


def check_calendar(asked: Asked) -> Decision | None:
    """Refuse on blackout days and outside the hours; say when it admits next."""
    terms = asked.terms
    if not (terms.blackouts or terms.windows):
        return None
    at = asked.local(asked.now_ms)
    if any(days.has(at.date()) for days in terms.blackouts):
        return _refused(Reason.NOT_TODAY, asked, _next_opening(asked, at))
    if terms.windows and not any(window.has(at) for window in terms.windows):
        return _refused(Reason.NOT_NOW, asked, _next_opening(asked, at))
    return None


def check_passback(asked: Asked) -> Decision | None:
    """Refuse the same ticket soon after it admitted, unless its holder has left."""
    passback_ms = asked.terms.passback_s * 1000
    if not passback_ms:
        return None
    entry = asked.facts.history.last(*ENTRIES, until_ms=asked.now_ms)
    if entry is None or asked.now_ms - entry.at_ms >= passback_ms or asked.left_since(entry):
        return None
    return _refused(Reason.PASSBACK, asked, entry.at_ms + passback_ms)


def check_rule(asked: Asked) -> Decision | None:
    """Refuse by the product's own rule, with the parts that failed and the nearest time or gate that would admit."""
    if asked.terms.rule is None:
        return None
    try:
        answer = rules.answer(asked.terms.rule, _rule_facts(asked))
    except RuleError as error:
        return Decision(Reason.RULE_UNREADABLE, detail=str(error))
    if answer.admits:
        return None
    said = [*answer.because]
    if answer.admits_at_gates:
        said.append(f"admits at gate {', '.join(answer.admits_at_gates)}")
    if answer.admits_at_ms is not None:
        said.append(f"admits from {_said(asked.local(answer.admits_at_ms))}")
    return Decision(Reason.RULE, detail="; ".join(said), admits_at_ms=answer.admits_at_ms)


def check_counters(asked: Asked) -> Decision | None:
    """Refuse when the entries of the day or of the site are used up, whatever is left in all."""
    terms = asked.terms
    if terms.per_day is None and terms.per_site is None and terms.per_site_day is None:
        return None
    today = asked.local(asked.now_ms).date()
    site_id = asked.facts.site_id
    tomorrow_ms = _midnight_ms(today + timedelta(days=1), asked.timezone)
    of_today = _left(asked, terms.per_day, f"day:{today}", lambda use: _day(use, asked) == today)
    here_today = _left(
        asked, terms.per_site_day, f"site-day:{site_id}:{today}", lambda use: _day(use, asked) == today
    )
    here = _left(asked, terms.per_site, f"site:{site_id}", lambda _: True)
    if min(of_today, here_today) <= 0:
        return _refused(Reason.DAY_LIMIT, asked, tomorrow_ms)
    if here <= 0:
        return Decision(Reason.SITE_LIMIT)
    left, persons = min(of_today, here_today, here), asked.facts.persons
    if left < persons:
        return Decision(Reason.FEWER_LEFT, detail=f"{left} left here today for {persons} persons")
    return None


def check_proof(asked: Asked) -> Decision | None:
    """Refer a concession to staff, with what they have to look at; an age that a document shows is proof enough."""
    proof, ages, born = asked.terms.proof, asked.terms.ages, asked.facts.born
    if proof is None or asked.is_proven:
        return None
    if ages is not None and born is not None and ages.has(age_on(asked.local(asked.now_ms).date(), born)):
        return None
    return Decision(Reason.PROOF_NEEDED, detail=f"{proof.zh} {proof.en}")


def check_merchant(asked: Asked) -> Decision | None:
    """Refuse a voucher whose merchant is in none of the groups that its product names, as far as the list knows."""
    groups, merchant = asked.terms.vouched_by, asked.facts.merchant
    if not groups:
        return None
    if merchant is not None and merchant.groups(asked.now_ms // 1000) & set(groups):
        return None
    return Decision(Reason.VOUCHER_ON_HOLD, detail=f"its merchant is not in {', '.join(groups)}")


def reenters(asked: Asked) -> bool:
    """Return whether the holder may come back without spending an entry."""
    kind = asked.terms.reentry
    if kind is Reentry.NONE:
        return False
    entry = asked.facts.history.last(*ENTRIES, until_ms=asked.now_ms)
    if entry is None or (kind is not Reentry.SAME_DAY and not asked.left_since(entry)):
        return False
    return kind is Reentry.AFTER_EXIT or _day(entry, asked) == asked.local(asked.now_ms).date()


def first_refusal(checks: Iterable[Check], asked: Asked) -> Decision | None:
    """Return the first objection, or None."""
    for check in checks:
        refused = check(asked)
        if refused is not None:
            return refused
    return None


def counter_names(terms: Terms, scope: str, site_id: str, day: date) -> list[str]:
    """Return which counters beside the total an entry in `scope` counts in; `day` is its local day."""
    if scope:
        return [f"service:{scope}"]
    wanted = {
        f"day:{day}": terms.per_day,
        f"site:{site_id}": terms.per_site,
        f"site-day:{site_id}:{day}": terms.per_site_day,
    }
    return [name for name, limit in wanted.items() if limit is not None]


def _left(asked: Asked, limit: int | None, counter: str, fits: Callable[[Use], bool]) -> float:
    """Return how many entries a counter leaves; without a limit as many as anybody wants."""
    if limit is None:
        return math.inf
    ticket = asked.facts.ticket
    listed = ticket.counters.get(counter, 0) if ticket else 0
    return limit - listed - asked.facts.history.entries_since_list(lambda use: not use.scope and fits(use))


def _rule_facts(asked: Asked) -> RuleFacts:
    facts = asked.facts
    entries = asked.entries()
    return RuleFacts(
        asked.now_ms,
        asked.timezone,
        product=facts.product.code if facts.product else "",
        gate=facts.lane_id,
        entries_ms=tuple(use.at_ms for use in entries),
        is_inside=bool(entries) and not asked.left_since(entries[-1]),
        times_ms={"date_from": asked.valid_from_s * 1000, "date_to": asked.valid_until_s * 1000},
    )


def _next_opening(asked: Asked, at: datetime) -> int | None:
    """Return the next moment, within the ticket's time, that lies on a good day and in the hours."""
    terms = asked.terms
    for day in (at.date() + timedelta(days=ahead) for ahead in range(DAYS_AHEAD)):
        if any(days.has(day) for days in terms.blackouts):
            continue
        for minute in _opening_minutes(terms, day):
            opening_ms = _midnight_ms(day, asked.timezone, minute)
            if opening_ms > asked.now_ms:
                return opening_ms if opening_ms < asked.held_until_s * 1000 else None
    return None


def _opening_minutes(terms: Terms, day: date) -> list[int]:
    """Return the minutes at which a day's hours begin; midnight where there are no hours."""
    if not terms.windows:
        return [0]
    return sorted(window.from_min for window in terms.windows if day.isoweekday() in window.weekdays)


def _midnight_ms(day: date, timezone: tzinfo, minute: int = 0) -> int:
    return int(datetime.combine(day, time(minute // 60, minute % 60), timezone).timestamp() * 1000)


def _day(use: Use, asked: Asked) -> date:
    return asked.local(use.at_ms).date()


def _refused(reason: Reason, asked: Asked, admits_at_ms: int | None) -> Decision:
    if admits_at_ms is None:
        return Decision(reason, detail="no other time within its validity")
    return Decision(
        reason, detail=f"admits from {_said(asked.local(admits_at_ms))}", admits_at_ms=admits_at_ms
    )


def _said(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
