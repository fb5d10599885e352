"""examples/back_office.py passes the loop: what it sold and imported is what the box decides by, and it reads it back.

Between it and the centre stands a wire that holds every request and every answer to the contract.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.contracts.site import BOX_ID, LANES, TOKEN, Caller, Site

pytestmark = pytest.mark.e2e
EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "back_office.py"


@dataclass(slots=True)
class Wire:
    """What went over it: requests, and exchanges that were not as documented."""

    url: str = ""
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@contextmanager
def wire_to(centre: Caller) -> Iterator[Wire]:
    """A wire to the centre that carries the client's own headers and adds nothing."""
    wire = Wire()
    far_end = replace(centre, token="")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.pass_on()

        def do_POST(self) -> None:
            self.pass_on()

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {
                name: text for name, text in self.headers.items() if name not in ("Host", "Connection")
            }
            wire.requests.append(f"{self.command} {self.path.partition('?')[0]}")
            try:
                reply = far_end.send(self.command, self.path, body, headers)
            except AssertionError as error:
                wire.problems.append(str(error))
                raise
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.headers["Content-Type"])
            self.send_header("Content-Length", str(len(reply.data)))
            self.end_headers()
            self.wfile.write(reply.data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Nothing to anyone."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        wire.url = f"http://127.0.0.1:{server.server_address[1]}"
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield wire
        finally:
            server.shutdown()


@contextmanager
def back_office(url: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The example at work; gone in the end."""
    command = [sys.executable, "-I", str(EXAMPLE), url, *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, encoding="utf-8", env={"PYTHONUTF8": "1"}
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str], last: str = "") -> dict[str, list[str]]:
    """What it says, by the word that a line begins with, up to the first line of the word `last`."""
    assert process.stdout is not None
    found: dict[str, list[str]] = {}
    for line in process.stdout:
        found.setdefault(line[:12].strip(), []).append(line[12:].removesuffix("\n"))
        if last in found:
            break
    return found


def test_back_office_passes_the_loop(site: Site) -> None:
    """With the contract alone: each of its codes gets the gate's right answer, and it reads the admission."""
    with (
        wire_to(site.centre) as wire,
        back_office(wire.url, "--token", TOKEN, "--wait", "30") as process,
    ):
        said = told(process, last="SHOW THIS")
        site.wait_for_list()
        answers = {
            word: site.box.scan(said[word][0], LANES[2])["reason"] for word in ("REFUNDED", "EXTERNAL")
        }
        answers |= {word: site.box.scan(said[word][0], LANES[1])["reason"] for word in ("MEMBER", "CREDIT")}
        answer = site.box.scan(said["SHOW THIS"][0])
        read = told(process)
        assert process.wait(10) == 0
    assert answers == {
        "REFUNDED": "REFUNDED",
        "EXTERNAL": "TICKET",
        "MEMBER": "FREE_VISIT",
        "CREDIT": "CREDIT_LINE",
    }
    assert (answer["verdict"], answer["reason"]) == ("ADMIT", "TICKET")
    assert read["admitted"] == [f"{BOX_ID}/{LANES[0]} TICKET passed (Valid ticket)"]
    assert any(line.startswith(f"{BOX_ID}/{LANES[2]} REFUNDED") for line in read["refused"])
    assert wire.problems == []
    assert {"POST /v1/tickets", "POST /v1/imports/refunds", "GET /v1/admissions"} <= set(wire.requests)


def test_back_office_says_when_nobody_came(site: Site) -> None:
    """A use that was waited for in vain is an error; without waiting there is none."""
    for wait, status in (("0", 0), ("0.1", 1)):
        with back_office(site.centre.url, "--token", TOKEN, "--wait", wait) as process:
            assert "SHOW THIS" in told(process)
            assert process.wait(10) == status


def test_back_office_says_why_it_was_refused(site: Site) -> None:
    """In the centre's words."""
    with back_office(site.centre.url, "--token", "wrong") as process:
        assert "unauthorized" in told(process)["refused"][0]
        assert process.wait(10) == 1


def test_back_office_says_that_nobody_answers() -> None:
    """And ends."""
    with back_office("http://127.0.0.1:1") as process:
        assert told(process)["no answer"]
        assert process.wait(10) == 1
