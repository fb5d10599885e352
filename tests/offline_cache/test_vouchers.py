"""Vouchers in a box's memory: what the list and the changes say of the merchant decides, at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from admission.changes import ListChanges, MembershipRow
from admission.entitlements import Membership
from admission.reasons import Reason
from admission.terms import Terms
from offline_cache.overlay import Overlay
from tests.admission.makers import DAY_TICKET, KEY, NOW_S, SITE, TICKET_CODE, subject, ticket
from tests.offline_cache.box import Box, opened_box

MERCHANT = b"m" * 16
VOUCHER = replace(TICKET_CODE, merchant=MERCHANT)
PRODUCT = replace(DAY_TICKET, terms=Terms(vouched_by=("alliance",)))


async def stands(box: Box, revision: int, until_s: int) -> None:
    """Tell the box until when the merchant is in the group."""
    overlay = Overlay(SITE, box.database, lambda: box.lists.revision)
    await overlay.load()
    row = MembershipRow(revision, MERCHANT, "alliance", 0, until_s)
    await overlay.apply(
        ListChanges(site_id=SITE, from_revision=revision - 1, to_revision=revision, memberships=(row,))
    )


async def test_a_voucher_is_on_hold_while_its_merchant_is(tmp_path: Path) -> None:
    """Taken out of the alliance and back in: each holds with the change that tells it, and nothing is spent between."""
    member = subject(memberships=(Membership("alliance", 0, NOW_S + 60),))
    async with opened_box(tmp_path) as box:
        await box.install(tickets={KEY: ticket(quantity=2)}, subjects={MERCHANT: member}, products=(PRODUCT,))
        answers = [(await box.show(VOUCHER)).decision.reason]
        await stands(box, 1, 0)
        answers.append((await box.show(VOUCHER)).decision.reason)
        await stands(box, 2, NOW_S + 60)
        answers.append((await box.show(VOUCHER)).decision.reason)
    assert answers == [Reason.TICKET, Reason.VOUCHER_ON_HOLD, Reason.TICKET]


async def test_the_merchants_own_benefits_are_not_the_visitors(tmp_path: Path) -> None:
    """Who gave the voucher away is known as that, and as nobody who stands at the gate."""
    member = subject(memberships=(Membership("alliance", 0, NOW_S + 60),))
    async with opened_box(tmp_path) as box:
        await box.install(tickets={KEY: ticket()}, subjects={MERCHANT: member}, products=(PRODUCT,))
        known = await box.facts(VOUCHER)
    assert known.subject is None
    assert known.merchant == member
