"""From TOML to typed values, with every mistake reported at once."""

from __future__ import annotations

import re
import tomllib
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec

_T = TypeVar("_T", bound=msgspec.Struct)
_MISSING = object()


class SettingsError(ValueError):
    """A settings file is wrong; `problems` names each mistake with the place where it stands."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load(text: str, kind: type[_T]) -> _T:
    """Return the `kind` that the TOML `text` describes; SettingsError with every mistake when it does not."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError((f"{_setting_at(text, str(error))}not TOML: {error}",)) from error
    problems = tuple(_struct_problems(table, kind, ""))
    if problems:
        raise SettingsError(problems)
    return msgspec.convert(table, kind)  # what passed field by field converts as a whole


def _setting_at(text: str, problem: str) -> str:
    """Return `NAME: ` of the setting on the line that the parser names, empty when there is none."""
    line = re.search(r"at line (\d+)", problem)
    name = re.match(r"\s*([\w-]+)\s*=", text.splitlines()[int(line[1]) - 1]) if line else None
    return f"{name[1]}: " if name else ""


def _struct_problems(table: Any, kind: type[msgspec.Struct], path: str) -> Iterator[str]:
    """Yield what is wrong with `table` as a `kind`, field by field; nested structs report for themselves."""
    if not isinstance(table, Mapping):
        yield f"{path}: expected a table"
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name in sorted(table.keys() - fields.keys()):
        yield f"{_join(path, name)}: unknown setting; known here: {', '.join(sorted(fields))}"
    for name, field in fields.items():
        yield from _field_problems(table.get(name, _MISSING), field, _join(path, name))


def _field_problems(value: Any, field: msgspec.structs.FieldInfo, path: str) -> Iterator[str]:
    if value is _MISSING:
        if field.required:
            yield f"{path}: missing"
        return
    yield from _value_problems(value, field.type, path)


def _value_problems(value: Any, kind: Any, path: str) -> Iterator[str]:
    struct, is_list = _struct_within(kind)
    if struct is None:
        yield from _conversion_problems(value, kind, path)
    elif not is_list:
        yield from _struct_problems(value, struct, path)
    elif not isinstance(value, list):
        yield f"{path}: expected a list of tables"
    else:
        in_items = [
            problem
            for number, item in enumerate(value)
            for problem in _struct_problems(item, struct, f"{path}[{number}]")
        ]
        yield from in_items or _conversion_problems(value, kind, path)  # the list's own bounds, as its length


def _struct_within(kind: Any) -> tuple[type[msgspec.Struct] | None, bool]:
    """Return the one struct in `kind` (a struct, an optional struct, or a list or tuple of it), and if it repeats."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind, False
    if get_origin(kind) is Annotated:
        return _struct_within(get_args(kind)[0])
    origin, parts = get_origin(kind), [part for part in get_args(kind) if part not in (type(None), ...)]
    if len(parts) != 1 or origin not in (list, tuple, Union, types.UnionType):
        return None, False
    struct, _ = _struct_within(parts[0])
    return struct, origin in (list, tuple)


def _conversion_problems(value: Any, kind: Any, path: str) -> Iterator[str]:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        text = str(error)
        shown = f"{value!r}: " if isinstance(value, str) else ""
        yield f"{path}: {shown}{text[0].lower()}{text[1:]}" if path else text


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
