"""Clearances in a box's memory: looked up when they are asked for, and not touched otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from admission.changes import ClearanceRow, ListChanges
from admission.clearance import Clearance, Colour
from admission.codes import DocumentCode, Rejected
from admission.documents import DocumentKind
from admission.facts import Attempt, Facts
from admission.reasons import Reason
from offline_cache.overlay import Overlay
from tests.admission.makers import EXTERNAL_CODE, KEY, LANE, NOW_MS, NOW_S, SITE, ticket
from tests.offline_cache.box import Box, opened_box

DOCUMENT, SUBJECT = (bytes([value]) * 16 for value in (1, 2))
SHOWN = DocumentCode(DOCUMENT, DocumentKind.PASSPORT)
LATER = NOW_S + 60


async def asked(box: Box, credential: DocumentCode | Rejected = SHOWN, *, asks: bool = True) -> Facts:
    """The facts of an attempt, with or without clearances."""
    return await box.store.facts(Attempt(credential, LANE, NOW_MS, 0, "test", asks_clearance=asks))


async def listed(box: Box) -> None:
    """Put a list in use that says something of a document, its holder and a ticket bought on it."""
    await box.install(
        tickets={KEY: ticket()},
        documents=((DOCUMENT, SUBJECT, False), (DOCUMENT, KEY, True)),
        clearances=(
            (DOCUMENT, "health", "green", LATER),
            (SUBJECT, "trips", "amber", LATER),
            (KEY, "health", "of a later release", LATER),
        ),
    )


async def test_findings_under_every_name_are_known(tmp_path: Path) -> None:
    """Of the document, of whose it is, and of the ticket; an unknown colour is unknown."""
    async with opened_box(tmp_path) as box:
        await listed(box)
        assert set((await asked(box)).clearances) == {
            Clearance("health", Colour.GREEN, LATER),
            Clearance("trips", Colour.AMBER, LATER),
            Clearance("health", Colour.UNKNOWN, LATER),
        }


async def test_change_replaces_what_the_list_says(tmp_path: Path) -> None:
    """Provider by provider; also where there is no list."""
    async with opened_box(tmp_path) as box:
        overlay = Overlay(SITE, box.database, lambda: box.lists.revision)
        await overlay.load()
        row = ClearanceRow(5, DOCUMENT, "health", "red", LATER)
        await overlay.apply(ListChanges(site_id=SITE, from_revision=0, to_revision=9, clearances=(row,)))
        assert (await asked(box)).clearances == (Clearance("health", Colour.RED, LATER),)
        await listed(box)
        assert Clearance("health", Colour.RED, LATER) in (await asked(box)).clearances
        assert Clearance("health", Colour.GREEN, LATER) not in (await asked(box)).clearances


async def test_off_no_query_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of the list nor of the memory; on, both are asked."""
    async with opened_box(tmp_path) as box:
        await listed(box)
        seen: list[str] = []

        async def traced(*, asks: bool) -> list[str]:
            seen.clear()
            lists = box.lists.in_use
            assert lists is not None
            sql = lists._sql  # the very connection: what it is asked is what counts
            await box.database.read(lambda memory: memory.set_trace_callback(seen.append))
            await box.database.read(lambda _: sql.set_trace_callback(seen.append))
            await asked(box, asks=asks)
            return [text for text in seen if "clearances" in text]

        assert await traced(asks=False) == []
        assert len(await traced(asks=True)) > 0


async def test_what_is_no_credential_has_none(tmp_path: Path) -> None:
    """Nobody to ask about."""
    async with opened_box(tmp_path) as box:
        await listed(box)
        assert (await asked(box, Rejected(Reason.MALFORMED, ""))).clearances == ()
        assert EXTERNAL_CODE.key == KEY
