"""What a box and the centre say to each other once, when the box enrols: the token, the request, the answer. Pure.

The token that people carry to the box holds a secret, by which the centre knows the box, and the fingerprint of the
centre's authority, by which the box knows the centre before it has told it anything.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

import msgspec

ENROL_PATH = "/enrol"
AUTHORITY_PATH = "/enrol/authority"
FINGERPRINT_BYTES = 32
Short = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class TokenError(ValueError):
    """It is not a token as the centre makes it."""


class Token(msgspec.Struct, frozen=True):
    """The secret of one invitation, and the SHA-256 of the authority's certificate (DER)."""

    secret: str
    fingerprint: bytes

    @property
    def text(self) -> str:
        """What people carry."""
        return f"{self.secret}.{base64.urlsafe_b64encode(self.fingerprint).decode().rstrip('=')}"


class EnrolRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who the box is, the key it signs with as ID:KEY, and a request for a certificate (PEM)."""

    secret: Short
    box_id: Short
    site_id: Short
    public_key: Annotated[str, msgspec.Meta(max_length=256)]
    certificate_request: Annotated[str, msgspec.Meta(max_length=4096)]


class EnrolAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a box has from the centre: two certificates (PEM), the site's secrets, keys, and the policy."""

    certificate: str
    authority: str
    hash_key: str
    list_token: str
    issuer_key: str
    list_key: str
    policy: str


def read_token(text: str) -> Token:
    """Return what the token holds; TokenError when it was not copied whole."""
    secret, dot, encoded = text.strip().partition(".")
    try:
        fingerprint = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars="-_", validate=True)
    except (binascii.Error, ValueError):
        fingerprint = b""
    if not secret or not dot or len(fingerprint) != FINGERPRINT_BYTES:
        raise TokenError("not a token as the centre makes it: copy all of it, the part after the dot too")
    return Token(secret, fingerprint)
