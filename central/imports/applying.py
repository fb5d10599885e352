"""Takes a file in: all of it, or nothing and a list of what is wrong."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from admission.policy import Policy
from central.imports.kinds import Kind
from central.imports.reading import Problem, Reading
from central.reconcile import settle_used
from central.rights import known_rows, merge


@dataclass(frozen=True, slots=True)
class Counts:
    """What an import did to the rows it named."""

    created: int
    updated: int
    unchanged: int

    @property
    def changed(self) -> bool:
        """Whether anything is different now."""
        return self.created + self.updated > 0


class ImportRefusedError(ValueError):
    """The file has mistakes, and nothing of it was stored."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(f"{len(problems)} mistakes")
        self.problems = problems


def apply_reading(connection: Connection, kind: Kind, reading: Reading, policy: Policy) -> Counts:
    """Store what the file says and return what that changed; ImportRefusedError with every mistake in it."""
    records = [row.record for row in reading.rows]
    known = known_rows(connection, kind.table, records)
    problems = (*reading.problems, *kind.check(connection, reading.rows, known))
    if problems:
        raise ImportRefusedError(tuple(sorted(problems, key=lambda problem: problem.row)))
    merged = merge(connection, kind.table, records, known, kind.combine)
    if kind.settles:
        settle_used(connection, [record["key"] for record in (*merged.created, *merged.updated)], policy)
    return Counts(len(merged.created), len(merged.updated), merged.unchanged + reading.repeated)
