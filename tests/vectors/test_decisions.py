"""Our own cases, put to the box's engine and to the centre's."""

from __future__ import annotations

from typing import Any

import pytest

from admission.answers import Decision, Spend
from admission.decision import decide
from admission.tickets import Basis
from central.judging import conflicts_of
from tests.vectors.decisions import CASES, KEY, Case

_FORCED = {"FREE_VISIT_USED": Basis.FREE_VISIT, "NO_CREDIT": Basis.CREDIT_LINE}


def _case(said: dict[str, Any]) -> Any:
    return pytest.param(Case(said), id=said["name"])


def _spend(decision: Decision) -> dict[str, Any] | None:
    spend = decision.spend
    if spend is None:
        return None
    return {
        "basis": spend.basis.name.lower(),
        "scope": spend.scope,
        "quantity": spend.quantity,
        "fare_fen": spend.fare_fen,
        "risk": spend.risk.name.lower(),
    } | ({"companions": spend.companions} if spend.companions else {})


@pytest.mark.parametrize("case", [_case(said) for said in CASES])
def test_box_decides_as_the_case_says(case: Case) -> None:
    """Reason, what is spent, and when it would admit."""
    expected = case.said["expect"]
    decision = decide(case.credential(), case.facts(), case.policy, case.now_ms)
    assert (decision.reason, _spend(decision)) == (expected["reason"], expected.get("spend"))
    if "admits_at" in expected:
        at = expected["admits_at"]
        wanted = None if at is None else Case({"at": at}).now_ms
        assert decision.admits_at_ms == wanted


@pytest.mark.parametrize("case", [_case(said) for said in CASES if "spend" in said["expect"]])
def test_centre_finds_no_fault_with_what_the_box_admits(case: Case) -> None:
    """The use that the box makes of it goes beyond no right."""
    spend = decide(case.credential(), case.facts(), case.policy, case.now_ms).spend
    assert spend is not None
    told = [*case.folded_uses(), case.folded_spend(spend)]
    found = [one.admission_id for one in conflicts_of(told, case.right(), case.policy)]
    assert found == []


@pytest.mark.parametrize("case", [_case(said) for said in CASES if "if_admitted" in said["expect"]])
def test_centre_finds_what_the_box_refuses_in_excess(case: Case) -> None:
    """Had a box apart admitted all the same, one more use would be in conflict."""
    expected = case.said["expect"]
    basis = _FORCED.get(expected["reason"], Basis.TICKET)
    fare_fen = case.policy.sites[case.site_id].fare_fen if basis is Basis.CREDIT_LINE else 0
    forced = case.folded_spend(Spend(KEY, basis, 0, expected.get("scope", ""), fare_fen=fare_fen))
    before, after = (
        list(conflicts_of(told, case.right(), case.policy))
        for told in (case.folded_uses(), [*case.folded_uses(), forced])
    )
    assert len(after) == len(before) + 1


def test_there_are_as_many_as_promised_and_none_twice() -> None:
    """Each has a name of its own."""
    names = [said["name"] for said in CASES]
    assert len(names) == len(set(names)) >= 250
