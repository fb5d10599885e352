"""Base45: the examples of RFC 9285, what it refuses, and its inverse."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admission import base45


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"AB", b"BB8"),
        (b"Hello!!", b"%69 VD92EX0"),
        (b"base-45", b"UJCLQE7W581"),
        (b"ietf!", b"QED8WEX0"),
        (b"", b""),
    ],
)
def test_the_examples_of_the_rfc_hold_both_ways(data: bytes, text: bytes) -> None:
    """RFC 9285 §4.3 and §4.4."""
    assert base45.encode(data) == text
    assert base45.decode(text) == data


@pytest.mark.parametrize(
    "text",
    [b"A", b"AAAA", b"GGW", b":::", b"V5", b"::", b"bb8", b"BB8\n", b"\xff\xff\xff", b"B,8"],
    ids=repr,
)
def test_what_is_not_base45_is_a_value_error(text: bytes) -> None:
    """Wrong lengths, groups above 65535 or 255, characters outside the alphabet."""
    with pytest.raises(ValueError, match="base45"):
        base45.decode(text)


@pytest.mark.parametrize(("text", "data"), [(b"FGW", b"\xff\xff"), (b"U5", b"\xff")])
def test_the_largest_groups_are_taken(text: bytes, data: bytes) -> None:
    """65535 for three characters, 255 for two."""
    assert base45.decode(text) == data


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_decoding_undoes_encoding(data: bytes) -> None:
    """Any bytes come back."""
    assert base45.decode(base45.encode(data)) == data


@settings(max_examples=50)
@given(st.binary(max_size=60))
def test_a_text_that_decodes_is_the_only_text_of_its_bytes(text: bytes) -> None:
    """Two different codes never carry the same bytes."""
    try:
        data = base45.decode(text)
    except ValueError:
        return
    assert base45.encode(data) == text
