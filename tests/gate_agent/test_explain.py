"""`gate-agent explain`: each fact and rule behind an answer, also beside a running agent."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from admission.codes import parse
from admission.explain import explain
from admission.facts import Attempt, Direction, LaneTraits
from config.settings import code_book, load_settings
from gate_agent.__main__ import EXIT_STORE, EXIT_WRONG_SETTINGS, main
from gate_agent.app import known_facts
from tests.admission.makers import (
    HASH_KEY,
    NOW_MS,
    POLICY,
    TICKET_CODE,
    facts,
)
from tests.faults.box import Box, ticket_code

Output = pytest.CaptureFixture[str]


def _lines(text: str) -> dict[str, list[str]]:
    """The lines of an explanation by the word that they begin with."""
    found: dict[str, list[str]] = {}
    for one in text.splitlines():
        found.setdefault(one[:12].strip(), []).append(one[12:])
    return found


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
        now_ms = time.time_ns() // 1_000_000
        credential = parse(ticket_code(0), code_book(settings, HASH_KEY))
        known, policy = await known_facts(
            settings,
            box.folder,
            lambda policy: Attempt(credential, "2", now_ms, policy.day_start_ms(now_ms), policy.version),
        )
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
