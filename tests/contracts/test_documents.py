"""Documents at a site that runs: let in by them, and no number in any file or word of any program."""

from __future__ import annotations

from typing import Any

import pytest

from admission.reasons import Reason
from tests.central.programs import until
from tests.contracts.site import LANES, OTA_CODE, PRODUCT, Caller, Site, group_row, ota_row

pytestmark = pytest.mark.e2e

ELDER = "11010519491231002X"
GROWN = "110105199003077657"
PASSPORT = "E98765432"
CARD = "6217000010009876543"
MISTYPED = "110105194912310027"
NUMBERS = (ELDER, GROWN, PASSPORT, CARD, MISTYPED)


def scanned(site: Site, code: str, lane: str) -> dict[str, Any]:
    """What the box answers to a document, once the lane is free."""
    answer: dict[str, Any] = site.box.scan(code, lane)
    return answer


def test_no_file_and_no_log_holds_a_number(site: Site, centre: Caller) -> None:
    """After imports, admissions, refusals and mistakes, on the box and at the centre."""
    code = OTA_CODE.format(77)
    assert centre.upload("tickets", ota_row(code, PRODUCT["code"])).status == 200
    assert centre.upload("groups", group_row("grown")).status == 200
    linked = [
        {"document_type": "resident_id", "document_number": GROWN, "subject": "grown"},
        {"document_type": "passport", "document_number": PASSPORT, "issuer": "ota", "code": code},
        {"document_type": "card", "document_number": CARD, "subject": "holder"},
    ]
    assert centre.upload("groups", group_row("holder")).status == 200
    assert centre.post("/v1/imports/documents", linked).status == 200
    wrong = [{"document_type": "resident_id", "document_number": MISTYPED, "subject": "grown"}]
    assert centre.post("/v1/imports/documents", wrong).status == 422

    until(lambda: scanned(site, f"DOC:passport:{PASSPORT}", LANES[1])["reason"] != Reason.NO_ENTITLEMENT)
    answers = {
        ELDER: scanned(site, ELDER, LANES[0]),
        GROWN: scanned(site, f"DOC:resident_id:{GROWN}", LANES[2]),
        CARD: scanned(site, f"DOC:card:{CARD}", LANES[1]),
        MISTYPED: scanned(site, MISTYPED, LANES[0]),
    }
    assert {number: answer["reason"] for number, answer in answers.items()} == {
        ELDER: Reason.STATUTORY_FREE,
        GROWN: Reason.FREE_VISIT,
        CARD: Reason.FREE_VISIT,
        MISTYPED: Reason.MISTYPED,
    }
    site.box.stop()
    site.box.start()
    told = b"".join(said for _, said in site.heard())
    files = [path for path in site.folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    for number in NUMBERS:
        secret = number[:-1].encode()
        assert secret not in told
        assert [path for path in files if secret in path.read_bytes()] == []
