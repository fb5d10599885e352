"""JsonLogic (jsonlogic.com): rules as JSON values, evaluated with the conversions of its reference implementation.

A rule is an object with one key, the operator; every other value stands for itself. Total within `check`'s bounds:
an evaluation ends in a value or a RuleError, never in another exception, and reads nothing but its arguments.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

Operator = Callable[..., Any]
"""Takes the evaluated arguments."""

MAX_DEPTH = 24
MAX_NODES = 1000
MAX_LOOPS = 2
"""So many operators that go through an array may stand inside each other."""
MAX_LENGTH = 4096
"""A text or array that grows beyond this while a rule is evaluated ends the evaluation."""
_LEADING_NUMBER = re.compile(r"\s*([+-]?(?:Infinity|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))")
_WHOLE_NUMBER = re.compile(r"\s*([+-]?(?:Infinity|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))?\s*")


class RuleError(ValueError):
    """The rule cannot be evaluated: an operator that is not known, or arguments that it cannot take."""


def check(rule: Any, operators: frozenset[str]) -> Iterator[str]:
    """Yield what is wrong with `rule`, each with its place: unknown operators, more depth or size than is allowed."""
    count = 0
    waiting = [(rule, "rule", 0, 0)]
    while waiting:
        part, place, depth, loops = waiting.pop()
        count += 1
        if depth > MAX_DEPTH or loops > MAX_LOOPS or count > MAX_NODES:
            yield f"{place}: {MAX_DEPTH} levels, {MAX_LOOPS} loops in each other and {MAX_NODES} parts are the most"
            return
        if is_operation(part):
            ((name, arguments),) = part.items()
            if name not in operators:
                yield f"{place}: {name!r} is not an operator"
            waiting.append((arguments, f"{place}.{name}", depth + 1, loops + (name in _LOOPS)))
        elif isinstance(part, list):
            waiting += [(item, f"{place}[{number}]", depth + 1, loops) for number, item in enumerate(part)]


def is_operation(rule: Any) -> bool:
    """Return whether `rule` is an operation, not a value that stands for itself."""
    return isinstance(rule, dict) and len(rule) == 1


def evaluate(rule: Any, data: Any, operators: Mapping[str, Operator] | None = None) -> Any:
    """Return what `rule` comes to on `data`; `operators` are known beside the standard ones."""
    try:
        return _evaluate(rule, data, operators or {})
    except (TypeError, ValueError, OverflowError, RecursionError, KeyError, AttributeError) as error:
        raise RuleError(f"the rule cannot be evaluated: {error}") from error


def truthy(value: Any) -> bool:
    """Return whether `value` counts as true: as in JavaScript, but for empty arrays, which are false."""
    if isinstance(value, float) and math.isnan(value):
        return False
    return isinstance(value, dict) or bool(value)


def _evaluate(rule: Any, data: Any, extra: Mapping[str, Operator]) -> Any:
    if isinstance(rule, list):
        return [_evaluate(part, data, extra) for part in rule]
    if not is_operation(rule):
        return rule
    ((name, given),) = rule.items()
    arguments = given if isinstance(given, list) else [given]
    if name in _LAZY:
        return _LAZY[name](arguments, data, extra)
    values = [_evaluate(part, data, extra) for part in arguments]
    if name in _ON_DATA:
        return _ON_DATA[name](values, data)
    operator = extra.get(name) or _PLAIN.get(name)
    if operator is None:
        raise RuleError(f"{name!r} is not an operator")
    return operator(*values)


# Operators that evaluate only some of their arguments, or one of them many times.


def _if(arguments: Sequence[Any], data: Any, extra: Mapping[str, Operator]) -> Any:
    for place in range(0, len(arguments) - 1, 2):
        if truthy(_evaluate(arguments[place], data, extra)):
            return _evaluate(arguments[place + 1], data, extra)
    return _evaluate(arguments[-1], data, extra) if len(arguments) % 2 else None


def _and(arguments: Sequence[Any], data: Any, extra: Mapping[str, Operator]) -> Any:
    value = None
    for part in arguments:
        value = _evaluate(part, data, extra)
        if not truthy(value):
            return value
    return value


def _or(arguments: Sequence[Any], data: Any, extra: Mapping[str, Operator]) -> Any:
    value = None
    for part in arguments:
        value = _evaluate(part, data, extra)
        if truthy(value):
            return value
    return value


def _items(arguments: Sequence[Any], data: Any, extra: Mapping[str, Operator]) -> list[Any]:
    items = _evaluate(arguments[0], data, extra) if arguments else None
    return items if isinstance(items, list) else []


def _part(arguments: Sequence[Any], place: int) -> Any:
    return arguments[place] if place < len(arguments) else None


def _filter(arguments: Sequence[Any], data: Any, extra: Mapping[str, Operator]) -> list[Any]:
    test = _part(arguments, 1)
    return [item for item in _items(arguments, data, extra) if truthy(_evaluate(test, item, extra))]


def _map(arguments: Sequence[Any], data: Any, extra: Mapping[str, Operator]) -> list[Any]:
    return [_evaluate(_part(arguments, 1), item, extra) for item in _items(arguments, data, extra)]


def _reduce(arguments: Sequence[Any], data: Any, extra: Mapping[str, Operator]) -> Any:
    value = _evaluate(_part(arguments, 2), data, extra)
    for item in _items(arguments, data, extra):
        value = _evaluate(_part(arguments, 1), {"current": item, "accumulator": value}, extra)
    return value


def _all(arguments: Sequence[Any], data: Any, extra: Mapping[str, Operator]) -> bool:
    items = _items(arguments, data, extra)
    return bool(items) and len(_filter(arguments, data, extra)) == len(items)


def _some(arguments: Sequence[Any], data: Any, extra: Mapping[str, Operator]) -> bool:
    return bool(_filter(arguments, data, extra))


def _none(arguments: Sequence[Any], data: Any, extra: Mapping[str, Operator]) -> bool:
    return not _filter(arguments, data, extra)


_LAZY: dict[str, Callable[[Sequence[Any], Any, Mapping[str, Operator]], Any]] = {
    "if": _if,
    "?:": _if,
    "and": _and,
    "or": _or,
    "filter": _filter,
    "map": _map,
    "reduce": _reduce,
    "all": _all,
    "some": _some,
    "none": _none,
}
_LOOPS = frozenset(("filter", "map", "reduce", "all", "some", "none"))


# Operators that look into the data.


def _var(values: Sequence[Any], data: Any) -> Any:
    path = _part(values, 0)
    default = _part(values, 1)
    if path is None or path in ("", []):
        return data
    value = data
    for step in text(path).split("."):
        value = _step(value, step)
        if value is None:
            return default
    return value


def _step(value: Any, step: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(step)
    if isinstance(value, list | str) and step.isdecimal() and int(step) < len(value):
        return value[int(step)]
    return None


def _missing(values: Sequence[Any], data: Any) -> list[Any]:
    names = values[0] if values and isinstance(values[0], list) else values
    return [name for name in names if _var([name], data) in (None, "")]


def _missing_some(values: Sequence[Any], data: Any) -> list[Any]:
    needed, names = values
    missing = _missing([names], data)
    return [] if len(names) - len(missing) >= needed else missing


_ON_DATA: dict[str, Callable[[Sequence[Any], Any], Any]] = {
    "var": _var,
    "missing": _missing,
    "missing_some": _missing_some,
}


# Operators on values alone, with JavaScript's conversions.


def number(value: Any) -> float:
    """Return the number that `value` converts to; not-a-number where there is none."""
    match value:
        case None:
            return 0
        case bool() | int() | float():
            return value
        case str():
            whole = _WHOLE_NUMBER.fullmatch(value)
            return _read_number(whole.group(1) or "0") if whole else math.nan
        case list():
            return number(text(value))
    return math.nan


def text(value: Any) -> str:
    """Return the text that `value` converts to."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e21:
            return str(int(value))
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
        case list():
            return ",".join("" if item is None else text(item) for item in value)
        case dict():
            return "[object Object]"
    return str(value)


def _read_number(digits: str) -> float:
    value = float(digits.replace("Infinity", "inf"))
    return int(value) if value.is_integer() else value


def _leading_number(value: Any) -> float:
    """Return the number that the text of `value` begins with, as JavaScript's parseFloat does."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    found = _LEADING_NUMBER.match(text(value))
    return _read_number(found.group(1)) if found else math.nan


def _equal(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    if isinstance(a, list | dict) and isinstance(b, list | dict):
        return a is b  # two objects are never the same one
    if isinstance(a, str | list | dict) and isinstance(b, str | list | dict):
        return text(a) == text(b)
    return number(a) == number(b)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None:
        return a is b
    if isinstance(a, list | dict) or isinstance(b, list | dict):
        return False
    return isinstance(a, str) == isinstance(b, str) and bool(a == b)


def _before(a: Any, b: Any) -> bool:
    if isinstance(a, str | list) and isinstance(b, str | list):
        return text(a) < text(b)
    return number(a) < number(b)


def _not_after(a: Any, b: Any) -> bool:
    if isinstance(a, str | list) and isinstance(b, str | list):
        return text(a) <= text(b)
    return number(a) <= number(b)


def _between(compare: Callable[[Any, Any], bool]) -> Operator:
    def between(*values: Any) -> bool:
        return len(values) > 1 and all(compare(a, b) for a, b in pairwise(values[:3]))

    return between


def _turned(compare: Callable[[Any, Any], bool]) -> Operator:
    return lambda a=None, b=None, *_: compare(b, a)


def _plus(*values: Any) -> float:
    return _as_double(sum(_leading_number(value) for value in values))


def _times(*values: Any) -> float:
    return _as_double(math.prod(_leading_number(value) for value in values))


def _as_double(value: float) -> float:
    """Return `value` with the precision that JavaScript's numbers have: no integer grows without end."""
    return float(value) if abs(value) > 1 << 53 else value


def _minus(a: Any = None, *rest: Any) -> float:
    return number(a) - number(rest[0]) if rest else -number(a)


def _divided(a: Any, b: Any) -> float:
    dividend, divisor = number(a), number(b)
    if divisor == 0:
        return math.nan if dividend == 0 or math.isnan(dividend) else math.copysign(math.inf, dividend)
    return dividend / divisor


def _remainder(a: Any, b: Any) -> float:
    dividend, divisor = number(a), number(b)
    if divisor == 0 or not math.isfinite(dividend):
        return math.nan
    return math.fmod(dividend, divisor)  # with the sign of the dividend, unlike Python's own


def _is_in(needle: Any = None, hay: Any = None) -> bool:
    match hay:
        case str():
            return text(needle) in hay
        case list():
            return any(_same(needle, item) for item in hay)
    return False


def _substr(source: Any, start: Any, length: Any = None) -> str:
    whole = text(source)
    begin = int(number(start))
    rest = whole[begin:] if begin >= 0 else whole[max(0, len(whole) + begin) :]
    if length is None:
        return rest
    size = int(number(length))
    return rest[:size] if size >= 0 else rest[: max(0, len(rest) + size)]


def _cat(*values: Any) -> str:
    parts = ["" if value is None else text(value) for value in values]
    _not_too_long(sum(map(len, parts)))
    return "".join(parts)


def _merge(*values: Any) -> list[Any]:
    parts = [value if isinstance(value, list) else [value] for value in values]
    _not_too_long(sum(map(len, parts)))
    return [item for part in parts for item in part]


def _not_too_long(length: int) -> None:
    if length > MAX_LENGTH:
        raise RuleError(f"more than {MAX_LENGTH} characters or items")


_PLAIN: dict[str, Operator] = {
    "==": lambda a=None, b=None, *_: _equal(a, b),
    "===": lambda a=None, b=None, *_: _same(a, b),
    "!=": lambda a=None, b=None, *_: not _equal(a, b),
    "!==": lambda a=None, b=None, *_: not _same(a, b),
    "!": lambda a=None, *_: not truthy(a),
    "!!": lambda a=None, *_: truthy(a),
    ">": _turned(_before),
    ">=": _turned(_not_after),
    "<": _between(_before),
    "<=": _between(_not_after),
    "+": _plus,
    "-": _minus,
    "*": _times,
    "/": _divided,
    "%": _remainder,
    "max": lambda *values: max((number(value) for value in values), default=-math.inf),
    "min": lambda *values: min((number(value) for value in values), default=math.inf),
    "cat": _cat,
    "in": _is_in,
    "substr": _substr,
    "merge": _merge,
    "log": lambda value=None, *_: value,
}

STANDARD_OPERATORS = frozenset((*_LAZY, *_ON_DATA, *_PLAIN))
