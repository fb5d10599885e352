"""Documents: a kind and a number, known to the gate only by a keyed hash, and the birth date that some numbers hold.

The number is forgotten as soon as its hash is made; nothing here keeps, prints or quotes one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from hashlib import blake2b

from admission.short_codes import MistypedError

DOCUMENT_PREFIX = "DOC:"
"""What a reader of documents puts before `KIND:NUMBER`; a resident's number is known without it."""
KEY_BYTES = 16


class DocumentKind(StrEnum):
    """The documents that visitors bring."""

    RESIDENT_ID = "resident_id"
    """居民身份证, and 港澳台居民居住证, which has the same form (GB 11643)."""
    HM_PERMIT = "hm_permit"
    """港澳居民来往内地通行证."""
    TW_PERMIT = "tw_permit"
    """台湾居民来往大陆通行证."""
    PERMANENT_RESIDENT = "permanent_resident"
    """外国人永久居留身份证, old or new."""
    PASSPORT = "passport"
    CARD = "card"
    """A pass card, or a bank's tourism card, by the number that its reader gives."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it was read; `born` where its number holds the birth date."""

    kind: DocumentKind
    number: str = field(repr=False)
    born: date | None = field(repr=False)


# The person's part of a permit comes first; how often it was issued follows, and changes with every renewal.
_FORMS = {
    DocumentKind.RESIDENT_ID: re.compile(r"([1-8]\d{16}[\dX])"),
    DocumentKind.HM_PERMIT: re.compile(r"([HM]\d{8})(?:\d{2})?"),
    DocumentKind.TW_PERMIT: re.compile(r"(\d{8})(?:\d{2})?"),
    DocumentKind.PERMANENT_RESIDENT: re.compile(r"(9\d{16}[\dX]|[A-Z]{3}\d{12})"),
    DocumentKind.PASSPORT: re.compile(r"([A-Z0-9]{5,12})"),
    DocumentKind.CARD: re.compile(r"([A-Z0-9]{6,32})"),
}
_CHECKED_CHARS = 18
"""A number of so many characters holds a birth date and ends in the check character of GB 11643."""


def read_document(text: str) -> Document | None:
    """Return the document that a reader's or keyboard's text is, or None when it has no such form.

    MistypedError, which quotes nothing, when it has the form and its characters do not belong together.
    """
    written = "".join(text.upper().split())
    if not written.startswith(DOCUMENT_PREFIX):
        fits = _FORMS[DocumentKind.RESIDENT_ID].fullmatch(written) and _birth_date(written)
        return document(DocumentKind.RESIDENT_ID, written) if fits else None
    word, _, number = written.removeprefix(DOCUMENT_PREFIX).partition(":")
    kind = next((kind for kind in DocumentKind if kind.value.upper() == word), None)
    if kind is None:
        raise MistypedError("the kind of document is none of " + ", ".join(DocumentKind))
    return document(kind, number)


def document(kind: DocumentKind, number: str) -> Document:
    """Return the document with the number as it is written; MistypedError when no such document can be."""
    found = _FORMS[kind].fullmatch("".join(number.upper().split()))
    if found is None:
        raise MistypedError(f"the number has not the form of a {kind}")
    person = found[1]
    if len(person) != _CHECKED_CHARS or kind is DocumentKind.CARD:
        return Document(kind, person, None)
    born = _birth_date(person)
    if born is None:
        raise MistypedError("the number holds no birth date")
    if not _is_checked(person):
        raise MistypedError("the number's check character is another")
    return Document(kind, person, born)


def document_key(of: Document, hash_key: bytes) -> bytes:
    """Return the keyed hash under which lists and uses know the document."""
    text = f"{of.kind}\0{of.number}".encode()
    return blake2b(text, digest_size=KEY_BYTES, key=hash_key, person=b"sg document").digest()


def age_on(day: date, born: date) -> int:
    """Return how many years old somebody is on `day`; whoever is born on 29 February is so from 1 March on."""
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


def _birth_date(number: str) -> date | None:
    try:
        return date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return None


def _is_checked(number: str) -> bool:
    """Return whether the last character is the check character of GB 11643 (ISO 7064, MOD 11-2)."""
    values = (10 if character == "X" else int(character) for character in number)
    return sum(value << (17 - place) for place, value in enumerate(values)) % 11 == 1
