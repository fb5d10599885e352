"""JsonLogic: the values and conversions of the reference implementation, and bounds that hold."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.jsonlogic import (
    MAX_DEPTH,
    MAX_LENGTH,
    MAX_NODES,
    STANDARD_OPERATORS,
    RuleError,
    check,
    evaluate,
    number,
    text,
)

DATA = {
    "visitor": {"name": "Li", "age": 67, "tags": ["a", "b"]},
    "entries": [1, 2, 3, 4],
    "empty": "",
    "nothing": None,
}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (5, 5),
        ("text", "text"),
        ([1, {"+": [1, 1]}], [1, 2]),
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}),
        # var
        ({"var": "visitor.name"}, "Li"),
        ({"var": ["visitor.tags.1"]}, "b"),
        ({"var": ["visitor.tags.9", "none"]}, "none"),
        ({"var": ["visitor.name.x", 7]}, 7),
        ({"var": ["unknown", 7]}, 7),
        ({"var": "entries.0"}, 1),
        ({"var": ["visitor.name.0"]}, "L"),
        ({"var": ""}, DATA),
        ({"var": []}, DATA),
        ({"missing": ["visitor", "unknown", "empty"]}, ["unknown", "empty"]),
        ({"missing": [["unknown"]]}, ["unknown"]),
        ({"missing_some": [1, ["visitor", "unknown"]]}, []),
        ({"missing_some": [2, ["visitor", "unknown"]]}, ["unknown"]),
        # choice
        ({"if": [False, 1, True, 2, 3]}, 2),
        ({"if": [False, 1, [], 2, 3]}, 3),
        ({"if": [False, 1]}, None),
        ({"if": []}, None),
        ({"?:": [{"var": "nothing"}, 1, 2]}, 2),
        ({"and": [1, "", 3]}, ""),
        ({"and": [1, 3]}, 3),
        ({"and": []}, None),
        ({"or": [0, "", 3]}, 3),
        ({"or": [0, []]}, []),
        ({"!": [[]]}, True),
        ({"!": {"var": "visitor"}}, False),
        ({"!!": ["0"]}, True),
        # comparison
        ({"==": [1, "1"]}, True),
        ({"==": ["", 0]}, True),
        ({"==": [None, 0]}, False),
        ({"==": [None, None]}, True),
        ({"==": [[1], "1"]}, True),
        ({"==": [[1], [1]]}, False),
        ({"==": ["a", "a"]}, True),
        ({"!=": [1, "2"]}, True),
        ({"===": [1, "1"]}, False),
        ({"===": [1, 1.0]}, True),
        ({"===": [True, 1]}, False),
        ({"===": [None, None]}, True),
        ({"===": [[], []]}, False),
        ({"!==": [1, "1"]}, True),
        ({"<": ["10", "9"]}, True),
        ({"<": ["10", 9]}, False),
        ({"<": [1, 2, 3]}, True),
        ({"<": [1, 4, 3]}, False),
        ({"<": [1]}, False),
        ({"<=": [1, 1, 1]}, True),
        ({"<=": ["a", "b"]}, True),
        ({">": [2, 1]}, True),
        ({">=": ["x", 1]}, False),
        # arithmetic
        ({"+": ["3 apples", 4]}, 7),
        ({"+": "2.5"}, 2.5),
        ({"-": [5, "2"]}, 3),
        ({"-": 5}, -5),
        ({"*": ["2", 3, 4]}, 24),
        ({"/": [7, 2]}, 3.5),
        ({"/": [-1, 0]}, -math.inf),
        ({"%": [-7, 3]}, -1),
        ({"max": [1, "3", 2]}, 3),
        ({"min": [1, -3, 2]}, -3),
        ({"max": []}, -math.inf),
        ({"min": []}, math.inf),
        # text and arrays
        ({"cat": ["a", 1.0, True, None]}, "a1true"),
        ({"in": ["Spring", "Springfield"]}, True),
        ({"in": [2, [1, 2]]}, True),
        ({"in": ["2", [1, 2]]}, False),
        ({"in": [1, None]}, False),
        ({"substr": ["jsonlogic", 4]}, "logic"),
        ({"substr": ["jsonlogic", -5]}, "logic"),
        ({"substr": ["jsonlogic", 1, 3]}, "son"),
        ({"substr": ["jsonlogic", 4, -2]}, "log"),
        ({"merge": [1, [2, 3], []]}, [1, 2, 3]),
        ({"filter": [{"var": "entries"}, {">": [{"var": ""}, 2]}]}, [3, 4]),
        ({"map": [{"var": "entries"}, {"*": [{"var": ""}, 2]}]}, [2, 4, 6, 8]),
        ({"map": [{"var": "unknown"}, 1]}, []),
        ({"map": []}, []),
        ({"reduce": [{"var": "entries"}, {"+": [{"var": "current"}, {"var": "accumulator"}]}, 0]}, 10),
        ({"all": [{"var": "entries"}, {">": [{"var": ""}, 0]}]}, True),
        ({"all": [[], True]}, False),
        ({"some": [{"var": "entries"}, {">": [{"var": ""}, 3]}]}, True),
        ({"none": [{"var": "entries"}, {">": [{"var": ""}, 4]}]}, True),
        ({"log": "seen"}, "seen"),
    ],
)
def test_rule_has_the_value_of_the_reference_implementation(rule: Any, expected: Any) -> None:
    """Each operator gives what the reference implementation gives, type included."""
    value = evaluate(rule, DATA)
    assert value == expected
    assert isinstance(value, bool) == isinstance(expected, bool)


@pytest.mark.parametrize(
    "rule", [{"/": [0, 0]}, {"%": [1, 0]}, {"%": [math.inf, 2]}, {"+": "no"}, {"-": [{}, 1]}]
)
def test_what_has_no_value_is_not_a_number(rule: Any) -> None:
    """Arithmetic without a result gives not-a-number, which counts as false."""
    assert math.isnan(evaluate(rule, {}))
    assert evaluate({"!": [rule]}, {}) is True


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, 0),
        (True, 1),
        ("", 0),
        (" 12 ", 12),
        ("-1.5e2", -150),
        ("Infinity", math.inf),
        ([], 0),
        (["7"], 7),
    ],
)
def test_numbers_convert_as_in_javascript(value: Any, expected: float) -> None:
    """Values convert to the number that JavaScript gives them."""
    assert number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (True, "true"),
        (2.0, "2"),
        (2.5, "2.5"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        ([1, None, [2]], "1,,2"),
        ({"a": 1, "b": 2}, "[object Object]"),
    ],
)
def test_texts_convert_as_in_javascript(value: Any, expected: str) -> None:
    """Values convert to the text that JavaScript gives them."""
    assert text(value) == expected


def test_operators_can_be_added() -> None:
    """An operator of the caller's own is called with evaluated arguments."""
    assert evaluate({"twice": [{"+": [1, 2]}]}, {}, {"twice": lambda value: 2 * value}) == 6


@pytest.mark.parametrize(
    "rule",
    [
        {"unknown": [1]},
        {"/": [1]},
        {"missing_some": [1]},
        {"missing_some": ["x", ["a"]]},
        {"substr": ["a", math.inf]},
        {"reduce": [[1] * 20, {"cat": [{"var": "accumulator"}, {"var": "accumulator"}]}, "ab"]},
        {"reduce": [[1] * 20, {"merge": [{"var": "accumulator"}, {"var": "accumulator"}]}, [1, 2]]},
    ],
)
def test_what_cannot_be_evaluated_is_one_kind_of_error(rule: Any) -> None:
    """An unknown operator, impossible arguments and results without bound end in a RuleError."""
    with pytest.raises(RuleError):
        evaluate(rule, {})


def test_integers_do_not_grow_without_end() -> None:
    """Numbers have the precision of doubles, however often they are multiplied."""
    squares = {"reduce": [[1] * 12, {"*": [{"var": "accumulator"}, {"var": "accumulator"}]}, 1 << 60]}
    assert isinstance(evaluate({"*": [1 << 40, 1 << 40]}, {}), float)
    assert evaluate(squares, {}) == math.inf


def _nested(levels: int, operator: str) -> Any:
    rule: Any = 1
    for _ in range(levels):
        rule = {operator: [[1, 2], rule]}
    return rule


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"and": [{"unknown": 1}]}, "rule.and[0]: 'unknown' is not an operator"),
        (_nested(MAX_DEPTH, "or"), "levels"),
        (_nested(3, "map"), "loops"),
        ([1] * (MAX_NODES + 1), "parts"),
    ],
)
def test_check_names_what_is_wrong_and_where(rule: Any, problem: str) -> None:
    """An operator that is not known and a rule that is too large are found before anyone evaluates it."""
    assert any(problem in found for found in list(check(rule, STANDARD_OPERATORS)))


def test_check_finds_nothing_in_a_sound_rule() -> None:
    """A rule within the bounds has no problems."""
    assert (
        list(
            check(
                {"and": [{"<": [{"var": "a"}, 3]}, {"in": ["x", ["x", {"a": 1, "b": 2}]]}]},
                STANDARD_OPERATORS,
            )
        )
        == []
    )


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(sorted(STANDARD_OPERATORS)), inner, min_size=1, max_size=1)
    ),
    max_leaves=30,
)


@given(rule=_VALUES, data=_VALUES)
def test_checked_rules_end_in_a_value_or_a_rule_error(rule: Any, data: Any) -> None:
    """Whatever passes the check can be evaluated on anything without another exception."""
    if list(check(rule, STANDARD_OPERATORS)):
        return
    try:
        value = evaluate(rule, data)
    except RuleError:
        return
    assert not isinstance(value, str) or len(value) <= MAX_LENGTH
