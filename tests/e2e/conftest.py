"""A site that two boxes stand at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from demo.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Two boxes of one lane each, with everything around them but visitors."""
    async with World(
        tmp_path / "world", ("1",), neighbours={"B2": ("2",)}, release_timeout_ms=3000, min_interval_ms=300
    ) as world:
        await world.start()
        yield world
