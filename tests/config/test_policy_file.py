"""Policy documents: the one that is shipped, and mistakes that would cost money."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from admission.capacity import CapacityLimits
from admission.policy import Scope
from admission.tickets import Basis
from config.loader import SettingsError
from config.policy_file import load_policy, read_policy

DEFAULT = Path(__file__).parents[2] / "config" / "policies" / "default.toml"
TEXT = re.sub(r"last_day = .*", "last_day = 2026-12-31", DEFAULT.read_text("utf-8"))


def changed(old: str, new: str) -> str:
    """The shipped document with one thing changed."""
    assert old in TEXT
    return TEXT.replace(old, new)


_EXPOSED = (
    "credit.per_box_day_fen: 21 boxes with 2000000 fen a day each may risk 42000000 fen,"
    " more than max_exposure_fen 40000000"
)


def problems(text: str) -> tuple[str, ...]:
    """What is wrong with a document."""
    with pytest.raises(SettingsError) as caught:
        read_policy(text)
    return caught.value.problems


def test_the_shipped_policy_loads() -> None:
    """Its sites, its seven groups and its limits, in the units of the core."""
    policy = load_policy(DEFAULT)
    assert set(policy.sites) == {"wulong", "fairy", "bridges"}
    assert policy.sites["fairy"].fare_fen == 5000
    assert policy.subject_order == (
        Basis.TICKET,
        Basis.STATUTORY,
        Basis.FREE_VISIT,
        Basis.CREDIT_ORDER,
        Basis.CREDIT_LINE,
    )
    assert [(rule.ages.from_age, rule.ages.before_age) for rule in policy.age_visits] == [(0, 6), (65, None)]
    (free,) = policy.free_visits
    assert (len(free.groups), free.scope, free.quantity) == (7, Scope.PER_SITE, 1)
    assert free.first_day < free.last_day
    assert policy.credit.max_list_age_s == 72 * 3600
    assert policy.credit.visits_per_day == 3
    assert policy.capacities == {"fairy": CapacityLimits(max_per_day=30_000)}
    (benefit,) = policy.benefits
    assert (benefit.groups, benefit.priority_lane) == (free.groups, True)
    assert policy.day_end_s(date(2026, 1, 1)) - policy.day_start_ms(1_767_196_800_000) // 1000 == 24 * 3600


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "2026-12-31",
            '"202261-2023531"',
            "free_visits[0].last_day: '202261-2023531': invalid RFC3339 encoded date",
        ),
        ("2026-12-31", "2025-12-31", "free_visits[0].last_day: 2025-12-31 lies before first_day 2026-01-01"),
        ("2026-12-31", "9999-12-31", "free_visits[0].last_day: 9999-12-31 has no day after it"),
        (
            "quantity = 1",
            "blackouts = [{first = 2026-05-03, last = 2026-05-01}]",
            "free_visits[0].blackouts[0].last: 2026-05-01 lies before first 2026-05-03",
        ),
        ("quantity = 1", 'sites = ["moon"]', "free_visits[0].sites: no site is called 'moon'"),
        ("quantity = 1", 'per = "week"', "free_visits[0].per: 'week': invalid enum value 'week'"),
        ("quantity = 1", "quantity = 0", "free_visits[0].quantity: expected `int` >= 1"),
        ('"per_site"', '"per_person"', "free_visits[0].scope: 'per_person': invalid enum value 'per_person'"),
        ('"Asia/Shanghai"', '"Asia/Wulong"', "timezone: 'Asia/Wulong' is not an IANA time zone"),
        ('"Asia/Shanghai"', '"../etc"', "timezone: '../etc' is not an IANA time zone"),
        (
            '"free_visit", ',
            '"free_vist", ',
            "subject_order: 'free_vist' is none of ticket, statutory, free_visit, credit_order, credit_line",
        ),
        (
            '"statutory", ',
            "",
            "subject_order: names no statutory, and without it age_visits give nothing",
        ),
        (
            "before_age = 6",
            "from_age = 6\nbefore_age = 6",
            "age_visits[0].before_age: 6 is not after from_age 6",
        ),
        ('id = "elders"', 'id = "children"', "age_visits: 'children' stands there twice"),
        ('"free_visit", ', '"credit_line", ', "subject_order: 'credit_line' stands there twice"),
        ('id = "fairy"', 'id = "bridges"', "sites: 'bridges' stands there twice"),
        (
            'id = "wulong"',
            'id = "district"',
            "sites[1].parent: no site is called 'wulong'",
        ),
        (
            "admission_fare_fen = 5000",
            "admission_fare_fen = -1",
            "sites[1].admission_fare_fen: expected `int` >= 0",
        ),
        ("per_subject_fen = 20000", "per_subject_fen = -1", "credit.per_subject_fen: expected `int` >= 0"),
        ("per_subject_fen = 20000", "per_subject = 20000", "credit.per_subject_fen: missing"),
        (
            "unlisted_per_day = 500",
            "unlisted_per_day = 0.5",
            "offline.unlisted_per_day: expected `int`, got `float`",
        ),
        ("last_day = 2026-12-31", "last_day = 202261-2023531", "last_day: not TOML: "),
        ("boxes = 20", "boxes = 21", _EXPOSED),
        ("max_per_day = 30000", "", "capacities[0]: limits nothing; set max_inside or max_per_day"),
        ("max_per_day = 30000", "max_per_day = 0", "capacities[0].max_per_day: expected `int` >= 1"),
        ('site = "fairy"', 'site = "moon"', "capacities[0].site: no site is called 'moon'"),
        (
            "max_per_day = 30000",
            "max_per_day = 1\npercents = [80, 70, 90]",
            "capacities[0].percents: [80, 70, 90] do not rise from above 0 to 100",
        ),
        ("boxes = 20", "", "credit.boxes: is needed to keep within max_exposure_fen"),
        ("visits_per_day = 3", "visits_per_day = 0", "credit.visits_per_day: expected `int` >= 1"),
        (
            "priority_lane = true",
            "",
            "benefits[0]: gives nothing; set priority_lane or discount_percent",
        ),
        (
            "priority_lane = true",
            "discount_percent = 101",
            "benefits[0].discount_percent: expected `int` <= 100",
        ),
        ("priority_lane = true", 'sites = ["moon"]', "benefits[0].sites: no site is called 'moon'"),
        ("quantity = 1", 'proofs = [{zh = "证"}]', "free_visits[0].proofs[0].en: missing"),
        ("resume_within_s = 30", "resume_within_s = -30", "resume_within_s: expected `int` >= 0"),
    ],
)
def test_a_mistake_is_refused_by_its_field(old: str, new: str, problem: str) -> None:
    """A policy is money: nothing is guessed and nothing is ignored."""
    assert any(found.startswith(problem) for found in problems(changed(old, new)))


def test_two_free_visits_never_share_a_counter() -> None:
    """Their ids are what is counted under."""
    table = TEXT[TEXT.index("[[free_visits]]") : TEXT.index("[[benefits]]")]
    assert problems(TEXT.replace(table, table + table)) == (
        "free_visits: 'trusted-first-visit' stands there twice",
    )


def test_every_mistake_is_reported_at_once() -> None:
    """Across tables."""
    text = (
        changed('"Asia/Shanghai"', '"nowhere"')
        .replace("2026-12-31", "2020-12-31")
        .replace('free_visit"', 'x"')
    )
    assert len(problems(text)) == 6


def test_a_file_is_named_in_its_mistakes(tmp_path: Path) -> None:
    """Wrong, missing or not text at all."""
    wrong, binary = tmp_path / "wrong.toml", tmp_path / "binary.toml"
    wrong.write_text("version = 1")
    binary.write_bytes(b"\xff\xfe")
    for path in (wrong, binary, tmp_path / "missing.toml", tmp_path):
        with pytest.raises(SettingsError) as caught:
            load_policy(path)
        assert all(problem.startswith(f"{path}: ") for problem in caught.value.problems)


def test_paid_tickets_go_first_where_the_order_does_not_name_them() -> None:
    """Nobody loses a free visit for a ticket that was forgotten in a policy."""
    text = changed('["ticket", ', "[")
    assert read_policy(text).subject_order[0] is Basis.TICKET
