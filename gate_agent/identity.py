"""The box's own key: made at its first start, kept in its state folder, never sent anywhere."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from admission.keys import SigningKey, new_signing_key, read_signing_key, signing_key_text

FILE_NAME = "box.key"


def box_key(state_dir: Path, *, demo: bool) -> SigningKey:
    """Return the box's key, made now if there is none; ValueError when its file holds something else."""
    path = state_dir / FILE_NAME
    try:
        return read_signing_key(path.read_text("ascii"))
    except FileNotFoundError:
        key = new_signing_key(Ed25519PrivateKey.generate(), demo=demo)
        write_secret(path, signing_key_text(key))
        return key


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600, exist_ok=False)
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the centre may learn of the key at once: its name must survive a power cut too
    finally:
        os.close(folder)
