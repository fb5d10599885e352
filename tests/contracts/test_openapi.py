"""docs/openapi.yaml against the routes and the words of the code."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from jsonschema import Draft202012Validator

from admission.passage import State
from admission.reasons import Reason, Verdict
from admission.tickets import Basis, Outcome, Risk, TicketStatus
from central.imports.kinds import import_kinds
from central.judging import ConflictKind
from central.keys import create_keys
from central.settings import HttpTable
from central.store import open_store
from central.web.centre import Centre
from central.web.server import make_app
from config.policy_file import load_policy
from config.settings import load_settings
from gate_agent.app import App
from offline_cache.database import Database
from scanner.camera import CameraState
from tests.contracts.documents import pointed
from tests.contracts.http_contract import DOCUMENT, METHODS, Service, operations
from tests.contracts.site import POLICY_FILE, new_box

KINDS = import_kinds(load_policy(POLICY_FILE), b"k" * 32, allow_demo_keys=False)
SCHEMAS = DOCUMENT["components"]["schemas"]
ALL = [
    (path, method, DOCUMENT["paths"][path][method])
    for path in DOCUMENT["paths"]
    for method in METHODS
    if method in DOCUMENT["paths"][path]
]


def routes_of(router: web.UrlDispatcher) -> set[tuple[str, str]]:
    """Method and path of all routes; HEAD goes with GET."""
    named = [
        (route.method, route.resource.canonical) for route in router.routes() if route.resource is not None
    ]
    return {(method, path) for method, path in named if method != "HEAD"}


def by_kind(routes: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """The routes, the one for imports once for each kind: each has its own rows."""
    return {(method, path.replace("{kind}", kind)) for method, path in routes for kind in KINDS}


def test_centre_serves_what_is_documented_and_nothing_else(tmp_path: Path) -> None:
    """Every route stands in the document, and every operation of the document has a route."""
    store = open_store(tmp_path / "centre.db")
    centre = Centre(
        store=store,
        policy=load_policy(POLICY_FILE),
        keys=create_keys(tmp_path / "keys", demo=False),
        lists=tmp_path,
        allow_demo_keys=False,
        clock=lambda: 0,
        new_short_code=lambda: "",
        rights_changed=lambda: None,
    )
    try:
        assert by_kind(routes_of(make_app(centre, HttpTable()).router)) == operations(Service.CENTRE)
    finally:
        store.close()


async def test_box_serves_what_is_documented_and_nothing_else(tmp_path: Path) -> None:
    """Every route stands in the document, and every operation of the document has a route."""
    box = new_box(
        tmp_path,
        create_keys(tmp_path / "keys", demo=True),
        1,
        "http://centre",
        "B1",
        lanes="""
[[lanes]]
id = "1"
[lanes.turnstile]
driver = "simulated"
""",
    )
    box.write_settings()
    settings = load_settings(tmp_path / "box.toml")
    database = await Database.open(tmp_path / settings.state_dir)
    try:
        app = App(settings, tmp_path, load_policy(POLICY_FILE), database)
        runner_app = app._web._runner.app
        assert routes_of(runner_app.router) == operations(Service.BOX)
    finally:
        await database.close()


@pytest.mark.parametrize("kind", KINDS)
def test_import_has_the_fields_of_its_kind(kind: str) -> None:
    """By name, in JSON and in the example of a CSV file, and which of them must be there."""
    content = DOCUMENT["paths"][f"/v1/imports/{kind}"]["post"]["requestBody"]["content"]
    row = pointed(DOCUMENT, content["application/json"]["schema"]["oneOf"][0]["items"])
    fields = KINDS[kind].layout.fields
    assert list(row["properties"]) == [field.name for field in fields]
    assert row["required"] == [field.name for field in fields if field.required]
    example = content["text/csv"].get("example", ",".join(field.name for field in fields))
    assert example.splitlines()[0].split(",") == [field.name for field in fields]


def names(kind: Any) -> list[str]:
    """The members of an enumeration whose names travel in lower case."""
    return [member.name.lower() for member in kind]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("Reason", list(Reason)),
        ("Verdict", list(Verdict)),
        ("TicketStatus", list(TicketStatus)),
        ("ConflictKind", list(ConflictKind)),
        ("Basis", names(Basis)),
        ("Risk", names(Risk)),
        ("Outcome", names(Outcome)),
        ("Barrier", [state.name for state in State]),
    ],
)
def test_words_are_those_of_the_code(schema: str, words: list[str]) -> None:
    """A closed list of the document has exactly the members that the code knows."""
    assert SCHEMAS[schema]["enum"] == words


def test_camera_states_are_those_of_the_code() -> None:
    """What a camera of a lane may be doing."""
    camera = SCHEMAS["LaneState"]["properties"]["camera"]["oneOf"][0]
    assert camera["properties"]["state"]["enum"] == [state.value for state in CameraState]


def test_references_lead_somewhere() -> None:
    """And every schema is one."""
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)
    for node in nodes(DOCUMENT):
        if "$ref" in node:
            assert pointed(DOCUMENT, node)


def nodes(part: Any) -> Iterable[dict[str, Any]]:
    """Every object in a part of the document."""
    if isinstance(part, dict):
        yield part
    for item in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from nodes(item)


def test_operations_are_told_apart() -> None:
    """Each has a name of its own, one tag that is explained, and says what it is for."""
    ids = [said["operationId"] for _, _, said in ALL]
    assert len(set(ids)) == len(ids)
    assert {tag for _, _, said in ALL for tag in said["tags"]} == {tag["name"] for tag in DOCUMENT["tags"]}
    assert all(said["summary"] and len(said["tags"]) == 1 for _, _, said in ALL)


@pytest.mark.parametrize(("path", "method", "said"), ALL)
def test_operation_that_takes_a_token_says_so(path: str, method: str, said: dict[str, Any]) -> None:
    """Whatever is under /v1 can answer 401, and the metrics, and nothing else does."""
    is_guarded = path.startswith("/v1/") or path == "/metrics"
    assert ("401" in said["responses"]) is is_guarded
    assert (said.get("security") == []) is not is_guarded
    in_path = {
        pointed(DOCUMENT, p)["name"]
        for p in said.get("parameters", ())
        if pointed(DOCUMENT, p)["in"] == "path"
    }
    assert in_path == set(re.findall(r"\{(\w+)\}", path))
