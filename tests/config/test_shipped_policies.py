"""The policy documents that are shipped, and what a change of their data alone changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from admission.answers import Decision
from admission.codes import CreditCode, Validity
from admission.decision import decide
from admission.entitlements import Membership
from admission.policy import Policy
from admission.reasons import Reason
from config.loader import SettingsError
from config.policy_file import load_policy, read_policy
from tests.admission.makers import facts, subject, utc_s

POLICIES = Path(__file__).parents[2] / "config" / "policies"
PILOT = POLICIES / "wulong-pilot.toml"
DEFAULT = POLICIES / "default.toml"
LONG = Validity(utc_s(2020, 1, 1), utc_s(2040, 1, 1), utc_s(2020, 1, 1))


def visit(policy: Policy, group: str, at_s: int, site: str = "fairy") -> Decision:
    """What a member of the group, with a credit code, is answered."""
    member = Membership(group, LONG.from_s, LONG.until_s)
    known = replace(facts(subject=subject(memberships=(member,))), site_id=site)
    return decide(CreditCode(bytes(16), LONG), known, policy, at_s * 1000)


@pytest.mark.parametrize("path", sorted(POLICIES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_policy_loads(path: Path) -> None:
    """None has a mistake, and each has a version of its own."""
    assert load_policy(path).version


@pytest.mark.parametrize(
    ("at_s", "reason"),
    [
        (utc_s(2022, 5, 31, 15, 59, 59), Reason.NO_ENTITLEMENT),
        (utc_s(2022, 5, 31, 16), Reason.FREE_VISIT),
        (utc_s(2023, 5, 31, 15, 59, 59), Reason.FREE_VISIT),
        (utc_s(2023, 5, 31, 16), Reason.NO_ENTITLEMENT),
    ],
)
def test_the_pilot_holds_from_its_first_to_its_last_local_day(at_s: int, reason: Reason) -> None:
    """2022-06-01 to 2023-05-31 in Chongqing's time, to the second."""
    assert visit(load_policy(PILOT), "重庆好人", at_s).reason is reason


def test_a_free_visit_names_the_policy_and_the_clause_that_granted_it() -> None:
    """The version of the document, the policy's id, and its text."""
    answer = visit(load_policy(PILOT), "重庆好人", utc_s(2022, 7, 1))
    assert answer.detail.startswith("wulong-pilot-2022, pilot-first-visit: 武隆区信用旅游试点")


def test_an_eighth_group_is_one_more_word_in_the_document() -> None:
    """Data alone decides who is trusted."""
    text, at_s = DEFAULT.read_text("utf-8"), utc_s(2026, 7, 1)
    eighth = text.replace('groups = ["中国好人"', 'groups = ["优秀教师", "中国好人"')
    assert visit(read_policy(text), "优秀教师", at_s).reason is Reason.NO_ENTITLEMENT
    assert visit(read_policy(eighth), "优秀教师", at_s).reason is Reason.FREE_VISIT


def test_a_new_campaign_is_one_more_table_in_the_document() -> None:
    """Free on every day of a spring month, at one site, except on its holiday."""
    text = (
        DEFAULT.read_text("utf-8")
        + """
[[free_visits]]
id = "teachers"
groups = ["优秀教师"]
state_owned_only = false
scope = "per_site"
sites = ["fairy"]
per = "day"
first_day = 2026-04-01
last_day = 2026-04-30
blackouts = [{first = 2026-04-04, last = 2026-04-06}]
clause = "教师月"
"""
    )
    policy = read_policy(text)
    answers = {
        "in": visit(policy, "优秀教师", utc_s(2026, 4, 3)).reason,
        "holiday": visit(policy, "优秀教师", utc_s(2026, 4, 5)).reason,
        "elsewhere": visit(policy, "优秀教师", utc_s(2026, 4, 3), "bridges").reason,
    }
    assert answers == {
        "in": Reason.FREE_VISIT,
        "holiday": Reason.NO_ENTITLEMENT,
        "elsewhere": Reason.NO_ENTITLEMENT,
    }


CAMPAIGN = (POLICIES / "wulong-99.toml").read_text("utf-8")


def test_campaign_defines_its_pass() -> None:
    """Every site once, three a day, and not in the golden week."""
    (product,) = read_policy(CAMPAIGN).products
    assert (product.code, product.site_ids) == ("W99", frozenset({"fairy", "bridges"}))
    assert (product.terms.unlimited, product.terms.per_day, product.terms.per_site) == (True, 3, 1)
    assert [str(days.first) for days in product.terms.blackouts] == ["2026-10-01"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('["fairy", "bridges"]', '["fairy", "lake"]', "products[0].sites: no site is called 'lake'"),
        ('["fairy", "bridges"]', "[]", "products[0].sites: names none, and so it admits nowhere"),
        ("per_day = 3", "per_dya = 3", "products[0].terms.per_dya: unknown setting"),
        ("per_day = 3", "per_day = 0", "products[0].terms.per_day"),
        ("last = 2026-10-07", "last = 2026-09-07", "products[0].terms: blackouts[0].last: lies before first"),
        ("first = 2026-10-01", 'first = "2026101"', "products[0].terms.blackouts[0].first"),
    ],
)
def test_mistake_in_a_product_is_named(old: str, new: str, problem: str) -> None:
    """By its place in the document."""
    assert old in CAMPAIGN
    with pytest.raises(SettingsError) as caught:
        read_policy(CAMPAIGN.replace(old, new))
    assert caught.value.problems[0].startswith(problem)
