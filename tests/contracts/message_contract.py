"""docs/asyncapi.yaml, and what it says of a message."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.contracts.documents import Schemas, load, pointed

DOCUMENT = load("asyncapi.yaml")
SCHEMAS = Schemas(DOCUMENT, is_async=True, closed=True)


def channel_of(topic: str) -> str | None:
    """The channel that a topic belongs to."""
    for name, channel in DOCUMENT["channels"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/+#]+", channel["address"]), topic):
            return str(name)
    return None


def problems(topic: str, payload: bytes) -> list[str]:
    """What in a message is not as documented."""
    channel = channel_of(topic)
    if channel is None:
        return [f"no channel has the topic {topic}"]
    (message,) = DOCUMENT["channels"][channel]["messages"].values()
    said = pointed(DOCUMENT, message)
    value = json.loads(payload) if said["contentType"] == "application/json" else payload.hex()
    return SCHEMAS.problems(said["payload"], value)


def schema(name: str) -> dict[str, Any]:
    """One of the document's schemas."""
    found: dict[str, Any] = DOCUMENT["components"]["schemas"][name]
    return found
