"""Whatever is sent to the services, the answer is one that is documented: never a 500.

What they take although the contract does not allow it is a mistake too; the client finds both.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.contracts.site import LANES, PRODUCT, SITE_ID, Caller, sale

pytestmark = pytest.mark.e2e
MANY = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
TIMES = (
    "2026-07-01",
    "2026-07-01T08:00:00+08:00",
    "0001-01-01",
    "9999-12-31",
    "2026-02-30",
    "２０２６-07-01",
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(TIMES),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=5,
)
ROWS: Mapping[str, dict[str, Any]] = {
    "products": PRODUCT | {"code": "HOSTILE"},
    "tickets": {"issuer": "ota", "code": "OTA-9", "quantity": 1} | sale(),
    "refunds": {"issuer": "ota", "code": "OTA-9", "refunded": 0},
    "statuses": {"issuer": "ota", "code": "OTA-9", "status": "valid"},
    "groups": {"subject": "hostile", "group": "g", "valid_from": TIMES[0], "valid_until": TIMES[0]},
    "credit-lines": {"subject": "hostile", "limit_fen": 1, "per_visit_fen": 1, "valid_until": TIMES[0]},
    "boxes": {"box_id": "hostile", "site_id": SITE_ID, "public_key": "00:" + "00" * 32},
}
TYPES = st.sampled_from(
    ["application/json", "text/csv", "application/json; charset=latin-1", "", "x/y", "\xff"]
)
BODIES = st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode())
HEADERS = st.dictionaries(
    st.sampled_from(["Idempotency-Key", "Accept", "Range", "Content-Encoding", "If-None-Match", "Cookie"]),
    st.binary(max_size=20).map(lambda data: data.translate(None, b"\r\n\0")),
    max_size=2,
)
POSTS = ("/v1/tickets", "/v1/credit-codes", *(f"/v1/imports/{kind}" for kind in ROWS))


def bent(valid: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A valid object of which some fields are something else, gone, or too many."""
    names = st.sampled_from([*valid, "surplus"])
    return st.dictionaries(names, JSON, max_size=2).flatmap(
        lambda changes: st.sets(names, max_size=1).map(
            lambda gone: {name: value for name, value in (valid | changes).items() if name not in gone}
        )
    )


@MANY
@given(path=st.sampled_from(POSTS), body=BODIES, content_type=TYPES, headers=HEADERS)
@example("/v1/tickets", b'{"product": "\xff"}', "application/json", {})
@example("/v1/imports/groups", b'[{"subject": "\xff"}]', "application/json", {})
@example("/v1/tickets", b"{}", "application/json", {"Idempotency-Key": b"\xff"})
@example("/v1/tickets", b"x", "application/json", {"Content-Encoding": b"gzip"})
@example("/v1/imports/groups", b'"' * 200_000, "text/csv", {})
def test_centre_answers_any_body(
    centre: Caller, path: str, body: bytes, content_type: str, headers: dict[str, bytes]
) -> None:
    """Of any type, with any headers."""
    centre.send("POST", path, body, {"Content-Type": content_type, **headers})


@MANY
@given(kind=st.sampled_from(sorted(ROWS)), data=st.data())
def test_centre_answers_any_row(centre: Caller, kind: str, data: st.DataObject) -> None:
    """Of any kind, as JSON and as CSV."""
    row = data.draw(bent(ROWS[kind]))
    assert centre.post(f"/v1/imports/{kind}", [row]).status in (200, 422)
    cells = ",".join('"' + str(value).replace('"', '""') + '"' for value in row.values())
    text = f"{','.join(row)}\n{cells}\n"
    assert centre.upload(kind, text).status in (200, 422)


@pytest.mark.parametrize("value", [[{}], {}, [[]], [None], [1], {"a": [{}]}])
@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, row in ROWS.items() for field in row])
def test_centre_answers_any_shape_in_any_field(centre: Caller, kind: str, field: str, value: Any) -> None:
    """No field takes a list or an object for what it is not."""
    assert centre.post(f"/v1/imports/{kind}", [ROWS[kind] | {field: value}]).status == 422


@pytest.mark.parametrize("depth", [900, *range(980, 1000, 2), 100_000])
def test_centre_answers_any_depth(centre: Caller, depth: int) -> None:
    """Nothing is so deep that it cannot be refused."""
    body = b'[{"code": ' + b"[" * depth + b"]" * depth + b"}]"
    for path in ("/v1/imports/products", "/v1/tickets"):
        assert centre.send("POST", path, body, {"Content-Type": "application/json"}).status == 422


@MANY
@given(changes=bent(sale()), subject=JSON)
def test_centre_answers_any_order(centre: Caller, changes: dict[str, Any], subject: Any) -> None:
    """What is sold and issued is what the contract allows."""
    assert centre.post("/v1/tickets", changes).status in (201, 422)
    assert centre.post("/v1/credit-codes", {"subject": subject}).status in (200, 422)


WORDS = st.text("abcdef0123456789%ü/.-+ &=", max_size=12)


@MANY
@given(
    path=st.sampled_from(
        [
            "/v1/tickets/{}",
            "/v1/tickets/{}/code",
            "/v1/lists/{}/1",
            "/v1/lists/fairy/{}",
            "/console/{}",
            "/v1/{}",
        ]
    ),
    word=WORDS.map(lambda word: quote(word, safe="%/")),
)
def test_centre_answers_any_path(centre: Caller, path: str, word: str) -> None:
    """Found or not."""
    assert centre.get(path.format(word)).status in (200, 400, 404)


@MANY
@given(
    report=st.sampled_from(["admissions", "refusals", "conflicts"]),
    query=st.dictionaries(
        st.sampled_from(["key", "since", "limit"]), WORDS | st.integers().map(str), max_size=3
    ),
)
def test_centre_answers_any_question(centre: Caller, report: str, query: dict[str, str]) -> None:
    """With what it knows, or with what is wrong."""
    said = {name: value for name, value in query.items() if report != "conflicts" or name == "limit"}
    assert centre.get(f"/v1/{report}?{urlencode(said)}").status in (200, 422)


@MANY
@given(body=BODIES, headers=HEADERS)
@example(b'{"lane": "1", "payload": "\xff"}', {})
@example(b"x", {"Content-Encoding": b"gzip"})
def test_box_answers_any_body(box: Caller, body: bytes, headers: dict[str, bytes]) -> None:
    """With any headers."""
    box.send("POST", "/v1/scans", body, headers)


@MANY
@given(payload=st.text(max_size=50) | st.text(max_size=50).map("SG1:{}".format), in_base64=st.booleans())
def test_box_answers_any_code(box: Caller, payload: str, *, in_base64: bool) -> None:
    """With a verdict, and it is not ADMIT."""
    code = b64encode(payload.encode()).decode() if in_base64 else payload
    reply = box.post("/v1/scans", {"lane": LANES[2], "payload_base64" if in_base64 else "payload": code})
    assert reply.status == 409 or reply.json()["verdict"] == "DENY"


@MANY
@given(lane=WORDS.map(lambda word: quote(word, safe="")), width=WORDS | st.integers().map(str))
def test_box_answers_any_picture(box: Caller, lane: str, width: str) -> None:
    """Found or not."""
    assert box.get(f"/v1/lanes/{lane}/picture?width={quote(width)}").status in (200, 400, 404)
