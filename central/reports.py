"""Single admissions, refusals and conflicts, newest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, select

from admission.reasons import Reason
from admission.staff import OverrideCode, Role
from admission.tickets import Basis, Outcome, Risk, is_held
from central.schema import charges, closings, conflicts, diary, overrides, uses
from central.sql import rows_by_key
from central.summary import admission_reason


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows to return: of one key (all when None), from a time on, at most so many."""

    key: bytes | None
    since_ms: int
    limit: int

    def of(self, table: Table) -> ColumnElement[bool]:
        """Return the condition on a table with `key` and `at_ms`."""
        since = table.c.at_ms >= self.since_ms
        return since if self.key is None else since & (table.c.key == self.key)


def admissions(connection: Connection, wanted: Wanted) -> list[dict[str, Any]]:
    """Return admissions with how they ended."""
    query = select(uses).where(wanted.of(uses)).order_by(uses.c.at_ms.desc(), uses.c.admission_id)
    rows = list(connection.execute(query.limit(wanted.limit)).mappings())
    ids = [row["admission_id"] for row in rows]
    outcomes = _outcomes(connection, ids)
    charged = {row.admission_id: row.fare_fen for row in _charged(connection, ids)}
    acts = {
        row.admission_id: _act(row)
        for row in rows_by_key(connection, overrides.c.admission_id, ids, *overrides.c)
    }
    return [
        {
            **_use(dict(row)),
            "outcomes": [outcome.name.lower() for outcome in sorted(outcomes[row["admission_id"]])],
            "held": is_held(outcomes[row["admission_id"]]),
            "charged_fen": charged.get(row["admission_id"], 0),
            "staff": acts.get(row["admission_id"]),
        }
        for row in rows
    ]


def _act(row: Any) -> dict[str, Any]:
    """Return who let somebody in and why, and the refusal that this answered."""
    zh, en = OverrideCode(row.code).words
    return {
        "staff_id": row.staff_id,
        "role": Role(row.role).word,
        "code": row.code,
        "zh": zh,
        "en": en,
        "refused_record": row.refused_record,
    }


def override_rows(connection: Connection, staff_id: str | None, limit: int) -> list[dict[str, Any]]:
    """Return what members of staff let in, newest first, each with what it would have cost at the gate's fare."""
    query = select(overrides).order_by(overrides.c.at_ms.desc(), overrides.c.admission_id).limit(limit)
    if staff_id is not None:
        query = query.where(overrides.c.staff_id == staff_id)
    rows = list(connection.execute(query))
    told = {
        row.admission_id: _use(row._asdict()) for row in _uses(connection, [row.admission_id for row in rows])
    }
    return [{**_act(row), "admission": told[row.admission_id]} for row in rows]


def refusals(connection: Connection, wanted: Wanted) -> list[dict[str, Any]]:
    """Return refusals from the boxes' diaries."""
    query = select(diary).where(wanted.of(diary)).order_by(diary.c.at_ms.desc(), diary.c.number.desc())
    rows = connection.execute(query.limit(wanted.limit)).mappings()
    return [{**row, "key": row["key"].hex(), **_words(Reason(row["reason"]))} for row in rows]


def conflict_rows(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """Return the uses in excess, each with the one that stands before it, where and when both happened."""
    query = (
        select(conflicts)
        .join_from(conflicts, uses, uses.c.admission_id == conflicts.c.admission_id)
        # The sum keeps SQLite from going through all uses in their order for the few that are in conflict.
        .order_by((uses.c.at_ms + 0).desc(), conflicts.c.admission_id)
    )
    rows = list(connection.execute(query.limit(limit)).mappings())
    ids = sorted({name for row in rows for name in (row["admission_id"], row["first_admission_id"])})
    told = {row.admission_id: _use(row._asdict()) for row in _uses(connection, ids)}
    return [
        {
            "kind": row["kind"],
            "key": row["key"].hex(),
            "cost_fen": row["cost_fen"],
            "excess": told[row["admission_id"]],
            "first": told.get(row["first_admission_id"]),
        }
        for row in rows
    ]


def _uses(connection: Connection, ids: list[bytes]) -> Any:
    return rows_by_key(connection, uses.c.admission_id, ids, *uses.c)


def _charged(connection: Connection, ids: list[bytes]) -> Any:
    return rows_by_key(connection, charges.c.admission_id, ids, *charges.c)


def _outcomes(connection: Connection, ids: list[bytes]) -> Mapping[bytes, set[Outcome]]:
    found: dict[bytes, set[Outcome]] = defaultdict(set)
    for row in rows_by_key(connection, closings.c.admission_id, ids, *closings.c):
        found[row.admission_id].add(Outcome(row.outcome))
    return found


def _use(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a use with its ids in hex and its codes as words."""
    return {
        **row,
        "admission_id": row["admission_id"].hex(),
        "key": row["key"].hex(),
        "basis": Basis(row["basis"]).name.lower(),
        "risk": Risk(row["risk"]).name.lower(),
        **_words(admission_reason(row["basis"], row["risk"])),
    }


def _words(reason: Reason) -> dict[str, str]:
    """Return a reason with its verdict and what staff is told."""
    words = reason.wording
    return {
        "reason": reason.value,
        "verdict": words.verdict.value,
        "staff_zh": words.staff_zh,
        "staff_en": words.staff_en,
    }
