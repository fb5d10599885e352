"""Counts who is in, gives each box its share of the room that is left, and tells it.

The arithmetic is `admission.capacity`'s; here is where its numbers come from. A share is given anew when what a box has
left is far from what it should have, so that a quiet day makes a handful of them and not one for each visitor.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Select, case, delete, func, insert, literal_column, select

from admission.capacity import (
    NO_LIMIT,
    CapacityLimits,
    Headcount,
    Holding,
    Movement,
    Share,
    allot,
    divide,
)
from admission.events import MAX_NUMBER
from admission.keys import SigningKey
from admission.policy import Policy
from admission.tickets import Basis
from central.clock import Clock
from central.counting import HELD
from central.publishing import Publish
from central.schema import boxes, fold_positions, invitations, shares, taken_shares, uses
from central.store import Store
from sync.protocol import BoxTopics, CapacityWord, encode_capacity

LOOK_EVERY_S = 2.0
WEIGHED_MS = 3_600_000
"""A box's share is by what went through its lanes within the last hour."""
_RECENT_ENTRIES = 2000
"""What came since a share is counted by the box's numbers up to so many of them, and by time beyond."""
_BOX_OF_A_TIME = uses.c.box_id + literal_column("''")
"""The box of uses that are picked by time: by the bare column SQLite would go through all that the box ever had."""
UNLIMITED = CapacityLimits()
NO_SHARE = Share(0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class SiteCapacity:
    """A site's count by all that was folded, its limits, the share that each box has last, and those to be given."""

    site_id: str
    limits: CapacityLimits
    count: Headcount
    shares: Mapping[str, Share]
    due: Mapping[str, Share]


@dataclass(frozen=True, slots=True)
class _Boxes:
    """A site's boxes: that have shares, that are to come, and that were barred today, when they had one."""

    there: list[str] = field(default_factory=list)
    invited: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


class Allotting:
    """Keeps the boxes' shares as they should be, and every box told."""

    def __init__(self, store: Store, key: SigningKey, policy: Policy, clock: Clock, publish: Publish) -> None:
        self._store = store
        self._key = key
        self._policy = policy
        self._clock = clock
        self._publish = publish
        self._told: dict[str, CapacityWord] = {}
        self._link_came_up = asyncio.Event()

    def link_is_up(self) -> None:
        """Tell every box again: a killed broker forgets what it retained."""
        self._told.clear()
        self._link_came_up.set()

    async def run(self) -> None:
        """Count, divide and tell, until cancelled; nothing is done for sites that never had a limit."""
        while True:
            for site in await self._look():
                self._tell(site)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._link_came_up.wait()
            self._link_came_up.clear()

    async def _look(self) -> list[SiteCapacity]:
        """Count beside the writer, for which the boxes' receipts wait; take its turn only to give a share."""
        sites = await self._store.read(lambda found: count_sites(found, self._policy, self._clock()))
        if any(site.due for site in sites):
            sites = await self._store.run(lambda connection: look(connection, self._policy, self._clock()))
        return sites

    def _tell(self, site: SiteCapacity) -> None:
        for box_id, share in site.shares.items():
            word = CapacityWord(
                site_id=site.site_id, box_id=box_id, limits=site.limits, count=site.count, share=share
            )
            topic = BoxTopics(site.site_id, box_id).capacity
            if self._told.get(box_id) != word and self._publish(
                topic, encode_capacity(word, self._key), retain=True
            ):
                self._told[box_id] = word


def look(connection: Connection, policy: Policy, now_ms: int) -> list[SiteCapacity]:
    """Give every box the share that it should have and return all sites that have, or had, a limit."""
    sites = count_sites(connection, policy, now_ms)
    for site in sites:
        for box_id, share in site.due.items():
            _give(connection, site.site_id, box_id, share)
    return [replace(site, shares={**site.shares, **site.due}, due={}) for site in sites]


def count_sites(connection: Connection, policy: Policy, now_ms: int) -> list[SiteCapacity]:
    """Return all sites that have, or had, a limit, with the shares that their boxes should be given."""
    given = set(connection.scalars(select(shares.c.site_id).distinct()))
    day_start_ms = policy.day_start_ms(now_ms)
    by_site: dict[str, _Boxes] = defaultdict(_Boxes)
    for row in connection.execute(select(boxes).order_by(boxes.c.box_id)):
        if row.barred_s is None:
            by_site[row.site_id].there.append(row.box_id)
        elif row.barred_s * 1000 >= day_start_ms:
            by_site[row.site_id].lost.append(row.box_id)
    awaited = select(invitations).where(
        invitations.c.used_by.is_(None), invitations.c.until_s > now_ms // 1000
    )
    for row in connection.execute(awaited.order_by(invitations.c.box_id)):
        if row.box_id not in by_site[row.site_id].there:
            by_site[row.site_id].invited.append(row.box_id)
    return [
        _count_site(connection, site_id, found, policy, now_ms)
        for site_id, found in sorted(by_site.items())
        if site_id in policy.capacities or site_id in given
    ]


def capacities(connection: Connection, policy: Policy, now_ms: int) -> list[dict[str, Any]]:
    """Return how full each site with a limit is, for people and displays."""
    return [
        _told(connection, site_id, limits, policy, now_ms)
        for site_id, limits in sorted(policy.capacities.items())
    ]


def _told(
    connection: Connection, site_id: str, limits: CapacityLimits, policy: Policy, now_ms: int
) -> dict[str, Any]:
    count = site_count(connection, site_id, policy.day_start_ms(now_ms))
    box_ids = connection.scalars(select(boxes.c.box_id).where(boxes.c.site_id == site_id))
    given = {box_id: _newest_share(connection, box_id) for box_id in sorted(box_ids)}
    return {
        "site_id": site_id,
        "level": limits.level(count).name.lower(),
        **asdict(count),
        "max_inside": limits.max_inside,
        "max_per_day": limits.max_per_day,
        "shares": {
            box_id: {
                "number": share.number,
                "inside": share.inside,
                "today": share.today,
                "after_seq_no": share.after_seq_no,
            }
            for box_id, share in given.items()
            if share.number
        },
    }


def site_count(connection: Connection, site_id: str, day_start_ms: int) -> Headcount:
    """Return how many are in the site and how many came today, by the uses that were folded."""
    today = _movement(connection, uses.c.site_id == site_id, uses.c.at_ms >= day_start_ms)
    return Headcount(max(0, today.entered - today.left), today.entered)


def _count_site(
    connection: Connection, site_id: str, found: _Boxes, policy: Policy, now_ms: int
) -> SiteCapacity:
    limits = policy.capacities.get(site_id, UNLIMITED)
    day_start_ms = policy.day_start_ms(now_ms)
    count = site_count(connection, site_id, day_start_ms)
    box_ids = [*found.there, *found.invited]
    room = limits.room(count) or Headcount(NO_LIMIT, NO_LIMIT)
    for lost in found.lost:  # what it let in before it was barred may not be here yet
        room = _without(
            room, _holding(connection, lost, _newest_share(connection, lost), day_start_ms).set_aside
        )
    positions = _positions(connection, box_ids)
    newest = {box_id: _newest_share(connection, box_id) for box_id in box_ids}
    holdings = {box_id: _holding(connection, box_id, newest[box_id], day_start_ms) for box_id in box_ids}
    weights = _weights(connection, box_ids, now_ms)
    is_uneven = _is_uneven(room, _left(room, holdings, found.invited), weights)
    next_inside, next_today = (_equal(limit, box_ids) for limit in (limits.max_inside, limits.max_per_day))
    due: dict[str, Share] = {}
    for box_id, wanted in allot(room, holdings, weights).items():
        if box_id in found.invited:
            continue  # its part is kept for it, so that it finds some when it comes
        share = Share(
            max(newest[box_id].number, holdings[box_id].current.number) + 1,
            wanted.inside,
            wanted.today,
            positions[box_id],
            day_start_ms,
            next_inside[box_id],
            next_today[box_id],
        )
        has = holdings[box_id].set_aside
        is_other = (has.inside, has.today) != (share.inside, share.today)
        # A restored centre has no word that its box would not take for an old one.
        is_told = newest[box_id].number >= holdings[box_id].current.number
        if (is_uneven and is_other) or not is_told or not _holds_tomorrow(newest[box_id], share):
            due[box_id] = share
    told = {box_id: share for box_id, share in newest.items() if share.number}
    return SiteCapacity(site_id, limits, count, told, due)


def _left(room: Headcount, holdings: Mapping[str, Holding], invited: Sequence[str]) -> dict[str, Headcount]:
    """Return what each box has; for those that are to come, that is what no other has."""
    left = {box_id: holding.set_aside for box_id, holding in holdings.items()}
    free = room
    for box_id in left.keys() - set(invited):
        free = _without(free, left[box_id])
    inside, today = (divide(persons, dict.fromkeys(invited, 1)) for persons in (free.inside, free.today))
    return left | {box_id: Headcount(inside[box_id], today[box_id]) for box_id in invited}


def _without(room: Headcount, taken: Headcount) -> Headcount:
    """Return what is left of some room; of room without a limit, all."""
    left = (
        whole if whole >= NO_LIMIT else max(0, whole - part)
        for whole, part in ((room.inside, taken.inside), (room.today, taken.today))
    )
    return Headcount(*left)


def _is_uneven(room: Headcount, left: Mapping[str, Headcount], weights: Mapping[str, int]) -> bool:
    """Return whether some box has less than half, or more than twice, of what it should have."""
    weighed = {box_id: weights.get(box_id, 0) + 1 for box_id in left}
    inside, today = (divide(persons, weighed) for persons in (room.inside, room.today))
    pairs = [(left[box_id].inside, inside[box_id]) for box_id in left if room.inside < NO_LIMIT]
    pairs += [(left[box_id].today, today[box_id]) for box_id in left if room.today < NO_LIMIT]
    return any(has * 2 < wanted or has > wanted * 2 for has, wanted in pairs)


def _holds_tomorrow(newest: Share, share: Share) -> bool:
    """Return whether the box knows what to do on a day that begins with no word."""
    return newest.number > 0 and (newest.next_inside, newest.next_today) == (
        share.next_inside,
        share.next_today,
    )


def _holding(connection: Connection, box_id: str, newest: Share, day_start_ms: int) -> Holding:
    """Return what the box may still let in, by the share that it took and one that it may have taken since."""
    current = _taken_share(connection, box_id).on(day_start_ms)
    moved = _moved_since(connection, box_id, current)
    if newest.number <= current.number:
        return Holding(current, moved)
    offered = newest.on(day_start_ms)
    return Holding(current, moved, offered, _moved_since(connection, box_id, offered))


def _moved_since(connection: Connection, box_id: str, share: Share) -> Movement:
    position = (
        connection.scalar(select(fold_positions.c.seq_no).where(fold_positions.c.box_id == box_id)) or 0
    )
    is_recent = position - share.after_seq_no < _RECENT_ENTRIES
    return _movement(
        connection,
        (uses.c.box_id if is_recent else _BOX_OF_A_TIME) == box_id,
        uses.c.seq_no > share.after_seq_no,
        uses.c.at_ms.between(share.day_start_ms, MAX_NUMBER),
    )


def _movement(connection: Connection, *conditions: Any) -> Movement:
    """Return who came and went by the held uses that fit: as a box counts it, see `offline_cache.capacity`."""
    entered = case(
        (uses.c.basis.in_((Basis.EXIT, Basis.REENTRY)), 0), else_=uses.c.quantity + uses.c.companions
    )
    left = case((uses.c.basis == Basis.EXIT, 1), (uses.c.basis == Basis.REENTRY, -1), else_=0)
    query: Select[Any] = select(func.coalesce(func.sum(entered), 0), func.coalesce(func.sum(left), 0)).where(
        HELD, *conditions
    )
    row = connection.execute(query).one()
    return Movement(int(row[0]), int(row[1]))


def _taken_share(connection: Connection, box_id: str) -> Share:
    """Return the box's share as it says it took it: a centre that was restored does not know what it gave since."""
    columns = [taken_shares.c[name] for name in Share.__slots__]
    query = select(*columns).where(taken_shares.c.box_id == box_id).order_by(taken_shares.c.number.desc())
    row = connection.execute(query.limit(1)).first()
    if row is None:
        return NO_SHARE
    return (
        Share(*row)
        if row.day_start_ms
        else replace(_share(connection, box_id, row.number), number=row.number)
    )


def _newest_share(connection: Connection, box_id: str) -> Share:
    number = connection.scalar(select(func.max(shares.c.number)).where(shares.c.box_id == box_id))
    return _share(connection, box_id, number or 0)


def _share(connection: Connection, box_id: str, number: int) -> Share:
    """Return the box's share with that number; one of nobody when it has none."""
    columns = [shares.c[name] for name in Share.__slots__]
    query = select(*columns).where(shares.c.box_id == box_id, shares.c.number == number)
    row = connection.execute(query).first()
    return NO_SHARE if row is None else Share(*row)


def _give(connection: Connection, site_id: str, box_id: str, share: Share) -> None:
    connection.execute(insert(shares), {"box_id": box_id, "site_id": site_id, **asdict(share)})
    taken = connection.scalar(select(func.max(taken_shares.c.number)).where(taken_shares.c.box_id == box_id))
    old = shares.c.number < (taken or 0)
    connection.execute(delete(shares).where(shares.c.box_id == box_id, old))


def _positions(connection: Connection, box_ids: Sequence[str]) -> dict[str, int]:
    rows = connection.execute(select(fold_positions).where(fold_positions.c.box_id.in_(box_ids)))
    return dict.fromkeys(box_ids, 0) | {row.box_id: row.seq_no for row in rows}


def _weights(connection: Connection, box_ids: Sequence[str], now_ms: int) -> dict[str, int]:
    query = (
        select(_BOX_OF_A_TIME, func.count())
        .where(uses.c.at_ms.between(now_ms - WEIGHED_MS, MAX_NUMBER))
        .group_by(_BOX_OF_A_TIME)
    )
    return {box_id: int(passages) for box_id, passages in connection.execute(query) if box_id in box_ids}


def _equal(limit: int | None, box_ids: Sequence[str]) -> dict[str, int]:
    """Return what each box may let in on a day that begins with no word, whoever is busiest then."""
    if limit is None:
        return dict.fromkeys(box_ids, NO_LIMIT)
    return divide(limit, dict.fromkeys(box_ids, 1))
