"""A box whose lanes let in by its share of the capacity alone: every visitor has a right, what counts is the room."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from admission.answers import Decision, Spend
from admission.capacity import CapacityFacts, CapacityLimits, Headcount, Share, refusal
from admission.codes import TicketCode, Validity
from admission.facts import Attempt, Facts
from admission.reasons import Reason
from admission.tickets import Basis
from offline_cache.capacity import CapacityMemory
from sync.protocol import CapacityWord
from tests.support.site_box import LANE, NOW_MS, SITE, SiteBox

DAY_MS = 86_400_000


def day_start_ms(at_ms: int) -> int:
    """When the local day began, eight hours before it does in Greenwich."""
    return at_ms - (at_ms + 8 * 3_600_000) % DAY_MS


DAY_START_MS = day_start_ms(NOW_MS)
LIMITS = CapacityLimits(max_inside=100, max_per_day=200)


@dataclass(frozen=True, slots=True)
class CapacityBox:
    """A box's memory, its share, and visitors at its lane."""

    box: SiteBox
    memory: CapacityMemory

    async def enter(self, at_ms: int = NOW_MS) -> bytes | None:
        """Let somebody in if there is room; return the admission's id, None where there is none."""
        spend = Spend(secrets.token_bytes(16), Basis.TICKET, 1 << 40)
        return await self._answer(spend, Reason.TICKET, at_ms)

    async def leave(self, at_ms: int = NOW_MS) -> None:
        """Let somebody out."""
        await self._answer(Spend(bytes(16), Basis.EXIT, 1 << 40, quantity=0), Reason.EXIT, at_ms)

    async def come_back(self, at_ms: int = NOW_MS) -> bytes | None:
        """Let somebody in who was in today."""
        return await self._answer(Spend(bytes(16), Basis.REENTRY, 1 << 40, quantity=0), Reason.REENTRY, at_ms)

    async def _answer(self, spend: Spend, reason: Reason, at_ms: int) -> bytes | None:
        def judge(facts: Facts) -> Decision:
            known = facts.capacity
            if known is not None and reason is not Reason.EXIT:
                full = refusal(known, max(1, spend.quantity), reserved=True)
                if full is not None:
                    return Decision(full)
            return Decision(reason, spend)

        credential = TicketCode(spend.key, "DAY1", Validity(0, 1 << 40, 0))
        attempt = Attempt(credential, LANE, at_ms, day_start_ms(at_ms), policy_version="test")
        return (await self.box.store.answer(attempt, judge)).admission_id

    async def known(self, at_ms: int = NOW_MS) -> CapacityFacts | None:
        """What the box knows of the capacity."""
        credential = TicketCode(bytes(16), "DAY1", Validity(0, 1 << 40, 0))
        attempt = Attempt(credential, LANE, at_ms, day_start_ms(at_ms), policy_version="test")
        return (await self.box.store.facts(attempt)).capacity

    async def left(self, at_ms: int = NOW_MS) -> tuple[int, int]:
        """How many more may be in, and may come today."""
        known = await self.known(at_ms)
        assert known is not None
        return known.share_left.inside, known.share_left.today

    async def told(self, number: int, inside: int, today: int, after_seq_no: int = 0, **changes: int) -> None:
        """The centre's word arrives."""
        share = Share(number, inside, today, after_seq_no, DAY_START_MS, **changes)
        await self.memory.take(word(self.box.box_id, share), NOW_MS)


def word(box_id: str, share: Share, count: Headcount = Headcount(0, 0)) -> CapacityWord:  # noqa: B008 - frozen
    """What the centre says."""
    return CapacityWord(site_id=SITE, box_id=box_id, limits=LIMITS, count=count, share=share)
