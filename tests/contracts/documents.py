"""The contracts as files, and how a value is held against a schema in them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cbor2
import yaml
from jsonschema import Draft7Validator, Draft202012Validator, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import DRAFT7, DRAFT202012

DOCS = Path(__file__).parent.parent.parent / "docs"
_URI = "urn:contract"


def load(name: str) -> dict[str, Any]:
    """The document in a file of docs."""
    document: dict[str, Any] = yaml.safe_load((DOCS / name).read_text(encoding="utf-8"))
    return document


def pointed(document: Any, node: Any) -> Any:
    """What a node is, or what it refers to if it does."""
    while "$ref" in node:
        parts = node["$ref"].removeprefix("#/").split("/")
        node = document
        for part in parts:
            node = node[part]
    return node


class Schemas:
    """The schemas of one document.

    Readers ignore what they do not know. With `closed`, what the document does not know is a mistake all the same: so
    a program is found that says more than it promises.
    """

    def __init__(self, document: Any, *, is_async: bool, closed: bool) -> None:
        self._document = document
        self._is_closed = closed
        self._validator: Any = _Draft7WithContents if is_async else Draft202012Validator
        resource = (DRAFT7 if is_async else DRAFT202012).create_resource(self._prepared(document))
        self._registry: Registry[Any] = Registry().with_resource(_URI, resource)

    def problems(self, schema: Mapping[str, Any], value: Any) -> list[str]:
        """What is wrong with a value, each with its place."""
        validator = self._validator(self._prepared(schema), registry=self._registry)
        return [problem for error in validator.iter_errors(value) for problem in _told(error)]

    def _prepared(self, node: Any) -> Any:
        """A part of the document that refers to the rest by its address."""
        node = _closed(self._document, node) if self._is_closed else node
        return json.loads(json.dumps(node).replace('"#/', f'"{_URI}#/'))


def _told(error: ValidationError) -> Iterator[str]:
    """Every cause of an error: that none of five schemas fits would help nobody."""
    for cause in error.context or ():
        yield from _told(cause)
    if not error.context:
        yield f"{error.json_path}: {error.message[:300]}"


def _closed(document: Any, node: Any) -> Any:
    """A part of the document whose schemas take no field that they do not name."""
    if isinstance(node, list):
        return [_closed(document, item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {name: _closed(document, item) for name, item in node.items() if name != "allOf"}
    for part in node.get("allOf", ()):
        base = _closed(document, pointed(document, part))
        made["properties"] = base["properties"] | made["properties"]
        made["required"] = base["required"] + made["required"]
    if isinstance(made.get("properties"), dict):
        made.setdefault("additionalProperties", False)
    if isinstance(made.get("items"), list):
        made["additionalItems"] = False
    return made


def _check_content(validator: Any, schema: Any, instance: Any, whole: Any) -> Iterator[ValidationError]:
    """Hold what the bytes of a text contain against `contentSchema`."""
    try:
        content = _content(whole["contentMediaType"], bytes.fromhex(instance))
    except (TypeError, ValueError, zlib.error, cbor2.CBORError) as error:
        yield ValidationError(f"not {whole['contentMediaType']}: {error}")
        return
    yield from validator.descend(content, schema, schema_path="contentSchema")


def _content(media_type: str, data: bytes) -> Any:
    match media_type.partition(";")[0]:
        case "application/zlib":
            return zlib.decompress(data).hex()
        case "application/cbor" | "application/cose":
            value = cbor2.loads(data)
            if cbor2.dumps(value, canonical=True) != data:
                raise ValueError("not in deterministic form")
            return _as_json(value)
        case _:
            raise ValueError("no such type here")


def _as_json(value: Any) -> Any:
    """CBOR's value as the contract writes it: bytes in hex, keys as text."""
    match value:
        case bytes():
            return value.hex()
        case list():
            return [_as_json(item) for item in value]
        case dict():
            return {str(name): _as_json(item) for name, item in value.items()}
        case _:
            return value


_Draft7WithContents = extend(Draft7Validator, {"contentSchema": _check_content})  # type: ignore[no-untyped-call]
