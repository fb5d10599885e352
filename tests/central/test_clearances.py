"""Clearances at the centre: taken in when the policy asks for them, and nothing of them otherwise."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from admission.clearance import ClearanceRule, Colour
from admission.codes import subject_key
from admission.documents import DocumentKind, document, document_key
from admission.reasons import Verdict
from central.catalogue import put_in
from central.imports.applying import ImportRefusedError, apply_reading
from central.imports.kinds import import_kinds
from central.imports.reading import RawRow, read_rows
from central.lists import build_list
from central.schema import clearances
from central.store import Store, open_store
from tests.central.world import KEYS, NOW_MS, POLICY

MEANINGS = {Colour.GREEN: Verdict.ADMIT, Colour.AMBER: Verdict.REFER, Colour.RED: Verdict.DENY}
MEANINGS[Colour.UNKNOWN] = Verdict.REFER
ASKING = replace(
    POLICY, clearances=(ClearanceRule("health", "渝康码", "health code", 3600, MEANINGS, MEANINGS),)
)
NUMBER = "11010519491231002X"
ROWS: list[dict[str, Any]] = [
    {"provider": "health", "colour": "amber", "valid_until": "2026-12-31", "subject": "anna"},
    {"provider": "health", "colour": "green", "valid_until": "2026-12-31", "document_number": NUMBER},
    {"provider": "health", "colour": "red", "valid_until": "2026-12-31", "code": "00112233445566778899aabb"},
]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A store of a centre."""
    store = open_store(tmp_path / "centre.db")
    yield store
    store.close()


async def take_in(store: Store, rows: list[dict[str, Any]], policy: Any = ASKING) -> int:
    """Import rows and return how many were new."""
    kind = import_kinds(policy, KEYS.hash_key, allow_demo_keys=True)["clearances"]
    reading = read_rows([RawRow(number, row) for number, row in enumerate(rows, 1)], kind.layout)
    return (await store.run(lambda sql: apply_reading(sql, kind, reading, policy))).created


async def kept(store: Store) -> dict[bytes, str]:
    """What is kept, by whose it is."""
    return await store.read(lambda sql: {row.key: row.colour for row in sql.execute(select(clearances))})


def listed(path: Path) -> list[Any]:
    """What a list file says."""
    with closing(sqlite3.connect(path)) as sql:
        return sql.execute("SELECT provider, colour FROM clearances ORDER BY colour").fetchall()


async def test_findings_are_kept_under_hashes_and_listed(store: Store, tmp_path: Path) -> None:
    """Of a subject, a document and a ticket."""
    assert await take_in(store, ROWS) == 3
    found = await kept(store)
    assert found[subject_key("anna")] == "amber"
    assert found[document_key(document(DocumentKind.RESIDENT_ID, NUMBER), KEYS.hash_key)] == "green"
    path = tmp_path / "list"
    await store.read(
        lambda sql: build_list(sql, path, ASKING, site_id="fairy", version=1, as_of_s=NOW_MS // 1000)
    )
    assert listed(path) == [("health", "amber"), ("health", "green"), ("health", "red")]


async def test_off_nothing_is_taken_in_kept_or_listed(store: Store, tmp_path: Path) -> None:
    """What an earlier policy asked for is deleted at the next start."""
    await take_in(store, ROWS)
    with pytest.raises(ImportRefusedError) as caught:
        await take_in(store, ROWS, POLICY)
    assert {found.problem for found in caught.value.problems} == {
        "clearance is off: the policy asks for none"
    }
    path = tmp_path / "list"
    await store.read(
        lambda sql: build_list(sql, path, POLICY, site_id="fairy", version=1, as_of_s=NOW_MS // 1000)
    )
    assert listed(path) == []
    await store.run(lambda sql: put_in(sql, ASKING))
    assert len(await kept(store)) == 3
    await store.run(lambda sql: put_in(sql, POLICY))
    assert await kept(store) == {}


async def test_row_that_names_nobody_or_two_is_refused(store: Store) -> None:
    """Without quoting a number."""
    row = {"provider": "health", "colour": "green", "valid_until": "2026-12-31"}
    wrong = [
        row,
        row | {"subject": "anna", "document_number": NUMBER},
        row | {"document_number": NUMBER[:-1] + "1"},
    ]
    with pytest.raises(ImportRefusedError) as caught:
        await take_in(store, wrong)
    assert [(found.row, found.field) for found in caught.value.problems] == [
        (1, "subject"),
        (2, "subject"),
        (3, "document_number"),
    ]
    assert NUMBER[:-1] not in str(caught.value.problems)
