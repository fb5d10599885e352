"""Codes to type: what finds a slip of the finger, and whose ticket they name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.codes import Rejected, ShortCode, parse, ticket_key
from admission.decision import decide
from admission.explain import explain
from admission.facts import Facts
from admission.reasons import Reason
from admission.short_codes import (
    ALPHABET,
    SHORT_CODES,
    MistypedError,
    grouped,
    read_short_code,
    short_code,
    short_ticket_id,
)
from admission.tickets import History
from tests.admission.makers import BOOK, HASH_KEY, NOW_MS, POLICY, facts, ticket, use

NUMBERS = st.integers(0, SHORT_CODES - 1)
CODE = short_code(123_456_789_012_345)


@given(NUMBERS)
def test_code_is_read_as_it_was_made(number: int) -> None:
    """Printed in groups, in small letters, or with spaces from a telephone call."""
    code = short_code(number)
    assert len(code) == 13
    assert {read_short_code(text) for text in (code, grouped(code), code.lower(), f" {' '.join(code)} ")} == {
        code
    }


def test_codes_are_grouped_for_the_eye() -> None:
    """Four, four and five."""
    assert [len(part) for part in grouped(CODE).split("-")] == [4, 4, 5]


def test_every_number_has_a_code_of_its_own() -> None:
    """From the first to the last, and none beyond."""
    assert short_code(0) != short_code(1) != short_code(SHORT_CODES - 1)
    assert short_code(0)[:12] == "2" * 12
    assert short_code(SHORT_CODES - 1)[:12] == "Z" * 12
    for number in (-1, SHORT_CODES):
        with pytest.raises(ValueError, match="not a number"):
            short_code(number)


def test_no_character_is_mistaken_for_another() -> None:
    """Neither O and 0 nor I, L and 1 are in it; their number is prime."""
    assert not set(ALPHABET) & set("OIL01")
    assert len(set(ALPHABET)) == 31


@given(NUMBERS, st.integers(0, 12), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_found(number: int, place: int, character: str) -> None:
    """Whichever it is, and wherever."""
    code = short_code(number)
    wrong = code[:place] + character + code[place + 1 :]
    if wrong != code:
        with pytest.raises(MistypedError):
            read_short_code(wrong)


@given(NUMBERS, st.integers(0, 12), st.integers(0, 12))
def test_two_characters_that_changed_places_are_found(number: int, one: int, other: int) -> None:
    """Neighbours or not."""
    characters = list(short_code(number))
    characters[one], characters[other] = characters[other], characters[one]
    wrong = "".join(characters)
    if wrong != short_code(number):
        with pytest.raises(MistypedError):
            read_short_code(wrong)


@pytest.mark.parametrize("text", ["", CODE[:-1], CODE + "2", CODE[:-1] + "O", "票" * 13, "_" * 13])
def test_other_texts_are_no_short_codes(text: str) -> None:
    """They may be something else, and nobody is told of a mistake they did not make."""
    assert read_short_code(text) is None


def test_code_names_the_ticket_that_its_id_names() -> None:
    """Its uses are the same uses: nobody enters once by the printed code and once by the typed one."""
    credential = parse(grouped(CODE).encode(), BOOK)
    assert credential == ShortCode(ticket_key(short_ticket_id(CODE, HASH_KEY)))


def test_another_sites_hash_key_finds_another_ticket() -> None:
    """A code says nothing to whoever does not have the key."""
    assert short_ticket_id(CODE, HASH_KEY) != short_ticket_id(CODE, bytes(32))


def test_mistyped_code_asks_for_another_try() -> None:
    """The visitor can mend that."""
    wrong = parse((CODE[:-1] + ("2" if CODE[-1] != "2" else "3")).encode(), BOOK)
    assert isinstance(wrong, Rejected)
    assert wrong.reason is Reason.MISTYPED
    assert wrong.reason.is_mendable


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (facts(ticket=ticket()), Reason.TICKET),
        (facts(ticket=ticket(used=1)), Reason.ALREADY_USED),
        (facts(ticket=ticket(), history=History((use(),))), Reason.ALREADY_USED),
        (facts(), Reason.UNLISTED_CODE),
        (facts(current_list=None), Reason.NO_LIST),
    ],
)
def test_short_code_needs_the_list(known: Facts, reason: Reason) -> None:
    """It admits as the signed code would; unlike that one it proves nothing by itself."""
    assert decide(ShortCode(bytes(range(16))), known, POLICY, NOW_MS).reason is reason


def test_short_code_is_explained() -> None:
    """By kind and key; the characters are nowhere."""
    credential = parse(CODE.encode(), BOOK)
    told = "\n".join(explain(credential, facts(), POLICY, NOW_MS))
    assert "short code, key" in told
    assert CODE not in told
