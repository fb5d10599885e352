"""`gate-agent explain`: each fact and rule behind an answer, also beside a running agent."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from admission.codes import Rejected, parse
from admission.explain import explain
from admission.facts import Attempt, Direction, Facts, LaneTraits
from admission.reasons import Reason
from admission.terms import Terms
from admission.tickets import Basis, History
from config.policy_file import load_policy
from config.settings import code_book, load_settings
from gate_agent.__main__ import EXIT_STORE, EXIT_WRONG_SETTINGS, main
from gate_agent.app import known_facts
from tests.admission.makers import (
    CREDIT_CODE,
    DAY_TICKET,
    EXTERNAL_CODE,
    HASH_KEY,
    MEMBER,
    NOW_MS,
    POLICY,
    TICKET_CODE,
    facts,
    line,
    subject,
    ticket,
    use,
)
from tests.faults.box import Box, ticket_code

Output = pytest.CaptureFixture[str]


def _lines(text: str) -> dict[str, list[str]]:
    """The lines of an explanation by the word that they begin with."""
    found: dict[str, list[str]] = {}
    for one in text.splitlines():
        found.setdefault(one[:12].strip(), []).append(one[12:])
    return found


def test_a_tickets_rules_are_told_in_their_order() -> None:
    """Facts first, then each rule with what it says, then the answer with its words."""
    product = replace(DAY_TICKET, terms=Terms(passback_s=3600, unlimited=True))
    known = facts(ticket=ticket(), product=product, history=History((use(1, lane_id="lane-9"),)))
    told = _lines("\n".join(explain(TICKET_CODE, known, POLICY, NOW_MS)))
    assert [rule.partition(":")[0] for rule in told["rule"]] == [
        "service",
        "validity",
        "calendar",
        "passback",
        "rule",
        "counters",
        "proof",
    ]
    assert told["decision"] == ["DENY PASSBACK (admits from 2026-05-01 12:50:00)"]
    assert told["admits at"] == ["2026-05-01 12:50:00"]
    assert "TICKET at 2026-05-01 11:50:00, box-1 lane lane-9, open" in told["use"]
    assert '"passback_s":3600' in told["product"][0]


def test_a_subjects_rights_are_told_one_by_one() -> None:
    """What each kind of right says, and what was left unspent."""
    known = facts(
        subject=subject(memberships=MEMBER, credit_line=line(), free_visits_used={"first@fairy": 0})
    )
    told = _lines("\n".join(explain(CREDIT_CODE, known, POLICY, NOW_MS)))
    assert [rule.partition(":")[0] for rule in told["rule"]] == [
        basis.name.lower() for basis in POLICY.subject_order
    ]
    assert told["unspent"] == [Basis.CREDIT_LINE.name]
    assert told["credit"][0].startswith("limit 20000 fen")


@pytest.mark.parametrize("known", [facts(), facts(current_list=None), facts(is_key_withdrawn=True)])
def test_everything_can_be_explained(known: Facts) -> None:
    """Whatever is shown and known, the last lines are the decision and its words."""
    for credential in (TICKET_CODE, EXTERNAL_CODE, CREDIT_CODE, Rejected(Reason.NOT_A_TICKET, "why")):
        told = _lines("\n".join(explain(credential, known, POLICY, NOW_MS)))
        assert told["decision"]
        assert told["visitor"]
        assert told["staff"]


def test_what_cannot_be_explained_is_said(tmp_path: Path, capsys: Output) -> None:
    """A box that has no memory yet, and a lane that it does not have."""
    box = Box(tmp_path)
    box.write_settings()
    code = ticket_code(0).decode()
    assert main(["explain", str(box.settings), code]) == EXIT_STORE
    assert "cannot be read" in capsys.readouterr().err
    assert main(["explain", str(box.settings), code, "--lane", "9"]) == EXIT_WRONG_SETTINGS
    assert "known: 1" in capsys.readouterr().err


async def test_a_running_agents_memory_is_read(tmp_path: Path) -> None:
    """The code that the agent has just admitted is explained as used, and nothing is recorded."""
    box = Box(tmp_path)
    await box.start()
    try:
        await box.scan(ticket_code(0))
        before = await box.state()
        settings = load_settings(box.settings)
        policy = load_policy(box.folder / settings.policy_file)
        now_ms = time.time_ns() // 1_000_000
        credential = parse(ticket_code(0), code_book(settings, HASH_KEY))
        attempt = Attempt(credential, "2", now_ms, policy.day_start_ms(now_ms), policy.version)
        known = await known_facts(settings, box.folder, attempt)
        told = _lines("\n".join(explain(credential, known, policy, now_ms)))
        assert "DENY ALREADY_USED" in told["decision"][0]
        assert (await box.state())["backlog"] >= before["backlog"]
    finally:
        await box.stop()


def test_usage_errors_are_said(capsys: Output) -> None:
    """A code is needed, and the moment is ISO 8601."""
    with pytest.raises(SystemExit):
        main(["explain", "box.toml"])
    assert "needs a settings file and a code" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["explain", "box.toml", "SG1:", "--at", "202261-2023531"])
    assert "--at" in capsys.readouterr().err


def test_lanes_are_told_as_what_they_are() -> None:
    """An exit is explained as an exit."""
    leaving = replace(facts(), lane=LaneTraits(direction=Direction.EXIT))
    told = _lines("\n".join(explain(TICKET_CODE, leaving, POLICY, NOW_MS)))
    assert "ordinary exit to admission" in told["at"][0]
    assert told["decision"] == ["ADMIT EXIT"]
