"""docs/openapi.yaml, and what it says of a request and its answer."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.contracts.documents import Schemas, load, pointed

DOCUMENT = load("openapi.yaml")
REQUESTS = Schemas(DOCUMENT, is_async=False, closed=False)
ANSWERS = Schemas(DOCUMENT, is_async=False, closed=True)
METHODS = ("get", "post", "put", "patch", "delete")
NO_HTTP = (400, 417)
"""How a request is refused, as text, in which HTTP itself is wrong."""
NO_OPERATION = (401, 404, 405)
"""How a request is refused that is for no operation."""


class Service(StrEnum):
    """The services of the document, by the description of their server."""

    CENTRE = "the centre"
    BOX = "a box"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request to a service and its answer."""

    service: Service
    method: str
    target: str
    headers: Mapping[str, str | bytes]
    body: bytes
    status: int
    content_type: str
    answer: bytes


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation with its path, and the values that a request has in it."""

    path: str
    said: Mapping[str, Any]
    in_path: Mapping[str, str]


def operations(service: Service) -> set[tuple[str, str]]:
    """Method and path of all operations of a service."""
    return {
        (method.upper(), path)
        for path, item in DOCUMENT["paths"].items()
        if _serves(service, item)
        for method in METHODS
        if method in item
    }


def problems(exchange: Exchange) -> list[str]:
    """What in an exchange is not as documented.

    Every answer must be. A request must be when it was served: what is not in the contract must not work either.
    """
    if exchange.status in NO_HTTP and exchange.content_type == "text/plain":
        return []
    operation = _find(exchange)
    if operation is None:
        return list(_stray_problems(exchange))
    found = list(_answer_problems(exchange, operation.said))
    if exchange.status < 300:
        found += _request_problems(exchange, operation)
    return found


def _serves(service: Service, item: Mapping[str, Any]) -> bool:
    return service in [server["description"] for server in item["servers"]]


def _find(exchange: Exchange) -> Operation | None:
    path = urlsplit(exchange.target).path
    method = "get" if exchange.method == "HEAD" else exchange.method.lower()
    for template, item in DOCUMENT["paths"].items():
        shape = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template)
        match = re.fullmatch(shape, path)
        if match and method in item and _serves(exchange.service, item):
            return Operation(template, item[method], match.groupdict())
    return None


def _stray_problems(exchange: Exchange) -> Iterator[str]:
    if exchange.status not in NO_OPERATION:
        yield f"{exchange.method} {exchange.target} is not documented and answers {exchange.status}"
    elif exchange.method != "HEAD":
        yield from _json_problems({"$ref": "#/components/schemas/Error"}, exchange.answer)


def _answer_problems(exchange: Exchange, said: Mapping[str, Any]) -> Iterator[str]:
    response = said["responses"].get(str(exchange.status))
    if response is None:
        yield f"status {exchange.status} is not documented: {exchange.answer[:200]!r}"
        return
    content = pointed(DOCUMENT, response).get("content")
    if content is None or exchange.method == "HEAD":
        return
    if exchange.content_type not in content:
        yield f"an answer in {exchange.content_type} is not documented"
    elif exchange.content_type == "application/json":
        yield from _json_problems(content["application/json"]["schema"], exchange.answer)


def _json_problems(schema: Mapping[str, Any], answer: bytes) -> list[str]:
    try:
        return ANSWERS.problems(schema, json.loads(answer))
    except ValueError as error:
        return [f"the answer is not JSON: {error}"]


def _request_problems(exchange: Exchange, operation: Operation) -> Iterator[str]:
    parameters = [pointed(DOCUMENT, parameter) for parameter in operation.said.get("parameters", ())]
    schemas = {(parameter["in"], parameter["name"]): parameter["schema"] for parameter in parameters}
    query = parse_qsl(urlsplit(exchange.target).query, keep_blank_values=True)
    given = [("path", name, unquote(value)) for name, value in operation.in_path.items()]
    for place, name, value in (*given, *(("query", name, value) for name, value in query)):
        schema = schemas.get((place, name))
        if schema is None:
            yield f"{name} in the {place} is not documented"
        else:
            yield from REQUESTS.problems(schema, _parameter(schema, value))
    if "requestBody" in operation.said:
        yield from _body_problems(exchange, operation.said["requestBody"]["content"])


def _parameter(schema: Mapping[str, Any], text: str) -> Any:
    is_number = schema.get("type") == "integer" and re.fullmatch(r"-?\d+", text)
    return int(text) if is_number else text


def _body_problems(exchange: Exchange, content: Mapping[str, Any]) -> Iterator[str]:
    header = exchange.headers.get("Content-Type", "")
    media_type = header.partition(";")[0].strip().lower() if isinstance(header, str) else ""
    if media_type not in content:
        if exchange.service is Service.CENTRE:  # a box takes the bytes for what they must be
            yield f"a body in {header!r} is not documented"
        media_type = "application/json"
    schema = content["application/json"]["schema"]
    is_csv = media_type == "text/csv"
    value = _csv_rows(exchange.body) if is_csv else json.loads(exchange.body)
    yield from REQUESTS.problems(schema, value)


def _csv_rows(body: bytes) -> list[dict[str, str]]:
    """A file's rows as the contract describes them: an empty cell is an absent value."""
    rows = csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""))
    return [{name.strip(): cell for name, cell in row.items() if cell} for row in rows]
