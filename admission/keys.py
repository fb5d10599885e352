"""Signing keys, their ids, and the text in which key files and settings hold them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MAX_KEY_ID_BYTES = 16
DEMO_KEY_PREFIX = b"demo"
"""Key ids that begin so belong to made-up demo keys; every profile but the demo refuses them."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key and the id under which signatures name it."""

    key_id: bytes
    key: Ed25519PublicKey

    @property
    def is_demo(self) -> bool:
        """Whether this is a demo key, which proves nothing."""
        return self.key_id.startswith(DEMO_KEY_PREFIX)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and the id under which others know its public half."""

    key_id: bytes
    private_key: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        """The half that verifies."""
        return PublicKey(self.key_id, self.private_key.public_key())


def new_signing_key(private_key: Ed25519PrivateKey, *, demo: bool = False) -> SigningKey:
    """Return `private_key` with its id: 4 bytes of the public key's hash, or 5 that mark it as a demo key."""
    digest = blake2b(private_key.public_key().public_bytes_raw(), digest_size=4).digest()
    return SigningKey(DEMO_KEY_PREFIX + digest[:1] if demo else digest, private_key)


def signing_key_text(key: SigningKey) -> str:
    """Return the secret text of a key file: `ID:PRIVATE`, both in hex."""
    return f"{key.key_id.hex()}:{key.private_key.private_bytes_raw().hex()}"


def public_key_text(key: PublicKey) -> str:
    """Return the text that settings carry: `ID:PUBLIC`, both in hex."""
    return f"{key.key_id.hex()}:{key.key.public_bytes_raw().hex()}"


def read_signing_key(text: str) -> SigningKey:
    """Return the key that `signing_key_text` wrote; ValueError (which never quotes the text) when it is none."""
    key_id, secret = _halves(text)
    return SigningKey(key_id, Ed25519PrivateKey.from_private_bytes(secret))


def read_public_key(text: str) -> PublicKey:
    """Return the key that `public_key_text` wrote; ValueError when it is none."""
    key_id, raw = _halves(text)
    return PublicKey(key_id, Ed25519PublicKey.from_public_bytes(raw))


def _halves(text: str) -> tuple[bytes, bytes]:
    key_id, separator, key = text.strip().partition(":")
    try:
        halves = bytes.fromhex(key_id), bytes.fromhex(key)
    except ValueError:
        raise ValueError("a key is written as ID:KEY, both in hex") from None
    if not separator or not 1 <= len(halves[0]) <= MAX_KEY_ID_BYTES or len(halves[1]) != 32:
        raise ValueError("a key is written as ID:KEY, with an id of 1 to 16 bytes and a key of 32")
    return halves
