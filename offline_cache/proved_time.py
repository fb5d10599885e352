"""What time it is proved to have been, over restarts, and how that is taken back when the centre's clock was wrong."""

from __future__ import annotations

import sqlite3

from offline_cache.database import Database
from offline_cache.journal import get_state, set_state
from offline_cache.neighbours import take_any_boxes
from offline_cache.overlay import lower_as_of

_PROVED = "proved_ms"
_REPAIR = "time_repair"


class ProvedTime:
    """The box's memory of the times that the centre has signed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read_ms(self) -> int:
        """Return the time that was proved to have been when this was last kept, UTC milliseconds; 0 for none."""
        return await self._database.read(lambda sql: int(get_state(sql, _PROVED) or 0))

    async def keep(self, at_ms: int) -> None:
        """Keep that it has been `at_ms`, for the next start; the disk may not have it yet."""
        await self._database.write(lambda sql: set_state(sql, _PROVED, at_ms), durable=False)

    async def take_back(self, number: int, at_ms: int) -> bool:
        """Let nothing be proved to be later than `at_ms`, and return True after COMMIT.

        False, and nothing changed, when a repair with this number or a higher one was taken up before.
        """
        return await self._database.write(lambda sql: _take_back(sql, number, at_ms))


def _take_back(sql: sqlite3.Connection, number: int, at_ms: int) -> bool:
    if int(get_state(sql, _REPAIR) or 0) >= number:
        return False
    set_state(sql, _PROVED, at_ms)
    lower_as_of(sql, at_ms // 1000)
    take_any_boxes(sql)
    set_state(sql, _REPAIR, number)
    return True
