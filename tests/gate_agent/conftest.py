"""A fresh gate for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gate_agent.gate import Gate, opened_gate


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gate]:
    """A box with a list and no lane yet."""
    async with opened_gate(tmp_path) as gate:
        yield gate
