"""The agent as a service: what it says to the service manager, and when it falls silent."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.central.programs import until
from tests.systemd.box import write_settings
from tests.systemd.service_manager import ServiceManager, service_manager

PERIOD_S = 0.6
SILENCE_S = 2.5
"""Several periods, and less than the 5 s for which SQLite waits for a lock."""
ON_ITS_WAY = 1
"""A word may be sent at the moment of the fault; a bare timer would send eight."""


@dataclass(frozen=True, slots=True)
class Agent:
    """A box's program under a service manager with a watchdog."""

    manager: ServiceManager
    process: subprocess.Popen[bytes]
    folder: Path


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """A box that was just started."""
    command = [sys.executable, "-I", "-m", "gate_agent", "run", str(write_settings(tmp_path))]
    with service_manager() as manager, (tmp_path / "agent.log").open("wb") as log:
        environment = os.environ | {
            "NOTIFY_SOCKET": manager.address,
            "WATCHDOG_USEC": str(int(PERIOD_S * 1e6)),
        }
        process = subprocess.Popen(command, stderr=log, env=environment)
        try:
            yield Agent(manager, process, tmp_path)
        finally:
            process.kill()
            process.wait()


def test_it_says_when_it_serves_and_when_it_stops(agent: Agent) -> None:
    """READY=1 first, WATCHDOG=1 while it works, STOPPING=1 before it ends with 0."""
    assert agent.manager.next_word(30) == "READY=1"
    assert agent.manager.next_word(5) == "WATCHDOG=1"
    assert agent.manager.next_word(5) == "WATCHDOG=1"
    agent.process.send_signal(signal.SIGTERM)
    assert set(agent.manager.until("STOPPING=1")) <= {"WATCHDOG=1", "STOPPING=1"}
    assert agent.process.wait(20) == 0


def test_it_falls_silent_while_its_store_cannot_commit(agent: Agent) -> None:
    """Somebody else holds the database: the writer thread waits, and so does the service manager."""
    agent.manager.until("WATCHDOG=1", 30)
    with closing(sqlite3.connect(agent.folder / "state" / "box.db", isolation_level=None)) as sql:
        sql.execute("BEGIN IMMEDIATE")
        assert len(agent.manager.words_during(SILENCE_S)) <= ON_ITS_WAY
        sql.execute("ROLLBACK")
    assert agent.manager.next_word(10) == "WATCHDOG=1"
    assert "the store does not commit" in (agent.folder / "agent.log").read_text("utf-8")


def test_it_falls_silent_while_it_stands_still(agent: Agent) -> None:
    """A loop that does not turn feeds nothing."""
    agent.manager.until("WATCHDOG=1", 30)
    agent.process.send_signal(signal.SIGSTOP)
    until(lambda: Path(f"/proc/{agent.process.pid}/stat").read_text("ascii").split()[2] == "T")
    assert len(agent.manager.words_during(SILENCE_S)) <= ON_ITS_WAY
    agent.process.send_signal(signal.SIGCONT)
    assert agent.manager.next_word(10) == "WATCHDOG=1"
