"""Word to the service manager in systemd's sd_notify protocol: one datagram for each change of state."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass

SEND_TIMEOUT_S = 1.0
_US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class Supervisor:
    """Who started this process and wants to hear how it does; nobody when the address is empty."""

    address: str = ""
    """Path of a datagram socket; a leading @ stands for the zero byte of an abstract one."""
    watchdog_s: float | None = None
    """The process is ended when it has not said WATCHDOG=1 for this long; None when nobody waits for it."""

    def notify(self, state: str) -> None:
        """Send `NAME=value`; OSError when the supervisor cannot be told, for then it would end the process anyway."""
        if not self.address:
            return
        name = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(SEND_TIMEOUT_S)
            sender.sendto(state.encode(), name)


def supervisor_of(environment: Mapping[str, str], pid: int) -> Supervisor:
    """Return the supervisor that the environment names; a watchdog that is meant for another process is not ours."""
    address = environment.get("NOTIFY_SOCKET", "")
    period_us = int(environment.get("WATCHDOG_USEC", "0"))
    is_ours = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
    return Supervisor(address, period_us / _US_PER_S if address and period_us and is_ours else None)
