"""Clearance: what others have found about a visitor, judged together with the ticket. Off unless a policy asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from admission.reasons import Verdict


class Colour(StrEnum):
    """What a provider says; UNKNOWN also stands for nothing said, or for what has ended."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Clearance:
    """A provider's finding; before `until_s`, UTC seconds."""

    provider: str
    colour: Colour
    until_s: int


@dataclass(frozen=True, slots=True)
class ClearanceRule:
    """What each colour of a provider means at the gate: while its data is no older than `max_age_s`, and after that."""

    provider: str
    name_zh: str
    name_en: str
    max_age_s: int
    online: Mapping[Colour, Verdict]
    offline: Mapping[Colour, Verdict]


_ORDER = tuple(Verdict)
"""From the best to the worst."""


def judge(
    rules: Iterable[ClearanceRule], found: Iterable[Clearance], age_s: int, now_s: int
) -> tuple[Verdict, tuple[ClearanceRule, ...]]:
    """Return the worst verdict that a rule comes to, and the rules that come to it; ADMIT when there are none.

    Of several findings of one provider the worst counts, too.
    """
    valid = [one for one in found if now_s < one.until_s]
    verdicts = [(_verdict(rule, valid, age_s), rule) for rule in rules]
    worst = max((verdict for verdict, _ in verdicts), key=_ORDER.index, default=Verdict.ADMIT)
    return worst, tuple(rule for verdict, rule in verdicts if verdict is worst)


def _verdict(rule: ClearanceRule, valid: list[Clearance], age_s: int) -> Verdict:
    meanings = rule.online if age_s <= rule.max_age_s else rule.offline
    colours = [one.colour for one in valid if one.provider == rule.provider] or [Colour.UNKNOWN]
    return max((meanings[colour] for colour in colours), key=_ORDER.index)
