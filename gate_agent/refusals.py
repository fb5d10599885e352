"""The refusals of a moment ago, which a member of staff may answer. Not a record: that is in the diary."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from admission.facts import Attempt
from admission.reasons import Reason

MOST = 64
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal: what was presented, why it was refused, and what staff had decided about it before."""

    attempt: Attempt
    reason: Reason
    at_ns: int
    decided: frozenset[Reason] = frozenset()


class Refusals:
    """Keeps a lane's last refusals by record number, each to be answered once and for a while."""

    def __init__(self, within_s: int) -> None:
        self._within_ns = within_s * _NS_PER_S
        self._kept: OrderedDict[str, Refused] = OrderedDict()

    def keep_for(self, within_s: int) -> None:
        """Let refusals be answered for so long from now on."""
        self._within_ns = within_s * _NS_PER_S

    def keep(self, record: str, refused: Refused) -> None:
        """Remember a refusal, and forget the oldest beyond MOST."""
        self._kept[record] = refused
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)

    def find(self, record: str, now_ns: int) -> Refused | None:
        """Return the refusal, or None when it was answered, is too old, or was never here."""
        refused = self._kept.get(record)
        return refused if refused and now_ns - refused.at_ns <= self._within_ns else None

    def strike(self, record: str) -> None:
        """Forget a refusal that was answered."""
        self._kept.pop(record, None)
