"""What a decision says: the reason, the right it spends, and the record behind it."""

from __future__ import annotations

from dataclasses import dataclass

from admission.reasons import Reason, Verdict
from admission.staff import StaffAct
from admission.tickets import Basis, Risk, Use


@dataclass(frozen=True, slots=True)
class Spend:
    """The right that an admission uses; the use is kept at least until `keep_until_s`.

    `companions` come in on it beside the persons whom `quantity` counts.
    """

    key: bytes
    basis: Basis
    keep_until_s: int
    scope: str = ""
    quantity: int = 1
    fare_fen: int = 0
    risk: Risk = Risk.NONE
    companions: int = 0

    @property
    def persons(self) -> int:
        """How many come in; whoever goes out or comes back is one."""
        return max(1, self.quantity + self.companions)


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to a visitor.

    ADMIT carries either `spend`, a right to be used, or `resumed`, the use whose admission goes on. `unspent` names
    what would have admitted too and was left for another time. `act` stands where a member of staff decided.
    `admits_at_ms` is the nearest moment at which a refusal would end, where there is one. `granted_by` names the
    policy's entry that gave the right, where one did. `followers` is how many more of the group may come in after this
    one without showing the code again.
    """

    reason: Reason
    spend: Spend | None = None
    resumed: Use | None = None
    unspent: tuple[Basis, ...] = ()
    detail: str = ""
    admits_at_ms: int | None = None
    act: StaffAct | None = None
    granted_by: str = ""
    followers: int = 0

    @property
    def verdict(self) -> Verdict:
        """What the lane does."""
        return self.reason.verdict


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision that has been recorded, under the number `record`; `admission_id` stands with every ADMIT."""

    decision: Decision
    record: str
    admission_id: bytes | None = None


class NoRoomError(Exception):
    """Nothing more can be recorded for now, so nothing may be opened; what was recorded is safe."""
