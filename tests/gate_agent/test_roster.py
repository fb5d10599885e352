"""Who is known by which token, and what happens to whoever guesses."""

from __future__ import annotations

import pytest

from admission.staff import Role
from gate_agent.roster import MOST_SENDERS, MOST_TRIES, PAUSE_S, Member, Roster, Tries

S = 1_000_000_000
LI, WANG = Member("w1", Role.STEWARD, "token of li"), Member("s1", Role.SUPERVISOR, "token of wang")
ROSTER = Roster((LI, WANG))


@pytest.mark.parametrize(
    ("token", "member"),
    [("token of li", LI), ("token of wang", WANG), ("token of nobody", None), ("", None), ("\udcff", None)],
)
def test_a_member_is_found_by_token(token: str, member: Member | None) -> None:
    """Each token is one person's; whatever else is sent is nobody's."""
    assert ROSTER.find(token) == member


def test_an_empty_token_is_nobodys() -> None:
    """Also where a token file would be empty."""
    assert Roster((Member("w1", Role.STEWARD, ""),)).find("") is None


def test_five_wrong_tokens_make_a_pause() -> None:
    """The fifth wrong one begins it, others are not held up, and afterwards the count begins anew."""
    tries = Tries()
    for number in range(MOST_TRIES):
        assert tries.pause_s("a", number) == 0
        tries.note_wrong("a", number)
    assert tries.pause_s("a", 5) == PAUSE_S
    assert tries.pause_s("b", 5) == 0
    assert tries.pause_s("a", (PAUSE_S + 1) * S) == 0
    tries.note_wrong("a", (PAUSE_S + 1) * S)
    assert tries.pause_s("a", (PAUSE_S + 1) * S) == 0


def test_a_right_token_forgives_the_wrong_ones() -> None:
    """Who mistyped and then got it right starts afresh."""
    tries = Tries()
    for _ in range(MOST_TRIES - 1):
        tries.note_wrong("a", 0)
    tries.note_right("a")
    tries.note_wrong("a", 0)
    assert tries.pause_s("a", 0) == 0


def test_the_memory_of_senders_has_a_bound() -> None:
    """Guessing from many addresses fills no memory."""
    tries = Tries()
    for number in range(MOST_SENDERS + 10):
        tries.note_wrong(str(number), 0)
    assert len(tries._wrong) == MOST_SENDERS
