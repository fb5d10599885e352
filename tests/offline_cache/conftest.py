"""A fresh box for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from offline_cache.database import Database
from tests.offline_cache.box import Box, opened_box


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An open database in an empty folder."""
    database = await Database.open(tmp_path)
    yield database
    await database.close()


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    """A box that has just been unpacked: no list, nothing recorded."""
    async with opened_box(tmp_path) as box:
        yield box
