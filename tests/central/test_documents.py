"""Documents at the centre: taken in as hashes, told to the boxes, and never quoted."""

from __future__ import annotations

from typing import Any

import pytest

from admission.codes import external_key, subject_key
from admission.documents import DocumentKind, document, document_key
from admission.tickets import Basis, Risk
from central.changes import changed_rows
from central.schema import documents
from central.summary import admission_reason
from tests.central.conftest import Client, World
from tests.central.test_imports import PRODUCT, TICKETS, accepted, post, refused, rows
from tests.central.world import KEYS

NUMBER = "11010519491231002X"
ANNA: dict[str, Any] = {"document_type": "resident_id", "document_number": NUMBER, "subject": "anna"}
BOUGHT: dict[str, Any] = {
    "document_type": "passport",
    "document_number": "E1234567",
    "issuer": "ota",
    "code": "A1",
}


def key_of(kind: DocumentKind, number: str) -> bytes:
    """The document's keyed hash at this centre."""
    return document_key(document(kind, number), KEYS.hash_key)


async def test_documents_are_stored_under_their_keyed_hash(client: Client, world: World) -> None:
    """With the subject's key, or the ticket's; the same again changes nothing."""
    await accepted(client, "products", [PRODUCT])
    await accepted(client, "tickets", TICKETS)
    assert await accepted(client, "documents", [ANNA, BOUGHT]) == (2, 0, 0)
    assert await accepted(client, "documents", [ANNA, BOUGHT]) == (0, 0, 2)
    found = {(row.key, row.holder): (row.is_ticket, row.is_linked) for row in await rows(world, documents)}
    ticket_key = external_key("ota", "A1", KEYS.hash_key)
    assert found == {
        (key_of(DocumentKind.RESIDENT_ID, NUMBER), subject_key("anna")): (False, True),
        (key_of(DocumentKind.PASSPORT, "E1234567"), ticket_key): (True, True),
    }


async def test_removed_document_is_told_ahead_of_bulk(client: Client, world: World) -> None:
    """Its row stays and is not linked; linking it again restores it."""
    await accepted(client, "documents", [ANNA])
    assert await accepted(client, "document-removals", [ANNA]) == (0, 1, 0)
    told = await world.centre.store.read(lambda sql: changed_rows(sql, 0, 10, urgent_only=True))
    assert [row.is_linked for row in told if hasattr(row, "is_linked")] == [False]
    assert await accepted(client, "documents", [ANNA]) == (0, 1, 0)


async def test_removal_of_an_unknown_document_is_refused(client: Client) -> None:
    """Somebody mistook it for another."""
    found = await refused(client, "document-removals", [ANNA])
    assert found == [(1, "document_type", "the document is not known as theirs")]


async def test_mistakes_are_named(client: Client) -> None:
    """Each with its row and field."""
    wrong = [
        {**ANNA, "document_number": NUMBER[:-1] + "1"},
        {**ANNA, "document_type": "driver"},
        {**ANNA, "code": "A1", "issuer": "ota"},
        {**ANNA, "subject": ""},
        {"document_type": "passport", "document_number": "E1", "subject": "anna"},
    ]
    found = await refused(client, "documents", wrong)
    assert [(row, field) for row, field, _ in found] == [
        (1, "document_number"),
        (2, "document_type"),
        (3, "subject"),
        (4, "subject"),
        (5, "document_number"),
    ]
    assert await refused(client, "documents", [BOUGHT]) == [(1, "code", "no such ticket")]


async def test_number_is_not_quoted_whatever_the_mistake(client: Client) -> None:
    """Not even where it stands in a column of another name."""
    for body in (
        [{**ANNA, "document_number": NUMBER[:-1] + "1"}],
        [{**ANNA, "document_type": "driver"}],
        [{"document_type": "resident_id", "id_number": NUMBER, "subject": "anna"}],
        f"document_type,document_number,subject\nresident_id,anna,anna,{NUMBER}\n",
    ):
        status, answer = await post(client, "documents", body)
        assert status == 422
        assert NUMBER[:-1] not in str(answer)


@pytest.mark.parametrize("basis", Basis)
@pytest.mark.parametrize("risk", Risk)
def test_every_basis_has_a_reason_in_reports(basis: Basis, risk: Risk) -> None:
    """A report never fails on what a gate may have recorded."""
    assert admission_reason(basis, risk).verdict == "ADMIT"
