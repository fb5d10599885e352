"""Signed envelopes: COSE_Sign1 (RFC 9052) with Ed25519, in one strict, deterministic form.

The form is `[protected {1: -8, 4: key id}, {}, payload, signature]`, untagged. A *context* is bound in as the
external additional data, so that a signature given for a ticket can never pass for one on a list or a batch.
Nothing of the payload is looked at before the signature over it has been verified.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from admission.keys import MAX_KEY_ID_BYTES, SigningKey

SIGNATURE_BYTES = 64


KeyFinder = Callable[[bytes], Ed25519PublicKey | None]
"""From a key id to the public key trusted under it, or None."""


class Context(Enum):
    """What a signature is for."""

    CODE = b"scenic-gate/code/1"
    LIST = b"scenic-gate/list/1"
    LEDGER = b"scenic-gate/ledger/1"
    SIDE = b"scenic-gate/side/1"
    CAPACITY = b"scenic-gate/capacity/1"
    BOXES = b"scenic-gate/boxes/1"
    TIME = b"scenic-gate/time/1"


class EnvelopeError(ValueError):
    """The bytes are not a signed envelope that can be believed."""


class MalformedEnvelopeError(EnvelopeError):
    """The bytes do not have the envelope's form."""


class UnknownKeyError(EnvelopeError):
    """The envelope names a key that is not trusted here."""

    def __init__(self, key_id: bytes) -> None:
        super().__init__(f"key id {key_id.hex()} is not trusted here")
        self.key_id = key_id


class BadSignatureError(EnvelopeError):
    """The signature is not the named key's signature over these bytes."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A payload whose signature was found good, the id of the key that signed it, and what follows the envelope."""

    payload: bytes
    key_id: bytes
    envelope: bytes
    trailer: bytes = b""


def seal(payload: bytes, key: SigningKey, context: Context) -> bytes:
    """Return `payload` in an envelope signed by `key` for `context`."""
    protected = cbor2.dumps({1: -8, 4: key.key_id}, canonical=True)
    signature = key.private_key.sign(_to_be_signed(protected, payload, context))
    return cbor2.dumps([protected, {}, payload, signature], canonical=True)


def unseal(data: bytes, find_key: KeyFinder, context: Context, *, trailer_bytes: int = 0) -> Verified:
    """Return the payload of the envelope `data` once its signature is verified; EnvelopeError says why it was not.

    Behind the envelope may follow a trailer of exactly `trailer_bytes`, which the signature does not cover.
    """
    protected, payload, signature, end = _split(data)
    if len(data) not in (end, end + trailer_bytes):
        raise MalformedEnvelopeError("the signature does not end the envelope")
    key_id = _key_id(protected)
    public_key = find_key(key_id)
    if public_key is None:
        raise UnknownKeyError(key_id)
    try:
        public_key.verify(signature, _to_be_signed(protected, payload, context))
    except InvalidSignature as error:
        raise BadSignatureError(f"not signed by key {key_id.hex()}") from error
    return Verified(payload, key_id, data[:end], data[end:])


def envelope_end(data: bytes) -> int:
    """Return how many bytes of `data` are an envelope, whoever signed it; MalformedEnvelopeError when there is none."""
    return _split(data)[3]


def _to_be_signed(protected: bytes, payload: bytes, context: Context) -> bytes:
    """Return the Sig_structure of RFC 9052 §4.4, written by hand: a visitor waits for it."""
    return (
        b"\x84\x6aSignature1"
        + _bstr_head(len(protected))
        + protected
        + _bstr_head(len(context.value))
        + context.value
        + _bstr_head(len(payload))
        + payload
    )


def _bstr_head(length: int) -> bytes:
    if length < 24:
        return bytes((0x40 | length,))
    if length < 0x100:
        return bytes((0x58, length))
    if length < 0x10000:
        return b"\x59" + length.to_bytes(2)
    return b"\x5a" + length.to_bytes(4)


def _split(envelope: bytes) -> tuple[bytes, bytes, bytes, int]:
    """Return (protected, payload, signature, end), unbelieved; only the deterministic form passes."""
    if not envelope.startswith(b"\x84"):
        raise MalformedEnvelopeError("not a COSE_Sign1 array")
    protected, at = _take_bstr(envelope, 1)
    if envelope[at : at + 1] != b"\xa0":
        raise MalformedEnvelopeError("the unprotected header is not empty")
    payload, at = _take_bstr(envelope, at + 1)
    signature, at = _take_bstr(envelope, at)
    if len(signature) != SIGNATURE_BYTES:
        raise MalformedEnvelopeError("the signature has a wrong length")
    return protected, payload, signature, at


def _take_bstr(data: bytes, at: int) -> tuple[bytes, int]:
    """Return the byte string whose head stands at `at`, and where it ends."""
    head = data[at] if at < len(data) else 0
    if head & 0xE0 != 0x40 or head & 0x1F > 26:
        raise MalformedEnvelopeError("a byte string is missing")
    width = (0, 1, 2, 4)[max(0, (head & 0x1F) - 23)]
    start = at + 1 + width
    length = int.from_bytes(data[at + 1 : start]) if width else head & 0x1F
    end = start + length
    if end > len(data) or data[at:start] != _bstr_head(length):
        raise MalformedEnvelopeError("a byte string is cut short or not in its shortest form")
    return data[start:end], end


def _key_id(protected: bytes) -> bytes:
    """Return the key id of a protected header that reads exactly {1: -8 (EdDSA), 4: key id}."""
    if not protected.startswith(b"\xa2\x01\x27\x04"):
        raise MalformedEnvelopeError("the protected header is not {alg: EdDSA, kid}")
    key_id, end = _take_bstr(protected, 4)
    if end != len(protected) or not 1 <= len(key_id) <= MAX_KEY_ID_BYTES:
        raise MalformedEnvelopeError("the key id has a wrong length")
    return key_id
