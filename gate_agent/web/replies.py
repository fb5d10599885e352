"""The form of what the box's service takes and answers, shared by its routes."""

from __future__ import annotations

import base64
from http import HTTPStatus
from typing import Any

from aiohttp import web

from admission.answers import Answer
from admission.codes import MAX_CODE_BYTES

MAX_BODY_BYTES = 4 * MAX_CODE_BYTES
"""Room for the longest code in base64, and some more to say that a code is too long."""


def error(status: HTTPStatus, code: str, message: str, field: str | None = None) -> web.Response:
    """Return an error in the form that all errors have."""
    found = {"code": code, "message": message} | ({"field": field} if field else {})
    return web.json_response({"error": found}, status=status)


def not_json(request: web.Request) -> web.Response | None:
    """Return the refusal of a body that does not say it is JSON, which no page of another origin can send unasked."""
    if request.content_type == "application/json":
        return None
    return error(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not_json", "the body must be application/json")


def too_large() -> web.Response:
    """Return the refusal of a body that is larger than any code needs."""
    return error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", f"more than {MAX_BODY_BYTES} bytes")


def payload_of(text: str | None, encoded: str | None) -> bytes:
    """Return the code's bytes, given as exactly one of text and base64; ValueError otherwise."""
    match text, encoded:
        case str(given), None:
            return given.encode()
        case None, str(given):
            try:
                return base64.b64decode(given, validate=True)
            except ValueError as problem:
                raise ValueError(f"payload_base64: {problem}") from problem
    raise ValueError("give exactly one of payload and payload_base64")


def answer_json(answer: Answer) -> dict[str, Any]:
    """Return a recorded answer as JSON values."""
    reason = answer.decision.reason
    return {
        "verdict": reason.verdict,
        "reason": reason,
        "text": {"zh": reason.wording.zh, "en": reason.wording.en},
        "staff_text": {"zh": reason.wording.staff_zh, "en": reason.wording.staff_en},
        "detail": answer.decision.detail,
        "record": answer.record,
        "admission_id": answer.admission_id.hex() if answer.admission_id else None,
        "persons": _persons(answer),
    }


def _persons(answer: Answer) -> int:
    """Return how many the answer lets in."""
    decision = answer.decision
    if decision.resumed is not None:
        return max(1, decision.resumed.quantity)
    return 0 if decision.spend is None else max(1, decision.spend.quantity)
