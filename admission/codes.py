"""Every kind of code that may be presented, read into a credential that can be believed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from hashlib import blake2b
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from admission import base45
from admission.documents import DocumentKind, document_key, read_document
from admission.envelope import (
    BadSignatureError,
    Context,
    EnvelopeError,
    UnknownKeyError,
    Verified,
    envelope_end,
    seal,
    unseal,
)
from admission.holders import HOLDER_KEY_BYTES, PROOF_BYTES, Showing, holder_key, proven_time
from admission.keys import SigningKey
from admission.reasons import Reason
from admission.short_codes import MistypedError, read_short_code, short_ticket_id

PREFIX = b"SG1:"
MAX_CODE_BYTES = 1024
"""Longer payloads are not looked into: the longest code of ours has about 360 characters."""
MAX_TIME_S = 1 << 40
KEY_BYTES = 16

# CWT claims (RFC 8392, and `scope` of RFC 9200)
_SUB, _EXP, _NBF, _IAT, _CTI, _SCOPE = 2, 4, 5, 6, 7, 9
# RFC 8747, with the key as a point: a COSE_Key is nine bytes longer, and a phone's code has none to spare.
_CNF, _POINT = 8, -1


class KeyUse(Enum):
    """What an issuer key may sign."""

    TICKET = "ticket"
    CREDIT = "credit"


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A public key that issues codes, and what it may issue."""

    key_id: bytes
    public_key: Ed25519PublicKey
    uses: frozenset[KeyUse]


@dataclass(frozen=True, slots=True)
class ExternalIssuer:
    """Another issuer's opaque codes, recognised by their whole text matching `pattern`."""

    name: str
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class CodeBook:
    """All that is needed to tell credentials apart: trusted keys, other issuers, the site's hash key."""

    issuer_keys: Mapping[bytes, IssuerKey]
    external_issuers: tuple[ExternalIssuer, ...]
    hash_key: bytes

    def public_key(self, key_id: bytes) -> Ed25519PublicKey | None:
        """Return the public key trusted under `key_id`, or None."""
        issuer_key = self.issuer_keys.get(key_id)
        return issuer_key.public_key if issuer_key else None


@dataclass(frozen=True, slots=True)
class Validity:
    """When a code may be used, UTC seconds: from `from_s` on, before `until_s`; issued at `issued_s`."""

    from_s: int
    until_s: int
    issued_s: int


@dataclass(frozen=True, slots=True)
class TicketCode:
    """A signed ticket: admits with no network, also when the list does not know it yet.

    `key_id` names the issuer's key; two codes of one ticket are equal whichever key signed them. `showing` stands where
    the code is bound to its holder's phone, and `merchant` is the key of the merchant who gave it away, as a subject.
    """

    key: bytes
    product: str
    validity: Validity
    key_id: bytes = field(default=b"", compare=False)
    showing: Showing | None = field(default=None, compare=False)
    merchant: bytes = field(default=b"", compare=False)


@dataclass(frozen=True, slots=True)
class CreditCode:
    """A signed credential of a person or organisation under a pseudonym; what it may do is in the list.

    `key_id` and `showing` as for a ticket.
    """

    key: bytes
    validity: Validity
    key_id: bytes = field(default=b"", compare=False)
    showing: Showing | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ExternalCode:
    """Another issuer's code, known only by its keyed hash; what it may do is in the list."""

    key: bytes
    issuer: str


@dataclass(frozen=True, slots=True)
class ShortCode:
    """A ticket's short code, typed or told; what the ticket may do is in the list."""

    key: bytes


@dataclass(frozen=True, slots=True)
class DocumentCode:
    """A person's document, known only by its keyed hash; `born` is what its number says, kept for no longer than this.

    Whose document it is, and which tickets were bought on it, is in the list.
    """

    key: bytes
    kind: DocumentKind
    born: date | None = field(default=None, repr=False, compare=False)


Credential = TicketCode | CreditCode | ExternalCode | ShortCode | DocumentCode


@dataclass(frozen=True, slots=True)
class Rejected:
    """A payload that is no credential: the reason to show, and for staff what was wrong with it."""

    reason: Reason
    detail: str


def parse(payload: bytes, book: CodeBook) -> Credential | Rejected:
    """Return the credential that `payload` is, or why it is none; total over all bytes.

    A signed code is verified before anything inside it is believed.
    """
    if len(payload) > MAX_CODE_BYTES:
        return Rejected(Reason.NOT_A_TICKET, f"{len(payload)} bytes are more than any code has")
    if payload.startswith(PREFIX):
        return _parse_signed(payload[len(PREFIX) :], book)
    return _parse_text(payload, book)


def ticket_key(ticket_id: bytes) -> bytes:
    """Return the 16-byte key under which lists and uses know the ticket."""
    return blake2b(ticket_id, digest_size=KEY_BYTES, person=b"sg ticket").digest()


def subject_key(subject_id: str) -> bytes:
    """Return the 16-byte key under which lists and uses know the subject."""
    return blake2b(subject_id.encode(), digest_size=KEY_BYTES, person=b"sg subject").digest()


def external_key(issuer: str, code: str, hash_key: bytes) -> bytes:
    """Return the keyed hash under which lists and uses know another issuer's code."""
    text = f"{issuer}\0{code}".encode()
    return blake2b(text, digest_size=KEY_BYTES, key=hash_key, person=b"sg external").digest()


def issue_ticket_code(
    ticket_id: bytes,
    product: str,
    validity: Validity,
    key: SigningKey,
    holder: bytes = b"",
    *,
    merchant: str = "",
) -> str:
    """Return the text of a ticket code; at most 120 raw bytes with a 12-byte id and a product of 4 letters.

    With a `holder` (see `holders.holder_key`) it is bound to that phone: with what the phone adds, at most 230 bytes.
    With a `merchant`, the pseudonym of one, it is a voucher of theirs, and so much longer.
    """
    claims = _validity_claims(validity) | {_CTI: ticket_id, _SCOPE: product}
    return _issue(claims | {_SUB: merchant} if merchant else claims, key, holder)


def issue_credit_code(subject_id: str, validity: Validity, key: SigningKey, holder: bytes = b"") -> str:
    """Return the text of a credit code for the subject known as `subject_id`; `holder` as for a ticket."""
    return _issue(_validity_claims(validity) | {_SUB: subject_id}, key, holder)


def bind_code(payload: bytes, holder: bytes, key: SigningKey) -> str:
    """Return the code with the same claims, issued by `key` and bound to the phone of `holder`.

    ValueError unless `payload` is a code that `key` has signed.
    """
    raw = base45.decode(payload.removeprefix(PREFIX))
    verified = unseal(raw, lambda _: key.public.key, Context.CODE, trailer_bytes=PROOF_BYTES)
    return _issue(_claims(verified.payload), key, holder)


def show(code: str, prove: Callable[[bytes], bytes]) -> str:
    """Return the text of a holder's code as a phone shows it, with what `prove` gives for its envelope behind it."""
    envelope = base45.decode(code.encode()[len(PREFIX) :])
    return (PREFIX + base45.encode(envelope + prove(envelope))).decode("ascii")


def same_showing(payload: bytes) -> bytes:
    """Return what stays the same while a phone goes on showing one code: of a holder's code, all but its proof."""
    if len(payload) <= _LONGER_THAN_ANY_PROOF or not payload.startswith(PREFIX):
        return payload
    try:
        raw = base45.decode(payload[len(PREFIX) :])
        return PREFIX + raw[: envelope_end(raw)]
    except ValueError:
        return payload


_LONGER_THAN_ANY_PROOF = PROOF_BYTES * 3 // 2


def _issue(claims: dict[int, Any], key: SigningKey, holder: bytes) -> str:
    if holder:
        claims = claims | {_CNF: {_POINT: holder}}
    envelope = seal(cbor2.dumps(claims, canonical=True), key, Context.CODE)
    return (PREFIX + base45.encode(envelope)).decode("ascii")


def _validity_claims(validity: Validity) -> dict[int, Any]:
    return {_NBF: validity.from_s, _EXP: validity.until_s, _IAT: validity.issued_s}


def _parse_signed(text: bytes, book: CodeBook) -> Credential | Rejected:
    try:
        raw = base45.decode(text)
        verified = unseal(raw, book.public_key, Context.CODE, trailer_bytes=PROOF_BYTES)
        claims = _claims(verified.payload)
        return _credential(claims, book.issuer_keys[verified.key_id], _showing(claims, verified))
    except UnknownKeyError as error:
        return Rejected(Reason.UNKNOWN_KEY, str(error))
    except BadSignatureError as error:
        return Rejected(Reason.BAD_SIGNATURE, str(error))
    except (EnvelopeError, ValueError) as error:
        return Rejected(Reason.MALFORMED, str(error))


def _claims(payload: bytes) -> dict[Any, Any]:
    """Return the claims map of a verified payload; ValueError unless it is one in deterministic encoding."""
    try:
        claims = cbor2.loads(payload)
        if not isinstance(claims, dict) or cbor2.dumps(claims, canonical=True) != payload:
            raise ValueError("the claims are not one map in deterministic encoding")
    except (cbor2.CBORError, RecursionError, OverflowError, TypeError) as error:
        raise ValueError(f"the claims cannot be read: {error}") from error
    return claims


def _showing(claims: Mapping[Any, Any], verified: Verified) -> Showing | None:
    """Return how a holder's code was shown, None for any other; BadSignatureError when its holder did not sign."""
    if _CNF not in claims:
        if verified.trailer:
            raise ValueError("something follows a code that is bound to no phone")
        return None
    bound = claims[_CNF]
    raw = bound.get(_POINT) if isinstance(bound, dict) else None
    if not isinstance(raw, bytes) or len(raw) != HOLDER_KEY_BYTES:
        raise ValueError(f"claim {_CNF} has no point of {HOLDER_KEY_BYTES} bytes")
    holder = holder_key(raw)
    if not verified.trailer:
        return Showing(holder)
    shown_s = proven_time(verified.envelope, verified.trailer, holder)
    if shown_s is None:
        raise BadSignatureError("not signed by the holder's phone")
    return Showing(holder, shown_s)


def _credential(claims: Mapping[Any, Any], key: IssuerKey, showing: Showing | None) -> Credential | Rejected:
    """Return the credential the claims state, if `key` may issue such; claims that are not known are ignored."""
    validity = Validity(_time(claims, _NBF), _time(claims, _EXP), _time(claims, _IAT))
    if _SUB in claims and _CTI not in claims:
        if KeyUse.CREDIT not in key.uses:
            return Rejected(Reason.BAD_SIGNATURE, f"key {key.key_id.hex()} may not issue credit codes")
        return CreditCode(subject_key(_text(claims, _SUB)), validity, key.key_id, showing)
    if KeyUse.TICKET not in key.uses:
        return Rejected(Reason.BAD_SIGNATURE, f"key {key.key_id.hex()} may not issue tickets")
    return TicketCode(
        ticket_key(_ticket_id(claims)),
        _text(claims, _SCOPE),
        validity,
        key.key_id,
        showing,
        subject_key(_text(claims, _SUB)) if _SUB in claims else b"",
    )


def _time(claims: Mapping[Any, Any], claim: int) -> int:
    value = claims.get(claim)
    if type(value) is not int or not 0 <= value < MAX_TIME_S:
        raise ValueError(f"claim {claim} is not a time in seconds")
    return value


def _text(claims: Mapping[Any, Any], claim: int) -> str:
    value = claims.get(claim)
    if not isinstance(value, str) or not 1 <= len(value) <= 64:
        raise ValueError(f"claim {claim} is not a text of 1 to 64 characters")
    return value


def _ticket_id(claims: Mapping[Any, Any]) -> bytes:
    value = claims.get(_CTI)
    if not isinstance(value, bytes) or not 8 <= len(value) <= 32:
        raise ValueError(f"claim {_CTI} is not an id of 8 to 32 bytes")
    return value


def _parse_text(payload: bytes, book: CodeBook) -> ExternalCode | ShortCode | DocumentCode | Rejected:
    """Return what an unsigned text is; another issuer's pattern goes first: somebody set it up on purpose."""
    try:
        text = payload.decode("ascii")
    except UnicodeDecodeError:
        return Rejected(Reason.NOT_A_TICKET, "not a text of a known kind")
    for issuer in book.external_issuers:
        if issuer.pattern.fullmatch(text):
            return ExternalCode(external_key(issuer.name, text, book.hash_key), issuer.name)
    try:
        read = read_document(text)
        if read is not None:
            return DocumentCode(document_key(read, book.hash_key), read.kind, read.born)
        short = read_short_code(text)
    except MistypedError as error:
        return Rejected(Reason.MISTYPED, str(error))
    if short is None:
        return Rejected(Reason.NOT_A_TICKET, "no issuer's pattern fits")
    return ShortCode(ticket_key(short_ticket_id(short, book.hash_key)))
