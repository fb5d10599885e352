"""Short codes: a ticket's other name, to be typed or told over the telephone.

Twelve characters name the ticket and a thirteenth checks them. The ticket's id is a keyed hash of the twelve, so that
whoever has the site's hash key finds the same ticket under both names, and its uses are the same uses.
"""

from __future__ import annotations

from hashlib import blake2b

ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
"""Nothing that is mistaken for another: no 0 and O, no 1, I and L. As many as a prime, which the check needs."""
NAME_CHARS = 12
SHORT_CODES = len(ALPHABET) ** NAME_CHARS
"""So many there are: more than 2^59, which nobody tries out at a gate."""
ID_BYTES = 12
_GROUP = 4


class MistypedError(ValueError):
    """A text has a short code's form, and its characters do not belong together."""


def short_code(number: int) -> str:
    """Return the short code of a number below SHORT_CODES; tickets have random ones."""
    if not 0 <= number < SHORT_CODES:
        raise ValueError(f"{number} is not a number of a short code")
    name = ""
    for _ in range(NAME_CHARS):
        number, digit = divmod(number, len(ALPHABET))
        name = ALPHABET[digit] + name
    return name + _check_character(name)


def grouped(code: str) -> str:
    """Return the code as it is printed: `XXXX-XXXX-XXXXX`."""
    return "-".join((code[:_GROUP], code[_GROUP : 2 * _GROUP], code[2 * _GROUP :]))


def read_short_code(text: str) -> str | None:
    """Return the code in `text`, however it is grouped and in capitals or not; None when it has another form.

    MistypedError when one character is another, or two have changed places.
    """
    code = "".join(text.upper().split()).replace("-", "")
    if len(code) != NAME_CHARS + 1 or not set(code) <= set(ALPHABET):
        return None
    if code[-1] != _check_character(code[:-1]):
        raise MistypedError("its check character is another")
    return code


def short_ticket_id(code: str, hash_key: bytes) -> bytes:
    """Return the id of the ticket that the code names."""
    return blake2b(code.encode(), digest_size=ID_BYTES, key=hash_key, person=b"sg short code").digest()


def _check_character(name: str) -> str:
    """Return the character that finds any other character, and any two that have changed places.

    Each place has a weight of its own, none of them 0 modulo the prime size of the alphabet.
    """
    total = sum(weight * ALPHABET.index(character) for weight, character in enumerate(name, 2))
    return ALPHABET[-total % len(ALPHABET)]
