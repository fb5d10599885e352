"""What a service manager listens on: a datagram socket, here an abstract one."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """Hears what a service says of itself."""

    sock: socket.socket
    address: str

    def next_word(self, timeout_s: float) -> str:
        """The next thing that is said; TimeoutError when nothing is."""
        self.sock.settimeout(timeout_s)
        return self.sock.recv(4096).decode()

    def until(self, word: str, timeout_s: float = 20.0) -> list[str]:
        """Everything that is said up to a word, with it; TimeoutError when it does not come."""
        end = time.monotonic() + timeout_s
        heard = [self.next_word(timeout_s)]
        while heard[-1] != word:
            heard.append(self.next_word(max(0.001, end - time.monotonic())))
        return heard

    def words_during(self, seconds: float) -> list[str]:
        """Everything that is said in so many seconds."""
        end = time.monotonic() + seconds
        heard: list[str] = []
        with suppress(TimeoutError):
            while (left_s := end - time.monotonic()) > 0:
                heard.append(self.next_word(left_s))
        return heard


@contextmanager
def service_manager() -> Iterator[ServiceManager]:
    """One that listens."""
    name = f"scenic-gate-test-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name}")
        yield ServiceManager(sock, f"@{name}")
