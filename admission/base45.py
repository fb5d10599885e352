"""Base45 (RFC 9285): bytes as text that a QR symbol stores in its compact alphanumeric mode."""

from __future__ import annotations

import struct

_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
_INVALID = 0xFF
_VALUES = bytes(_ALPHABET.index(c) if c in _ALPHABET else _INVALID for c in range(256))


def encode(data: bytes) -> bytes:
    """Return `data` as base45 text."""
    out = bytearray()
    for high, low in zip(data[::2], data[1::2], strict=False):
        rest, first = divmod(high << 8 | low, 45)
        third, second = divmod(rest, 45)
        out += bytes((_ALPHABET[first], _ALPHABET[second], _ALPHABET[third]))
    if len(data) % 2:
        second, first = divmod(data[-1], 45)
        out += bytes((_ALPHABET[first], _ALPHABET[second]))
    return bytes(out)


def decode(text: bytes) -> bytes:
    """Return the bytes that base45 `text` stands for; ValueError when it is not base45."""
    values = text.translate(_VALUES)
    if _INVALID in values:
        raise ValueError("a character outside the base45 alphabet")
    if len(values) % 3 == 1:
        raise ValueError("a base45 text cannot have this length")
    whole = len(values) // 3 * 3
    words = [
        first + 45 * second + 2025 * third
        for first, second, third in zip(values[0:whole:3], values[1:whole:3], values[2:whole:3], strict=True)
    ]
    try:
        data = struct.pack(f">{len(words)}H", *words)
        return data + _last_byte(values[whole:])
    except (struct.error, OverflowError) as error:
        raise ValueError("a base45 group is out of range") from error


def _last_byte(pair: bytes) -> bytes:
    return (pair[0] + 45 * pair[1]).to_bytes(1) if pair else b""
