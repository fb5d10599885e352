"""What is done with a message that there is no room to keep: it is said, and asked for or taken again later."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from admission.answers import NoRoomError

NO_ROOM = "there is no room to keep what is said to this box; make room on its disk"
RETRY_S = 5.0
"""So long until it is tried again."""
_T = TypeVar("_T")


class Feed(Protocol):
    """Who takes messages in, and says what is wrong with that."""

    problem: str


async def once_there_is_room(feed: Feed, keep: Callable[[], Awaitable[_T]]) -> _T:
    """Return what `keep` returns, called again and again while there is no room; `feed` says so meanwhile."""
    while True:
        try:
            kept = await keep()
        except NoRoomError:
            feed.problem = NO_ROOM
            await asyncio.sleep(RETRY_S)
        else:
            if feed.problem == NO_ROOM:
                feed.problem = ""
            return kept
