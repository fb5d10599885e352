"""Admission rules of products: what they can ask about, and what is said when they refuse."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.jsonlogic import RuleError
from admission.rules import RuleFacts, answer, holds, problems

ZONE = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")


def _ms(local: str, zone: ZoneInfo = ZONE) -> int:
    return round(datetime.fromisoformat(local).replace(tzinfo=zone).timestamp() * 1000)


NOON = _ms("2026-11-26T12:00:00")  # a Thursday
TIMES = {
    "date_from": _ms("2026-11-26T10:00:00"),
    "date_to": _ms("2026-11-26T14:00:00"),
    "date_admission": None,
}
FACTS = RuleFacts(
    NOON,
    ZONE,
    product="7",
    variation="child",
    gate="north",
    entries_ms=(_ms("2026-11-24T09:00:00"), _ms("2026-11-24T17:00:00"), _ms("2026-11-26T11:29:30")),
    is_inside=True,
    times_ms=TIMES,
)
NEW = replace(FACTS, entries_ms=(), is_inside=False)


def _var(name: str) -> dict[str, str]:
    return {"var": name}


def _custom(text: str) -> dict[str, list[str]]:
    return {"buildTime": ["custom", text]}


@pytest.mark.parametrize(
    ("variable", "of_a_visitor", "of_a_newcomer"),
    [
        ("now", NOON, NOON),
        ("now_isoweekday", 4, 4),
        ("product", "7", "7"),
        ("variation", "child", "child"),
        ("gate", "north", "north"),
        ("entry_status", "present", "absent"),
        ("entries_number", 3, 0),
        ("entries_today", 1, 0),
        ("entries_days", 2, 0),
        ("minutes_since_first_entry", 2 * 24 * 60 + 180, -1),
        ("minutes_since_last_entry", 30, -1),
    ],
)
def test_variables_tell_what_is_known(variable: str, of_a_visitor: Any, of_a_newcomer: Any) -> None:
    """Each variable has the value that the facts give it."""
    assert holds({"===": [_var(variable), of_a_visitor]}, FACTS)
    assert holds({"===": [_var(variable), of_a_newcomer]}, NEW)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (None, True),
        ({}, True),
        ([], True),
        ({"isAfter": [_var("now"), {"buildTime": ["date_from"]}]}, True),
        ({"isAfter": [_var("now"), {"buildTime": ["date_to"]}]}, False),
        ({"isAfter": [_var("now"), {"buildTime": ["date_to"]}, 120]}, False),
        ({"isAfter": [_var("now"), {"buildTime": ["date_to"]}, 121]}, True),
        ({"isAfter": [_var("now"), {"buildTime": ["date_admission"]}, None]}, True),
        ({"isBefore": [_var("now"), {"buildTime": ["date_from"]}, 120]}, False),
        ({"isBefore": [_var("now"), {"buildTime": ["date_from"]}, "121"]}, True),
        ({"isBefore": [_var("now"), {"buildTime": ["customtime", "12:00:01"]}]}, True),
        ({"isBefore": [_var("now"), {"buildTime": ["customtime", "12:00"]}]}, False),
        ({"isBefore": [_var("now"), _custom("2026-11-26T04:00:01Z")]}, True),
        ({"isBefore": [_var("now"), "2026-11-26T12:00:01"]}, True),
        ({"isBefore": [_var("now"), None]}, False),
        ({"inList": [_var("product"), {"objectList": [{"lookup": ["product", 7, "Adult"]}]}]}, True),
        ({"inList": [_var("product"), {"objectList": []}]}, False),
        ({"==": [{"entries_since": [_custom("2026-11-24T17:00:00+08:00")]}, 2]}, True),
        ({"==": [{"entries_before": [_custom("2026-11-24T17:00:00+08:00")]}, 1]}, True),
        ({"==": [{"entries_days_since": [_custom("2026-11-24T00:00:00+08:00")]}, 2]}, True),
        ({"==": [{"entries_days_before": [_custom("2026-11-25T00:00:00+08:00")]}, 1]}, True),
    ],
)
def test_operators_know_times_lists_and_entries(rule: Any, expected: bool) -> None:
    """Each operator of our own compares strictly, to the millisecond, in the site's zone."""
    assert holds(rule, FACTS) is expected


def test_a_time_that_the_product_lacks_is_neither_before_nor_after() -> None:
    """A named time that is not set lets no comparison hold."""
    bare = replace(FACTS, times_ms={})
    for operator in ("isBefore", "isAfter"):
        assert not holds({operator: [_var("now"), {"buildTime": ["date_from"]}]}, bare)


@pytest.mark.parametrize("value", [True, "noon", {"entries_since": []}])
def test_what_is_no_time_is_an_error(value: Any) -> None:
    """A comparison of times with something else cannot be evaluated, and says so."""
    with pytest.raises(RuleError):
        holds({"isBefore": [_var("now"), value]}, FACTS)


def test_local_days_follow_the_zone_through_the_end_of_summer_time() -> None:
    """Entries count for the local day also on the day that has 25 hours."""
    facts = RuleFacts(
        _ms("2026-10-25T23:30:00", BERLIN), BERLIN, entries_ms=(_ms("2026-10-25T00:30:00", BERLIN),)
    )
    assert holds({"===": [_var("entries_today"), 1]}, facts)
    assert holds(
        {"===": [_var("entries_today"), 0]}, replace(facts, now_ms=_ms("2026-10-26T00:00:00", BERLIN))
    )


@pytest.mark.parametrize(
    ("rule", "because", "at", "gates"),
    [
        (
            {"isAfter": [_var("now"), {"buildTime": ["date_to"]}]},
            ["now (2026-11-26 12:00:00) isAfter 2026-11-26 14:00:00"],
            _ms("2026-11-26T14:00:00") + 1,
            [],
        ),
        (
            {"isAfter": [_var("now"), {"buildTime": ["customtime", "09:00"]}, 30]},
            [],
            None,
            [],
        ),
        ({"<": [_var("entries_today"), 1]}, ["entries_today (1) < 1"], _ms("2026-11-27T00:00:00"), []),
        (
            {">=": [_var("minutes_since_last_entry"), 60]},
            ["minutes_since_last_entry (30) >= 60"],
            _ms("2026-11-26T12:29:30"),
            [],
        ),
        (
            {"in": [_var("now_isoweekday"), [6, 7]]},
            ["now_isoweekday (4) in [6, 7]"],
            _ms("2026-11-28T00:00:00"),
            [],
        ),
        ({"==": [_var("gate"), "south"]}, ["gate (north) == south"], None, ["south"]),
        (
            {"inList": [{"var": ["gate"]}, {"objectList": [{"lookup": ["gate", "east", "East"]}, "west"]}]},
            ["gate (north) inList (East, west)"],
            None,
            ["east", "west"],
        ),
        ({"!=": [_var("gate"), "north"]}, ["gate (north) != north"], None, []),
        ({"==": [_var("gate"), 7]}, ["gate (north) == 7"], None, []),
        (
            {"and": [{"<": [_var("entries_number"), 9]}, {"or": [False, {"==": [_var("product"), "8"]}]}]},
            ["False", "product (7) == 8"],
            None,
            [],
        ),
        (
            {"!": [{"==": [_var("entry_status"), "present"]}]},
            ["!(entry_status (present) == present)"],
            None,
            [],
        ),
        ({"isAfter": [_var("now"), {"buildTime": ["date_admission"]}, -9000]}, None, None, []),
    ],
)
def test_a_refusal_says_why_and_what_would_admit(
    rule: Any, because: list[str] | None, at: int | None, gates: list[str]
) -> None:
    """A refusal names the parts that failed with what they saw, the next moment and the gates that would admit."""
    result = answer(rule, FACTS)
    if because == []:
        assert result.admits
        return
    assert not result.admits
    if because is not None:
        assert [line[: len(want)] for line, want in zip(result.because, because, strict=True)] == because
        assert (result.admits_at_ms, list(result.admits_at_gates)) == (at, gates)


def test_the_named_moment_admits_and_the_one_before_does_not() -> None:
    """The moment that a refusal names is the first at which the same rule admits."""
    rule = {
        "and": [
            {"isAfter": [_var("now"), {"buildTime": ["customtime", "13:00"]}]},
            {"<": [_var("entries_today"), 2]},
        ]
    }
    at_ms = answer(rule, FACTS).admits_at_ms
    assert at_ms is not None
    assert holds(rule, replace(FACTS, now_ms=at_ms))
    assert not holds(rule, replace(FACTS, now_ms=at_ms - 1))


def test_a_rule_that_cannot_be_evaluated_elsewhere_names_no_moment() -> None:
    """What would admit is looked for only where the rule can be evaluated."""
    rule = {"and": [{"==": [_var("gate"), "south"]}, {"isBefore": [_var("now"), True]}]}
    assert answer(rule, FACTS).admits_at_gates == ()


def test_a_missing_time_is_said_in_the_reason() -> None:
    """A comparison with a time that the product lacks is shown as such."""
    result = answer({"isAfter": [_var("now"), {"buildTime": ["date_from"]}]}, replace(FACTS, times_ms={}))
    assert result.because[0].endswith("isAfter no time")


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"frobnicate": 1}, "'frobnicate' is not an operator"),
        ({"buildTime": ["custom", "202261-2023531"]}, "buildTime: "),
        ({"buildTime": ["customtime", "25:00"]}, "buildTime: "),
        ({"buildTime": ["date_of_birth"]}, "'date_of_birth' is none of"),
        ({"buildTime": []}, "None is none of"),
    ],
)
def test_problems_are_found_before_anybody_stands_at_the_gate(rule: Any, problem: str) -> None:
    """An operator that is not known and a time that is none are named when the rule is read."""
    assert any(problem in found for found in problems({"and": [True, rule]}))


def test_a_sound_rule_has_no_problems() -> None:
    """A rule that can be used passes the check."""
    rule = {
        "or": [
            {"isBefore": [_var("now"), {"buildTime": ["customtime", "10:00"]}]},
            _custom("2026-01-01T00:00:00Z"),
        ]
    }
    assert problems({"and": [rule, {"buildTime": ["date_to"]}]}) == ()


_RULES = st.recursive(
    st.sampled_from(
        [_var("now"), _var("entries_today"), _var("gate"), 0, 1, "south", {"buildTime": ["date_to"]}]
    ),
    lambda part: st.builds(
        lambda name, parts: {name: parts},
        st.sampled_from(
            ["and", "or", "!", "<", "==", "isBefore", "isAfter", "entries_since", "inList", "if"]
        ),
        st.lists(part, min_size=1, max_size=3),
    ),
    max_leaves=12,
)


@given(rule=_RULES)
def test_every_sound_rule_gets_an_answer_or_a_rule_error(rule: Any) -> None:
    """A rule without problems is answered; what it names as the next moment admits then."""
    assert problems(rule) == ()
    try:
        result = answer(rule, FACTS)
    except RuleError:
        return
    assert result.admits or result.because
    if result.admits_at_ms is not None:
        assert holds(rule, replace(FACTS, now_ms=result.admits_at_ms))
