"""Holders: a code bound to its holder's phone, which signs the time over it. A picture of it is soon worth nothing.

The code carries the public half of a P-256 key that never leaves the phone; behind the signed envelope follow the time
of the showing (4 bytes, UTC seconds) and the phone's signature (ES256, RFC 7518 §3.4) over context, envelope and time.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

HOLDER_KEY_BYTES = 33
PROOF_BYTES = 4 + 64
_CONTEXT = b"scenic-gate/shown/1"
_ES256 = ec.ECDSA(SHA256())


@dataclass(frozen=True, slots=True)
class Showing:
    """How a holder's code was shown: whose key it is bound to, and the time that its phone signed over it.

    `shown_s` is None when nothing was signed: somebody shows the code as it was issued.
    """

    holder_key: bytes
    shown_s: int | None = None


@dataclass(frozen=True, slots=True)
class ShownBefore:
    """The last that a box saw of a holder: the time signed then, and how long ago that was by the box's own clock.

    `elapsed_ms` is None when the box has started since: its monotonic clock tells nothing about before.
    """

    shown_s: int
    elapsed_ms: int | None


def holder_key(raw: bytes) -> bytes:
    """Return a P-256 public key, given as a point of SEC 1 in either form, in its short one; ValueError when none."""
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
    return _short(point)


def prove(envelope: bytes, shown_s: int, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return what a holder's phone puts behind its code at `shown_s`, UTC seconds."""
    time = shown_s.to_bytes(4)
    r, s = decode_dss_signature(key.sign(_CONTEXT + envelope + time, _ES256))
    return time + r.to_bytes(32) + s.to_bytes(32)


def proven_time(envelope: bytes, proof: bytes, raw_holder_key: bytes) -> int | None:
    """Return the time that the holder signed over `envelope`, UTC seconds; None when the holder did not sign."""
    time, r, s = proof[:4], int.from_bytes(proof[4:36]), int.from_bytes(proof[36:])
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw_holder_key)
    try:
        key.verify(encode_dss_signature(r, s), _CONTEXT + envelope + time, _ES256)
    except InvalidSignature:
        return None
    return int.from_bytes(time)


def public_half(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the short form of a private key's public half."""
    return _short(key.public_key())


def _short(key: ec.EllipticCurvePublicKey) -> bytes:
    numbers = key.public_numbers()
    return bytes((2 | numbers.y & 1,)) + numbers.x.to_bytes(32)
