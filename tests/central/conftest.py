"""Stores, and the centre's application around one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from admission.short_codes import short_code
from central.settings import HttpTable
from central.store import Store, open_store
from central.web.centre import Centre
from central.web.server import make_app
from tests.central.world import KEYS, NOW_MS, POLICY


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store on the disk."""
    opened = open_store(tmp_path / "centre.db")
    yield opened
    opened.close()


Client = TestClient[web.Request, web.Application]


@dataclass(slots=True)
class World:
    """A centre with everything that its routes touch."""

    centre: Centre
    changes: list[str] = field(default_factory=list)


@pytest.fixture
def world(store: Store, tmp_path: Path) -> World:
    """A centre around an empty store, at a fixed time, with ticket ids that can be foretold."""
    ids = count(1)
    changes: list[str] = []
    (tmp_path / "lists").mkdir()
    centre = Centre(
        store=store,
        policy=POLICY,
        keys=KEYS,
        lists=tmp_path / "lists",
        allow_demo_keys=False,
        clock=lambda: NOW_MS,
        new_short_code=lambda: short_code(next(ids)),
        rights_changed=lambda: changes.append("rights"),
        time_repaired=lambda: changes.append("time"),
    )
    return World(centre, changes)


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    """A client of the centre's API, which asks for no token."""
    async with TestClient(TestServer(make_app(world.centre, HttpTable()))) as opened:
        yield opened
