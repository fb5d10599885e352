"""Credit orders in a box's memory: the list's, those that changed since, and what was used of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from admission.changes import CreditOrderRow, ListChanges
from admission.entitlements import CreditOrder
from admission.reasons import Reason
from admission.tickets import Basis
from offline_cache.overlay import Overlay
from tests.admission.makers import BOX, CREDIT_CODE, KEY, NOW_S, POLICY, SITE, subject
from tests.offline_cache.box import Box, opened_box

ORDER = CreditOrder("A-1", SITE, 4500, 2, 0, 0, NOW_S + 60)
RULES = replace(POLICY, subject_order=(Basis.CREDIT_ORDER,))


async def changed(box: Box, *rows: CreditOrderRow) -> None:
    """Tell the box of changes after its list."""
    overlay = Overlay(SITE, box.database, lambda: box.lists.revision)
    await overlay.load()
    await overlay.apply(ListChanges(site_id=SITE, from_revision=0, to_revision=9, credit_orders=rows))


async def orders(box: Box) -> set[CreditOrder]:
    """What the box knows of the subject's orders."""
    found = (await box.facts(CREDIT_CODE)).subject
    assert found is not None
    return set(found.credit_orders)


async def test_changes_replace_and_add(tmp_path: Path) -> None:
    """The list's counter stays; a cancelled order has no entries."""
    async with opened_box(tmp_path) as box:
        await box.install(subjects={KEY: replace(subject(), credit_orders=(replace(ORDER, used=1),))})
        assert await orders(box) == {replace(ORDER, used=1)}
        await changed(
            box,
            CreditOrderRow(5, KEY, "A-1", SITE, 4500, 0, 0, NOW_S + 60),
            CreditOrderRow(6, KEY, "B-2", SITE, 3000, 1, 0, NOW_S + 60),
        )
        assert await orders(box) == {
            replace(ORDER, quantity=0, used=1),
            CreditOrder("B-2", SITE, 3000, 1, 0, 0, NOW_S + 60),
        }


async def test_each_entry_is_spent_once(tmp_path: Path) -> None:
    """However many there are."""
    async with opened_box(tmp_path) as box:
        await box.install(subjects={KEY: replace(subject(), credit_orders=(ORDER,))})
        reasons = [(await box.show(CREDIT_CODE, policy=RULES)).decision.reason for _ in range(3)]
        assert reasons == [Reason.CREDIT_ORDER, Reason.CREDIT_ORDER, Reason.NO_CREDIT]


async def test_prolonged_order_remembers_what_was_used(tmp_path: Path) -> None:
    """The list dropped it when it had ended, and had counted its uses."""
    async with opened_box(tmp_path) as box:
        await box.install(subjects={KEY: replace(subject(), credit_orders=(ORDER,))})
        await box.show(CREDIT_CODE, policy=RULES)
        await box.install(version=8, watermarks={BOX: 99})
        await changed(box, CreditOrderRow(7, KEY, "A-1", SITE, 4500, 2, 0, NOW_S + 900))
        assert [order.used for order in await orders(box)] == [1]
        reasons = [(await box.show(CREDIT_CODE, policy=RULES)).decision.reason for _ in range(2)]
        assert reasons == [Reason.CREDIT_ORDER, Reason.NO_CREDIT]
