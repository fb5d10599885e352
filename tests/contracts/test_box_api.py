"""The running box: every answer is as documented (the client sees to it), and says what the document says."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.central.programs import DEADLINE_S, until
from tests.contracts.site import CAMERA_LANE, LANES, Caller, Site

pytestmark = pytest.mark.e2e


def test_ticket_is_admitted_and_then_not(site: Site) -> None:
    """The answer has words for visitor and staff, a record and, for ADMIT, the admission."""
    (ticket,) = site.sell()
    first = site.box.scan(ticket["code"], LANES[1])
    again = site.box.scan(ticket["code"], LANES[2])
    assert (first["verdict"], again["verdict"], again["reason"]) == ("ADMIT", "DENY", "ALREADY_USED")
    assert site.passes(ticket["key"])["admission_id"] == first["admission_id"]
    assert again["admission_id"] is None


def test_bytes_come_in_base64(box: Caller) -> None:
    """What is not text can be submitted too."""
    reply = box.post(
        "/v1/scans", {"lane": LANES[2], "payload_base64": base64.b64encode(b"\xff\x00").decode()}
    )
    assert reply.status == 409 or reply.json()["reason"] == "NOT_A_TICKET"


def test_lane_takes_one_visitor_at_a_time(site: Site) -> None:
    """Whoever comes meanwhile is told, and nothing is spent."""
    first, second = site.sell(2)
    assert site.box.scan(first["code"])["verdict"] == "ADMIT"
    reply = site.box.caller.post("/v1/scans", {"lane": LANES[0], "payload": second["code"]})
    assert reply.error == (409, "lane_busy", "")
    assert site.box.scan(second["code"])["verdict"] == "ADMIT"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"lane": "1"},
        {"lane": "1", "payload": "x", "payload_base64": "eA=="},
        {"lane": "1", "payload_base64": "é"},
        {"lane": 1, "payload": "x"},
        {"lane": "1", "payload": "x", "colour": "red"},
    ],
)
def test_wrong_scan_is_refused(box: Caller, body: dict[str, Any]) -> None:
    """The message says what is wrong with it."""
    assert box.post("/v1/scans", body).error == (400, "bad_request", "")


def test_scan_that_cannot_be_read_is_refused(box: Caller) -> None:
    """Too long, not JSON, or not in the encoding that it says."""
    json_body = {"Content-Type": "application/json"}
    assert box.send("POST", "/v1/scans", b"\xff", json_body).error == (400, "bad_request", "")
    for encoding in ("deflate", "gzip"):
        headers = json_body | {"Content-Encoding": encoding}
        assert box.send("POST", "/v1/scans", b"x", headers).status in (400, 415)
    assert box.post("/v1/scans", {"lane": "1", "payload": "x" * 5000}).status == 413


def test_compressed_scan_is_refused_before_its_body_came(box: Caller) -> None:
    """Nobody waits for the rest of a body that nobody will read."""
    connection = HTTPConnection(urlsplit(box.url).netloc, timeout=DEADLINE_S)
    connection.putrequest("POST", "/v1/scans")
    for name, value in (("Authorization", f"Bearer {box.token}"), ("Content-Encoding", "deflate")):
        connection.putheader(name, value)
    connection.putheader("Content-Length", "1")
    connection.endheaders()
    assert connection.getresponse().status == 415
    connection.close()


def test_unknown_lane_is_named(box: Caller) -> None:
    """The reader is set up wrong."""
    assert box.post("/v1/scans", {"lane": "99", "payload": "x"}).error == (404, "no_such_lane", "lane")


def test_state_shows_lanes_with_and_without_a_camera(site: Site) -> None:
    """And what they answered last."""
    site.box.scan("not a ticket", LANES[1])
    state = site.box.caller.get("/v1/state").json()
    assert [lane["id"] for lane in state["lanes"]] == [*LANES, CAMERA_LANE]
    assert state["lanes"][1]["last"]["reason"] == "NOT_A_TICKET"
    assert state["lanes"][3]["camera"]["state"] == "live"


def test_picture_is_shown(box: Caller) -> None:
    """Of lanes with a camera, in the width that was asked for."""
    path = f"/v1/lanes/{CAMERA_LANE}/picture"
    until(lambda: box.get(path).status == 200)
    assert box.get(f"{path}?width=64").data.startswith(b"\xff\xd8")
    assert box.get(f"{path}?width=wide").error == (400, "bad_width", "width")
    assert box.get(f"/v1/lanes/{LANES[0]}/picture").error == (404, "no_such_camera", "")


def test_metrics_are_told(box: Caller) -> None:
    """In Prometheus' text format, to whoever has the token."""
    assert b"gate_build_info" in box.get("/metrics").data
    assert replace(box, token="").get("/metrics").error == (401, "unauthorized", "")


def test_whatever_is_not_documented_is_not_there(box: Caller) -> None:
    """Neither a path nor a method, and the error has the form of all others."""
    assert box.get("/v1/nothing").error == (404, "not_found", "")
    assert box.send("DELETE", "/v1/scans").error == (405, "method_not_allowed", "")


@pytest.mark.parametrize("token", [b"", b"wrong", b"\xff\xfe"])
def test_token_is_asked_for(box: Caller, token: bytes) -> None:
    """Under /v1, whether or not there is something; probes need none."""
    anyone, headers = replace(box, token=""), {"Authorization": b"Bearer " + token}
    for path in ("/v1/state", "/v1/nothing"):
        assert anyone.send("GET", path, headers=headers).error == (401, "unauthorized", "")
    assert (anyone.get("/healthz").status, anyone.get("/readyz").status) == (200, 200)


def test_box_that_is_not_ready_says_why(site: Site, tmp_path: Path) -> None:
    """Without list and turnstile it works, refers, and asks for no token when it has none."""
    box = site.stranger(tmp_path)
    try:
        box.start()
        until(lambda: box.caller.get("/readyz").json()["problems"])
        reply = box.caller.get("/readyz")
        assert (reply.status, reply.json()["ready"]) == (503, False)
        assert box.scan("SG1:", "1")["reason"] == "LANE_NOT_READY"
        assert box.caller.get("/v1/state").json()["lanes"][0]["barrier"] == "LOST"
        until(lambda: any("B9" in row["topic"] for row in rejections(site)))
    finally:
        box.stop()


def rejections(site: Site) -> list[dict[str, Any]]:
    """What the centre could not believe."""
    found: list[dict[str, Any]] = site.centre.get("/v1/summary").json()["rejections"]
    return found


def test_scan_that_does_not_say_that_it_is_json_is_refused(box: Caller) -> None:
    """A page of another origin can send anything else without asking."""
    body = json.dumps({"lane": LANES[1], "payload": "not a ticket"}).encode()
    assert box.send("POST", "/v1/scans", body).error == (415, "not_json", "")
