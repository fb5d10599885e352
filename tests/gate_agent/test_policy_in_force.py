"""The policy that governs a box: its own until a list brings the centre's, and never one that cannot be used."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from admission.events import Admitted
from admission.policy import Policy
from config.policy_file import read_policy
from gate_agent.policy_in_force import PolicyInForce
from tests.admission.makers import POLICY, SITE
from tests.gate_agent.gate import Gate, opened_gate, ticket_code

DEFAULT = (Path(__file__).parents[2] / "config" / "policies" / "default.toml").read_text("utf-8")
NEWER = DEFAULT.replace('version = "2026.1"', 'version = "2026.2"')


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gate]:
    """A box with lanes to be put up."""
    async with opened_gate(tmp_path) as gate:
        yield gate


def governed() -> tuple[PolicyInForce, list[str]]:
    """A box under the default policy, and what was handed over since."""
    handed: list[str] = []
    return PolicyInForce(SITE, read_policy(DEFAULT), lambda policy: handed.append(policy.version)), handed


def test_a_lists_policy_is_handed_over_once() -> None:
    """The next list with the same changes nothing."""
    in_force, handed = governed()
    for document in (DEFAULT, NEWER, NEWER):
        in_force.take(document)
    assert (in_force.policy.version, handed, in_force.problem) == ("2026.2", ["2026.2"], "")


def test_a_list_of_an_earlier_centre_brings_none() -> None:
    """The box's own goes on."""
    in_force, handed = governed()
    in_force.take("")
    assert (in_force.policy.version, handed, in_force.problem) == ("2026.1", [], "")


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (NEWER.replace("from_age = 65", 'from_age = "65"'), "from_age"),
        (NEWER.replace('"fairy"', '"elsewhere"'), "site 'fairy' is not in the policy 2026.2"),
        ("version = ", "cannot be used"),
        (NEWER + "\n[of_a_later_release]\n", "of_a_later_release"),
    ],
)
def test_a_policy_that_cannot_be_used_leaves_the_one_before_and_is_told(document: str, problem: str) -> None:
    """Until a list brings one that can."""
    in_force, handed = governed()
    in_force.take(document)
    assert (in_force.policy.version, handed) == ("2026.1", [])
    assert problem in in_force.problem
    in_force.take(NEWER)
    assert (in_force.policy.version, in_force.problem) == ("2026.2", "")


async def test_a_lane_decides_by_it_from_the_next_visitor_on(gate: Gate) -> None:
    """Each admission names the policy by which it was decided."""
    post = await gate.add_ready_lane()
    later: Policy = replace(POLICY, version="later")
    await post.present(ticket_code(0))
    post.turnstile.walk_through()
    await post.lane.until_free()
    post.lane.adopt(later)
    await post.present(ticket_code(1))
    said = [event.policy_version for event in await gate.events() if isinstance(event, Admitted)]
    assert said == [POLICY.version, "later"]


async def test_refusals_are_kept_for_as_long_as_the_new_policy_says(gate: Gate) -> None:
    """What was refused under the old one, too."""
    post = await gate.add_ready_lane()
    refused = await post.present(b"OTA0123456789")
    post.lane.adopt(replace(POLICY, override_within_s=POLICY.override_within_s * 2))
    gate.clock.advance(POLICY.override_within_s * 1000 + 1)
    assert post.lane._refusals.find(refused.record, gate.clock.monotonic_ns()) is not None
