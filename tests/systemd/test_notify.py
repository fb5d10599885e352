"""Word to the service manager, on real datagram sockets."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gate_agent.notify import Supervisor, supervisor_of
from tests.systemd.service_manager import service_manager

PID = 4711


def test_a_word_arrives_at_a_socket_in_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One datagram, as it is."""
    monkeypatch.chdir(tmp_path)  # a socket's path has 108 bytes
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("notify")
        Supervisor("notify").notify("READY=1")
        manager.settimeout(5)
        assert manager.recv(100) == b"READY=1"


def test_a_word_arrives_at_an_abstract_socket() -> None:
    """The @ stands for the zero byte."""
    with service_manager() as manager:
        Supervisor(manager.address).notify("STOPPING=1")
        assert manager.next_word(5) == "STOPPING=1"


def test_without_a_service_manager_nothing_is_sent() -> None:
    """As when it is started by hand."""
    Supervisor().notify("READY=1")


def test_a_service_manager_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """It would end a service that it does not hear."""
    with pytest.raises(OSError, match="No such file"):
        Supervisor(str(tmp_path / "gone")).notify("WATCHDOG=1")


def test_the_environment_names_socket_and_period() -> None:
    """Microseconds there, seconds here."""
    environment = {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(PID)}
    assert supervisor_of(environment, PID) == Supervisor("/run/n", 30.0)


@pytest.mark.parametrize(
    "environment",
    [
        {"NOTIFY_SOCKET": "/run/n"},
        {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "30000000"},
    ],
)
def test_a_watchdog_of_nobody_or_of_another_process_is_not_fed(environment: dict[str, str]) -> None:
    """Nobody waits for this process's word."""
    assert supervisor_of(environment, PID).watchdog_s is None
