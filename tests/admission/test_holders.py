"""Holders' codes: what the phone adds, what a box believes of it, and how long such a code is."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from admission import base45
from admission.codes import (
    PREFIX,
    CreditCode,
    Rejected,
    TicketCode,
    bind_code,
    issue_credit_code,
    issue_ticket_code,
    parse,
    same_showing,
    show,
)
from admission.envelope import Context, seal
from admission.holders import HOLDER_KEY_BYTES, Showing, holder_key, prove, public_half
from admission.reasons import Reason
from tests.admission.makers import BOOK, CREDIT_ISSUER, NOW_S, TICKET_ISSUER, VALIDITY

PHONE = ec.derive_private_key(7, ec.SECP256R1())
OTHER_PHONE = ec.derive_private_key(8, ec.SECP256R1())
HOLDER = public_half(PHONE)
TICKET_ID = bytes(range(12))
TICKET = issue_ticket_code(TICKET_ID, "DAY1", VALIDITY, TICKET_ISSUER, HOLDER)
CREDIT = issue_credit_code("subject-1", VALIDITY, CREDIT_ISSUER, HOLDER)


def shown(code: str, at_s: int = NOW_S, phone: ec.EllipticCurvePrivateKey = PHONE) -> bytes:
    """A code as a phone shows it."""
    return show(code, lambda envelope: prove(envelope, at_s, phone)).encode()


@pytest.mark.parametrize(("code", "kind"), [(TICKET, TicketCode), (CREDIT, CreditCode)])
def test_a_code_says_whose_phone_showed_it_and_when(code: str, kind: type[Any]) -> None:
    """Tickets and credit codes alike."""
    read = parse(shown(code), BOOK)
    assert isinstance(read, kind)
    assert read.showing == Showing(HOLDER, NOW_S)


def test_the_code_as_it_was_issued_says_that_nothing_was_signed() -> None:
    """It is no forgery, and no proof of a phone."""
    read = parse(TICKET.encode(), BOOK)
    assert isinstance(read, TicketCode)
    assert read.showing == Showing(HOLDER, None)


def test_it_is_the_same_ticket_whoever_shows_it() -> None:
    """Bound or not, live or not: one right."""
    plain = issue_ticket_code(TICKET_ID, "DAY1", VALIDITY, TICKET_ISSUER).encode()
    assert parse(plain, BOOK) == parse(TICKET.encode(), BOOK) == parse(shown(TICKET), BOOK)


def test_another_phone_cannot_show_it() -> None:
    """Whoever copied the envelope lacks the key."""
    read = parse(shown(TICKET, phone=OTHER_PHONE), BOOK)
    assert isinstance(read, Rejected)
    assert (read.reason, read.detail) == (Reason.BAD_SIGNATURE, "not signed by the holder's phone")


@given(at=st.integers(0, 67), bit=st.integers(0, 7))
def test_no_bit_of_the_proof_can_be_changed(at: int, bit: int) -> None:
    """Neither the time nor the signature over it."""
    raw = bytearray(base45.decode(shown(TICKET)[len(PREFIX) :]))
    raw[len(raw) - 68 + at] ^= 1 << bit
    read = parse(PREFIX + base45.encode(bytes(raw)), BOOK)
    assert isinstance(read, Rejected)
    assert read.reason is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("proof", [bytes(68), b"\xff" * 68, bytes(4) + b"\xff" * 64])
def test_numbers_that_are_no_signature_are_refused(proof: bytes) -> None:
    """Zero, and what lies beyond the curve's order."""
    read = parse(show(TICKET, lambda _: proof).encode(), BOOK)
    assert isinstance(read, Rejected)
    assert read.reason is Reason.BAD_SIGNATURE


def test_a_proof_of_one_ticket_proves_nothing_for_another() -> None:
    """The signature is over the envelope, too."""
    other = issue_ticket_code(bytes(12), "DAY1", VALIDITY, TICKET_ISSUER, HOLDER)
    proof = base45.decode(shown(other)[len(PREFIX) :])[-68:]
    read = parse(show(TICKET, lambda _: proof).encode(), BOOK)
    assert isinstance(read, Rejected)
    assert read.reason is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("length", [1, 67, 69, 136])
def test_nothing_else_may_follow_an_envelope(length: int) -> None:
    """A trailer has one length."""
    read = parse(show(TICKET, lambda _: bytes(length)).encode(), BOOK)
    assert isinstance(read, Rejected)
    assert read.reason is Reason.MALFORMED


def test_nothing_may_follow_a_code_that_is_bound_to_no_phone() -> None:
    """It would be covered by no signature."""
    plain = issue_ticket_code(TICKET_ID, "DAY1", VALIDITY, TICKET_ISSUER)
    read = parse(shown(plain), BOOK)
    assert isinstance(read, Rejected)
    assert read.reason is Reason.MALFORMED


@pytest.mark.parametrize(
    "bound",
    [
        HOLDER,
        {},
        {-1: HOLDER[:-1]},
        {-1: b"\x05" + HOLDER[1:]},
        {-1: b"\x02" + b"\xff" * 32},
        {1: HOLDER},
        None,
    ],
)
def test_a_key_that_is_none_is_refused(bound: Any) -> None:
    """Also when an issuer signed it: the claim says what it says, or nothing is believed."""
    claims = {
        4: VALIDITY.until_s,
        5: VALIDITY.from_s,
        6: VALIDITY.issued_s,
        7: TICKET_ID,
        8: bound,
        9: "DAY1",
    }
    envelope = seal(cbor2.dumps(claims, canonical=True), TICKET_ISSUER, Context.CODE)
    read = parse(PREFIX + base45.encode(envelope), BOOK)
    assert isinstance(read, Rejected)
    assert read.reason is Reason.MALFORMED


def test_a_key_is_taken_in_either_form_of_its_point() -> None:
    """Browsers export the long one; codes carry the short one."""
    long = PHONE.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert (holder_key(long), holder_key(HOLDER), len(HOLDER)) == (HOLDER, HOLDER, HOLDER_KEY_BYTES)


@pytest.mark.parametrize(
    "text", [TICKET, CREDIT, issue_ticket_code(TICKET_ID, "DAY1", VALIDITY, TICKET_ISSUER)]
)
def test_a_code_is_bound_to_another_phone_by_its_issuer(text: str) -> None:
    """The same claims, for the new holder; whatever a phone put behind it is left out."""
    issuer = CREDIT_ISSUER if text is CREDIT else TICKET_ISSUER
    other = public_half(OTHER_PHONE)
    read = parse(bind_code(text.encode(), other, issuer).encode(), BOOK)
    assert read == parse(text.encode(), BOOK)
    assert isinstance(read, TicketCode | CreditCode)
    assert read.showing == Showing(other)
    if text is TICKET:
        assert bind_code(shown(text), other, issuer) == bind_code(text.encode(), other, issuer)


def test_nobody_else_can_bind_a_code() -> None:
    """Another key's signature is not theirs to give again."""
    with pytest.raises(ValueError, match="not signed by"):
        bind_code(TICKET.encode(), HOLDER, CREDIT_ISSUER)


def test_a_holders_code_fits_the_symbol_that_is_meant_for_it() -> None:
    """At most 230 raw bytes, with an id of 12 bytes, a product of four letters and a key id of five."""
    text = shown(TICKET)
    assert len(base45.decode(text[len(PREFIX) :])) <= 230
    assert len(text) <= 349


def test_one_showing_stays_the_same_while_its_proof_is_renewed() -> None:
    """What is in view is one code for as long as it is held there."""
    first, second = shown(TICKET, NOW_S), shown(TICKET, NOW_S + 3)
    assert first != second
    assert same_showing(first) == same_showing(second) == same_showing(TICKET.encode())
    assert same_showing(first) != same_showing(shown(CREDIT))


@given(st.binary(max_size=400))
def test_any_other_payload_stays_itself(payload: bytes) -> None:
    """Whatever is read."""
    assert same_showing(payload) == payload
    assert same_showing(PREFIX + payload) == PREFIX + payload


@pytest.mark.parametrize("tail", ["", "!", "0" * 200])
def test_a_long_payload_that_only_begins_like_a_code_stays_itself(tail: str) -> None:
    """Not base45, or no envelope."""
    payload = PREFIX + b"A" * 200 + tail.encode()
    assert same_showing(payload) == payload
