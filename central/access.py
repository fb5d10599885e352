"""Who may say and hear what on a broker, as files that a broker reads: written whenever a box comes or goes.

The rules are Mosquitto's; the list of revoked certificates is X.509's, which every broker reads. One pair of files
serves the centre's broker and the sites' own. A broker has to be told to read them again: systemd does that.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from central.authority import Authority
from central.clock import Clock
from central.enrolment import admitted_boxes, revoked_serials
from central.store import Store
from sync.protocol import BoxTopics, Side, all_down, all_sides, all_up, site_down

RULES_FILE = "scenic-gate.acl"
REVOKED_FILE = "revoked.pem"
AUTHORITY_FILE = "authority.crt"
CENTRE = "central"
"""What brokers call the centre."""

_CENTRE_RULES = f"""\
# Written by the centre, again whenever a box comes or goes. What no line allows is refused, to a publisher without
# a word (MQTT 3.1.1 has none).

# The centre hears every box and speaks to every box and site.
user {CENTRE}
topic read sg1/+/+/up/#
topic write sg1/+/+/down/#
topic write sg1/+/down/#
"""


def rules(boxes: Iterable[tuple[str, str]]) -> str:
    """Return the access rules for boxes, each given as site and name."""
    return _CENTRE_RULES + "".join(_box_rules(BoxTopics(site_id, box_id)) for site_id, box_id in boxes)


def _box_rules(box: BoxTopics) -> str:
    """Return what one box may: speak for itself, hear what is addressed to it and its site, and itself.

    Hearing its own presence is the only proof, under MQTT 3.1.1, that what it says gets through.
    """
    lines = (
        f"user {box.site_id}/{box.box_id}",
        f"topic write {all_up(box.site_id, box.box_id)}",
        f"topic read {box.presence}",
        f"topic read {all_down(box.site_id, box.box_id)}",
        f"topic read {site_down(box.site_id)}",
        *(f"topic write {box.side(side)}" for side in Side),
        f"topic read {all_sides(box.site_id)}",
    )
    return "\n" + "\n".join(lines) + "\n"


class AccessFiles:
    """Keeps a folder's files true to the store; does nothing without a folder."""

    def __init__(self, store: Store, authority: Authority, folder: Path | None, clock: Clock) -> None:
        self._store = store
        self._authority = authority
        self._folder = folder
        self._clock = clock
        self._writing = asyncio.Lock()

    async def write(self) -> None:
        """Write the files that do not say what the store says; OSError when they cannot be written."""
        if self._folder is None:
            return
        async with self._writing:
            now_s = self._clock() // 1000
            boxes = await self._store.read(admitted_boxes)
            revoked = await self._store.read(lambda connection: revoked_serials(connection, now_s))
            now = datetime.fromtimestamp(now_s, UTC)
            await asyncio.to_thread(_write, self._folder, self._authority, rules(boxes), revoked, now)


def _write(folder: Path, authority: Authority, text: str, revoked: list[int], now: datetime) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / AUTHORITY_FILE, authority.certificate_text())
    if _listed(folder / REVOKED_FILE, authority) != set(revoked):
        _replace(folder / REVOKED_FILE, authority.revocation_list(revoked, now))
    # Last: whoever watches the rules finds the list written.
    _replace(folder / RULES_FILE, text)


def _listed(path: Path, authority: Authority) -> set[int] | None:
    """Return the serial numbers on the list in the file; None when it is no list of this authority's."""
    return authority.listed(path.read_bytes()) if path.exists() else None


def _replace(path: Path, text: str) -> None:
    """Have the file say `text`, whole or not at all; one that says so already is left alone."""
    if path.exists() and path.read_text("utf-8", errors="replace") == text:
        return
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.chmod(0o644)  # the broker is another user, and none of this is secret
    part.rename(path)
