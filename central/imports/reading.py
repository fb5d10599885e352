"""From a file's bytes to records, or to everything that is wrong with it. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from central.imports.fields import Field, FieldError
from central.rights import Record

_VALUE_LENGTH = 80


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: the row (from 1; 0 is the file or its header), the field, what is wrong, and the value."""

    row: int
    field: str
    problem: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as it came: texts from CSV, anything from JSON."""

    number: int
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReadRow:
    """A row that says something: the record that it stands for, beside what it came as."""

    number: int
    values: Mapping[str, Any]
    record: Record


@dataclass(frozen=True, slots=True)
class Layout:
    """The fields of one kind of file, the record that a row's values make, and the record's columns that name it."""

    fields: tuple[Field, ...]
    record: Callable[[Mapping[str, Any]], Record]
    identity: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """All rows that could be read, without those that repeat another exactly, and all mistakes."""

    rows: tuple[ReadRow, ...]
    repeated: int
    problems: tuple[Problem, ...]


class FileError(ValueError):
    """The file cannot be taken apart into rows."""


def csv_rows(data: bytes) -> list[RawRow]:
    """Return the rows of a CSV file with a header, in UTF-8; FileError when it is none."""
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        lines = [line for line in reader if line]
    except UnicodeDecodeError as error:
        raise FileError("the file is not UTF-8") from error
    except csv.Error as error:
        raise FileError(f"the file is not CSV: {error}") from error
    if not lines:
        raise FileError("the file has no header")
    header = [name.strip() for name in lines[0]]
    if len(set(header)) != len(header):
        raise FileError("a column appears twice")
    return [RawRow(number, _csv_values(header, line)) for number, line in enumerate(lines[1:], 1)]


def _csv_values(header: list[str], line: list[str]) -> dict[str, str]:
    """Return a line's values by column; an empty cell is an absent value, one too many has no column's name."""
    values = {name: cell for name, cell in zip(header, line, strict=False) if cell}
    return values | {f"column {number + 1}": line[number] for number in range(len(header), len(line))}


def json_rows(data: bytes) -> list[RawRow]:
    """Return the rows of a JSON array of objects, bare or as `rows` of an object; FileError when it is none."""
    try:
        given = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileError(f"the file is not JSON: {error}") from error
    rows = given.get("rows") if isinstance(given, dict) else given
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise FileError("the file is not an array of objects")
    return [RawRow(number, row) for number, row in enumerate(rows, 1)]


def read_rows(raw_rows: list[RawRow], layout: Layout) -> Reading:
    """Return what the rows say, and every mistake in them."""
    rows: dict[tuple[Any, ...], ReadRow] = {}
    problems: list[Problem] = []
    repeated = 0
    for raw in raw_rows:
        found = _read_row(raw, layout)
        if not isinstance(found, ReadRow):
            problems += found
            continue
        first = rows.setdefault(tuple(found.record[name] for name in layout.identity), found)
        if first.record != found.record:
            field = layout.fields[0].name
            problems.append(problem(raw, field, f"row {first.number} says something else of the same"))
        elif first is not found:
            repeated += 1
    return Reading(tuple(rows.values()), repeated, tuple(problems))


def problem(row: RawRow | ReadRow, field: str, text: str) -> Problem:
    """Return the mistake `text` with the value that the row has in `field`."""
    return Problem(row.number, field, text, str(row.values.get(field, ""))[:_VALUE_LENGTH])


def _read_row(raw: RawRow, layout: Layout) -> ReadRow | list[Problem]:
    values: dict[str, Any] = {}
    shown = RawRow(raw.number, _quotable(raw, layout))
    problems = list(_unknown_fields(shown, layout))
    for field in layout.fields:
        try:
            values[field.name] = _read_field(raw, field)
        except FieldError as error:
            problems.append(problem(shown, field.name, str(error)))
    if problems:
        return problems
    try:
        return ReadRow(raw.number, shown.values, layout.record(values))
    except FieldError as error:
        return [problem(shown, error.field, str(error))]


def _quotable(raw: RawRow, layout: Layout) -> Mapping[str, Any]:
    """Return the row's values as they may be quoted; a secret may stand in a column of any wrong name."""
    if not any(field.is_secret for field in layout.fields):
        return raw.values
    open_names = {field.name for field in layout.fields if not field.is_secret}
    return {name: value if name in open_names else "" for name, value in raw.values.items()}


def _read_field(raw: RawRow, field: Field) -> Any:
    value = raw.values.get(field.name)
    if value is not None:
        return field.read(value)
    if field.required:
        raise FieldError("missing")
    return field.default


def _unknown_fields(raw: RawRow, layout: Layout) -> Iterator[Problem]:
    known = [field.name for field in layout.fields]
    for name in raw.values:
        if name not in known:
            yield problem(raw, name, f"unknown; the fields are {', '.join(known)}")
