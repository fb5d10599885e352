"""The centre's key files: made once, readable by their owner alone, never printed."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from admission.keys import (
    SigningKey,
    new_signing_key,
    public_key_text,
    read_signing_key,
    signing_key_text,
)
from central.authority import Authority, new_authority, read_authority, utc_now

ISSUER_FILE = "issuer.key"
LIST_FILE = "list.key"
HASH_FILE = "hash.key"
AUTHORITY_FILES = ("authority.crt", "authority.key")
HASH_KEY_BYTES = 32


class KeyFileError(ValueError):
    """A key file is missing, too open, or not what it should be."""


@dataclass(frozen=True, slots=True)
class CentreKeys:
    """What the centre signs tickets, lists and certificates with, and the key that hides other issuers' codes."""

    issuer: SigningKey
    lists: SigningKey
    hash_key: bytes
    authority: Authority

    @property
    def has_demo(self) -> bool:
        """Whether one of the keys is a demo key, which proves nothing."""
        return self.issuer.public.is_demo or self.lists.public.is_demo

    def public_texts(self) -> dict[str, str]:
        """Return what boxes are set up with: the public keys as text."""
        return {"issuer": public_key_text(self.issuer.public), "list": public_key_text(self.lists.public)}


def load_keys(folder: Path) -> CentreKeys:
    """Return the keys in `folder`; KeyFileError says which file is wrong, never what is in it."""
    return CentreKeys(
        issuer=_signing_key(folder / ISSUER_FILE),
        lists=_signing_key(folder / LIST_FILE),
        hash_key=_hash_key(folder / HASH_FILE),
        authority=_authority(folder),
    )


def create_keys(folder: Path, *, demo: bool) -> CentreKeys:
    """Make the key files that are missing in `folder` (mode 0600) and return all keys."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in (ISSUER_FILE, LIST_FILE):
        _create(folder / name, signing_key_text(new_signing_key(Ed25519PrivateKey.generate(), demo=demo)))
    _create(folder / HASH_FILE, secrets.token_hex(HASH_KEY_BYTES))
    if not any((folder / name).exists() for name in AUTHORITY_FILES):
        authority = new_authority(utc_now())
        for name, text in zip(
            AUTHORITY_FILES, (authority.certificate_text(), authority.key_text()), strict=True
        ):
            _create(folder / name, text.strip())
    return load_keys(folder)


def _create(path: Path, text: str) -> None:
    """Write a key file that does not exist yet, whole or not at all."""
    if path.exists():
        return
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)


def _text(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise KeyFileError(f"{path}: others may read it; its mode must be 0600")
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path}: cannot be read: {type(error).__name__}") from error


def _signing_key(path: Path) -> SigningKey:
    try:
        return read_signing_key(_text(path))
    except KeyFileError:
        raise
    except ValueError as error:
        raise KeyFileError(f"{path}: {error}") from error


def _hash_key(path: Path) -> bytes:
    try:
        key = bytes.fromhex(_text(path))
    except KeyFileError:
        raise
    except ValueError:
        key = b""
    if len(key) != HASH_KEY_BYTES:
        raise KeyFileError(f"{path}: not {HASH_KEY_BYTES} bytes in hex")
    return key


def _authority(folder: Path) -> Authority:
    certificate, key = (folder / name for name in AUTHORITY_FILES)
    try:
        return read_authority(_text(certificate), _text(key))
    except KeyFileError as error:
        raise KeyFileError(f"{error}; `central keys` makes what is missing") from error
    except ValueError as error:
        raise KeyFileError(f"{key}: {error}") from error
