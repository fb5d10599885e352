"""The loader: typed values, or every mistake with its place."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Annotated

import msgspec
import pytest

from config.loader import SettingsError, load


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class Wheel(msgspec.Struct, frozen=True, kw_only=True):
    size: Annotated[int, msgspec.Meta(gt=0)]
    colour: Colour = Colour.RED


class Bell(msgspec.Struct, frozen=True, kw_only=True):
    loud: bool
    wheel: Wheel | None = None


class Cart(msgspec.Struct, frozen=True, kw_only=True):
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z]+$")]
    wheels: Annotated[tuple[Wheel, ...], msgspec.Meta(min_length=1)]
    spare: list[Wheel] = []
    bell: Bell | None = None
    main_bell: Bell = Bell(loud=True)
    made: dt.date = dt.date(2026, 1, 1)
    tags: tuple[str, ...] = ()


GOOD = 'name = "a"\n[[wheels]]\nsize = 1\n'


def problems(text: str) -> tuple[str, ...]:
    """What is wrong with a text."""
    with pytest.raises(SettingsError) as caught:
        load(text, Cart)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_a_good_text_becomes_values() -> None:
    """Tables, lists of tables, dates and defaults."""
    text = GOOD + 'colour = "green"\n[[wheels]]\nsize = 2\n[bell]\nloud = false\n[bell.wheel]\nsize = 3'
    cart = load("made = 2026-05-01\ntags = ['x']\n" + text, Cart)
    assert cart == Cart(
        name="a",
        wheels=(Wheel(size=1, colour=Colour.GREEN), Wheel(size=2)),
        bell=Bell(loud=False, wheel=Wheel(size=3)),
        made=dt.date(2026, 5, 1),
        tags=("x",),
    )


def test_every_mistake_is_reported_at_once_with_its_place() -> None:
    """Unknown names first, then the fields in their order, at any depth."""
    text = """
        nmae = "a"
        name = "A1"
        made = "202261-2023531"
        tags = ["x", 5]
        wheels = [{size = 0}, {size = "1", color = "red"}, {colour = "blue"}, 7]
        spare = [{size = 1}, {}]
        main_bell = {loud = 1}
        [bell]
        wheel = {sise = 1}
    """
    known = "bell, made, main_bell, name, spare, tags, wheels"
    assert problems(text) == (
        f"nmae: unknown setting; known here: {known}",
        "name: 'A1': expected `str` matching regex '^[a-z]+$'",
        "wheels[0].size: expected `int` >= 1",
        "wheels[1].color: unknown setting; known here: colour, size",
        "wheels[1].size: '1': expected `int`, got `str`",
        "wheels[2].size: missing",
        "wheels[2].colour: 'blue': invalid enum value 'blue'",
        "wheels[3]: expected a table",
        "spare[1].size: missing",
        "bell.loud: missing",
        "bell.wheel.sise: unknown setting; known here: colour, size",
        "bell.wheel.size: missing",
        "main_bell.loud: expected `bool`, got `int`",
        "made: '202261-2023531': invalid RFC3339 encoded date",
        "tags: expected `str`, got `int` - at `$[1]`",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('name = "a"\nwheels = []', "wheels: expected `array` of length >= 1"),
        ('name = "a"\nwheels = {size = 1}', "wheels: expected a list of tables"),
        ('name = "a"\nwheels = 5', "wheels: expected a list of tables"),
        (f"bell = 5\n{GOOD}", "bell: expected a table"),
        (f"made = 2026-05-01T00:00:00\n{GOOD}", "made: expected `date`, got `datetime`"),
    ],
)
def test_a_value_of_another_shape_is_a_mistake(text: str, problem: str) -> None:
    """And the only one."""
    assert problems(text) == (problem,)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("name = ", ""),
        ("made = 202261-2023531", "made: "),
        ("[table]\n  made = 202261-2023531\n", "made: "),
        ("[wheels", ""),
        ('name = "a"\nname = "b"\n', "name: "),
        ("\0", ""),
    ],
)
def test_what_is_not_toml_says_where(text: str, named: str) -> None:
    """With the setting where one stands there, line and column, or that the end came too early."""
    (problem,) = problems(text)
    assert problem.startswith(f"{named}not TOML: ")
    assert "(at " in problem


def test_an_empty_text_lacks_what_is_needed() -> None:
    """What has a default is not asked for."""
    assert problems("") == ("name: missing", "wheels: missing")
