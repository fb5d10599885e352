"""The whole gate, to be watched in a browser: brokers, centre, two boxes with three lanes, a handheld, and visitors."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import random
import signal
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

from demo.crowd import Crowd
from demo.live_page import LivePage
from demo.observer import Observer
from demo.processes import StartError
from demo.renderer import Renderer
from demo.world import PROJECT, World

LANES = ("1", "2")
NEIGHBOURS = {"B2": ("3",)}
HANDHELD_AT = "B2"
CAMERA_LANE = "1"
"""The lane that a real camera looks at."""
RELEASE_TIMEOUT_MS = 4000
MIN_INTERVAL_MS = 4000
"""No lane sees the next visitor before a person has read what happened to the last."""


async def show(folder: Path, camera: str | None, port: int) -> None:
    """Run everything until cancelled; say where the page is once the box answers."""
    seed = random.randrange(1_000_000)
    cameras = {CAMERA_LANE: _absolute(camera)} if camera else {}
    async with contextlib.AsyncExitStack() as stack:
        world = await stack.enter_async_context(
            World(
                folder,
                LANES,
                release_timeout_ms=RELEASE_TIMEOUT_MS,
                neighbours=NEIGHBOURS,
                handheld_at=HANDHELD_AT,
                min_interval_ms=MIN_INTERVAL_MS,
                cameras=cameras,
            )
        )
        await world.start()
        renderer = await stack.enter_async_context(Renderer(folder, seed))
        crowd = Crowd(
            world, renderer, [lane for lane in world.lanes if lane not in cameras], random.Random(seed)
        )
        observer = Observer(world, crowd, CAMERA_LANE if camera else None)
        page = LivePage(world, observer)
        stack.push_async_callback(page.stop)
        address = await page.start(port)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(crowd.run())
            tasks.create_task(observer.run())
            await world.start_box()
            print(f"Scenic Gate is running: {address}  (Ctrl-C stops it)", flush=True)
            handheld = world.boxes[HANDHELD_AT]
            print(
                f"Handheld: http://127.0.0.1:{handheld.port}/handheld/  (token: {handheld.staff_token})",
                flush=True,
            )
            if camera:
                print(f"Sample tickets for the camera: {address}samples", flush=True)


async def until_stopped(running: Coroutine[Any, Any, None]) -> None:
    """Run until SIGINT or SIGTERM, and then until everything that was started has stopped, whatever comes."""
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    task = asyncio.create_task(running)
    signalled = asyncio.create_task(stopping.wait())
    await asyncio.wait({task, signalled}, return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@contextlib.contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Keep a second run out of the folder; StartError when there is a first."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"it is running already, in {folder}") from None
        yield


def _absolute(camera: str) -> str:
    """Return a file's or folder's full path, and any other address as it is."""
    path = Path(camera)
    return str(path.resolve()) if path.exists() and not path.is_char_device() else camera


def _first_problem(problems: BaseExceptionGroup) -> BaseException:
    first = problems.exceptions[0]
    return _first_problem(first) if isinstance(first, BaseExceptionGroup) else first


def main() -> int:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="demo.run", description=__doc__)
    parser.add_argument(
        "--camera", help="what lane 1 looks with: a device, an address, a file or a folder of pictures"
    )
    parser.add_argument("--port", type=int, default=0, help="of the page; a free one when not given")
    parser.add_argument("--folder", type=Path, default=PROJECT / "var" / "run", help="written anew")
    options = parser.parse_args()
    problem: BaseException | None = None
    try:
        with occupied(options.folder):
            asyncio.run(until_stopped(show(options.folder.resolve(), options.camera, options.port)))
    except* (StartError, OSError) as problems:
        problem = _first_problem(problems)
    if problem is not None:
        print(f"Scenic Gate could not be run: {problem}", file=sys.stderr)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
