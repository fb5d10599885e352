"""Whatever waits for work ends when it is cancelled, also in the moment in which work comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from admission.keys import new_signing_key
from central.announcing import Announcer
from central.pace import ListPace
from central.publishing import Publisher
from central.store import Store
from config.policy_file import load_policy
from demo.world import PROJECT
from tests.support.waiting import SOON_S

POLICY = load_policy(PROJECT / "config" / "policies" / "default.toml")
KEY = new_signing_key(Ed25519PrivateKey.generate(), demo=True)


class Waiter(NamedTuple):
    """A task that waits for work, and how work comes to it."""

    task: asyncio.Task[None]
    work_comes: Callable[[], None]


def _publish(topic: str, payload: bytes, *, retain: bool = False) -> bool:
    return bool(topic and payload)


def _announcer(store: Store, _folder: Path) -> Waiter:
    worker = Announcer(store, KEY, lambda: 0, _publish)
    return Waiter(asyncio.create_task(worker.run()), worker.wake)


def _publisher(store: Store, folder: Path) -> Waiter:
    worker = Publisher(store, folder, KEY, POLICY, ListPace(), lambda: 0, _publish)
    return Waiter(asyncio.create_task(worker.run()), worker.link_is_up)


@pytest.mark.parametrize("steps", range(5))
@pytest.mark.parametrize("start", [_announcer, _publisher])
async def test_cancelled_as_work_comes(
    store: Store, tmp_path: Path, start: Callable[[Store, Path], Waiter], steps: int
) -> None:
    """However many steps of the loop lie between the work and the cancellation, the task ends."""
    waiter = start(store, tmp_path / "lists")
    await asyncio.sleep(0.1)
    waiter.work_comes()
    for _ in range(steps):
        await asyncio.sleep(0)
    waiter.task.cancel()
    done, _ = await asyncio.wait([waiter.task], timeout=SOON_S)
    assert done == {waiter.task}
