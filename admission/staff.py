"""Members of staff: their roles, and the reasons for which they let in whom the gate did not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Role(IntEnum):
    """What a member of staff may decide; a higher role may all that a lower one may."""

    STEWARD = 1
    SUPERVISOR = 2

    @property
    def word(self) -> str:
        """The role as settings and pages name it."""
        return self.name.lower()


class OverrideCode(StrEnum):
    """Why a member of staff lets somebody in: one closed list, for the record and for reports."""

    ORDER_CHECKED = "order_checked"
    PROOF_SEEN = "proof_seen"
    EQUIPMENT_FAULT = "equipment_fault"
    MISTAKE_MENDED = "mistake_mended"
    GOODWILL = "goodwill"

    @property
    def words(self) -> tuple[str, str]:
        """What the code means, in Chinese and English."""
        return _WORDS[self]


_WORDS = {
    OverrideCode.ORDER_CHECKED: ("已核对订单", "Order looked up and valid"),
    OverrideCode.PROOF_SEEN: ("已查验证件", "Document or proof seen"),
    OverrideCode.EQUIPMENT_FAULT: ("设备故障", "Reader, display or barrier at fault"),
    OverrideCode.MISTAKE_MENDED: ("更正差错", "A mistake of ours or the seller's"),
    OverrideCode.GOODWILL: ("现场照顾", "Let in as a courtesy"),
}


@dataclass(frozen=True, slots=True)
class StaffAct:
    """Who lets somebody in and why, and the record number of the refusal that this answers."""

    staff_id: str
    role: Role
    code: OverrideCode
    refused_record: str
