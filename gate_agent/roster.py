"""Who works with a handheld, known by the token it sends; wrong tokens are answered ever less often."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from admission.staff import Role

MOST_TRIES = 5
PAUSE_S = 30
MOST_SENDERS = 1000


@dataclass(frozen=True, slots=True)
class Member:
    """A member of staff, and the token that is theirs alone."""

    staff_id: str
    role: Role
    token: str


class Roster:
    """Finds members by token, in the same time whether or not there is one."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = tuple(members)

    def find(self, token: str) -> Member | None:
        """Return whose token it is, or None."""
        given = token.encode(errors="surrogateescape")
        found = [member for member in self._members if hmac.compare_digest(member.token.encode(), given)]
        return found[0] if found and token else None


class Tries:
    """Counts wrong tokens by sender: after five of them it hears nothing for half a minute (GB 50396-2007)."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def pause_s(self, sender: str, now_ns: int) -> int:
        """Return how long this sender has to wait, in seconds; 0 when it may try."""
        count, since_ns = self._wrong.get(sender, (0, 0))
        left_s = PAUSE_S - (now_ns - since_ns) // 1_000_000_000
        return int(left_s) if count >= MOST_TRIES and left_s > 0 else 0

    def note_wrong(self, sender: str, now_ns: int) -> None:
        """Count a wrong token; the count begins anew after a pause."""
        count, since_ns = self._wrong.pop(sender, (0, now_ns))
        is_old = now_ns - since_ns > PAUSE_S * 1_000_000_000
        self._wrong[sender] = (1, now_ns) if is_old else (count + 1, now_ns)
        while len(self._wrong) > MOST_SENDERS:
            self._wrong.popitem(last=False)

    def note_right(self, sender: str) -> None:
        """Forget the wrong ones."""
        self._wrong.pop(sender, None)
