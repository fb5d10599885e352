"""Reads single fields of an import: what a cell or a JSON value means, or what is wrong with it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from admission.codes import MAX_TIME_S
from admission.keys import PublicKey, public_key_text, read_public_key
from admission.policy import Policy
from admission.terms import TermsError, check_terms

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})")


class FieldError(ValueError):
    """A value is not what its field takes; `field` is set when it is not the field being read."""

    def __init__(self, problem: str, field: str = "") -> None:
        super().__init__(problem)
        self.field = field


Reader = Callable[[Any], Any]
"""From a raw value, a text or something of JSON, to the field's value; FieldError when it is none."""


@dataclass(frozen=True, slots=True)
class Field:
    """One named field of a row; one that is not required reads as `default` when it is absent.

    What is secret is never quoted where a mistake is told of.
    """

    name: str
    read: Reader
    required: bool = True
    default: Any = None
    is_secret: bool = False


def terms_text(raw: Any) -> str:
    """Read a product's terms, as a JSON object or its text; return their canonical text."""
    try:
        return check_terms(raw if isinstance(raw, str) else json.dumps(raw))
    except TermsError as error:
        raise FieldError(str(error)) from error


def text(max_length: int = 64, *, pattern: str = "") -> Reader:
    """Return a reader of printable text of 1 to `max_length` characters without blanks around it."""
    shape = re.compile(pattern) if pattern else None

    def read(raw: Any) -> str:
        if not isinstance(raw, str):
            raise FieldError("not a text")
        if not 1 <= len(raw) <= max_length or not raw.isprintable() or raw != raw.strip():
            raise FieldError(f"not a text of 1 to {max_length} characters without blanks around it")
        if shape and not shape.fullmatch(raw):
            raise FieldError(f"not of the form {pattern}")
        return raw

    return read


def code_text(raw: Any) -> str:
    """Read another issuer's code: the ASCII text that a reader at the gate sees."""
    value: str = text(256)(raw)
    if not value.isascii():
        raise FieldError("not ASCII")
    return value


def integer(low: int, high: int) -> Reader:
    """Return a reader of whole numbers from `low` to `high`."""

    def read(raw: Any) -> int:
        is_number = type(raw) is int or (isinstance(raw, str) and re.fullmatch(r"-?\d{1,18}", raw, re.ASCII))
        if not is_number:
            raise FieldError("not a whole number")
        if not low <= int(raw) <= high:
            raise FieldError(f"not from {low} to {high}")
        return int(raw)

    return read


def choice(*values: str) -> Reader:
    """Return a reader of one of `values`."""

    def read(raw: Any) -> str:
        if raw not in values:
            raise FieldError(f"not one of {', '.join(values)}")
        return str(raw)

    return read


def words(known: frozenset[str]) -> Reader:
    """Return a reader of one or more of the `known` words: a JSON array, or a text with blanks between them."""

    def read(raw: Any) -> list[str]:
        given = raw.split() if isinstance(raw, str) else raw
        if not isinstance(given, list) or not given:
            raise FieldError("not one or more words")
        unknown = [str(word) for word in given if not (isinstance(word, str) and word in known)]
        if unknown:
            raise FieldError(f"{unknown[0]} is not one of {', '.join(sorted(known))}")
        return sorted(set(given))

    return read


def public_key(raw: Any) -> PublicKey:
    """Read a public key written as ID:KEY in hex."""
    try:
        return read_public_key(raw if isinstance(raw, str) else "")
    except ValueError as error:
        raise FieldError(str(error)) from error


def public_key_field(allow_demo: bool) -> Reader:
    """Return a reader of public keys, kept as text; demo keys only where they are allowed."""

    def read(raw: Any) -> str:
        key = public_key(raw)
        if key.is_demo and not allow_demo:
            raise FieldError("a demo key, which only the demo profile accepts")
        return public_key_text(key)

    return read


@dataclass(frozen=True, slots=True)
class Times:
    """Reads ISO 8601 dates, which are days of the policy's zone, and times, which state their offset."""

    policy: Policy

    def start(self, raw: Any) -> int:
        """Read from when on something holds, UTC seconds."""
        return self._read(raw, days=-1)

    def end(self, raw: Any) -> int:
        """Read before when something holds, UTC seconds; a date is the last day, all of it."""
        return self._read(raw, days=0)

    def _read(self, raw: Any, days: int) -> int:
        if not isinstance(raw, str) or not (_DAY.fullmatch(raw) or _MOMENT.fullmatch(raw)):
            raise FieldError(
                "not an ISO 8601 date (2026-07-01) or time with offset (2026-07-01T08:00:00+08:00)"
            )
        try:
            if "T" in raw:
                at_s = int(datetime.fromisoformat(raw).astimezone(UTC).timestamp())
            else:
                at_s = self.policy.day_end_s(date.fromisoformat(raw) + timedelta(days=days))
        except (ValueError, OverflowError) as error:
            raise FieldError(f"no such date or time: {error}") from error
        if not 0 <= at_s < MAX_TIME_S:
            raise FieldError("out of range")
        return at_s
