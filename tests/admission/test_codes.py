"""Every kind of code, from honest to hostile."""

from __future__ import annotations

import re
import time
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admission import base45
from admission.codes import (
    MAX_CODE_BYTES,
    MAX_TIME_S,
    PREFIX,
    CodeBook,
    CreditCode,
    ExternalCode,
    ExternalIssuer,
    KeyUse,
    Rejected,
    TicketCode,
    external_key,
    issue_credit_code,
    issue_ticket_code,
    parse,
    subject_key,
    ticket_key,
)
from admission.envelope import Context, seal
from admission.keys import SigningKey
from admission.reasons import Reason
from tests.admission.makers import (
    BOOK,
    CREDIT_ISSUER,
    HASH_KEY,
    STRANGER,
    TICKET_ISSUER,
    VALIDITY,
    issuer_key,
)

TICKET_ID = bytes(range(12))
TICKET_TEXT = issue_ticket_code(TICKET_ID, "DAY1", VALIDITY, TICKET_ISSUER).encode()
CREDIT_TEXT = issue_credit_code("subject-1", VALIDITY, CREDIT_ISSUER).encode()

SUB, EXP, NBF, IAT, CTI, SCOPE = 2, 4, 5, 6, 7, 9
CLAIMS: dict[Any, Any] = {NBF: 1, EXP: 2, IAT: 0, CTI: TICKET_ID, SCOPE: "DAY1"}
WITHOUT = object()


def signed(payload: bytes, key: SigningKey = TICKET_ISSUER) -> bytes:
    """A code around any payload, signed by a trusted issuer."""
    return PREFIX + base45.encode(seal(payload, key, Context.CODE))


def with_claims(changes: dict[Any, Any], key: SigningKey = TICKET_ISSUER) -> bytes:
    """A signed code with other claims than a good ticket's."""
    claims = {claim: value for claim, value in (CLAIMS | changes).items() if value is not WITHOUT}
    return signed(cbor2.dumps(claims, canonical=True), key)


def reason(payload: bytes, book: CodeBook = BOOK) -> Reason:
    """Why the payload is no credential."""
    parsed = parse(payload, book)
    assert isinstance(parsed, Rejected), parsed
    return parsed.reason


# --- honest codes


def test_a_voucher_names_the_merchant_who_gave_it_away() -> None:
    """As the subject that the list knows; it is a ticket, whoever's."""
    text = issue_ticket_code(TICKET_ID, "DAY1", VALIDITY, TICKET_ISSUER, merchant="m-17").encode()
    read = parse(text, BOOK)
    assert isinstance(read, TicketCode)
    assert (read, read.merchant) == (parse(TICKET_TEXT, BOOK), subject_key("m-17"))


def test_a_ticket_code_is_read_as_it_was_issued() -> None:
    """Key, product and validity come back."""
    assert parse(TICKET_TEXT, BOOK) == TicketCode(ticket_key(TICKET_ID), "DAY1", VALIDITY)


def test_a_credit_code_is_read_as_it_was_issued() -> None:
    """The subject is known by its key alone."""
    assert parse(CREDIT_TEXT, BOOK) == CreditCode(subject_key("subject-1"), VALIDITY)


@pytest.mark.parametrize(("text", "issuer"), [("OTA0123456789", "ota"), ("AB-123456", "office")])
def test_an_external_code_is_known_by_its_issuers_pattern_and_keyed_hash(text: str, issuer: str) -> None:
    """The code itself is not kept."""
    assert parse(text.encode(), BOOK) == ExternalCode(external_key(issuer, text, HASH_KEY), issuer)


@pytest.mark.parametrize(
    "text", [b"OTA012345678", b"OTA01234567890", b" OTA0123456789", b"OTA0123456789\n", b"ab-123456"]
)
def test_an_external_code_matches_as_a_whole(text: bytes) -> None:
    """Not a part of it, and no line end."""
    assert reason(text) is Reason.NOT_A_TICKET


def test_keys_of_different_kinds_and_issuers_never_meet() -> None:
    """The same text is another key as a ticket, a subject, another issuer's code, or under another hash key."""
    keys = {
        ticket_key(b"12345678"),
        subject_key("12345678"),
        external_key("", "12345678", HASH_KEY),
        external_key("a", "12345678", HASH_KEY),
        external_key("a", "12345678", bytes(32)),
        external_key("a1", "2345678", HASH_KEY),
    }
    assert len(keys) == 6
    assert {len(key) for key in keys} == {16}


def test_a_ticket_code_is_short_enough_for_paper() -> None:
    """At most 120 raw bytes with a demo key's 5-byte id, in the characters of a QR symbol's alphanumeric mode."""
    assert len(TICKET_ISSUER.key_id) == 5
    assert len(base45.decode(TICKET_TEXT[len(PREFIX) :])) <= 120
    assert re.fullmatch(rb"[0-9A-Z $%*+\-./:]+", TICKET_TEXT)
    assert re.fullmatch(rb"[0-9A-Z $%*+\-./:]+", CREDIT_TEXT)


def test_claims_that_are_not_known_are_ignored() -> None:
    """Later releases may add some."""
    assert isinstance(parse(with_claims({99: ["later"]}), BOOK), TicketCode)


# --- keys and what they may issue


def test_a_key_issues_only_what_it_is_trusted_for() -> None:
    """A ticket issuer's credit code, and the reverse, count for nothing."""
    assert reason(issue_credit_code("s", VALIDITY, TICKET_ISSUER).encode()) is Reason.BAD_SIGNATURE
    assert (
        reason(issue_ticket_code(TICKET_ID, "DAY1", VALIDITY, CREDIT_ISSUER).encode()) is Reason.BAD_SIGNATURE
    )


def test_an_unknown_issuer_is_told_from_a_forger() -> None:
    """Another key id is an unknown key; a trusted id over another's signature is a bad signature."""
    assert reason(issue_ticket_code(TICKET_ID, "DAY1", VALIDITY, STRANGER).encode()) is Reason.UNKNOWN_KEY
    forger = SigningKey(TICKET_ISSUER.key_id, STRANGER.private_key)
    assert reason(issue_ticket_code(TICKET_ID, "DAY1", VALIDITY, forger).encode()) is Reason.BAD_SIGNATURE


def test_a_signature_given_for_a_list_is_none_for_a_code() -> None:
    """The context separates what a key signs."""
    text = PREFIX + base45.encode(seal(cbor2.dumps(CLAIMS, canonical=True), TICKET_ISSUER, Context.LIST))
    assert reason(text) is Reason.BAD_SIGNATURE


def test_a_key_may_issue_both() -> None:
    """Uses are a set."""
    book = CodeBook({TICKET_ISSUER.key_id: issuer_key(TICKET_ISSUER, *KeyUse)}, (), HASH_KEY)
    assert isinstance(parse(TICKET_TEXT, book), TicketCode)
    assert isinstance(parse(issue_credit_code("s", VALIDITY, TICKET_ISSUER).encode(), book), CreditCode)


# --- hostile input

NOT_TICKETS = {
    "empty": b"",
    "a space": b" ",
    "a payment code": b"134567890123456789",
    "a web address": b"https://example.org/poster",
    "10 kB of letters": b"A" * 10_240,
    "10 kB after the prefix": PREFIX + b"A" * 10_240,
    "one byte too long": PREFIX + b"A" * (MAX_CODE_BYTES - len(PREFIX) + 1),
    "control bytes": bytes(range(32)),
    "not a text": b"\xff\xfe\x00",
    "Chinese": "门票".encode(),
    "another prefix": b"SG2:" + TICKET_TEXT[4:],
    "the prefix in small letters": TICKET_TEXT.lower(),
    "a ticket after a space": b" " + TICKET_TEXT,
}


@pytest.mark.parametrize("name", NOT_TICKETS)
def test_what_is_no_code_of_any_kind_is_not_a_ticket(name: str) -> None:
    """Friendly, whatever it is."""
    assert reason(NOT_TICKETS[name]) is Reason.NOT_A_TICKET


MALFORMED = {
    "the prefix alone": PREFIX,
    "not base45": PREFIX + b"abc",
    "a base45 group too large": PREFIX + b":::",
    "no envelope": PREFIX + base45.encode(b"hello"),
    "truncated": TICKET_TEXT[:-3],
    "cut in a group": TICKET_TEXT[:-1],
    "a trailing group": TICKET_TEXT + b"000",
    "a trailing line end": TICKET_TEXT + b"\n",
    "control bytes": PREFIX + bytes(range(32)),
    "deep nesting": PREFIX + base45.encode(b"\x81" * 600),
    "signed: nothing": signed(b""),
    "signed: no map": signed(cbor2.dumps([1, 2])),
    "signed: truncated CBOR": signed(cbor2.dumps(CLAIMS, canonical=True)[:-1]),
    "signed: trailing bytes": signed(cbor2.dumps(CLAIMS, canonical=True) + b"\x00"),
    "signed: a length longer than the code": signed(b"\xbb" + b"\xff" * 8),
    "signed: claims in another order": signed(cbor2.dumps(dict(reversed(CLAIMS.items())))),
    "signed: a claim twice": signed(b"\xa2\x04\x01\x04\x02"),
    "signed: deep nesting": signed(b"\x81" * 500 + b"\x00"),
    "signed: maps as keys": signed(b"\xa1" * 500 + b"\x00"),
    "signed: a list as key": signed(b"\xa1\x80\x00"),
    "signed: an integer of 300 bytes": with_claims({EXP: 1 << 2400}),
    "signed: a negative time": with_claims({NBF: -1}),
    "signed: a time too late": with_claims({EXP: MAX_TIME_S}),
    "signed: a time with a fraction": with_claims({IAT: 1.5}),
    "signed: a time that is a truth": with_claims({IAT: True}),
    "signed: a time as text": with_claims({EXP: "2"}),
    "signed: no expiry": with_claims({EXP: WITHOUT}),
    "signed: no id": with_claims({CTI: WITHOUT}),
    "signed: a short id": with_claims({CTI: bytes(7)}),
    "signed: a long id": with_claims({CTI: bytes(33)}),
    "signed: an id as text": with_claims({CTI: "12345678"}),
    "signed: no product": with_claims({SCOPE: WITHOUT}),
    "signed: an empty product": with_claims({SCOPE: ""}),
    "signed: a long product": with_claims({SCOPE: "A" * 65}),
    "signed: a product as bytes": with_claims({SCOPE: b"DAY1"}),
    "signed: an empty subject": with_claims({SUB: "", CTI: WITHOUT}, CREDIT_ISSUER),
    "signed: an empty merchant": with_claims({SUB: ""}),
    "signed: a malformed date": signed(b"\xa1\x04\xc0\x61x"),
    "signed: a shared value that holds itself": signed(b"\xa1\x04\xd8\x1c\x81\xd8\x1d\x00"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_code_that_cannot_be_read_is_malformed(name: str) -> None:
    """Whoever signed it."""
    assert reason(MALFORMED[name]) is Reason.MALFORMED


def test_hostile_input_is_refused_quickly() -> None:
    """The slowest of all takes less of the processor than a frame lasts."""
    for payload in (*NOT_TICKETS.values(), *MALFORMED.values()):
        started_ns = time.thread_time_ns()
        parse(payload, BOOK)
        assert time.thread_time_ns() - started_ns < 40_000_000


def test_a_longer_code_is_not_looked_into() -> None:
    """An issuer's pattern is never run over what no code can be."""
    greedy = CodeBook({}, (ExternalIssuer("any", re.compile(".*", re.DOTALL)),), HASH_KEY)
    assert isinstance(parse(b"x" * MAX_CODE_BYTES, greedy), ExternalCode)
    assert reason(b"x" * (MAX_CODE_BYTES + 1), greedy) is Reason.NOT_A_TICKET


@settings(max_examples=100)
@given(st.binary(max_size=120), st.sampled_from([b"", PREFIX]))
def test_any_bytes_are_answered(payload: bytes, prefix: bytes) -> None:
    """Parsing is total, and nothing unsigned becomes a ticket."""
    parsed = parse(prefix + payload, BOOK)
    assert not isinstance(parsed, TicketCode | CreditCode)


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_any_bytes_that_an_issuer_signs_are_answered(payload: bytes) -> None:
    """An issuer's mistake is a malformed code, never a crash."""
    assert reason(signed(payload)) is Reason.MALFORMED


@settings(max_examples=50)
@given(st.integers(0, len(TICKET_TEXT) - 1), st.integers(0, 255))
def test_a_ticket_code_altered_anywhere_is_no_ticket(at: int, byte: int) -> None:
    """One other character and it is refused."""
    altered = TICKET_TEXT[:at] + bytes([byte]) + TICKET_TEXT[at + 1 :]
    parsed = parse(altered, BOOK)
    assert altered == TICKET_TEXT or isinstance(parsed, Rejected)
