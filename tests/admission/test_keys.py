"""Keys as text: what is written is read, and nothing else is."""

from __future__ import annotations

import pytest

from admission.keys import (
    DEMO_KEY_PREFIX,
    public_key_text,
    read_public_key,
    read_signing_key,
    signing_key_text,
)
from tests.admission.makers import signing_key

KEY = signing_key(9, demo=False)
SECRET = "09" * 32


def test_a_signing_key_survives_its_text() -> None:
    """The id and the private key come back."""
    text = signing_key_text(KEY)
    assert text == f"{KEY.key_id.hex()}:{SECRET}"
    again = read_signing_key(f"  {text}\n")
    assert (again.key_id, again.private_key.private_bytes_raw()) == (KEY.key_id, bytes.fromhex(SECRET))


def test_a_public_key_survives_its_text() -> None:
    """The id and the public key come back, and nothing of the private one."""
    text = public_key_text(KEY.public)
    assert SECRET not in text
    again = read_public_key(text)
    assert (again.key_id, again.key) == (KEY.key_id, KEY.public.key)


@pytest.mark.parametrize("demo", [True, False])
def test_a_demo_key_is_known_by_its_id(demo: bool) -> None:
    """Both halves carry the mark, or neither."""
    key = signing_key(9, demo=demo)
    assert key.public.is_demo is demo
    assert key.key_id.startswith(DEMO_KEY_PREFIX) is demo
    assert len(key.key_id) == (5 if demo else 4)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        SECRET,
        f":{SECRET}",
        f"{'00' * 17}:{SECRET}",
        f"01:{SECRET}00",
        "01:",
        f"xy:{SECRET}",
        f"01:{'z' * 64}",
    ],
    ids=["empty", "colon", "no id", "empty id", "long id", "long key", "no key", "bad id", "bad key"],
)
def test_a_text_that_is_no_key_is_refused_without_being_quoted(text: str) -> None:
    """An error about a secret may end up in a log."""
    for read in (read_signing_key, read_public_key):
        with pytest.raises(ValueError, match="ID:KEY") as caught:
            read(text)
        assert SECRET not in str(caught.value)
