"""What the watchdog sees of a lane with a real camera, decoder and store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from config.policy_file import load_policy
from config.settings import load_settings
from gate_agent.app import App
from gate_agent.gates import Gate
from offline_cache.database import Database
from tests.systemd.box import write_settings


@asynccontextmanager
async def running(settings_file: Path) -> AsyncIterator[Gate]:
    """The one lane of a box that runs."""
    settings, folder = load_settings(settings_file), settings_file.parent
    database = await Database.open(folder / settings.state_dir)
    stopping = asyncio.Event()
    app = App(settings, folder, load_policy(Path(settings.policy_file)), database)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(app.run(stopping))
            yield app._gates["1"]
            stopping.set()
    finally:
        await database.close()


async def until(condition: Callable[[], bool]) -> None:
    """Return once it holds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_camera_that_delivers_is_seeing_and_its_frames_are_counted(tmp_path: Path) -> None:
    """The count grows with every decoded frame."""
    async with running(write_settings(tmp_path)) as gate:
        await until(lambda: gate.signs().decoded > 2)
        assert gate.signs().is_seeing


async def test_a_lost_camera_is_not_seeing(tmp_path: Path) -> None:
    """Nothing is expected of it."""
    settings = write_settings(tmp_path)
    (tmp_path / "pictures" / "0.png").unlink()
    async with running(settings) as gate:
        await until(lambda: not gate.signs().is_seeing)
        assert gate.signs().decoded == 0
