"""Signed envelopes: the one form that passes, and everything near it that does not."""

from __future__ import annotations

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from admission.envelope import (
    BadSignatureError,
    Context,
    EnvelopeError,
    MalformedEnvelopeError,
    UnknownKeyError,
    Verified,
    seal,
    unseal,
)
from tests.admission.makers import STRANGER, TICKET_ISSUER

KEY = TICKET_ISSUER
KID = KEY.key_id
PAYLOAD = b"what is signed"
SEALED = seal(PAYLOAD, KEY, Context.CODE)
PROTECTED = cbor2.dumps({1: -8, 4: KID})
SIGNATURE = SEALED[-64:]


def find_key(key_id: bytes) -> Ed25519PublicKey | None:
    """The one key that is trusted here."""
    return KEY.public.key if key_id == KID else None


def envelope(
    protected: bytes = cbor2.dumps(PROTECTED),
    unprotected: bytes = b"\xa0",
    payload: bytes = cbor2.dumps(PAYLOAD),
    signature: bytes = cbor2.dumps(SIGNATURE),
) -> bytes:
    """An envelope of encoded parts; the good ones where none is given."""
    return b"\x84" + protected + unprotected + payload + signature


def header(protected: bytes) -> bytes:
    """An envelope with another protected header."""
    return envelope(protected=cbor2.dumps(protected))


MALFORMED = {
    "nothing": b"",
    "no array": b"\x01",
    "tagged": b"\xd2" + SEALED,
    "array of three": b"\x83" + SEALED[1:],
    "array of five": b"\x85" + SEALED[1:] + b"\x00",
    "indefinite array": b"\x9f" + SEALED[1:] + b"\xff",
    "head alone": SEALED[:1],
    "trailing byte": SEALED + b"\x00",
    "text for a byte string": envelope(payload=cbor2.dumps(PAYLOAD.decode())),
    "detached payload": envelope(payload=b"\xf6"),
    "indefinite payload": envelope(payload=b"\x5f" + cbor2.dumps(PAYLOAD) + b"\xff"),
    "unprotected header": envelope(unprotected=b"\xa1\x04\x41\x01"),
    "no unprotected header": envelope(unprotected=b""),
    "one-byte length where none is needed": envelope(payload=b"\x58\x0e" + PAYLOAD),
    "two-byte length where one does": envelope(payload=b"\x59\x00\x0e" + PAYLOAD),
    "four-byte length where less does": envelope(payload=b"\x5a\x00\x00\x00\x0e" + PAYLOAD),
    "eight-byte length": envelope(payload=b"\x5b" + bytes(7) + b"\x0e" + PAYLOAD),
    "a length beyond the end": envelope(payload=b"\x5a\xff\xff\xff\xff"),
    "a length cut short": b"\x84\x59\x01",
    "short signature": envelope(signature=cbor2.dumps(SIGNATURE[:63])),
    "long signature": envelope(signature=cbor2.dumps(SIGNATURE + b"\x00")),
    "another algorithm": header(cbor2.dumps({1: -7, 4: KID})),
    "no algorithm": header(cbor2.dumps({4: KID})),
    "no key id": header(cbor2.dumps({1: -8})),
    "empty header": header(b""),
    "headers in another order": header(b"\xa2\x04" + cbor2.dumps(KID) + b"\x01\x27"),
    "a third header": header(cbor2.dumps({1: -8, 4: KID, 5: 0})),
    "bytes after the header": header(PROTECTED + b"\x00"),
    "empty key id": header(cbor2.dumps({1: -8, 4: b""})),
    "long key id": header(cbor2.dumps({1: -8, 4: bytes(17)})),
}


@pytest.mark.parametrize("context", list(Context))
@pytest.mark.parametrize("length", [0, 1, 23, 24, 255, 256, 65_535, 65_536])
def test_what_was_sealed_is_unsealed(length: int, context: Context) -> None:
    """A payload of any length comes back with the id of its key."""
    payload = bytes(length)
    sealed = seal(payload, KEY, context)
    assert unseal(sealed, find_key, context) == Verified(payload, KID, sealed)


def test_the_form_is_that_of_rfc_9052() -> None:
    """An independent CBOR reader finds the parts of a COSE_Sign1, and the key verifies the Sig_structure."""
    protected, unprotected, payload, signature = cbor2.loads(SEALED)
    assert (cbor2.loads(protected), unprotected, payload) == ({1: -8, 4: KID}, {}, PAYLOAD)
    signed = cbor2.dumps(["Signature1", protected, Context.CODE.value, payload])
    KEY.public.key.verify(signature, signed)


@pytest.mark.parametrize("name", MALFORMED)
def test_every_other_outer_form_is_malformed(name: str) -> None:
    """Only the deterministic form passes, whoever signed the rest."""
    with pytest.raises(MalformedEnvelopeError):
        unseal(MALFORMED[name], find_key, Context.CODE)


def test_a_truncated_envelope_is_malformed() -> None:
    """However much is missing."""
    for length in range(len(SEALED)):
        with pytest.raises(MalformedEnvelopeError):
            unseal(SEALED[:length], find_key, Context.CODE)


def test_a_signature_for_one_purpose_does_not_pass_for_another() -> None:
    """The context is part of what is signed."""
    for context in set(Context) - {Context.CODE}:
        with pytest.raises(BadSignatureError):
            unseal(SEALED, find_key, context)


def test_a_key_that_is_not_trusted_is_named() -> None:
    """The key id says which key would have to be trusted."""
    with pytest.raises(UnknownKeyError) as caught:
        unseal(seal(PAYLOAD, STRANGER, Context.CODE), find_key, Context.CODE)
    assert caught.value.key_id == STRANGER.key_id


def test_a_foreign_key_under_a_trusted_id_is_a_bad_signature() -> None:
    """The id alone proves nothing."""
    with pytest.raises(BadSignatureError):
        unseal(seal(PAYLOAD, STRANGER, Context.CODE), lambda _: KEY.public.key, Context.CODE)


def test_an_envelope_altered_anywhere_is_not_believed() -> None:
    """One changed byte, wherever it stands."""
    for at in range(len(SEALED)):
        altered = bytearray(SEALED)
        altered[at] ^= 1 + at % 255
        with pytest.raises(EnvelopeError):
            unseal(bytes(altered), find_key, Context.CODE)


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_unsealing_anything_else_is_an_envelope_error(data: bytes) -> None:
    """No bytes make another exception."""
    with pytest.raises(EnvelopeError):
        unseal(data, find_key, Context.CODE)
