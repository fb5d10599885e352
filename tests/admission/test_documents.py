"""Documents: which texts are one, what their numbers say, and that no number is kept or quoted."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.codes import DocumentCode, ExternalCode, Rejected, parse
from admission.documents import DocumentKind, age_on, document, document_key, read_document
from admission.reasons import Reason
from admission.short_codes import MistypedError
from tests.admission.makers import BOOK, HASH_KEY

ELDER = "11010519491231002X"
"""The example of GB 11643 itself, born on the last day of 1949."""
OTHER_KEY = bytes(32)


@pytest.mark.parametrize("number", ["04A2B3C4D5E680", "6217000010001234567", "11010519491231002X"])
def test_a_card_is_known_by_whatever_number_its_reader_gives(number: str) -> None:
    """Nothing is read out of it, whatever it looks like."""
    read = read_document(f"DOC:card:{number.lower()}")
    assert read is not None
    assert (read.kind, read.number, read.born) == (DocumentKind.CARD, number, None)


def resident_id(born: date, serial: int = 1) -> str:
    """A number with this birth date and a right check character."""
    body = f"500232{born:%Y%m%d}{serial:03}"
    total = sum(int(digit) << (17 - place) for place, digit in enumerate(body))
    return body + "0123456789X"[(1 - total) % 11]


def test_example_of_the_standard_is_read() -> None:
    """With the birth date that stands in it."""
    assert document(DocumentKind.RESIDENT_ID, ELDER).born == date(1949, 12, 31)


@pytest.mark.parametrize(
    ("text", "kind", "number"),
    [
        (ELDER, DocumentKind.RESIDENT_ID, ELDER),
        (ELDER.lower(), DocumentKind.RESIDENT_ID, ELDER),
        (f"DOC:resident_id:{ELDER}", DocumentKind.RESIDENT_ID, ELDER),
        ("doc:RESIDENT_ID:110105 19491231 002x", DocumentKind.RESIDENT_ID, ELDER),
        ("DOC:hm_permit:H12345678", DocumentKind.HM_PERMIT, "H12345678"),
        ("DOC:hm_permit:M1234567802", DocumentKind.HM_PERMIT, "M12345678"),
        ("DOC:tw_permit:12345678", DocumentKind.TW_PERMIT, "12345678"),
        ("DOC:tw_permit:1234567803", DocumentKind.TW_PERMIT, "12345678"),
        ("DOC:permanent_resident:USA310080010101", DocumentKind.PERMANENT_RESIDENT, "USA310080010101"),
        ("DOC:passport:E12345678", DocumentKind.PASSPORT, "E12345678"),
    ],
)
def test_document_is_read_whatever_its_writing(text: str, kind: DocumentKind, number: str) -> None:
    """A renewed permit is the same person's: the count of its issues is left out."""
    found = read_document(text)
    assert found is not None
    assert (found.kind, found.number) == (kind, number)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("DOC:driver:12345678", "the kind of document is none of"),
        ("DOC:resident_id:1101051949123100", "has not the form"),
        ("DOC:resident_id:110105194912310021", "check character"),
        ("110105194912310021", "check character"),
        ("DOC:resident_id:11010519491331002X", "no birth date"),
        ("DOC:hm_permit:A12345678", "has not the form"),
        ("DOC:hm_permit:H123456780", "has not the form"),
        ("DOC:tw_permit:123456789", "has not the form"),
        ("DOC:passport:E1", "has not the form"),
        ("DOC:permanent_resident:911010519491231002", "no birth date"),
    ],
)
def test_mistyped_document_says_what_is_wrong(text: str, problem: str) -> None:
    """Without a word of the number."""
    with pytest.raises(MistypedError, match=problem) as caught:
        read_document(text)
    assert not any(part.isdigit() and len(part) > 2 for part in str(caught.value).split())


@pytest.mark.parametrize("text", ["110105", "SG1:AB", "11010519491331002X", "01010519491231002X", "A" * 18])
def test_other_texts_are_no_documents(text: str) -> None:
    """Eighteen digits that hold no date are nobody's number."""
    assert read_document(text) is None


@given(st.dates(date(1900, 1, 1), date(2099, 12, 31)), st.integers(0, 999))
def test_every_number_with_its_check_character_is_read(born: date, serial: int) -> None:
    """And says when its holder was born."""
    assert document(DocumentKind.RESIDENT_ID, resident_id(born, serial)).born == born


@given(st.integers(6, 16), st.integers(1, 9))
def test_another_digit_is_found(place: int, more: int) -> None:
    """One wrong digit is never somebody else's right."""
    wrong = ELDER[:place] + str((int(ELDER[place]) + more) % 10) + ELDER[place + 1 :]
    with pytest.raises(MistypedError):
        document(DocumentKind.RESIDENT_ID, wrong)


def test_new_card_of_a_permanent_resident_holds_a_birth_date() -> None:
    """It has the form of a resident's number, and begins with 9."""
    body = "91010519800101002"
    total = sum(int(digit) << (17 - place) for place, digit in enumerate(body))
    number = body + "0123456789X"[(1 - total) % 11]
    assert document(DocumentKind.PERMANENT_RESIDENT, number).born == date(1980, 1, 1)


def test_key_depends_on_kind_number_and_hash_key() -> None:
    """Two kinds may have the same number, and another site's hash key tells nobody anything."""
    passport = document(DocumentKind.PASSPORT, "12345678")
    permit = document(DocumentKind.TW_PERMIT, "12345678")
    keys = {
        document_key(passport, HASH_KEY),
        document_key(permit, HASH_KEY),
        document_key(passport, OTHER_KEY),
    }
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("day", "age"),
    [
        (date(2014, 12, 30), 64),
        (date(2014, 12, 31), 65),
        (date(1949, 12, 31), 0),
        (date(1949, 12, 30), -1),
    ],
)
def test_age_is_completed_on_the_birthday(day: date, age: int) -> None:
    """Not a day before."""
    assert age_on(day, date(1949, 12, 31)) == age


@pytest.mark.parametrize(("day", "age"), [(date(2025, 2, 28), 4), (date(2025, 3, 1), 5)])
def test_who_is_born_on_a_leap_day_waits_for_march(day: date, age: int) -> None:
    """In years that have no such day."""
    assert age_on(day, date(2020, 2, 29)) == age


def test_document_becomes_a_credential_without_its_number() -> None:
    """Neither it nor the birth date can be printed."""
    found = parse(ELDER.encode(), BOOK)
    assert isinstance(found, DocumentCode)
    assert found.born == date(1949, 12, 31)
    assert ELDER not in repr(found)
    assert "1949" not in repr(found)
    assert ELDER not in repr(document(DocumentKind.RESIDENT_ID, ELDER))


def test_mistyped_document_is_refused_without_its_number() -> None:
    """The detail goes into the diary."""
    found = parse(b"DOC:resident_id:110105194912310021", BOOK)
    assert isinstance(found, Rejected)
    assert found.reason is Reason.MISTYPED
    assert "1101" not in found.detail


def test_other_issuers_patterns_go_first() -> None:
    """Somebody set them up on purpose."""
    assert isinstance(parse(b"OTA1234567890", BOOK), ExternalCode)
