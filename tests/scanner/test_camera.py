"""A camera through real streams, files and folders: the newest frame, and coming back after every loss."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from scanner.camera import Camera, CameraSettings, CameraState, Frame, reopen_delay_s
from scanner.trouble import Trouble
from tests.scanner.mjpeg import MjpegCamera, SilentCamera
from tests.scanner.pictures import coloured, eventually, jpeg, showing

SETTINGS = CameraSettings("", open_timeout_ms=600, read_timeout_ms=400)
HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"


@contextmanager
def playing(address: str, fps: int = 25, *, loop: bool = False) -> Iterator[Camera]:
    """A started camera with short timeouts and no waste of time between attempts."""
    camera = Camera(replace(SETTINGS, address=address, fps=fps, loop=loop), draw=lambda: 0.0)
    camera.start()
    try:
        yield camera
    finally:
        camera.stop()


def first_frame(camera: Camera) -> Frame:
    """The first frame that a camera gives."""
    frame = camera.wait_newer(0, timeout_s=10)
    assert frame is not None
    return frame


def frames_until_end(camera: Camera) -> list[Frame]:
    """The frames of a recording that a consumer gets; a hurried machine may skip some."""
    frames = [first_frame(camera)]
    while camera.health().state is not CameraState.LOST:
        if frame := camera.wait_newer(frames[-1].number, timeout_s=0.1):
            frames.append(frame)
    return frames


def brightness(frame: Frame) -> int:
    """The gray value of a frame's middle, rounded to tens."""
    return round(int(frame.image[360, 640].mean()) / 10) * 10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pictures, each brighter than the one before, and a file that is none."""
    for number in range(5):
        image = np.full((720, 1280, 3), 40 * (number + 1), np.uint8)
        cv2.imwrite(str(tmp_path / f"{number:02}.png"), image)
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A video of five frames at 20 frames per second, each brighter than the one before."""
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (1280, 720))
    for number in range(5):
        writer.write(np.full((720, 1280, 3), 40 * (number + 1), np.uint8))
    writer.release()
    return path


def test_stream_gives_numbered_frames_with_their_time() -> None:
    """Frames come in BGR at full size, with growing numbers and monotonic times."""
    with MjpegCamera(jpeg(showing(b"stream"))) as server, playing(server.address) as camera:
        before_ns = time.monotonic_ns()
        first = first_frame(camera)
        second = camera.wait_newer(first.number, timeout_s=5)
    assert second is not None
    assert first.image.shape == (720, 1280, 3)
    assert second.number > first.number >= 1
    assert before_ns < first.captured_ns < second.captured_ns < time.monotonic_ns()


def test_only_the_newest_frame_is_kept() -> None:
    """A slow consumer skips what it missed and gets a fresh frame."""
    with MjpegCamera(jpeg(showing(b"newest"))) as server, playing(server.address) as camera:
        first = first_frame(camera)
        assert eventually(lambda: camera.health().frames >= first.number + 5)
        later = camera.wait_newer(first.number, timeout_s=5)
        asked_ns = time.monotonic_ns()
    assert later is not None
    assert later.number >= first.number + 5
    assert asked_ns - later.captured_ns < 500_000_000


def test_health_of_a_live_stream() -> None:
    """State, frame rate and age say that frames come."""
    with MjpegCamera(jpeg(showing(b"health"))) as server, playing(server.address) as camera:
        assert camera.health().state is CameraState.STARTING
        assert eventually(lambda: camera.health().frames >= 20)
        health = camera.health()
    assert health.state is CameraState.LIVE
    assert 5 < health.fps < 30
    assert health.age_ms is not None
    assert health.age_ms < 500
    assert (health.reopened, health.problem) == (0, "")


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:1/stream", "rtsp://127.0.0.1:1/stream", "/nowhere/film.avi", "/dev/video77", "77"],
)
def test_absent_camera_is_a_state(address: str) -> None:
    """Nothing is raised; health says in words what is wrong, and there is no frame."""
    with playing(address) as camera:
        assert eventually(lambda: camera.health().state is CameraState.LOST)
        assert camera.wait_newer(0, timeout_s=0.01) is None
        health = camera.health()
    assert health.problem == "the camera cannot be opened"
    assert health.age_ms is None


def test_camera_absent_at_start_is_taken_when_it_comes() -> None:
    """A camera that is switched on after the box gives frames without a restart; it has not been lost."""
    server = MjpegCamera(jpeg(showing(b"late")))
    with server:
        pass  # it has a port now, and is off
    with playing(server.address) as camera:
        assert eventually(lambda: camera.health().state is CameraState.LOST)
        with server:
            first_frame(camera)
            health = camera.health()
    assert (health.state, health.reopened, health.problem) == (CameraState.LIVE, 0, "")


def test_lost_camera_comes_back() -> None:
    """A stream that ends midway is reopened; numbers go on, and health counts it."""
    server = MjpegCamera(jpeg(showing(b"again")))
    with playing_again(server) as (camera, lost_at):
        frame = camera.wait_newer(lost_at, timeout_s=10)
        health = camera.health()
    assert frame is not None
    assert frame.number > lost_at
    assert (health.state, health.reopened) == (CameraState.LIVE, 1)


@contextmanager
def playing_again(server: MjpegCamera) -> Iterator[tuple[Camera, int]]:
    """A camera whose server was switched off and on again, and the number of its last frame before."""
    with server, playing(server.address) as camera:
        first_frame(camera)
        server.switch_off()
        assert eventually(lambda: camera.health().state is CameraState.LOST)
        assert camera.health().fps == 0.0
        lost_at = camera.health().frames
        server.switch_on()
        yield camera, lost_at


@pytest.mark.parametrize("after", [b"", HEADERS], ids=["nothing", "headers only"])
def test_silent_camera_is_lost_within_its_timeout_and_tried_again(after: bytes) -> None:
    """A camera that accepts and then says nothing is reported, and knocked at again."""
    with SilentCamera(after) as silent, playing(silent.address) as camera:
        assert eventually(lambda: camera.health().state is CameraState.LOST)
        assert eventually(lambda: silent.callers >= 2)


def test_silent_camera_does_not_hang_stop() -> None:
    """Stopping returns within the timeout of the stream, however silent it is."""
    with SilentCamera() as silent:
        with playing(silent.address) as camera:
            assert eventually(lambda: silent.callers == 1)
            began_s = time.monotonic()
        took_s = time.monotonic() - began_s
    assert took_s < 2.0
    assert camera.health().problem == "stopped"


def test_stream_that_falls_silent_is_lost() -> None:
    """Frames that stop coming on an open connection are noticed by the read timeout."""
    picture = jpeg(showing(b"silent"))
    part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (
        len(picture),
        picture,
    )
    with SilentCamera(HEADERS + part * 3) as silent, playing(silent.address) as camera:
        first_frame(camera)
        assert eventually(lambda: camera.health().problem == "the camera sends no frames")


def test_stream_of_garbage_is_lost() -> None:
    """Bytes that are no pictures are a lost camera, not an error."""
    garbage = np.random.default_rng(7).bytes(200_000)
    with SilentCamera(HEADERS + garbage) as silent, playing(silent.address) as camera:
        assert eventually(lambda: camera.health().state is CameraState.LOST)
        assert camera.wait_newer(0, timeout_s=0.01) is None


def test_frozen_camera_is_opened_anew_once_and_named() -> None:
    """The same picture to the bit is reopened once; when it still comes, health says what to do; a new one ends it."""
    server = MjpegCamera(jpeg(showing(b"frozen")))
    settings = replace(SETTINGS, frozen_after_ms=300)
    with server:
        camera = Camera(replace(settings, address=server.address), draw=lambda: 0.0)
        camera.start()
        try:
            assert eventually(lambda: camera.health().reopened == 1)
            assert eventually(lambda: camera.health().trouble is Trouble.FROZEN)
            frames = camera.health().frames
            assert eventually(lambda: camera.health().frames > frames + 20)
            assert (camera.health().state, camera.health().reopened) == (CameraState.LIVE, 1)
            server.picture = jpeg(showing(b"alive"))
            assert eventually(lambda: camera.health().trouble is None)
        finally:
            camera.stop()


def test_stream_that_changes_its_resolution_goes_on() -> None:
    """A camera set to another size meanwhile gives frames of one size or the other, never a fault."""
    with MjpegCamera(jpeg(showing(b"large"))) as server, playing(server.address) as camera:
        first = first_frame(camera)
        server.picture = jpeg(np.ascontiguousarray(showing(b"small")[::2, ::2]))
        assert eventually(lambda: camera.health().frames > first.number + 25)
        frame = camera.wait_newer(first.number, timeout_s=5)
    assert frame is not None
    assert frame.image.shape in {(720, 1280, 3), (360, 640, 3)}


def test_stream_cut_in_the_middle_of_a_frame_is_lost() -> None:
    """Half a picture and then silence is a lost camera, not an error."""
    picture = jpeg(showing(b"cut"))
    part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture)
    whole, half = part + picture + b"\r\n", part + picture[: len(picture) // 2]
    with SilentCamera(HEADERS + whole * 2 + half) as silent, playing(silent.address) as camera:
        assert eventually(lambda: camera.health().state is CameraState.LOST)
        assert eventually(lambda: silent.callers >= 2)


def test_folder_plays_its_pictures_in_order_and_ends(folder: Path) -> None:
    """Pictures come by name, at the pace asked for, and then the recording has ended."""
    with playing(str(folder), fps=20) as camera:
        frames = frames_until_end(camera)
        health = camera.health()
    assert [brightness(frame) for frame in frames] == [40 * frame.number for frame in frames]
    assert health.frames == 5
    assert frames[-1].captured_ns - frames[0].captured_ns > 0.15e9
    assert (health.state, health.problem) == (CameraState.LOST, "the recording has ended")


def test_folder_in_a_loop_goes_on(folder: Path) -> None:
    """A looped folder starts anew after its last picture."""
    with playing(str(folder), fps=100, loop=True) as camera:
        assert eventually(lambda: camera.health().frames > 12)
        assert camera.health().state is CameraState.LIVE


def test_file_plays_at_its_own_pace_and_ends(film: Path) -> None:
    """A file of 20 frames per second takes 50 ms a frame, whatever pace the settings name."""
    with playing(str(film), fps=100) as camera:
        frames = frames_until_end(camera)
        health = camera.health()
    assert [brightness(frame) for frame in frames] == [40 * frame.number for frame in frames]
    assert health.frames == 5
    assert frames[-1].captured_ns - frames[0].captured_ns > 0.15e9
    assert health.problem == "the recording has ended"


def test_file_in_a_loop_goes_on(film: Path) -> None:
    """A looped file starts anew after its last frame."""
    with playing(str(film), loop=True) as camera:
        assert eventually(lambda: camera.health().frames > 8)
        assert camera.health().state is CameraState.LIVE


def test_a_waiting_consumer_is_woken_by_stop(folder: Path) -> None:
    """Nobody waits for the frames of a camera that has been stopped."""
    with playing(str(folder)) as camera:
        frames_until_end(camera)
        woken = threading.Event()

        def wait() -> None:
            camera.wait_newer(camera.health().frames, timeout_s=30)
            woken.set()

        threading.Thread(target=wait, daemon=True).start()
    assert woken.wait(5)


def test_a_failure_of_the_thread_reaches_whoever_waits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody expected is raised to the consumer and by stop, and never looks like a blank camera."""

    def broken(settings: CameraSettings) -> None:
        raise OSError(f"the disk under {settings.address} is gone")

    monkeypatch.setattr("scanner.camera.open_grabber", broken)
    camera = Camera(replace(SETTINGS, address=str(folder)))
    camera.start()
    with pytest.raises(OSError, match="is gone"):
        camera.wait_newer(0, timeout_s=1)
    with pytest.raises(OSError, match="is gone"):
        camera.stop()


def test_pictures_from_colour_and_gray_files_look_alike(tmp_path: Path) -> None:
    """Whatever the file holds, a frame has three channels."""
    cv2.imwrite(str(tmp_path / "a.png"), showing(b"gray"))
    cv2.imwrite(str(tmp_path / "b.jpg"), coloured(showing(b"colour")))
    with playing(str(tmp_path)) as camera:
        frames = frames_until_end(camera)
        assert camera.health().frames == 2
    assert {frame.image.shape for frame in frames} == {(720, 1280, 3)}


@pytest.mark.parametrize(
    ("failures", "draw", "expected_s"),
    [
        (0, 0.0, 0.125),
        (0, 1.0, 0.25),
        (1, 1.0, 0.5),
        (3, 1.0, 2.0),
        (5, 1.0, 5.0),
        (5, 0.0, 2.5),
        (10**6, 1.0, 5.0),
    ],
)
def test_reopening_backs_off_up_to_a_bound(failures: int, draw: float, expected_s: float) -> None:
    """The delay doubles with every failure, stays below 5 s, and half of it is chance."""
    assert reopen_delay_s(failures, draw) == expected_s
