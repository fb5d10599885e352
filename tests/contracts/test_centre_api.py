"""The running centre: every answer is as documented (the client sees to it), and says what the document says."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from admission.envelope import Context, unseal
from admission.reasons import Reason
from admission.tickets import Basis, Outcome
from sync.protocol import Stream, decode_manifest
from tests.central.programs import until
from tests.central.world import admitted, closed, refusal
from tests.contracts.site import (
    LIST_TOKEN,
    OTA_CODE,
    PRODUCT,
    SITE_ID,
    Caller,
    Site,
    group_row,
    ota_row,
    sale,
    topics,
)

pytestmark = pytest.mark.e2e
DAYS = "{valid_from},{valid_until}".format(**sale())


def test_sale_is_answered_again_word_for_word(centre: Caller) -> None:
    """The same order under the same name sells nothing twice, whatever bytes the name has."""
    for name in ("order-1", "Auftrag-ß"):
        headers: dict[str, str | bytes] = {
            "Content-Type": "application/json",
            "Idempotency-Key": name.encode(),
        }
        first, again = (centre.send("POST", "/v1/tickets", dumped(sale(count=2)), headers) for _ in range(2))
        assert (first.status, again.status) == (201, 201)
        assert first.data == again.data


def dumped(value: Any) -> bytes:
    """A value as JSON."""
    return json.dumps(value).encode()


def test_name_of_another_sale_is_refused(centre: Caller) -> None:
    """An idempotency key stands for one order."""
    centre.post("/v1/tickets", sale(), Idempotency_Key="order-2")
    reply = centre.post("/v1/tickets", sale(count=3), Idempotency_Key="order-2")
    assert reply.error == (409, "idempotency_key_reused", "Idempotency-Key")


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"product": "NONE"}, "unknown_product", "product"),
        ({"count": 0}, "invalid_request", "count"),
        ({"quantity": 10_001}, "invalid_request", "quantity"),
        ({"valid_from": "1.7.2026"}, "invalid_request", "valid_from"),
        ({"valid_until": "2020-01-01"}, "invalid_request", "valid_until"),
        ({"colour": "red"}, "invalid_request", "colour"),
    ],
)
def test_wrong_sale_names_the_field(centre: Caller, changes: dict[str, Any], code: str, field: str) -> None:
    """Nothing is sold, and the seller learns why."""
    assert centre.post("/v1/tickets", sale(**changes)).error == (422, code, field)


def test_ticket_and_its_code_are_shown(site: Site) -> None:
    """As they were sold, in all the forms that a seller may want."""
    (ticket,) = site.sell()
    path = f"/v1/tickets/{ticket['key']}"
    assert site.centre.get(path).json()["used"] == 0
    assert site.centre.get(f"{path}/code").json() == ticket
    assert site.centre.get(f"{path}/code", Accept="image/png").data.startswith(b"\x89PNG")
    assert b"<svg" in site.centre.get(f"{path}/code", Accept="image/svg+xml").data


@pytest.mark.parametrize("path", ["/v1/tickets/{}", "/v1/tickets/{}/code"])
@pytest.mark.parametrize("key", ["00" * 16, "xyz"])
def test_unknown_ticket_is_not_found(centre: Caller, path: str, key: str) -> None:
    """Nor is one whose key is none."""
    assert centre.get(path.format(key)).error == (404, "not_found", "")


def test_credit_code_comes_as_text_and_picture(centre: Caller) -> None:
    """For whatever pseudonym."""
    assert centre.post("/v1/credit-codes", {"subject": "anna"}).status == 200
    assert centre.post("/v1/credit-codes", {"subject": "安娜"}, Accept="image/png").status == 200
    assert centre.post("/v1/credit-codes", {"subject": ""}).error == (422, "invalid_request", "subject")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("products", f"code,name_zh,name_en,site_ids\nTWO,联票,Both,{SITE_ID} bridges\n"),
        ("tickets", ota_row(OTA_CODE.format(100), PRODUCT["code"])),
        ("groups", group_row("anna")),
        (
            "credit-lines",
            f"subject,limit_fen,per_visit_fen,valid_until\nanna,20000,10000,{sale()['valid_until']}\n",
        ),
    ],
)
def test_file_twice_changes_nothing_twice(centre: Caller, kind: str, text: str) -> None:
    """As CSV, with the counts that say so."""
    first, again = centre.upload(kind, text), centre.upload(kind, text)
    assert sum(first.json().values()) == 1
    assert again.json() == {"created": 0, "updated": 0, "unchanged": 1}


def test_rows_come_as_json_too(centre: Caller) -> None:
    """Bare, or as rows of an object."""
    row = {"subject": "berta", "group": "中国好人", "valid_from": "2026-01-01", "valid_until": "2026-12-31"}
    assert centre.post("/v1/imports/groups", [row]).status == 200
    assert centre.post("/v1/imports/groups", {"rows": [row]}).json()["unchanged"] == 1


def test_refund_and_status_are_imported_by_either_name(site: Site) -> None:
    """Of a ticket sold here by its ticket id, of another issuer's by issuer and code; a refund never goes down."""
    (ticket,) = site.sell(quantity=2)
    assert site.centre.upload("tickets", ota_row(OTA_CODE.format(200), PRODUCT["code"])).status == 200
    rows = f"issuer,code,refunded\n,{ticket['ticket_id']},2\nota,{OTA_CODE.format(200)},1\n"
    assert site.centre.upload("refunds", rows).json()["updated"] == 2
    lower = {"issuer": None, "code": ticket["ticket_id"], "refunded": 1}
    assert site.centre.post("/v1/imports/refunds", [lower]).json()["unchanged"] == 1
    assert site.centre.upload("statuses", f"code,status\n{ticket['ticket_id']},blocked\n").status == 200
    shown = site.centre.get(f"/v1/tickets/{ticket['key']}").json()
    assert (shown["refunded"], shown["status"]) == (2, "blocked")


def test_file_with_mistakes_changes_nothing(centre: Caller) -> None:
    """All of them are named by row and field."""
    rows = f"subject,group,valid_from,valid_until,colour\ncarla,g,{DAYS},\ndora,,{DAYS},\nerna,g,{DAYS},red\n"
    reply = centre.upload("groups", rows)
    assert reply.error == (422, "invalid_rows", "")
    assert [(row["row"], row["field"]) for row in reply.json()["errors"]] == [(2, "group"), (3, "colour")]
    assert (
        centre.upload("groups", f"subject,group,valid_from,valid_until\ncarla,g,{DAYS}\n").json()["created"]
        == 1
    )


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[1]", b'{"rows": 1}', b'[{"subject": "\xff"}]'])
def test_what_is_no_file_is_refused(centre: Caller, data: bytes) -> None:
    """Whatever it is instead."""
    reply = centre.send("POST", "/v1/imports/groups", data, {"Content-Type": "application/json"})
    assert reply.error == (422, "invalid_file", "")


@pytest.mark.parametrize(
    ("path", "code"),
    [("tickets", "not_json"), ("credit-codes", "not_json"), ("imports/groups", "unknown_format")],
)
def test_body_must_say_what_it_is(centre: Caller, path: str, code: str) -> None:
    """And must be that."""
    assert centre.send("POST", f"/v1/{path}", b"{}", {"Content-Type": "text/plain"}).error == (
        415,
        code,
        "",
    )
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert centre.send("POST", f"/v1/{path}", b"no gzip", headers).status in (400, 415)


def test_body_beyond_the_limit_is_refused(centre: Caller) -> None:
    """Before it is read to its end."""
    headers = {"Content-Type": "text/csv"}
    reply = centre.send("POST", "/v1/imports/groups", b"x" * ((64 << 20) + 1), headers)
    assert reply.error == (413, "request_entity_too_large", "")


def test_whatever_is_not_documented_is_not_there(centre: Caller) -> None:
    """Neither a path nor a method, and the error has the form of all others."""
    assert centre.get("/v1/nothing").error == (404, "not_found", "")
    assert centre.post("/v1/imports/nothing", []).error == (404, "not_found", "")
    assert centre.send("DELETE", "/v1/tickets").error == (405, "method_not_allowed", "")


@pytest.mark.parametrize("token", ["", "wrong", LIST_TOKEN])
def test_token_is_asked_for(centre: Caller, token: str) -> None:
    """Under /v1, whether or not there is something; the boxes' token opens lists alone."""
    for path in ("/v1/summary", "/v1/admissions", "/v1/nothing"):
        assert replace(centre, token=token).get(path).error == (401, "unauthorized", "")


def test_token_that_is_no_text_is_refused(centre: Caller) -> None:
    """Like any other that is wrong."""
    reply = replace(centre, token="").send(
        "GET", "/v1/summary", headers={"Authorization": b"Bearer \xff\xfe"}
    )
    assert reply.error == (401, "unauthorized", "")


def test_probe_and_console_ask_for_none(centre: Caller) -> None:
    """The console asks for the token itself."""
    anyone = replace(centre, token="")
    paths = ("/healthz", "/", "/console/console.css", "/console/console.js", "/console/icon.svg")
    assert [anyone.get(path).status for path in paths] == [200] * len(paths)
    assert anyone.get("/console/other.js").status == 404
    assert anyone.send("HEAD", "/healthz").data == b""


def test_list_is_fetched_whole_and_in_parts(site: Site) -> None:
    """With the boxes' token, and it is the file that the manifest names."""
    boxes = replace(site.centre, token=LIST_TOKEN)
    trusted = site.keys.lists.public
    message = until(lambda: site.heard_on(topics("B1").manifest))[-1]
    assert unseal(message, lambda _: trusted.key, Context.LIST).key_id == trusted.key_id
    manifest = decode_manifest(message, lambda _: trusted.key)
    whole = boxes.get(manifest.path)
    assert (len(whole.data), hashlib.sha256(whole.data).digest()) == (manifest.size_bytes, manifest.sha256)
    part = boxes.get(manifest.path, Range="bytes=4096-8191")
    assert (part.status, part.data) == (206, whole.data[4096:8192])
    assert boxes.get(manifest.path, Range=f"bytes={manifest.size_bytes}-").status == 416
    assert boxes.get(f"/v1/lists/{SITE_ID}/1").status == 404
    assert boxes.get("/v1/tickets/00").status == 401


def test_reports_tell_what_a_box_told(site: Site) -> None:
    """Admissions, refusals, conflicts and counts, whatever happened at the gate."""
    (ticket,) = site.sell()
    key = bytes.fromhex(ticket["key"])
    box = site.speaker("told-1")
    box.open_epoch()
    numbers = range(1, 1 + len(Outcome))
    for number, outcome in zip(numbers, Outcome, strict=True):
        box.append(admitted(number + 1000, key))
        box.append(closed(number + 1000, outcome))
    box.append(admitted(1100, b"s" * 16, Basis.CREDIT_LINE, fare_fen=5000))
    box.append_raw(b"\x00 not an entry")
    refusals = [refusal(number, reason) for number, reason in enumerate((Reason.EXPIRED, Reason.NO_LIST), 1)]
    site.ear.say(box.topics.up(Stream.LEDGER), box.batch())
    site.ear.say(box.topics.up(Stream.DIARY), box.diary([*refusals, b"\xff"]))

    def counts() -> dict[str, Any] | None:
        found = {row["box_id"]: row for row in site.centre.get("/v1/summary").json()["boxes"]}["told-1"]
        is_told = found["events_folded"] == len(box.entries) and found["set_aside"] == {
            "ledger": 1,
            "diary": 1,
        }
        return found if is_told else None

    assert until(counts)["refused"] == {"EXPIRED": 1, "NO_LIST": 1}
    ended = {outcome for row in site.admissions(ticket["key"]) for outcome in row["outcomes"]}
    assert ended == {outcome.name.lower() for outcome in Outcome}
    conflicts = site.centre.get("/v1/conflicts?limit=1000").json()["conflicts"]
    mine = [row for row in conflicts if row["key"] == ticket["key"]]
    assert {row["kind"] for row in mine} == {"ticket_overused"}
    assert all(row["first"] for row in mine)
    assert [row["first"] for row in conflicts if row["kind"] == "credit_exceeded"] == [None]
    told_refusals = site.centre.get("/v1/refusals?since=1&limit=10000").json()["refusals"]
    assert {row["reason"] for row in told_refusals if row["box_id"] == "told-1"} == {"EXPIRED", "NO_LIST"}


@pytest.mark.parametrize("report", ["admissions", "refusals", "conflicts"])
def test_wrong_parameter_is_named(centre: Caller, report: str) -> None:
    """What cannot be meant is not guessed at."""
    assert centre.get(f"/v1/{report}?limit=10001").error == (422, "invalid_request", "limit")
    if report != "conflicts":
        assert centre.get(f"/v1/{report}?key=xyz").error == (422, "invalid_request", "key")
        assert centre.get(f"/v1/{report}?since=-1").error == (422, "invalid_request", "since")
