"""A product's own admission rule: JsonLogic over time, entries and gate, and why it refused.

Variables: `now`, `now_isoweekday`, `product`, `variation`, `gate`, `entry_status` (present, absent), `entries_number`,
`entries_today`, `entries_days`, `minutes_since_first_entry` and `minutes_since_last_entry` (-1 before the first).
Operators beside the standard ones: `buildTime`, `isBefore` and `isAfter` with a tolerance in minutes, `inList`,
`objectList`, `lookup`, `entries_since`, `entries_before`, `entries_days_since`, `entries_days_before`. These are the
words that pretix's rules are written in; days are the site's local days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

from admission import jsonlogic
from admission.jsonlogic import STANDARD_OPERATORS, Operator, RuleError, is_operation, truthy

MS_PER_MINUTE = 60_000
NAMED_TIMES = ("date_from", "date_to", "date_admission")
DAYS_AHEAD = 8
"""How far the search for the next moment that admits goes beyond the times that a rule names: a week and a day."""
MAX_CANDIDATES = 200


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """What a rule can ask about; all times are UTC milliseconds.

    `entries_ms` are the holder's entries, oldest first. `times_ms` are the times that `buildTime` knows by name,
    one of NAMED_TIMES each.
    """

    now_ms: int
    timezone: tzinfo
    product: str = ""
    variation: str = ""
    gate: str = ""
    entries_ms: tuple[int, ...] = ()
    is_inside: bool = False
    times_ms: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RuleAnswer:
    """What a rule says; of a refusal also the parts that failed, and the nearest time or gates that would admit."""

    admits: bool
    because: tuple[str, ...] = ()
    admits_at_ms: int | None = None
    admits_at_gates: tuple[str, ...] = ()


def problems(rule: Any) -> tuple[str, ...]:
    """Return what is wrong with `rule`, each with its place; empty when it can be used."""
    found = tuple(jsonlogic.check(rule, STANDARD_OPERATORS | _OWN_OPERATORS))
    return found or tuple(problem for part in _parts(rule) for problem in _time_problems(part))


def holds(rule: Any, facts: RuleFacts) -> bool:
    """Return whether `rule` admits; an empty rule does. RuleError when it cannot be evaluated."""
    return rule in (None, {}, []) or truthy(jsonlogic.evaluate(rule, _variables(facts), _operators(facts)))


def answer(rule: Any, facts: RuleFacts) -> RuleAnswer:
    """Return what `rule` says on `facts`, and why when it refuses. RuleError when it cannot be evaluated."""
    if holds(rule, facts):
        return RuleAnswer(admits=True)
    return RuleAnswer(
        admits=False,
        because=tuple(dict.fromkeys(_failed(rule, facts))),
        admits_at_ms=_next_time(rule, facts),
        admits_at_gates=tuple(gate for gate in _gates(rule) if _would_hold(rule, replace(facts, gate=gate))),
    )


def _time_problems(part: Any) -> Iterator[str]:
    """Yield what is wrong with a time that is written into the rule."""
    name, arguments = _operation(part)
    if name != "buildTime":
        return
    kind, value = (*arguments, None, None)[:2]
    if kind not in ("custom", "customtime", *NAMED_TIMES):
        yield f"buildTime: {kind!r} is none of custom, customtime, {', '.join(NAMED_TIMES)}"
    try:
        if kind == "custom":
            datetime.fromisoformat(str(value))
        elif kind == "customtime":
            time.fromisoformat(str(value))
    except ValueError as error:
        yield f"buildTime: {error}"


def _would_hold(rule: Any, facts: RuleFacts) -> bool:
    try:
        return holds(rule, facts)
    except RuleError:
        return False


# What a rule can ask about.


def _variables(facts: RuleFacts) -> dict[str, Any]:
    now_day = _day(facts.now_ms, facts.timezone)
    days = [_day(at_ms, facts.timezone) for at_ms in facts.entries_ms]
    return {
        "now": facts.now_ms,
        "now_isoweekday": now_day.isoweekday(),
        "product": facts.product,
        "variation": facts.variation,
        "gate": facts.gate,
        "entry_status": "present" if facts.is_inside else "absent",
        "entries_number": len(days),
        "entries_today": days.count(now_day),
        "entries_days": len(set(days)),
        "minutes_since_first_entry": _minutes_since(facts, 0),
        "minutes_since_last_entry": _minutes_since(facts, -1),
    }


def _minutes_since(facts: RuleFacts, place: int) -> int:
    return (facts.now_ms - facts.entries_ms[place]) // MS_PER_MINUTE if facts.entries_ms else -1


def _day(at_ms: int, timezone: tzinfo) -> date:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(timezone).date()


_OWN_OPERATORS = frozenset(
    (
        "buildTime",
        "isBefore",
        "isAfter",
        "inList",
        "objectList",
        "lookup",
        "entries_since",
        "entries_before",
        "entries_days_since",
        "entries_days_before",
    )
)


def _operators(facts: RuleFacts) -> dict[str, Operator]:
    def entries(keep: Callable[[int, int], bool]) -> Operator:
        return lambda at=None: sum(keep(entry_ms, _time(at, facts)) for entry_ms in facts.entries_ms)

    def days(keep: Callable[[int, int], bool]) -> Operator:
        return lambda at=None: len(
            {_day(e_ms, facts.timezone) for e_ms in facts.entries_ms if keep(e_ms, _time(at, facts))}
        )

    def is_before(a: Any = None, b: Any = None, tolerance: Any = None) -> bool:
        if a is None or b is None:
            return False
        return _time(a, facts) < _time(b, facts) + jsonlogic.number(tolerance) * MS_PER_MINUTE

    return {
        "buildTime": lambda kind=None, value=None: _build_time(kind, value, facts),
        "isBefore": is_before,
        "isAfter": lambda a=None, b=None, tolerance=None: is_before(b, a, tolerance),
        "inList": lambda item=None, items=None: jsonlogic.text(item) in map(jsonlogic.text, items or ()),
        "objectList": lambda *items: list(items),
        "lookup": lambda _kind=None, key=None, _name=None: key,
        "entries_since": entries(lambda entry_ms, at_ms: entry_ms >= at_ms),
        "entries_before": entries(lambda entry_ms, at_ms: entry_ms < at_ms),
        "entries_days_since": days(lambda entry_ms, at_ms: entry_ms >= at_ms),
        "entries_days_before": days(lambda entry_ms, at_ms: entry_ms < at_ms),
    }


def _build_time(kind: Any, value: Any, facts: RuleFacts) -> int | None:
    match kind:
        case "custom":
            return _read_moment(str(value), facts.timezone)
        case "customtime":
            day = _day(facts.now_ms, facts.timezone)
            return _to_ms(datetime.combine(day, time.fromisoformat(str(value)), facts.timezone))
        case "date_admission":
            return facts.times_ms.get("date_admission") or facts.times_ms.get("date_from")
    return facts.times_ms.get(str(kind))


def _time(value: Any, facts: RuleFacts) -> int:
    match value:
        case bool() | None:
            raise RuleError(f"{value!r} is not a time")
        case int() | float():
            return int(value)
    return _read_moment(str(value), facts.timezone)


def _read_moment(text: str, timezone: tzinfo) -> int:
    moment = datetime.fromisoformat(text)
    return _to_ms(moment if moment.tzinfo else moment.replace(tzinfo=timezone))


def _to_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


# Why a rule refused.


def _failed(rule: Any, facts: RuleFacts) -> Iterator[str]:
    """Yield the smallest parts that kept `rule` from holding, with the values they saw."""
    name, arguments = _operation(rule)
    match name:
        case "and":
            first = next(part for part in arguments if not _would_hold(part, facts))
            yield from _failed(first, facts)
        case "or":
            for part in arguments:
                yield from _failed(part, facts)
        case _:
            yield _shown(rule, facts)


def _operation(rule: Any) -> tuple[str, list[Any]]:
    if not is_operation(rule):
        return "", []
    ((name, arguments),) = rule.items()
    return name, arguments if isinstance(arguments, list) else [arguments]


def _shown(rule: Any, facts: RuleFacts) -> str:
    """Return `rule` as a line for people: operators between their arguments, variables with their values."""
    name, arguments = _operation(rule)
    match name:
        case "":
            return str(rule)
        case "var":
            value = jsonlogic.evaluate(rule, _variables(facts), {})
            return f"{arguments[0]} ({_moment(value, facts) if arguments[0] == 'now' else value})"
        case "buildTime":
            at_ms = jsonlogic.evaluate(rule, {}, _operators(facts))
            return "no time" if at_ms is None else _moment(at_ms, facts)
        case "lookup":
            return str(arguments[-1])
    shown = [_shown(part, facts) for part in arguments]
    if len(shown) == 2 and name != "objectList":
        return f"{shown[0]} {name} {shown[1]}"
    return f"{'' if name == 'objectList' else name}({', '.join(shown)})"


def _moment(at_ms: int, facts: RuleFacts) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(facts.timezone)
    return f"{at:%Y-%m-%d %H:%M:%S}"


# What would admit instead.


def _next_time(rule: Any, facts: RuleFacts) -> int | None:
    """Return the first of the moments at which the answer can change that admits, or None."""
    moments = sorted({at_ms for at_ms in _turning_points(rule, facts) if at_ms > facts.now_ms})
    for at_ms in moments[:MAX_CANDIDATES]:
        if _would_hold(rule, replace(facts, now_ms=at_ms)):
            return at_ms
    return None


def _turning_points(rule: Any, facts: RuleFacts) -> Iterator[int]:
    """Yield the moments around which time changes what `rule` says: named times, midnights, minutes since an entry."""
    today = _day(facts.now_ms, facts.timezone)
    midnights = [
        _to_ms(datetime.combine(today + timedelta(days=ahead), time(), facts.timezone))
        for ahead in range(1, DAYS_AHEAD + 1)
    ]
    yield from midnights
    minutes = [0, *{part for part in _parts(rule) if type(part) in (int, float) and abs(part) < 1e6}]
    bases = [facts.now_ms, *midnights]
    named = [at_ms for base_ms in bases for at_ms in _named_times(rule, replace(facts, now_ms=base_ms))]
    for base_ms in (*dict.fromkeys(named), *facts.entries_ms[:1], *facts.entries_ms[-1:]):
        for offset in minutes:
            # The comparisons are strict: a moment counts from the millisecond after it.
            for at_ms in (base_ms + offset * MS_PER_MINUTE, base_ms - offset * MS_PER_MINUTE):
                yield from (int(at_ms), int(at_ms) + 1, int(at_ms) + MS_PER_MINUTE)


def _named_times(rule: Any, facts: RuleFacts) -> Iterator[int]:
    for part in _parts(rule):
        if _operation(part)[0] != "buildTime":
            continue
        at_ms = jsonlogic.evaluate(part, {}, _operators(facts))
        if at_ms is not None:
            yield at_ms


def _gates(rule: Any) -> tuple[str, ...]:
    """Return the gates that `rule` names: texts that stand in one operation with the variable `gate`."""
    found: list[str] = []
    for part in _parts(rule):
        arguments = _operation(part)[1]
        if {"var": "gate"} in arguments or {"var": ["gate"]} in arguments:
            others = [argument for argument in arguments if _operation(argument)[0] != "var"]
            found += [text for other in others for text in _keys(other)]
    return tuple(dict.fromkeys(found))


def _keys(part: Any) -> Iterator[str]:
    name, arguments = _operation(part)
    if name == "lookup":
        yield from (str(key) for key in arguments[1:2])
    elif name or isinstance(part, list):
        for item in arguments if name else part:
            yield from _keys(item)
    elif isinstance(part, str):
        yield part


def _parts(rule: Any) -> Iterator[Any]:
    """Yield `rule` and everything inside it."""
    yield rule
    name, arguments = _operation(rule)
    for part in arguments if name else (rule if isinstance(rule, list) else ()):
        yield from _parts(part)
