"""What a box knows of a document: by the list, by changes since, and by what was used under other names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from admission.changes import DocumentRow, ListChanges, TicketRow
from admission.codes import DocumentCode, ExternalCode
from admission.documents import DocumentKind
from admission.facts import Facts
from admission.reasons import Reason
from admission.tickets import Basis
from offline_cache.overlay import Overlay
from tests.admission.makers import KEY, MEMBER, NOW_S, POLICY, SITE, subject, ticket
from tests.offline_cache.box import Box, opened_box

DOCUMENT, SUBJECT, OTHER = (bytes([value]) * 16 for value in (1, 2, 3))
SHOWN = DocumentCode(DOCUMENT, DocumentKind.PASSPORT)
ON_DOCUMENTS = replace(POLICY, subject_order=(Basis.TICKET, *POLICY.subject_order))
LINKS = ((DOCUMENT, SUBJECT, False), (DOCUMENT, KEY, True), (DOCUMENT, OTHER, True))


async def listed(box: Box) -> None:
    """Put a list in use on which the document has a holder in a group and two tickets."""
    await box.install(
        tickets={KEY: ticket(), OTHER: ticket(valid_until_s=NOW_S + 60)},
        subjects={SUBJECT: subject(memberships=MEMBER)},
        documents=LINKS,
    )


async def changed(box: Box, *rows: DocumentRow, tickets: tuple[TicketRow, ...] = ()) -> None:
    """Tell the box of changes after its list."""
    overlay = Overlay(SITE, box.database, lambda: box.lists.revision)
    await overlay.load()
    await overlay.apply(
        ListChanges(site_id=SITE, from_revision=0, to_revision=9, documents=rows, tickets=tickets)
    )


def held(found: Facts) -> list[bytes]:
    """The keys of the tickets that were bought on the document, in their order."""
    return [key for key, _ in found.held]


async def test_list_names_the_holder_and_the_tickets(tmp_path: Path) -> None:
    """The ticket that ends first comes first."""
    async with opened_box(tmp_path) as box:
        await listed(box)
        found = await box.facts(SHOWN)
        assert (found.subject_key, held(found)) == (SUBJECT, [OTHER, KEY])
        assert found.subject is not None
        assert found.subject.memberships == MEMBER


async def test_unknown_document_has_neither(tmp_path: Path) -> None:
    """Nor has any without a list."""
    async with opened_box(tmp_path) as box:
        assert held(await box.facts(SHOWN)) == []
        await box.install()
        found = await box.facts(SHOWN)
        assert (found.subject_key, found.subject, held(found)) == (b"", None, [])


async def test_changes_link_and_unlink(tmp_path: Path) -> None:
    """A removed link hides the list's; a new ticket needs no new list."""
    fresh = bytes([7]) * 16
    async with opened_box(tmp_path) as box:
        await listed(box)
        await changed(
            box,
            DocumentRow(5, DOCUMENT, KEY, True, False),
            DocumentRow(6, DOCUMENT, SUBJECT, False, False),
            DocumentRow(7, DOCUMENT, fresh, True),
            tickets=(TicketRow(8, fresh, "DAY1", 1, 0, NOW_S - 60, NOW_S + 90, "valid"),),
        )
        found = await box.facts(SHOWN)
        assert (found.subject_key, held(found)) == (b"", [OTHER, fresh])


async def test_link_to_a_ticket_that_is_not_known_is_passed_over(tmp_path: Path) -> None:
    """Its row may be on the way."""
    async with opened_box(tmp_path) as box:
        await box.install(documents=((DOCUMENT, KEY, True),))
        assert held(await box.facts(SHOWN)) == []


async def test_ticket_is_spent_once_by_code_and_document(tmp_path: Path) -> None:
    """Two names of one right."""
    async with opened_box(tmp_path) as box:
        await box.install(tickets={KEY: ticket()}, documents=((DOCUMENT, KEY, True),))
        by_document = await box.show(SHOWN, policy=ON_DOCUMENTS)
        assert by_document.decision.reason is Reason.TICKET
        by_code = await box.show(ExternalCode(KEY, "ota"), policy=ON_DOCUMENTS)
        assert by_code.decision.reason is Reason.ALREADY_USED
        assert (await box.show(SHOWN, policy=ON_DOCUMENTS)).decision.reason is Reason.ALREADY_USED


async def test_holders_free_visit_is_spent_once(tmp_path: Path) -> None:
    """Under the subject's key, after both tickets."""
    async with opened_box(tmp_path) as box:
        await listed(box)
        reasons = [(await box.show(SHOWN, policy=ON_DOCUMENTS)).decision.reason for _ in range(4)]
        assert reasons[:3] == [Reason.TICKET, Reason.TICKET, Reason.FREE_VISIT]
        assert reasons[3].verdict != "ADMIT"


@pytest.mark.parametrize("key", [SUBJECT, KEY])
async def test_history_has_what_was_used_by_the_document_itself(tmp_path: Path, key: bytes) -> None:
    """An exit by document belongs to the ticket's history, and to its holder's."""
    async with opened_box(tmp_path) as box:
        await listed(box)
        await box.database.write(
            lambda sql: sql.execute(
                "INSERT INTO uses VALUES (?, 'box-1', 5, ?, ?, '', '1', 0, 0, 0, 1, 9, 0)",
                (bytes(16), DOCUMENT, Basis.EXIT),
            )
        )
        found = (await box.facts(SHOWN)).behind(key)
        assert [use.basis for use in found.history.uses] == [Basis.EXIT]
