"""A real broker for each test that wants one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.central.programs import Mosquitto


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that runs on its own free port; whatever the test did to it, it is gone afterwards."""
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.kill()
