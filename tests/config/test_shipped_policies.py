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
