"""Windows of local days: to the second, also where clocks are put forward and back."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admission.entitlements import Membership
from admission.policy import Days, Period, Policy, Scope
from tests.admission.makers import BRIDGES, CABLEWAY, FAIRY, POLICY, free_visit, utc_s

DAY = date(2026, 5, 1)


def in_zone(name: str) -> Policy:
    """The policy of sites in another time zone."""
    return replace(POLICY, timezone=ZoneInfo(name))


# A local day, and the UTC seconds of its first moment and of the first moment after it.
DAYS = [
    ("Asia/Shanghai", date(2026, 5, 1), utc_s(2026, 4, 30, 16), utc_s(2026, 5, 1, 16)),
    ("Asia/Shanghai", date(2026, 1, 1), utc_s(2025, 12, 31, 16), utc_s(2026, 1, 1, 16)),
    ("Europe/Berlin", date(2026, 3, 29), utc_s(2026, 3, 28, 23), utc_s(2026, 3, 29, 22)),  # 23 hours
    ("Europe/Berlin", date(2026, 10, 25), utc_s(2026, 10, 24, 22), utc_s(2026, 10, 25, 23)),  # 25 hours
    ("America/Havana", date(2026, 3, 8), utc_s(2026, 3, 8, 5), utc_s(2026, 3, 9, 4)),  # there is no midnight
    (
        "America/Havana",
        date(2026, 11, 1),
        utc_s(2026, 11, 1, 4),
        utc_s(2026, 11, 2, 5),
    ),  # midnight comes twice
]


@pytest.mark.parametrize(("zone", "day", "start_s", "end_s"), DAYS)
def test_a_local_day_begins_and_ends_at_local_midnight(
    zone: str, day: date, start_s: int, end_s: int
) -> None:
    """To the millisecond."""
    policy = in_zone(zone)
    assert policy.day_end_s(day) == end_s
    for at_ms in (start_s * 1000, (start_s + 3 * 3600) * 1000, end_s * 1000 - 1):
        assert (policy.local_date(at_ms), policy.day_start_ms(at_ms)) == (day, start_s * 1000)
    assert policy.local_date(start_s * 1000 - 1) < day < policy.local_date(end_s * 1000)


@settings(max_examples=60)
@given(
    st.sampled_from(["Asia/Shanghai", "Europe/Berlin", "America/Havana", "Australia/Lord_Howe"]),
    st.integers(utc_s(2020, 1, 1) * 1000, utc_s(2040, 1, 1) * 1000),
)
def test_every_moment_lies_within_its_local_day(zone: str, at_ms: int) -> None:
    """A day's start never lies ahead, its end never behind, and both are of the same date."""
    policy = in_zone(zone)
    start_ms, end_ms = policy.day_start_ms(at_ms), policy.day_end_s(policy.local_date(at_ms)) * 1000
    assert start_ms <= at_ms < end_ms
    assert policy.local_date(start_ms) == policy.local_date(end_ms - 1) == policy.local_date(at_ms)


@pytest.mark.parametrize(
    ("day", "applies"),
    [
        (date(2026, 4, 30), False),
        (date(2026, 5, 1), True),
        (date(2026, 5, 3), True),
        (date(2026, 5, 4), False),
    ],
)
def test_a_window_includes_its_first_and_its_last_day(day: date, applies: bool) -> None:
    """Dates, not moments."""
    free = free_visit(first_day=date(2026, 5, 1), last_day=date(2026, 5, 3))
    assert free.applies(FAIRY, day) is applies


def test_a_free_visit_for_state_owned_sites_is_none_elsewhere() -> None:
    """Unless the policy says that it does not matter."""
    day = date(2026, 5, 1)
    assert not free_visit().applies(CABLEWAY, day)
    assert free_visit(state_owned_only=False).applies(CABLEWAY, day)


def test_the_scope_says_what_is_counted_together() -> None:
    """Per site each site counts alone, over the district all count as one; two policies never do."""
    per_site, district = free_visit(), free_visit(scope=Scope.DISTRICT)
    assert per_site.counting_scope(FAIRY, DAY) != per_site.counting_scope(BRIDGES, DAY)
    assert district.counting_scope(FAIRY, DAY) == district.counting_scope(BRIDGES, DAY)
    assert free_visit("other").counting_scope(FAIRY, DAY) != per_site.counting_scope(FAIRY, DAY)


@pytest.mark.parametrize(
    ("per", "together", "apart"),
    [
        (Period.WINDOW, date(2027, 1, 1), None),
        (Period.YEAR, date(2026, 12, 31), date(2027, 1, 1)),
        (Period.MONTH, date(2026, 5, 31), date(2026, 6, 1)),
        (Period.DAY, DAY, date(2026, 5, 2)),
    ],
)
def test_a_count_begins_anew_with_its_period(per: Period, together: date, apart: date | None) -> None:
    """By the local calendar; without a period it never does."""
    free = replace(free_visit(), per=per)
    scope = free.counting_scope(FAIRY, DAY)
    assert free.counting_scope(FAIRY, together) == scope
    assert apart is None or free.counting_scope(FAIRY, apart) != scope


@pytest.mark.parametrize(
    ("sites", "applies"), [((), True), (("fairy",), True), (("wulong",), True), (("bridges", "other"), False)]
)
def test_a_policy_holds_at_its_sites_and_at_all_below_them(sites: tuple[str, ...], applies: bool) -> None:
    """A node of the site tree stands for every site under it."""
    free = replace(free_visit(), sites=frozenset(sites))
    assert free.applies(FAIRY, DAY, POLICY.above(FAIRY)) is applies


def test_sites_above_one_another_end() -> None:
    """A circle or an unknown parent in the tree ends the way up."""
    ring = {"a": replace(FAIRY, site_id="a", parent_id="b"), "b": replace(FAIRY, site_id="b", parent_id="a")}
    assert replace(POLICY, sites=ring).above(ring["a"]) == {"a", "b"}
    assert POLICY.above(replace(FAIRY, parent_id="nowhere")) == {"nowhere"}
    assert POLICY.above(replace(FAIRY, parent_id="")) == set()


@pytest.mark.parametrize(("day", "applies"), [(2, True), (3, False), (5, False), (6, True)])
def test_nothing_is_free_on_a_blackout_day(day: int, applies: bool) -> None:
    """Its first and its last day included."""
    free = replace(free_visit(), blackouts=(Days(date(2026, 5, 3), date(2026, 5, 5)),))
    assert free.applies(FAIRY, date(2026, 5, day)) is applies


@pytest.mark.parametrize(("at_s", "covers"), [(99, False), (100, True), (199, True), (200, False)])
def test_a_membership_holds_from_its_first_second_to_before_its_last(at_s: int, covers: bool) -> None:
    """Half open, like every validity."""
    assert Membership("good", 100, 200).covers(at_s) is covers
