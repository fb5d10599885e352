"""Cameras that are not there, go away and come back: the box goes on and says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.processes import free_port
from tests.faults.box import Box, running, ticket_code
from tests.scanner.mjpeg import MjpegCamera
from tests.scanner.pictures import jpeg, scene, showing
from tests.support.waiting import until_asked

pytestmark = pytest.mark.e2e


async def reason_shown(box: Box, reason: str, times: int) -> None:
    """Wait until the lane has answered so many visitors so."""

    async def is_so() -> bool:
        return bool((await box.lane())["reasons"].get(reason) == times)

    await until_asked(is_so, f"{reason} x {times}", within_s=30)


async def test_no_camera_at_start(tmp_path: Path) -> None:
    """A box whose camera cannot be reached is up, says so, and answers foreign readers."""
    async with running(Box(tmp_path, camera=f"http://127.0.0.1:{free_port()}/")) as box:
        await box.says("lane 1:")
        status, ready = await box.get("/readyz")
        assert status == 503
        assert any("lane 1:" in problem for problem in ready["problems"])
        await box.barrier_becomes("CLOSED")
        status, answer = await box.scan(ticket_code(1))
        assert (status, answer["verdict"]) == (200, "ADMIT")


async def test_camera_lost_midway_and_back(tmp_path: Path) -> None:
    """A camera that goes away is named, is reopened when it is back, and reads the next visitor's code."""
    with MjpegCamera(jpeg(showing(ticket_code(1)))) as camera:
        async with running(Box(tmp_path, camera=camera.address)) as box:
            await reason_shown(box, "UNLISTED_TICKET", 1)
            camera.switch_off()
            await box.says("lane 1:")
            await box.barrier_becomes("CLOSED")
            assert (await box.scan(ticket_code(2)))[1]["verdict"] == "ADMIT"
            camera.picture = jpeg(scene())
            camera.switch_on()
            await box.no_longer_says("lane 1:")
            camera.picture = jpeg(showing(ticket_code(3)))
            await reason_shown(box, "UNLISTED_TICKET", 3)
